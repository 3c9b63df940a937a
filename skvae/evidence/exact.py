"""Log-densities without an error: of decoders that read no latents, and of codes."""

import torch
from torch import Tensor

from skvae.evidence.blocks import concatenate, equal_blocks, in_threads
from skvae.evidence.importance import Estimate
from skvae.model import VAE

__all__ = ["exact_estimate"]

MANY, FEW = 256, 16  # rows at a time, and at the end
PAIRS = 2**14  # of a row and a code, at a time


def exact_estimate(model: VAE, x: Tensor) -> Estimate:
    """Return log p(x) of the latent part, row by row, without an error.

    Parameters
    ----------
    model : VAE
        The density; `VAE.encoder_is_exact` holds.
    x : Tensor of shape (B, columns)
        Rows, in model units.
    """
    raw = model.raw_of_codes()
    many = MANY if raw is None else max(FEW, min(MANY, PAIRS // len(raw) // FEW * FEW))

    def of_block(rows: Tensor) -> Estimate:
        log_density = model.exact_log_prob(x[rows], raw).double()
        one = torch.ones_like(log_density)
        return Estimate(
            log_density=log_density,
            standard_error=torch.zeros_like(one),
            bias=torch.zeros_like(one),
            effective_sample_size=one,
            pareto_k=torch.full_like(one, -torch.inf),
            n_samples=one.long(),
        )

    every = torch.arange(len(x), device=x.device)
    blocks = equal_blocks(every, many, FEW)
    return concatenate(in_threads(of_block, blocks))[: len(x)]
