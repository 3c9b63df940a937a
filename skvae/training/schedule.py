"""How long and how fast to train."""

import math
from dataclasses import dataclass

__all__ = ["Schedule"]


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
    n_validations : int
        Largest number of epochs after which the validation rows are scored.
    patience : float
        Epochs without improvement after which training stops.
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
    n_validations: int = 40
    patience: float = math.inf
    tol: float = 0.0

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

    def validation_epochs(self) -> set[int]:
        """Return the epochs that end with a validation.

        They are dense at first, where the score changes fast, and then sparser.
        """
        shares = (i / self.n_validations for i in range(1, self.n_validations + 1))
        return {math.ceil(self.n_epochs * share**1.5) for share in shares}
