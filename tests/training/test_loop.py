"""The training loop."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae.model import BuildContext, LatentDraw
from skvae.model.backgrounds import StudentTBackground
from skvae.model.spec import registered
from skvae.training import EpochRecord, Trainer
from skvae.training.objectives import ELBO, IWAE, ObjectiveSpec

MakeTrainer = Callable[..., Trainer]


@torch.no_grad()
def validation_bound(trainer: Trainer) -> float:
    """Return the importance-weighted bound on the trainer's validation rows."""
    draw = trainer.model.draw(trainer.data.x_valid, trainer.validation.noise)
    log_w = draw.log_w.double()
    return float((log_w.logsumexp(0) - math.log(len(log_w))).mean())


class BreaksAt(ObjectiveSpec):
    """The ELBO, but nan at some of its calls."""

    def __init__(self, calls: tuple[int, ...]) -> None:
        self.calls = calls
        self.n_calls = 0

    def n_draws(self, progress: float) -> int:
        return 1

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        self.n_calls += 1
        factor = math.nan if self.n_calls in self.calls else 1.0
        return factor * draw.log_w.mean(0)


@pytest.mark.parametrize(
    "objective",
    [
        *(variant() for variant in registered(ObjectiveSpec).values()),
        ELBO(beta=0.5, warmup=0.3, free_bits=0.2),
    ],
    ids=repr,
)
def test_training_improves_the_validation_bound(
    objective: ObjectiveSpec, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(objective, n_epochs=40)
    before = validation_bound(trainer)
    trainer.run()
    assert validation_bound(trainer) > before + 0.1


def test_training_improves_its_own_objective(make_trainer: MakeTrainer) -> None:
    history = make_trainer(n_epochs=40).run().history
    assert history[-1].objective > history[0].objective + 0.1


def test_model_has_the_best_weights_of_the_history(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(n_epochs=60, learning_rate=0.05)
    outcome = trainer.run()
    evidence = [record.evidence for record in outcome.history]
    best = int(np.nanargmax(evidence))
    assert outcome.best_epoch == best + 1
    assert validation_bound(trainer) == pytest.approx(evidence[best], abs=1e-6)
    assert trainer.best_evidence == evidence[best]


@pytest.mark.parametrize(
    ("objective", "n_draws"),
    [(ELBO(), 8), (IWAE(n_samples=4), 8), (IWAE(n_samples=20), 20)],
    ids=repr,
)
def test_weights_are_chosen_by_as_many_draws_as_training_ends_with(
    objective: ObjectiveSpec, n_draws: int, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(objective, n_epochs=2, n_valid=900)
    assert len(trainer.validation.noise) == n_draws
    mean = float(trainer.validation.latent_log_p(trainer.model).mean())
    assert mean == pytest.approx(validation_bound(trainer), abs=1e-5)


def test_averaged_weights_are_kept_where_they_are_better(
    make_trainer: MakeTrainer,
) -> None:
    seen: list[tuple[float, float]] = []

    def compare(record: EpochRecord, trainer: Trainer) -> bool:
        if math.isfinite(record.evidence):
            live = validation_bound(trainer)
            with trainer.average.swapped_in():
                seen.append((live, validation_bound(trainer)))
            assert record.evidence == pytest.approx(max(seen[-1]), abs=1e-6)
        return False

    # A large rate that does not fall: the live weights are noisy.
    trainer = make_trainer(
        n_rows=2048,
        n_valid=2000,
        n_epochs=12,
        batch_size=32,
        learning_rate=0.01,
        decay=False,
        averaging=0.99,
    )
    trainer.run(compare)
    live, averaged = (max(column) for column in zip(*seen, strict=True))
    assert averaged > live
    assert validation_bound(trainer) == pytest.approx(averaged, abs=1e-6)


def test_weight_matrices_of_networks_decay_and_nothing_else_does(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(weight_decay=0.1)
    decayed, others = trainer.optimiser.groups
    assert (decayed.weight_decay, others.weight_decay) == (0.1, 0.0)
    sizes = {True: 0, False: 0}
    for name, parameter in trainer.model.named_parameters():
        is_matrix = name.endswith(("network.output", ".weight"))
        sizes[is_matrix] += parameter.numel()
        vector = (decayed if is_matrix else others).parameter
        # Parameters are views of the optimiser's vectors.
        with torch.no_grad():
            parameter.fill_(7.5)
            assert (vector == 7.5).sum() == parameter.numel(), name
            parameter.fill_(0.25)
    for vector, size in ((decayed, sizes[True]), (others, sizes[False])):
        assert vector.parameter.numel() == size


def test_start_stays_where_training_only_harms(make_trainer: MakeTrainer) -> None:
    class Worse(ELBO):
        def bound(self, draw: LatentDraw, progress: float) -> Tensor:
            return -super().bound(draw, progress)

    trainer = make_trainer(Worse(), n_epochs=5)
    before = validation_bound(trainer)
    outcome = trainer.run()
    assert outcome.best_epoch == 0
    assert validation_bound(trainer) == pytest.approx(before, abs=1e-9)


def test_training_without_validation_rows_ends_with_averaged_weights(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(n_valid=0, n_epochs=5)
    outcome = trainer.run()
    assert outcome.best_epoch == 5
    assert all(math.isnan(record.evidence) for record in outcome.history)
    average = trainer.average.average
    for parameter, expected in zip(trainer.model.parameters(), average, strict=True):
        assert torch.equal(parameter.detach(), expected)


def test_same_seed_gives_the_same_weights(make_trainer: MakeTrainer) -> None:
    one, other = make_trainer(), make_trainer()
    for trainer in (one, other):
        trainer.run()
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_global_random_state_alone(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(n_epochs=2)
    before = torch.get_rng_state()
    trainer.run()
    assert torch.equal(torch.get_rng_state(), before)


def test_learning_rate_rises_linearly_then_falls_along_a_cosine(
    make_trainer: MakeTrainer,
) -> None:
    # One step per epoch, so that the history has the rate of every step.
    trainer = make_trainer(n_epochs=400, batch_size=256, warmup_steps=20)
    rate = np.array([r.learning_rate for r in trainer.run().history]) / 4e-3
    step = np.arange(400)
    cosine = 0.5 * (1 + np.cos(np.pi * step / 400))
    np.testing.assert_allclose(rate[20:], cosine[20:], rtol=1e-9)
    np.testing.assert_allclose(rate[:20] / cosine[:20], (step[:20] + 1) / 20)
    assert rate.argmax() in (19, 20)
    assert rate[-1] < 1e-4


def test_learning_rate_without_decay_is_constant_after_the_warm_up(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(n_epochs=40, batch_size=256, warmup_steps=3, decay=False)
    rate = [record.learning_rate for record in trainer.run().history]
    assert rate[:2] == pytest.approx([4e-3 / 3, 8e-3 / 3])
    assert rate[2:] == pytest.approx([4e-3] * 38)


def test_training_stops_when_the_score_stops_improving(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(n_epochs=50, tol=1e3, patience=3)
    outcome = trainer.run()
    assert outcome.stopped_early
    assert len(outcome.history) == 4


def test_training_in_parts_is_the_training_in_one_go(
    make_trainer: MakeTrainer,
) -> None:
    whole, parts = make_trainer(n_epochs=12), make_trainer(n_epochs=12)
    whole.run()
    for epoch in (1, 2, 2, 7):
        parts.advance(epoch)
        assert len(parts.outcome.history) == epoch
        assert not parts.ended
    outcome = parts.run()
    assert parts.ended
    for ours, theirs in zip(outcome.history, whole.outcome.history, strict=True):
        assert ours.objective == theirs.objective
    for a, b in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_best_bounds_are_those_of_the_best_weights(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(n_epochs=30, learning_rate=0.05)
    trainer.advance(30)
    best = trainer.best_log_p
    assert float(best.mean()) == pytest.approx(trainer.best_evidence)
    trainer.run()  # nothing is left but to take the best weights
    assert torch.equal(trainer.validation.latent_log_p(trainer.model), best)


def test_callback_sees_every_epoch_and_can_stop(make_trainer: MakeTrainer) -> None:
    seen: list[int] = []

    def stop_at_three(record: EpochRecord, trainer: Trainer) -> bool:
        seen.append(record.epoch)
        return record.epoch == 3

    outcome = make_trainer().run(stop_at_three)
    assert seen == [1, 2, 3]
    assert len(outcome.history) == 3
    assert not outcome.stopped_early


def test_interrupt_leaves_the_best_weights_so_far(make_trainer: MakeTrainer) -> None:
    def interrupt(record: EpochRecord, trainer: Trainer) -> bool:
        if record.epoch == 4:
            raise KeyboardInterrupt
        return False

    trainer = make_trainer(n_epochs=20)
    outcome = trainer.run(interrupt)
    assert outcome.interrupted
    assert validation_bound(trainer) == pytest.approx(trainer.best_evidence, abs=1e-6)


def test_step_that_is_not_a_number_is_undone_at_half_the_rate(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(BreaksAt((10, 11)), n_epochs=10, decay=False, warmup_steps=1)
    outcome = trainer.run()
    assert outcome.n_recoveries == 2
    assert outcome.history[-1].learning_rate == pytest.approx(4e-3 / 4)
    assert math.isnan(outcome.history[2].objective)
    assert math.isfinite(outcome.history[-1].objective)
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_recovery_goes_back_to_the_last_good_epoch(make_trainer: MakeTrainer) -> None:
    weights: dict[int, list[Tensor]] = {}

    def remember(record: EpochRecord, trainer: Trainer) -> bool:
        weights[record.epoch] = [p.detach().clone() for p in trainer.model.parameters()]
        return False

    # Four steps an epoch: the tenth is in the middle of the third.
    make_trainer(BreaksAt((10,)), n_epochs=4).run(remember)
    for good, recovered in zip(weights[2], weights[3], strict=True):
        assert torch.equal(good, recovered)
    assert any(
        not torch.equal(a, b) for a, b in zip(weights[3], weights[4], strict=True)
    )


def test_training_that_never_is_a_number_ends_at_the_start(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(BreaksAt(tuple(range(1, 1000))), n_epochs=100)
    before = validation_bound(trainer)
    outcome = trainer.run()
    assert len(outcome.history) < 100
    assert outcome.best_epoch == 0
    assert validation_bound(trainer) == pytest.approx(before, abs=1e-9)


def test_history_is_of_the_parts_of_the_bound(make_trainer: MakeTrainer) -> None:
    for record in make_trainer(n_epochs=3).run().history:
        assert record.objective == pytest.approx(
            record.reconstruction - record.kl, abs=1e-4
        )
        assert record.kl > 0
        assert record.seconds > 0


def test_history_has_the_bound_beside_a_weighted_objective(
    make_trainer: MakeTrainer,
) -> None:
    """Of the start: the learning rate is so small that the weights stay there."""
    records = {}
    for objective in (ELBO(), ELBO(beta=0.25, released=0.5)):
        trainer = make_trainer(objective, n_epochs=4, learning_rate=1e-12)
        records[objective.beta] = trainer.run().history
    for plain, weighted in zip(records[1.0], records[0.25], strict=True):
        assert weighted.bound == pytest.approx(plain.bound, abs=1e-6)
        assert plain.objective == pytest.approx(plain.bound, abs=0.1)
        beta = 0.25 if weighted.epoch <= 2 else 1.0
        expected = weighted.reconstruction - beta * weighted.kl
        assert weighted.objective == pytest.approx(expected, abs=1e-5)
    assert records[0.25][0].objective > records[0.25][0].bound + 0.3


def test_history_has_the_importance_weighted_bound(make_trainer: MakeTrainer) -> None:
    for record in (
        make_trainer(IWAE(n_samples=3, first_part=0), n_epochs=2).run().history
    ):
        assert record.bound == pytest.approx(record.objective, abs=1e-6)


def test_training_asks_for_path_gradients_where_the_objective_does(
    make_trainer: MakeTrainer,
) -> None:
    seen = []

    class Watched(ELBO):
        alias = ""

        def bound(self, draw: LatentDraw, progress: float) -> Tensor:
            seen.append((progress, draw.kl is None))
            return super().bound(draw, progress)

    class WatchedPath(Watched):
        path_gradient = True

    make_trainer(Watched(), n_epochs=2).run()
    make_trainer(WatchedPath(), n_epochs=2).run()
    steps = [i / 8 for i in range(8)]
    assert seen == [*((p, False) for p in steps), *((p, True) for p in steps)]


def test_bounds_are_mixed_with_the_background(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    x = trainer.data.x_valid
    latent = trainer.validation.latent_log_p(trainer.model).numpy()
    context = BuildContext(
        n_features=2,
        n_components=1,
        n_rows=len(x),
        hidden_layer_sizes=(),
        dropout=0.0,
        scale_floor=torch.full((2,), 1e-3),
        column_scale=torch.ones(2),
        generator=torch.Generator(),
    )
    background = StudentTBackground(weight=0.2).build(context)
    background.initialise(x, torch.ones(len(x)))
    trainer.model.background = background
    share = math.log(0.2) + background.log_prob(x).numpy()
    expected = np.logaddexp(math.log(0.8) + latent, share)
    np.testing.assert_allclose(
        trainer.validation.latent_log_p(trainer.model), expected, atol=1e-6
    )
