"""How is the density fitted? From a linear model, by maximising a bound."""

from skvae.training.batches import split_weights
from skvae.training.loop import Trainer
from skvae.training.records import (
    EpochRecord,
    RowSource,
    TrainingData,
    TrainingOutcome,
)
from skvae.training.schedule import Schedule
from skvae.training.start import linear_start

__all__ = [
    "EpochRecord",
    "RowSource",
    "Schedule",
    "Trainer",
    "TrainingData",
    "TrainingOutcome",
    "linear_start",
    "split_weights",
]
