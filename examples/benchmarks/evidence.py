"""How right log p(x) is, and how fast: encoder-only and adaptive evidence.

Examples::

    python examples/benchmarks/evidence.py                       # a bundled set
    python examples/benchmarks/evidence.py --data FOLDER --sets magic satellite

``VAEDensity`` with an MLP decoder, and default settings otherwise, is fitted to
``train`` and ``valid``. Its log-density is then estimated in several ways for test
rows, and for test rows that are moved by 3, 10 and 30 standard deviations in random
directions. The estimates are compared with a reference: the mean of two independent
repeats of a long search (annealed from the prior, adapted twice) with up to 2^15
samples each.

An error is the difference from the reference, in nats. "Covered" is the share of rows
whose error is at most two standard errors, "flagged" the share of rows that are
reported as unreliable, and "right" the share of rows that are flagged or have an error
of at most half a nat. Times are of one run in one process.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from _command import benchmark_parser
from _data import load_split, set_names
from numpy.typing import NDArray
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from skvae import Evidence, RefinedProposal, VAEDensity
from skvae.evidence import (
    Budget,
    EncoderProposal,
    RowNoise,
    Stage,
    estimate_evidence,
    row_hash,
)

Array = NDArray[np.float64]

SHIFTS = (0, 3, 10, 30)
TOLERANCES = (0.1, 0.05, 0.03, 0.01)
ENCODER_SAMPLES = (64, 1024, 4096)
MOST_ENCODER_SAMPLES = 65_536
REFERENCE_SAMPLES = 2**15
HEADER = (
    "| rows | estimator | error 50 % | 95 % | 99 % | ≤ 0.05 | covered | flagged "
    "| right | samples | rows/s |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Outcome:
    """Estimates of the log-densities of some rows, and how long they took."""

    log_density: Array
    standard_error: Array
    unreliable: NDArray[np.bool_]
    n_samples: float
    seconds: float

    @classmethod
    def of(cls, evidence: Evidence, seconds: float) -> "Outcome":
        """Return the outcome of a call of `evidence`."""
        return cls(
            evidence.log_density,
            evidence.standard_error,
            evidence.unreliable,
            float(evidence.n_samples.mean()),
            seconds,
        )

    def error(self, reference: Array) -> Array:
        """Return absolute errors in nats."""
        return np.abs(self.log_density - reference)

    def row(self, rows: str, name: str, reference: Array) -> str:
        """Return a row of the table."""
        error = self.error(reference)
        # Where the estimate is exact, its standard error is zero, and rounding alone
        # separates it from the reference.
        covered = error <= 2 * self.standard_error + 1e-6
        right = (error <= 0.5) | self.unreliable
        low, high, most = np.quantile(error, (0.5, 0.95, 0.99))
        return (
            f"| {rows} | {name} | {low:.3f} | {high:.3f} | {most:.3f} "
            f"| {np.mean(error <= 0.05):.1%} | {covered.mean():.1%} "
            f"| {self.unreliable.mean():.1%} | {right.mean():.1%} "
            f"| {self.n_samples:.0f} | {len(error) / self.seconds:.0f} |"
        )


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder with <set>.npz files")
    parser.add_argument("--sets", nargs="+", help="sets to use; the first by default")
    parser.add_argument("--rows", type=int, default=200, help="test rows per shift")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-background", action="store_true", help="fit the latent part alone"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        for name in options.sets or set_names(options.data)[:1]:
            split = load_split(name, options.data)
            background = None if options.no_background else "auto"
            density = VAEDensity(
                decoder="mlp", background=background, random_state=options.seed
            )
            began = perf_counter()
            density.fit(np.concatenate([split.train, split.valid]))
            print(f"\n## {name}: {split.train.shape[1]} columns,", end=" ")
            print(f"fitted in {perf_counter() - began:.0f} s\n")
            for line in report(density, split.test[: options.rows], options.seed):
                print(line, flush=True)


def report(density: VAEDensity, test: Array, seed: int) -> Iterator[str]:
    """Yield the lines of one set's report."""
    yield HEADER
    rng = np.random.default_rng(seed)
    scores = []
    direction = rng.normal(size=test.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for shift in SHIFTS:
        # The sets are standardised: one unit is one standard deviation.
        rows = test + shift * direction
        label = "test" if not shift else f"test + {shift} sd"
        reference = reference_log_density(density, rows)
        adaptive = {tol: run_adaptive(density, rows, tol) for tol in TOLERANCES}
        longest = (MOST_ENCODER_SAMPLES,) if shift == SHIFTS[1] else ()
        for n_samples in (*ENCODER_SAMPLES, *longest):
            outcome = run_encoder(density, rows, n_samples)
            yield outcome.row(label, f"encoder, {n_samples} independent", reference)
        for tol, outcome in adaptive.items():
            default = ", the default" if tol == density.evidence_tol else ""
            yield outcome.row(label, f"adaptive, tol {tol}{default}", reference)
        default_outcome = adaptive[density.evidence_tol]
        scores.append(default_outcome.log_density)
        if not shift:
            ratio = speed_ratio(density, rows, default_outcome, reference)
    distance = np.repeat(SHIFTS, len(test))
    rank = spearmanr(-np.concatenate(scores), distance).statistic
    in_order = np.mean(np.all(np.diff(np.array(scores), axis=0) < 0, axis=0))
    yield f"\nRows whose score falls with every move: {in_order:.1%}"
    yield f"(rank correlation of score and move {-rank:+.3f})."
    yield ratio
    yield ceiling(density, test)


def reference_log_density(density: VAEDensity, rows: Array) -> Array:
    """Return the mean, on the natural scale, of two long independent estimates."""
    proposal = RefinedProposal(n_steps=8, n_annealed_steps=192, n_rounds=2)
    repeats = [
        density.evidence(
            rows,
            proposal=proposal,
            tol=2e-3,
            max_samples=REFERENCE_SAMPLES,
            random_state=repeat,
        ).log_density
        for repeat in (1, 2)
    ]
    return np.logaddexp(*repeats) - np.log(2)


def run_adaptive(density: VAEDensity, rows: Array, tol: float) -> Outcome:
    """Score with the stages that `evidence` goes through by default."""
    began = perf_counter()
    evidence = density.evidence(rows, tol=tol)
    return Outcome.of(evidence, perf_counter() - began)


def run_encoder(density: VAEDensity, rows: Array, n_samples: int) -> Outcome:
    """Score with the encoder alone and independent draws."""
    began = perf_counter()
    u, log_jacobian = density.columns_.to_model(rows)
    noise = RowNoise(row_hash(rows, seed=7), quasi=False)
    stage = Stage(EncoderProposal(), Budget(n_samples, n_samples, tol=1.0))
    result = estimate_evidence(density.model_, torch.from_numpy(u), noise, [stage])
    return Outcome(
        result.log_density.numpy() + log_jacobian,
        result.standard_error.numpy(),
        result.unreliable.numpy(),
        n_samples,
        perf_counter() - began,
    )


def speed_ratio(
    density: VAEDensity, rows: Array, adaptive: Outcome, reference: Array
) -> str:
    """Say how much longer the encoder alone takes for the same 95 % error."""
    goal = float(np.quantile(adaptive.error(reference), 0.95))
    n_samples = 1024
    while True:
        encoder = run_encoder(density, rows, n_samples)
        reached = float(np.quantile(encoder.error(reference), 0.95))
        if reached <= goal or n_samples >= MOST_ENCODER_SAMPLES:
            break
        n_samples *= 2
    relation = "reaches" if reached <= goal else "does not reach"
    return (
        f"\nTest rows: the encoder alone {relation} the default's 95 % error of "
        f"{goal:.3f} with {n_samples} independent draws ({reached:.3f}), in "
        f"{encoder.seconds / adaptive.seconds:.1f} times its time."
    )


def ceiling(density: VAEDensity, rows: Array, n_draws: int = 2048) -> str:
    """Compare the encoder's draws with bare matrix products of the same shapes."""
    network = density.model_.decoder.network
    weights = [layer.weight for layer in network.hidden]
    weights.append(
        torch.cat(
            [
                network.output,
                network.skip.new_zeros(len(network.output), network.skip.shape[1]),
            ],
            1,
        )
    )
    inputs = [torch.randn(n_draws, w.shape[1], dtype=w.dtype) for w in weights]
    with torch.no_grad():
        for _ in range(20):
            [x @ w.T for x, w in zip(inputs, weights, strict=True)]
        began = perf_counter()
        for _ in range(200):
            [x @ w.T for x, w in zip(inputs, weights, strict=True)]
        product = (perf_counter() - began) / 200 / n_draws
    some = rows[:100]
    run_encoder(density, some, 1024)
    draw = run_encoder(density, some, 4096).seconds / (4096 * len(some))
    flops = 2 * sum(w.numel() for w in weights) / product / 1e9
    return (
        f"\nA draw takes {1e6 * draw:.1f} µs, its matrix products alone "
        f"{1e6 * product:.1f} µs ({flops:.0f} Gflop/s): {product / draw:.0%} of their "
        f"ceiling."
    )


if __name__ == "__main__":
    sys.exit(main())
