"""What one parameter of VAEDensity is worth, on validation rows.

Examples::

    python examples/benchmarks/ablation.py --data FOLDER --sets magic \
        --vary hidden_layer_sizes "(256, 256)" "(96, 96, 96, 96, 96, 96)"
    python examples/benchmarks/ablation.py --data FOLDER --vary marginal_transform \
        None normal

Every variant is fitted to ``train`` and scored on ``valid``: ``test`` rows stay out of
all choices. Differences are to the first value, paired by row, ± their standard error.
"""

import argparse
from pathlib import Path
from time import perf_counter

import torch
from _data import load_split, set_names
from density import mean_and_error, parse_param, plus_minus, read_value

from skvae import VAEDensity


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of npz files; else bundled")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--vary", nargs="+", required=True, metavar="PARAMETER VALUE")
    parser.add_argument(
        "--fix", type=parse_param, nargs="*", default=[], metavar="KEY=VALUE"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Fit every variant to every set and print a Markdown table."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    parameter, *values = arguments.vary
    fixed = dict(arguments.fix)
    print(f"| set | {parameter} | nats per row | difference | fit s |")
    print("|---|---|---|---|---|")
    for name in arguments.sets or set_names(arguments.data):
        split = load_split(name, arguments.data)
        first = None
        for value in values:
            settings = {**fixed, parameter: read_value(value)}
            start = perf_counter()
            density = VAEDensity(random_state=arguments.seed, **settings)
            density.fit(split.train)
            seconds = perf_counter() - start
            scores = density.score_samples(split.valid)
            first = scores if first is None else first
            lead = plus_minus(*mean_and_error(scores - first), "+")
            print(
                f"| {name} | {value} | {scores.mean():.3f} | {lead} | {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
