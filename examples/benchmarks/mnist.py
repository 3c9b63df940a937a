"""Binarised digits: the published VAE and IWAE models, and better ones.

Examples::

    python examples/benchmarks/mnist.py --data FOLDER --models vae iwae5
    python examples/benchmarks/mnist.py --data FOLDER --models pair --n-jobs 2

``FOLDER`` holds ``binarized_mnist.npz``, the fixed binarisation of Larochelle and
Murray (2011), with arrays ``train``, ``valid`` and ``test``. Models are trained on
``train``, and a part of it is held out to choose the best weights. ``test`` is scored
once; ``--part valid`` scores ``valid`` instead, to choose settings.

Figures are in nats per image, by importance sampling, which is a lower bound in mean.
The draws come from a proposal that is adapted to each image. An image gets at most
``--samples`` draws, and fewer if its standard error falls below ``--tol`` before.
With ``--encoder``, all ``--samples`` draws come from the encoder, as in published
figures.

``vae``, ``iwae5`` and ``iwae50`` have the architecture of Burda, Grosse and
Salakhutdinov (2016), appendix D: 50 latents with a normal prior, mean-field posteriors
and two hidden layers of 200 units on both sides. The units are residual SiLU units
with a linear skip instead of tanh units, and training starts at a linear model.
``pair`` is an even mixture of ``best`` and one that differs in dropout.
"""

import argparse
import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _command import add_param, benchmark_parser, with_components
from _process import limit_threads
from _report import markdown_table, mean_and_error, plus_minus
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import logsumexp

from skvae import ELBO, IWAE, MixturePrior, VAEDensity

PUBLISHED: dict[str, Any] = {
    "n_components": 50,
    "prior": "normal",
    "posterior": "diagonal",
    "decoder": "mlp",
    "hidden_layer_sizes": (200, 200),
    "background": None,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "max_iter": 200,
}
BEST: dict[str, Any] = {
    "n_components": 40,
    "prior": MixturePrior(n_modes=512),
    "decoder": "mlp",
    "hidden_layer_sizes": (512, 512),
    "dropout": 0.1,
    "objective": IWAE(n_samples=5, first_part=0.65),
    "max_iter": 180,
}
# With more dropout and epochs the model is no better, but it errs on other images, so
# that the mixture of both gains.
SECOND = {**BEST, "dropout": 0.2, "max_iter": 200}
# Every model is an even mixture of densities; all but "pair" have one.
MODELS: dict[str, list[dict[str, Any]]] = {
    "vae": [{**PUBLISHED, "objective": ELBO()}],
    "iwae5": [{**PUBLISHED, "objective": IWAE(n_samples=5)}],
    "iwae50": [
        {
            **PUBLISHED,
            "objective": IWAE(n_samples=50, first_part=0.9),
            "max_iter": 160,
        }
    ],
    "best": [BEST],
    "pair": [BEST, SECOND],
}
REPORTED = (
    ("fit_seconds", ".0f"),
    ("best_epoch", "d"),
    ("score_seconds", ".0f"),
    ("effective_samples", ".0f"),
    ("unreliable", ".1%"),
)


@dataclass(frozen=True)
class Run:
    """What one density did: log-densities in nats per image."""

    log_density: NDArray[np.float64]
    effective_samples: float
    unreliable: float
    best_epoch: int
    fit_seconds: float
    score_seconds: float


def run(
    settings: dict[str, Any],
    train: NDArray[np.float64],
    held_out: NDArray[np.float64],
    options: argparse.Namespace,
) -> Run:
    """Fit one density and score the held-out images."""
    import torch

    torch.set_num_threads(options.threads)
    density = VAEDensity(likelihood="bernoulli", random_state=options.seed, **settings)
    start = perf_counter()
    density.fit(train)
    fitted = perf_counter()
    proposal, tol = ("encoder", 1e-6) if options.encoder else (None, options.tol)
    evidence = density.evidence(
        held_out, proposal=proposal, tol=tol, max_samples=options.samples
    )
    return Run(
        log_density=evidence.log_density,
        effective_samples=float(np.median(evidence.effective_sample_size)),
        unreliable=float(evidence.unreliable.mean()),
        best_epoch=density.best_iter_,
        fit_seconds=fitted - start,
        score_seconds=perf_counter() - fitted,
    )


def main() -> int:
    """Train, score, and print a table."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--part", choices=("valid", "test"), default="test")
    parser.add_argument("--rows", type=int, help="score this many random images")
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--tol", type=float, default=0.2)
    parser.add_argument("--encoder", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=1, help="for pair: two at once")
    parser.add_argument("--seed", type=int, default=0)
    add_param(parser)
    options = parser.parse_args()
    limit_threads(options.threads)
    with np.load(options.data / "binarized_mnist.npz") as arrays:
        train, held_out = (arrays[p].astype(float) for p in ("train", options.part))
    if options.rows:
        rng = np.random.default_rng(options.seed)
        held_out = held_out[rng.permutation(len(held_out))[: options.rows]]
    header = ["model", f"{options.part} nats", "fit s", "best epoch", "score s"]
    table = [[*header, "median effective samples", "unreliable"]]
    for name in options.models:
        members = [
            {**member, **with_components(dict(options.param))}
            for member in MODELS[name]
        ]
        runs = Parallel(n_jobs=options.n_jobs)(
            delayed(run)(member, train, held_out, options) for member in members
        )
        log_density = logsumexp([r.log_density for r in runs], axis=0)
        cells = [name, plus_minus(*mean_and_error(log_density - np.log(len(runs))))]
        for field, form in REPORTED:
            values = map(attrgetter(field), runs)
            cells.append(" and ".join(f"{value:{form}}" for value in values))
        table.append(cells)
        print("  ".join(cells), flush=True)
    print(f"\n{markdown_table(table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
