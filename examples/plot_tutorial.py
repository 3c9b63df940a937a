"""
From a question to an answer
============================

A clinic has the measurements of 442 patients and five questions: is this record
plausible, and if not, which value is wrong? What would have stood in an empty cell? How
sure is that? Is this model better than what we have? And how do we notice that
something has changed?

One density answers all of them. This tutorial goes through its life: fit, check,
compare, find strange rows and say why, fill in gaps, save, and watch.

Run it with ``python examples/plot_tutorial.py``.
"""

# %%
# The table
# ---------
#
# Scikit-learn's diabetes data in measured units: age, body mass index, blood pressure,
# and six blood values. A third of the patients is kept for all checks below.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skvae import (
    CalibrationDisplay,
    ComparisonDisplay,
    DensityOutlierDetector,
    DriftAlarm,
    ExplanationDisplay,
    VAEDensity,
    compare_densities,
    load,
    save,
)

NAMES = {
    "age": "age", "bmi": "bmi", "bp": "pressure", "s1": "cholesterol", "s2": "ldl",
    "s3": "hdl", "s4": "ratio", "s5": "log_triglycerides", "s6": "glucose",
}  # fmt: skip
patients = load_diabetes(as_frame=True, scaled=False).data
patients = patients[list(NAMES)].rename(columns=NAMES)
known, new = train_test_split(patients, test_size=1 / 3, random_state=0)
new = new.reset_index(drop=True)

# %%
# Fit, and ask how healthy the fit is
# -----------------------------------
#
# Defaults would do; these settings are quicker, as the tutorial has to end in a minute.
# ``diagnose`` says what to worry about: latents that carry nothing, columns whose
# spread has collapsed, log-densities that are hard to read.

density = VAEDensity(
    decoder="mlp", hidden_layer_sizes=(32, 32), max_iter=60, random_state=0
).fit(known)
print(density.diagnose(new))

# %%
# Is it calibrated, and is it better than a mixture?
# --------------------------------------------------
#
# Left, of patients that the fit has not seen: the regions that should hold 90 % of them
# do so, if the curve stays in the grey band. Right: paired differences from a Gaussian
# mixture over folds. If an interval reaches zero, the difference may be luck; on so
# small a table it often is.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
CalibrationDisplay.from_estimator(density, new, kind="coverage", ax=axes[0])
comparison = compare_densities(
    {"VAEDensity": density, "Gaussian mixture": GaussianMixture(3, random_state=0)},
    patients,
    cv=2,
    random_state=0,
)
ComparisonDisplay.from_comparison(comparison, ax=axes[1])
print(comparison)
plt.show()

# %%
# Which records are strange, and why?
# -----------------------------------
#
# Somebody has typed two values of one new patient into each other's cells. Each of them
# is ordinary by itself, so that no check of single columns would notice; together they
# are not. The detector's threshold lets one ordinary patient in twenty through as a
# false alarm.

typed = new.copy()
typed.loc[7, ["hdl", "pressure"]] = new.loc[7, ["pressure", "hdl"]].to_numpy()
detector = DensityOutlierDetector(
    density, reference="held_out", contamination=0.05, random_state=0
).fit(known)
flagged = np.flatnonzero(detector.predict(typed) == -1)
print(f"{len(flagged)} of {len(typed)} records are flagged; row 7: {7 in flagged}")
print(f"p-value of row 7: {detector.p_values(typed)[7]:.4f}")
ExplanationDisplay.from_estimator(detector, typed, row=7)
plt.show()

# %%
# What stands in an empty cell?
# -----------------------------
#
# Ten patients have no glucose value. The density fills in what is expected, and says in
# which interval the value is with 90 % probability, given the rest of the record.

gaps = new.iloc[:10].copy()
gaps["glucose"] = np.nan
given = density.conditional(gaps, "glucose")
low, high = given.interval(0.9).T
truth = new["glucose"].to_numpy()[:10]
filled = density.impute(gaps)["glucose"]
for row in range(3):
    print(
        f"glucose {filled[row]:.0f}, between {low[row]:.0f} and {high[row]:.0f}; "
        f"it was {truth[row]:.0f}"
    )
print(f"{np.sum((low <= truth) & (truth <= high))} of 10 are within their intervals")

# %%
# Keep it
# -------
#
# The file is safe to open, also by others: it is made of numbers and text, and nothing
# in it is ever executed.

with tempfile.TemporaryDirectory() as folder:
    save(detector, Path(folder, "patients.skvae"))
    again = load(Path(folder, "patients.skvae"))
assert (again.score_samples(new) == detector.score_samples(new)).all()

# %%
# Watch what comes in
# -------------------
#
# From the 40th record on, another laboratory reads glucose 20 mg/dl too high. Hardly a
# record is strange by itself: the share that is flagged rises to a quarter. The alarm
# adds up what all of them say, and rings some thirty records later. The probability
# that it ever rings while nothing has changed is at most one in a hundred.

later = new.copy()
later.loc[40:, "glucose"] += 20
capital = {}
for name, stream in {"as before": new, "another laboratory": later}.items():
    alarm = DriftAlarm(again, random_state=0)
    capital[name] = alarm.watch(stream)
    print(f"{name}: alarm at row {alarm.alarm_at_}")
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for (name, values), style in zip(capital.items(), ("--", "-"), strict=True):
    ax.plot(values / np.log(10), style, label=name)
ax.axhline(2, color="grey", linestyle=":")
ax.set(xlabel="record", ylabel="evidence of a change,\npowers of ten")
ax.legend(frameon=False)
plt.show()
