"""Terms of a batch as a whole, beside a bound: InfoVAE."""

import math

import torch
from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import resolve
from skvae.training.objectives._base import (
    ObjectiveSpec,
    not_negative,
    share_of_training,
)

__all__ = ["InfoObjective", "maximum_mean_discrepancy", "mutual_information"]

LEAST = 1e-30  # sum of weights; smaller ones count as none


class InfoObjective(ObjectiveSpec):
    r"""A bound, and in the first part of training, terms of the aggregate posterior.

    .. math:: \mathcal{L}_\mathrm{base} - \lambda\, \mathrm{MMD}^2\bigl(q(z), p(z)\bigr)
              + \alpha\, I_q(x; z), \qquad q(z) = E_x\, q(z \mid x)

    The first term draws the latents of all rows together towards the prior, without
    drawing those of each row there, as the divergence in the bound does. The second
    rewards latents that tell rows apart. Both hold until a share `released` of the
    training is done. Then the bound alone is maximised, as the optimum of any other
    objective is not the best density.

    Parameters
    ----------
    base : str or ObjectiveSpec, default="elbo"
        The bound.
    mmd : float, default=10.0
        Weight of the squared maximum mean discrepancy, λ, at least 0.
    mutual_information : float, default=0.0
        Weight of the mutual information, α, at least 0.
    bandwidth : float, default=1.0
        Length of the discrepancy's kernel, in units of √L for L latents.
    released : float, default=0.8
        Share of the training, in [0, 1], after which λ = α = 0. With 1.0 the terms hold
        to the end.

    Notes
    -----
    The terms are estimated on each batch, by one further latent of each row and as many
    draws from the prior, and they move the encoder alone: the prior follows by the
    bound. Rows count by the probability that they are the latent part's, so that what
    the background explains has no part in q(z). Where the encoder is computed, as for
    codes, or no latent is read, there is nothing to move, and the terms are left out.

    The estimate of the mutual information is a lower bound in expectation, and at most
    the logarithm of the batch size.

    References
    ----------
    S. Zhao, J. Song and S. Ermon, 2019. InfoVAE: balancing learning and inference in
    variational autoencoders.

    A. Gretton, K. M. Borgwardt, M. J. Rasch, B. Schölkopf and A. Smola, 2012. A kernel
    two-sample test.

    B. Poole, S. Ozair, A. van den Oord, A. A. Alemi and G. Tucker, 2019. On variational
    bounds of mutual information.
    """

    alias = "info"

    def __init__(
        self,
        base: str | ObjectiveSpec = "elbo",
        mmd: float = 10.0,
        mutual_information: float = 0.0,
        bandwidth: float = 1.0,
        released: float = 0.8,
    ) -> None:
        self.base = base
        self.mmd = mmd
        self.mutual_information = mutual_information
        self.bandwidth = bandwidth
        self.released = released

    def _base(self) -> ObjectiveSpec:
        return resolve(self.base, ObjectiveSpec)

    @property
    def path_gradient(self) -> bool:  # type: ignore[override]
        """Whether the bound asks for it."""
        return self._base().path_gradient

    def n_draws(self, progress: float) -> int:
        """Return as many as the bound needs."""
        return self._base().n_draws(progress)

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return the bound of each row."""
        return self._base().bound(draw, progress)

    def weighting(self, progress: float) -> tuple[float, float]:
        """Return λ and α when so large a share of the training is done."""
        owner = "InfoObjective"
        mmd = not_negative(self.mmd, "mmd", owner)
        information = not_negative(self.mutual_information, "mutual_information", owner)
        if progress >= share_of_training(self.released, "released", owner):
            return 0.0, 0.0
        return mmd, information

    def _length(self, n_latents: int) -> float:
        """Return the length of the kernel."""
        bandwidth = not_negative(self.bandwidth, "bandwidth", "InfoObjective")
        if not bandwidth:
            raise ValueError("bandwidth of InfoObjective must be above 0, got 0.")
        return bandwidth * math.sqrt(n_latents)

    def reads_aggregate(self, progress: float) -> bool:
        """Return whether a term is left."""
        base = self._base().reads_aggregate(progress)
        return base or any(self.weighting(progress))

    def of_batch(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return −λ MMD² + α I, and what the bound adds."""
        term, aggregate = self._base().of_batch(draw, progress), draw.aggregate
        mmd, information = self.weighting(progress)
        if aggregate is None:
            return term
        weight = draw.closed_form.latent_share(draw.log_mean_w.detach())
        if mmd:
            length = self._length(aggregate.z.shape[1])
            term = term - mmd * maximum_mean_discrepancy(
                aggregate.z, aggregate.prior_z, length, weight
            )
        if information:
            found = mutual_information(aggregate.log_q_z(), weight)
            term = term + information * found
        return term


def maximum_mean_discrepancy(
    z: Tensor, other: Tensor, length: float, weight: Tensor
) -> Tensor:
    r"""Estimate the squared maximum mean discrepancy of two samples, without bias.

    .. math:: E\,k(z, z') + E\,k(y, y') - 2\, E\,k(z, y), \qquad
              k(a, b) = \exp\left(-\frac{\|a - b\|^2}{2 \ell^2}\right)

    Parameters
    ----------
    z : Tensor of shape (B, L)
        A weighted sample.
    other : Tensor of shape (N, L)
        A sample without weights.
    length : float
        ℓ.
    weight : Tensor of shape (B,)
        Weights of the first sample, which do not depend on z.

    Returns
    -------
    discrepancy : Tensor of shape ()
        Its expectation is at least zero, but it may itself be negative. It is zero for
        samples of fewer than two.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        distance = (a[:, None] - b).square().sum(-1)
        return torch.exp(-0.5 * distance / length**2)

    if min(len(z), len(other)) < 2:
        return z.new_zeros(())
    weight = weight / weight.sum().clamp(min=LEAST)
    # A pair of a latent with itself has the largest kernel, and would be the bias.
    pairs = weight[:, None] * weight * (1 - torch.eye(len(z)).to(weight))
    within = (pairs * kernel(z, z)).sum() / pairs.sum().clamp(min=LEAST)
    among = kernel(other, other)
    n_pairs = len(other) * (len(other) - 1)
    of_other = (among.sum() - among.diagonal().sum()) / n_pairs
    return within + of_other - 2 * (weight @ kernel(z, other)).mean()


def mutual_information(log_q_z: Tensor, weight: Tensor) -> Tensor:
    r"""Estimate the mutual information of rows and latents from below.

    .. math:: \sum_i w_i \left[\log q(z_i \mid x_i) - \log \sum_j w_j\,
              q(z_i \mid x_j)\right]

    Parameters
    ----------
    log_q_z : Tensor of shape (B, B)
        log q(z_i | x_j).
    weight : Tensor of shape (B,)
        Weights of the rows, which are scaled to sum to one.

    Returns
    -------
    information : Tensor of shape ()
        Nats; at most log B for equal weights.
    """
    weight = weight / weight.sum().clamp(min=LEAST)
    of_all = (log_q_z + weight.clamp(min=LEAST).log()).logsumexp(1)
    return weight @ (log_q_z.diagonal() - of_all)
