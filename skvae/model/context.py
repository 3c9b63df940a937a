"""What a component is told when it is built and when it is initialised."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from skvae.model.features import ColumnKind, RowFeatures

__all__ = ["BuildContext", "LinearStart"]

LARGEST_SCALE = 1e4  # model units


@dataclass(frozen=True)
class BuildContext:
    """Sizes and scales that are known once the table has been seen.

    Attributes
    ----------
    n_features : int
        Number of columns that have a density, D.
    n_components : int
        Number of latents, L.
    n_rows : int
        Number of distinct training rows.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers of encoder and decoder.
    dropout : float
        Dropout probability in hidden layers.
    scale_floor : Tensor of shape (D,)
        Smallest standard deviation that a likelihood may give a column, in model
        units (standardised columns).
    column_scale : Tensor of shape (D,)
        One model unit of each column, in the units of the input.
    generator : torch.Generator
        Source of first weights, on the CPU.
    scale_ceiling : float
        Largest standard deviation that a likelihood may give a column, in model
        units. Finite where a background takes the rows that would need a larger one.
    kinds : tuple of ColumnKind
        What each column of a row holds; empty if all columns are real. Columns beyond
        the first D are given: the density is conditional on them, and they have no
        density of their own.
    autoregressive : bool
        Whether the decoder reads columns. The density of a column given other columns
        takes more modes than its density given latents alone.
    names : tuple of str
        Names of the first D columns; empty where they have none.
    """

    n_features: int
    n_components: int
    n_rows: int
    hidden_layer_sizes: tuple[int, ...]
    dropout: float
    scale_floor: Tensor
    column_scale: Tensor
    generator: Generator
    scale_ceiling: float = math.inf
    kinds: tuple[ColumnKind, ...] = ()
    autoregressive: bool = False
    names: tuple[str, ...] = ()

    @property
    def modelled_kinds(self) -> tuple[ColumnKind, ...]:
        """What the D columns that have a density hold."""
        return self.kinds[: self.n_features] or (ColumnKind(),) * self.n_features

    @property
    def largest_scale(self) -> float:
        """The scale ceiling, or 1e4 model units where there is no smaller one."""
        return min(self.scale_ceiling, LARGEST_SCALE)

    def of_columns(self, columns: list[int]) -> "BuildContext":
        """Return the context of some of the D columns alone."""
        kinds = self.modelled_kinds
        return replace(
            self,
            n_features=len(columns),
            scale_floor=self.scale_floor[columns],
            column_scale=self.column_scale[columns],
            kinds=tuple(kinds[j] for j in columns),
            names=tuple(self.names[j] for j in columns) if self.names else (),
        )

    def features(self) -> RowFeatures:
        """Return the map from rows to what networks read of them."""
        kinds = self.kinds or (ColumnKind(),) * self.n_features
        return RowFeatures(kinds, len(kinds) - self.n_features)

    @property
    def n_inputs(self) -> int:
        """How many numbers the encoder reads of a row: F features and M flags."""
        if not self.kinds:
            return self.n_features
        return sum(kind.n_features + kind.has_gaps for kind in self.kinds)

    @property
    def n_given_inputs(self) -> int:
        """How many of the F features, the last ones, belong to given columns."""
        given = self.kinds[self.n_features :]
        return sum(kind.n_features + kind.has_gaps for kind in given)


@dataclass(frozen=True)
class LinearStart:
    """A linear-Gaussian model of the table, from which every component starts.

    The encoder is ``z | f ~ N(A f + a, T Tᵀ)`` and the decoder
    ``f | z ~ N(W z + b, diag(s²))``, where f is what networks read of a row, for real
    columns the row itself; `z` holds one draw of the encoder per row. Where columns
    are given, the decoder also reads their features g, which are the last of f: it is
    ``f | z, g ~ N(W z + B g + b, diag(s²))``.

    Attributes
    ----------
    encoder_weight : Tensor of shape (L, F)
        A.
    encoder_bias : Tensor of shape (L,)
        a.
    encoder_tril : Tensor of shape (L, L)
        T, lower triangular.
    decoder_weight : Tensor of shape (F, L)
        W.
    decoder_bias : Tensor of shape (F,)
        b.
    residual_scale : Tensor of shape (F,)
        s.
    features : Tensor of shape (N, F)
        What networks read of the training rows.
    z : Tensor of shape (N, L)
        Latents of the training rows. In what `DecoderModule.regress` returns, all
        inputs of the decoder.
    sample_weight : Tensor of shape (N,)
        Weights of the training rows.
    given_weight : Tensor of shape (F, G) or None
        B; None where nothing is given.
    """

    encoder_weight: Tensor
    encoder_bias: Tensor
    encoder_tril: Tensor
    decoder_weight: Tensor
    decoder_bias: Tensor
    residual_scale: Tensor
    features: Tensor
    z: Tensor
    sample_weight: Tensor
    given_weight: Tensor | None = None

    def for_encoder(self, n_flags: int) -> "LinearStart":
        """Return the start as prior and posterior see it, with M flags.

        The encoder does not read the flags at the start.
        """
        if not n_flags:
            return self
        return replace(
            self,
            encoder_weight=F.pad(self.encoder_weight, (0, n_flags)),
            features=F.pad(self.features, (0, n_flags)),
        )

    def with_given_inputs(self) -> "LinearStart":
        """Return the start as the decoder sees it, whose inputs are [z, g].

        Given features follow the latents in `decoder_weight` (F, L + G) and in `z`
        (N, L + G), so that decoder and likelihood treat both alike.
        """
        if self.given_weight is None:
            return self
        given = self.features[:, self.features.shape[1] - self.given_weight.shape[1] :]
        return replace(
            self,
            decoder_weight=torch.cat([self.decoder_weight, self.given_weight], 1),
            z=torch.cat([self.z, given], 1),
            given_weight=None,
        )

    def of_latents(self, index: Tensor) -> "LinearStart":
        """Return the start for some of the latents only."""
        if torch.equal(index, torch.arange(len(self.encoder_bias))):
            return self
        covariance = (self.encoder_tril @ self.encoder_tril.T)[index][:, index]
        return replace(
            self,
            encoder_weight=self.encoder_weight[index],
            encoder_bias=self.encoder_bias[index],
            encoder_tril=torch.linalg.cholesky(covariance),
            decoder_weight=self.decoder_weight[:, index],
            z=self.z[:, index],
        )

    def of_features(self, index: Tensor) -> "LinearStart":
        """Return the start for some of the features only."""
        given_weight = self.given_weight
        return replace(
            self,
            encoder_weight=self.encoder_weight[:, index],
            decoder_weight=self.decoder_weight[index],
            decoder_bias=self.decoder_bias[index],
            residual_scale=self.residual_scale[index],
            features=self.features[:, index],
            given_weight=None if given_weight is None else given_weight[index],
        )
