"""What one parameter of VAEDensity is worth, on validation rows.

Examples::

    python examples/benchmarks/ablation.py --data FOLDER --sets magic \
        --variants default prior=normal "hidden_layer_sizes=(256, 256)"
    python examples/benchmarks/ablation.py --data FOLDER --sets concrete \
        --variants default "decoder=AutoregressiveDecoder((64,));n_components=4"

A variant is one or more KEY=VALUE of VAEDensity, separated by semicolons. Every variant
is fitted to ``train`` and scored on ``valid``, so that no ``test`` row has a part in a
choice. A difference is to the first variant, paired by row, ± its standard error.
"""

import argparse
from time import perf_counter
from typing import Any

import torch
from _command import (
    add_sets,
    benchmark_parser,
    check_sets,
    parse_param,
    with_components,
)
from _data import load_split
from _report import mean_and_error, plus_minus

from skvae import VAEDensity


def parse_variant(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``KEY=VALUE;KEY=VALUE``; "default" changes nothing."""
    if text == "default":
        return text, {}
    return text, dict(parse_param(part) for part in text.split(";"))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument(
        "--variants", nargs="+", required=True, type=parse_variant, metavar="VARIANT"
    )
    parser.add_argument("--seed", type=int, default=0)
    return check_sets(parser, parser.parse_args())


def main() -> None:
    """Fit every variant to every set and print a Markdown table."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    print("| set | variant | nats per row | difference | fit s |")
    print("|---|---|---|---|---|")
    for name in arguments.sets:
        split = load_split(name, arguments.data)
        first = None
        for variant, params in arguments.variants:
            start = perf_counter()
            density = VAEDensity(random_state=arguments.seed, **with_components(params))
            density.fit(split.train)
            seconds = perf_counter() - start
            scores = density.score_samples(split.valid)
            first = scores if first is None else first
            lead = plus_minus(*mean_and_error(scores - first), "+")
            figures = f"{scores.mean():.3f} | {lead} | {seconds:.0f}"
            print(f"| {name} | {variant} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
