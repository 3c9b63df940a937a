"""How fast fitting and scoring are, beside the matrix products that they contain.

Examples::

    python examples/benchmarks/speed.py
    python examples/benchmarks/speed.py --data FOLDER --sets magic --threads 1 2
    python examples/benchmarks/speed.py --data FOLDER --sets cover --beside-kde
    python examples/benchmarks/speed.py --members 2 4 8

Without ``--data``, tables are drawn from a mixture of Gaussians, and rows, columns and
latents are varied in turn. Fits are timed with one draw per row, which is the first
half of a default fit, and with four, which is the second half. Scoring is timed with
draws from the encoder.

The ceiling is the time that bare matrix products of the same shapes take, in the same
process. A training step has three products for every layer: one for its values and two
for its gradient. They are those of the rows of a step in the encoder, and of all draws
of these rows in the decoder. Every line is measured in a process of its own. Seconds
depend on the machine; shares of the ceiling depend on it less.

``--beside-kde`` compares `score_samples` of a default fit, read to a standard error of
0.1 nats per row, with that of a `KernelDensity` of the same training rows, at most
100,000 of them, in a tree and as one leaf.

``--members`` compares two ways to train M residual networks of the default shape: one
after the other, and as one network whose matrix products are stacked.
"""

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _command import benchmark_parser
from _data import load_split
from _process import in_fresh_process, limit_threads, peak_memory
from _report import markdown_table
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 150  # per number of draws
N_SCORED = 200
MOST_KERNELS = 100_000
KDE_BANDWIDTH = 0.2
SHAPES = [
    *((n_rows, 10, 10) for n_rows in (1_000, 10_000, 100_000)),
    *((10_000, n_columns, 10) for n_columns in (5, 20, 40, 80)),
    *((10_000, 10, n_latents) for n_latents in (2, 5, 20)),
]
LAYERS = (10, 96, 96, 96, 96, 96, 96, 120)  # of a decoder of ten columns
MEMBERS_HEADER = [
    *("rows of a step", "members", "threads", "separate", "stacked", "ratio"),
]
HEADER = ["table", "rows", "columns", "latents", "threads"]
FIGURES = [
    *("fit, K = 1: rows/s", "of ceiling", "K = 4: rows/s", "of ceiling"),
    *("score: draws/s", "of ceiling", "peak MiB"),
]
KDE_HEADER = [
    *("table", "rows", "columns", "threads", "VAEDensity: rows/s"),
    *("standard error, median", "95 %", "KernelDensity: rows/s", "one leaf: rows/s"),
]


@dataclass(frozen=True)
class Job:
    """What a child process has to measure."""

    name: str
    n_rows: int
    n_columns: int
    n_latents: int | str
    threads: int
    folder: Path | None = None
    beside_kde: bool = False


def rows_of(job: Job) -> Array:
    """Return the table: a set's training rows, or draws from a mixture."""
    if job.folder is not None:
        return load_split(job.name, job.folder).train
    rng = np.random.default_rng(0)
    means = 2 * rng.normal(size=(20, job.n_columns))
    factors = rng.normal(size=(20, job.n_columns, job.n_columns)) / job.n_columns**0.5
    mode = rng.integers(20, size=job.n_rows)
    noise = rng.normal(size=(job.n_rows, job.n_columns))
    return means[mode] + np.einsum("nij,nj->ni", factors[mode], noise)


