"""The mixture of the latent part of a density with its closed-form part."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ClosedFormPart"]


@dataclass(frozen=True)
class ClosedFormPart:
    r"""The terms of p(x) that need no latents, for B rows.

    .. math:: p(x) = (1 - \epsilon)\, p_{\mathrm{latent}}(x) + \epsilon\, p_0(x)

    By default there is no such term: p(x) is the latent part. With a companion, all of
    this is 1 − c of the density, and c is the companion's.

    Attributes
    ----------
    log_odds : Tensor of shape (B,) or None
        log [ε p₀(x) / (1 − ε)]: the closed-form terms on the scale of the importance
        weights, beside whose mean they are a constant. None without such terms.
    log_weight : float
        log(1 − ε), the log-weight of the latent part.
    background_log_odds : Tensor of shape (B,) or None
        What of `log_odds` is broad: the background, and the companion's broad part.
    own_log_odds : Tensor of shape (B,) or None
        What `log_odds` is without a companion.
    """

    log_odds: Tensor | None = None
    log_weight: float = 0.0
    background_log_odds: Tensor | None = None
    own_log_odds: Tensor | None = None

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
        log_odds = log_prob + math.log(weight) - log_weight
        return cls(log_odds, log_weight, log_odds, log_odds)

    def with_companion(
        self, log_prob: Tensor, broad_log_prob: Tensor, weight: float
    ) -> "ClosedFormPart":
        """Return the part with one more density in it.

        Parameters
        ----------
        log_prob : Tensor of shape (B,)
            Its log-density.
        broad_log_prob : Tensor of shape (B,)
            What its broad part, times that part's share of it, adds to its density.
        weight : float
            Its share c of p(x), between 0 and 1.
        """
        log_weight = self.log_weight + math.log1p(-weight)
        log_odds = log_prob + math.log(weight) - log_weight
        background = broad_log_prob + math.log(weight) - log_weight
        if self.log_odds is not None:
            log_odds = torch.logaddexp(log_odds, self.log_odds)
            background = torch.logaddexp(background, self.log_odds)
        return ClosedFormPart(log_odds, log_weight, background, self.log_odds)

    def __getitem__(self, rows: Tensor | slice) -> "ClosedFormPart":
        """Return the part for some of the rows."""
        return self._each(lambda column: column[rows])

    def cpu(self) -> "ClosedFormPart":
        """Return the part on the CPU."""
        return self._each(lambda column: column.cpu())

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

    def background_share(self, log_p: Tensor) -> Tensor:
        """Return the probability that each row comes from the background, given x.

        Parameters
        ----------
        log_p : Tensor of shape (B,)
            As for `latent_share`.
        """
        if self.log_odds is None or self.background_log_odds is None:
            return torch.zeros_like(log_p)
        of_closed_form = (self.background_log_odds - self.log_odds).exp()
        return (self.log_odds - log_p).sigmoid() * of_closed_form

    def companion_share(self, log_p: Tensor) -> Tensor:
        """Return the probability that each row is the companion's, but its broad part.

        Parameters
        ----------
        log_p : Tensor of shape (B,)
            As for `latent_share`.
        """
        if self.log_odds is None:
            return torch.zeros_like(log_p)
        of_closed_form = torch.ones_like(log_p)
        if self.background_log_odds is not None:
            of_closed_form = -(self.background_log_odds - self.log_odds).expm1()
        return (self.log_odds - log_p).sigmoid() * of_closed_form.clamp(min=0)

    def own(self) -> "ClosedFormPart":
        """Return the part without a companion."""
        if self.own_log_odds is None:
            return ClosedFormPart()
        odds = self.own_log_odds
        return ClosedFormPart(odds, 0.0, odds, odds)

    def shares(self, log_p: Tensor) -> Tensor:
        """Return the shares of latent part, background and companion, shape (3, B).

        Here the companion's broad part is the companion's.

        Parameters
        ----------
        log_p : Tensor of shape (B,)
            As for `latent_share`.
        """
        latent = self.latent_share(log_p)
        if self.log_odds is None:
            return torch.stack([latent, 1 - latent, 1 - latent])
        rest = (self.log_odds - log_p).sigmoid()
        own = torch.zeros_like(rest)
        if self.own_log_odds is not None:
            own = (self.own_log_odds - self.log_odds).exp().clamp(max=1)
        return torch.stack([latent, rest * own, rest * (1 - own)])

    def is_doubtful(self, log_p: Tensor, share: float) -> Tensor:
        """Return whether the background has more than a share, without a companion.

        Parameters
        ----------
        log_p : Tensor of shape (..., B)
            As for `latent_share`.
        share : float
            The share.
        """
        if self.own_log_odds is None:
            return torch.zeros_like(log_p, dtype=torch.bool)
        return (self.own_log_odds - log_p).sigmoid() > share

    def _each(self, function: Callable[[Tensor], Tensor]) -> "ClosedFormPart":
        """Return the part with a function of each of its tensors in their place."""
        if self.log_odds is None:
            return self
        columns = self.log_odds, self.background_log_odds, self.own_log_odds
        total, background, own = (None if c is None else function(c) for c in columns)
        return ClosedFormPart(total, self.log_weight, background, own)
