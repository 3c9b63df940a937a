"""
Choosing a threshold
====================

Below which log-density is a row an outlier? ``DensityOutlierDetector`` can choose the
threshold in four ways. All of them are quantiles of scores; they differ in the rows
whose scores are used, and so in what you have to know:

- ``reference="training"``: the share of outliers among the training rows;
- ``reference="held_out"``: the rate of false alarms that you accept;
- ``reference="model"``: the same rate, if you trust the model, whose own samples are
  scored;
- ``fit_threshold``: labels of some rows.

The detector takes any density. Here it is a kernel density with a small bandwidth. It
gives its training rows much higher scores than new rows, so that the four thresholds
differ visibly.

Run it with ``python examples/plot_outlier_threshold.py [FIGURE]``.
"""

# %%
# Digits, and what is no digit
# ----------------------------
#
# The training rows are images of the digits 0 to 8, in twelve principal components. One
# per cent of them are nines, by mistake. The other nines are the outliers to be found.

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_curve
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity

from skvae import DensityOutlierDetector, ScoreDisplay

X, y = load_digits(return_X_y=True)
usual, nines = X[y != 9], X[y == 9]
train, test = train_test_split(usual, test_size=0.5, random_state=0)
by_mistake, nines = nines[:8], nines[8:]
train = np.r_[train, by_mistake]
pca = PCA(12, whiten=True, random_state=0).fit(train)
train, test, nines = (pca.transform(rows) for rows in (train, test, nines))
known, new = test[::2], test[1::2]
known_nines, new_nines = nines[::2], nines[1::2]

# %%
# Four thresholds
# ---------------
#
# The threshold from training rows has exactly the stated share of *them* below it, but
# nearly all new rows, because the density was fitted to the former and not to the
# latter. The threshold from held-out rows has the stated rate among new rows, up to the
# chance of which rows are held out. The one from the model is right as far as the model
# is. Labels give a point of the ROC curve with the stated rate. (``trim_fraction=0``
# makes all detectors fit all of their rows, where ``contamination`` would leave out the
# strangest.)

density = KernelDensity(bandwidth=0.5)
rate = 0.05
detectors = {
    reference: DensityOutlierDetector(
        density,
        contamination=rate,
        reference=reference,
        trim_fraction=0,
        random_state=0,
    ).fit(train)
    for reference in ("training", "held_out", "model")
}
detectors["labels"] = (
    DensityOutlierDetector(density, random_state=0)
    .fit(train)
    .fit_threshold(
        np.r_[known, known_nines],
        np.repeat([1, -1], [len(known), len(known_nines)]),
        false_positive_rate=rate,
    )
)
print(f"asked for {rate:.0%}     training rows  new rows  nines found")
for name, detector in detectors.items():
    shares = [np.mean(detector.predict(rows) == -1) for rows in (train, new, new_nines)]
    print(f"{name:<13}", "".join(f"{share:13.1%}" for share in shares))

# %%
# The figures show the scores of the last detector, and the three thresholds that belong
# to the same fit. (The threshold from held-out rows belongs to a fit to four fifths of
# the rows.)

detector = detectors["labels"]
scores = [detector.score_samples(rows) for rows in (train, new, new_nines)]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
ScoreDisplay.from_predictions(
    dict(zip(("training rows", "new rows", "nines"), scores, strict=True)),
    thresholds={
        name: detectors[name].offset_ for name in ("training", "model", "labels")
    },
    ax=left,
)
left.set_title("Thresholds for 5 %", loc="left", fontsize=10)

is_nine = np.repeat([0, 1], [len(new), len(new_nines)])
false, true, _ = roc_curve(is_nine, -np.concatenate(scores[1:]))
right.plot(false, true, color="0.3")
for name in ("training", "model", "labels"):
    offset = detectors[name].offset_
    right.plot(
        np.mean(scores[1] < offset), np.mean(scores[2] < offset), "o", label=name
    )
right.axvline(rate, color="0.7", lw=0.8, zorder=0)
right.set(
    xlabel="false alarms among new rows", ylabel="nines found", xlim=(-0.02, 1.02)
)
right.legend(frameon=False, fontsize=8)
right.set_title("Where they are on the ROC curve", loc="left", fontsize=10)

default_path = Path(tempfile.gettempdir()) / "skvae-outlier-threshold.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
