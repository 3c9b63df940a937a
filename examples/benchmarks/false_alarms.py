"""How many new rows a detector calls outliers if all rows come from one source.

The rows are simulated: two bent clusters in six columns. Detectors are fitted to some
rows with each of their references, and then asked about new ones. The kernel density
and the Gaussian mixture are tuned by the log-density of held-out rows.
"""

import argparse

import numpy as np
from _command import benchmark_parser
from _report import markdown_table
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from skvae import DensityOutlierDetector

N_NEW = 5000
DENSITIES: dict[str, BaseEstimator | None] = {
    "Gaussian mixture": GridSearchCV(
        GaussianMixture(reg_covar=1e-3), {"n_components": [1, 2, 4, 8, 16]}
    ),
    "kernel density": GridSearchCV(
        KernelDensity(), {"bandwidth": np.geomspace(0.1, 1.0, 10)}
    ),
    "default": None,
}
SETTINGS = {
    "training, trimmed": {"reference": "training"},
    "training, no trimming": {"reference": "training", "trim_fraction": 0},
    "model": {"reference": "model"},
    "held_out": {"reference": "held_out"},
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rows", type=int, default=500, help="rows to fit")
    parser.add_argument("--rate", type=float, default=0.05, help="contamination")
    parser.add_argument("--seeds", type=int, default=5, help="number of tables")
    parser.add_argument("--densities", nargs="+", default=list(DENSITIES))
    return parser.parse_args()


def source(n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return rows of two bent clusters in six columns."""
    z = random.normal(size=(n, 3))
    z[:, 0] += 4 * (random.random(n) < 0.3)
    bent = np.c_[z, z[:, 0] * z[:, 1] / 3, np.sin(z[:, 1]) + z[:, 2], z[:, 0] ** 2 / 4]
    return bent + 0.3 * random.normal(size=(n, 6))


def false_alarms(name: str, settings: dict, args: argparse.Namespace) -> list[float]:
    """Return the shares of new rows below the threshold, one for each table."""
    shares = []
    for seed in range(args.seeds):
        random = np.random.default_rng(seed)
        density = DENSITIES[name]
        detector = DensityOutlierDetector(
            None if density is None else clone(density),
            contamination=args.rate,
            random_state=seed,
            **settings,
        ).fit(source(args.rows, random))
        shares.append(float(np.mean(detector.predict(source(N_NEW, random)) == -1)))
    return shares


def main() -> None:
    """Print a table, one line for each density."""
    args = parse_args()
    lines = [["density", *SETTINGS]]
    for name in args.densities:
        cells = []
        for settings in SETTINGS.values():
            shares = np.array(false_alarms(name, settings, args))
            error = shares.std(ddof=1) / np.sqrt(len(shares))
            cells.append(f"{shares.mean():.1%} ± {error:.1%}".replace("%", " %"))
        lines.append([name, *cells])
        print(markdown_table(lines), flush=True)


if __name__ == "__main__":
    main()
