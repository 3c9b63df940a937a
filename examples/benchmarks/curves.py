"""What a second buys: nats against the time of a fit, errors against rows a second.

Examples::

    python examples/benchmarks/curves.py --data FOLDER --sets magic
    python examples/benchmarks/curves.py --data FOLDER --sets magic --figures FOLDER

All densities of a set are fitted and scored in one process, one after the other, with
one thread:

- ``VAEDensity`` with shares of its default number of epochs, and its defaults;
- a Gaussian mixture and a kernel density, tuned on the validation rows (the time is
  that of the tuning);
- a neural spline flow with several budgets (it needs the ``flows`` extra);
- ``exact``: ``VAEDensity`` without latents, a masked autoregressive network;
- ``distilled``: ``DistilledDensity`` of the default `VAEDensity`. Its time includes the
  teacher's.

Nats are means over test rows, with standard errors. `VAEDensity` is scored at several
tolerances. Its errors are root mean squares of the difference from log-densities that
are read at a tolerance of 0.01; all other log-densities are exact.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _command import add_sets, benchmark_parser, check_sets
from _data import Split, load_split
from _process import in_fresh_process, limit_threads
from _report import markdown_table, mean_and_error, plus_minus
from _rivals import fit_flow, fit_gmm, fit_kde
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARES = (0.1, 0.3, 1.0)
TOLERANCES = (0.3, 0.1, 0.03)
SHOWN = "tol 0.1"  # of the tolerances, among the fits
PRECISE = {"tol": 0.01, "max_samples": 2**15}
N_SCORED = 2000  # rows that are scored to be timed
N_COMPARED = 500  # rows whose errors are measured
HEADER = [
    *("set", "density", "fit: s", "test nats", "behind the best"),
    *("score: rows/s", "error, rms"),
]


@dataclass(frozen=True)
class Point:
    """One density at one setting.

    Attributes
    ----------
    family, setting : str
        What the density is, and what differs within the family.
    fit_seconds : float
        Wall-clock time of the fit.
    log_density : ndarray of shape (n_test,)
        Nats.
    rows_per_second : float
        Of `score_samples`.
    error : float
        Root mean square error of a log-density, nats; 0 where it is exact.
    """

    family: str
    setting: str
    fit_seconds: float
    log_density: Array
    rows_per_second: float
    error: float = 0.0


def timed(score: Callable[[Array], Array], rows: Array) -> tuple[Array, float]:
    """Return the log-densities of rows, and how many were scored a second."""
    some = np.resize(rows, (N_SCORED, rows.shape[1]))
    score(some[:10])
    began = perf_counter()
    score(some)
    return score(rows), N_SCORED / (perf_counter() - began)


def points(split: Split, seconds: tuple[float, ...]) -> Iterator[Point]:
    """Yield all densities of a set, as they are fitted."""
    from sklearn.frozen import FrozenEstimator

    from skvae import AutoregressiveDecoder, DistilledDensity, VAEDensity

    rows = np.concatenate([split.train, split.valid])

    def fitted(density: Any) -> tuple[Any, float]:
        began = perf_counter()
        return density.fit(rows), perf_counter() - began

    density, whole = fitted(VAEDensity(random_state=0))
    n_epochs = density.n_iter_
    for tol in TOLERANCES:
        density.set_params(evidence_tol=tol)
        log_density, speed = timed(density.score_samples, split.test)
        some = split.test[:N_COMPARED]
        precise = density.evidence(some, **PRECISE, random_state=1).log_density
        error = float(np.sqrt(np.square(log_density[:N_COMPARED] - precise).mean()))
        yield Point("VAEDensity", f"tol {tol:g}", whole, log_density, speed, error)
    density.set_params(evidence_tol=0.1)
    for share in SHARES[:-1]:
        quick = VAEDensity(max_iter=max(1, round(share * n_epochs)), random_state=0)
        quick, spent = fitted(quick)
        log_density, speed = timed(quick.score_samples, split.test)
        yield Point("VAEDensity", f"{share:.0%} epochs", spent, log_density, speed)
    distilled, spent = fitted(DistilledDensity(FrozenEstimator(density)))
    log_density, speed = timed(distilled.score_samples, split.test)
    yield Point("distilled", "", whole + spent, log_density, speed)
    decoder = AutoregressiveDecoder(reads_latents=False)
    exact, spent = fitted(VAEDensity(decoder=decoder, random_state=0))
    log_density, speed = timed(exact.score_samples, split.test)
    yield Point("exact", "", spent, log_density, speed)
    rivals = [("Gaussian mixture", fit_gmm(split, 0)), ("kernel", fit_kde(split, 0))]
    rivals += [("spline flow", fit_flow(split, 0, budget)) for budget in seconds]
    for family, rival in rivals:
        log_density, speed = timed(rival.score, split.test)
        yield Point(family, "", rival.fit_seconds, log_density, speed)


def measure(name: str, folder: Path | None, seconds: tuple[float, ...]) -> list[Point]:
    """Fit and score all densities of one set."""
    import torch

    torch.set_num_threads(1)
    return list(points(load_split(name, folder), seconds))


def lines(name: str, measured: list[Point]) -> list[list[str]]:
    """Return the lines of a set in the table."""
    best = max(measured, key=lambda point: float(point.log_density.mean()))
    cells = []
    for point in measured:
        label = f"{point.family}, {point.setting}" if point.setting else point.family
        behind = plus_minus(*mean_and_error(best.log_density - point.log_density))
        cells.append(
            [
                name,
                label,
                f"{point.fit_seconds:.1f}",
                plus_minus(*mean_and_error(point.log_density)),
                "–" if point is best else behind,
                f"{point.rows_per_second:,.0f}",
                f"{point.error:.3f}" if point.error else "0",
            ]
        )
    return cells


def draw(name: str, measured: list[Point], folder: Path) -> None:
    """Draw both curves of a set into ``<folder>/speed_<name>.png``."""
    import matplotlib.pyplot as plt

    colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
    families = list(dict.fromkeys(point.family for point in measured))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4), layout="constrained", width_ratios=(1, 1)
    )
    for family, colour, marker in zip(families, colours, "osD^vP", strict=False):
        mine = [point for point in measured if point.family == family]
        style = {"color": colour, "marker": marker, "label": family}
        by_time = sorted(
            (p for p in mine if p.setting == SHOWN or "tol" not in p.setting),
            key=lambda p: p.fit_seconds,
        )
        means = [p.log_density.mean() for p in by_time]
        left.plot([p.fit_seconds for p in by_time], means, **style)
        read = [p for p in mine if p.error] or mine[-1:]
        speeds = [p.rows_per_second for p in read]
        right.plot(speeds, [p.log_density.mean() for p in read], **style)
        with_error = sorted(
            (p for p in read if p.error), key=lambda p: p.rows_per_second
        )
        for number, point in enumerate(with_error):
            below = number % 2 == 0  # neighbours on different sides
            right.annotate(
                f"{point.error:.2f}",
                (point.rows_per_second, point.log_density.mean()),
                textcoords="offset points",
                xytext=(-3, -10 if below else 10),
                rotation=-90,
                va="top" if below else "bottom",
                fontsize=8,
            )
    left.set(xscale="log", xlabel="fit, seconds", ylabel="test rows, nats per row")
    right.set(xscale="log", xlabel="score, rows a second (numbers: errors, rms nats)")
    right.margins(y=0.2)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    shown = left.get_legend_handles_labels()
    figure.legend(*shown, fontsize=8, loc="outside right center")
    figure.suptitle(f"{name}: what a second buys (one core)")
    figure.savefig(folder / f"speed_{name}.png", dpi=110)
    plt.close(figure)


def main() -> int:
    """Measure every set in a fresh process, and print its lines as they come."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--figures", type=Path, help="folder for one figure per set")
    parser.add_argument(
        "--flow-seconds", type=float, nargs="*", default=[20, 60, 150], metavar="S"
    )
    options = check_sets(parser, parser.parse_args())
    limit_threads(1)
    table = [HEADER]
    for name in options.sets:
        measured = in_fresh_process(
            measure, name, options.data, tuple(options.flow_seconds)
        )
        of_set = lines(name, measured)
        table += of_set
        print(markdown_table([HEADER, *of_set]), flush=True)
        if options.figures is not None:
            draw(name, measured, options.figures)
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
