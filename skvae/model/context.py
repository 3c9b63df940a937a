"""What a component is told when it is built and when it is initialised."""

import math
from dataclasses import dataclass

from torch import Generator, Tensor

__all__ = ["BuildContext", "LinearStart"]


@dataclass(frozen=True)
class BuildContext:
    """Sizes and scales that are known once the table has been seen.

    Attributes
    ----------
    n_features : int
        Number of columns, D.
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


@dataclass(frozen=True)
class LinearStart:
    """A linear-Gaussian model of the table, from which every component starts.

    The encoder is ``z | x ~ N(A x + a, T Tᵀ)`` and the decoder
    ``x | z ~ N(W z + b, diag(s²))``; `z` holds one draw of the encoder per row.

    Attributes
    ----------
    encoder_weight : Tensor of shape (L, D)
        A.
    encoder_bias : Tensor of shape (L,)
        a.
    encoder_tril : Tensor of shape (L, L)
        T, lower triangular.
    decoder_weight : Tensor of shape (D, L)
        W.
    decoder_bias : Tensor of shape (D,)
        b.
    residual_scale : Tensor of shape (D,)
        s.
    z : Tensor of shape (N, L)
        Latents of the training rows.
    sample_weight : Tensor of shape (N,)
        Weights of the training rows.
    """

    encoder_weight: Tensor
    encoder_bias: Tensor
    encoder_tril: Tensor
    decoder_weight: Tensor
    decoder_bias: Tensor
    residual_scale: Tensor
    z: Tensor
    sample_weight: Tensor
