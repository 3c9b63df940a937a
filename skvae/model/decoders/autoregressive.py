"""The autoregressive decoder."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.decoders._base import DecoderModule, DecoderSpec
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.networks import MaskedMLP
from skvae.model.spec import layer_sizes

__all__ = ["AutoregressiveDecoder"]

RIDGE = 1e-3


class AutoregressiveDecoder(DecoderSpec):
    r"""Masked residual network; a column depends on z and on the columns before it.

    .. math:: p(x \mid z) = \prod_i p(x_{o_i} \mid x_{o_1}, \ldots, x_{o_{i-1}}, z)

    Training starts at the ridge regression of every column on the columns before it
    and the latents. Without latents the decoder is a masked autoencoder (MADE):
    p(x | z) is then p(x) itself, and no integral has to be estimated.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers; None takes the estimator's, and an empty tuple
        is a linear decoder.
    order : {"given", "random"} or sequence of int, default="given"
        Order of the columns: as in the table, shuffled by the estimator's seed, or
        column numbers.
    reads_latents : bool, default=True
        Whether the network reads z. False cuts the latents off, for comparison.

    References
    ----------
    M. Germain, K. Gregor, I. Murray and H. Larochelle, 2015. MADE: masked autoencoder
    for distribution estimation.

    X. Chen, D. P. Kingma, T. Salimans, Y. Duan, P. Dhariwal, J. Schulman, I. Sutskever
    and P. Abbeel, 2017. Variational lossy autoencoder.

    Examples
    --------
    >>> from skvae import AutoregressiveDecoder, VAEDensity
    >>> VAEDensity(decoder=AutoregressiveDecoder(reads_latents=False))
    VAEDensity(decoder=AutoregressiveDecoder(reads_latents=False))
    """

    alias = "autoregressive"
    autoregressive = True

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] | None = None,
        order: str | Sequence[int] = "given",
        reads_latents: bool = True,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.order = order
        self.reads_latents = reads_latents

    def build(
        self, context: BuildContext, n_parameters: int, n_linear: int
    ) -> "AutoregressiveDecoderModule":
        """Return the module."""
        if not isinstance(self.reads_latents, (bool, np.bool_)):
            raise TypeError(
                f"reads_latents of AutoregressiveDecoder must be a bool, "
                f"got {self.reads_latents!r}."
            )
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            "hidden_layer_sizes of AutoregressiveDecoder",
        )
        return AutoregressiveDecoderModule(
            context,
            self._order(context),
            sizes,
            n_parameters,
            n_linear,
            reads_latents=bool(self.reads_latents),
        )

    def _order(self, context: BuildContext) -> Tensor:
        """Return the columns, first to last."""
        n_features, order = context.n_features, self.order
        if isinstance(order, str):
            if order == "given":
                return torch.arange(n_features)
            if order == "random":
                return torch.randperm(n_features, generator=context.generator)
        elif isinstance(order, (Sequence, np.ndarray)):
            columns = np.asarray(order)
            if (
                columns.shape == (n_features,)
                and columns.dtype.kind in "iu"
                and (np.sort(columns) == np.arange(n_features)).all()
            ):
                return torch.from_numpy(columns.astype(np.int64))
        raise ValueError(
            f"order of AutoregressiveDecoder must be 'given', 'random' or the column "
            f"numbers 0 to {n_features - 1} in some order, got {order!r}."
        )


class AutoregressiveDecoderModule(DecoderModule):
    """A masked network that reads latents and centred features."""

    order: Tensor
    rank: Tensor
    center: Tensor
    floor: Tensor

    def __init__(
        self,
        context: BuildContext,
        order: Tensor,
        sizes: tuple[int, ...],
        n_parameters: int,
        n_linear: int,
        *,
        reads_latents: bool,
    ) -> None:
        super().__init__()
        self.order = order
        self.reads_latents = reads_latents
        owner = context.features().owner
        # Given columns come before all others.
        column_rank = torch.full((int(owner.max()) + 1,), -1)
        column_rank[order] = torch.arange(len(order))
        self.register_buffer("rank", column_rank[owner])
        self.register_buffer("center", torch.zeros(len(owner), dtype=BUILD_DTYPE))
        self.register_buffer(
            "floor", context.scale_floor[owner.clamp(max=len(order) - 1)]
        )
        self.network = MaskedMLP(
            context.n_components if reads_latents else 0,
            self.rank,
            column_rank[: len(order)],
            sizes,
            n_parameters,
            n_linear,
            context.dropout,
            context.generator,
        )

    def forward(self, z: Tensor, features: Tensor) -> Tensor:
        """Map z (K, B, L) and features (B, F) to raw parameters (K, B, P, D)."""
        if not self.reads_latents:
            z = z.new_empty(1, 1, 0)
        return self.network(z, features - self.center)

    def regress(self, start: LinearStart) -> LinearStart:
        """Regress the features of each column on the latents and the columns before it.

        One Cholesky factor serves all regressions. It is that of the covariance of all
        inputs in their order, plus a ridge: its leading n × n block is the factor for
        the first n inputs.
        """
        w = start.sample_weight.double() / start.sample_weight.double().sum()
        features, z = start.features.double(), start.z.double()
        self.center.copy_(w @ features)
        inputs = features - self.center
        if self.reads_latents:
            inputs = torch.cat([z, inputs], 1)
        n_latents = inputs.shape[1] - features.shape[1]
        position = torch.cat([torch.full((n_latents,), -1), self.rank])
        sequence = position.argsort(stable=True)
        covariance = (inputs * w[:, None]).T @ inputs
        covariance = covariance[sequence][:, sequence]
        eye = torch.eye(len(sequence), dtype=inputs.dtype)
        factor = torch.linalg.cholesky(covariance + RIDGE * eye)
        weight = torch.zeros_like(factor)
        ranks, counts = position[sequence].unique_consecutive(return_counts=True)
        begin = 0
        for rank, count in zip(ranks.tolist(), counts.tolist(), strict=True):
            if rank >= 0 and begin:
                own = slice(begin, begin + count)
                weight[own, :begin] = torch.linalg.solve_triangular(
                    factor[:begin, :begin].T, factor[own, :begin].T, upper=True
                ).T
            begin += count
        left = eye - weight  # residuals = left @ inputs
        variance = ((left @ covariance) * left).sum(1).clamp(min=0)
        back = sequence.argsort()
        slope = weight[back][:, back][n_latents:]
        scale = torch.maximum(variance.sqrt()[back][n_latents:], self.floor)
        dtype = start.features.dtype
        return replace(
            start,
            decoder_weight=slope.to(dtype),
            decoder_bias=self.center.to(dtype),
            residual_scale=scale.to(dtype),
            z=inputs.to(dtype),
            given_weight=None,
        )

    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        """Move to raw = slope (z, features − center) + offset."""
        with torch.no_grad():
            self.network.skip.copy_(slope.flatten(0, 1))
            self.network.bias.copy_(offset.flatten())
