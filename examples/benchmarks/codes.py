"""Discrete latents beside a Gaussian mixture: held-out log-density and speed.

Examples::

    python examples/benchmarks/codes.py --data FOLDER --sets magic
    python examples/benchmarks/codes.py --data FOLDER --sets magic --epochs 40

Every density is fitted to the training rows and scored on the validation rows, in one
process of one thread. The mixture has the number of components, of 5, 10, 20, 40 and
80, that is best on the validation rows, which is to its advantage. The difference is
that of the mean log-density of the same rows from the mixture's, with its standard
error; perplexity is that of the codes of the validation rows (see ``diagnose``).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from _command import add_sets, benchmark_parser, check_sets
from _data import load_split
from _process import in_fresh_process, limit_threads
from _report import markdown_table

N_COMPONENTS = (5, 10, 20, 40, 80)


@dataclass(frozen=True)
class Line:
    """One density on one set."""

    name: str
    fit_seconds: float
    log_density: float
    lead: float
    lead_error: float
    rows_per_second: float
    perplexity: str = ""


def measure(name: str, data: Path | None, epochs: int | None) -> list[Line]:
    """Fit and score all densities of a set in this process."""
    from sklearn.mixture import GaussianMixture

    from skvae import CodebookPrior, VAEDensity

    split = load_split(name, data)
    lines: list[Line] = []
    reference = np.zeros(len(split.valid))

    def add(label: str, seconds: float, density: object, perplexity: str = "") -> None:
        nonlocal reference
        began = perf_counter()
        scores = density.score_samples(split.valid)  # type: ignore[attr-defined]
        rate = len(scores) / (perf_counter() - began)
        if not lines:
            reference = scores
        lead = scores - reference
        error = lead.std(ddof=1) / len(lead) ** 0.5
        lines.append(
            Line(label, seconds, scores.mean(), lead.mean(), error, rate, perplexity)
        )

    began = perf_counter()
    mixtures = [
        GaussianMixture(n, reg_covar=1e-4, random_state=0).fit(split.train)
        for n in N_COMPONENTS
        if 2 * n < len(split.train)
    ]
    best = max(mixtures, key=lambda mixture: mixture.score(split.valid))
    add(f"Gaussian mixture, {best.n_components}", perf_counter() - began, best)
    variants = {
        "codes, default": {"prior": "codebook"},
        "512 codes, gaussian": {
            "prior": CodebookPrior(512),
            "likelihood": "gaussian",
            "decoder": "mlp",
            "marginal_transform": "normal",
        },
        "8 codes, autoregressive": {
            "prior": CodebookPrior(8),
            "decoder": "autoregressive",
            "marginal_transform": "normal",
        },
    }
    for label, settings in variants.items():
        density = VAEDensity(
            companion=None, max_iter=epochs or "auto", random_state=0, **settings
        )
        began = perf_counter()
        density.fit(split.train)
        seconds = perf_counter() - began
        (perplexity,) = density.diagnose(split.valid).code_perplexity
        n_codes = density.model_.prior.n_codes
        add(label, seconds, density, f"{perplexity:.0f} of {n_codes}")
    return lines


def main() -> int:
    """Measure every set in a fresh process, and print its lines as they come."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--epochs", type=int, help="instead of the default")
    options = check_sets(parser, parser.parse_args())
    limit_threads(1)
    table = [["set", "density", "fit s", "nats", "lead", "rows/s", "perplexity"]]
    for name in options.sets:
        measured = in_fresh_process(measure, name, options.data, options.epochs)
        for line in measured:
            table.append(
                [
                    name,
                    line.name,
                    f"{line.fit_seconds:.0f}",
                    f"{line.log_density:.3f}",
                    f"{line.lead:+.3f} ± {line.lead_error:.3f}",
                    f"{line.rows_per_second:,.0f}",
                    line.perplexity,
                ]
            )
            print(*table[-1], sep="  ", flush=True)
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
