"""Small tables: `VAEDensity` beside mixtures and kernels that are tuned by folds.

Examples::

    python examples/benchmarks/small.py --rows 50 300 --columns 2 all --draws 3
    python examples/benchmarks/small.py --data FOLDER --part test --draws 10

A cell is some random rows of some random columns of a set. Densities are fitted to
these rows, and judged on at most 2,000 rows of another part of the set. Figures are
mean log-densities in nats per row, in the units of the set. "Ahead" is the share of
cells in which the mean over the draws is at least that of the tuned mixture, less 0.02
nats.

The mixture is the best by five folds (ten on less than 50 rows) of 1 to 20 modes, with
full, tied, diagonal or spherical covariances and two regularisations; the kernel
density the best of 15 bandwidths. Each of them is fitted again to all rows.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from _command import add_param, add_sets, benchmark_parser, check_sets, with_components
from _data import load_split
from _process import limit_threads
from _report import markdown_table, plus_minus
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_SCORED = 2000
N_MODES = (1, 2, 3, 5, 10, 20)
TYPES = ("full", "tied", "diag", "spherical")
REG_COVAR = (1e-6, 1e-3)
BANDWIDTHS = np.geomspace(0.02, 1.5, 15)
FEW_ROWS = 50
LEVEL = 0.02  # nats by which a density may be behind and count as level


@dataclass(frozen=True)
class Cell:
    """Some rows of some columns of a set, and others to judge by.

    Parameters
    ----------
    dataset : str
        The set.
    n_columns, n_rows, draw : int
        Sizes, and the number of the draw.
    rows, others : ndarray
        Rows to fit to and to be judged by.
    """

    dataset: str
    n_columns: int
    n_rows: int
    draw: int
    rows: Array
    others: Array


@dataclass(frozen=True)
class Line:
    """What was measured in a cell: nats per row and CPU seconds by method."""

    cell: Cell
    nats: dict[str, float]
    seconds: dict[str, float]


def folds_of(rows: Array) -> Any:
    """Return the folds by which rivals are tuned."""
    from sklearn.model_selection import KFold

    n_folds = 5 if len(rows) >= FEW_ROWS else min(10, len(rows))
    return KFold(n_folds, shuffle=True, random_state=0)


def fit_mixture(rows: Array) -> Any:
    """Return the Gaussian mixture that is best by folds."""
    from sklearn.mixture import GaussianMixture

    best_score, best = -np.inf, None
    folds = list(folds_of(rows).split(rows))
    fewest = min(len(train) for train, _ in folds)
    for kind, reg_covar in product(TYPES, REG_COVAR):
        previous = -np.inf
        for n_modes in N_MODES:
            if n_modes > 1 and n_modes > fewest // 2:
                break
            mixture = GaussianMixture(
                n_modes, covariance_type=kind, reg_covar=reg_covar, random_state=0
            )
            try:
                scores = [
                    mixture.fit(rows[train]).score(rows[held]) for train, held in folds
                ]
            except ValueError:  # a covariance has collapsed
                break
            score = float(np.mean(scores))
            if score > best_score:
                best_score = score
                best = mixture
            if score < previous - 1:
                break
            previous = max(score, previous)
    assert best is not None
    return best.fit(rows)


def fit_kernels(rows: Array) -> Any:
    """Return the kernel density that is best by folds."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    scale = rows.std(0).mean() or 1.0
    search = GridSearchCV(
        KernelDensity(leaf_size=len(rows)),
        {"bandwidth": scale * BANDWIDTHS},
        cv=folds_of(rows),
    )
    return search.fit(rows).best_estimator_


def cells_of(arguments: argparse.Namespace, dataset: str) -> list[Cell]:
    """Return the cells of a set."""
    split = load_split(dataset, arguments.data)
    pool, others = split.train, getattr(split, arguments.part)
    if arguments.part == "test":
        pool = np.concatenate([split.train, split.valid])
    n_all = pool.shape[1]
    cells = []
    for n_columns in arguments.columns:
        n_columns = n_all if n_columns == "all" else int(n_columns)
        for n_rows, draw in product(arguments.rows, range(arguments.draws)):
            if n_columns > n_all or n_rows > len(pool):
                continue
            rng = np.random.default_rng([arguments.seed, n_columns, n_rows, draw])
            columns = rng.choice(n_all, n_columns, replace=False)
            chosen = rng.choice(len(pool), n_rows, replace=False)
            rows = pool[np.ix_(chosen, columns)]
            judged = others[:N_SCORED, columns]
            cells.append(Cell(dataset, n_columns, n_rows, draw, rows, judged))
    return cells


