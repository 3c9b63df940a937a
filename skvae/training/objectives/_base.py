"""The contract of a training objective."""

from abc import ABC, abstractmethod
from numbers import Real
from typing import ClassVar

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import ComponentSpec, positive_int

__all__ = [
    "ObjectiveSpec",
    "draws_in_two_parts",
    "share_of_training",
]


class ObjectiveSpec(ComponentSpec, ABC):
    """What training maximises: a lower bound on log p(x).

    Attributes
    ----------
    path_gradient : bool
        Whether gradients of log q(z | x) are to reach the encoder through the latents
        alone (the parameter of `VAE.draw`).
    """

    family: ClassVar[str] = "objective"
    path_gradient: ClassVar[bool] = False

    @abstractmethod
    def n_draws(self, progress: float) -> int:
        """Return how many latents to draw per row.

        Parameters
        ----------
        progress : float
            Share of the training that is done, in [0, 1).
        """

    @abstractmethod
    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return what to maximise for each row, shape (B,), nats.

        Parameters
        ----------
        draw : LatentDraw
            `n_draws` latents of each row, drawn from the encoder. An objective may
            register a hook that weighs the gradient of the latents; a draw is
            therefore good for one bound.
        progress : float
            Share of the training that is done, in [0, 1).

        Returns
        -------
        bound : Tensor of shape (B,)
            Bound on log p(x) of the latent part. With a background, training maximises
            log((1 − ε) exp(bound) + ε p₀(x)).
        """


def draws_in_two_parts(
    n_samples: object, first_part: object, progress: float, owner: str
) -> int:
    """Return 1 in the first part of the training, then `n_samples`."""
    n_draws = positive_int(n_samples, f"n_samples of {owner}")
    return (
        1 if progress < share_of_training(first_part, "first_part", owner) else n_draws
    )


def share_of_training(value: object, name: str, owner: str) -> float:
    """Return a share of the training as a float; raise a ValueError outside [0, 1]."""
    if isinstance(value, Real) and 0 <= float(value) <= 1:
        return float(value)
    raise ValueError(f"{name} of {owner} must be in [0, 1], got {value!r}.")
