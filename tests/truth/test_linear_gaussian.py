"""A VAE that is linear and Gaussian is factor analysis."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import FactorAnalysis

from skvae import GaussianLikelihood, MLPDecoder, VAEDensity
from skvae.evidence import (
    Budget,
    EncoderProposal,
    RowEvidence,
    RowNoise,
    Stage,
    default_stages,
    estimate_evidence,
    estimate_sides,
    row_hash,
)
from skvae.model import VAE

MakeVAE = Callable[..., VAE]
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def table() -> Array:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 5))
    noise = rng.normal(size=(2000, 5)) * [0.3, 0.5, 0.8, 1.0, 0.4]
    return factors + noise + [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def factor_analysis(table: Array) -> FactorAnalysis:
    return FactorAnalysis(2, max_iter=5000).fit(table[:1000])


def by_encoder(vae: VAE, rows: Array, n_samples: int) -> Array:
    stage = Stage(EncoderProposal(), Budget(n_samples, n_samples, 0.1))
    noise = RowNoise(row_hash(rows))
    estimate = estimate_evidence(vae, torch.from_numpy(rows), noise, [stage])
    return estimate.log_density.numpy()


def by_default(vae: VAE, rows: Array, tol: float) -> RowEvidence:
    stages = default_stages(Budget(256, 4096, tol), 2)
    noise = RowNoise(row_hash(rows))
    return estimate_evidence(vae, torch.from_numpy(rows), noise, stages)


@pytest.mark.parametrize("n_samples", [1, 16])
def test_exact_encoder_gives_factor_analysis_on_every_row(
    n_samples: int,
    table: Array,
    factor_analysis: FactorAnalysis,
    linear_gaussian: MakeVAE,
) -> None:
    fa = factor_analysis
    vae = linear_gaussian(fa.components_.T, fa.mean_, fa.noise_variance_**0.5)
    rows = np.concatenate([table[1000:1100], 20 * table[1100:1110]])
    expected = fa.score_samples(rows)
    ours = by_encoder(vae, rows, n_samples)
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_wrong_encoder_gives_factor_analysis_within_its_error(
    table: Array, factor_analysis: FactorAnalysis, linear_gaussian: MakeVAE
) -> None:
    fa = factor_analysis
    vae = model_of(fa, linear_gaussian, 1.2)
    rows = table[1000:1100]
    ours = by_encoder(vae, rows, 4096)
    np.testing.assert_allclose(ours, fa.score_samples(rows), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "encoder", [{}, {"inflation": 0.3}, {"inflation": 4.0}, {"shift": 3.0}], ids=repr
)
def test_default_stages_give_factor_analysis_with_any_encoder(
    encoder: dict[str, float],
    table: Array,
    factor_analysis: FactorAnalysis,
    linear_gaussian: MakeVAE,
) -> None:
    fa = factor_analysis
    vae = linear_gaussian(
        fa.components_.T, fa.mean_, fa.noise_variance_**0.5, **encoder
    )
    rows = np.concatenate([table[1000:1100], 20 * table[1100:1110]])
    result = by_default(vae, rows, tol=0.01)
    error = np.abs(result.log_density.numpy() - fa.score_samples(rows))
    assert not result.unreliable.any()
    assert (result.standard_error <= 0.01).all()
    assert error.max() < 0.03
    assert np.sqrt(np.square(error).mean()) < 0.01


def test_fitted_linear_model_is_as_good_as_factor_analysis(
    table: Array, factor_analysis: FactorAnalysis
) -> None:
    density = VAEDensity(
        n_components=2,
        prior="normal",
        decoder=MLPDecoder(hidden_layer_sizes=()),
        likelihood=GaussianLikelihood("column"),
        companion=None,
        marginal_transform=None,
        hidden_layer_sizes=(16,),
        max_iter=100,
        random_state=0,
    ).fit(table[:1000])
    reference = factor_analysis.score(table[1000:])
    assert density.score(table[1000:]) == pytest.approx(reference, abs=0.05)


def model_of(fa: FactorAnalysis, make: MakeVAE, inflation: float) -> VAE:
    return make(
        fa.components_.T, fa.mean_, fa.noise_variance_**0.5, inflation=inflation
    )


@pytest.fixture(scope="module")
def many() -> Array:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 2)) @ rng.normal(size=(2, 5))
    return rows + 0.5 * rng.normal(size=rows.shape)


@pytest.mark.parametrize("inflation", [0.6, 1.5])
def test_rows_are_seldom_far_above_a_threshold_that_is_above_them(
    inflation: float, many: Array, linear_gaussian: MakeVAE
) -> None:
    """Whatever the encoder, by Markov's inequality: at most one row in a thousand."""
    fa = FactorAnalysis(2, max_iter=5000).fit(many)
    vae = model_of(fa, linear_gaussian, inflation)
    exact = fa.score_samples(many)

    def read(threshold: Array) -> RowEvidence:
        x = torch.from_numpy(many)
        return estimate_sides(
            vae,
            x,
            RowNoise(row_hash(many)),
            default_stages(Budget(64, 4096, 0.1), 2),
            vae.closed_form(x),
            torch.from_numpy(threshold),
        )

    just_above = read(exact + 0.01).log_density.numpy()
    # The bound is 4 rows; 16 or more of 4,000 would be chance once in 10⁵ runs.
    assert (just_above > exact + np.log(1000)).sum() < 16
    far_below = read(exact - 15)
    assert (far_below.log_density.numpy() > exact - 15).all()
    assert (far_below.n_samples == 16).all()
    assert not far_below.unreliable.any()


@pytest.mark.parametrize("inflation", [1.2, 2.0])
def test_mean_over_rows_of_few_draws_has_no_bias(
    inflation: float, many: Array, linear_gaussian: MakeVAE
) -> None:
    """As `score` reads a mean over rows."""
    fa = FactorAnalysis(2, max_iter=5000).fit(many)
    vae = model_of(fa, linear_gaussian, inflation)
    estimate = estimate_evidence(
        vae,
        torch.from_numpy(many),
        RowNoise(row_hash(many), quasi=False),
        default_stages(Budget(64, 4096, 0.3), 2, 32),
    )
    error = (estimate.log_density - torch.from_numpy(fa.score_samples(many))).numpy()
    corrected = error - estimate.bias.numpy()
    # Four standard errors, and a thousandth for the terms of higher order.
    allowed = 4 * corrected.std() / np.sqrt(len(many)) + 0.001
    assert abs(corrected.mean()) < allowed
    if inflation > 1.5:
        assert abs(corrected.mean()) < abs(error.mean())
