"""Held-out log-density of VAEDensity, alone and in a stack, beside three rivals.

Examples::

    python examples/benchmarks/density.py
    python examples/benchmarks/density.py --data FOLDER --sets magic wilt --seeds 0 1
    python examples/benchmarks/density.py --data FOLDER --sets cover --test-rows 10000
    python examples/benchmarks/density.py --methods vae gmm --param max_iter=100
    python examples/benchmarks/density.py --methods vae \
        --param "decoder=AutoregressiveDecoder(reads_latents=False)"

All methods see the same rows. The rivals fit on ``train`` and choose their settings on
``valid``. ``VAEDensity`` gets both parts in one table and holds rows out by itself.

``stack`` gets both parts in one table, too. It is a ``StackedDensity`` of

- a ``VAEDensity`` with an MLP decoder;
- two with autoregressive decoders, one of them in standardised columns and the other
  in columns that are mapped to normal scores;
- Gaussian mixtures of several sizes;
- up to 20,000 rows, kernel densities of several bandwidths.

``student`` is a ``DistilledDensity`` of a ``VAEDensity`` that is fitted with it, and
``ar`` the exact autoregressive network without latents that it is made of, fitted to
the table alone. Neither has a companion.

``test`` is scored once. All log-densities are in nats per row, in the standardised
units of the set. A difference is VAE minus rival, paired by test row, and every ``±``
is a standard error over test rows (sd / sqrt(n)).

Every fit runs in a fresh process, so that its peak memory (interpreter and libraries
included) and its thread settings are its own.
"""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _command import add_param, add_sets, benchmark_parser, check_sets, with_components
from _data import Split, load_split
from _process import in_fresh_process, limit_threads, peak_memory
from _report import markdown_table, mean_and_error, plus_minus
from _rivals import (
    MANY_ROWS,
    Fitted,
    Score,
    fit_flow,
    fit_gmm,
    fit_kde,
    fit_mapped_flow,
)
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

METHODS = ("vae", "stack", "student", "ar", "gmm", "kde", "flow", "mapped_flow")
TORCH_METHODS = ("vae", "stack", "student", "ar", "flow", "mapped_flow")
N_ERROR_ROWS = 500
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "zuko", "skvae")


