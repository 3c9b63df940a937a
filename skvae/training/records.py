"""What training is given, and what it says of itself."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["EpochRecord", "RowSource", "TrainingData", "TrainingOutcome"]


class RowSource(Protocol):
    """Rows that can be asked for by number.

    A tensor is a row source. So is an object that reads rows from a file when they
    are needed.
    """

    device: torch.device

    def __len__(self) -> int:
        """Return the number of rows, N."""

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the rows (B, D) with these numbers."""


@dataclass(frozen=True)
class TrainingData:
    """Training and validation rows, in model units.

    Attributes
    ----------
    x : Tensor or RowSource of shape (N, D)
        Training rows.
    weight : Tensor of shape (N,)
        Weights of the training rows, at least 0, float64.
    x_valid : Tensor of shape (N_valid, D)
        Validation rows; empty for a training without validation.
    weight_valid : Tensor of shape (N_valid,)
        Weights of the validation rows, above 0, float64.
    n_draws : int
        Number of rows that one epoch draws.
    companion_log_p : Tensor of shape (N_valid,) or None
        Log-density of the validation rows under the companion, in model units, float64;
        nan where it is not known. None without a companion.
    """

    x: Tensor | RowSource
    weight: Tensor
    x_valid: Tensor
    weight_valid: Tensor
    n_draws: int
    companion_log_p: Tensor | None = None


@dataclass(frozen=True)
class EpochRecord:
    """What happened in one epoch; log-densities in nats per row, in model units.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    objective : float
        Mean of the objective that training maximised. It is a bound on log p(x)
        unless the objective weights its divergence (see `ELBO`), or adds terms (see
        `InfoObjective`), or a critic estimates log q(z | x).
    bound : float
        Mean importance-weighted bound on log p(x), from the same draws; nan where a
        critic estimates log q(z | x), whose estimates bound nothing.
    evidence : float
        Mean importance-weighted bound on log p(x) of the validation rows, from more
        draws; nan where it was not computed.
    reconstruction : float
        Mean log p(x | z).
    kl : float
        Mean KL(q(z | x) ‖ p(z)), or a critic's estimate of it.
    learning_rate : float
        Learning rate of the epoch's last step.
    seconds : float
        Duration of the epoch.
    """

    epoch: int
    objective: float
    bound: float
    evidence: float
    reconstruction: float
    kl: float
    learning_rate: float
    seconds: float


@dataclass
class TrainingOutcome:
    """How a training went.

    Attributes
    ----------
    history : list of EpochRecord
        One record per epoch.
    best_epoch : int
        Epoch whose weights the model has in the end; 0 is the start.
    n_recoveries : int
        How many times a step with a non-finite loss or gradient was undone.
    interrupted : bool
        Whether a KeyboardInterrupt ended the training.
    stopped_early : bool
        Whether training ended because the validation score had stopped improving.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    n_recoveries: int = 0
    interrupted: bool = False
    stopped_early: bool = False
