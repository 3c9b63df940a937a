"""Filling in missing cells: `VAEDensity` beside imputers and a Gaussian mixture.

Examples::

    python examples/benchmarks/missing.py --sets wine --masks mcar20 mar20
    python examples/benchmarks/missing.py --data FOLDER --part test --draws 3
    python examples/benchmarks/missing.py --data FOLDER --complete-density

A cell of the report is a set and a mask. Training rows and judged rows have the same
kind of mask: 20 or 50 % of the cells, completely at random (mcar20, mcar50), or 20 % of
the cells of half of the columns, by what the other columns hold (mar20). Methods are
fitted to the incomplete training rows and fill in the judged ones.

- vae: `VAEDensity`; the mean, and 50 draws
- miwae: the model of Mattei and Frellsen (2019), built from the parts of skvae
- mean: column means
- knn: the mean of the five nearest rows (`KNNImputer`)
- ridge: chained Bayesian ridge regressions (`IterativeImputer`), and 20 draws
- trees: chained regressions by extremely randomised trees, much like missForest
- gmm: a Gaussian mixture of 1 to 20 modes, fitted to rows that are completed by draws;
  the mean of its conditional, and 50 draws

Figures are means over missing cells, and ± is a standard error over rows:

- RMSE, of one value for each cell, in standard deviations of the column
- CRPS, of the draws; where there are none, the absolute error
- nats: log-density of the missing cells given the observed ones, per missing cell
- coverage and width of the central 90 % interval of the draws
- CPU seconds of the fit and of filling in

Differences are "vae − method", paired by row, of the squared error, the CRPS and the
nats. They are "level" up to two standard errors, else "ahead" or "behind": of vae.

With `--complete-density`, nothing is filled in. The figures are then log-densities of
complete rows, in nats per row, after a fit to rows without 0, 20 and 50 % of the cells.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from _command import add_param, add_sets, benchmark_parser, check_sets, with_components
from _data import load_split
from _imputers import METHODS, Filled, imputer
from _masks import MASKS, completely_at_random, missing_cells
from _process import limit_threads
from _report import markdown_table, mean_and_error, plus_minus
from _rivals import random_rows
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

INTERVAL = (0.05, 0.95)
ERRORS = 2.0  # standard errors by which a difference is more than chance
RATES = (0.0, 0.2, 0.5)
# What is compared with vae, and the sign that it has where vae is ahead.
COMPARED = {"squared": -1, "crps": -1, "nats": 1}
TITLES = {"squared": "squared error", "crps": "CRPS", "nats": "nats"}


@dataclass(frozen=True)
class Task:
    """A set, its rows, and which of their cells are missing.

    Parameters
    ----------
    dataset, mask : str
        The set and the kind of mask.
    draw : int
        Number of the mask.
    train, judged : ndarray of shape (n_rows, n_columns)
        Rows with NaN.
    truth : ndarray of shape (n_rows, n_columns)
        Judged rows without.
    """

    dataset: str
    mask: str
    draw: int
    train: Array
    judged: Array
    truth: Array


@dataclass(frozen=True)
class Line:
    """What was measured of a method in a cell.

    Parameters
    ----------
    task : Task
    method : str
    n_cells : ndarray of shape (n_rows,)
        Number of missing cells of each row.
    sums : dict of ndarray of shape (n_rows,)
        Sums over the missing cells of each row, by figure. Those that a method does not
        have are absent.
    fit_seconds, fill_seconds : float
        CPU seconds.
    """

    task: Task
    method: str
    n_cells: Array
    sums: dict[str, Array]
    fit_seconds: float
    fill_seconds: float


def rows_of(arguments: argparse.Namespace, dataset: str) -> tuple[Array, Array]:
    """Return training rows and judged rows of a set, complete."""
    split = load_split(dataset, arguments.data)
    pool, others = split.train, getattr(split, arguments.part)
    if arguments.part == "test":
        pool = np.concatenate([split.train, split.valid])
    train = random_rows(pool, arguments.max_rows, arguments.seed)
    return train, others[: arguments.test_rows]


def tasks_of(arguments: argparse.Namespace, dataset: str) -> list[Task]:
    """Return the tasks of a set."""
    train, truth = rows_of(arguments, dataset)
    tasks = []
    for mask, draw in product(arguments.masks, range(arguments.draws)):
        rng = np.random.default_rng([arguments.seed, list(MASKS).index(mask), draw])
        tables = [train, truth]
        cells = missing_cells(mask, tables, rng)
        incomplete, judged = (
            np.where(missing, np.nan, table)
            for table, missing in zip(tables, cells, strict=True)
        )
        tasks.append(Task(dataset, mask, draw, incomplete, judged, truth))
    return tasks


def fair_crps(draws: Array, truth: Array) -> Array:
    r"""Return the CRPS of draws, without the bias of their number.

    .. math:: \frac1m \sum_i |x_i - y| - \frac{1}{2 m (m - 1)} \sum_{i,j} |x_i - x_j|

    The second sum is taken over sorted draws, of which each is subtracted from those
    above it.
    """
    n_draws = len(draws)
    ranks = 2 * np.arange(1, n_draws + 1) - n_draws - 1
    pairs = np.tensordot(ranks, np.sort(draws, axis=0), axes=1)
    return np.abs(draws - truth).mean(0) - pairs / (n_draws * (n_draws - 1))


def line_for(task: Task, method: str, filled: Filled) -> Line:
    """Judge filled rows by the true ones."""
    missing = np.isnan(task.judged)
    figures = {"squared": np.square(filled.point - task.truth)}
    if filled.draws is None:
        figures["crps"] = np.abs(filled.point - task.truth)
    else:
        figures["crps"] = fair_crps(filled.draws, task.truth)
        # Between Weibull's quantiles of m draws, another draw falls with the nominal
        # probability; between linear ones, with 81 % where there are 20 draws.
        lower, upper = np.quantile(filled.draws, INTERVAL, axis=0, method="weibull")
        figures["covered"] = (task.truth >= lower) & (task.truth <= upper)
        figures["width"] = upper - lower
    sums = {name: (values * missing).sum(1) for name, values in figures.items()}
    if filled.nats is not None:
        sums["nats"] = filled.nats * missing.any(1)
    if not all(np.isfinite(values).all() for values in sums.values()):
        raise ValueError("A figure is not finite.")
    n_cells = missing.sum(1).astype(float)
    return Line(task, method, n_cells, sums, filled.fit_seconds, filled.fill_seconds)


def pooled(lines: list[Line]) -> Line:
    """Return the sums of several masks of the same rows, and the mean seconds."""
    names = set.intersection(*(set(line.sums) for line in lines))
    return Line(
        lines[0].task,
        lines[0].method,
        np.sum([line.n_cells for line in lines], axis=0),
        {name: np.sum([line.sums[name] for line in lines], axis=0) for name in names},
        float(np.mean([line.fit_seconds for line in lines])),
        float(np.mean([line.fill_seconds for line in lines])),
    )


def per_cell(sums: Array, n_cells: Array) -> tuple[float, float]:
    """Return a mean over cells and its standard error over rows.

    Rows have different numbers of missing cells, so the mean is a ratio of two sums
    over rows. Its error is that of the linearised ratio.
    """
    mean = sums.sum() / n_cells.sum()
    rest = sums - mean * n_cells
    n_rows = len(rest)
    variance = np.square(rest).sum() * n_rows / max(n_rows - 1, 1)
    return float(mean), float(np.sqrt(variance) / n_cells.sum())


def figure(line: Line, name: str) -> tuple[float | None, float | None]:
    """Return a figure of a method and its error, or twice None."""
    if name not in line.sums:
        return None, None
    mean, error = per_cell(line.sums[name], line.n_cells)
    if name != "squared":
        return mean, error
    root = float(np.sqrt(mean))
    return root, error / (2 * root) if root else 0.0


def difference(
    vae: list[Line], others: list[Line], name: str
) -> tuple[float, float] | None:
    """Return "vae − method" of a figure and its error, over masks that both have."""
    draws = {line.task.draw for line in vae} & {line.task.draw for line in others}
    if not draws:
        return None
    a, b = (
        pooled([line for line in lines if line.task.draw in draws])
        for lines in (vae, others)
    )
    if name not in a.sums or name not in b.sums:
        return None
    return per_cell(a.sums[name] - b.sums[name], a.n_cells)


def verdict(lead: tuple[float, float], name: str) -> str:
    """Say where vae stands: ahead, level or behind."""
    mean, error = lead
    if abs(mean) <= ERRORS * error:
        return "level"
    return "ahead" if mean * COMPARED[name] > 0 else "behind"


def line_of(line: Line) -> str:
    """Format a line of the running report."""
    task = line.task
    rmse, crps, nats = (plus_minus(*figure(line, name)) for name in COMPARED)
    coverage = figure(line, "covered")[0]
    return (
        f"{task.dataset:<14} {len(task.train):5} × {task.train.shape[1]:<3} "
        f"{task.mask:<6} {task.draw}  {line.method:<5}  RMSE {rmse}  CRPS {crps}  "
        f"nats {nats:<16}  coverage {_share(coverage):<4}  "
        f"fit {line.fit_seconds:.1f} s  fill {line.fill_seconds:.1f} s"
    )


Groups = dict[tuple[str, str], dict[str, list[Line]]]


def groups_of(lines: list[Line]) -> Groups:
    """Return lines by set and mask, and then by method."""
    groups: Groups = {}
    for line in lines:
        methods = groups.setdefault((line.task.dataset, line.task.mask), {})
        methods.setdefault(line.method, []).append(line)
    return groups


def detail_table(groups: Groups) -> str:
    """Return a table with a line for every set, mask and method."""
    rows = [
        [
            *("set", "rows × columns", "mask", "method", "RMSE", "CRPS", "nats"),
            *("coverage", "width", "fit s", "fill s"),
            *(f"vae − method: {TITLES[name]}" for name in COMPARED),
        ]
    ]
    for (dataset, mask), methods in groups.items():
        for method, lines in methods.items():
            line = pooled(lines)
            n_rows, n_columns = line.task.train.shape
            width = figure(line, "width")[0]
            cells = [dataset, f"{n_rows} × {n_columns}", mask, method]
            cells += [plus_minus(*figure(line, name)) for name in COMPARED]
            cells += [
                _share(figure(line, "covered")[0]),
                "–" if width is None else f"{width:.2f}",
                f"{line.fit_seconds:.1f}",
                f"{line.fill_seconds:.1f}",
            ]
            for name in COMPARED:
                lead = None
                if method != "vae" and "vae" in methods:
                    lead = difference(methods["vae"], lines, name)
                cells.append(
                    "–"
                    if lead is None
                    else f"{plus_minus(*lead, '+')} {verdict(lead, name)}"
                )
            rows.append(cells)
    return markdown_table(rows)


def summary_table(groups: Groups) -> str:
    """Return in how many cells vae is ahead, level and behind, figure by figure."""
    rivals = [
        method
        for method in METHODS
        if method != "vae" and any(method in methods for methods in groups.values())
    ]
    rows = [["figure", "cells", "vae best or level", *rivals]]
    for name in COMPARED:
        best: list[bool] = []
        counts = {method: {"ahead": 0, "level": 0, "behind": 0} for method in rivals}
        for methods in groups.values():
            verdicts = {
                method: verdict(lead, name)
                for method, lines in methods.items()
                if method != "vae"
                and (lead := difference(methods.get("vae", []), lines, name))
            }
            for method, word in verdicts.items():
                counts[method][word] += 1
            if verdicts:
                best.append("behind" not in verdicts.values())
        share = f"{np.mean(best):.0%}" if best else "–"
        cells = [
            " / ".join(map(str, count.values())) if any(count.values()) else "–"
            for count in counts.values()
        ]
        rows.append([TITLES[name], str(len(best)), share, *cells])
    return markdown_table(rows)


def coverage_table(groups: Groups) -> str:
    """Return coverage and width of 90 % intervals, means over cells."""
    rows = [["method", "cells", "coverage", "lowest", "highest", "width"]]
    for method in METHODS:
        lines = [
            line
            for methods in groups.values()
            if method in methods and "covered" in (line := pooled(methods[method])).sums
        ]
        if not lines:
            continue
        coverage, width = (
            [per_cell(line.sums[name], line.n_cells)[0] for line in lines]
            for name in ("covered", "width")
        )
        shares = [_share(float(f(coverage))) for f in (np.mean, np.min, np.max)]
        rows.append([method, str(len(lines)), *shares, f"{np.mean(width):.2f}"])
    return markdown_table(rows)


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def report(lines: list[Line]) -> str:
    """Return the tables with the sentences that make them readable alone."""
    groups = groups_of(lines)
    return (
        "Cells (set × mask) in which vae is the best method or level with it; beside "
        "each method, in how many vae is ahead / level / behind.\n\n"
        f"{summary_table(groups)}\n\n"
        "Central 90 % intervals of draws, means over cells.\n\n"
        f"{coverage_table(groups)}\n\n"
        "Means over missing cells ± standard error over rows, in standardised columns; "
        "CPU seconds. Differences are paired by row.\n\n"
        f"{detail_table(groups)}"
    )


def complete_density(arguments: argparse.Namespace) -> str:
    """Return the table of log-densities of complete rows after incomplete training."""
    from skvae import VAEDensity

    params = {"random_state": 0, **with_components(dict(arguments.param))}
    names = [f"{rate:.0%} missing" for rate in RATES]
    rows = [
        ["set", "rows × columns", *names, *(f"{name} − 0%" for name in names[1:])],
    ]
    for dataset in arguments.sets:
        train, truth = rows_of(arguments, dataset)
        nats = []
        for rate in RATES:
            by_draw = []
            for draw in range(arguments.draws if rate else 1):
                rng = np.random.default_rng([arguments.seed, round(100 * rate), draw])
                (missing,) = completely_at_random(rate, [train], rng)
                density = VAEDensity(**params).fit(np.where(missing, np.nan, train))
                by_draw.append(density.score_samples(truth))
                figures = plus_minus(*mean_and_error(by_draw[-1]))
                print(f"{dataset:<14} {rate:4.0%} {draw}  {figures}", flush=True)
            nats.append(np.mean(by_draw, axis=0))
        cells = [dataset, f"{len(train)} × {train.shape[1]}"]
        cells += [plus_minus(*mean_and_error(values)) for values in nats]
        cells += [plus_minus(*mean_and_error(v - nats[0]), "+") for v in nats[1:]]
        rows.append(cells)
    return (
        "Log-density of complete rows, in nats per row of standardised columns, after "
        "a fit to rows with missing cells.\n\n"
        f"{markdown_table(rows)}"
    )


def fill_in(arguments: argparse.Namespace) -> tuple[str, int]:
    """Return the report on filling in, and how many runs failed."""
    lines: list[Line] = []
    n_failed = 0
    for dataset in arguments.sets:
        for task in tasks_of(arguments, dataset):
            for method in [m for m in METHODS if m in arguments.methods]:
                # If one fit fails, the others, which take hours, go on.
                try:
                    fill = imputer(method, dict(arguments.param))
                    filled = fill(task.train, task.judged, task.truth)
                    lines.append(line_for(task, method, filled))
                except Exception as failure:
                    n_failed += 1
                    place = f"{dataset:<14} {task.mask} {task.draw}  {method}"
                    print(f"{place} failed: {failure!r}", flush=True)
                    continue
                print(line_of(lines[-1]), flush=True)
    return report(lines), n_failed


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--masks", nargs="+", choices=MASKS, default=list(MASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--part", choices=("valid", "test"), default="valid")
    parser.add_argument("--draws", type=int, default=1, help="number of masks")
    parser.add_argument("--max-rows", type=int, default=2000, help="to fit to")
    parser.add_argument("--test-rows", type=int, default=500, help="to fill in")
    parser.add_argument("--seed", type=int, default=0, help="of rows and masks")
    parser.add_argument(
        "--complete-density",
        action="store_true",
        help="score complete rows after incomplete training, and fill in nothing",
    )
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    add_param(parser)
    return check_sets(parser, parser.parse_args())


def main() -> int:
    """Run the benchmark; the exit status is 1 if any run failed."""
    arguments = parse_arguments()
    limit_threads(1)
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    n_failed = 0
    with threadpool_limits(limits=1):
        if arguments.complete_density:
            text = complete_density(arguments)
        else:
            text, n_failed = fill_in(arguments)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
