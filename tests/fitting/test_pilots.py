"""The record of the short trainings by which "auto" chooses decoder and margins."""

import math

import numpy as np
import pytest

from skvae import AutoregressiveDecoder, MLPDecoder, VAEDensity
from tests.conftest import QUICK

AUTO = {**QUICK, "decoder": "auto", "max_iter": 30}


@pytest.fixture(scope="module")
def chosen(table: np.ndarray) -> VAEDensity:
    return VAEDensity(**AUTO).fit(table)


def test_every_pilot_is_recorded(chosen: VAEDensity) -> None:
    tried = [(pilot["decoder"], pilot["margins"]) for pilot in chosen.pilots_]
    decoders = ("mlp", "autoregressive")
    assert tried == [(d, margins) for d in decoders for margins in (None, "normal")]
    for pilot in chosen.pilots_:
        assert math.isfinite(pilot["evidence"])
        assert pilot["error"] > 0
        assert pilot["n_epochs"] == 6
        assert pilot["seconds"] > 0


def test_the_pilot_that_was_chosen_is_that_of_the_model(chosen: VAEDensity) -> None:
    (winner,) = (pilot for pilot in chosen.pilots_ if pilot["chosen"])
    classes = {"mlp": MLPDecoder, "autoregressive": AutoregressiveDecoder}
    assert type(chosen.decoder_) is classes[winner["decoder"]]
    has_maps = any(monotone is not None for monotone in chosen.columns_.maps)
    assert has_maps == (winner["margins"] == "normal")


def test_a_later_pilot_wins_by_one_error_of_its_lead(chosen: VAEDensity) -> None:
    first, *others = chosen.pilots_
    assert math.isnan(first["lead"])
    winner = max(i for i, pilot in enumerate(chosen.pilots_) if pilot["chosen"])
    for i, pilot in enumerate(others, 1):
        ahead = pilot["lead"] > pilot["lead_error"]
        assert ahead if i == winner else not ahead or i < winner
    lead = others[0]["evidence"] - first["evidence"]
    assert others[0]["lead"] == pytest.approx(lead)


def test_evidence_of_pilots_is_in_the_units_of_the_input(
    chosen: VAEDensity, table: np.ndarray
) -> None:
    scaled = VAEDensity(**AUTO).fit(table * [4.0, 0.5, 8.0])
    for a, b in zip(chosen.pilots_, scaled.pilots_, strict=True):
        assert b["evidence"] == pytest.approx(a["evidence"] - math.log(16), abs=1e-3)


def test_without_a_choice_there_are_no_pilots() -> None:
    named = VAEDensity(**{**QUICK, "marginal_transform": None})
    assert named.fit(np.random.default_rng(0).normal(size=(150, 2))).pilots_ == []


def test_going_on_keeps_the_record(table: np.ndarray) -> None:
    density = VAEDensity(warm_start=True, **QUICK).fit(table)
    pilots = density.pilots_
    assert len(pilots) == 2
    assert density.fit(table).pilots_ == pilots
    assert density.partial_fit(table).pilots_ == pilots
