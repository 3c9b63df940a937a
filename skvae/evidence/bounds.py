"""Lower bounds on log p(x): the ELBO and IWAE_K."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from skvae.evidence.blocks import draws_at_once, in_threads
from skvae.evidence.noise import RowNoise
from skvae.model import VAE, ClosedFormPart

__all__ = ["importance_bounds"]

MIN_DRAWS = 64  # per row, so that small K are averaged over many groups


def importance_bounds(
    model: VAE,
    x: Tensor,
    noise: RowNoise,
    n_samples: Sequence[int],
    closed_form: ClosedFormPart | None = None,
) -> Tensor:
    r"""Estimate the importance-weighted bounds of each row, without bias.

    .. math:: \mathcal{L}_K = E \log \left[(1 - \epsilon) \frac1K \sum_{k=1}^K w_k
              + \epsilon\, p_0(x)\right], \quad
              w_k = \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)},
              \quad z_k \sim q(z \mid x)

    with independent draws from the encoder. All K share one set of draws, as many as
    the largest K but at least 64. For each K the set is cut into groups of K draws, and
    the logarithm above is averaged over the groups.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, D)
        Rows, in model units.
    noise : RowNoise
        The rows' noise, with independent points (`quasi=False`): Sobol points would
        change the expectation of the logarithm.
    n_samples : sequence of int
        The numbers K.
    closed_form : ClosedFormPart, default=None
        The closed-form part of the rows, if it is known already.

    Returns
    -------
    bounds : Tensor of shape (len(n_samples), B)
        Nats, in model units, float64.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, 2016. Importance weighted autoencoders.
    """
    if closed_form is None:
        closed_form = model.closed_form(x)
    every_row = torch.arange(len(x), device=x.device)

    def log_w(rows: Tensor, n_draws: int) -> Tensor:
        encoder = model.encode(x[rows])
        of_rows = noise[rows]
        points = of_rows.points(encoder.noise_dim, 0, n_draws, like=x)
        draw = model.draw_from(encoder, x[rows], points, of_rows.cells())
        return draw.log_w.double()

    return bounds_by_groups(log_w, every_row, n_samples, closed_form)


def bounds_by_groups(
    log_w: Callable[[Tensor, int], Tensor],
    every_row: Tensor,
    n_samples: Sequence[int],
    closed_form: ClosedFormPart,
) -> Tensor:
    """Average the logarithms of means of groups of weights; see `importance_bounds`.

    Parameters
    ----------
    log_w : callable
        Takes numbers of b rows and a number K of draws, and returns the log-weights
        (K, b) of independent draws.
    every_row : Tensor of shape (n,)
        Numbers of all rows.
    n_samples : sequence of int
        Sizes of the groups.
    closed_form : ClosedFormPart
        The closed-form part of the rows.

    Returns
    -------
    bounds : Tensor of shape (len(n_samples), n)
        Nats, float64.
    """
    n_draws = max(MIN_DRAWS, *n_samples)

    def bounds_of(rows: Tensor) -> Tensor:
        weights = log_w(rows, n_draws)
        return torch.stack([_bound(closed_form[rows], weights, k) for k in n_samples])

    blocks = every_row.split(max(1, draws_at_once(every_row.device) // n_draws))
    return torch.cat(in_threads(bounds_of, blocks), 1)


def _bound(closed_form: ClosedFormPart, log_w: Tensor, n_samples: int) -> Tensor:
    """Average log p̂(x) over groups of `n_samples` weights."""
    n_groups = len(log_w) // n_samples
    groups = log_w[: n_groups * n_samples].unflatten(0, (n_groups, n_samples))
    log_p = groups.logsumexp(1) - math.log(n_samples)
    return closed_form.mix(log_p).mean(0)
