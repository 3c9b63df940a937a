"""How long and how fast to train."""

import math
from dataclasses import dataclass, replace

__all__ = ["Schedule"]

# Validations are so many steps apart (fewer in a short training), and later on such a
# share of the epochs so far.
VALIDATION_STEPS = 25
VALIDATION_SHARE = 0.08
MIN_VALIDATIONS = 40  # of a training of equal gaps
MIN_COMMON_STEPS = 200  # of an epoch by several processes


@dataclass(frozen=True)
class Schedule:
    """Lengths and rates of a training.

    Attributes
    ----------
    n_epochs : int
        Number of epochs, at the end of which the learning rate has fallen to zero.
    batch_size : int
        Rows per step.
    learning_rate : float
        Peak learning rate of AdamW.
    weight_decay : float
        Decoupled weight decay of the networks' weight matrices.
    warmup_steps : int
        Steps over which the learning rate rises to its peak; at most a tenth of all.
    decay : bool
        Whether the learning rate falls to zero along a cosine. Else it stays at its
        peak after the warm-up.
    clip_norm : float
        Largest norm of a step's gradient.
    averaging : float
        Decay of the weight average (see `WeightAverage`).
    patience : float
        Epochs without improvement after which training stops.
    patience_share : float
        Share of the epochs up to the last improvement that have to pass as well: what
        took long to improve may take long to improve again.
    tol : float
        Smallest gain, in nats per row, that counts as an improvement.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int = 100
    decay: bool = True
    clip_norm: float = 5.0
    averaging: float = 0.998
    patience: float = math.inf
    patience_share: float = 0.0
    tol: float = 0.0

    def for_processes(self, n_processes: int, n_draws: int) -> "Schedule":
        """Return the schedule of processes that train one model.

        Each of them has a batch to itself, as long as 200 steps are left of an epoch.
        Steps of so many times the rows go √ of it times as far.

        Parameters
        ----------
        n_processes : int
            Number of processes.
        n_draws : int
            Training rows of an epoch.

        References
        ----------
        S. Malladi, K. Lyu, A. Panigrahi and S. Arora, 2022. On the SDEs and scaling
        rules for adaptive gradient algorithms.
        """
        most = max(self.batch_size, n_draws // MIN_COMMON_STEPS)
        batch_size = min(n_processes * self.batch_size, most)
        rate = self.learning_rate * math.sqrt(batch_size / self.batch_size)
        return replace(self, batch_size=batch_size, learning_rate=rate)

    def learning_rate_at(self, step: int, n_steps: int) -> float:
        r"""Return the learning rate of a step: linear warm-up times cosine decay.

        .. math:: \eta_t = \eta\, \min\!\left(1, \frac{t + 1}{t_\mathrm{warm}}\right)
                  \frac{1 + \cos(\pi t / T)}{2}

        Parameters
        ----------
        step : int
            Number of the step, t, from 0.
        n_steps : int
            Number of all steps, T.
        """
        warmup = min(self.warmup_steps, max(1, n_steps // 10))
        rise = min(1.0, (step + 1) / warmup)
        fall = 0.5 * (1 + math.cos(math.pi * step / n_steps)) if self.decay else 1.0
        return self.learning_rate * rise * fall

    def validation_epochs(self, steps_per_epoch: int) -> set[int]:
        """Return the epochs that end with a validation.

        They are dense at first, where the score changes fast, and then sparser.
        """
        first_gap = min(
            VALIDATION_STEPS / steps_per_epoch, self.n_epochs / MIN_VALIDATIONS
        )
        epochs, epoch = {self.n_epochs}, 0
        while epoch < self.n_epochs:
            epochs.add(epoch)
            epoch += math.floor(max(1, first_gap, VALIDATION_SHARE * epoch))
        return epochs - {0}

    def patience_at(self, epoch: int) -> float:
        """Return how long to wait for an improvement after that of an epoch."""
        return max(self.patience, self.patience_share * epoch)
