"""
A first look at VAEDensity
==========================

How probable is this row? A density estimator answers with a number for every row of
a table. Here three of them learn the 30 measurements of the Wisconsin breast cancer
data and are judged by the log-density that they give to rows they have not seen. The
VAE then points at the strangest rows, invents new ones and draws a map.

Run it with ``python examples/quickstart.py [FIGURE]``; it takes less than a minute.
"""

# %%
# The data
# --------
#
# A density has units: if a column is measured in metres instead of millimetres, the
# density of the same row is a thousand times as high. The ``score`` of a pipeline with
# a scaler is in the units of the scaled columns, and does not compare with a score in
# measured units. Therefore the columns are standardised once, by the training rows, and
# every estimator below sees the same units.

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skvae import LatentDisplay, ScoreDisplay, TrainingDisplay, VAEDensity

cancer = load_breast_cancer()
names = cancer.feature_names
train_rows, test_rows, _, test_diagnosis = train_test_split(
    cancer.data, cancer.target, test_size=0.25, random_state=0
)
scaler = StandardScaler().fit(train_rows)
X_train, X_test = scaler.transform(train_rows), scaler.transform(test_rows)
print(
    f"{len(X_train)} training rows, {len(X_test)} test rows, {X_train.shape[1]} columns"
)

# %%
# Three estimators
# ----------------
#
# ``VAEDensity`` runs with its defaults. It holds some rows out by itself to decide
# which weights to keep. The rivals are tuned by five-fold cross-validation of the
# log-density, which is what ``GridSearchCV`` does with an estimator that has ``score``.
# For the mixture it chooses the number and the shape of the components, for the kernel
# density the bandwidth. The kernel density keeps all rows in one leaf of its tree: with
# the default leaves, rounding makes rows far from the data score much too high.

estimators = {
    "VAE": VAEDensity(random_state=0),
    "Gaussian mixture": GridSearchCV(
        GaussianMixture(random_state=0),
        {
            "n_components": [1, 2, 3, 4, 6, 8],
            "covariance_type": ["full", "tied", "diag", "spherical"],
            "reg_covar": [1e-6, 1e-3],
        },
    ),
    "kernel density": GridSearchCV(
        KernelDensity(leaf_size=len(X_train)),
        {"bandwidth": [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1]},
    ),
}

fit_seconds, rows_per_second, log_density = {}, {}, {}
for name, estimator in estimators.items():
    start = perf_counter()
    estimator.fit(X_train)
    fit_seconds[name] = perf_counter() - start
    # A fitted GridSearchCV hands over to its best estimator.
    density = getattr(estimator, "best_estimator_", estimator)
    start = perf_counter()
    log_density[name] = density.score_samples(X_test)
    rows_per_second[name] = len(X_test) / (perf_counter() - start)

# %%
# The higher the mean log-density of the test rows, the better. All estimators score the
# same rows, so differences are taken row by row. The standard error of such a
# difference is smaller than those of the two means, and it says whether a lead may be
# luck.


def mean_and_error(values: np.ndarray) -> str:
    """Format the mean over rows and its standard error."""
    return f"{values.mean():.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"


print("\nHeld-out log-density, nats per row, standardised columns")
print(f"{'':<18}{'mean':>15}{'VAE - rival':>15}{'fit s':>8}{'rows/s':>10}")
for name, values in log_density.items():
    lead = "" if name == "VAE" else mean_and_error(log_density["VAE"] - values)
    print(
        f"{name:<18}{mean_and_error(values):>15}{lead:>15}"
        f"{fit_seconds[name]:>8.1f}{rows_per_second[name]:>10,.0f}"
    )
for name in ("Gaussian mixture", "kernel density"):
    chosen = estimators[name].best_params_.items()
    print(f"{name}: chose", ", ".join(f"{key}={value}" for key, value in chosen))

# %%
# The strangest rows
# ------------------
#
# The rows with the lowest log-density are the ones to look at first. ``evidence``
# returns the same log-densities with a standard error for every row, because they are
# estimated by importance sampling.

vae = estimators["VAE"]
strangest = np.argsort(log_density["VAE"])[:5]
evidence = vae.evidence(X_test[strangest])

print("\nThe five strangest test rows")
print(f"{'row':>4}  {'log-density, nats':>18}  {'diagnosis':<10} farthest column")
for i, row in enumerate(strangest):
    farthest = np.argmax(np.abs(X_test[row]))
    figure = f"{evidence.log_density[i]:.2f} ± {evidence.standard_error[i]:.2f}"
    diagnosis = cancer.target_names[test_diagnosis[row]]
    print(
        f"{row:>4}  {figure:>18}  {diagnosis:<10} "
        f"{names[farthest]} ({X_test[row, farthest]:+.1f} sd)"
    )

# %%
# New rows
# --------
#
# Sampled rows have the units of the rows that ``fit`` saw. The scaler turns them back
# into measured units.

new_rows = scaler.inverse_transform(vae.sample(5, random_state=0))
print("\nFive sampled rows, first five columns, measured units")
print("".join(f"{name:>17}" for name in names[:5]))
for row in new_rows[:, :5]:
    print("".join(f"{value:>17.4g}" for value in row))

# %%
# Four pictures
# -------------
#
# (a) The whole distribution of the test log-densities, not only its mean; a few rows
# that lie hundreds of nats lower are counted in the first bin. (b) Training rows and as
# many sampled rows, in two measured columns: the two clouds should look alike. (c) A
# map of the test rows by the posterior means of their latents. The model has never seen
# the diagnoses. (d) The bounds on the training rows, and on the held-out rows by which
# the weights were chosen. Three of the pictures are *displays*, as scikit-learn has
# them; the others are in ``docs/displays.md``.

figure, ((histogram, columns), (embedding, training)) = plt.subplots(
    2, 2, figsize=(9, 7), layout="constrained"
)
ScoreDisplay.from_predictions(log_density, ax=histogram)
x_column, y_column = (list(names).index(n) for n in ("worst radius", "worst concavity"))
samples = scaler.inverse_transform(vae.sample(len(train_rows), random_state=1))
for rows, label, marker in (
    (train_rows, "training rows", "o"),
    (samples, "samples of the VAE", "x"),
):
    columns.plot(*rows[:, [x_column, y_column]].T, marker, ms=3.5, label=label)
columns.set(xlabel=names[x_column], ylabel=names[y_column])
columns.legend(frameon=False)
diagnosis_names = cancer.target_names[test_diagnosis]
LatentDisplay.from_estimator(vae, X_test, diagnosis_names, ax=embedding)
TrainingDisplay.from_estimator(vae, ax=training)
for axis, title in zip(
    figure.axes,
    ("Held-out rows", "Data and samples", "Latent map of the test rows", "Training"),
    strict=True,
):
    letter = "abcd"[figure.axes.index(axis)]
    axis.set_title(f"({letter}) {title}", loc="left", fontsize=10)

default_path = Path(tempfile.gettempdir()) / "skvae-quickstart.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"\nFigure: {path}")
if plt.isinteractive():
    plt.show()
