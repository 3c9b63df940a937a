"""What VAEDensity's methods return."""

import copy
import dataclasses
import itertools
import pickle
import sys
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import is_outlier_detector
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags

import skvae
from skvae import (
    Bounds,
    DefensiveProposal,
    Evidence,
    LadderPrior,
    MixturePrior,
    NormalPrior,
    PriorProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
    VAEDensity,
)
from tests.conftest import QUICK


def test_fit_returns_the_estimator_and_sets_attributes(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK)
    assert density.fit(table) is density
    assert density.n_features_in_ == 3
    assert density.n_components_ == 3
    assert density.n_iter_ == 3
    assert density.best_iter_ in range(4)
    assert not hasattr(density, "feature_names_in_")
    families = ["prior", "posterior", "decoder", "likelihood", "objective"]
    assert [getattr(density, f"{family}_").family for family in families] == families
    assert all(p.device.type == "cpu" for p in density.model_.parameters())
    assert all(p.dtype == torch.float64 for p in density.model_.parameters())


def test_fit_sets_no_parameter(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK)
    before = density.get_params()
    density.fit(table)
    assert density.get_params() == before


def test_partial_fit_returns_the_estimator(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK)
    assert density.partial_fit(table) is density


def test_scores_are_a_float64_vector(density: VAEDensity, table: np.ndarray) -> None:
    scores = density.score_samples(table[:7])
    assert isinstance(scores, np.ndarray)
    assert scores.shape == (7,)
    assert scores.dtype == np.float64
    assert type(density.score(table)) is float
    evidence = density.evidence(table)  # at a tolerance that is as coarse
    assert density.score(table) == pytest.approx(evidence.unbiased().mean())
    assert density.score(table, None) == density.score(table)


