"""Checks of parameters, with errors that name them and what is allowed."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from skvae.typing import RandomState

__all__ = [
    "check_choice",
    "check_device",
    "check_number",
    "check_parameters",
    "check_positive_int",
    "generator_from",
    "seed_from",
]


def check_number(
    value: object,
    name: str,
    *,
    low: float,
    high: float = np.inf,
    integer: bool = False,
    inclusive: bool = True,
    also: tuple[object, ...] = (),
    more: str = "",
) -> None:
    """Raise a ValueError or TypeError unless value is a number in the range.

    Parameters
    ----------
    value : object
        What the user gave.
    name : str
        The parameter.
    low, high : float
        The range; `high` is included.
    integer : bool, default=False
        Whether the number has to be an integer.
    inclusive : bool, default=True
        Whether `low` is in the range.
    also : tuple, default=()
        Other values that are allowed, such as "auto".
    more : str, default=""
        What else is allowed, for the message.
    """
    if _is_one_of(value, also):
        return
    number = "an int" if integer else "a number"
    least = "at least" if inclusive else "above"
    most = "" if np.isinf(high) else f" and at most {high:g}"
    others = "".join(f" or {other!r}" for other in also)
    message = (
        f"{name} must be {number} {least} {low:g}{most}{others}{more}, got {value!r}."
    )
    if isinstance(value, bool) or not isinstance(value, Integral if integer else Real):
        raise TypeError(message)
    size = float(value)
    in_range = (low <= size if inclusive else low < size) and size <= high
    if not (in_range and np.isfinite(size)):
        raise ValueError(message)


def _is_one_of(value: object, choices: tuple[object, ...]) -> bool:
    # Scalars only: an array's == is no bool.
    return np.ndim(value) == 0 and any(  # type: ignore[arg-type]
        value is choice or value == choice for choice in choices
    )


def check_positive_int(value: object, name: str, *also: object) -> None:
    """Raise unless value is an int of at least one, or one of `also`."""
    check_number(value, name, low=1, integer=True, also=also)


def check_n_components(value: object) -> None:
    """Raise unless value is a number of latents, one for every level, or "auto"."""
    if not isinstance(value, tuple):
        check_number(
            value,
            "n_components",
            low=1,
            integer=True,
            also=("auto",),
            more=" or a tuple of int, one for every level of latents",
        )
    elif not value:
        raise ValueError("n_components must not be empty, got ().")
    else:
        for size in value:
            check_positive_int(size, "each of n_components")


def check_parameters(
    estimator: Any, tol: float | None = None, max_samples: int | None = None
) -> None:
    """Check all parameters of a VAEDensity but the components and the device.

    Parameters
    ----------
    estimator : VAEDensity
        Whose parameters to check.
    tol, max_samples : float, int, default=None
        Arguments of `evidence`, checked where they are not None.
    """
    p = estimator.get_params(deep=False)
    check_n_components(p["n_components"])
    check_positive_int(p["n_importance_samples"], "n_importance_samples")
    check_positive_int(p["batch_size"], "batch_size")
    check_positive_int(p["max_iter"], "max_iter", "auto")
    check_positive_int(p["n_iter_no_change"], "n_iter_no_change", "auto")
    check_positive_int(p["max_evidence_samples"], "max_evidence_samples")
    check_positive_int(max_samples, "max_samples", None)
    check_number(p["learning_rate"], "learning_rate", low=0, inclusive=False)
    check_number(p["weight_decay"], "weight_decay", low=0, also=("auto",))
    check_number(p["dropout"], "dropout", low=0, high=0.9, also=("auto",))
    check_number(p["smoothing"], "smoothing", low=0, high=10, also=("auto",))
    check_number(
        p["validation_fraction"],
        "validation_fraction",
        low=0,
        high=0.9,
        inclusive=False,
    )
    check_number(p["tol"], "tol", low=0)
    check_number(p["evidence_tol"], "evidence_tol", low=0, inclusive=False)
    check_number(tol, "tol", low=0, inclusive=False, also=(None,))
    check_number(p["verbose"], "verbose", low=0, integer=True, also=(True, False))
    check_choice(p["early_stopping"], "early_stopping", (True, False, "auto"))
    check_choice(p["warm_start"], "warm_start", (True, False))
    check_choice(
        p["marginal_transform"], "marginal_transform", ("auto", "normal", None)
    )
    sizes = p["hidden_layer_sizes"]
    if not isinstance(sizes, (tuple, list)):
        raise TypeError(f"hidden_layer_sizes must be a tuple of int, got {sizes!r}.")
    for size in sizes:
        check_positive_int(size, "each of hidden_layer_sizes")


def check_choice(value: object, name: str, choices: tuple[object, ...]) -> None:
    """Raise a ValueError unless value is one of the choices."""
    if not _is_one_of(value, choices):
        allowed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}.")


def seed_from(random_state: RandomState) -> int:
    """Return a seed; None is fresh entropy, never NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


def generator_from(
    random_state: RandomState,
) -> np.random.RandomState:
    """Return a generator; None is fresh entropy, never NumPy's global state."""
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)


def check_device(device: object) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda" or "cuda:i"."""
    allowed = "'auto', 'cpu', 'cuda' or 'cuda:<index>'"
    if isinstance(device, torch.device):
        device = str(device)
    if not isinstance(device, str):
        raise TypeError(f"device must be {allowed}, got {device!r}.")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name, colon, index = device.partition(":")
    if name not in ("cpu", "cuda") or (colon and not index.isdecimal()):
        raise ValueError(f"device must be {allowed}, got {device!r}.")
    if name == "cuda":
        n_devices = torch.cuda.device_count()
        if int(index or 0) >= n_devices:
            raise ValueError(
                f"device={device!r} is not available: torch sees {n_devices} CUDA "
                f"device(s) here. Use 'cpu' or 'auto'."
            )
    return torch.device(device)
