"""The contract of a training objective."""

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import ClassVar

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import ComponentSpec, positive_int

__all__ = [
    "ObjectiveSpec",
    "draws_in_two_parts",
    "not_negative",
    "share_of_training",
    "weigh_path_of_mean",
    "weigh_path_twice",
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
    path_gradient: bool = False

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

        Notes
        -----
        Where ``draw.path_gradient`` is true although the objective has not asked for
        it, the posterior has no density whose score were known. If the bound is no mean
        of log-weights, or if there is a background, the mean of what is left out is not
        zero: see `weigh_path_twice` and `weigh_path_of_mean`.
        """

    def reads_aggregate(self, progress: float) -> bool:
        """Return whether `of_batch` reads the batch as a whole; by default it does not.

        Parameters
        ----------
        progress : float
            Share of the training that is done, in [0, 1).
        """
        return False

    def of_batch(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return what is added to the mean of the bounds, by default nothing.

        Parameters
        ----------
        draw : LatentDraw
            As for `bound`. Its `aggregate` is there if `reads_aggregate` says so and
            the model's encoder is learnt.
        progress : float
            Share of the training that is done, in [0, 1).

        Returns
        -------
        term : Tensor of shape ()
            In nats per row. It need not keep the objective below log p(x).
        """
        return draw.log_p_x.new_zeros(())


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


def not_negative(value: object, name: str, owner: str) -> float:
    """Return value as a float; raise a ValueError unless it is finite and from 0."""
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if 0 <= number < math.inf:
            return number
    raise ValueError(f"{name} of {owner} must be a number from 0, got {value!r}.")


def weigh_path_twice(draw: LatentDraw, bound: Tensor) -> None:
    r"""Make the path gradient of log mean w that of the bound (see `DReG`).

    Parameters
    ----------
    draw : LatentDraw
        With path gradients.
    bound : Tensor of shape (B,)
        The log of the mean weight.
    """
    if draw.z.requires_grad:
        # The gradient of log(mean w + c) has w̃ once. The hook makes it the square.
        share = draw.closed_form.latent_share(bound.detach())
        weight = (draw.log_w.detach().softmax(0) * share).unsqueeze(-1)
        draw.z.register_hook(lambda gradient: weight * gradient)


def weigh_path_of_mean(draw: LatentDraw, bound: Tensor, beta: Tensor | float) -> None:
    """Make the path gradient of a mean over draws that of the bound.

    Without a background nothing is left to do (see `StickingTheLanding`).

    Parameters
    ----------
    draw : LatentDraw
        With path gradients.
    bound : Tensor of shape (B,)
        Mean over K draws of log p(x | z) − β [log q(z | x) − log p(z)].
    beta : Tensor or float
        β.
    """
    if draw.z.requires_grad and draw.closed_form.log_odds is not None:
        share = draw.closed_form.latent_share(bound.detach())
        weight = (1 - beta * (1 - share) / len(draw.log_w)).unsqueeze(-1)
        draw.z.register_hook(lambda gradient: weight * gradient)