def test_scoring_changes_nothing(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(table)
    before = pickle.dumps(density)
    density.score(table)
    density.evidence(table, random_state=1)
    density.transform(table)
    density.sample(3)
    assert pickle.dumps(density) == before


# Evidence


def test_evidence_is_a_frozen_record_of_vectors(
    density: VAEDensity, table: np.ndarray
) -> None:
    evidence = density.evidence(table[:9])
    assert isinstance(evidence, Evidence)
    names = [field.name for field in dataclasses.fields(evidence)]
    assert names == [
        "log_density",
        "standard_error",
        "bias",
        "effective_sample_size",
        "pareto_k",
        "n_samples",
        "n_stages",
        "background_share",
        "companion_share",
        "unreliable",
    ]
    assert all(getattr(evidence, name).shape == (9,) for name in names)
    types = {name: getattr(evidence, name).dtype for name in names}
    assert types.pop("n_samples") == types.pop("n_stages") == np.int64
    assert types.pop("unreliable") == np.bool_
    assert set(types.values()) == {np.dtype(np.float64)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        evidence.log_density = None  # type: ignore[misc]


def test_score_samples_is_the_log_density_of_the_evidence(
    density: VAEDensity, table: np.ndarray
) -> None:
    evidence = density.evidence(table)
    assert_array_equal(evidence.log_density, density.score_samples(table))


def test_diagnostics_are_within_their_ranges(
    density: VAEDensity, table: np.ndarray
) -> None:
    far = table + 100
    for rows in (table, far):
        evidence = density.evidence(rows)
        assert (evidence.standard_error >= 0).all()
        assert (evidence.effective_sample_size >= 1).all()
        assert (evidence.effective_sample_size <= evidence.n_samples).all()
        assert set(evidence.n_samples) <= {16, 24}
        assert set(evidence.n_stages) <= {1, 2, 3, 4, 5}
        assert (evidence.background_share >= 0).all()
        assert (evidence.background_share <= 1).all()


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_rows_with_a_large_error_get_more_samples(
    density: VAEDensity, table: np.ndarray
) -> None:
    density = copy.deepcopy(density).set_params(n_importance_samples=32)

    def read(tol: float) -> Evidence:
        return density.evidence(table, tol=tol, max_samples=1024, proposal="defensive")

    few, many = read(1e9), read(1e-6)
    # The error of a row that is the background's matters little.
    latent = many.background_share < 0.5
    assert (many.n_samples[latent] == 1024).all()
    # A heavy tail asks for more, whatever the tolerance.
    light = few.n_samples < 1024
    assert light.any()
    middle = float(np.median(few.standard_error[light]))
    mixed = read(middle)
    means = [read.n_samples[light].mean() for read in (few, mixed, many)]
    assert means[0] < means[1] <= means[2]
    assert np.median(many.standard_error[light]) < middle


def test_tolerance_decides_how_many_stages_a_row_goes_through(
    density: VAEDensity, table: np.ndarray
) -> None:
    loose, tight = (
        density.evidence(table, tol=tol, max_samples=2048) for tol in (1.0, 0.02)
    )
    assert loose.n_stages.mean() < tight.n_stages.mean()
    assert loose.n_samples.mean() < tight.n_samples.mean()
    assert np.median(tight.standard_error) < np.median(loose.standard_error)


def test_stated_proposal_is_the_only_stage(
    density: VAEDensity, table: np.ndarray
) -> None:
    evidence = density.evidence(table, tol=1e-6, proposal="encoder")
    assert (evidence.n_stages == 1).all()


def test_evidence_of_few_samples_is_allowed(
    density: VAEDensity, table: np.ndarray
) -> None:
    evidence = density.evidence(table, max_samples=1)
    assert set(evidence.n_samples) == {2}  # one in each half
    assert np.isfinite(evidence.log_density).all()
    assert np.isnan(evidence.standard_error).all()


@pytest.fixture(scope="module")
def one_latent() -> tuple[VAEDensity, np.ndarray]:
    table = np.random.default_rng(0).normal(size=(200, 2))
    settings = {**QUICK, "max_iter": 20, "max_evidence_samples": 4096}
    return VAEDensity(1, **settings).fit(table), table


@pytest.fixture(scope="module")
def plain(one_latent: tuple[VAEDensity, np.ndarray]) -> Evidence:
    """Return what the default stages say of the rows of `one_latent`."""
    density, table = one_latent
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The log-density of")
        return density.evidence(table, tol=0.01)


@pytest.mark.filterwarnings("ignore:The log-density of")
@pytest.mark.parametrize(
    "proposal",
    [
        "prior",
        "encoder",
        "defensive",
        "refined",
        "quadrature",
        DefensiveProposal(prior_share=0.5),
        RefinedProposal(n_steps=2, n_rounds=1),
        QuadratureProposal(n_points=2048),
    ],
    ids=str,
)
def test_every_proposal_estimates_the_same_density(
    proposal: str | Proposal, one_latent: tuple[VAEDensity, np.ndarray], plain: Evidence
) -> None:
    """Errors exceed five standard errors for one row in 1.7 million, if normal.

    And if they are independent; 2 % of the rows leave room for heavy tails.
    """
    density, table = one_latent
    other = density.evidence(table, tol=0.01, proposal=proposal)
    error = np.hypot(plain.standard_error, other.standard_error)
    difference = np.abs(plain.log_density - other.log_density)
    assert (difference > 5 * error + 1e-3).mean() < 0.02
    assert (difference[plain.background_share < 0.9] > 0).any()


def test_string_stands_for_a_proposal_with_its_defaults(
    density: VAEDensity, table: np.ndarray
) -> None:
    for name, proposal in {
        "prior": PriorProposal(),
        "defensive": DefensiveProposal(),
        "refined": RefinedProposal(),
    }.items():
        by_name = density.evidence(table[:20], proposal=name)
        by_object = density.evidence(table[:20], proposal=proposal)
        assert_array_equal(by_name.log_density, by_object.log_density)


def test_evidence_leaves_the_proposal_as_it_is(
    density: VAEDensity, table: np.ndarray
) -> None:
    proposal = DefensiveProposal(prior_share=0.2)
    before = vars(proposal).copy()
    density.evidence(table[:5], proposal=proposal)
    assert vars(proposal) == before


def test_too_many_latents_for_quadrature_are_an_error(
    density: VAEDensity, table: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"has 3\. Use proposal='refined'"):
        density.evidence(table[:5], proposal="quadrature")


def test_repeats_differ_and_agree_within_their_errors(
    one_latent: tuple[VAEDensity, np.ndarray],
) -> None:
    density, table = one_latent
    repeats = [density.evidence(table, random_state=s) for s in (0, 1, 2**31)]
    for one, other in itertools.combinations(repeats, 2):
        error = np.hypot(one.standard_error, other.standard_error)
        difference = np.abs(one.log_density - other.log_density)
        assert (difference > 0).mean() > 0.9
        assert (difference > 4 * error + 1e-6).mean() < 0.01
    again = density.evidence(table, random_state=1)
    assert_array_equal(again.log_density, repeats[1].log_density)
    scores = density.score_samples(table)
    assert all((one.log_density != scores).any() for one in repeats)


def test_bounds_are_a_frozen_record_below_the_log_density(
    one_latent: tuple[VAEDensity, np.ndarray],
) -> None:
    """In mean over 200 rows, within 4 standard errors; IWAE₁ is the ELBO itself."""
    density, table = one_latent
    bounds = density.bounds(table, [1, 5, 50])
    assert isinstance(bounds, Bounds)
    assert bounds.n_samples == (1, 5, 50)
    assert bounds.elbo.shape == (200,)
    assert bounds.iwae.shape == (3, 200)
    assert bounds.elbo.dtype == bounds.iwae.dtype == np.float64
    assert_array_equal(bounds.iwae[0], bounds.elbo)
    gap = density.score_samples(table) - bounds.iwae
    assert (gap.mean(1) > -4 * gap.std(1) / 200**0.5).all()
    assert gap[0].mean() > gap[2].mean()
    assert abs(gap[2].mean()) < 0.1
    with pytest.raises(dataclasses.FrozenInstanceError):
        bounds.elbo = None  # type: ignore[misc]


def test_bounds_repeat_unless_the_seed_differs(
    density: VAEDensity, table: np.ndarray
) -> None:
    plain, again = (density.bounds(table) for _ in range(2))
    other = density.bounds(table, random_state=1)
    assert_array_equal(plain.iwae, again.iwae)
    assert (plain.elbo != other.elbo).any()
    part = density.bounds(table[5:9])
    assert_allclose(part.iwae, plain.iwae[:, 5:9], rtol=1e-9)


@pytest.mark.parametrize("n_samples", [[0], [5, -1], [2.5], ["5"], [True]], ids=repr)
def test_bad_numbers_of_a_bound_are_an_error(
    n_samples: list[Any], density: VAEDensity, table: np.ndarray
) -> None:
    message = "each of n_samples must be an int at least 1"
    with pytest.raises((TypeError, ValueError), match=message):
        density.bounds(table, n_samples)


# Samples, latents, means


@pytest.mark.parametrize("n_samples", [1, 5, 8193])
def test_samples_have_the_tables_columns(n_samples: int, density: VAEDensity) -> None:
    rows = density.sample(n_samples)
    assert rows.shape == (n_samples, 3)
    assert rows.dtype == np.float64


def test_samples_are_one_row_by_default(density: VAEDensity) -> None:
    assert density.sample().shape == (1, 3)
    assert density.sample(np.int64(4)).shape == (4, 3)


def test_samples_have_the_tables_location_and_scale(table: np.ndarray) -> None:
    density = VAEDensity(**{**QUICK, "max_iter": 30}).fit(table)
    rows = density.sample(5000)
    spread = table.std(0)
    assert_allclose(np.median(rows, 0), np.median(table, 0), atol=0.3 * spread.max())
    assert_allclose((rows.mean(0) - table.mean(0)) / spread, 0, atol=0.25)
    assert_allclose(rows.std(0) / spread, 1, atol=0.25)


def test_latents_have_one_column_per_component(table: np.ndarray) -> None:
    density = VAEDensity(2, **QUICK).fit(table)
    latents = density.transform(table)
    assert latents.shape == (200, 2)
    assert latents.dtype == np.float64
    names = density.get_feature_names_out()
    assert names.tolist() == ["vaedensity0", "vaedensity1"]
    means = density.inverse_transform(latents)
    assert means.shape == table.shape
    assert means.dtype == np.float64


def test_more_latents_than_columns_are_allowed(table: np.ndarray) -> None:
    density = VAEDensity(5, **QUICK).fit(table)
    assert density.n_components_ == 5
    assert density.transform(table).shape == (200, 5)
    assert np.isfinite(density.score(table))


def test_fit_transform_is_fit_then_transform(table: np.ndarray) -> None:
    at_once = VAEDensity(**QUICK).fit_transform(table)
    assert_array_equal(at_once, VAEDensity(**QUICK).fit(table).transform(table))


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_rows_on_a_plane_survive_the_round_trip(
    marginal_transform: str | None, posterior: str
) -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))
    table = 5 + plane + 0.02 * rng.normal(size=plane.shape)
    density = VAEDensity(
        2,
        posterior=posterior,
        prior="normal",
        likelihood="gaussian",
        marginal_transform=marginal_transform,
        **{**QUICK, "max_iter": 40},
    ).fit(table)
    back = density.inverse_transform(density.transform(table))
    lost = np.square(back - table).mean(0) / table.var(0)
    assert lost.max() < 0.05


