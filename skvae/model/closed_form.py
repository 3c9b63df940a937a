"""The mixture of the latent part of a density with its closed-form part."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ClosedFormPart"]


@dataclass(frozen=True)
class ClosedFormPart:
    r"""The terms of p(x) that need no latents, for B rows.

    .. math:: p(x) = (1 - \epsilon)\, p_{\mathrm{latent}}(x) + \epsilon\, p_0(x)

    By default there is no such term: p(x) is the latent part.

    Attributes
    ----------
    log_odds : Tensor of shape (B,) or None
        log [ε p₀(x) / (1 − ε)]: the closed-form terms on the scale of the importance
        weights, beside whose mean they are a constant. None without such terms.
    log_weight : float
        log(1 − ε), the log-weight of the latent part.
    """

    log_odds: Tensor | None = None
    log_weight: float = 0.0

    @classmethod
    def weighted(cls, log_prob: Tensor, weight: float) -> "ClosedFormPart":
        """Return the part that is one density p₀ with the weight ε.

        Parameters
        ----------
        log_prob : Tensor of shape (B,)
            log p₀(x).
        weight : float
            ε, between 0 and 1.
        """
        log_weight = math.log1p(-weight)
        return cls(log_prob + math.log(weight) - log_weight, log_weight)

    def __getitem__(self, rows: Tensor | slice) -> "ClosedFormPart":
        """Return the part for some of the rows."""
        if self.log_odds is None:
            return self
        return ClosedFormPart(self.log_odds[rows], self.log_weight)

    def mix(self, log_p: Tensor) -> Tensor:
        """Return log p(x), given log p_latent(x) or a bound on it, shape (..., B)."""
        if self.log_odds is None:
            return log_p
        return torch.logaddexp(log_p, self.log_odds) + self.log_weight

    def latent_share(self, log_p: Tensor) -> Tensor:
        """Return the probability that each row comes from the latent part, given x.

        Parameters
        ----------
        log_p : Tensor of shape (B,)
            log p_latent(x), or an estimate of it.
        """
        if self.log_odds is None:
            return torch.ones_like(log_p)
        return (log_p - self.log_odds).sigmoid()
