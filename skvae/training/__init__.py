"""How is the density fitted? From a linear model, by maximising a bound."""

from skvae.training.batches import split_weights
from skvae.training.companions import Pool, fit_pool
from skvae.training.loop import Trainer
from skvae.training.parallel import parallel, together
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
    "Pool",
    "RowSource",
    "Schedule",
    "Trainer",
    "TrainingData",
    "TrainingOutcome",
    "fit_pool",
    "linear_start",
    "parallel",
    "split_weights",
    "together",
]
