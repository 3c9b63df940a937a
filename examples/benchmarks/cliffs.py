"""Whether rows give away that there are anomalies among them, and how many.

Examples::

    python examples/benchmarks/cliffs.py --data FOLDER
    python examples/benchmarks/cliffs.py --data FOLDER --seeds 0 1 --shares 0 0.05

For each set of the outlier benchmark and each share of anomalies among the training
rows: the slope of the steepest cliff in the rows' distances, and the share at which it
is, from the smallest to the largest of the seeds. A slope above the threshold is what
``DensityOutlierDetector(contamination="auto")`` acts on. ``sample`` is the training
table of the unsupervised protocol, a bootstrap sample of all rows.
"""

import argparse

import numpy as np
from _anomalies import load_anomalies, load_bootstrap
from _command import add_sets, benchmark_parser, check_sets
from _process import limit_threads
from _report import markdown_table

SHARES = (0.0, 0.02, 0.05, 0.1)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data is needed: no bundled set has labelled anomalies")
    check_sets(parser, arguments)
    return arguments


def from_to(values: list[float], digits: int) -> str:
    """Format the smallest and the largest value."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def main() -> None:
    """Print a line for each set and share."""
    from skvae.detection.contamination import STEEP, find_cliff

    arguments = parse_arguments()
    limit_threads(1)
    table = [["set", "anomalies", "slope", "at a share of, %", f"above {STEEP}"]]
    for name in arguments.sets:
        for share in [*arguments.shares, None]:
            slopes, places = [], []
            for seed in arguments.seeds:
                if share is None:
                    data = load_bootstrap(name, arguments.data, seed)
                else:
                    data = load_anomalies(name, arguments.data, share, seed)
                cliff = find_cliff(data.train, np.ones(len(data.train)), seed)
                if cliff is not None:
                    slopes.append(cliff.slope)
                    places.append(100 * cliff.share)
            if not slopes:
                continue
            label = "sample" if share is None else f"{100 * share:.3g} %"
            n_steep = sum(slope > STEEP for slope in slopes)
            found = f"{n_steep} of {len(slopes)}"
            table.append([name, label, from_to(slopes, 1), from_to(places, 1), found])
            print(*table[-1], sep="  ", flush=True)
    print(f"\n{markdown_table(table)}")


if __name__ == "__main__":
    main()
