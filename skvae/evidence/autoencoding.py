"""Rows through encoder and decoder: latents, reconstructions and scales."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.evidence.blocks import concatenate, draws_at_once, in_threads
from skvae.evidence.noise import RowNoise
from skvae.model import VAE

__all__ = ["Autoencoding", "autoencode_rows"]

N_DRAWS = 16  # for expectations over q(z | x) that have no closed form


@dataclass(frozen=True)
class Autoencoding:
    """What encoder and decoder make of B rows, in model units.

    Attributes
    ----------
    mean, variance : Tensor of shape (B, L)
        Mean and variance of every latent under q(z | x).
    kl : Tensor of shape (B,)
        KL(q(z | x) ‖ p(z)), nats.
    log_likelihood : Tensor of shape (B,)
        Mean of log p(x | z) over q(z | x), nats.
    reconstruction : Tensor of shape (B, D)
        The decoder's mean where the latents are the encoder's mean, or its code.
    floor_share : Tensor of shape (B, D)
        Probability, for the same latents, that the standard deviation of the cell is
        near its floor; nan where there is no floor.
    """

    mean: Tensor
    variance: Tensor
    kl: Tensor
    log_likelihood: Tensor
    reconstruction: Tensor
    floor_share: Tensor


def autoencode_rows(
    model: VAE, x: Tensor, noise: RowNoise, factor: float
) -> Autoencoding:
    """Pass rows through encoder and decoder, in blocks of bounded size.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, columns)
        Rows, in model units; given columns follow those that have a density.
    noise : RowNoise
        The rows' noise.
    factor : float
        A standard deviation is near its floor if it is at most so many times as large.
    """

    def autoencode(rows: Tensor) -> Autoencoding:
        return _autoencode_block(model, x[rows], noise[rows], factor)

    every_row = torch.arange(len(x), device=x.device)
    blocks = every_row.split(max(1, draws_at_once(x.device) // N_DRAWS))
    return concatenate(in_threads(autoencode, blocks))


def _autoencode_block(
    model: VAE, x: Tensor, noise: RowNoise, factor: float
) -> Autoencoding:
    encoder = model.encode(x)
    points = noise.points(encoder.noise_dim, 0, N_DRAWS, like=x)
    draw = model.draw_from(encoder, x, points, noise.cells())
    mean, moment = encoder.mean, encoder.second_moment()
    if moment is None:
        mean, moment = draw.z.mean(0), draw.z.square().mean(0)
    kl = (draw.log_q_z - draw.log_p_z).mean(0) if draw.kl is None else draw.kl
    raw = model.raw(x, encoder.mode[None])
    share = model.likelihood.floor_share(raw, factor)
    if share is None:
        share = torch.full_like(x[:, : model.n_features], torch.nan)[None]
    return Autoencoding(
        mean=mean,
        variance=(moment - mean.square()).clamp(min=0),
        kl=kl,
        log_likelihood=draw.log_p_x.mean(0),
        reconstruction=model.likelihood.mean(raw).squeeze(0),
        floor_share=share.squeeze(0),
    )
