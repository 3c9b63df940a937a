"""The training loop: steps, averages, validation, best weights, recovery."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from skvae.model import VAE
from skvae.model.networks import Network, dropout_from
from skvae.training.averaging import WeightAverage
from skvae.training.batches import epoch_batches
from skvae.training.flat import FlatParameters
from skvae.training.objectives import ObjectiveSpec

__all__ = [
    "EpochRecord",
    "RowSource",
    "Schedule",
    "Trainer",
    "TrainingData",
    "TrainingOutcome",
]

MAX_RECOVERIES = 10
N_TERMS = 4  # objective, bound, reconstruction, kl
VALIDATION_DRAWS = 8
VALIDATION_BLOCK = 8192  # draws at a time, of all rows together


class RowSource(Protocol):
    """Rows that are asked for by number: a tensor, or what stands for one."""

    device: torch.device

    def __len__(self) -> int:
        """Return the number of rows, N."""

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return rows (B, D) of these numbers."""


@dataclass(frozen=True)
class TrainingData:
    """Training and validation rows, in model units.

    Attributes
    ----------
    x : Tensor or RowSource of shape (N, D)
        Training rows.
    weight : Tensor of shape (N,)
        Their weights, not negative, float64.
    x_valid, weight_valid : Tensor of shape (N_valid, D), (N_valid,)
        Validation rows and their positive weights.
    n_draws : int
        Rows drawn per epoch.
    """

    x: Tensor | RowSource
    weight: Tensor
    x_valid: Tensor
    weight_valid: Tensor
    n_draws: int


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    n_epochs : int
        Epochs until the learning rate has reached zero.
    batch_size : int
        Rows per step.
    learning_rate : float
        Peak learning rate of AdamW.
    weight_decay : float
        Decoupled weight decay of the networks' weight matrices.
    warmup_steps : int
        Steps over which the learning rate rises to its peak.
    decay : bool
        Whether the learning rate then falls to zero along a cosine.
    clip_norm : float
        Largest norm of a step's gradient.
    averaging : float
        Decay of the weight average.
    n_validations : int
        Largest number of times that validation rows are scored.
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

    def validation_epochs(self) -> set[int]:
        """Return the epochs that end with a validation: dense first, then sparser."""
        shares = (i / self.n_validations for i in range(1, self.n_validations + 1))
        return {math.ceil(self.n_epochs * share**1.5) for share in shares}


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did; log-densities in nats per row, in model units.

    Attributes
    ----------
    epoch : int
        From 1.
    objective : float
        Mean of what training maximised; no bound while it weighs its parts.
    bound : float
        Mean importance-weighted bound on log p(x), of the same draws.
    evidence : float
        The same bound on the validation rows, of more draws; nan where not computed.
    reconstruction : float
        Mean log p(x | z).
    kl : float
        Mean KL(q(z | x) ‖ p(z)).
    learning_rate, seconds : float
        At the end, and in all.
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
    """What training did.

    Attributes
    ----------
    history : list of EpochRecord
        One record per epoch.
    best_epoch : int
        Epoch whose weights the model now has.
    n_recoveries : int
        How many times a non-finite step was undone.
    interrupted : bool
        Whether a KeyboardInterrupt ended the training.
    stopped_early : bool
        Whether the validation score had stopped improving.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    n_recoveries: int = 0
    interrupted: bool = False
    stopped_early: bool = False


class Trainer:
    """Maximise an objective and leave the model with its best weights.

    With validation rows, the best weights are those, live or averaged, that have the
    highest importance-weighted bound on them, the start included; without, they are
    the average at the end. A step with a non-finite loss or gradient is undone: the
    weights of the last good epoch come back and the learning rate is halved.

    Parameters
    ----------
    model : VAE
        Changed in place.
    objective : ObjectiveSpec
        The bound to maximise.
    data : TrainingData
        Rows; no validation where `x_valid` is empty.
    schedule : Schedule
        Lengths and rates.
    generator : torch.Generator
        Source of all randomness, on the CPU.
    optimiser_state : dict, optional
        State of an earlier trainer's optimiser, to go on from.
    """

    def __init__(
        self,
        model: VAE,
        objective: ObjectiveSpec,
        data: TrainingData,
        schedule: Schedule,
        generator: torch.Generator,
        optimiser_state: dict | None = None,
    ) -> None:
        self.model, self.objective = model, objective
        self.data, self.schedule = data, schedule
        self.generator = generator
        self.device = data.x.device
        seed = int(torch.randint(2**62, (), generator=generator))
        self.noise_generator = torch.Generator(self.device).manual_seed(seed)
        first = data.x[torch.zeros(1, dtype=torch.int64, device=self.device)]
        self.noise_dim = model.encode(first).noise_dim
        # A bound of fewer draws would prefer the weights of the training's first part.
        n_draws = max(VALIDATION_DRAWS, objective.n_draws(1.0))
        self.validation_noise = torch.empty(
            n_draws, len(data.x_valid), self.noise_dim, device=self.device
        ).normal_(generator=self.noise_generator)
        self.cumulative_weight = data.weight.cpu().cumsum(0)
        self.flat = FlatParameters(model, _decayed_weights(model).__contains__)
        self.optimiser = self._new_optimiser()
        if optimiser_state is not None:
            self.optimiser.load_state_dict(optimiser_state)
        self.average = WeightAverage(model, schedule.averaging)
        self.rate_factor = 1.0
        self.n_steps = 0
        self.steps_per_epoch = -(-data.n_draws // schedule.batch_size)
        self.best_evidence = -math.inf
        self.outcome = TrainingOutcome()

    def run(
        self, on_epoch: Callable[[EpochRecord, "Trainer"], bool] | None = None
    ) -> TrainingOutcome:
        """Train until the schedule ends, the score stops improving or ^C.

        Parameters
        ----------
        on_epoch : callable, optional
            Called with each epoch's record and this trainer; a true answer stops
            the training.
        """
        outcome = self.outcome
        self._remember_good()
        self._validate(epoch=0)
        try:
            if not outcome.interrupted:
                self._run_epochs(on_epoch)
        except KeyboardInterrupt:
            self.interrupt()
        self.model.load_state_dict(self.best_state())
        return outcome

    def interrupt(self) -> None:
        """Mark the training as interrupted; a later `run` trains no epoch."""
        self.outcome.interrupted = True

    def best_state(self) -> dict[str, Tensor]:
        """Return a copy of the best weights so far."""
        if self.best_evidence > -math.inf:
            return self._best
        with self.average.swapped_in():
            return copy.deepcopy(self.model.state_dict())

    def _run_epochs(
        self, on_epoch: Callable[[EpochRecord, "Trainer"], bool] | None
    ) -> None:
        outcome, schedule = self.outcome, self.schedule
        checks = schedule.validation_epochs()
        threshold, improved_at = self.best_evidence, 0
        for epoch in range(1, schedule.n_epochs + 1):
            began = time.perf_counter()
            with dropout_from(self.model, self.noise_generator):
                terms = self._run_epoch()
            if terms is None:
                self._recover()
                if outcome.n_recoveries >= MAX_RECOVERIES:
                    break
                terms = (math.nan,) * N_TERMS
            else:
                self._remember_good()
            evidence = math.nan
            if epoch in checks:
                evidence = self._validate(epoch)
                if evidence > threshold + schedule.tol:
                    threshold, improved_at = evidence, epoch
            record = EpochRecord(
                epoch=epoch,
                objective=terms[0],
                bound=terms[1],
                evidence=evidence,
                reconstruction=terms[2],
                kl=terms[3],
                learning_rate=self._learning_rate(self.n_steps - 1),
                seconds=time.perf_counter() - began,
            )
            outcome.history.append(record)
            if on_epoch is not None and on_epoch(record, self):
                break
            if len(self.data.x_valid) and epoch - improved_at > schedule.patience:
                outcome.stopped_early = True
                break
        if not len(self.data.x_valid):
            outcome.best_epoch = max(
                (r.epoch for r in outcome.history if math.isfinite(r.objective)),
                default=0,
            )

    def _run_epoch(self) -> tuple[float, ...] | None:
        """Return means of a step's terms; None if a step diverged."""
        total = torch.zeros(N_TERMS, dtype=torch.float64, device=self.device)
        batches = epoch_batches(
            self.cumulative_weight,
            self.data.n_draws,
            self.schedule.batch_size,
            self.generator,
        )
        for index in batches:
            terms = self._step(self.data.x[index.to(self.device)])
            if terms is None:
                return None
            total += len(index) * terms
        return tuple((total / self.data.n_draws).tolist())

    def _step(self, x: Tensor) -> Tensor | None:
        """Return objective, bound, log-likelihood and KL; None if not finite."""
        progress = self.n_steps / (self.steps_per_epoch * self.schedule.n_epochs)
        noise = torch.empty(
            self.objective.n_draws(progress), len(x), self.noise_dim, device=self.device
        ).normal_(generator=self.noise_generator)
        draw = self.model.draw(x, noise, path_gradient=self.objective.path_gradient)
        latent = self.objective.bound(draw, progress)
        objective = self.model.mixed(latent, draw).mean()
        norm = self.flat.set_gradient(-objective, self.schedule.clip_norm)
        if not torch.isfinite(objective + norm):
            return None
        rate = self._learning_rate(self.n_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.average.update()
        self.n_steps += 1
        with torch.no_grad():
            bound = self.model.mixed(draw.log_mean_w, draw).mean()
            kl = (draw.log_q_z - draw.log_p_z).mean() if draw.kl is None else draw.kl
            terms = [objective, bound, draw.log_p_x.mean(), kl.mean()]
            return torch.stack(terms).double()

    def _learning_rate(self, step: int) -> float:
        schedule = self.schedule
        n_steps = self.steps_per_epoch * schedule.n_epochs
        warmup = min(schedule.warmup_steps, max(1, n_steps // 10))
        rise = min(1.0, (step + 1) / warmup)
        fall = 0.5 * (1 + math.cos(math.pi * step / n_steps)) if schedule.decay else 1.0
        return self.rate_factor * schedule.learning_rate * rise * fall

    def _new_optimiser(self) -> torch.optim.Optimizer:
        """AdamW; only the networks' weight matrices decay."""
        weight_decay = self.schedule.weight_decay
        return torch.optim.AdamW(
            [
                {"params": [self.flat.decayed], "weight_decay": weight_decay},
                {"params": [self.flat.others], "weight_decay": 0.0},
            ],
            lr=self.schedule.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )

    def _remember_good(self) -> None:
        self._good = [p.detach().clone() for p in self.model.parameters()]

    def _recover(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.model.parameters()), self._good)
        self.outcome.n_recoveries += 1
        self.rate_factor *= 0.5
        self.optimiser = self._new_optimiser()
        self.average.reset()

    def _validate(self, epoch: int) -> float:
        """Score live and averaged weights; return the better, nan without rows."""
        if not len(self.data.x_valid):
            return math.nan
        live = self._validation_evidence()
        best, average = live, -math.inf
        if epoch and live > -math.inf:
            with self.average.swapped_in():
                average = self._validation_evidence()
                best = max(live, average)
                if average > live:
                    self._keep_if_best(average, epoch)
        if live >= average:
            self._keep_if_best(live, epoch)
        return best

    def _keep_if_best(self, evidence: float, epoch: int) -> None:
        if evidence > self.best_evidence:
            self.best_evidence = evidence
            self.outcome.best_epoch = epoch
            self._best = copy.deepcopy(self.model.state_dict())

    def _validation_evidence(self) -> float:
        """Return the mean over validation rows, −inf if it is not a number."""
        weight = self.data.weight_valid / self.data.weight_valid.sum()
        evidence = float(weight @ self.validation_log_p())
        return evidence if math.isfinite(evidence) else -math.inf

    @torch.no_grad()
    def validation_log_p(self) -> Tensor:
        """Return the importance-weighted bound of each validation row.

        The noise is the same at every call: two sets of weights are compared by the
        same draws.
        """
        log_p = []
        n_rows = max(1, VALIDATION_BLOCK // len(self.validation_noise))
        for begin in range(0, len(self.data.x_valid), n_rows):
            rows = slice(begin, begin + n_rows)
            noise = self.validation_noise[:, rows]
            x = self.data.x_valid[rows]
            log_w = self.model.draw(x, noise).log_w.double()
            latent = log_w.logsumexp(0) - math.log(len(log_w))
            log_p.append(self.model.with_background(latent, x).cpu())
        return torch.cat(log_p)


def _decayed_weights(model: nn.Module) -> set[nn.Parameter]:
    """Return the weight matrices of a model's networks."""
    return {
        parameter
        for network in model.modules()
        if isinstance(network, Network)
        for parameter in network.decayed()
    }
