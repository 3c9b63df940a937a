"""
Which model? Ask held-out rows
==============================

How many latents, which likelihood, which prior? The mean log-density of held-out rows
answers all of these questions in one unit, nats per row. ``VAEDensity`` returns it from
``score``, so scikit-learn's searches work without changes. They can search over the
parameters of the estimator and over those of its components, such as
``prior__n_modes``.

Run it with ``python examples/plot_model_selection.py [FIGURE]``.
"""

# %%
# A grid: latents and likelihood
# ------------------------------
#
# The table has six measurements of 569 tumours, standardised. Their tails are long:
# either the likelihood has long tails itself, or the latents have to make them. A
# quarter of the rows is put aside for the end.

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    train_test_split,
)
from sklearn.preprocessing import StandardScaler

from skvae import GaussianLikelihood, MixtureLikelihood, MixturePrior, VAEDensity

cancer = load_breast_cancer()
columns = ["radius", "texture", "smoothness", "compactness", "concavity", "symmetry"]
chosen = np.isin(cancer.feature_names, [f"mean {column}" for column in columns])
X_train, X_test = train_test_split(cancer.data[:, chosen], random_state=0)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

quick = VAEDensity(
    hidden_layer_sizes=(32, 32),
    marginal_transform=None,
    max_iter=20,
    evidence_tol=0.5,
    random_state=0,
)
folds = KFold(3, shuffle=True, random_state=0)
grid = GridSearchCV(
    quick,
    {
        "likelihood": ["gaussian", "mixture", "student_t"],
        "n_components": [2, 3, 5],
    },
    cv=folds,
).fit(X_train)

print("Held-out log-density, nats per row, by likelihood and number of latents")
means = np.array(grid.cv_results_["mean_test_score"]).reshape(3, 3)
names, sizes = grid.param_grid["likelihood"], grid.param_grid["n_components"]
print(f"{'':<12}" + "".join(f"{size:>9}" for size in sizes))
for name, scores in zip(names, means, strict=True):
    print(f"{name:<12}" + "".join(f"{score:>9.3f}" for score in scores))
print(f"Chosen: {grid.best_params_}")

# %%
# Many parameters: successive halving
# -----------------------------------
#
# Components are parameter objects. A search can exchange whole components, and it
# reaches the parameters of a component by two underscores. Here six random candidates
# train for a few epochs. The better half of them is trained again with twice as many
# epochs, and so on.

halving = HalvingRandomSearchCV(
    clone(quick).set_params(
        prior=MixturePrior(), likelihood=MixtureLikelihood(), n_components=2
    ),
    {
        "n_components": [2, 3, 5],
        "prior__n_modes": [1, 4, 16],
        "likelihood": [
            GaussianLikelihood(scale="column"),
            GaussianLikelihood(),
            MixtureLikelihood(n_modes=2),
            MixtureLikelihood(n_modes=6),
        ],
        "learning_rate": [0.001, 0.004, 0.008],
    },
    resource="max_iter",
    n_candidates=6,
    min_resources=8,
    max_resources=32,
    factor=2,
    return_train_score=False,
    cv=folds,
    random_state=0,
).fit(X_train)

results = halving.cv_results_
for iteration in np.unique(results["iter"]):
    scores = results["mean_test_score"][results["iter"] == iteration]
    print(
        f"{halving.n_resources_[iteration]:>3} epochs: {len(scores)} candidates, "
        f"{scores.min():.3f} to {scores.max():.3f}"
    )
print("Chosen:", ", ".join(f"{k}={v}" for k, v in halving.best_params_.items()))

# %%
# The winners on rows that had no part in the choice
# --------------------------------------------------
#
# The score that a winner was chosen by is a little too good, because the choice picks
# luck, too. A fair score needs rows that had no part in the choice: those that were put
# aside.

winners = {"no search": quick.fit(X_train), "grid": grid, "halving": halving}
for name, winner in winners.items():
    print(f"{name:<10}{winner.score(X_test):.3f} nats per test row")

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10.5, 3.8), sharey=True, layout="constrained"
)
for name, scores in zip(names, means, strict=True):
    left.plot(sizes, scores, "o-", label=name, markersize=4)
left.set(xlabel="latents", ylabel="held-out log-density, nats per row", xticks=sizes)
left.set_title("Grid: latents and likelihood", loc="left", fontsize=10)
left.legend(frameon=False, fontsize=9)

candidates: dict[str, list[tuple[int, float]]] = {}
for epochs, parameters, score in zip(
    results["n_resources"], results["params"], results["mean_test_score"], strict=True
):
    key = str({k: v for k, v in parameters.items() if k != "max_iter"})
    candidates.setdefault(key, []).append((epochs, score))
for path in candidates.values():
    right.plot(*np.transpose(path), "o-", color="C0", alpha=0.7, markersize=4)
right.set(xlabel="epochs", xticks=halving.n_resources_)
right.set_title("Halving: six candidates", loc="left", fontsize=10)

default_path = Path(tempfile.gettempdir()) / "skvae-model-selection.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")
