"""
A Bayes classifier with better densities
========================================

``GaussianNB`` is Bayes' rule with independent Gaussian columns in each class.
``DensityClassifier`` is the same rule with any density in each class: a mixture, a
kernel density, a ``VAEDensity``. Here two classes are pairs of blobs that lie
crosswise, and the third is a ring around them: independent Gaussian columns cannot
follow these shapes. A row that is like no class has a low density in all of them, which
shows even where the class probabilities look sure.

Run it with ``python examples/plot_bayes_classifier.py [FIGURE]``.
"""

# %%
# Three classes
# -------------

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import accuracy_score, log_loss
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB

from skvae import DensityClassifier, VAEDensity


def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 3, n)
    sign, angle = rng.choice([-1, 1], n), rng.uniform(0, 2 * np.pi, n)
    centres = np.stack([sign, np.where(y == 0, sign, -sign)], 1)
    ring = 2.6 * np.c_[np.cos(angle), np.sin(angle)]
    rows = np.where((y == 2)[:, None], ring, centres)
    return rows + 0.35 * rng.normal(size=(n, 2)), y


rng = np.random.default_rng(0)
X_train, y_train = draw(900, rng)
X_test, y_test = draw(600, rng)

# %%
# Four densities for Bayes' rule
# ------------------------------

density = VAEDensity(
    hidden_layer_sizes=(32, 32),
    max_iter=80,
    marginal_transform=None,
    n_importance_samples=32,
    evidence_tol=1.0,
    max_evidence_samples=64,
)
classifiers = {
    "GaussianNB": GaussianNB(),
    "one Gaussian each": DensityClassifier(GaussianMixture(), random_state=0),
    "mixtures of eight": DensityClassifier(GaussianMixture(8), random_state=0),
    "VAEDensity": DensityClassifier(density, random_state=0),
}
for name, classifier in classifiers.items():
    proba = classifier.fit(X_train, y_train).predict_proba(X_test)
    print(
        f"{name:<18} held-out log-loss {log_loss(y_test, proba):.3f}, "
        f"accuracy {accuracy_score(y_test, proba.argmax(1)):.3f}"
    )

# %%
# The colours are the classifiers' regions. White are the places where the density of
# rows, summed over the classes, is lower than at 99 % of the training rows. The class
# probabilities are as sure there as elsewhere, but the classifier has seen nothing like
# these rows.

figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
side = np.linspace(-4, 4, 25)
grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
colors = plt.get_cmap("Set2")(range(3))[:, :3]
shown = ("GaussianNB", "mixtures of eight", "VAEDensity")
for axis, name in zip(axes, shown, strict=True):
    classifier = classifiers[name]
    proba = classifier.predict_proba(grid)
    image = proba @ colors
    if isinstance(classifier, DensityClassifier):
        unseen = classifier.score_samples(grid) < np.quantile(
            classifier.score_samples(X_train[:200]), 0.01
        )
        image[unseen] = 1
    axis.imshow(
        image.reshape(25, 25, 3), extent=(-4.17, 4.17, -4.17, 4.17), origin="lower"
    )
    for c in range(3):
        axis.plot(*X_test[y_test == c][:150].T, ".", ms=2, color=0.6 * colors[c])
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(name, loc="left", fontsize=10)

default_path = Path(tempfile.gettempdir()) / "skvae-bayes-classifier.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
