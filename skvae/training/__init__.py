"""How is the density fitted? From a classical start, by maximising a bound."""

from skvae.training.batches import split_weights
from skvae.training.loop import (
    EpochRecord,
    RowSource,
    Schedule,
    Trainer,
    TrainingData,
    TrainingOutcome,
)
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