def test_a_round_trip_is_close_on_a_curve() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(-1.5, 1.5, 800)
    table = np.c_[np.sin(angle), np.cos(angle), angle] * [1, 10, 100]
    density = VAEDensity(1, **{**QUICK, "max_iter": 80}).fit(table)
    back = density.inverse_transform(density.transform(table))
    lost = np.square(back - table).mean(0) / table.var(0)
    assert lost.max() < 0.1


# Zeros and ones


@pytest.fixture(scope="module")
def binary_density(binary_table: np.ndarray) -> VAEDensity:
    return VAEDensity(
        likelihood="bernoulli",
        **{**QUICK, "max_iter": 60, "max_evidence_samples": 2048, "batch_size": 64},
    ).fit(binary_table)


CUBE = np.array(list(itertools.product([0.0, 1.0], repeat=4)))


def test_log_masses_of_binary_rows_sum_to_one(binary_density: VAEDensity) -> None:
    log_mass = binary_density.evidence(CUBE, tol=0.005).log_density
    assert (log_mass <= 0).all()
    assert np.exp(log_mass).sum() == pytest.approx(1, abs=0.02)


def test_log_masses_of_binary_rows_follow_their_frequencies(
    binary_density: VAEDensity, binary_table: np.ndarray
) -> None:
    frequency = (binary_table[:, None] == CUBE).all(-1).mean(0)
    mass = np.exp(binary_density.score_samples(CUBE))
    # Half the distance is the largest error of any event's probability.
    assert 0.5 * np.abs(mass - frequency).sum() < 0.12
    independent = np.where(CUBE == 1, binary_table.mean(0), 1 - binary_table.mean(0))
    gap = 0.5 * np.abs(independent.prod(1) - frequency).sum()
    assert 0.5 * np.abs(mass - frequency).sum() < gap