def measure(job: Job) -> list[str]:
    """Fit and score one table; return a line of figures."""
    import torch

    from skvae import IWAE, VAEDensity

    torch.set_num_threads(job.threads)
    rows = rows_of(job)
    batch_size = 256
    steps_per_epoch = -(-len(rows) // batch_size)
    n_epochs = max(4, 2 * -(-STEPS // steps_per_epoch))
    density = VAEDensity(
        n_components=job.n_latents,
        objective=IWAE(n_samples=4),
        marginal_transform=None,
        early_stopping=False,
        max_iter=n_epochs,
        random_state=0,
    ).fit(rows)
    n_drawn = len(rows)
    seconds = [record["seconds"] for record in density.history_]
    halves = seconds[1 : n_epochs // 2], seconds[n_epochs // 2 + 1 :]
    cells = []
    for n_draws, half in zip((1, 4), halves, strict=True):
        step = float(np.median(half)) / steps_per_epoch
        size = n_drawn // steps_per_epoch
        products = step_products(density.model_, size, n_draws)
        cells += [f"{n_drawn / np.median(half):,.0f}", f"{products / step:.0%}"]
    some = rows[:N_SCORED]
    density.evidence(some, proposal="encoder", max_samples=64)
    began = perf_counter()
    density.evidence(some, proposal="encoder", tol=1e-9, max_samples=4096)
    draw = (perf_counter() - began) / (4096 * len(some))
    product = seconds_per_draw(density.model_)
    cells += [f"{1 / draw:,.0f}", f"{product / draw:.0%}", f"{peak_memory():.0f}"]
    n_columns, n_latents = rows.shape[1], density.n_components_
    shape = [len(rows), n_columns, n_latents, job.threads]
    return [job.name, *(f"{size:,}" for size in shape), *cells]


def measure_beside_kde(job: Job) -> list[str]:
    """Score the same rows with a VAEDensity and with kernel densities."""
    import torch
    from sklearn.neighbors import KernelDensity

    from skvae import VAEDensity

    torch.set_num_threads(job.threads)
    split = load_split(job.name, job.folder)
    rows = split.train[:MOST_KERNELS]
    density = VAEDensity(evidence_tol=0.1, random_state=0).fit(rows)
    error = density.evidence(split.test[: 10 * N_SCORED]).standard_error
    vae = rows_per_second(density.score_samples, split.test[: 10 * N_SCORED])
    kernels = []
    for leaf_size in (40, len(rows)):
        kde = KernelDensity(bandwidth=KDE_BANDWIDTH, leaf_size=leaf_size).fit(rows)
        kernels.append(rows_per_second(kde.score_samples, split.test[:N_SCORED]))
    cells = [f"{len(rows):,}", f"{rows.shape[1]}", f"{job.threads}", f"{vae:,.0f}"]
    cells += [f"{np.median(error):.3f}", f"{np.quantile(error, 0.95):.3f}"]
    return [job.name, *cells, *(f"{k:,.0f} ({vae / k:.1f} ×)" for k in kernels)]


def measure_members(n_members: int, n_rows: int, threads: int) -> list[str]:
    """Time the steps of networks that are trained one by one, and stacked."""
    import torch

    torch.set_num_threads(threads)
    separate = sum(seconds_per_step(n_rows, ()) for _ in range(n_members))
    stacked = seconds_per_step(n_rows, (n_members,))
    sizes = [f"{n_rows:,}", f"{n_members}", f"{threads}"]
    times = [f"{1e3 * seconds:.2f} ms" for seconds in (separate, stacked)]
    return [*sizes, *times, f"{separate / stacked:.2f}"]


def seconds_per_step(n_rows: int, members: tuple[int, ...]) -> float:
    """Return the median seconds of a training step of a residual network.

    Parameters
    ----------
    n_rows : int
        Rows of the step.
    members : tuple of int
        Empty for one network; ``(M,)`` for M networks whose products are stacked.
    """
    import torch
    from torch.nn.functional import silu

    generator = torch.Generator().manual_seed(0)
    weights = []
    for n_inputs, n_outputs in pairwise(LAYERS):
        weight = torch.randn(*members, n_inputs, n_outputs, generator=generator)
        weights.append((weight / n_inputs**0.5).requires_grad_())
    rows = torch.randn(*members, n_rows, LAYERS[0], generator=generator)
    optimiser = torch.optim.AdamW(weights, fused=True)
    seconds = []
    for _ in range(STEPS):
        began = perf_counter()
        h = rows @ weights[0]
        for weight in weights[1:-1]:
            h = h + silu(h @ weight)
        optimiser.zero_grad()
        (h @ weights[-1]).square().mean(-1).sum().backward()
        optimiser.step()
        seconds.append(perf_counter() - began)
    return float(np.median(seconds[STEPS // 5 :]))


def rows_per_second(score: Callable[[Array], Array], rows: Array) -> float:
    """Return the rows scored per second, after a first call that is not timed."""
    score(rows[:10])
    began = perf_counter()
    score(rows)
    return len(rows) / (perf_counter() - began)


def step_products(model: Any, n_rows: int, n_draws: int) -> float:
    """Return the seconds of a training step's matrix products alone."""
    from torch import float32

    encoder = timed_products(weights_of(model.posterior), n_rows, float32)
    decoder = timed_products(weights_of(model.decoder), n_rows * n_draws, float32)
    return 3 * (encoder + decoder)


def seconds_per_draw(model: Any, n_draws: int = 2048) -> float:
    """Return the seconds of a scored draw's matrix products alone."""
    from torch import float64

    return timed_products(weights_of(model.decoder), n_draws, float64) / n_draws


def weights_of(module: Any) -> list[Any]:
    """Return the weight matrices of a component's networks."""
    return [parameter for parameter in module.parameters() if parameter.dim() == 2]


def timed_products(weights: list[Any], n_rows: int, dtype: Any) -> float:
    """Return the median seconds of one product per matrix."""
    import torch

    weights = [weight.detach().to(dtype) for weight in weights]
    inputs = [torch.randn(n_rows, w.shape[1], dtype=dtype) for w in weights]
    seconds = []
    with torch.no_grad():
        for _ in range(100):
            began = perf_counter()
            for x, w in zip(inputs, weights, strict=True):
                x @ w.T
            seconds.append(perf_counter() - began)
    return float(np.median(seconds[20:]))


def main() -> int:
    """Measure every table in a fresh process, and print the lines as they come."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of npz files")
    parser.add_argument("--sets", nargs="+", default=["magic"], metavar="NAME")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--beside-kde", action="store_true", help="needs --data")
    parser.add_argument("--members", type=int, nargs="+", default=[], metavar="M")
    options = parser.parse_args()
    if options.members:
        cases = itertools.product((256, 1024), options.members, options.threads)
        lines = [measure_members(m, rows, threads) for rows, m, threads in cases]
        print(markdown_table([MEMBERS_HEADER, *lines]))
        return 0
    if options.beside_kde and options.data is None:
        parser.error("--beside-kde needs --data")
    table = [KDE_HEADER if options.beside_kde else HEADER + FIGURES]
    for threads in options.threads:
        limit_threads(threads)
        if options.data is None:
            jobs = [Job("mixture", *shape, threads) for shape in SHAPES]
        else:
            given = "auto", threads, options.data, options.beside_kde
            jobs = [Job(s, 0, 0, *given) for s in options.sets]
        for job in jobs:
            measured = measure_beside_kde if job.beside_kde else measure
            table.append(in_fresh_process(measured, job))
            print("  ".join(table[-1]), flush=True)
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
