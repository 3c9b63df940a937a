"""Codes that no row uses are restarted, and only in the first part of a training."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor

from skvae import CodebookPrior, VAEDensity
from skvae.model.context import LinearStart
from skvae.model.priors.codebook import CodebookPriorModule, SlotPriorModule
from skvae.training import restarts
from tests.conftest import QUICK

SETTINGS = {
    **QUICK,
    "prior": CodebookPrior(8),
    "likelihood": "gaussian",
    "marginal_transform": None,
    "max_iter": 15,
    "batch_size": 64,
}


@pytest.fixture
def crosses() -> np.ndarray:
    """Rows around four points."""
    rng = np.random.default_rng(0)
    return rng.choice([-2.0, 2.0], (400, 2)) + 0.2 * rng.normal(size=(400, 2))


@pytest.fixture
def born_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all codes but one of each slot begin where no row is."""
    for kind in (CodebookPriorModule, SlotPriorModule):
        begin = kind.initialise

        def initialise(self, start: LinearStart, begin=begin) -> None:  # noqa: ANN001
            begin(self, start)
            with torch.no_grad():
                self.codes[:, 1:] += 50.0 + self.codes.new_tensor(range(1, 8))[:, None]

        monkeypatch.setattr(kind, "initialise", initialise)


@pytest.mark.usefixtures("born_dead")
@pytest.mark.parametrize("prior", [CodebookPrior(8), CodebookPrior(8, 2, "auto")])
def test_codes_die_unless_they_are_restarted(
    prior: CodebookPrior, crosses: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = VAEDensity(2, **{**SETTINGS, "prior": prior}).fit(crosses)
    monkeypatch.setattr(restarts, "N_TIMES", 0)
    dead = VAEDensity(2, **{**SETTINGS, "prior": prior}).fit(crosses)
    assert max(dead.diagnose(crosses).code_perplexity) < 1.1
    assert min(alive.diagnose(crosses).code_perplexity) > (4 if prior.n_slots == 1 else 2)
    assert alive.score(crosses) > dead.score(crosses) + 0.5
    again = VAEDensity(2, **{**SETTINGS, "prior": prior})
    monkeypatch.undo()


@pytest.mark.usefixtures("born_dead")
def test_encoders_are_told_of_restarted_codes(crosses: np.ndarray) -> None:
    """There are 8^6 combinations, for which an encoder is trained."""
    settings = {**SETTINGS, "prior": CodebookPrior(8, 6)}
    alive = VAEDensity(6, **settings).fit(crosses)
    assert min(alive.diagnose(crosses).code_perplexity) > 1.5
    assert alive.score(crosses) > -4.2  # of a single Gaussian


def test_a_restart_changes_no_other_row_much(crosses: np.ndarray) -> None:
    """Half of a code's mass, and a vector beside it: log p hardly changes elsewhere."""
    density = VAEDensity(2, **{**SETTINGS, "max_iter": 5}).fit(crosses)
    model = density.model_
    x = torch.as_tensor(density.columns_.to_model(crosses)[0])
    with torch.no_grad():
        before = model.exact_log_prob(x)
        numbers = model.prior.embed(model.encode(x))[:, 0]
        rarest = int(torch.bincount(numbers.long(), minlength=8).argmin())
        source = (rarest + 1) % 8
        gone = model.encode(x).log_weight[:, rarest].exp()
        model.prior.restart(0, source, rarest, model.prior.codes[0, source])
        after = model.exact_log_prob(x)
        mass = model.prior().log_weight.exp()
    assert mass[rarest] == pytest.approx(float(mass[source]))
    # The rows of the code that was given up lose, and all others gain, by its mass.
    assert (after - before)[gone < 1e-3].abs().max() < 0.2


def test_restarts_are_in_the_first_third() -> None:
    calls: list[int] = []

    class Never:
        prior = type("Prior", (), {"n_codes": 4})()

        def parameters(self) -> list[Tensor]:
            return []

    looked = restarts.restart_codes
    try:
        restarts.restart_codes = lambda model, x: calls.append(1) or 0
        of_training = restarts.CodeRestarts(Never(), torch.zeros(3, 1), None, 300)  # type: ignore[arg-type]
        for n_done in range(10, 301, 10):
            of_training.after(n_done, 10, lambda tensor: tensor)
            if n_done == 100:
                early = len(calls)
    finally:
        restarts.restart_codes = looked
    assert early == len(calls) == restarts.N_TIMES
