"""
Pictures of a density
=====================

A density of five columns answers many questions: where are rows, how sure is it of
that, which columns depend on one another, which rows are strange, and why? Each answer
has a display, made as those of scikit-learn are: ``from_estimator`` computes and draws,
``ax`` says where, and the object that comes back holds what was drawn.

The table has five measurements of 178 wines from three vineyards. A third of the rows
is held out.

Run it with ``python examples/plot_displays.py [FOLDER]``.
"""

# %%
# A density, and two others to compare it with
# --------------------------------------------

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity

from skvae import (
    CalibrationDisplay,
    ComparisonDisplay,
    DensityDisplay,
    DensityOutlierDetector,
    DependenceDisplay,
    EvidenceDisplay,
    ExplanationDisplay,
    LatentDisplay,
    ScoreDisplay,
    TrainingDisplay,
    VAEDensity,
    compare_densities,
)

columns = ["alcohol", "color_intensity", "hue", "flavanoids", "total_phenols"]
wine = load_wine(as_frame=True)
vineyard = "vineyard " + (wine.target + 1).astype(str)
X_train, X_test, _, vineyard_test = train_test_split(
    wine.data[columns], vineyard, test_size=1 / 3, random_state=0
)

density = VAEDensity(
    decoder="mlp",
    hidden_layer_sizes=(32, 32),
    marginal_transform=None,
    companion=None,
    max_iter=100,
    random_state=0,
).fit(X_train)
rivals = {
    "Gaussian mixture": GaussianMixture(3, random_state=0),
    "kernel density": KernelDensity(bandwidth=0.4),
}
default_folder = Path(tempfile.gettempdir()) / "skvae-displays"
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder
folder.mkdir(exist_ok=True)

# %%
# Where are rows?
# ---------------
#
# The density of one column, whatever the others are; of two columns; and of one column
# given the other cells of the first row. Dots and grey bars are rows. The curve has a
# band of two standard errors.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
DensityDisplay.from_estimator(density, X_train, "hue", ax=axes[0])
DensityDisplay.from_estimator(density, X_train, ["hue", "flavanoids"], ax=axes[1])
DensityDisplay.from_estimator(density, X_train, "hue", given=0, ax=axes[2])
figure.savefig(folder / "displays_density.png", dpi=80)

# %%
# What has it learnt?
# -------------------
#
# The training, a map of the rows by their latents, and how much the columns tell of one
# another. The model has never seen the vineyards.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
TrainingDisplay.from_estimator(density, ax=axes[0])
LatentDisplay.from_estimator(density, X_test, vineyard_test, ax=axes[1])
DependenceDisplay.from_estimator(density, n_samples=50, random_state=0, ax=axes[2])
figure.savefig(folder / "displays_learnt.png", dpi=80)

# %%
# Can it be trusted?
# ------------------
#
# Held-out rows lie in the regions of highest density as often as the regions promise if
# their curve stays in the grey band. The same is asked of single columns, given all
# others. The third picture is about log p(x) itself: lower bounds rise to it.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
whole = CalibrationDisplay.from_estimator(density, X_test, ax=axes[0], kind="coverage")
CalibrationDisplay.from_estimator(
    density, X_test, columns=["hue", "flavanoids"], ax=axes[1]
)
EvidenceDisplay.from_estimator(density, X_test, ax=axes[2])
figure.savefig(folder / "displays_trust.png", dpi=80)
covered = whole.coverage(0.9)["whole rows"]
print(f"{covered:.0%} of the held-out wines are in the region of 90 %")

# %%
# Is it better than others?
# -------------------------
#
# The scores of the same held-out rows by three densities, and the paired differences of
# five folds. If an interval reaches zero, the difference may be luck.

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
fitted = {name: clone(rival).fit(X_train) for name, rival in rivals.items()}
ScoreDisplay.from_estimators({"VAEDensity": density, **fitted}, X_test, ax=axes[0])
comparison = compare_densities(
    {"VAEDensity": density, **rivals}, wine.data[columns], random_state=0
)
ComparisonDisplay.from_comparison(comparison, ax=axes[1])
figure.savefig(folder / "displays_comparison.png", dpi=80)
print(comparison)

# %%
# Which rows are strange, and why?
# --------------------------------
#
# A detector that has seen the wines of two vineyards judges those of the third. Of the
# strangest one, each cell is compared with the others of its row ("given others") and
# with ordinary rows ("alone").

known = wine.target < 2
detector = DensityOutlierDetector(
    GaussianMixture(2), reference="held_out", contamination=0.05, random_state=0
).fit(wine.data[columns][known])
strangest = int(detector.score_samples(wine.data[columns]).argmin())
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
ScoreDisplay.from_estimator(detector, wine.data[columns], vineyard, ax=axes[0])
ExplanationDisplay.from_estimator(
    detector, wine.data[columns], row=strangest, ax=axes[1]
)
figure.savefig(folder / "displays_strange.png", dpi=80)
print(f"Figures: {folder}")
