"""Warnings that point at the line of the user's that led to them."""

import os
import sys
import warnings
from pathlib import Path

import joblib
import sklearn

__all__ = ["warn_caller"]

# Frames of these packages are never the caller: scikit-learn and joblib call our
# methods on the user's behalf.
LIBRARIES = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(__file__).parents[1],
        Path(sklearn.__file__).parent,
        Path(joblib.__file__).parent,
    )
)


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the innermost line that is in none of these libraries.

    Python shows a warning once for every line that it points at. If it pointed into
    this package, a program's first call alone would be warned of.

    Parameters
    ----------
    message : str
        What is not in order, and what the user can do about it.
    category : type, default=UserWarning
        The kind of warning.
    """
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
