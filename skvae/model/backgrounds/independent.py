"""The background of columns of zeros and ones, categories and counts."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model.backgrounds._base import BackgroundModule, BackgroundSpec
from skvae.model.backgrounds._counts import TAIL_SHARE, CountCells, count_log_mass
from skvae.model.cells import CellDistribution, DiscreteCells
from skvae.model.context import BuildContext
from skvae.model.features import Support
from skvae.model.missing import incomplete_rows

__all__ = ["IndependentBackground"]

PRIOR_COUNT = 0.5  # rows that every category is taken to have had besides its own
LEAST_MEAN = 0.05  # of a column of counts
SIZE_RANGE = (0.01, 1e4)  # of the negative binomial distribution


class IndependentBackground(BackgroundSpec):
    r"""Independent discrete columns.

    .. math:: p_0(x) = \prod_d p_d(x_d)

    The probabilities of zeros and ones and of categories are their frequencies, after
    one half has been added to the number of rows of each. Values that are none of the
    categories have the mass that `ColumnKind.other` states. The distribution of a
    column of counts is a mixture. Nine tenths are a negative binomial distribution
    with the column's mean and variance. One tenth has a tail that falls as a power,
    :math:`P(X \ge x) = c / (c + x)` with c the mean, so that also a count far from
    all others has a log-mass that is not hugely negative.

    Parameters
    ----------
    weight : float, default=0.005
        ε, the share of rows that the background is expected to take.

    Examples
    --------
    >>> from skvae import IndependentBackground, VAEDensity
    >>> VAEDensity(background=IndependentBackground())
    VAEDensity(background=IndependentBackground())
    """

    alias = "independent"
    supports: ClassVar[tuple[Support, ...]] = ("binary", "count", "category")

    def __init__(self, weight: float = 0.005) -> None:
        self.weight = weight

    def build(self, context: BuildContext) -> "IndependentBackgroundModule":
        """Return the module."""
        weight = self.checked_weight()
        supports = [kind.support for kind in context.modelled_kinds]
        if "real" in supports:
            raise ValueError(
                f"IndependentBackground takes columns of zeros and ones, counts and "
                f"categories only, but column {supports.index('real')} is real."
            )
        return IndependentBackgroundModule(weight, context)


class IndependentBackgroundModule(BackgroundModule):
    """Fixed log-masses per category, and mean and size per column of counts."""

    log_mass: Tensor
    allowed: Tensor
    n_values: Tensor
    other: Tensor
    is_count: Tensor
    mean: Tensor
    size: Tensor

    def __init__(self, weight: float, context: BuildContext) -> None:
        super().__init__(weight)
        kinds = context.modelled_kinds
        # A column of zeros and ones has two categories; one of counts has none.
        n_values = torch.tensor(
            [{"binary": 2, "count": 1}.get(k.support, k.n_values) for k in kinds]
        )
        allowed = torch.arange(int(n_values.max()))[:, None] < n_values
        floor = context.scale_floor
        uniform = (-n_values.to(floor).log()).expand(allowed.shape)
        self.register_buffer("allowed", allowed)
        self.register_buffer("n_values", n_values)
        self.register_buffer("other", floor.new_tensor([kind.other for kind in kinds]))
        self.register_buffer("log_mass", uniform.where(allowed, -torch.inf))
        is_count = torch.tensor([kind.support == "count" for kind in kinds])
        self.register_buffer("is_count", is_count)
        self.register_buffer("mean", torch.ones_like(floor))
        self.register_buffer("size", torch.ones_like(floor))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the sum of the observed columns' log-masses."""
        observed = ~x.isnan()
        x = x.where(observed, 0.0)
        known = self.is_count | (x < self.n_values)
        code = x.where(known & ~self.is_count, 0.0).long()
        cells = torch.take_along_dim(self.log_mass[None], code.unsqueeze(1), 1)
        of_categories = cells.squeeze(1) + (-self.other).log1p()
        of_categories = of_categories.where(known, self.other.log())
        count = x.where(self.is_count, 0.0).double().clamp(min=0)
        of_counts = self._log_mass_of_counts(count).to(x.dtype)
        log_p = torch.where(self.is_count, of_counts, of_categories)
        return log_p.where(observed, 0.0).sum(-1)

    def _log_mass_of_counts(self, x: Tensor) -> Tensor:
        return count_log_mass(x, self.mean.double(), self.size.double())

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a row for each with missing cells, and take these cells of it."""
        completed = x.clone()
        for row in incomplete_rows(x).tolist():
            drawn = self.sample(1, generators[row])[0]
            completed[row] = x[row].where(~x[row].isnan(), drawn.to(x))
        return completed

    def cell(self, x: Tensor, column: int) -> CellDistribution:
        """Return the distribution of the column, which is that of every row."""
        n_rows = len(x)
        if self.is_count[column]:
            mean, size = self.mean[column].double(), self.size[column].double()
            return CountCells(mean.expand(n_rows), size.expand(n_rows))
        other = self.other[column]
        log_mass = (
            self.log_mass[: int(self.n_values[column]), column] + (-other).log1p()
        )
        log_other = other.log().expand(n_rows) if other > 0 else None
        return DiscreteCells(log_mass.expand(n_rows, -1), log_other)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw categories and counts."""
        like = self.log_mass.new_empty(n_samples, *self.log_mass.shape)
        gumbel = -like.exponential_(generator=generator).log()
        categories = (self.log_mass + gumbel).argmax(1).to(like.dtype)
        counts = self._sample_counts(n_samples, generator).to(like.dtype)
        return torch.where(self.is_count, counts, categories)

    def _sample_counts(self, n_samples: int, generator: torch.Generator) -> Tensor:
        mean = self.mean.double().expand(n_samples, -1)
        size = self.size.double().expand(n_samples, -1)
        gamma = torch._standard_gamma(size, generator=generator)
        near = torch.poisson(gamma * mean / size, generator=generator)
        uniform = torch.empty_like(mean).uniform_(2.0**-53, 1, generator=generator)
        far = (mean * (uniform.reciprocal() - 1)).floor()
        choice = torch.empty_like(mean).uniform_(generator=generator)
        return torch.where(choice < TAIL_SHARE, far, near)

    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Count the categories; take mean and variance of the counts."""
        x, w = x.double(), sample_weight.double()
        observed = ~x.isnan()
        mean, variance = self._moments(x, w, observed)
        excess = (variance - mean).clamp(min=mean.square() / SIZE_RANGE[1])
        self.mean.copy_(mean.where(self.is_count, 1.0))
        size = (mean.square() / excess).clamp(*SIZE_RANGE)
        self.size.copy_(size.where(self.is_count, 1.0))
        code = x.where(observed & ~self.is_count, 0.0).long()
        total = torch.zeros(self.log_mass.shape, dtype=x.dtype, device=x.device)
        total.scatter_add_(0, code, w[:, None].expand_as(x).where(observed, 0.0))
        smooth = (total + PRIOR_COUNT).where(self.allowed, 0.0)
        self.log_mass.copy_(F.normalize(smooth, p=1, dim=0).log())

    @staticmethod
    def _moments(x: Tensor, weight: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and mean square deviations from them, (D,) each."""
        if observed.all():
            share = weight / weight.sum()
            mean = (share @ x).clamp(min=LEAST_MEAN)
            return mean, share @ (x - mean).square()
        shares = weight[:, None].expand_as(x).where(observed, 0.0)
        # A column without an observed cell has the least mean.
        shares = shares / shares.sum(0).clamp(min=torch.finfo(x.dtype).tiny)
        x = x.where(observed, 0.0)
        mean = (shares * x).sum(0).clamp(min=LEAST_MEAN)
        return mean, (shares * (x - mean).square()).sum(0)
