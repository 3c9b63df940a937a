"""One Gaussian for the posterior of each row, where no draws and weights are wanted."""

import torch
from torch import Tensor

from skvae.evidence.blocks import joined_blocks
from skvae.evidence.noise import RowNoise
from skvae.evidence.search import PosteriorSearch
from skvae.model import VAE
from skvae.model.distributions import (
    CholeskyGaussian,
    CodeDistribution,
    LatentDistribution,
    SharedDistribution,
)

__all__ = ["posterior_and_bound"]

MANY, FEW = 128, 16  # rows of a block
N_STEPS = 4  # of batch and match
N_DRAWS = 16  # of each row, by which log p is bounded


@torch.no_grad()
def posterior_and_bound(
    model: VAE, x: Tensor, noise: RowNoise
) -> tuple[LatentDistribution, Tensor]:
    """Return an approximation of the posterior of each row, and a bound on log p(x).

    It is the posterior itself where latents have few values or the decoder does not
    read them, and else a Gaussian, matched to log p(x, z).

    Parameters
    ----------
    model : VAE
        The density, on the CPU.
    x : Tensor of shape (B, columns)
        Rows, in model units; missing cells are NaN.
    noise : RowNoise
        The rows' noise.

    Returns
    -------
    posterior : LatentDistribution
        Of B rows; what it is for a row depends on that row alone.
    bound : Tensor of shape (B,)
        The importance-weighted bound of 16 draws on log p(x) of the latent part.
    """
    prior = model.prior()
    has_few = isinstance(prior, CodeDistribution) and model.decoder.reads_latents

    def of_block(rows: Tensor) -> tuple[Tensor, ...]:
        block, own = x[rows], noise[rows]
        parts: tuple[Tensor, ...] = ()
        posterior: LatentDistribution
        if model.encoder_is_exact:
            posterior = model.encode(block)
            if has_few:
                # It is the prior where missing cells would have to be drawn.
                found = posterior if isinstance(posterior, CodeDistribution) else prior
                parts = (found.log_weight.expand(len(block), -1),)
        else:
            search = PosteriorSearch(model, block)
            gaussians = search.from_encoder(own.stream(1), N_STEPS)
            parts = gaussians.mean, gaussians.tril
            posterior = CholeskyGaussian(*parts)
        own = own.stream(2)
        points = own.points(posterior.noise_dim, 0, N_DRAWS, like=block)
        draw = model.draw_from(posterior, block, points, own.cells())
        return (draw.log_mean_w, *parts)

    every = torch.arange(len(x), device=x.device)
    bound, *parts = joined_blocks(of_block, every, MANY, FEW)
    if not parts:
        return SharedDistribution(prior, len(x)), bound
    if isinstance(prior, CodeDistribution):
        return CodeDistribution(prior.points, *parts), bound
    return CholeskyGaussian(*parts), bound
