"""The categorical likelihood."""

from typing import ClassVar

import torch
from torch import Tensor

from skvae.model.cells import DiscreteCells
from skvae.model.context import BuildContext, LinearStart
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.features import Support
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec

__all__ = ["CategoricalLikelihood"]

LEAST_MASS = 1e-4  # of a category at the start
LEAST_MASS_OF_SLOPES = 0.01  # of a category, where slopes are divided by it


class CategoricalLikelihood(LikelihoodSpec):
    r"""Independent categorical columns, values without an order.

    .. math:: p(x_d = k \mid z) = \frac{\exp f_{dk}(z)}{\sum_{j=1}^{P_d} \exp f_{dj}(z)}

    Every column has its own number of categories P_d. Scores are log-masses. Where a
    column has mass m for values that are none of the categories
    (`ColumnKind.other`), m is the mass of such a value whatever the latents, and those
    of the categories are multiplied by 1 − m.

    References
    ----------
    A. Nazábal, P. M. Olmos, Z. Ghahramani and I. Valera, 2020. Handling incomplete
    heterogeneous data using VAEs.

    Examples
    --------
    >>> from skvae import CategoricalLikelihood, VAEDensity
    >>> VAEDensity(likelihood=CategoricalLikelihood())
    VAEDensity(likelihood=CategoricalLikelihood())
    """

    alias = "categorical"
    support: ClassVar[Support] = "category"

    def build(self, context: BuildContext) -> "CategoricalLikelihoodModule":
        """Return the module, which has no parameters of its own."""
        kinds = context.modelled_kinds
        n_values = [kind.n_values for kind in kinds]
        if not all(n_values):
            raise ValueError(
                "CategoricalLikelihood takes columns of categories only, but column "
                f"{n_values.index(0)} is none."
            )
        other = torch.tensor([kind.other for kind in kinds], dtype=BUILD_DTYPE)
        return CategoricalLikelihoodModule(torch.tensor(n_values), other)


class CategoricalLikelihoodModule(LikelihoodModule):
    """As many logits per column as the column with the most categories needs."""

    reads_in_single = True

    allowed: Tensor
    n_values: Tensor
    other: Tensor

    def __init__(self, n_values: Tensor, other: Tensor) -> None:
        super().__init__()
        self.n_parameters = self.n_linear = int(n_values.max())
        codes = torch.arange(self.n_parameters)
        self.register_buffer("allowed", codes[:, None] < n_values)
        self.register_buffer("n_values", n_values)
        self.register_buffer("other", other)

    def _log_mass(self, raw: Tensor) -> Tensor:
        return raw.masked_fill(~self.allowed, -torch.inf).log_softmax(-2)

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the log-mass of each cell's category."""
        known = x < self.n_values
        code = x.where(known, 0.0).long()[None, :, None, :]
        cells = torch.take_along_dim(self._log_mass(raw), code, -2).squeeze(-2)
        return (cells + (-self.other).log1p()).where(known, self.other.log())

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw codes by the Gumbel trick."""
        exponential = torch.empty_like(raw).exponential_(generator=generator)
        return (self._log_mass(raw) - exponential.log()).argmax(-2).to(raw.dtype)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> DiscreteCells:
        """Return the masses of the categories."""
        n_values, other = int(self.n_values[column]), self.other[column].double()
        log_mass = self._log_mass(raw)[..., :n_values, column].double()
        log_mass = (log_mass + log_weight[..., None]).logsumexp(0)
        log_other = other.log().expand(len(log_mass)) if other > 0 else None
        return DiscreteCells(log_mass + (-other).log1p(), log_other)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the most probable code."""
        return self._log_mass(raw).argmax(-2).to(raw.dtype)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the log-frequencies, with the slopes that the indicators imply.

        A logit is the logarithm of a mass, so its slope is the mass's divided by it.
        """
        # The features are the columns' indicators, one column after the other.
        cells = self.allowed.T.nonzero(as_tuple=True)
        offset = torch.zeros(self.allowed.shape).to(start.decoder_bias)
        slope = offset.new_zeros(*offset.shape, start.decoder_weight.shape[1])
        mass = start.decoder_bias
        offset.T[cells] = mass.clamp(min=LEAST_MASS).log()
        gain = 1 / mass.clamp(min=LEAST_MASS_OF_SLOPES)
        slope.transpose(0, 1)[cells] = start.decoder_weight * gain[:, None]
        return slope, offset