def measure(cell: Cell, fitters: dict[str, Callable[[Array], Any]]) -> Line:
    """Fit and judge all methods."""
    nats, seconds = {}, {}
    for method, fit in fitters.items():
        began = process_time()
        density = fit(cell.rows)
        seconds[method] = process_time() - began
        nats[method] = float(np.mean(density.score_samples(cell.others)))
    return Line(cell, nats, seconds)


def line_of(line: Line) -> str:
    """Format a cell of the running report."""
    cell = line.cell
    figures = "  ".join(
        f"{method} {nats:9.3f} ({line.seconds[method]:5.2f} s)"
        for method, nats in line.nats.items()
    )
    return (
        f"{cell.dataset:<14} {cell.n_rows:5} × {cell.n_columns:<3} {cell.draw}  "
        f"{figures}"
    )


def summary(lines: list[Line]) -> str:
    """Return a table: a row for every number of rows and of columns."""
    rows = [
        [
            *("rows", "columns", "cells", "VAE − mixture", "ahead", "VAE − kernels"),
            *("ahead", "VAE: s", "mixture: s"),
        ]
    ]
    wide = "all"
    groups: dict[tuple[int, str], dict[str, list[Line]]] = {}
    for line in lines:
        cell = line.cell
        n_columns = str(cell.n_columns) if cell.n_columns in (1, 2, 5) else wide
        cells = groups.setdefault((cell.n_rows, n_columns), {})
        cells.setdefault(cell.dataset, []).append(line)
    every: dict[str, list[Line]] = {}
    for (n_rows, n_columns), group in sorted(groups.items()):
        rows.append([str(n_rows), n_columns, *_figures(group)])
        every.update({f"{key} {n_rows} {n_columns}": group[key] for key in group})
    rows.append(["all", "all", *_figures(every)])
    return markdown_table(rows)


def _figures(group: dict[str, list[Line]]) -> list[str]:
    cells = [str(len(group))]
    for rival in ("mixture", "kernels"):
        leads = np.array(
            [
                np.mean([line.nats["vae"] - line.nats[rival] for line in draws])
                for draws in group.values()
            ]
        )
        error = float(leads.std(ddof=1) / len(leads) ** 0.5) if len(leads) > 1 else None
        ahead = f"{np.mean(leads >= -LEVEL):.0%}"
        cells += [plus_minus(float(leads.mean()), error, "+"), ahead]
    for method in ("vae", "mixture"):
        seconds = [line.seconds[method] for draws in group.values() for line in draws]
        cells.append(f"{np.median(seconds):.2f}")
    return cells


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--part", choices=("valid", "test"), default="valid")
    parser.add_argument("--rows", type=int, nargs="+", default=[20, 50, 100, 300, 1000])
    parser.add_argument("--columns", nargs="+", default=["1", "2", "5", "all"])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of rows")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    add_param(parser)
    return check_sets(parser, parser.parse_args())


def main() -> int:
    """Run the benchmark."""
    arguments = parse_arguments()
    limit_threads(1)
    warnings.simplefilter("ignore")
    import torch

    from skvae import VAEDensity

    torch.set_num_threads(1)
    params = with_components(dict(arguments.param))
    fitters: dict[str, Callable[[Array], Any]] = {
        "vae": lambda rows: VAEDensity(**{"random_state": 0, **params}).fit(rows),
        "mixture": fit_mixture,
        "kernels": fit_kernels,
    }
    lines = []
    for dataset in arguments.sets:
        for cell in cells_of(arguments, dataset):
            lines.append(measure(cell, fitters))
            print(line_of(lines[-1]), flush=True)
    table = summary(lines)
    if arguments.markdown:
        arguments.markdown.write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