def test_samples_of_binary_columns_are_zeros_and_ones(
    binary_density: VAEDensity, binary_table: np.ndarray
) -> None:
    rows = binary_density.sample(4000)
    assert set(np.unique(rows)) == {0.0, 1.0}
    # The share of ones among 4,000 has a standard deviation below 0.008; the fit
    # itself may be off by a few per cent.
    assert_allclose(rows.mean(0), binary_table.mean(0), atol=0.08)


def test_means_of_binary_columns_are_probabilities(
    binary_density: VAEDensity, binary_table: np.ndarray
) -> None:
    latents = binary_density.transform(binary_table)
    means = binary_density.inverse_transform(latents)
    assert ((means > 0) & (means < 1)).all()


@pytest.mark.parametrize("convert", [bool, int, np.float32])
def test_binary_columns_may_have_any_type(
    convert: Any, binary_density: VAEDensity, binary_table: np.ndarray
) -> None:
    assert_array_equal(
        binary_density.score_samples(binary_table.astype(convert)),
        binary_density.score_samples(binary_table),
    )


# Size and place


def test_memory_does_not_grow_with_rows_times_samples() -> None:
    rng = np.random.default_rng(0)
    # No row needs a search, which would take most of the time.
    table = rng.normal(size=(25_000, 2)).clip(-2, 2)
    settings = {**QUICK, "hidden_layer_sizes": (4,), "n_importance_samples": 8}
    settings = {**settings, "max_evidence_samples": 8, "evidence_tol": 1e9}
    density = VAEDensity(1, background=None, **settings).fit(table[:200])
    density.score_samples(table[:10])
    tracemalloc.start()
    density.score_samples(table)
    _, numpy_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Eight vectors of results, and blocks: a table of rows × samples would be 1.6 MB
    # for each of a dozen temporaries, a copy of the table 0.4 MB.
    assert numpy_peak < 4e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_scoring_many_rows_takes_little_resident_memory() -> None:
    import resource

    rng = np.random.default_rng(0)
    table = rng.normal(size=(200_000, 5))
    density = VAEDensity(**{**QUICK, "n_importance_samples": 64}).fit(table[:500])
    density.score_samples(table[:20_000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    density.score_samples(table)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Weights of all rows and samples alone would be 102 MB.
    assert after - before < 60_000


def test_auto_is_the_cpu_where_there_is_no_gpu(
    table: np.ndarray, density: VAEDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cpu = VAEDensity(device="cpu", **QUICK).fit(table)
    auto = VAEDensity(device="auto", **QUICK).fit(table)
    assert_array_equal(cpu.score_samples(table), auto.score_samples(table))
    assert_array_equal(cpu.sample(5), auto.sample(5))


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "auto"])
def test_a_model_fitted_on_a_gpu_opens_and_scores_without_one(
    device: str, table: np.ndarray
) -> None:
    fitted = VAEDensity(device=device, **QUICK).fit(table)
    assert all(p.device.type == "cpu" for p in fitted.model_.parameters())
    opened = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
    assert_allclose(
        opened.score_samples(table), fitted.score_samples(table), rtol=0, atol=1e-6
    )
    assert_allclose(opened.transform(table), fitted.transform(table), atol=1e-6)


@pytest.mark.gpu
def test_fits_on_a_gpu_are_reproducible(table: np.ndarray) -> None:
    a, b = (VAEDensity(device="cuda", **QUICK).fit(table) for _ in range(2))
    assert_allclose(a.score_samples(table), b.score_samples(table), atol=1e-6)
    assert_array_equal(a.sample(5), a.sample(5))


@pytest.mark.gpu
def test_a_model_fitted_on_a_gpu_goes_on_anywhere(table: np.ndarray) -> None:
    density = VAEDensity(device="cuda", **QUICK).partial_fit(table)
    density.partial_fit(table)
    opened = pickle.loads(pickle.dumps(density)).set_params(device="cpu")
    opened.partial_fit(table).set_params(device="cuda").partial_fit(table)
    assert opened.n_iter_ == 4
    assert np.isfinite(opened.score(table))


@pytest.mark.gpu
def test_fitting_on_a_gpu_leaves_its_random_state_alone(table: np.ndarray) -> None:
    before = torch.cuda.get_rng_state()
    density = VAEDensity(device="cuda", **QUICK).fit(table)
    density.score(table)
    density.sample(3)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True, "marginal_transform": "auto"},
        {"prior": "normal", "posterior": "diagonal", "likelihood": "gaussian"},
        {"objective": "elbo", "dropout": 0.2},
    ],
    ids=repr,
)
def test_every_part_runs_on_a_gpu(
    parameters: dict[str, Any], table: np.ndarray
) -> None:
    density = VAEDensity(device="cuda", **QUICK, **parameters).fit(table)
    assert np.isfinite(density.score_samples(table)).all()
    assert np.isfinite(density.sample(10)).all()
    assert density.inverse_transform(density.transform(table)).shape == table.shape


