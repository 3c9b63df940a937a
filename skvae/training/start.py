"""The data-driven start: training begins at a linear-Gaussian model, not at noise."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model import LinearStart

__all__ = ["linear_start"]

RIDGE = 1e-3  # added to the variances of a regression's inputs, which are about one
LEAST_VARIANCE = 1e-8  # of a direction that latents describe
ABOVE_CORRELATION = 0.3  # of a latent in a level above with its direction


def linear_start(
    features: Tensor,
    sample_weight: Tensor,
    n_components: int,
    scale_floor: Tensor,
    generator: torch.Generator,
    posterior_scale: float = 0.3,
    n_above: int = 0,
    n_given: int = 0,
) -> LinearStart:
    """Fit the linear model that the components start from.

    The encoder maps a row to its whitened principal components and adds noise. The
    decoder is the ridge regression of the rows on these noisy latents, and its
    residuals give the noise of each column, as in factor analysis. (Starts at the
    directions of a maximum-likelihood factor analysis led to the same densities.)

    Given features are regressed out first, so that the latents describe what the given
    features do not explain.

    Parameters
    ----------
    features : Tensor of shape (N, F)
        The training rows as networks read them (see `RowFeatures`).
    sample_weight : Tensor of shape (N,)
        Positive weights.
    n_components : int
        Number of latents, L.
    scale_floor : Tensor of shape (F − G,)
        Smallest standard deviation of a feature that is not given.
    generator : torch.Generator
        Source of the latents' noise.
    posterior_scale : float, default=0.3
        Standard deviation of the encoder around whitened latents.
    n_above : int, default=0
        Number of further latents, which belong to the levels above and follow the
        others. The decoder does not read them at the start. Their encoder is close to
        the prior: each of them is weakly correlated with one of the leading
        directions.
    n_given : int, default=0
        Number of given features, G; they are the last.

    Returns
    -------
    start : LinearStart
        The linear model, in the dtype of `features`; computed in float64.
    """
    dtype = features.dtype
    x, w = features.double(), sample_weight.double()
    w = w / w.sum()
    mean = w @ x
    x, given = (x - mean).tensor_split([x.shape[1] - n_given], 1)
    given_weight = _ridge(given, x, w)
    centred = x - given @ given_weight.T
    covariance = (centred * w[:, None]).T @ centred
    values, vectors = torch.linalg.eigh(covariance)
    # The sign of an eigenvector is arbitrary: its largest entry is made positive.
    largest = vectors.abs().argmax(0)
    vectors = vectors * vectors[largest, torch.arange(len(values))].sign()
    n_directions = min(n_components, len(values))
    leading = vectors[:, -n_directions:].flip(1)
    variance = values[-n_directions:].flip(0)
    # Latents beyond the rank of the table start as the prior.
    told = F.pad(variance > LEAST_VARIANCE, (0, n_components - n_directions))
    spread = variance.clamp(min=LEAST_VARIANCE).sqrt()
    encoder = torch.zeros(n_components, x.shape[1], dtype=x.dtype)
    encoder[:n_directions] = (leading / spread).T
    encoder[~told] = 0
    noise = torch.randn(len(x), n_components, dtype=x.dtype, generator=generator)
    z = centred @ encoder.T + posterior_scale * noise
    z[:, ~told] = noise[:, ~told]
    tril = torch.full((n_components,), posterior_scale, dtype=x.dtype)
    tril[~told] = 1
    decoder = _ridge(z, centred, w)
    residual = centred - z @ decoder.T
    residual_scale = (w @ residual.square()).sqrt()
    # The encoder reads `centred`, a linear function of the features: written out, its
    # weight has a part for the given ones. The decoder returns given features as such.
    identity = torch.eye(n_given, dtype=x.dtype)
    encoder = torch.cat([encoder, -encoder @ given_weight], 1)
    given_weight = torch.cat([given_weight, identity])
    record = LinearStart(
        encoder_weight=encoder,
        encoder_bias=-encoder @ mean,
        encoder_tril=tril.diag(),
        decoder_weight=F.pad(decoder, (0, 0, 0, n_given)),
        decoder_bias=mean - given_weight @ mean[x.shape[1] :],
        residual_scale=F.pad(
            torch.maximum(residual_scale, scale_floor.double()), (0, n_given), value=1.0
        ),
        features=features.double(),
        z=z,
        sample_weight=w,
        given_weight=given_weight,
    )
    if n_above:
        record = _with_levels_above(record, n_above, n_directions, generator)
    return LinearStart(**{k: v.to(dtype) for k, v in vars(record).items()})


def _with_levels_above(
    start: LinearStart, n_above: int, n_directions: int, generator: torch.Generator
) -> LinearStart:
    """Append latents of variance one that the decoder does not read yet."""
    direction = torch.arange(n_above) % n_directions
    weight = ABOVE_CORRELATION * start.encoder_weight[direction]
    bias = ABOVE_CORRELATION * start.encoder_bias[direction]
    scale = math.sqrt(1 - ABOVE_CORRELATION**2)
    noise = torch.randn(len(start.z), n_above, dtype=start.z.dtype, generator=generator)
    above = start.features @ weight.T + bias + scale * noise
    return replace(
        start,
        encoder_weight=torch.cat([start.encoder_weight, weight]),
        encoder_bias=torch.cat([start.encoder_bias, bias]),
        encoder_tril=torch.block_diag(
            start.encoder_tril, scale * torch.eye(n_above, dtype=above.dtype)
        ),
        decoder_weight=F.pad(start.decoder_weight, (0, n_above)),
        z=torch.cat([start.z, above], 1),
    )


def _ridge(inputs: Tensor, outputs: Tensor, weight: Tensor) -> Tensor:
    """Return the slopes of a weighted ridge regression, (n_outputs, n_inputs)."""
    weighted = (inputs * weight[:, None]).T
    gram = weighted @ inputs
    gram = gram + RIDGE * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, weighted @ outputs).T
