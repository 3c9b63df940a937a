"""Levels of latents at the face: `n_components=(3, 2)`."""

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvae import LadderPosterior, LadderPrior, MixturePrior, VAEDensity
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.model.spec import registered
from tests.conftest import QUICK
from tests.pairs import covering

# Codes have no density, and no levels above others.
PRIORS = [name for name in registered(PriorSpec) if name != "codebook"]

SMALL = {**QUICK, "marginal_transform": None}


@pytest.fixture(scope="module")
def hierarchical(table: np.ndarray) -> VAEDensity:
    """Return a fitted density of two levels; tests must not change it."""
    return VAEDensity((3, 2), **SMALL).fit(table)


@pytest.mark.parametrize(
    ("prior", "posterior"),
    covering([PRIORS, list(registered(PosteriorSpec))]),
)
def test_one_level_scores_exactly_as_the_flat_model(
    prior: str, posterior: str, table: np.ndarray
) -> None:
    parameters = {**SMALL, "max_iter": 2, "prior": prior, "posterior": posterior}
    flat = VAEDensity(2, **parameters).fit(table[:80])
    ladder = VAEDensity((2,), **parameters).fit(table[:80])
    rows = table[80:90]
    assert_array_equal(ladder.score_samples(rows), flat.score_samples(rows))
    assert_array_equal(ladder.transform(rows), flat.transform(rows))
    assert_array_equal(ladder.sample(5), flat.sample(5))
    assert ladder.history_[0]["objective"] == flat.history_[0]["objective"]


@pytest.mark.parametrize(
    ("prior", "posterior"),
    covering([PRIORS, list(registered(PosteriorSpec))]),
)
def test_every_pair_at_the_top_fits_and_scores(
    prior: str, posterior: str, table: np.ndarray
) -> None:
    density = VAEDensity(
        (2, 1), prior=prior, posterior=posterior, **{**SMALL, "max_iter": 2}
    ).fit(table[:80])
    assert np.isfinite(density.score_samples(table[80:90])).all()
    assert np.isfinite(density.sample(5)).all()


def test_levels_are_named_and_latents_of_all_are_embedded(
    hierarchical: VAEDensity, table: np.ndarray
) -> None:
    assert hierarchical.n_components_ == 5
    assert hierarchical.latent_levels_ == (3, 2)
    latents = hierarchical.transform(table)
    assert latents.shape == (200, 5)
    names = hierarchical.get_feature_names_out()
    assert names.tolist() == [f"vaedensity{i}" for i in range(5)]
    assert hierarchical.inverse_transform(latents).shape == table.shape
    assert isinstance(hierarchical.prior_, LadderPrior)
    assert isinstance(hierarchical.posterior_, LadderPosterior)
    assert isinstance(hierarchical.prior_.top, MixturePrior)


def test_flat_model_has_one_level(density: VAEDensity) -> None:
    assert density.latent_levels_ == (density.n_components_,)


def test_scores_are_those_of_the_row_alone(
    hierarchical: VAEDensity, table: np.ndarray
) -> None:
    table = table[:40]
    together = hierarchical.score_samples(table)
    assert np.isfinite(together).all()
    assert_array_equal(hierarchical.score_samples(table), together)
    alone = np.concatenate([hierarchical.score_samples(row[None]) for row in table[:9]])
    assert_allclose(alone, together[:9], rtol=0, atol=1e-9)
    backwards = hierarchical.score_samples(table[::-1])[::-1]
    assert_allclose(backwards, together, rtol=0, atol=1e-9)


def test_two_fits_with_one_seed_are_equal(
    hierarchical: VAEDensity, table: np.ndarray
) -> None:
    again = clone(hierarchical).fit(table)
    rows = table[:40]
    assert_array_equal(again.score_samples(rows), hierarchical.score_samples(rows))


def test_a_pickle_scores_as_the_original_and_can_be_trained_further(
    hierarchical: VAEDensity, table: np.ndarray
) -> None:
    opened = pickle.loads(pickle.dumps(hierarchical))
    table = table[:40]
    before = hierarchical.score_samples(table)
    assert_array_equal(opened.score_samples(table), before)
    opened.partial_fit(table)
    assert opened.n_iter_ == 4
    assert opened.latent_levels_ == (3, 2)
    assert not np.array_equal(opened.score_samples(table), before)
    assert_array_equal(hierarchical.score_samples(table), before)


def test_samples_are_told_apart_from_the_table_by_no_more_than_chance_allows(
    table: np.ndarray,
) -> None:
    """Means of 5,000 samples, to a fifth of a standard deviation."""
    density = VAEDensity((3, 2), **{**SMALL, "max_iter": 30}).fit(table)
    rows = density.sample(5000, random_state=0)
    assert_allclose(rows.mean(0), table.mean(0), rtol=0, atol=0.2 * table.std(0).max())
    assert_allclose(rows.std(0), table.std(0), rtol=0.2)


def test_health_report_covers_all_latents(
    hierarchical: VAEDensity, table: np.ndarray
) -> None:
    report = hierarchical.diagnose(table)
    assert report.n_components == 5
    assert len(report.latent_kl) == 5


@pytest.mark.parametrize("proposal", ["prior", "encoder", "defensive", "refined"])
def test_every_proposal_reads_a_hierarchical_model(
    proposal: str, hierarchical: VAEDensity, table: np.ndarray
) -> None:
    evidence = hierarchical.evidence(table[:5], proposal=proposal)
    assert np.isfinite(evidence.log_density).all()


def test_nested_parameters_are_those_of_the_top(table: np.ndarray) -> None:
    density = VAEDensity((2, 1), prior=MixturePrior(), **SMALL)
    search = GridSearchCV(
        density,
        {"prior__n_modes": [1, 3], "n_components": [(2, 1), (2,), 2]},
        cv=2,
        error_score="raise",
    ).fit(table[:80])
    scores = search.cv_results_["mean_test_score"].reshape(3, 2)
    assert_array_equal(scores[1], scores[2])
    assert len(np.unique(scores)) == 4
    fitted = density.set_params(prior__n_modes=3).fit(table[:80])
    assert fitted.model_.prior.top.logit.shape == (3,)
    assert fitted.prior.n_modes == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((), r"n_components must not be empty"),
        ((0, 4), r"each of n_components must be an int at least 1, got 0"),
        ((4, 2.0), r"each of n_components must be an int.* got 2\.0"),
        ("x", r"n_components must be .*'auto' or a tuple of int.* got 'x'"),
        ((4, "auto"), r"each of n_components must be an int.* got 'auto'"),
    ],
)
def test_other_levels_are_refused(value: Any, message: str, table: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        VAEDensity(value, **SMALL).fit(table)


@pytest.mark.parametrize("levels", [5, (2, 3), (3, 2, 1)])
def test_warm_start_cannot_change_the_levels(
    levels: Any, hierarchical: VAEDensity, table: np.ndarray
) -> None:
    density = pickle.loads(pickle.dumps(hierarchical))
    density.set_params(warm_start=True, n_components=levels)
    with pytest.raises(ValueError, match=r"differs from the fitted model's \(3, 2\)"):
        density.fit(table)
