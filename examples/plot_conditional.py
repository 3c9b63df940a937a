"""
A density that depends on something
===================================

The first part estimates the distribution of one measurement given another: it fits
``ConditionalVAEDensity`` to the progression of diabetes one year after a baseline,
given the body mass index at the baseline. The second part classifies tumours by Bayes'
rule with a density for each class, and compares the result with naive Bayes. All
figures are of held-out rows.

Run it with ``python examples/plot_conditional.py [FIGURE]``.
"""

# %%
# Progression given body mass index
# ---------------------------------

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import ConditionalVAEDensity, DensityClassifier, VAEDensity

diabetes = load_diabetes(scaled=False)
index = diabetes.data[:, [diabetes.feature_names.index("bmi")]]
X_train, X_test, y_train, y_test = train_test_split(
    index, diabetes.target, test_size=0.3, random_state=0
)

settings = {
    "hidden_layer_sizes": (48, 48),
    "max_iter": 150,
    "evidence_tol": 0.1,
    "random_state": 0,
}
conditional = ConditionalVAEDensity(**settings).fit(X_train, y_train)
marginal = VAEDensity(**settings).fit(y_train[:, None])
print(
    f"Held-out log-density of progression: {marginal.score(y_test[:, None]):.3f} nats, "
    f"given the index {conditional.score(X_test, y_test):.3f}"
)

# %%
# Location, width and skew of the density change with the index. A regression would give
# the mean alone. ``sample`` draws from the whole distribution, so its quantiles can be
# drawn, too.

y = np.linspace(0, 400, 101)
levels = np.linspace(19, 38, 39)
at, given = np.meshgrid(y, levels)
log_density = conditional.score_samples(given.reshape(-1, 1), at.ravel())
density = np.exp(log_density).reshape(at.shape)
drawn = conditional.sample(levels[:, None], 400, random_state=0)
drawn = drawn.reshape(len(levels), -1)
quantiles = np.quantile(drawn, [0.1, 0.5, 0.9], axis=1).T
print("10, 50 and 90 % at an index of 25:", quantiles[levels == 25][0].round())

# %%
# Tumours by Bayes' rule
# ----------------------
#
# Naive Bayes assumes that the columns are independent in each class; a density per
# class does not. The table is reduced to six principal components to keep the example
# quick. Scaling and components are computed before the classifier, so that the
# densities of all classes have the same units.

tumours, malignant = load_breast_cancer(return_X_y=True)
fitted, held_out, y_fitted, y_held_out = train_test_split(
    tumours, malignant, test_size=0.4, stratify=malignant, random_state=0
)
classifiers = {
    "naive Bayes": GaussianNB(),
    "DensityClassifier": DensityClassifier(VAEDensity(**settings)),
}
probability, label = {}, {}
for name, classifier in classifiers.items():
    model = make_pipeline(StandardScaler(), PCA(6, whiten=True), classifier)
    proba = model.fit(fitted, y_fitted).predict_proba(held_out)
    loss = log_loss(y_held_out, proba)
    accuracy = accuracy_score(y_held_out, proba.argmax(1))
    print(f"{name}: held-out log-loss {loss:.3f}, accuracy {accuracy:.3f}")
    # Of the true class.
    probability[name] = proba[np.arange(len(y_held_out)), y_held_out]
    label[name] = f"{name}: log-loss {loss:.3f}, accuracy {accuracy:.3f}"

# %%
# Both in pictures
# ----------------
#
# Right: for each probability, the share of rows whose true class was given at most so
# much.

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
image = left.pcolormesh(levels, y, density.T, cmap="cividis", rasterized=True)
left.plot(X_test, y_test, "o", color="white", markersize=2.5, alpha=0.7)
left.plot(levels, quantiles, color="white", lw=1)
left.set(
    xlabel="body mass index, kg/m²",
    ylabel="progression after a year",
    xlim=(19, 38),
    ylim=(0, 400),
)
left.set_title(
    "p(progression | index), held-out rows, 10/50/90 %", loc="left", fontsize=10
)
figure.colorbar(image, ax=left, label="density")
for name, found in probability.items():
    share = (1 + np.arange(len(found))) / len(found)
    right.step(np.maximum(np.sort(found), 1e-10), share, label=label[name])
right.set(
    xscale="log",
    yscale="log",
    xlabel="probability of the true class, at most",
    ylabel="share of the held-out rows",
)
right.axvline(0.5, color="0.7", lw=0.8, zorder=0)
right.legend(loc="upper left", fontsize=8, frameon=False)
right.set_title("How sure, where wrong", loc="left", fontsize=10)

default_path = Path(tempfile.gettempdir()) / "skvae-conditional.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
