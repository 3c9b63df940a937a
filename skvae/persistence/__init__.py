"""Estimators in files: what they are made of, as plain values."""

from skvae.persistence.codec import encode
from skvae.persistence.files import load, load_values, save, save_values
from skvae.persistence.members import TRUSTED_TYPES
from skvae.persistence.state import ArrayState

__all__ = [
    "TRUSTED_TYPES",
    "ArrayState",
    "encode",
    "load",
    "load_values",
    "save",
    "save_values",
]
