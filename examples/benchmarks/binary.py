"""Held-out log-mass of binary tables: VAEDensity beside a Chow–Liu tree.

Examples::

    python examples/benchmarks/binary.py --data FOLDER
    python examples/benchmarks/binary.py --data FOLDER --sets nltcs --param max_iter=50

``FOLDER`` holds ``<set>.npz`` files with arrays ``train``, ``valid`` and ``test`` of
zeros and ones. The tree and the independent columns fit on ``train`` and choose their
pseudo-count on ``valid``. ``VAEDensity(likelihood="bernoulli")`` gets both parts in
one table and holds rows out by itself; its settings are the same for all sets. ``test``
is scored once. Figures are in nats per row. Every ``±`` is a standard error over test
rows, and a difference is paired by row. "error" is the median standard error of one
row's log-mass.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _command import add_param, benchmark_parser, with_components
from _report import markdown_table, mean_and_error, plus_minus
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from skvae import VAEDensity

Array = NDArray[np.float64]
PSEUDO_COUNTS = (0.01, 0.1, 0.5, 1.0, 5.0)
SETS = ("nltcs", "plants", "jester", "baudio", "accidents", "dna")


@dataclass(frozen=True)
class ChowLiuTree:
    """A tree of binary columns: p(x) = Π_d p(x_d | x_parent(d)).

    Attributes
    ----------
    parent : ndarray of shape (D,)
        Column before each column in the tree; the root's is itself.
    log_mass : ndarray of shape (D, 2, 2)
        log p(x_d = b | x_parent = a) at [d, a, b].

    References
    ----------
    C. K. Chow and C. N. Liu, 1968. Approximating discrete probability distributions
    with dependence trees.
    """

    parent: NDArray[np.intp]
    log_mass: Array

    @classmethod
    def fit(cls, rows: Array, pseudo_count: float) -> "ChowLiuTree":
        """Find the tree of largest mutual information."""
        joint = pair_probabilities(rows, pseudo_count)
        single = np.stack([1 - (p := np.diag(joint[1, 1])), p])
        independent = single[:, None, :, None] * single[None, :, None, :]
        information = (joint * np.log(joint / independent)).sum((0, 1))
        # SciPy takes a weight of zero for a missing edge. A constant added to all
        # weights keeps them positive and does not change the tree.
        weight = information.max() + 1 - information
        tree = minimum_spanning_tree(weight)
        order, parent = breadth_first_order(tree, 0, directed=False)
        parent[order[0]] = order[0]
        mass = joint[:, :, parent, np.arange(len(parent))]
        mass[:, :, order[0]] = single[:, order[0]]
        mass = mass / mass.sum(1, keepdims=True)
        return cls(parent, np.log(mass).transpose(2, 0, 1))

    def score_samples(self, rows: Array) -> Array:
        """Return the log-mass of each row."""
        codes = rows.astype(int)
        columns = np.arange(codes.shape[1])
        return self.log_mass[columns, codes[:, self.parent], codes].sum(1)


def pair_probabilities(rows: Array, pseudo_count: float) -> Array:
    """Return smoothed p(x_i = a, x_j = b), shape (2, 2, D, D)."""
    n_rows = len(rows)
    ones = rows.sum(0)
    both = rows.T @ rows
    counts = np.empty((2, 2, len(ones), len(ones)))
    counts[1, 1] = both
    counts[1, 0] = ones[:, None] - both
    counts[0, 1] = ones[None, :] - both
    counts[0, 0] = n_rows - ones[:, None] - ones[None, :] + both
    counts += pseudo_count / 2
    # A column paired with itself has the same value twice: unequal pairs get a tiny
    # count, for the logarithm.
    diagonal = np.arange(len(ones))
    counts[0, 1, diagonal, diagonal] = counts[1, 0, diagonal, diagonal] = 1e-9
    counts[0, 0, diagonal, diagonal] = n_rows - ones + pseudo_count
    counts[1, 1, diagonal, diagonal] = ones + pseudo_count
    return counts / (n_rows + 2 * pseudo_count)


def independent_columns(rows: Array, pseudo_count: float) -> Callable[[Array], Array]:
    """Return the log-mass of independent columns with smoothed frequencies."""
    p = (rows.sum(0) + pseudo_count) / (len(rows) + 2 * pseudo_count)
    return lambda x: x @ np.log(p) + (1 - x) @ np.log1p(-p)


def best_on_valid(
    fit: Callable[[Array, float], Callable[[Array], Array]], train: Array, valid: Array
) -> Callable[[Array], Array]:
    """Return the fit whose pseudo-count is best on the validation rows."""
    candidates = [fit(train, count) for count in PSEUDO_COUNTS]
    return max(candidates, key=lambda score: score(valid).mean())


def main() -> int:
    """Run the benchmark and print its table."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=("valid", "test"), default="test")
    add_param(parser)
    options = parser.parse_args()
    params: dict[str, Any] = with_components(dict(options.param))
    import torch

    torch.set_num_threads(options.threads)
    header = ["set", "columns", "rows", "independent", "Chow–Liu", "VAEDensity"]
    table = [[*header, "VAE − Chow–Liu", "error", "fit s", "rows/s"]]
    for name in options.sets:
        with np.load(options.data / f"{name}.npz") as arrays:
            train, valid, test = (
                arrays[part].astype(float) for part in ("train", "valid", "test")
            )
        if options.part == "valid":
            # Settings are chosen with this part, so that test rows stay unseen.
            test, fit_rows = valid, train
        else:
            fit_rows = np.concatenate([train, valid])
        independent = best_on_valid(independent_columns, train, valid)(test)
        tree = best_on_valid(
            lambda rows, count: ChowLiuTree.fit(rows, count).score_samples, train, valid
        )(test)
        density = VAEDensity(
            **{"likelihood": "bernoulli", "random_state": options.seed, **params}
        )
        start = perf_counter()
        density.fit(fit_rows)
        fitted = perf_counter()
        evidence = density.evidence(test)
        scored = perf_counter()
        log_mass = evidence.log_density
        cells = [
            name,
            str(train.shape[1]),
            str(len(train)),
            plus_minus(*mean_and_error(independent)),
            plus_minus(*mean_and_error(tree)),
            plus_minus(*mean_and_error(log_mass)),
            plus_minus(*mean_and_error(log_mass - tree), "+"),
            f"{np.median(evidence.standard_error):.3f}",
            f"{fitted - start:.0f}",
            f"{len(test) / (scored - fitted):.0f}",
        ]
        table.append(cells)
        print("  ".join(cells), flush=True)
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
