"""The posterior of several levels of latents."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import Chain, LatentDistribution, MergedStep
from skvae.model.networks import LevelModule, SkipMLP
from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.spec import layer_sizes, level_sizes, resolve

__all__ = ["LadderPosterior", "LadderPosteriorModule"]

MAX_LOG_PRECISION = 18.0  # a standard deviation of 1e-4
SMALLEST_PRECISION = 1e-2  # of a message at the start


class LadderPosterior(PosteriorSpec):
    r"""Top-down encoder of several levels of latents.

    .. math:: q(z \mid x) = q(z_T \mid x) \prod_{l<T} q(z_l \mid z_{l+1}, x)

    The top level has a posterior of its own. Each level below takes the prior
    p(z_l | z_{l+1}) and merges it with a Gaussian message from the row: precisions
    add up, and means are weighted by them. A unit-triangular matrix, which depends on
    the row, correlates the latents of a level given the level above.

    Parameters
    ----------
    levels : tuple of int, default=(8, 2)
        Numbers of latents, bottom level first.
    top : str or PosteriorSpec, default="full"
        Posterior of the top level.
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers of the networks for the messages; None takes the
        estimator's.

    References
    ----------
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
        top: str | PosteriorSpec = "full",
        hidden_layer_sizes: tuple[int, ...] | None = None,
    ) -> None:
        self.levels = levels
        self.top = top
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "LadderPosteriorModule":
        """Return the module, which a `LadderPrior` has to be connected to."""
        levels = level_sizes(
            self.levels, context.n_components, "levels of LadderPosterior"
        )
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            "hidden_layer_sizes of LadderPosterior",
        )
        top_context = replace(context, n_components=levels[-1])
        top = resolve(self.top, PosteriorSpec).build(top_context)
        messages = (MessageModule(n, context, sizes) for n in levels[:-1])
        return LadderPosteriorModule(levels, top, messages)


class MessageModule(nn.Module):
    """A network that turns a row into a Gaussian message to one level of latents."""

    rows: Tensor
    columns: Tensor

    def __init__(
        self, n_latents: int, context: BuildContext, sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.network = SkipMLP(
            context.n_inputs,
            sizes,
            2 * n_latents + n_latents * (n_latents - 1) // 2,
            n_latents,
            context.dropout,
            context.generator,
        )
        rows, columns = torch.tril_indices(n_latents, n_latents, offset=-1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, features: Tensor, level: LevelModule) -> MergedStep:
        """Return q(z_l | z_{l+1}, x)."""
        n = self.n_latents
        natural_mean, log_precision, lower = self.network(features).tensor_split(
            (n, 2 * n), -1
        )
        tril = torch.diag_embed(torch.ones_like(natural_mean))
        tril[..., self.rows, self.columns] = lower
        precision = log_precision.clamp(max=MAX_LOG_PRECISION).exp()
        return MergedStep(level, natural_mean, precision, tril)

    def initialise(self, start: LinearStart) -> None:
        """Move to the message that turns N(0, I) into the mean-field start."""
        covariance = start.encoder_tril @ start.encoder_tril.T
        total = torch.linalg.inv(covariance).diagonal()
        precision = (total - 1).clamp(min=SMALLEST_PRECISION)
        total = 1 + precision
        lower = torch.zeros_like(self.rows, dtype=total.dtype)
        with torch.no_grad():
            self.network.skip.copy_(total[:, None] * start.encoder_weight)
            self.network.bias.copy_(
                torch.cat([total * start.encoder_bias, precision.log(), lower])
            )


class LadderPosteriorModule(PosteriorModule):
    """A posterior for the top level and a message to each level below."""

    def __init__(
        self,
        levels: tuple[int, ...],
        top: PosteriorModule,
        messages: Iterable[MessageModule],
    ) -> None:
        super().__init__()
        self.levels = levels
        self.top = top
        self.messages = nn.ModuleList(messages)
        # torch registers no module that is in a tuple: these networks are the prior's,
        # and their parameters must not count as the encoder's, too.
        self._below: tuple[LevelModule, ...] = ()

    def follow(self, below: Iterable[LevelModule]) -> None:
        """Remember the prior's networks of the levels below the top."""
        self._below = tuple(below)

    def forward(self, features: Tensor) -> LatentDistribution:
        """Return q(z | x)."""
        return self._chained(features, self.top(features))

    def for_training(self, features: Tensor) -> LatentDistribution:
        """Return what training draws from: the top level says."""
        return self._chained(features, self.top.for_training(features))

    def _chained(self, features: Tensor, top: LatentDistribution) -> LatentDistribution:
        """Return the levels below a distribution of the top level, and it."""
        if not len(self.messages):
            return top
        if not self._below:
            raise RuntimeError("A LadderPosterior has to follow a LadderPrior.")
        steps = tuple(
            message(features, level)
            for message, level in zip(self._messages(), self._below, strict=True)
        )
        return Chain(steps, top, self.levels[-1])

    def initialise(self, start: LinearStart) -> None:
        """Move to the start's encoder, level by level."""
        index = torch.arange(sum(self.levels)).split(self.levels)
        self.top.initialise(start.of_latents(index[-1]))
        for message, latents in zip(self._messages(), index[:-1], strict=True):
            message.initialise(start.of_latents(latents))

    def _messages(self) -> Iterable[MessageModule]:
        return cast("Iterable[MessageModule]", self.messages)
