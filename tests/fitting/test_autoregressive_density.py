"""VAEDensity with the autoregressive decoder, with its latents and without them."""

import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV

from skvae import (
    AutoregressiveDecoder,
    BernoulliLikelihood,
    QuadratureProposal,
    VAEDensity,
)

SETTINGS = {
    "companion": None,
    "hidden_layer_sizes": (16, 16),
    "marginal_transform": None,
    "max_iter": 30,
    "random_state": 0,
}
SMALL = AutoregressiveDecoder((16, 16))
CUT_OFF = AutoregressiveDecoder((16, 16), reads_latents=False)


@pytest.fixture(scope="module")
def bent() -> np.ndarray:
    """Return 500 rows of a bent column after a bimodal one."""
    rng = np.random.default_rng(0)
    first = rng.choice([-2.0, 1.0], 500) + 0.5 * rng.normal(size=500)
    return np.c_[first, 0.01 * (first**2 + 0.4 * rng.normal(size=500))]


# One of the rows has too heavy a tail.
@pytest.mark.filterwarnings("ignore:The log-density of")
@pytest.mark.parametrize(("n_components", "n_points"), [(1, 2048), (2, 128)])
def test_importance_sampling_agrees_with_quadrature(
    n_components: int, n_points: int, bent: np.ndarray
) -> None:
    """Within six standard errors, and in mean within 0.01 nat."""
    density = VAEDensity(
        n_components, decoder=SMALL, evidence_tol=0.02, **SETTINGS
    ).fit(bent)
    exact = density.evidence(bent[:30], proposal=QuadratureProposal(n_points))
    sampled = density.evidence(bent[:30])
    assert not exact.unreliable.any()
    assert sampled.unreliable.sum() <= 2
    error = np.hypot(exact.standard_error, sampled.standard_error)
    difference = sampled.log_density - exact.log_density
    difference = difference[~sampled.unreliable]
    error = error[~sampled.unreliable]
    assert (np.abs(difference) < 6 * error + 1e-3).all()
    assert difference.mean() == pytest.approx(0, abs=0.01)
    # The latents are in use, else there is nothing to compare.
    assert (density.transform(bent).std(0) > 0.1).any()


@pytest.mark.parametrize("order", ["given", (1, 0)])
def test_density_without_latents_is_exact_and_integrates_to_one(
    order: str | tuple[int, ...], bent: np.ndarray
) -> None:
    """Within 0.5 %: 201² points over the table and its range on every side."""
    decoder = AutoregressiveDecoder((16, 16), order, reads_latents=False)
    density = VAEDensity(
        decoder=decoder, n_importance_samples=4, max_evidence_samples=4, **SETTINGS
    ).fit(bent)
    low, high = bent.min(0), bent.max(0)
    reach = 1.5 * (high - low)
    axes = [
        np.linspace(a, b, 201) for a, b in zip(low - reach, high + reach, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    evidence = density.evidence(grid)
    assert (evidence.n_stages == 1).all()
    assert evidence.standard_error.max() < 1e-6
    values = np.exp(evidence.log_density).reshape(201, 201)
    total = simpson(simpson(values, x=axes[1]), x=axes[0])
    assert total == pytest.approx(1, abs=0.005)
    for proposal in ("prior", "encoder"):
        other = density.evidence(grid[:10], proposal=proposal)
        np.testing.assert_allclose(other.log_density, evidence.log_density[:10])


def test_masses_without_latents_sum_to_one(binary_table: np.ndarray) -> None:
    density = VAEDensity(
        decoder=CUT_OFF, likelihood=BernoulliLikelihood(), **SETTINGS
    ).fit(binary_table)
    n_columns = binary_table.shape[1]
    rows = np.array(list(np.ndindex(*[2] * n_columns)), dtype=float)
    mass = np.exp(density.score_samples(rows))
    assert mass.sum() == pytest.approx(1, abs=1e-9)
    share = (binary_table[:, None] == rows).all(-1).mean(0)
    assert (np.abs(share - mass) < 5 * np.sqrt(mass / len(binary_table))).all()


def test_training_starts_at_the_regressions_of_the_columns() -> None:
    """The score before training is that of a Gaussian chain, within 0.1 nat."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 3))
    density = VAEDensity(
        decoder=CUT_OFF, likelihood="gaussian", background=None, **SETTINGS
    )
    density.set_params(max_iter=1, learning_rate=1e-9).fit(table)
    expected = 0.0
    for column in range(3):
        y, before = table[:, column], np.c_[np.ones(2000), table[:, :column]]
        left = y - LinearRegression().fit(before, y).predict(before)
        expected -= 0.5 * np.log(2 * np.pi * left.var()) + 0.5
    assert density.score(table) == pytest.approx(expected, abs=0.1)


def test_samples_have_the_moments_of_the_table(bent: np.ndarray) -> None:
    """Median and rank correlation of squares, to a fifth."""
    density = VAEDensity(decoder=CUT_OFF, **{**SETTINGS, "max_iter": 200}).fit(bent)
    drawn = density.sample(2000, random_state=0)
    middle = [np.median(x, 0) / bent.std(0) for x in (bent, drawn)]
    np.testing.assert_allclose(*middle, atol=0.2)
    bend = [spearmanr(x[:, 0] ** 2, x[:, 1]).statistic for x in (bent, drawn)]
    assert bend[1] == pytest.approx(bend[0], abs=0.2)


def test_latents_are_cut_off_by_a_nested_parameter(bent: np.ndarray) -> None:
    search = GridSearchCV(
        VAEDensity(decoder=SMALL, **{**SETTINGS, "max_iter": 3}),
        {"decoder__reads_latents": [True, False], "decoder__order": ["given", (1, 0)]},
        cv=2,
        error_score="raise",
    ).fit(bent)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 4


def test_latents_that_are_not_read_are_the_priors(bent: np.ndarray) -> None:
    density = VAEDensity(decoder=CUT_OFF, **{**SETTINGS, "max_iter": 3}).fit(bent)
    latents = density.transform(bent)
    assert latents.shape == (500, 2)
    assert (latents == latents[0]).all()
    assert density.inverse_transform(latents).shape == bent.shape


def test_missing_order_is_refused_by_fit(bent: np.ndarray) -> None:
    decoder = AutoregressiveDecoder(order=(0, 2))
    with pytest.raises(ValueError, match="order of AutoregressiveDecoder"):
        VAEDensity(decoder=decoder, **SETTINGS).fit(bent)
