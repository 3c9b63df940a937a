"""Single cells given the others: against integrals, closed forms and one another."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp

from skvae import (
    AutoregressiveDecoder,
    ConditionalVAEDensity,
    GaussianLikelihood,
    QuadratureProposal,
    VAEDensity,
)

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
SMALL = {
    "n_components": 1,
    "companion": None,
    "max_iter": 30,
    "hidden_layer_sizes": (16,),
    "random_state": 0,
}
LINEAR = {
    "prior": "normal",
    "likelihood": GaussianLikelihood(scale="column"),
    "decoder": "mlp",
    "hidden_layer_sizes": (),
    "background": None,
    "companion": None,
    "marginal_transform": None,
    "max_iter": 60,
    "n_components": 2,
    "random_state": 0,
}
SHARES = np.array([0.02, 0.3, 0.5, 0.95])


def ring(n_rows: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, n_rows)
    rows = np.c_[np.cos(angle), 5 * np.sin(angle)]
    return rows + rng.normal(size=(n_rows, 2)) * [0.15, 0.6] + [0, 3]


VARIANTS = {
    "plain": {"marginal_transform": None, "decoder": "mlp"},
    "normal scores": {"marginal_transform": "normal", "decoder": "mlp"},
    "logistic": {"likelihood": "logistic_mixture", "decoder": "mlp"},
    "student_t": {"likelihood": "student_t", "decoder": "mlp"},
    "reads columns": {"decoder": AutoregressiveDecoder(order=[1, 0])},
    "companion": {"companion": "auto", "decoder": "mlp"},
}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def density(request: pytest.FixtureRequest) -> VAEDensity:
    return VAEDensity(**{**SMALL, **request.param}).fit(ring())


def test_marginal_is_the_integral_of_the_joint(density: VAEDensity) -> None:
    at = np.array([-0.8, 1.0])
    grid = np.linspace(-10, 16, 101)
    rows = np.c_[np.repeat(at, len(grid)), np.tile(grid, len(at))]
    evidence = density.evidence(rows, proposal=QuadratureProposal(1024))
    joint = evidence.log_density.reshape(len(at), -1)
    integral = np.log(np.trapezoid(np.exp(joint), grid, axis=1))
    marginal = density.marginal(0).evidence(at, tol=0.005)
    error = 4 * np.hypot(marginal.standard_error, 0.005) + 0.005
    assert (np.abs(marginal.log_density - integral) < error).all()


def test_quantiles_and_distribution_function_invert_each_other(
    density: VAEDensity,
) -> None:
    for column in (0, 1):
        conditional = density.conditional(ring(3), column)
        quantiles = conditional.quantile(SHARES)
        assert (np.diff(quantiles) > 0).all()
        np.testing.assert_allclose(
            conditional.cdf(quantiles), np.tile(SHARES, (3, 1)), atol=1e-6
        )


def test_density_is_the_slope_of_the_distribution_function(density: VAEDensity) -> None:
    conditional = density.conditional(ring(3), 1)
    grid = np.linspace(*conditional.quantile([0.001, 0.999]).T, 1501).T
    mass = np.trapezoid(conditional.pdf(grid), grid, axis=1)
    # Normal scores have bends at their knots, and some kernels are narrow.
    np.testing.assert_allclose(mass, 0.998, atol=0.01)


def test_density_is_that_of_the_joint_over_the_marginal(density: VAEDensity) -> None:
    rows = ring(12)
    joint = density.evidence(rows, tol=0.02).log_density
    marginal = density.marginal(0).evidence(rows[:, 0], tol=0.02).log_density
    conditional = density.conditional(rows, 1).log_pdf(rows[:, 1])
    # The conditional is read by 512 weighted draws of the latent, of which some are
    # worth a hundred, and where the decoder reads columns, at 65 values.
    difference = np.abs(conditional - (joint - marginal))
    assert np.median(difference) < 0.1
    assert difference.max() < 1.0


def test_draws_follow_the_distribution_function(density: VAEDensity) -> None:
    conditional = density.conditional(ring(4), 1)
    place = conditional.cdf(conditional.sample(300))
    for each in place:
        # Draws come from 128 of the row's latents, the function from 256.
        assert stats.kstest(each, "uniform").statistic < 0.17
    assert stats.kstest(place.ravel(), "uniform").pvalue > FALSE_ALARM


def test_a_linear_gaussian_model_has_conditional_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 2)) @ rng.normal(size=(2, 4))
    rows += 0.5 * rng.normal(size=rows.shape) + 3
    density = VAEDensity(**LINEAR).fit(rows)
    drawn = density.sample(200_000, random_state=0)
    mean, covariance = drawn.mean(0), np.cov(drawn.T)
    some, others = rows[:10], [0, 2, 3]
    gain = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, 1])
    expected = mean[1] + (some[:, others] - mean[others]) @ gain
    spread = np.sqrt(covariance[1, 1] - covariance[1, others] @ gain)
    conditional = density.conditional(some, 1)
    error = (conditional.mean() - expected) / spread
    assert np.abs(error).max() < 0.3
    assert np.sqrt(np.mean(error**2)) < 0.12
    np.testing.assert_allclose(conditional.std(), spread, rtol=0.1)
    truth = stats.multivariate_normal(mean[others], covariance[np.ix_(others, others)])
    marginal = density.marginal(others).evidence(some[:, others], tol=0.01)
    np.testing.assert_allclose(
        marginal.log_density, truth.logpdf(some[:, others]), atol=0.06
    )


def binary(n_rows: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    first = rng.random((n_rows, 1)) < 0.4
    flips = rng.random((n_rows, 4)) < [0.1, 0.2, 0.3, 0.1]
    return (first ^ flips).astype(float)


@pytest.mark.parametrize(
    "decoder",
    [
        "mlp",
        AutoregressiveDecoder(),
        AutoregressiveDecoder(order=[3, 1, 2, 0], reads_latents=False),
    ],
)
def test_masses_of_observed_cells_are_sums_over_the_missing_ones(
    decoder: str | AutoregressiveDecoder,
) -> None:
    density = VAEDensity(
        **{**SMALL, "likelihood": "bernoulli", "decoder": decoder, "n_components": 2}
    ).fit(binary())
    values = np.array([[a, b] for a in (0, 1) for b in (0, 1)], dtype=float)
    rows = np.array(
        [[np.nan, 1, np.nan, 0], [0, np.nan, np.nan, 1], [1, 1, np.nan, np.nan]]
    )
    read = density.evidence(rows, tol=0.01)
    for row, log_p in zip(rows, read.log_density, strict=True):
        complete = np.tile(row, (4, 1))
        complete[:, np.isnan(row)] = values
        total = logsumexp(density.evidence(complete, tol=0.01).log_density)
        assert abs(log_p - total) < 0.05
    probabilities = density.conditional(rows, 2).probabilities()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-9)
    one = rows.copy()
    one[:, 2] = 1
    ratio = np.exp(density.evidence(one, tol=0.01).log_density - read.log_density)
    np.testing.assert_allclose(probabilities[:, 1], ratio, atol=0.08)


def test_intervals_of_targets_hold() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(1100, 2))
    target = given[:, 0] ** 2 + (0.2 + 0.3 * (given[:, 1] > 0)) * rng.normal(size=1100)
    density = ConditionalVAEDensity(
        max_iter=40, hidden_layer_sizes=(32, 32), random_state=0
    ).fit(given[:800], target[:800])
    conditional = density.conditional(given[800:])
    low, high = conditional.interval(0.9).T
    held = np.mean((target[800:] >= low) & (target[800:] <= high))
    assert 0.84 < held < 0.96
    wide, narrow = (high - low)[given[800:, 1] > 0], (high - low)[given[800:, 1] < 0]
    assert np.median(wide) > 1.5 * np.median(narrow)
    np.testing.assert_array_equal(density.predict(given[800:]), conditional.mean())


def test_what_is_asked_wrongly_is_named(density: VAEDensity) -> None:
    rows = ring(3)
    with pytest.raises(ValueError, match="columns has 'height', which is no column"):
        density.conditional(rows, "height")
    with pytest.raises(ValueError, match="columns is empty"):
        density.marginal([])
    with pytest.raises(ValueError, match="quantile is for a single column, and 2"):
        density.conditional(rows, [0, 1]).quantile(0.5)
    with pytest.raises(ValueError, match="q must hold numbers between 0 and 1, got 2"):
        density.conditional(rows, 0).quantile(2)
    with pytest.raises(
        ValueError, match="X has 2 columns, but the question is about 1"
    ):
        density.marginal(0).score_samples(rows)


def test_values_are_given_as_categories() -> None:
    """As `sample` draws them: text, truth values, and numbers that are categories."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["red", "green", "blue"], 200, p=[0.6, 0.3, 0.1])
    size = np.where(kind == "red", 7.5, rng.choice([1.5, 2.5], 200))
    frame = pd.DataFrame({"kind": kind, "size": size})
    density = VAEDensity(likelihood="categorical", **SMALL).fit(frame)
    marginal = density.marginal("kind")
    mass = np.exp(marginal.score_samples(["red", "green", "blue"]))
    assert mass.sum() == pytest.approx(1, abs=0.1)
    assert mass.argmax() == 0
    assert_array_equal(
        marginal.score_samples(frame[["kind"]][:5]),
        density.score_samples(frame[:5].assign(size=np.nan)),
    )
    drawn = marginal.sample(5, random_state=0)
    assert np.isfinite(marginal.score_samples(drawn)).all()
    sizes = density.conditional(frame[:2], "size")
    at = sizes.values
    every = [sizes.log_prob([value] * 2) for value in at]
    assert set(at) == {1.5, 2.5, 7.5}
    assert_allclose(np.exp(every).sum(0), 1, atol=0.2)
    with pytest.raises(ValueError, match="X has 'pink' in row 1, which is no category"):
        marginal.score_samples(["red", "pink"])
    with pytest.raises(ValueError, match="values must have 2 rows"):
        sizes.log_prob([1.5])
