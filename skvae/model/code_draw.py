"""Draws of codes from an encoder, and how it learns from them."""

from collections.abc import Callable

import torch
from torch import Tensor

from skvae.model.distributions import (
    CodeDistribution,
    LatentDistribution,
    SlotDistribution,
    vectors_of,
)
from skvae.model.draw import LatentDraw

__all__ = ["CODE_DRAWS", "draw_codes", "sum_of_codes"]

CODE_DRAWS = 8  # of a row in a step of the training, at least


def draw_codes(
    prior: LatentDistribution,
    encoder: SlotDistribution,
    noise: Tensor,
    log_likelihood: Callable[[Tensor], Tensor],
) -> LatentDraw:
    r"""Draw codes, with a gradient for the encoder that needs none of the latents.

    The encoder's gradient, whatever the objective, is

    .. math:: \sum_k \tilde w_k \nabla_\phi \log q(c_k \mid x), \qquad
              \tilde w_k = w_k / \sum_j w_j

    an estimate of −∇KL(p(c | x) ‖ q(c | x)). The encoder then covers the posterior, as
    importance sampling asks for. Gradients of the bound itself would need baselines, as
    no path leads through codes. All other gradients are those of the objective, which
    stays a bound on log p(x).

    Parameters
    ----------
    prior : SlotDistribution
        p(c).
    encoder : SlotDistribution
        q(c | x) of B rows.
    noise : Tensor of shape (K, B, M)
        Standard-normal noise.
    log_likelihood : callable
        Returns log p(x | z), shape (K, B), for latents (K, B, L).

    References
    ----------
    J. Bornschein and Y. Bengio, 2015. Reweighted wake-sleep.

    T. A. Le, A. R. Kosiorek, N. Siddharth, Y. W. Teh and F. Wood, 2019. Revisiting
    reweighted wake-sleep for models with stochastic control flow.

    A. Mnih and D. J. Rezende, 2016. Variational inference for Monte Carlo objectives.
    (The baselines.)
    """
    assert isinstance(prior, SlotDistribution)
    numbers, log_q = encoder.draw(noise)
    z = vectors_of(prior.codes, numbers)
    log_p_x, log_p_z = log_likelihood(z), prior.log_mass(numbers)
    share = (log_p_x + log_p_z - log_q).detach().softmax(0)
    wake = (share * log_q).sum(0)
    return LatentDraw(
        z=z.detach(),
        log_p_x=log_p_x,
        log_p_z=log_p_z,
        # Every objective moves by as much as all log-weights do, so that the gradient
        # of `wake`, whose value is taken away again, is not weighed once more.
        log_q_z=log_q.detach() - (wake - wake.detach()),
    )


def sum_of_codes(prior: CodeDistribution, log_joint: Tensor) -> LatentDraw:
    """Return a sum over the few values of z, as one draw whose weight is p(x).

    log p(x) is the mean of log p(x, z) − log p(z | x) over the posterior, and its
    gradient the mean of that of log p(x, z).

    Parameters
    ----------
    prior : CodeDistribution
        p(z), of N points.
    log_joint : Tensor of shape (N, B)
        log p(x, z) of each of them and of each row.
    """
    share = log_joint.detach().softmax(0)
    log_prior = share.T @ prior.log_weight
    return LatentDraw(
        z=(share.T @ prior.points)[None],
        log_p_x=((share * log_joint).sum(0) - log_prior)[None],
        log_p_z=log_prior[None],
        log_q_z=-torch.special.entr(share).sum(0)[None],
    )
