"""The Gaussian-mixture prior and the EM algorithm that starts it."""

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import DiagonalGaussianMixture
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.spec import positive_int

__all__ = ["MixturePrior", "expectation_maximisation", "farthest_first", "k_means"]

SCALE_FLOOR = 1e-2  # of a latent, whose standard deviation is about one


class MixturePrior(PriorSpec):
    r"""Mixture of diagonal Gaussians, learnt with the model.

    .. math:: p(z) = \sum_{c=1}^C \pi_c \prod_l N(z_l; \mu_{cl}, \sigma_{cl}^2)

    It starts at a mixture fitted by EM to the latents of the linear start.

    Parameters
    ----------
    n_modes : int or "auto", default="auto"
        Number of modes, C. "auto" is one per 50 distinct training rows, at least 1
        and at most 64.

    References
    ----------
    N. Dilokthanakul et al., 2016. Deep unsupervised clustering with Gaussian
    mixture variational autoencoders.

    Examples
    --------
    >>> from skvae import MixturePrior
    >>> MixturePrior(n_modes=8)
    MixturePrior(n_modes=8)
    """

    alias = "mixture"

    def __init__(self, n_modes: int | str = "auto") -> None:
        self.n_modes = n_modes

    def build(self, context: BuildContext) -> "MixturePriorModule":
        """Return the module."""
        if self.n_modes == "auto":
            n_modes = min(max(context.n_rows // 50, 1), 64)
        else:
            n_modes = positive_int(
                self.n_modes, "n_modes of MixturePrior", also=" or 'auto'"
            )
        return MixturePriorModule(n_modes, context.n_components)


class MixturePriorModule(PriorModule):
    """Weights, means and scales of the modes."""

    def __init__(self, n_modes: int, n_components: int) -> None:
        super().__init__()
        check_weights(
            n_modes * (1 + 2 * n_components),
            f"MixturePrior with n_modes={n_modes} and {n_components} latents",
        )
        self.logit = nn.Parameter(torch.zeros(n_modes, dtype=BUILD_DTYPE))
        # Distinct means, or every mode would get the same gradient for ever.
        end = 1 if n_modes > 1 else 0
        spread = torch.linspace(-end, end, n_modes, dtype=BUILD_DTYPE)
        self.means = nn.Parameter(spread[:, None].repeat(1, n_components))
        self.log_scale = nn.Parameter(torch.zeros_like(self.means))

    def forward(self) -> DiagonalGaussianMixture:
        """Return p(z)."""
        return DiagonalGaussianMixture(
            self.logit.log_softmax(0), self.means, self.log_scale.exp() + SCALE_FLOOR
        )

    def initialise(self, start: LinearStart) -> None:
        """Move to the EM fit of the start's latents."""
        weight, means, scale = expectation_maximisation(
            start.z, start.sample_weight, n_modes=self.logit.shape[0]
        )
        with torch.no_grad():
            self.logit.copy_(weight.log())
            self.means.copy_(means)
            self.log_scale.copy_((scale - SCALE_FLOOR).clamp(min=SCALE_FLOOR).log())


def expectation_maximisation(
    z: Tensor, sample_weight: Tensor, n_modes: int, n_iterations: int = 40
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit a mixture of diagonal Gaussians to weighted points by EM.

    The first means are points that are far from each other (`farthest_first`), refined
    by a few rounds of k-means. Everything is a deterministic function of points and
    weights.

    Parameters
    ----------
    z : Tensor of shape (N, L)
        Points.
    sample_weight : Tensor of shape (N,)
        Positive weights.
    n_modes : int
        Number of modes, C.
    n_iterations : int, default=40
        Number of EM steps.

    Returns
    -------
    weight : Tensor of shape (C,)
        Mixture weights, which sum to one.
    means, scale : Tensor of shape (C, L)
        Means and standard deviations.
    """
    w = sample_weight / sample_weight.sum()
    centre = w @ z
    variance = (w @ (z - centre).square()).clamp(min=SCALE_FLOOR**2)
    means, mass = k_means(z, w, n_modes, n_rounds=5)
    weight = mass.clamp(min=1e-3 / n_modes)
    weight = weight / weight.sum()
    scale = (variance.sqrt() / n_modes ** (1 / z.shape[1])).expand(n_modes, -1)
    for _ in range(n_iterations):
        log_joint = _log_joint(z, weight, means, scale)
        responsibility = log_joint.softmax(1) * w[:, None]
        mass = responsibility.sum(0) + 1e-12
        means = responsibility.T @ z / mass[:, None]
        moment = responsibility.T @ z.square() / mass[:, None]
        spread = (moment - means.square()).clamp(min=0)
        # Variances are drawn towards a tenth of the table's, with the weight of a
        # twentieth of an equal share, so that a mode of few rows keeps some width.
        prior = 0.05 / n_modes
        spread = (mass[:, None] * spread + prior * 0.1 * variance) / (mass + prior)[
            :, None
        ]
        scale = spread.clamp(min=SCALE_FLOOR**2).sqrt()
        weight = (mass + 1e-3 / n_modes) / (mass + 1e-3 / n_modes).sum()
    return weight, means, scale


def k_means(z: Tensor, w: Tensor, n_modes: int, n_rounds: int) -> tuple[Tensor, Tensor]:
    """Return some rounds of k-means of weighted points, from points far apart.

    Parameters
    ----------
    z : Tensor of shape (N, L)
        Points.
    w : Tensor of shape (N,)
        Their weights, which sum to one.
    n_modes, n_rounds : int
        Numbers of centres and of rounds.

    Returns
    -------
    centres : Tensor of shape (C, L)
        Their means; a centre without points stays where it was.
    mass : Tensor of shape (C,)
        Weight of the points that each was the mean of.
    """
    n_rows = len(z)
    centres = z[farthest_first(z, w, n_modes)]
    for _ in range(n_rounds):
        nearest = torch.cdist(z, centres).argmin(1)
        assigned = torch.zeros(n_rows, n_modes, dtype=z.dtype, device=z.device)
        assigned[torch.arange(n_rows), nearest] = w
        mass = assigned.sum(0)
        moved = assigned.T @ z / mass.clamp(min=1e-12)[:, None]
        centres = torch.where((mass > 0)[:, None], moved, centres)
    return centres, mass


def _log_joint(z: Tensor, weight: Tensor, means: Tensor, scale: Tensor) -> Tensor:
    precision = scale.square().reciprocal()
    constant = (
        weight.log() - scale.log().sum(1) - 0.5 * (means.square() * precision).sum(1)
    )
    linear = z @ (means * precision).T
    return constant + linear - 0.5 * z.square() @ precision.T


def farthest_first(z: Tensor, w: Tensor, n_modes: int) -> Tensor:
    """Choose rows far from each other, as k-means++ does, but without chance.

    Each row is a quantile of the distribution that k-means++ would draw it from, in
    which rows have the weight w times the squared distance to the nearest chosen row.
    Multiples of the golden ratio spread the quantiles over (0, 1).

    Parameters
    ----------
    z : Tensor of shape (N, L)
        Points.
    w : Tensor of shape (N,)
        Their weights, which sum to one.
    n_modes : int
        Number of rows to choose.

    Returns
    -------
    chosen : Tensor of shape (n_modes,)
        Row numbers; the first is the row that is nearest to the mean.
    """
    chosen = [int((z - w @ z).square().sum(1).argmin())]
    distance = (z - z[chosen[0]]).square().sum(1)
    golden = 0.5 * (5**0.5 - 1)
    for i in range(1, n_modes):
        mass = (w * distance).cumsum(0)
        target = mass[-1] * ((i * golden) % 1)
        index = int(torch.searchsorted(mass, target).clamp(max=z.shape[0] - 1))
        chosen.append(index)
        distance = torch.minimum(distance, (z - z[index]).square().sum(1))
    return torch.tensor(chosen, device=z.device)
