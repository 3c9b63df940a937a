"""What encoder and decoder do with each row: latents, reconstruction, scales."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from skvae.evidence.noise import RowNoise
from skvae.evidence.sampling import in_blocks
from skvae.model import VAE

__all__ = ["RowCheck", "check_rows"]

N_DRAWS = 16  # for the expectations over q(z | x) without a closed form


@dataclass(frozen=True)
class RowCheck:
    """The encoder and the decoder at B rows, in model units.

    Attributes
    ----------
    mean, variance : Tensor of shape (B, L)
        Moments of every latent under q(z | x).
    kl : Tensor of shape (B,)
        KL(q(z | x) ‖ p(z)), nats.
    log_likelihood : Tensor of shape (B,)
        Mean of log p(x | z) over q(z | x), nats.
    reconstruction : Tensor of shape (B, D)
        The decoder's mean at the encoder's mean.
    floor_share : Tensor of shape (B, D)
        Probability, at the encoder's mean, that the cell's standard deviation is near
        its floor; nan where there is no floor.
    """

    mean: Tensor
    variance: Tensor
    kl: Tensor
    log_likelihood: Tensor
    reconstruction: Tensor
    floor_share: Tensor


def check_rows(model: VAE, x: Tensor, noise: RowNoise, factor: float) -> RowCheck:
    """Pass rows through encoder and decoder, in blocks of bounded size.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, D)
        Rows, in model units.
    noise : RowNoise
        The rows' noise.
    factor : float
        Up to how many times its floor a standard deviation is near it.
    """

    def check_of(rows: Tensor) -> RowCheck:
        return _check_block(model, x[rows], noise[rows], factor)

    parts = in_blocks(check_of, torch.arange(len(x), device=x.device), N_DRAWS)
    return RowCheck(
        *(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(RowCheck))
    )


def _check_block(model: VAE, x: Tensor, noise: RowNoise, factor: float) -> RowCheck:
    encoder = model.encode(x)
    points = noise.points(encoder.noise_dim, 0, N_DRAWS, like=x)
    draw = model.draw_from(encoder, x, points)
    mean, moment = encoder.mean, encoder.second_moment()
    if moment is None:
        mean, moment = draw.z.mean(0), draw.z.square().mean(0)
    kl = (draw.log_q_z - draw.log_p_z).mean(0) if draw.kl is None else draw.kl
    raw = model.raw(x, encoder.mean[None])
    share = model.likelihood.floor_share(raw, factor)
    if share is None:
        share = torch.full_like(x, torch.nan)[None]
    return RowCheck(
        mean=mean,
        variance=(moment - mean.square()).clamp(min=0),
        kl=kl,
        log_likelihood=draw.log_p_x.mean(0),
        reconstruction=model.likelihood.mean(raw).squeeze(0),
        floor_share=share.squeeze(0),
    )
