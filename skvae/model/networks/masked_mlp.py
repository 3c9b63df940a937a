"""A masked residual network, whose outputs read only the inputs of lower rank."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.networks._base import INPUT_BOUND, Network
from skvae.model.networks.linear import linear

__all__ = ["MaskedMLP"]

LATENT_SHARE = 0.25  # units of degree 0, per other unit


class MaskedMLP(Network):
    r"""A linear map plus a residual network, both masked, the latter zero at first.

    .. math:: f_i(z, x) = S_i (z, x_{<i}) + c_i
              + V_i\,h_{\le i}(\operatorname{clip}(z, x_{<i}, -8, 8))

    Hidden units have degrees. A unit of degree m reads all latents, all inputs of ranks
    below m, and hidden units of degrees up to m. An output of rank i reads hidden units
    of degrees up to i, so that it depends on no input of rank i or above, whatever the
    weights. A fifth of the units has degree 0, if there are latents or inputs of rank
    −1: these units read nothing else, and all outputs read them.

    Parameters
    ----------
    n_latents : int
        Size of z, which every output reads.
    input_rank : Tensor of shape (F,)
        Rank of each input; −1 for those that every output reads.
    output_rank : Tensor of shape (D,)
        Rank of each output, a permutation of 0, …, D − 1.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers; empty for the linear map alone. A hidden layer
        as wide as the one before it is residual.
    n_parameters : int
        Numbers per output, P.
    n_linear : int
        How many of them, the first ones, have the linear part.
    dropout : float
        Dropout probability after each hidden layer.
    generator : torch.Generator
        Source of the hidden layers' first weights.

    References
    ----------
    M. Germain, K. Gregor, I. Murray and H. Larochelle, 2015. MADE: masked autoencoder
    for distribution estimation.
    """

    skip_mask: Tensor
    output_mask: Tensor

    def __init__(
        self,
        n_latents: int,
        input_rank: Tensor,
        output_rank: Tensor,
        hidden_layer_sizes: tuple[int, ...],
        n_parameters: int,
        n_linear: int,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(dropout)
        self.n_latents = n_latents
        self.shape = n_parameters, len(output_rank)
        everyone = torch.full((n_latents,), -1)
        rank = torch.cat([everyone, input_rank])
        n_outputs = len(output_rank)
        sizes = (len(rank), *hidden_layer_sizes)
        n_hidden = sum(a * b for a, b in pairwise(sizes))
        check_weights(
            n_hidden + n_outputs * (n_linear * len(rank) + n_parameters * sizes[-1]),
            f"A network with {len(rank)} inputs, hidden_layer_sizes="
            f"{hidden_layer_sizes} and {n_parameters * n_outputs} outputs",
        )
        # Degree 0 needs latents or inputs of rank −1: a unit that reads nothing is a
        # constant.
        lowest = -LATENT_SHARE if (rank < 0).any() else 1 / max(1, n_outputs - 1)
        degrees = [_degrees(size, n_outputs, lowest) for size in hidden_layer_sizes]
        self.first: _MaskedLinear | None = None
        if degrees:
            self.first = _MaskedLinear(degrees[0][:, None] > rank, generator)
        self.hidden = nn.ModuleList(
            _MaskedLinear(after[:, None] >= before, generator)
            for before, after in pairwise(degrees)
        )
        skip_mask = (output_rank[:, None] > rank).to(BUILD_DTYPE)
        self.register_buffer("skip_mask", skip_mask.repeat(n_linear, 1))
        self.skip = nn.Parameter(torch.zeros_like(self.skip_mask))
        n_numbers = n_parameters * n_outputs
        self.bias = nn.Parameter(torch.zeros(n_numbers, dtype=BUILD_DTYPE))
        if degrees:
            output_mask = (output_rank[:, None] >= degrees[-1]).to(BUILD_DTYPE)
            self.register_buffer("output_mask", output_mask.repeat(n_parameters, 1))
            self.output = nn.Parameter(torch.zeros_like(self.output_mask))
        else:
            self.register_parameter("output", None)

    def decayed(self) -> Iterator[nn.Parameter]:
        """Return the weights of hidden and output layers."""
        if self.first is not None and self.output is not None:
            yield self.first.weight
            yield from (w for w in self.hidden.parameters() if w.dim() > 1)
            yield self.output

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Map z (K, B, n_latents) or (K, 1, n_latents) and x (B, F) to (K, B, P, D).

        What x contributes to the first layer and to the skip is computed once for all
        K draws.
        """
        n, n_constant = self.n_latents, len(self.bias) - len(self.skip)
        skip = self.skip * self.skip_mask
        skip = F.pad(skip, (0, 0, 0, n_constant)) if n_constant else skip
        from_x = linear(x, skip[:, n:], self.bias)
        if self.first is None or self.output is None:
            f = linear(z, skip[:, :n]) + from_x
            return f.unflatten(-1, self.shape)
        weight, bias = self.first.free(), self.first.bias
        h = linear(x.clamp(-INPUT_BOUND, INPUT_BOUND), weight[:, n:], bias)
        h = linear(z.clamp(-INPUT_BOUND, INPUT_BOUND), weight[:, :n]) + h
        h = self.drop(F.silu(h))
        for layer in self.hidden:
            activated = self.drop(F.silu(layer(h)))
            h = h + activated if activated.shape == h.shape else activated
        weight = torch.cat([self.output * self.output_mask, skip[:, :n]], 1)
        h = torch.cat([h, z.expand(-1, len(x), -1)], -1)
        return (linear(h, weight) + from_x).unflatten(-1, self.shape)


def _degrees(n_units: int, n_outputs: int, lowest: float) -> Tensor:
    """Return degrees up to n_outputs − 1, evenly spaced, negative ones set to 0.

    All outputs read the units of degree 0, and the first output reads no others. An
    even share would leave few of them, so degrees begin below zero. With fewer units
    than outputs, some degrees have no unit.

    Parameters
    ----------
    n_units, n_outputs : int
        How many there are.
    lowest : float
        Where the even spacing begins, as a share of the highest degree.
    """
    share = torch.linspace(lowest, 1, n_units, dtype=BUILD_DTYPE)
    return ((n_outputs - 1) * share).clamp(min=0).round().long()


class _MaskedLinear(nn.Module):
    """A linear layer some of whose weights are always zero.

    Parameters
    ----------
    mask : bool Tensor of shape (n_outputs, n_inputs)
        The weights that are free.
    generator : torch.Generator
        Source of the first weights, which are uniform, in a range that falls with the
        number of inputs that a unit reads.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mask", mask.to(BUILD_DTYPE))
        bound = mask.sum(1).clamp(min=1).to(BUILD_DTYPE).rsqrt()

        def first(*shape: int) -> Tensor:
            empty = torch.empty(shape, dtype=BUILD_DTYPE)
            return empty.uniform_(-1, 1, generator=generator)

        self.weight = nn.Parameter(first(*mask.shape) * bound[:, None])
        self.bias = nn.Parameter(first(len(mask)) * bound)

    def free(self) -> Tensor:
        """Return the weights, zero where masked."""
        return self.weight * self.mask

    def forward(self, h: Tensor) -> Tensor:
        """Map (..., n_inputs) to (..., n_outputs)."""
        return linear(h, self.free(), self.bias)