@dataclass(frozen=True)
class Job:
    """What a child process has to do: one method on one set with one seed."""

    dataset: str
    folder: Path | None
    method: str
    seed: int
    threads: int
    flow_seconds: float
    test_rows: int | None
    params: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a child process measured; log-densities in nats per row."""

    dataset: str
    method: str
    seed: int
    n_train: int
    n_valid: int
    n_test: int
    n_columns: int
    log_density: NDArray[np.float64]
    mean: float
    standard_error: float
    fit_seconds: float
    final_fit_seconds: float
    rows_per_second: float
    peak_mib: float
    settings: str
    median_evidence_error: float | None
    difference: float | None = None
    difference_error: float | None = None


def fit_vae(split: Split, seed: int, params: dict[str, Any]) -> Fitted:
    """Fit a VAEDensity to training and validation rows together."""
    from skvae import VAEDensity

    start = perf_counter()
    density = VAEDensity(**{"random_state": seed, **with_components(params)})
    density.fit(np.concatenate([split.train, split.valid]))
    elapsed = perf_counter() - start
    sizes = f"{density.n_components_} latents, {density.n_iter_} epochs"
    return Fitted(
        score=density.score_samples,
        settings=f"{density.decoder_.alias}, {sizes}",
        fit_seconds=elapsed,
        final_fit_seconds=elapsed,
        standard_error=lambda rows: density.evidence(rows).standard_error,
    )


def fit_stack(split: Split, seed: int, params: dict[str, Any]) -> Fitted:
    """Fit a StackedDensity to training and validation rows together."""
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KernelDensity

    from skvae import AutoregressiveDecoder, StackedDensity, VAEDensity

    start = perf_counter()
    rows = np.concatenate([split.train, split.valid])
    settings = with_components(params)
    autoregressive = AutoregressiveDecoder((128, 128))
    members: dict[str, Any] = {
        "mlp": VAEDensity(**{**settings, "decoder": "mlp"}),
        "ar": VAEDensity(
            **{**settings, "decoder": autoregressive, "marginal_transform": None}
        ),
        "mapped_ar": VAEDensity(
            **{**settings, "decoder": autoregressive, "marginal_transform": "normal"}
        ),
    }
    for n_components in (5, 20, 50):
        members[f"gmm{n_components}"] = GaussianMixture(
            n_components, reg_covar=1e-4, max_iter=200
        )
    for bandwidth in (0.1, 0.2, 0.4) if len(rows) <= MANY_ROWS else ():
        # With one leaf, the tree becomes a plain sum over the rows: in more than a few
        # columns a tree cannot skip any of them and only costs time.
        members[f"kde{bandwidth:g}"] = KernelDensity(
            bandwidth=bandwidth, leaf_size=len(rows)
        )
    density = StackedDensity(list(members.items()), refit=False, random_state=seed)
    density.fit(rows)
    elapsed = perf_counter() - start
    shares = zip(members, density.weights_, strict=True)
    return Fitted(
        score=density.score_samples,
        settings=" ".join(f"{name} {w:.2f}" for name, w in shares if w >= 0.005),
        fit_seconds=elapsed,
        final_fit_seconds=elapsed,
        standard_error=lambda rows: density.evidence(rows).standard_error,
    )


def fit_student(split: Split, seed: int, params: dict[str, Any]) -> Fitted:
    """Fit a VAEDensity to training and validation rows, and a student of it."""
    from skvae import DistilledDensity, VAEDensity

    start = perf_counter()
    teacher = VAEDensity(**with_components(params))
    density = DistilledDensity(teacher, random_state=seed)
    density.fit(np.concatenate([split.train, split.valid]))
    elapsed = perf_counter() - start
    gap = f"gap {density.gap_:+.3f} ± {density.gap_error_:.3f}"
    return Fitted(density.score_samples, gap, elapsed, elapsed)


def fit_autoregressive(split: Split, seed: int, params: dict[str, Any]) -> Fitted:
    """Fit an exact autoregressive network to training and validation rows."""
    from skvae import AutoregressiveDecoder

    decoder = AutoregressiveDecoder((96,) * 6, reads_latents=False)
    exact = {"n_components": 1, "decoder": decoder, "companion": None, **params}
    return replace(fit_vae(split, seed, exact), standard_error=None)


def timed_score(
    score: Score, rows: NDArray[np.float64], at_least: float = 0.5
) -> tuple[NDArray[np.float64], float]:
    """Return log-densities and the rows scored per second.

    Short calls are repeated for ``at_least`` seconds. The rate is that of the median
    call.
    """
    seconds: list[float] = []
    while sum(seconds) < at_least:
        start = perf_counter()
        log_density = score(rows)
        seconds.append(perf_counter() - start)
    return log_density, len(rows) / float(np.median(seconds))


def run_job(job: Job) -> Result:
    """Fit and measure one method; runs in a process of its own."""
    if job.method in TORCH_METHODS:
        import torch

        torch.set_num_threads(job.threads)
    fitters: dict[str, Callable[[Split, int], Fitted]] = {
        "vae": partial(fit_vae, params=job.params),
        "stack": partial(fit_stack, params=job.params),
        "student": partial(fit_student, params=job.params),
        "ar": partial(fit_autoregressive, params=job.params),
        "gmm": fit_gmm,
        "kde": fit_kde,
        "flow": partial(fit_flow, seconds=job.flow_seconds),
        "mapped_flow": partial(fit_mapped_flow, seconds=job.flow_seconds),
    }
    split = load_split(job.dataset, job.folder)
    split = replace(split, test=split.test[: job.test_rows])
    with threadpool_limits(limits=job.threads):
        fitted = fitters[job.method](split, job.seed)
        log_density, rows_per_second = timed_score(fitted.score, split.test)
        error = None
        if fitted.standard_error is not None:
            error = float(np.median(fitted.standard_error(split.test[:N_ERROR_ROWS])))
    mean, standard_error = mean_and_error(log_density)
    return Result(
        dataset=job.dataset,
        method=job.method,
        seed=job.seed,
        n_train=len(split.train),
        n_valid=len(split.valid),
        n_test=len(split.test),
        n_columns=split.test.shape[1],
        log_density=log_density,
        mean=mean,
        standard_error=standard_error,
        fit_seconds=fitted.fit_seconds,
        final_fit_seconds=fitted.final_fit_seconds,
        rows_per_second=rows_per_second,
        peak_mib=peak_memory(),
        settings=fitted.settings,
        median_evidence_error=error,
    )


def row_line(result: Result) -> str:
    """Format one result as a line of the running report."""
    difference = ""
    if result.difference is not None:
        figure = plus_minus(result.difference, result.difference_error, "+")
        difference = f"vae - {result.method}: {figure}"
    return (
        f"{result.dataset:<14} {result.method:<5} seed {result.seed}  "
        f"{plus_minus(result.mean, result.standard_error):>18}  {difference:<29}  "
        f"fit {result.fit_seconds:.1f} s  {result.rows_per_second:,.0f} rows/s  "
        f"{result.peak_mib:.0f} MiB  ({result.settings})"
    )


def summary_table(results: list[Result]) -> str:
    """Return a Markdown table of log-densities: a row per set, a column per method.

    Several seeds of a method are averaged row by row before the mean and its
    standard error are taken, so the error is over test rows, not over seeds.
    """
    methods = [m for m in METHODS if any(r.method == m for r in results)]
    rows = [["set", "columns", "train + valid / test rows", *methods]]
    for dataset in dict.fromkeys(result.dataset for result in results):
        runs = [result for result in results if result.dataset == dataset]
        figures = {
            method: mean_and_error(np.mean(log_densities, axis=0))
            for method in methods
            if (log_densities := [r.log_density for r in runs if r.method == method])
        }
        best = methods.index(max(figures, key=lambda method: figures[method][0]))
        cells = [plus_minus(*figures.get(method, (None, None))) for method in methods]
        cells[best] = f"**{cells[best]}**"
        size = f"{runs[0].n_train} + {runs[0].n_valid} / {runs[0].n_test}"
        rows.append([dataset, str(runs[0].n_columns), size, *cells])
    return markdown_table(rows)


def detail_table(results: list[Result]) -> str:
    """Return a Markdown table of differences, costs and settings, one row per run."""
    costs = ["fit s (final fit)", "rows/s", "peak MiB"]
    rows = [
        ["set", "method", "seed", "vae - method", *costs, "error of a row", "settings"]
    ]
    for result in results:
        error = result.median_evidence_error
        cells = [
            result.dataset,
            result.method,
            str(result.seed),
            plus_minus(result.difference, result.difference_error, "+"),
            f"{result.fit_seconds:.1f} ({result.final_fit_seconds:.1f})",
            f"{result.rows_per_second:,.0f}",
            f"{result.peak_mib:.0f}",
            "exact" if error is None else f"{error:.4f}",
            result.settings,
        ]
        rows.append(cells)
    return markdown_table(rows)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def report_json(
    results: list[Result], failures: dict[str, str], arguments: argparse.Namespace
) -> str:
    """Return all figures and the circumstances of the run as JSON text."""
    records = [asdict(result) for result in results]
    for record in records:
        del record["log_density"]
    report = {
        "command": shlex.join(["python", *sys.argv]),
        "units": "nats per row, standardised columns",
        "threads": arguments.threads,
        "versions": versions(),
        "params": {key: repr(value) for key, value in arguments.param},
        "results": records,
        "failures": failures,
    }
    return json.dumps(report, indent=2) + "\n"


def report_markdown(results: list[Result], threads: int) -> str:
    """Return the two tables with the sentences that make them readable alone."""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        "Mean test log-density ± standard error over test rows, nats per row, "
        "standardised columns. Higher is better.\n\n"
        f"{summary_table(results)}\n\n"
        "Differences are paired by test row; 'error of a row' is the median standard "
        "error of one row's log-density, in nats.\n\n"
        f"{detail_table(results)}\n\n"
        f"Threads: {threads}. Versions: {packages}.\n"
    )


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--flow-seconds", type=float, default=150.0)
    parser.add_argument(
        "--test-rows", type=int, metavar="N", help="score the first N test rows only"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    add_param(parser)
    return check_sets(parser, parser.parse_args())


def main() -> int:
    """Run the benchmark; the exit status is 1 if any run failed."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)

    results: list[Result] = []
    failures: dict[str, str] = {}
    for dataset in arguments.sets:
        for seed in arguments.seeds:
            vae = None
            # METHODS has the VAE first, because the differences of the others need it.
            for method in [m for m in METHODS if m in arguments.methods]:
                job = Job(
                    dataset=dataset,
                    folder=arguments.data,
                    method=method,
                    seed=seed,
                    threads=arguments.threads,
                    flow_seconds=arguments.flow_seconds,
                    test_rows=arguments.test_rows,
                    params=dict(arguments.param),
                )
                # If one fit fails, the others, which take hours, go on.
                try:
                    result = in_fresh_process(run_job, job)
                except Exception as failure:
                    failures[f"{dataset} {method} seed {seed}"] = repr(failure)
                    print(f"{dataset:<14} {method:<5} failed: {failure!r}", flush=True)
                    continue
                if method == "vae":
                    vae = result
                elif vae is not None:
                    mean, error = mean_and_error(vae.log_density - result.log_density)
                    result = replace(result, difference=mean, difference_error=error)
                results.append(result)
                print(row_line(result), flush=True)

    # The files are written before anything is printed: printing to a closed pipe
    # would raise, and the figures would be lost.
    if arguments.json:
        figures = report_json(results, failures, arguments)
        arguments.json.write_text(figures, encoding="utf-8")
    if results:
        markdown = report_markdown(results, arguments.threads)
        if arguments.markdown:
            arguments.markdown.write_text(markdown, encoding="utf-8")
        print(f"\n{markdown}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
