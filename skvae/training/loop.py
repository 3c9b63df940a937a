"""The training loop: steps, averages, validation, best weights, recovery."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from skvae.model import VAE
from skvae.model.cell_noise import OneGenerator
from skvae.model.memory import check_memory
from skvae.model.networks import dropout_from
from skvae.training.adamw import AdamW, ParameterGroup
from skvae.training.averaging import WeightAverage
from skvae.training.batches import epoch_batches
from skvae.training.flat import FlatParameters
from skvae.training.objectives import ObjectiveSpec
from skvae.training.parallel import own_part, parallel
from skvae.training.records import EpochRecord, TrainingData, TrainingOutcome
from skvae.training.schedule import Schedule
from skvae.training.validation import Validation
from skvae.training.weights import critic_weights, decayed_weights

__all__ = ["Trainer"]

OnEpoch: TypeAlias = Callable[[EpochRecord, "Trainer"], bool]
State: TypeAlias = dict[str, Any]

MAX_RECOVERIES = 10  # undone steps after which training gives up
MIN_IDLE_CHECKS = 2  # validations without a gain before training stops
N_TERMS = 4  # of a step: objective, bound, reconstruction, kl
VALIDATION_DRAWS = 8  # per row, unless training ends with more
N_PROBES = 64  # rows on which the last weights are tried
CRITIC_RATE = 2.0  # learning rate of critics, in units of the model's
# What a trainer remembers, besides weights, averages and generators.
REMEMBERED = (
    "rate_factor", "n_steps", "best_evidence", "best_latent", "ended", "outcome",
    "_best", "_bounds", "_good", "_progress", "_seen", "_start",
)  # fmt: skip
# By which a companion's share is found: of all validation rows together, and of each.
SHARE_DRAWS, MOST_SHARE_DRAWS = 2**17, 512


@dataclass
class _Progress:
    """When the score has improved, by the validations so far.

    Beside a companion, a latent part that starts slowly adds nothing at first: it is
    enough that its own score improves.

    Attributes
    ----------
    threshold, latent_threshold : float
        Scores of the last improvement, with a companion and without.
    improved_at : int
        Its epoch.
    n_idle : int
        Validations since then.
    """

    threshold: float
    latent_threshold: float
    improved_at: int = 0
    n_idle: int = 0

    def judge(self, evidence: float, latent: float, epoch: int, tol: float) -> None:
        """Take note of the best scores so far."""
        self.n_idle += 1
        if evidence > self.threshold + tol or latent > self.latent_threshold + tol:
            self.threshold = max(evidence, self.threshold)
            self.latent_threshold = max(latent, self.latent_threshold)
            self.improved_at, self.n_idle = epoch, 0

    def is_idle(self, epoch: int, schedule: Schedule) -> bool:
        """Return whether the last improvement is too long ago."""
        patience = schedule.patience_at(self.improved_at)
        return self.n_idle >= MIN_IDLE_CHECKS and epoch - self.improved_at > patience


class Trainer:
    """Maximise an objective and leave the model with its best weights.

    Every epoch has two candidates: the weights as the last step left them (live) and
    their running average. Where there are validation rows, the best weights are the
    candidate, or the start, with the highest importance-weighted bound on these rows.
    Where there are none, the best weights are the average at the end.

    A step with a non-finite loss or gradient ends its epoch. The weights go back to
    the end of the last good epoch, and the learning rate is halved. At the end, the
    best weights are tried on some rows. If they give no numbers, or draw none, the
    weights of the last good epoch are kept, or else those of the start.

    Parameters
    ----------
    model : VAE
        The model to train, in place.
    objective : ObjectiveSpec
        The bound to maximise.
    data : TrainingData
        Training and validation rows.
    schedule : Schedule
        Lengths and rates.
    generator : torch.Generator
        Source of all randomness, on the CPU.
    optimiser_state : dict, optional
        State of an earlier trainer's optimiser, from which this one continues.

    Attributes
    ----------
    keep : callable or None
        Given this trainer at the end of every epoch.
    ended : bool
        Whether nothing is left to train.
    best_evidence : float
        Highest score so far, −inf without validation rows.
    best_log_p : Tensor of shape (N_valid,)
        Bound of each validation row under the best weights, when `advance` last ended.
    best_latent, best_latent_log_p : float, Tensor of shape (N_valid,)
        The same without a companion, under the weights that are best so.
    n_epochs : int
        Number of epochs when `advance` last ended.
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
        self.training_noise_dim = model.encode(first, training=True).noise_dim
        n_draws = max(objective.n_draws(0.0), objective.n_draws(1.0))
        n_rows = max(min(schedule.batch_size, data.n_draws), len(data.x_valid))
        check_memory(
            4 * n_draws * n_rows * max(self.noise_dim, self.training_noise_dim),
            f"An objective with {n_draws} draws for each of {n_rows} rows",
        )
        self.validation = self._validation()
        self.cumulative_weight = data.weight.cpu().cumsum(0)
        is_decayed = decayed_weights(model).__contains__
        of_critics = critic_weights(model)
        others = [p for p in model.parameters() if p not in of_critics]
        self.flat = FlatParameters(others, is_decayed)
        self.critic = None
        if of_critics:
            critics = [p for p in model.parameters() if p in of_critics]
            self.critic = FlatParameters(critics, is_decayed)
        self.optimiser = self._new_optimiser()
        if optimiser_state is not None:
            self.optimiser.load_state_dict(optimiser_state)
        self.parallel = parallel()
        if self.parallel is not None:
            # From here on, they have the same weights, but noise of their own; the
            # first has that of a training by one process.
            for values in (*model.parameters(), *model.buffers()):
                self.parallel.share(values.detach())
            if self.parallel.rank:
                self.noise_generator.manual_seed((seed + self.parallel.rank) % 2**62)
        self.average = WeightAverage(model, schedule.averaging)
        self.rate_factor = 1.0
        self.n_steps = 0
        self.steps_per_epoch = -(-data.n_draws // schedule.batch_size)
        self.best_evidence = self.best_latent = -math.inf
        nothing = torch.full((len(data.x_valid),), -math.inf)
        # Bounds with the companion and without: now, and after the epochs to which
        # `advance` was asked to train. A restored trainer may be ahead of those.
        self._bounds = (nothing, nothing)
        self._seen: dict[int, tuple[Tensor, Tensor, int]] = {}
        self.best_log_p, self.best_latent_log_p = self._bounds
        self.n_epochs = 0
        self.ended = False
        self.keep: Callable[[Trainer], None] | None = None
        self.outcome = TrainingOutcome()
        self._checks = schedule.validation_epochs(self.steps_per_epoch)
        self._good: list[Tensor] = []
        self._best: dict[str, Tensor] | None = None
        self._final: dict[str, Tensor] | None = None

    def run(self, on_epoch: OnEpoch | None = None) -> TrainingOutcome:
        """Train until the schedule ends, the score stops improving, or ^C.

        Parameters
        ----------
        on_epoch : callable, optional
            A function of an epoch's record and this trainer, called after every
            epoch. If it returns True, training stops.

        Returns
        -------
        outcome : TrainingOutcome
            How the training went. The model has its best weights.

        Raises
        ------
        KeyboardInterrupt
            On ^C before the first epoch has ended: there is no training to speak of.
        """
        outcome = self.outcome
        try:
            self.advance(self.schedule.n_epochs, on_epoch)
        except KeyboardInterrupt:
            if not outcome.history:
                raise
            outcome.interrupted = True
        self._settle()
        return outcome

    def advance(self, n_epochs: int, on_epoch: OnEpoch | None = None) -> None:
        """Train up to an epoch, or less if training ends before; go on later.

        Parameters
        ----------
        n_epochs : int
            Number of the last epoch.
        on_epoch : callable, optional
            As `run` takes it.
        """
        if not self._good:
            self._remember_good()
            self._start = self._good
            self._validate(epoch=0)
            self._progress = _Progress(self.best_evidence, self.best_latent)
        while len(self.outcome.history) < n_epochs and not self.ended:
            self._advance_one(on_epoch)
            if self.keep is not None:
                self.keep(self)
        self._look_at(n_epochs)

    def _look_at(self, n_epochs: int) -> None:
        """Show what the bounds were after so many epochs, or are if training ended."""
        now = (*self._bounds, len(self.outcome.history))
        seen = self._seen.setdefault(n_epochs, now)
        self.best_log_p, self.best_latent_log_p, self.n_epochs = seen

    def state(self) -> State:
        """Return all that training depends on; it shares memory with the trainer."""
        state = {name: vars(self)[name] for name in REMEMBERED if name in vars(self)}
        return state | {
            "weights": dict(self.model.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "average": (self.average.average, self.average.n_updates),
            "generator": self.generator.get_state(),
            "noise_generator": self.noise_generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Go on from the `state` of a trainer that was made in the same way."""
        self.model.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        average, self.average.n_updates = state["average"]
        with torch.no_grad():
            torch._foreach_copy_(self.average.average, average)
        self.generator.set_state(state["generator"])
        self.noise_generator.set_state(state["noise_generator"])
        for name in REMEMBERED:
            if name in state:
                setattr(self, name, state[name])

    def best_state(self) -> dict[str, Tensor]:
        """Return the best weights so far; they share no memory with the model."""
        if self._final is not None:
            return self._final
        if self._best is not None:
            return self._best
        with self.average.swapped_in():
            return copy.deepcopy(dict(self.model.state_dict()))

    def _advance_one(self, on_epoch: OnEpoch | None) -> None:
        """Train for one epoch, and see whether it is the last one."""
        outcome, schedule, progress = self.outcome, self.schedule, self._progress
        epoch = len(outcome.history) + 1
        began = time.perf_counter()
        with dropout_from(self.model, self.noise_generator):
            terms = self._run_epoch()
        if terms is None:
            self._recover()
            if outcome.n_recoveries >= MAX_RECOVERIES:
                self.ended = True
                return
            terms = (math.nan,) * N_TERMS
        else:
            self._remember_good()
        evidence = math.nan
        if epoch in self._checks:
            evidence = self._validate(epoch)
            progress.judge(evidence, self.best_latent, epoch, schedule.tol)
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
        if not len(self.validation) and math.isfinite(record.objective):
            outcome.best_epoch = epoch
        # Between two validations nothing is known of the epochs since the first.
        elif epoch in self._checks:
            outcome.stopped_early = progress.is_idle(epoch, schedule)
        if on_epoch is not None and on_epoch(record, self):
            self.ended = True
        self.ended |= outcome.stopped_early or epoch == schedule.n_epochs

    def _run_epoch(self) -> tuple[float, ...] | None:
        """Train on every batch; return the mean terms, None if a step diverged."""
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
        """Train on one batch; return its terms, None if they are not finite."""
        x, share = own_part(x, self.parallel)
        progress = self.n_steps / (self.steps_per_epoch * self.schedule.n_epochs)
        noise = x.new_empty(
            self.objective.n_draws(progress), len(x), self.training_noise_dim
        ).normal_(generator=self.noise_generator)
        draw = self.model.draw(
            x,
            noise,
            path_gradient=self.objective.path_gradient,
            cells=OneGenerator(self.noise_generator),
            training=True,
        )
        if self.objective.reads_aggregate(progress):
            aggregate = self.model.aggregate(x, self.noise_generator)
            draw = replace(draw, aggregate=aggregate)
        latent = self.objective.bound(draw, progress)
        of_batch = self.objective.of_batch(draw, progress)
        objective = draw.closed_form.mix(latent).mean() + of_batch
        with torch.no_grad():
            bound = draw.closed_form.mix(draw.log_mean_w).mean()
            if draw.critic_loss is not None:
                bound = bound * math.nan  # of a critic's estimates, it is none
            kl = (draw.log_q_z - draw.log_p_z).mean() if draw.kl is None else draw.kl
            each = [objective, bound, draw.log_p_x.mean(), kl.mean()]
            terms = share * torch.stack(each).double()
        norm = self.flat.set_gradient(
            -share * objective, self.schedule.clip_norm, self.parallel, terms
        )
        if self.critic is not None and draw.critic_loss is not None:
            norm = norm + self.critic.set_gradient(
                share * draw.critic_loss, self.schedule.clip_norm, self.parallel
            )
        if not torch.isfinite(terms[0] + norm):
            return None  # before the optimiser has seen the gradient
        rate = self._learning_rate(self.n_steps)
        self.optimiser.step(rate)
        self.average.update()
        self.n_steps += 1
        return terms

    def _learning_rate(self, step: int) -> float:
        """Return the schedule's rate, halved once for every recovery."""
        n_steps = self.steps_per_epoch * self.schedule.n_epochs
        return self.rate_factor * self.schedule.learning_rate_at(step, n_steps)

    def _validation(self) -> Validation:
        """Return the validation rows and the noise by which they are scored."""
        # A bound of few draws prefers weights that were trained with few draws, as in
        # the first part of the training. So at least as many draws as in its last.
        n_draws = max(VALIDATION_DRAWS, self.objective.n_draws(1.0))
        x = self.data.x_valid
        noise = x.new_empty(n_draws, len(x), self.noise_dim)
        noise.normal_(generator=self.noise_generator)
        return Validation(x, self.data.weight_valid, noise, self.data.companion_log_p)

    def latent_log_p(self) -> Tensor:
        """Return a tight bound of each validation row, without the companion.

        It is that of the model as it is. What a companion's share rests on must not be
        lower than the truth because draws were few.
        """
        x = self.data.x_valid
        if not len(x):
            return torch.zeros(0, dtype=torch.float64)
        n_draws = max(self.validation.noise.shape[0], SHARE_DRAWS // len(x))
        noise = x.new_empty(min(n_draws, MOST_SHARE_DRAWS), len(x), self.noise_dim)
        generator = torch.Generator(self.device).manual_seed(0)
        noise.normal_(generator=generator)
        return self._shared(self.validation.latent_log_p(self.model, noise))

    def _shared(self, values: Tensor) -> Tensor:
        """Return the first process's values: decisions by them are the same in all."""
        if self.parallel is not None:
            self.parallel.share(values)
        return values

    def _new_optimiser(self) -> AdamW:
        """Return AdamW with weight decay for the networks' weight matrices alone."""
        decay, groups = self.schedule.weight_decay, []
        for flat, rate in ((self.flat, 1.0), (self.critic, CRITIC_RATE)):
            if flat is not None:
                groups.append(ParameterGroup(flat.decayed, decay, rate))
                groups.append(ParameterGroup(flat.others, 0.0, rate))
        return AdamW(tuple(groups))

    def _remember_good(self) -> None:
        """Remember the present weights as those to which `_recover` goes back."""
        self._good = [p.detach().clone() for p in self.model.parameters()]

    def _recover(self) -> None:
        """Go back to the last good weights, with half the learning rate."""
        self._set_parameters(self._good)
        self.outcome.n_recoveries += 1
        self.rate_factor *= 0.5
        # The old optimiser's moments belong to steps that are undone.
        self.optimiser = self._new_optimiser()
        self.average.reset()

    def _settle(self) -> None:
        """Give the model its best weights; earlier ones if these cannot be used."""
        outcome, good = self.outcome, self._good
        self.model.load_state_dict(self.best_state())
        if not self._gives_numbers():
            outcome.n_recoveries += 1
            outcome.best_epoch = len(outcome.history)
            self._set_parameters(good)
            if not self._gives_numbers():
                outcome.best_epoch = 0
                self._set_parameters(self._start)
        self._final = copy.deepcopy(dict(self.model.state_dict()))

    def _set_parameters(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.model.parameters()), values)

    @torch.no_grad()
    def _gives_numbers(self) -> bool:
        """Whether some rows have a log-density, and rows can be drawn."""
        generator = torch.Generator(self.device).manual_seed(0)
        n_rows = min(N_PROBES, len(self.data.x))
        x = self.data.x[torch.arange(n_rows, device=self.device)]
        noise = x.new_empty(1, len(x), self.noise_dim).normal_(generator=generator)
        draw = self.model.draw(x, noise, cells=OneGenerator(generator))
        given = x[:, self.model.n_features :]
        drawn = self.model.generate(
            len(x), generator, given if given.shape[1] else None
        )
        log_p = draw.closed_form.mix(draw.log_mean_w)
        return not log_p.isnan().any() and bool(drawn.isfinite().all())

    def _validate(self, epoch: int) -> float:
        """Score live and averaged weights; return the better score.

        The score is nan where there are no validation rows.
        """
        if not len(self.validation):
            return math.nan
        best = self._keep_if_best(epoch)
        if epoch and best > -math.inf:  # at epoch 0 both are the start
            with self.average.swapped_in():
                best = max(best, self._keep_if_best(epoch))
        return best

    def _keep_if_best(self, epoch: int) -> float:
        """Score the model's weights, and copy them if their score is the highest."""
        latent = self._shared(self.validation.latent_log_p(self.model))
        alone = self.validation.mean(latent)
        if alone > self.best_latent:
            self.best_latent, self._bounds = alone, (self._bounds[0], latent)
        log_p = self.validation.with_companion(latent)
        evidence = self.validation.mean(log_p)
        if evidence > self.best_evidence:
            self.best_evidence, self._bounds = evidence, (log_p, self._bounds[1])
            self.outcome.best_epoch = epoch
            self._best = copy.deepcopy(dict(self.model.state_dict()))
        return evidence
