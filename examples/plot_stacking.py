"""
A mixture of densities, and whether it pays
===========================================

An autoencoder, a Gaussian mixture and a kernel density are wrong about different
rows. ``StackedDensity`` mixes them, with the weights that fit held-out rows best.
``compare_densities`` says by how much the mixture is better, and whether that may be
luck. The table has six measurements of 569 tumours.

Run it with ``python examples/plot_stacking.py [FIGURE]``.
"""

# %%
# Three densities and their mixture
# ---------------------------------
#
# Densities can only be mixed in the same units. Therefore the rows are scaled once,
# here, and not by a pipeline in each member. Three folds give every row a held-out
# score, from which the weights are computed; then every member is fitted to all rows.

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skvae import StackedDensity, VAEDensity, compare_densities

cancer = load_breast_cancer()
columns = ["radius", "texture", "smoothness", "compactness", "concavity", "symmetry"]
chosen = np.isin(cancer.feature_names, [f"mean {column}" for column in columns])
X = StandardScaler().fit_transform(cancer.data[:, chosen])

vae = VAEDensity(
    hidden_layer_sizes=(32, 32),
    marginal_transform=None,
    max_iter=60,
    evidence_tol=0.2,
)
members = {
    "VAEDensity": vae,
    "Gaussian mixture": GaussianMixture(4),
    "kernel density": KernelDensity(bandwidth=0.3),
}
stack = StackedDensity(list(members.items()), cv=3, random_state=0).fit(X)
for name, weight, score in zip(
    members, stack.weights_, stack.member_scores_, strict=True
):
    print(f"{name:<18}weight {weight:.2f}, held-out log-density {score:.3f}")
print(f"Their mixture: {stack.validation_score_:.3f}")

# %%
# No other weights would gain more than ``weights_gap_`` nats per row on these held-out
# rows. The mixture is a density like any other: it scores and samples rows, and
# ``evidence`` has the standard errors of its scores.

print(f"Proven gap of the weights: {stack.weights_gap_:.0e} nats per row")
evidence = stack.evidence(X)
print(f"Median standard error of a row: {np.median(evidence.standard_error):.3f} nats")
print("A sampled row:", *stack.sample(1)[0].round(2))

# %%
# Is it better, or lucky?
# -----------------------
#
# The weights were chosen by the scores above, so these flatter the mixture. A
# comparison is fair: all four densities, the mixture with its weights included, are
# fitted to three quarters of the rows and score the rest, four times. Differences are
# paired by row.

comparison = compare_densities({"stack": stack, **members}, X, cv=4, random_state=0)
print()
print(comparison)

# %%
# Every dot on the right is a tumour. Many tumours that the autoencoder finds unlikely
# are likelier for the Gaussian mixture, and the other way round. The log-density of the
# stack is nowhere lower than that of a member plus the logarithm of the member's
# weight, and the stack gains where the members disagree.

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
comparison.plot(left)
left.set_title("Mean over rows, ± two standard errors", loc="left", fontsize=10)

by = dict(zip(comparison.names, comparison.scores.log_density.T, strict=True))
lowest, highest = -14, -2
x, y = (by[name].clip(lowest) for name in ("Gaussian mixture", "VAEDensity"))
image = right.scatter(x, y, c=by["stack"].clip(lowest), cmap="cividis", s=14)
right.plot([lowest, highest], [lowest, highest], color="0.7", lw=0.8, zorder=0)
right.set(
    xlabel="Gaussian mixture, nats",
    ylabel="VAEDensity, nats",
    xlim=(lowest - 0.5, highest),
    ylim=(lowest - 0.5, highest),
)
right.set_title("Held-out log-density of each tumour", loc="left", fontsize=10)
figure.colorbar(image, ax=right, label="stack, nats")

default_path = Path(tempfile.gettempdir()) / "skvae-stacking.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
