"""Codes that no row uses are restarted, and only in the first part of a training."""

from typing import cast

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from torch import Tensor

from skvae import CodebookPrior, VAEDensity
from skvae.model import VAE
from skvae.model.context import LinearStart
from skvae.model.priors.codebook import CodebookPriorModule, SlotPriorModule
from skvae.training import restarts
from skvae.training.averaging import WeightAverage
from tests.conftest import QUICK

SETTINGS = {
    **QUICK,
    "prior": CodebookPrior(8),
    "likelihood": "gaussian",
    "marginal_transform": None,
    "max_iter": 12,
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

        def initialise(self, start: LinearStart, begin=begin) -> None:
            begin(self, start)
            with torch.no_grad():
                self.codes[:, 1:] += 50.0 + self.codes.new_tensor(range(1, 8))[:, None]

        monkeypatch.setattr(kind, "initialise", initialise)


@pytest.mark.usefixtures("born_dead")
@pytest.mark.parametrize(
    ("n_components", "prior"),
    [
        (2, CodebookPrior(8)),
        (2, CodebookPrior(8, 2, "autoregressive")),
        # Too many combinations for a sum.
        pytest.param(6, CodebookPrior(8, 6), marks=pytest.mark.slow),
    ],
    ids=["table", "tables", "encoder"],
)
def test_codes_die_unless_they_are_restarted(
    n_components: int,
    prior: CodebookPrior,
    crosses: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    density = VAEDensity(n_components, **{**SETTINGS, "prior": prior})
    alive = clone(density).fit(crosses)
    if n_components == 2:
        again = clone(density).fit(crosses)
        assert_array_equal(again.score_samples(crosses), alive.score_samples(crosses))
    monkeypatch.setattr(restarts, "N_TIMES", 0)
    dead = clone(density).fit(crosses)
    assert max(dead.diagnose(crosses).code_perplexity) < 1.01
    assert max(alive.diagnose(crosses).code_perplexity) > 1.5
    assert alive.score(crosses) > dead.score(crosses) + 0.2


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


def test_restarts_are_in_the_first_third(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Never:
        prior = type("Prior", (), {"n_codes": 4})()

        def parameters(self) -> list[Tensor]:
            return []

    def look(model: object, x: Tensor) -> int:
        calls.append(1)
        return 0

    monkeypatch.setattr(restarts, "restart_codes", look)
    rows, model = torch.zeros(3, 1), cast("VAE", Never())
    average = WeightAverage(model, 0.9)
    of_training = restarts.CodeRestarts(model, rows, average, 300)
    for n_done in range(10, 301, 10):
        of_training.after(n_done, 10, lambda tensor: tensor)
        if n_done == 100:
            early = len(calls)
    assert early == len(calls) == restarts.N_TIMES
