"""The race by which "auto" chooses decoder and margins."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

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
        assert pilot["chosen"] or 0 < pilot["n_epochs"] <= 6
        assert pilot["seconds"] > 0


def test_the_pilot_that_was_chosen_is_that_of_the_model(chosen: VAEDensity) -> None:
    (winner,) = (pilot for pilot in chosen.pilots_ if pilot["chosen"])
    classes = {"mlp": MLPDecoder, "autoregressive": AutoregressiveDecoder}
    assert type(chosen.decoder_) is classes[winner["decoder"]]
    has_maps = any(monotone is not None for monotone in chosen.columns_.maps)
    assert has_maps == (winner["margins"] == "normal")


def test_all_but_the_chosen_pilot_left_behind_a_better_one(
    chosen: VAEDensity,
) -> None:
    for pilot in chosen.pilots_:
        if pilot["chosen"]:
            assert math.isnan(pilot["lead"])
        else:
            # A more flexible one stays only if it is ahead by one standard error.
            assert pilot["lead"] <= pilot["lead_error"]


def test_the_fit_is_that_of_the_chosen_pilot_by_name(
    chosen: VAEDensity, table: np.ndarray
) -> None:
    (winner,) = (pilot for pilot in chosen.pilots_ if pilot["chosen"])
    named = VAEDensity(
        **{**AUTO, "decoder": chosen.decoder_, "marginal_transform": winner["margins"]}
    ).fit(table)
    assert named.n_iter_ == chosen.n_iter_
    assert_array_equal(named.score_samples(table), chosen.score_samples(table))
    history = [record["objective"] for record in named.history_]
    assert [record["objective"] for record in chosen.history_] == history


@pytest.mark.parametrize("early_steps", [0, 400])
def test_a_hopeless_candidate_leaves_once_it_has_had_its_chance(
    early_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lognormal columns are linear only after the map to normal scores."""
    monkeypatch.setattr("skvae.fitting.race.EARLY_STEPS", early_steps)
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(2000, 1))
    table = np.exp(2 * (latent + 0.3 * rng.normal(size=(2000, 3))))
    density = VAEDensity(**{**QUICK, "max_iter": 100}).fit(table)
    raw, normal = density.pilots_
    assert normal["chosen"]
    # Plain margins start slowly: the others cannot drive them out in the first steps.
    assert raw["n_epochs"] == 10 if early_steps else raw["n_epochs"] < 10
    assert raw["lead"] < -2 * raw["lead_error"]


def test_tables_with_thin_directions_are_whitened_if_that_is_better() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(600, 2))
    thin = np.c_[wide, wide.sum(1) + 1e-3 * rng.normal(size=600)]
    settings = {**QUICK, "max_iter": 30}
    pilots = VAEDensity(**settings).fit(thin).pilots_
    assert [pilot["margins"] for pilot in pilots] == [None, "normal", "whitened"]
    assert pilots[2]["chosen"]
    assert pilots[0]["lead"] < -2 * pilots[0]["lead_error"]
    # Neither noise in the third column nor a constant one is a thin direction.
    for third in (wide.sum(1) + rng.normal(size=600), np.ones(600)):
        pilots = VAEDensity(**settings).fit(np.c_[wide, third]).pilots_
        assert [pilot["margins"] for pilot in pilots] == [None, "normal"]


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
