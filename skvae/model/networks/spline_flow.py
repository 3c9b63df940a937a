"""Spline flows: invertible maps of the latents that start at the identity."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.networks._base import INPUT_BOUND

__all__ = ["SplineFlow"]

SMALLEST_SLOPE = 1e-2


class SplineFlow(nn.Module):
    r"""A chain of monotone rational-quadratic splines whose knots a network sets.

    .. math:: v_i = s(u_i;\, h(u_{<i}, c))

    The maps follow one another, and the order of the numbers is reversed between two
    maps. The last layer of every network starts at zero, where the splines are the
    identity. Beyond ±5 splines are always the identity, so that tails stay those of the
    base. Networks read inputs clipped to ±8.

    There is no dropout: a draw and its density are evaluated by separate calls, which
    have to use the same map.

    Parameters
    ----------
    n_latents : int
        Size of u and v, L.
    n_context : int
        Size of the context c; 0 for none.
    n_transforms : int
        Number of maps in the chain.
    n_bins : int
        Pieces of a spline.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers of the networks.
    n_passes : int
        How often a network is evaluated for the inverse of one map: L for a fully
        autoregressive map, 2 for one in which the second half of the numbers depends
        on the first (a coupling). The map itself takes one.
    generator : torch.Generator
        Source of the first weights.

    References
    ----------
    C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, 2019. Neural spline flows.

    G. Papamakarios, T. Pavlakou and I. Murray, 2017. Masked autoregressive flow for
    density estimation.
    """

    def __init__(
        self,
        n_latents: int,
        n_context: int,
        n_transforms: int,
        n_bins: int,
        hidden_layer_sizes: tuple[int, ...],
        n_passes: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self._settings = {
            "n_latents": n_latents,
            "n_context": n_context,
            "n_transforms": n_transforms,
            "n_bins": n_bins,
            "hidden_layer_sizes": tuple(hidden_layer_sizes),
            "n_passes": n_passes,
        }
        widths = (
            n_latents + n_context,
            *hidden_layer_sizes,
            n_latents * (3 * n_bins - 1),
        )
        check_weights(
            n_transforms * sum(a * b for a, b in pairwise(widths)),
            f"A flow with {n_latents} latents, n_transforms={n_transforms}, n_bins="
            f"{n_bins} and flow_layer_sizes={hidden_layer_sizes}",
        )
        flows = _zuko_flows()
        # zuko would draw first weights from the global generator. `_start` draws them
        # anew, from the generator that is given.
        with _NoFirstWeights():
            flow = flows.NSF(
                features=n_latents,
                context=n_context,
                bins=n_bins,
                slope=SMALLEST_SLOPE,
                transforms=n_transforms,
                passes=n_passes,
                hidden_features=hidden_layer_sizes,
                activation=nn.SiLU,
            )
        self.chain = flow.transform.to(BUILD_DTYPE)
        for transform in self.chain.transforms:
            _start(transform, generator)

    def plain_state(self) -> dict[str, Any]:
        """Return settings and weights: the chain itself is made by another library."""
        return {
            "settings": self._settings,
            "weights": dict(self.state_dict()),
            "training": self.training,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Build the chain again, and set its weights."""
        settings, weights = state["settings"], state["weights"]
        n_numbers = sum(weight.numel() for weight in weights.values())
        sizes = [n for key, n in settings.items() if key != "hidden_layer_sizes"]
        sizes += settings["hidden_layer_sizes"]
        # Masks and weights take memory by these, before they are compared.
        if max(sizes) > n_numbers or settings["n_latents"] ** 2 > 100 * n_numbers:
            raise ValueError("the settings of a flow are not those of its weights")
        self.__init__(**settings, generator=torch.Generator())  # type: ignore[misc]
        kinds = {w.dtype for w in weights.values() if w.is_floating_point()}
        self.to(kinds.pop())
        self.load_state_dict(weights)
        self.train(state["training"])

    def forward(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return v and log |det dv/du|.

        Parameters
        ----------
        u : Tensor of shape (..., L)
            Points.
        context : Tensor of shape (..., n_context) or None
            Context, broadcast against u.
        """
        return self.chain(context).call_and_ladj(u)

    def inverse(self, v: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return u and log |det du/dv|."""
        return self.chain(context).inv.call_and_ladj(v)


class _NoFirstWeights(TorchFunctionMode):
    """Leave out, in the present thread, what draws from the global generator."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.randn:
            return torch.zeros(*args, **kwargs)
        if function in (Tensor.uniform_, Tensor.normal_):
            return args[0]
        if getattr(function, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def _zuko_flows() -> Any:
    try:
        from zuko import flows
    except ImportError as error:
        raise ImportError(
            "prior='flow' and posterior='flow' need the package zuko: "
            "pip install 'skvae[flows]'."
        ) from error
    return flows


def _start(transform: Any, generator: torch.Generator) -> None:
    """Draw a network's first weights from the generator; its last layer is zero."""
    for parameter in transform.parameters():
        nn.init.zeros_(parameter)
    if not hasattr(transform, "hyper"):
        return  # one number without context: the knots themselves are parameters
    layers = [part for part in transform.hyper if isinstance(part, nn.Linear)]
    with torch.no_grad():
        for layer in layers[:-1]:
            bound = layer.in_features**-0.5
            for parameter in (layer.weight, layer.bias):
                parameter.uniform_(-bound, bound, generator=generator)
    transform.hyper = nn.Sequential(
        nn.Hardtanh(-INPUT_BOUND, INPUT_BOUND), *transform.hyper
    )
