r"""Posteriors beside one another: held-out log-density, gaps of the bounds, seconds.

Examples::

    python examples/benchmarks/posteriors.py
    python examples/benchmarks/posteriors.py --objective elbo
    python examples/benchmarks/posteriors.py --data FOLDER --sets wilt power_plant

Without ``--data``, the set is simulated: three columns follow the absolute value of one
number, and the decoder, one of our own, reads the absolute value of the one latent.
Its sign cannot be known, and with a normal prior the posterior of every row has two
modes of equal weight. Sets of a folder are fitted with the default number of latents.

Every posterior is fitted to ``train`` and read on the first 500 rows of ``test``, in
one thread; seconds are those of the processor. The difference is to the first
posterior, paired by row, ± its standard error. The gaps are of log p(x) and the bounds
of 1 draw (the ELBO) and of 25 draws. Draws are from the encoder, and where the
posterior is implicit, from the mixture that stands for it: its own bound is not known.
"""

import argparse
import math
from time import process_time
from typing import Any

import numpy as np
import torch
from _command import add_sets, benchmark_parser, check_sets, with_components
from _data import Split, load_split, split_rows
from _report import mean_and_error, plus_minus
from torch import Tensor

from skvae import DecoderSpec, MLPDecoder, VAEDensity
from skvae.model import BuildContext
from skvae.model.decoders import DecoderModule

POSTERIORS = ("full", "flow", "implicit")
N_SIMULATED = 4000
MAX_TEST_ROWS = 500
NOISE = 0.15
# Of the absolute value of a standard-normal number
FOLDED_MEAN, FOLDED_SCALE = math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)


class FoldedDecoder(DecoderSpec):
    """The decoder "mlp", which is told the absolute values of latents alone."""

    def build(
        self, context: BuildContext, n_parameters: int, n_linear: int
    ) -> DecoderModule:
        """Return the module."""
        return FoldedModule(MLPDecoder().build(context, n_parameters, n_linear))


class FoldedModule(DecoderModule):
    """A decoder of standardised absolute values."""

    def __init__(self, decoder: DecoderModule) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, features: Tensor) -> Tensor:
        """Return raw parameters (K, B, P, D)."""
        return self.decoder((z.abs() - FOLDED_MEAN) / FOLDED_SCALE, features)

    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        """Move to a linear map of the absolute values."""
        self.decoder.initialise(slope, offset)


def folded() -> Split:
    """Return rows of which each is made of an absolute value."""
    rng = np.random.default_rng(0)
    size = np.abs(rng.standard_normal((N_SIMULATED, 1)))
    curve = np.hstack([size, np.sin(2 * size), np.cos(2 * size)])
    return split_rows(curve + NOISE * rng.standard_normal(curve.shape), rng)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--objective", default="dreg")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data is None:
        arguments.sets = ["folded"]
        return arguments
    return check_sets(parser, arguments)


def main() -> None:
    """Fit every posterior to every set and print a Markdown table."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    print("| set | posterior | fit s | nats | difference | ELBO gap | gap of 25 |")
    print("|---|---|---|---|---|---|---|")
    settings: dict[str, Any] = {
        **with_components({"objective": arguments.objective}),
        "companion": None,
        "marginal_transform": "normal",
        "max_iter": arguments.epochs,
        "random_state": arguments.seed,
    }
    for name in arguments.sets:
        simulated = name == "folded"
        split = folded() if simulated else load_split(name, arguments.data)
        test = split.test[:MAX_TEST_ROWS]
        own: dict[str, Any] = {"decoder": "mlp"}
        if simulated:
            own = {"decoder": FoldedDecoder(), "n_components": 1, "prior": "normal"}
        first = None
        for posterior in POSTERIORS:
            density = VAEDensity(posterior=posterior, **own, **settings)
            start = process_time()
            density.fit(split.train)
            seconds = process_time() - start
            scores = density.score_samples(test)
            first = scores if first is None else first
            lead = plus_minus(*mean_and_error(scores - first), "+")
            report = density.diagnose(test)
            gaps = dict(zip(report.bound_samples, report.bound_gap, strict=True))
            figures = f"{scores.mean():.3f} | {lead} | {gaps[1]:.2f} | {gaps[25]:.3f}"
            print(f"| {name} | {posterior} | {seconds:.0f} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
