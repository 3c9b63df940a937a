"""VAEDensity inside scikit-learn's pipelines and searches, copied and stored."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import (
    ELBO,
    IWAE,
    AutoregressiveDecoder,
    FullPosterior,
    GaussianLikelihood,
    MixtureLikelihood,
    MixturePrior,
    MLPDecoder,
    NormalPrior,
    VAEDensity,
)
from tests.conftest import QUICK


def test_pipeline_scores_transforms_and_inverts(table: np.ndarray) -> None:
    scaler, pca = StandardScaler(), PCA(2, random_state=0)
    pipeline = Pipeline(
        [("scaler", scaler), ("pca", pca), ("density", VAEDensity(**QUICK))]
    ).fit(table)
    reduced = pca.transform(scaler.transform(table))
    alone = VAEDensity(**QUICK).fit(reduced)
    assert_array_equal(pipeline.score_samples(table), alone.score_samples(reduced))
    assert pipeline.score(table) == alone.score(reduced)
    latents = pipeline.transform(table)
    assert_array_equal(latents, alone.transform(reduced))
    assert pipeline.inverse_transform(latents).shape == table.shape
    names = pipeline.get_feature_names_out()
    assert names.tolist() == ["vaedensity0", "vaedensity1"]


def test_pipeline_passes_weights_to_the_density(table: np.ndarray) -> None:
    weight = np.arange(len(table)) % 3
    pipeline = make_pipeline(StandardScaler(), VAEDensity(**QUICK))
    pipeline.fit(table, vaedensity__sample_weight=weight)
    scaled = pipeline[0].transform(table)
    alone = VAEDensity(**QUICK).fit(scaled, sample_weight=weight)
    assert_array_equal(pipeline.score_samples(table), alone.score_samples(scaled))


def test_grid_search_over_nested_component_parameters(table: np.ndarray) -> None:
    search = GridSearchCV(
        VAEDensity(
            prior=MixturePrior(),
            likelihood=MixtureLikelihood(),
            objective=IWAE(),
            **QUICK,
        ),
        {
            "prior__n_modes": [1, 3],
            "likelihood__n_modes": [1, 2],
            "objective__n_samples": [2],
        },
        cv=2,
        error_score="raise",
    ).fit(table)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 4
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1
    best = search.best_estimator_
    assert best.prior.n_modes == search.best_params_["prior__n_modes"]
    assert best.model_.prior.logit.shape == (best.prior.n_modes,)
    assert search.score(table) == best.score(table)


def test_successive_halving_over_epochs_and_components(table: np.ndarray) -> None:
    settings = {**QUICK, "early_stopping": False}
    search = HalvingRandomSearchCV(
        VAEDensity(prior=MixturePrior(), **settings),
        {
            "n_components": [1, 2],
            "prior__n_modes": [1, 3],
            "likelihood": ["gaussian", MixtureLikelihood(n_modes=2)],
        },
        resource="max_iter",
        n_candidates=4,
        min_resources=2,
        max_resources=4,
        factor=2,
        cv=2,
        random_state=0,
        error_score="raise",
    ).fit(table)
    assert search.n_resources_ == [2, 4]
    assert search.n_candidates_ == [4, 2]
    best = search.best_estimator_
    assert best.n_iter_ == 4
    assert best.prior_.n_modes == search.best_params_["prior__n_modes"]


def test_parallel_and_serial_search_agree(table: np.ndarray) -> None:
    grid = {"prior": ["normal", "mixture"], "likelihood": ["gaussian", "mixture"]}
    results = [
        GridSearchCV(VAEDensity(**QUICK), grid, cv=2, n_jobs=n_jobs)
        .fit(table)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    assert_array_equal(*results)
    assert len(np.unique(results[0])) == 4


def test_grid_search_over_strings_and_specs_of_every_family(table: np.ndarray) -> None:
    grid = {
        "posterior": ["diagonal", FullPosterior(hidden_layer_sizes=(4,))],
        "decoder": ["mlp", MLPDecoder(hidden_layer_sizes=())],
        "objective": ["elbo", IWAE(n_samples=2)],
    }
    density = VAEDensity(early_stopping=False, **QUICK)
    search = GridSearchCV(density, grid, cv=2, error_score="raise").fit(table)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 8


def test_cross_val_score_is_the_mean_log_density_of_the_held_out_rows(
    table: np.ndarray,
) -> None:
    scores = cross_val_score(VAEDensity(**QUICK), table, cv=4)
    train, test = table[50:], table[:50]
    assert scores[0] == VAEDensity(**QUICK).fit(train).score(test)
    assert len(scores) == 4


def test_clone_copies_parameters_and_components_but_no_fit(table: np.ndarray) -> None:
    components = {
        "prior": MixturePrior(n_modes=3),
        "posterior": FullPosterior(hidden_layer_sizes=(4,)),
        "decoder": MLPDecoder(hidden_layer_sizes=()),
        "likelihood": GaussianLikelihood(scale="row"),
        "objective": ELBO(n_samples=2),
    }
    original = VAEDensity(**{**QUICK, **components}).fit(table)
    copied = clone(original)
    for family in components:
        ours, theirs = getattr(original, family), getattr(copied, family)
        assert type(ours) is type(theirs)
        assert ours is not theirs
        assert ours.get_params() == theirs.get_params()
    with pytest.raises(NotFittedError):
        copied.score_samples(table)
    copied.set_params(prior__n_modes=5)
    assert original.prior.n_modes == 3


def test_the_fitted_components_are_not_the_callers_objects(table: np.ndarray) -> None:
    prior = MixturePrior(n_modes=2)
    fitted = VAEDensity(prior=prior, **QUICK).fit(table)
    prior.n_modes = 7
    assert fitted.prior_.n_modes == 2
    assert fitted.prior is prior


def test_one_component_object_can_serve_two_estimators(table: np.ndarray) -> None:
    prior = MixturePrior(n_modes=2)
    a = VAEDensity(prior=prior, **QUICK).fit(table)
    before = a.score_samples(table)
    VAEDensity(prior=prior, **QUICK).fit(2 * table[::-1] + 1)
    assert_array_equal(a.score_samples(table), before)


COPIES: dict[str, Callable[[VAEDensity], VAEDensity]] = {
    "pickle": lambda density: pickle.loads(pickle.dumps(density)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_scores_and_samples_as_the_original(
    name: str, table: np.ndarray, density: VAEDensity
) -> None:
    copied = COPIES[name](density)
    assert_array_equal(copied.score_samples(table), density.score_samples(table))
    assert_array_equal(copied.sample(5), density.sample(5))
    assert copied.history_ == density.history_


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_an_unfitted_estimator_fits_as_the_original(
    name: str, table: np.ndarray, density: VAEDensity
) -> None:
    copied = COPIES[name](VAEDensity(**QUICK)).fit(table)
    assert_array_equal(copied.score_samples(table), density.score_samples(table))


def test_training_a_deep_copy_leaves_the_original_alone(table: np.ndarray) -> None:
    original = VAEDensity(**QUICK).partial_fit(table)
    before = original.score_samples(table)
    copied = copy.deepcopy(original)
    for _ in range(3):
        copied.partial_fit(table)
    assert_array_equal(original.score_samples(table), before)
    assert not np.array_equal(copied.score_samples(table), before)


def test_a_pickle_goes_on_with_partial_fit_as_the_original(table: np.ndarray) -> None:
    original = VAEDensity(**QUICK).partial_fit(table)
    copied = pickle.loads(pickle.dumps(original))
    original.partial_fit(table)
    copied.partial_fit(table)
    assert_array_equal(copied.score_samples(table), original.score_samples(table))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_memory_mapped_model_is_usable_and_can_be_trained_further(
    method: str, table: np.ndarray, tmp_path: Path
) -> None:
    original = VAEDensity(warm_start=True, **QUICK)
    getattr(original, method)(table)
    path = tmp_path / "density.joblib"
    joblib.dump(original, path)
    stored = path.read_bytes()
    loaded = joblib.load(path, mmap_mode="r")
    assert_array_equal(loaded.score_samples(table), original.score_samples(table))
    assert_array_equal(loaded.sample(5), original.sample(5))
    assert_array_equal(loaded.transform(table), original.transform(table))
    for further in (VAEDensity.fit, VAEDensity.partial_fit, VAEDensity.fit):
        further(loaded, table)
        further(original, table)
        assert_array_equal(loaded.score_samples(table), original.score_samples(table))
    assert path.read_bytes() == stored


def test_a_stored_model_is_small(table: np.ndarray) -> None:
    fitted = VAEDensity(**QUICK).fit(table)
    n_numbers = sum(p.numel() for p in fitted.model_.state_dict().values())
    assert len(pickle.dumps(fitted)) < 8 * n_numbers + 40_000


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(VAEDensity()) == "VAEDensity()"
    shown = repr(VAEDensity(3, prior=MixturePrior(n_modes=8), objective="elbo"))
    assert shown.startswith("VAEDensity(n_components=3")
    assert "prior=MixturePrior(n_modes=8)" in shown
    assert "objective='elbo'" in shown
    assert repr(NormalPrior()) == "NormalPrior()"


def test_the_diagram_of_a_pipeline_names_the_density(density: VAEDensity) -> None:
    html = make_pipeline(StandardScaler(), density)._repr_html_()
    assert "VAEDensity" in html


def test_nested_parameters_are_listed_and_set() -> None:
    density = VAEDensity(prior=MixturePrior(n_modes=3))
    assert density.get_params()["prior__n_modes"] == 3
    density.set_params(prior__n_modes=4, objective=IWAE(n_samples=2))
    density.set_params(objective__n_samples=6)
    assert (density.prior.n_modes, density.objective.n_samples) == (4, 6)
    with pytest.raises(ValueError, match="Invalid parameter 'n_mode'"):
        density.set_params(prior__n_mode=4)


def test_refitting_a_search_result_gives_the_same_model(table: np.ndarray) -> None:
    search = GridSearchCV(
        VAEDensity(**QUICK), {"learning_rate": [1e-3, 1e-2]}, cv=2
    ).fit(table)
    again = clone(search.best_estimator_).fit(table)
    assert_allclose(again.score(table), search.score(table), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "n_columns", "expected"),
    [
        ("real", 3, MLPDecoder),
        ("binary", 3, AutoregressiveDecoder),
        ("binary", 256, AutoregressiveDecoder),
        ("binary", 257, MLPDecoder),
    ],
)
def test_automatic_decoder_is_by_the_columns(
    kind: str, n_columns: int, expected: type
) -> None:
    table = np.random.default_rng(0).normal(size=(30, n_columns))
    if kind == "binary":
        table = (table > 0).astype(float)
    density = VAEDensity(
        likelihood="bernoulli" if kind == "binary" else "mixture",
        early_stopping=False,
        max_iter=1,
        hidden_layer_sizes=(4,),
        random_state=0,
    ).fit(table)
    assert type(density.decoder_) is expected