# The package


def test_public_names_exist() -> None:
    assert len(set(skvae.__all__)) == len(skvae.__all__)
    for name in skvae.__all__:
        assert hasattr(skvae, name)
    assert skvae.__version__.count(".") == 2


def test_the_estimator_is_a_density_and_no_outlier_detector() -> None:
    assert get_tags(VAEDensity()).estimator_type == "density_estimator"
    assert not is_outlier_detector(VAEDensity())


def test_components_are_objects_with_parameters() -> None:
    assert NormalPrior().get_params() == {}
    density = VAEDensity(prior=NormalPrior())
    assert density.get_params(deep=False)["prior"] is density.prior


# Parameters of components


def test_an_alias_takes_parameters_of_its_component(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).set_params(prior__n_modes=3, max_iter=2)
    assert isinstance(density.prior, MixturePrior)
    assert density.prior.n_modes == 3
    assert density.max_iter == 2
    assert density.fit(table).prior_.n_modes == 3
    # What was set stays as other parameters are set.
    density.set_params(prior__n_modes=4)
    assert density.prior.n_modes == 4
    density.set_params(prior="vamp", prior__n_pseudo_inputs=5)
    assert density.prior.n_pseudo_inputs == 5
    assert VAEDensity().prior == "mixture"


def test_a_ladders_top_takes_parameters_too() -> None:
    density = VAEDensity(prior=LadderPrior((2, 1), top="mixture"))
    density.set_params(prior__top__n_modes=3)
    assert density.prior.top.n_modes == 3


def test_a_search_sets_parameters_of_aliases(table: np.ndarray) -> None:
    search = GridSearchCV(
        VAEDensity(**QUICK), {"prior__n_modes": [1, 2]}, cv=2, error_score="raise"
    ).fit(table)
    assert search.best_estimator_.prior.n_modes in (1, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"decoder__hidden_layer_sizes": (8,)},
            "decoder='auto' is none. Set both: dec",
        ),
        ({"background": None, "background__weight": 0.1}, "background=None is none"),
        ({"prior": "foo", "prior__n_modes": 3}, "prior='foo' is none.*'mixture'"),
        ({"prior__colour": 3}, "Invalid parameter 'colour' for estimator MixturePrior"),
        ({"colour__n_modes": 3}, "Invalid parameter 'colour' for estimator VAEDensity"),
    ],
    ids=repr,
)
def test_parameters_of_no_component_say_what_to_write(
    parameters: dict[str, Any], message: str
) -> None:
    density = VAEDensity()
    with pytest.raises(ValueError, match=message):
        density.set_params(**parameters)
    assert density.prior == "mixture"
