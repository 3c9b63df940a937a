"""Estimators in files: what they are made of, as plain values."""

from skvae.persistence.files import load, save
from skvae.persistence.members import TRUSTED_TYPES
from skvae.persistence.state import ArrayState

__all__ = ["TRUSTED_TYPES", "ArrayState", "load", "save"]
