"""
Two moons, three densities
==========================

A Gaussian mixture, a kernel density and ``VAEDensity`` estimate a curved density in two
columns from 1,000 rows. The mixture and the kernel density are tuned by cross-validated
log-density. The figures in the titles are mean log-densities of 5,000 fresh rows.

Run it with ``python examples/plot_two_moons.py [FIGURE]``.
"""

# %%
# Rows
# ----

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from skvae import VAEDensity

X, _ = make_moons(1000, noise=0.07, random_state=0)
X_test, _ = make_moons(5000, noise=0.07, random_state=1)

# %%
# Estimators
# ----------

estimators = {
    "Gaussian mixture": GridSearchCV(
        GaussianMixture(random_state=0), {"n_components": [2, 4, 8, 12, 16]}
    ),
    "kernel density": GridSearchCV(
        KernelDensity(), {"bandwidth": np.geomspace(0.02, 0.3, 9)}
    ),
    # For a picture, log-densities with a standard error of 0.1 nats are good enough.
    "VAEDensity": VAEDensity(evidence_tol=0.1, random_state=0),
}

# %%
# Pictures
# --------
#
# All panels share one colour scale, log p(x) in nats. The white dots are rows sampled
# from the VAE.

x, y = np.linspace(-1.6, 2.6, 85), np.linspace(-1.1, 1.6, 55)
grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
figure, axes = plt.subplots(
    1, 3, figsize=(10.5, 2.9), sharex=True, sharey=True, layout="constrained"
)
for axis, (name, estimator) in zip(axes, estimators.items(), strict=True):
    estimator.fit(X)
    density = getattr(estimator, "best_estimator_", estimator)
    score = density.score_samples(X_test).mean()
    print(f"{name}: {score:.3f} nats per fresh row")
    image = axis.contourf(
        x,
        y,
        np.maximum(density.score_samples(grid).reshape(len(y), len(x)), -12),
        levels=np.arange(-12, 1.01, 1),
        cmap="cividis",
        extend="min",
    )
    axis.set_title(f"{name}: {score:.3f} nats per row", fontsize=10, loc="left")
    axis.set(xticks=[-1, 0, 1, 2], yticks=[-1, 0, 1], aspect="equal")
axes[-1].plot(
    *estimators["VAEDensity"].sample(150, random_state=0).T,
    ".",
    color="white",
    markersize=2.5,
)
figure.colorbar(image, ax=axes, label="log p(x), nats", shrink=0.95)

default_path = Path(tempfile.gettempdir()) / "skvae-two-moons.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
