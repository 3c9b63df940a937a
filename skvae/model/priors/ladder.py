"""The prior of several levels of latents."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import Chain, GaussianStep, LatentDistribution
from skvae.model.networks import LevelModule
from skvae.model.posteriors import PosteriorModule
from skvae.model.posteriors.ladder import LadderPosteriorModule
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.spec import layer_sizes, level_sizes, resolve

__all__ = ["LadderPrior"]


class LadderPrior(PriorSpec):
    r"""Levels of latents, each Gaussian given the level above.

    .. math:: p(z) = p(z_T) \prod_{l<T} N(z_l; \mu(z_{l+1}),
              \operatorname{diag} \sigma^2(z_{l+1}))

    The latents of all levels are one vector, bottom level first, and the decoder reads
    all of them. ``VAEDensity(n_components=(16, 4))`` builds this prior with two levels
    and the estimator's `prior` at the top, and a `LadderPosterior` to match. With one
    level it is the prior at the top.

    Parameters
    ----------
    levels : tuple of int, default=(8, 2)
        Numbers of latents, bottom level first.
    top : str or PriorSpec, default="mixture"
        Prior of the top level.
    hidden_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the networks for μ and σ.

    References
    ----------
    D. J. Rezende, S. Mohamed and D. Wierstra, 2014. Stochastic backpropagation and
    approximate inference in deep generative models.

    C. K. Sønderby et al., 2016. Ladder variational autoencoders.

    Examples
    --------
    >>> from skvae import VAEDensity
    >>> VAEDensity(n_components=(16, 4))
    VAEDensity(n_components=(16, 4))
    """

    def __init__(
        self,
        levels: tuple[int, ...] = (8, 2),
        top: str | PriorSpec = "mixture",
        hidden_layer_sizes: tuple[int, ...] = (64, 64),
    ) -> None:
        self.levels = levels
        self.top = top
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "LadderPriorModule":
        """Return the module."""
        levels = level_sizes(self.levels, context.n_components, "levels of LadderPrior")
        sizes = layer_sizes(
            self.hidden_layer_sizes, (64, 64), "hidden_layer_sizes of LadderPrior"
        )
        top_context = replace(context, n_components=levels[-1])
        top = resolve(self.top, PriorSpec).build(top_context)
        if top.n_codes is not None:
            raise ValueError(
                f"top of LadderPrior must be a prior with a density, got {self.top!r}: "
                f"codes have no levels above others."
            )
        return LadderPriorModule(levels, top, sizes, context.generator)


class LadderPriorModule(PriorModule):
    """A prior for the top level and a network for each level below."""

    def __init__(
        self,
        levels: tuple[int, ...],
        top: PriorModule,
        hidden_layer_sizes: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_latents, self.n_top = sum(levels), levels[-1]
        self.top = top
        self.below = nn.ModuleList(
            LevelModule(n_above, n_latents, hidden_layer_sizes, generator)
            for n_latents, n_above in pairwise(levels)
        )

    def connect(self, posterior: PosteriorModule) -> None:
        """Give the encoder the levels' networks, and the top prior its encoder."""
        if not isinstance(posterior, LadderPosteriorModule):
            raise TypeError(
                f"LadderPrior needs a LadderPosterior, got a module of type "
                f"{type(posterior).__name__}."
            )
        posterior.follow(self._levels())
        self.top.connect(posterior.top)

    def forward(self) -> LatentDistribution:
        """Return p(z)."""
        top = self.top()
        if not len(self.below):
            return top
        return Chain(tuple(map(GaussianStep, self._levels())), top, self.n_top)

    def _levels(self) -> Iterable[LevelModule]:
        return cast("Iterable[LevelModule]", self.below)

    def initialise(self, start: LinearStart) -> None:
        """Move the top level; the levels below start at N(0, I)."""
        index = torch.arange(self.n_latents - self.n_top, self.n_latents)
        self.top.initialise(start.of_latents(index))
