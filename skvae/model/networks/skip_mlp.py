"""A residual multilayer perceptron with a linear skip."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.networks._base import INPUT_BOUND, Network
from skvae.model.networks.linear import linear

__all__ = ["SkipMLP"]


class SkipMLP(Network):
    r"""A linear map plus a residual network that starts at zero.

    .. math:: f(x) = S x + c + V\,h(\operatorname{clip}(x, -8, 8))

    The output weights V start at zero, so f starts as the linear map. The network h
    reads a clipped input, so that f is linear beyond eight standard deviations. A
    density that is built on f then has the tails of a linear model there, instead of
    whatever a network extrapolates.

    Parameters
    ----------
    n_inputs : int
        Size of the input.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers; empty for the linear map alone. A hidden layer
        as wide as the one before it is residual.
    n_outputs : int
        Size of the output.
    n_linear : int
        How many of the outputs, the first ones, have the linear part S x.
    dropout : float
        Dropout probability after each hidden layer.
    generator : torch.Generator
        Source of the hidden layers' first weights.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_layer_sizes: tuple[int, ...],
        n_outputs: int,
        n_linear: int,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(dropout)
        sizes = (n_inputs, *hidden_layer_sizes)
        n_hidden = sum(a * b for a, b in pairwise(sizes))
        check_weights(
            n_hidden + n_linear * n_inputs + n_outputs * sizes[-1],
            f"A network with {n_inputs} inputs, hidden_layer_sizes="
            f"{hidden_layer_sizes} and {n_outputs} outputs",
        )
        self.hidden = nn.ModuleList(
            _Linear(a, b, generator) for a, b in pairwise(sizes)
        )

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, dtype=BUILD_DTYPE))

        self.skip = zeros(n_linear, n_inputs)
        self.bias = zeros(n_outputs)
        if hidden_layer_sizes:
            self.output = zeros(n_outputs, sizes[-1])
        else:
            self.register_parameter("output", None)

    def decayed(self) -> Iterator[nn.Parameter]:
        """Return the weights of hidden and output layers."""
        yield from (weight for weight in self.hidden.parameters() if weight.dim() > 1)
        if self.output is not None:
            yield self.output

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_inputs) to (..., n_outputs)."""
        n_constant = self.bias.shape[0] - self.skip.shape[0]
        skip = F.pad(self.skip, (0, 0, 0, n_constant)) if n_constant else self.skip
        if self.output is None:
            return linear(x, skip, self.bias)
        h = x.clamp(-INPUT_BOUND, INPUT_BOUND)
        for layer in self.hidden:
            activated = self.drop(F.silu(layer(h)))
            h = h + activated if activated.shape == h.shape else activated
        # One product for skip and output: [h, x] @ [V, S]ᵀ.
        weight = torch.cat([self.output, skip], 1)
        return linear(torch.cat([h, x], -1), weight, self.bias)


class _Linear(nn.Module):
    """A linear layer.

    Unlike torch's, it draws no first weights from the global generator.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Sizes of input and output.
    generator : torch.Generator
        Source of the first weights, which are uniform up to 1 / √n_inputs.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = n_inputs**-0.5

        def first(*shape: int) -> Tensor:
            empty = torch.empty(shape, dtype=BUILD_DTYPE)
            return empty.uniform_(-bound, bound, generator=generator)

        self.weight = nn.Parameter(first(n_outputs, n_inputs))
        self.bias = nn.Parameter(first(n_outputs))

    def forward(self, h: Tensor) -> Tensor:
        """Map (..., n_inputs) to (..., n_outputs)."""
        return linear(h, self.weight, self.bias)
