"""
When to fit again
=================

A detector that was fitted to old rows judges new ones. Single outliers are what it is
for; but if the source itself changes, its threshold means less and less. `DriftAlarm`
watches the stream of rows and says when they are no longer like those of the past. The
probability that it ever raises a false alarm is at most the one that it is given.

The rows are the 1,797 handwritten digits of scikit-learn, in the order of the file.
They come from thirteen writers, and rows of one writer stand together. Writers differ:
this stream drifts by itself.
"""

# %%
# The past, and the stream
# ------------------------
# The first 1,000 digits are the past, the others are the stream. For comparison, the
# same once more with all rows in a random order: then the stream is like the past.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from skvae import DensityOutlierDetector, DriftAlarm

N_PAST = 1000
pixels = load_digits().data
orders = {
    "as written": pixels,
    "shuffled": np.random.default_rng(0).permutation(pixels),
}

# %%
# What the alarm sees
# -------------------
# A fifth of the past is held out of the fit: its scores are those that the scores of
# the stream are compared with. The alarm bets against the stream's p-values being
# uniform. As long as nothing changes, it wins by luck alone, and the probability that
# its capital ever reaches 100 is at most one in a hundred.


def detector_of(past):
    """Return a detector of strange digits."""
    density = make_pipeline(PCA(16), GaussianMixture(10, reg_covar=1e-2))
    return DensityOutlierDetector(
        density, reference="held_out", contamination=0.05, random_state=0
    ).fit(past)


detectors, capital = {}, {}
for name, rows in orders.items():
    detectors[name] = detector_of(rows[:N_PAST])
    alarm = DriftAlarm(detectors[name], random_state=0)
    capital[name] = alarm.watch(rows[N_PAST:])
    print(f"{name}: alarm at row {alarm.alarm_at_} of the stream")

# %%
# What the threshold alone would show
# -----------------------------------
# The rate of outliers among the last hundred rows moves, too. But by how much does it
# have to move? The capital answers that.
figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 5.5))
for name, rows in orders.items():
    outlier = detectors[name].predict(rows[N_PAST:]) == -1
    rate = np.convolve(outlier, np.ones(100) / 100, mode="valid")
    above.plot(np.arange(99, len(outlier)), 100 * rate, label=name)
    below.plot(capital[name] / np.log(10), label=name)
above.axhline(5, color="grey", linestyle=":")
above.set_ylabel("outliers among the\nlast 100 rows, %")
above.set_ylim(0)
above.legend(frameon=False)
below.axhline(2, color="grey", linestyle="--")
below.text(700, 2.3, "alarm", color="grey")
for axes in (above, below):
    axes.spines[["top", "right"]].set_visible(False)
below.set_ylabel("capital, powers of ten")
below.set_xlabel("row of the stream")
figure.tight_layout()
plt.show()

# %%
# What to do
# ----------
# The first 400 rows of the stream give a new threshold, and the density stays as it is.
# The rate of outliers among the rest is then nearly the one that was asked for. But the
# writers after them differ again, as an alarm that starts with these 400 rows finds. If
# that goes on, the density itself has to learn the new rows: it is time to fit again.
stream = pixels[N_PAST:]
detector = detectors["as written"]
before = np.mean(detector.predict(stream[400:]) == -1)
detector.fit_threshold(stream[:400])
after = np.mean(detector.predict(stream[400:]) == -1)
alarm = DriftAlarm(detector, random_state=0).update(stream[400:])
print(f"outliers among the last 397 rows: {before:.1%} before, {after:.1%} after")
print(f"alarm at row {alarm.alarm_at_}")
