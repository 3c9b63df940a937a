"""
Frauds with p-values
====================

A simulated table of card payments: four columns of very different shapes, 2 frauds in
1,000 rows, no labels. ``DensityOutlierDetector`` learns how probable a payment is. It
then compares the log-density of a new payment with those of payments that it was not
fitted to, which gives a p-value. A p-value means the same in every table: of ordinary
payments, one in a thousand has a p-value of 0.001 or less.

Run it with ``python examples/plot_outlier_pvalues.py [FIGURE]``.
"""

# %%
# Payments
# --------
#
# Amounts depend on the hour, which has a peak by day and one at night. The distance
# from home is mostly small, with a long tail. The balance follows the amount and the
# distance. Each value of a fraud is usual by itself; what is unusual is the
# combination.

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skvae import DensityOutlierDetector, VAEDensity

NAMES = ("log amount", "hour", "log distance", "log balance")


def payments(n: int, rng: np.random.Generator) -> np.ndarray:
    at_night = rng.random(n) < 0.2
    hour = np.where(at_night, rng.normal(2, 1.5, n), rng.normal(14, 3, n))
    amount = np.where(at_night, 2.5, 3.5) + 0.8 * rng.normal(size=n)
    away = rng.random(n) < 0.3
    distance = np.where(away, 1 + rng.exponential(1, n), 0.1 * rng.random(n))
    balance = 5 + 0.8 * amount + 0.4 * distance + 0.3 * rng.normal(size=n)
    return np.c_[amount, hour, distance, balance]


def frauds(n: int, rng: np.random.Generator) -> np.ndarray:
    # Each value comes from another payment: every column keeps its distribution, but
    # the values of a row do not fit together. The balance is also lower by 1.5.
    rows = payments(20 * n, rng)
    shuffled = np.stack([rng.permutation(column) for column in rows.T], 1)[:n]
    shuffled[:, 3] -= 1.5
    return shuffled


rng = np.random.default_rng(0)
train = np.r_[payments(2495, rng), frauds(5, rng)]
n_frauds = 8
test = np.r_[payments(3992, rng), frauds(n_frauds, rng)]
is_fraud = np.arange(len(test)) >= len(test) - n_frauds

# %%
# p-values
# --------
#
# A fifth of the training rows is held out of fitting. The p-value of a new payment is
# the rank of its score among the scores of these rows, as a share. A few frauds among
# the training rows do little harm.

density = VAEDensity(
    hidden_layer_sizes=(32, 32),
    max_iter=60,
    marginal_transform=None,
    smoothing="auto",
    evidence_tol=0.3,
    max_evidence_samples=256,
)
detector = DensityOutlierDetector(density, reference="held_out", random_state=0)
detector.fit(train)
p_values = detector.p_values(test)
for rate in (0.01, 0.05):
    below = p_values <= rate
    print(
        f"p ≤ {rate}: {below[~is_fraud].mean():.2%} of ordinary payments, "
        f"{below[is_fraud].sum()} of {n_frauds} frauds"
    )

# %%
# Why?
# ----
#
# Each value of the strangest fraud is exchanged with those of 32 other payments. The
# change in log-density says how well the value goes with the other columns. A second
# figure says how usual the value is by itself.

scores = detector.score_samples(test[is_fraud])
explanation = detector.explain(test[is_fraud][[scores.argmin()]])
for j in explanation.given_others[0].argsort():
    print(
        f"{NAMES[j]:>12} = {explanation.value[0, j]:5.2f}: "
        f"{explanation.given_others[0, j]:+6.2f} nats with the other columns, "
        f"{explanation.alone[0, j]:+6.2f} alone; usual: {explanation.usual[0, j]:.2f}"
    )

# %%
# The p-values of ordinary payments are uniformly distributed, so their curve lies on
# the diagonal. Most frauds have very small p-values, at the left.

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
ordinary = np.sort(p_values[~is_fraud])
left.plot([1e-3, 1], [1e-3, 1], color="0.7", lw=0.8)
left.step(ordinary, (1 + np.arange(len(ordinary))) / len(ordinary), label="ordinary")
left.plot(
    np.sort(p_values[is_fraud]),
    (1 + np.arange(n_frauds)) / n_frauds,
    "o",
    color="C3",
    label="frauds",
)
left.set(
    xscale="log",
    yscale="log",
    xlabel="p-value, at most",
    ylabel="share of the held-out rows",
)
left.legend(frameon=False)
left.set_title("p-values mean what they say", loc="left", fontsize=10)
image = right.scatter(test[:, 0], test[:, 3], c=np.log10(p_values), s=4, cmap="cividis")
right.plot(*test[is_fraud][:, [0, 3]].T, "o", mfc="none", color="C3", label="frauds")
right.set(xlabel=NAMES[0], ylabel=NAMES[3])
right.legend(frameon=False)
right.set_title("Two of the four columns", loc="left", fontsize=10)
figure.colorbar(image, ax=right, label="log₁₀ p-value")

default_path = Path(tempfile.gettempdir()) / "skvae-outlier-pvalues.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
