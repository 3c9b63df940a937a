"""Can a classifier tell drawn rows from real ones? VAEDensity beside other generators.

Examples::

    python examples/benchmarks/samples.py --data FOLDER --sets concrete wilt
    python examples/benchmarks/samples.py --methods vae gmm

Every generator is fitted to ``train`` and chooses what it has to choose on ``valid``;
``VAEDensity`` gets both and has its defaults. As many rows are drawn as there are test
rows, and gradient-boosted trees learn to tell them apart, in five folds. The figure is
the area under the ROC curve of the held-out folds: 0.5 where rows cannot be told from
real ones, 1 where each of them can. "real" has training rows in the place of drawn
ones. Every figure is a mean over seeds, for draws and folds; ± is its standard error,
which does not have the choice of the test rows.

"tvae" and "ctgan" are the variational autoencoder and the adversarial network of the
package ctgan (L. Xu, M. Skoularidou, A. Cuesta-Infante and K. Veeramachaneni, 2019.
Modeling tabular data using conditional GAN), with its defaults.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _command import add_sets, benchmark_parser, check_sets
from _data import Split, load_split
from _process import in_fresh_process, limit_threads
from _report import markdown_table
from _rivals import fit_flow, fit_gmm
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[int, int], Array]

FLOW_SECONDS = 60.0
N_FOLDS = 5
MOST_ROWS = 2000  # of the test


def draw_vae(split: Split) -> Draw:
    """Fit VAEDensity with its defaults."""
    from skvae import VAEDensity

    rows = np.concatenate([split.train, split.valid])
    density = VAEDensity(random_state=0).fit(rows)
    return lambda n_rows, seed: density.sample(n_rows, random_state=seed)


def draw_gmm(split: Split) -> Draw:
    """Fit a tuned Gaussian mixture."""
    draw = fit_gmm(split, 0).draw
    assert draw is not None
    return draw


def draw_flow(split: Split) -> Draw:
    """Fit a neural spline flow."""
    draw = fit_flow(split, 0, FLOW_SECONDS).draw
    assert draw is not None
    return draw


def draw_ctgan(split: Split, name: str) -> Draw:
    """Fit a generator of the package ctgan."""
    try:
        import ctgan
    except ImportError as error:
        raise ImportError(
            "The generators tvae and ctgan need ctgan: pip install ctgan"
        ) from error
    import pandas as pd
    import torch

    rows = np.concatenate([split.train, split.valid])
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (the package draws from the global state)
    # Its GPU flag has another name in older versions; the CPU is its default here.
    generator: Any = {"tvae": ctgan.TVAE, "ctgan": ctgan.CTGAN}[name]()
    generator.fit(pd.DataFrame(rows, columns=[f"x{j}" for j in range(rows.shape[1])]))

    def draw(n_rows: int, seed: int) -> Array:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        return generator.sample(n_rows).to_numpy(float)

    return draw


METHODS: dict[str, Callable[[Split], Draw]] = {
    "vae": draw_vae,
    "gmm": draw_gmm,
    "flow": draw_flow,
    "tvae": lambda split: draw_ctgan(split, "tvae"),
    "ctgan": lambda split: draw_ctgan(split, "ctgan"),
}


def told_apart(real: Array, drawn: Array, seed: int) -> float:
    """Return the area under the ROC curve of trees, on held-out folds."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = np.concatenate([real, drawn])
    label = np.r_[np.ones(len(real)), np.zeros(len(drawn))]
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    trees = HistGradientBoostingClassifier(random_state=seed)
    chance = cross_val_predict(trees, rows, label, cv=folds, method="predict_proba")
    return float(roc_auc_score(label, chance[:, 1]))


def measure(
    name: str, data: Path | None, methods: list[str], n_seeds: int
) -> dict[str, list[float]]:
    """Return the areas of every method on one set."""
    split = load_split(name, data)
    real = split.test[:MOST_ROWS]
    found: dict[str, list[float]] = {"real": []}
    for seed in range(n_seeds):
        chosen = np.random.default_rng(seed).choice(len(split.train), len(real))
        found["real"].append(told_apart(real, split.train[chosen], seed))
    for method in methods:
        draw = METHODS[method](split)
        found[method] = [
            told_apart(real, draw(len(real), seed), seed) for seed in range(n_seeds)
        ]
    return found


def main() -> int:
    """Measure every set in a fresh process, and print a line for it."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    options = check_sets(parser, parser.parse_args())
    limit_threads(1)
    table = [["set", "real", *options.methods]]
    for name in options.sets:
        found = in_fresh_process(
            measure, name, options.data, options.methods, options.seeds
        )
        line = [name]
        for areas in found.values():
            error = np.std(areas, ddof=1) / len(areas) ** 0.5
            line.append(f"{np.mean(areas):.3f} ± {error:.3f}")
        table.append(line)
        print(*line, sep="  ", flush=True)
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
