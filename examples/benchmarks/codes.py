r"""Discrete latents beside a Gaussian mixture: held-out log-density and speed.

Examples::

    python examples/benchmarks/codes.py --data FOLDER --sets magic
    python examples/benchmarks/codes.py --data FOLDER --sets magic --epochs 40
    python examples/benchmarks/codes.py --data FOLDER --sets magic --n-scored 300 \
        --densities "8 × 16 codes" "8 × 16 codes, two stages" "no codes"

Every density is fitted to the training rows and scored on the validation rows, in one
process of one thread. The mixture has the number of components, of 5, 10, 20, 40 and
80, that is best on the validation rows, which is to its advantage. The difference is
that of the mean log-density of the same rows from the mixture's, with its standard
error; perplexity is that of the codes of the validation rows (see ``diagnose``), the
least of all slots.

Seconds are of processor time, so that other work on the machine does not count.

In two stages, the codes have equal masses while they are trained, and their masses are
found after that (A. van den Oord, O. Vinyals and K. Kavukcuoglu, 2017. Neural discrete
representation learning).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from _command import add_sets, benchmark_parser, check_sets, with_components
from _data import load_split
from _process import in_fresh_process, limit_threads
from _report import markdown_table

N_COMPONENTS = (5, 10, 20, 40, 80)
GAUSSIAN = {"likelihood": "gaussian", "decoder": "mlp", "marginal_transform": "normal"}
AUTOREGRESSIVE = {"decoder": "autoregressive", "marginal_transform": "normal"}
N_USUAL = 4  # of the densities, unless others are asked for
EIGHT = {"decoder": "mlp", "n_components": 8}
# By name; the settings of a density in two stages are those without.
VARIANTS: dict[str, dict[str, object]] = {
    "codes, default": {"prior": "codebook"},
    "512 codes, gaussian": {"prior": "CodebookPrior(512)", **GAUSSIAN},
    "512 codes, gaussian, two stages": {"prior": "CodebookPrior(512)", **GAUSSIAN},
    "8 codes, autoregressive": {"prior": "CodebookPrior(8)", **AUTOREGRESSIVE},
    "4 × 8 codes, gaussian": {
        "prior": "CodebookPrior(8, 4)",
        **GAUSSIAN,
        "n_components": 8,
    },
    "4 × 8 codes, gaussian, masses by tables": {
        "prior": "CodebookPrior(8, 4, 'autoregressive')",
        **GAUSSIAN,
        "n_components": 8,
    },
    "8 × 16 codes": {"prior": "CodebookPrior(16, 8)", **EIGHT},
    "8 × 16 codes, two stages": {"prior": "CodebookPrior(16, 8)", **EIGHT},
    "no codes": {"prior": "mixture", **EIGHT},
}


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

    def cells(self) -> list[str]:
        """Return the line as it is printed."""
        return [
            self.name,
            f"{self.fit_seconds:.0f}",
            f"{self.log_density:.3f}",
            f"{self.lead:+.3f} ± {self.lead_error:.3f}",
            f"{self.rows_per_second:,.0f}",
            self.perplexity,
        ]


def measure(
    name: str,
    data: Path | None,
    epochs: int,
    densities: list[str] | None,
    n_scored: int | None,
) -> list[Line]:
    """Fit and score densities on a set in this process."""
    from _two_stages import EqualMasses, fit_masses
    from sklearn.mixture import GaussianMixture

    from skvae import VAEDensity

    split = load_split(name, data)
    valid = split.valid[:n_scored]
    lines: list[Line] = []
    reference = np.zeros(len(valid))

    def add(label: str, seconds: float, density: object, perplexity: str = "") -> None:
        nonlocal reference
        began = process_time()
        scores = density.score_samples(valid)  # type: ignore[attr-defined]
        rate = len(scores) / (process_time() - began)
        if not lines:
            reference = scores
        lead = scores - reference
        error = lead.std(ddof=1) / len(lead) ** 0.5
        line = Line(label, seconds, scores.mean(), lead.mean(), error, rate, perplexity)
        print(name, *line.cells(), sep="  ", flush=True)
        lines.append(line)

    began = process_time()
    mixtures = [
        GaussianMixture(n, reg_covar=1e-4, random_state=0).fit(split.train)
        for n in N_COMPONENTS
        if 2 * n < len(split.train)
    ]
    best = max(mixtures, key=lambda mixture: mixture.score(valid))
    add(f"Gaussian mixture, {best.n_components}", process_time() - began, best)
    for label in densities or list(VARIANTS)[:N_USUAL]:
        settings = VARIANTS[label]
        two_stages = label.endswith(", two stages")
        density = VAEDensity(
            companion=None,
            max_iter=epochs or "auto",
            random_state=0,
            **with_components(settings),
        )
        if two_stages:
            density.set_params(prior=EqualMasses(**density.prior.get_params()))
        began = process_time()
        density.fit(split.train)
        if two_stages:
            fit_masses(density, split.train)
        seconds = process_time() - began
        n_codes, perplexity = density.model_.prior.n_codes, ""
        if n_codes is not None:
            least = min(density.diagnose(valid).code_perplexity)
            perplexity = f"{least:.0f} of {n_codes}"
        add(label, seconds, density, perplexity)
    return lines


def main() -> int:
    """Measure every set in a fresh process, and print its lines as they come."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument(
        "--epochs", type=int, default=20, help="0 for the default of VAEDensity"
    )
    parser.add_argument("--densities", nargs="+", choices=VARIANTS)
    parser.add_argument("--n-scored", type=int, help="first validation rows; else all")
    options = check_sets(parser, parser.parse_args())
    limit_threads(1)
    table = [["set", "density", "fit s", "nats", "lead", "rows/s", "perplexity"]]
    for name in options.sets:
        measured = in_fresh_process(
            measure,
            name,
            options.data,
            options.epochs,
            options.densities,
            options.n_scored,
        )
        table += [[name, *line.cells()] for line in measured]
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
