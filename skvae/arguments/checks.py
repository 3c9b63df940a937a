"""Checks of single arguments, with errors that name them and what is allowed."""

from numbers import Integral, Real

import numpy as np

__all__ = ["check_choice", "check_fraction", "check_number", "check_positive_int"]

MOST_BITS_SHOWN = 200


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
        f"{name} must be {number} {least} {low:g}{most}{others}{more}, got "
        f"{_shown(value)}."
    )
    if isinstance(value, bool) or not isinstance(value, Integral if integer else Real):
        raise TypeError(message)
    try:
        size = float(value)
    except OverflowError:
        raise ValueError(f"{message} Computers cannot count so far.") from None
    in_range = (low <= size if inclusive else low < size) and size <= high
    if not (in_range and np.isfinite(size)):
        raise ValueError(message)


def _shown(value: object) -> str:
    # Python itself refuses to print an integer of some thousand digits.
    if isinstance(value, Integral) and int(value).bit_length() > MOST_BITS_SHOWN:
        return f"an integer of {int(value).bit_length()} bits"
    return repr(value)


def _is_one_of(value: object, choices: tuple[object, ...]) -> bool:
    # Scalars only: an array's == is no bool.
    return np.ndim(value) == 0 and any(  # type: ignore[arg-type]
        value is choice or value == choice for choice in choices
    )


def check_fraction(value: object, name: str) -> None:
    """Raise unless value is a share of the rows to hold out: above 0, at most 0.9."""
    check_number(value, name, low=0, high=0.9, inclusive=False)


def check_positive_int(value: object, name: str, *also: object) -> None:
    """Raise unless value is an int of at least one, or one of `also`."""
    check_number(value, name, low=1, integer=True, also=also)


def check_choice(value: object, name: str, choices: tuple[object, ...]) -> None:
    """Raise a ValueError unless value is one of the choices."""
    if not _is_one_of(value, choices):
        allowed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}.")
