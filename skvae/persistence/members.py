"""Estimators of other libraries, as skops stores them."""

from typing import Any

from skvae.persistence.codec import MalformedError
from skvae.persistence.registry import PACKAGE, name_of_class

__all__ = ["TRUSTED_TYPES", "dump_member", "load_member"]

# The estimators of skvae that skops may build. Their state is plain arrays and a JSON
# document, from which registered classes alone are built (`state.py`).
TRUSTED_TYPES = (
    "skvae.classification.DensityClassifier",
    "skvae.committee.OutlierCommittee",
    "skvae.conditional.ConditionalVAEDensity",
    "skvae.density.VAEDensity",
    "skvae.distillation.DistilledDensity",
    "skvae.drift.DriftAlarm",
    "skvae.imputation.DensityImputer",
    "skvae.outliers.DensityOutlierDetector",
    "skvae.stacking.StackedDensity",
)


def dump_member(member: Any, place: str) -> bytes:
    """Return what skops makes of an object.

    Parameters
    ----------
    member : object
        An estimator of another library.
    place : str
        Where it was found, for errors; empty if it is what is saved.

    Raises
    ------
    TypeError
        If skops cannot store it.
    ImportError
        If skops is not installed.
    """
    if isinstance(member, type) or not hasattr(member, "get_params"):
        raise TypeError(
            f"{place} is {member!r}, of the class {name_of_class(type(member))}, which "
            f"no file without code can hold. Files hold numbers, text, arrays, "
            f"tensors, torch modules, data frames, components and estimators."
        )
    skops = _skops(f"Saving {type(member).__name__}")
    try:
        return bytes(skops.dumps(member))
    except Exception as error:
        raise TypeError(
            f"skops cannot store {place or 'the estimator'}: {error}"
        ) from error


def load_member(blob: bytes, trusted: tuple[str, ...]) -> Any:
    """Return the object that skops stored, if all of its types are trusted.

    Raises
    ------
    MalformedError
        If there are others, or it is damaged.
    ImportError
        If skops, or the library of the object, is not installed.
    """
    skops = _skops("This file")
    allowed = (*TRUSTED_TYPES, *trusted)
    try:
        unknown = sorted(set(skops.get_untrusted_types(data=blob)) - set(allowed))
        if unknown:
            raise MalformedError(
                f"a member has types that are not trusted: {', '.join(unknown)}. If "
                f"you know them and trust the file, pass their names in trusted"
            )
        return skops.loads(blob, trusted=list(allowed))
    except (MalformedError, ImportError):
        raise
    except Exception as error:
        raise MalformedError(f"a member of it is damaged: {error}") from error


def _skops(what: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            f"{what} needs the package skops, for estimators of other libraries: "
            f"pip install '{PACKAGE}[files]'."
        ) from error
    return skops.io
