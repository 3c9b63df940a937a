"""The distribution of a column of counts: negative binomial, with a power tail."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from skvae.model.cells import CellDistribution
from skvae.model.likelihoods.negative_binomial import negative_binomial_log_mass
from skvae.model.missing import by_blocks

__all__ = ["TAIL_SHARE", "CountCells", "count_log_mass"]

TAIL_SHARE = 0.1  # weight of the distribution with the power tail


def count_log_mass(x: Tensor, mean: Tensor, size: Tensor) -> Tensor:
    """Return the log-mass of counts, all in float64.

    Parameters
    ----------
    x : Tensor of shape (B, D)
        Counts.
    mean, size : Tensor of shape (D,) or (B, 1)
        Mean and size of the negative binomial distribution. The mean is also that
        number up to which half of the power tail lies.
    """
    near = negative_binomial_log_mass(x, mean.log(), size.log())
    # P(X ≥ x) − P(X ≥ x + 1) = c / (c + x) − c / (c + x + 1)
    far = mean.log() - (mean + x).log() - (mean + x + 1).log()
    share = x.new_tensor([1 - TAIL_SHARE, TAIL_SHARE]).log()
    return torch.logaddexp(near + share[0], far + share[1])


@dataclass(frozen=True)
class CountCells(CellDistribution):
    """Counts, in float64.

    Attributes
    ----------
    location, size : Tensor of shape (B,)
        Mean and size of the negative binomial distribution.
    """

    location: Tensor
    size: Tensor

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers: they are."""
        return True

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-mass; that of a fraction or below zero is minus infinity."""

        def of_block(t: Tensor, mean: Tensor, size: Tensor) -> tuple[Tensor, ...]:
            x = t.double().clamp(min=0).floor()
            log_p = count_log_mass(x, mean[:, None], size[:, None]).to(t)
            return (log_p.where((t >= 0) & (t == t.floor()), -torch.inf),)

        return by_blocks(of_block, t, self.location, self.size)[0]

    def cdf(self, t: Tensor) -> Tensor:
        """Return the distribution function."""
        count = t.double().floor().clamp(min=-1).cpu().numpy() + 1
        mean, size = (
            part.double().cpu().numpy()[:, None] for part in (self.location, self.size)
        )
        with np.errstate(invalid="ignore"):  # there is no count below zero
            near = special.betainc(size, count, size / (size + mean))
        far = count / (mean + count)
        below = np.where(count > 0, (1 - TAIL_SHARE) * near + TAIL_SHARE * far, 0.0)
        return torch.from_numpy(below).to(t)

    def mean(self) -> Tensor:
        """Return the mean of the negative binomial part: the power tail has none."""
        return self.location
