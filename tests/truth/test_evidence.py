"""Log-densities of fitted models against quadrature and a large budget."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from skvae import Evidence, QuadratureProposal, RefinedProposal, VAEDensity

Array = NDArray[np.float64]
MakeRing = Callable[[int], VAEDensity]
Truth = Callable[[int], Evidence]


@pytest.fixture(scope="module")
def ring() -> Array:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 1000)
    middle = np.c_[3 * np.cos(angle), np.sin(angle)]
    return middle + 0.15 * rng.normal(size=(1000, 2))


@pytest.fixture(scope="module")
def fitted(ring: Array) -> MakeRing:
    """Return a function: a small density of the ring with so many latents."""
    densities: dict[int, VAEDensity] = {}

    def of(n_components: int) -> VAEDensity:
        if n_components not in densities:
            densities[n_components] = VAEDensity(
                n_components,
                companion=None,
                hidden_layer_sizes=(24, 24),
                marginal_transform=None,
                max_iter=40,
                random_state=0,
            ).fit(ring)
        return densities[n_components]

    return of


@pytest.fixture(scope="module")
def truth(fitted: MakeRing, rows: Array) -> Truth:
    """Return a function: the evidence of the rows by quadrature, flags included."""
    known: dict[int, Evidence] = {}

    def of(n_components: int) -> Evidence:
        if n_components not in known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                known[n_components] = fitted(n_components).evidence(
                    rows, proposal=QuadratureProposal(), tol=0.001
                )
        return known[n_components]

    return of


@pytest.fixture(scope="module")
def rows(ring: Array) -> Array:
    """Rows of the ring, in its hole and far from it."""
    rng = np.random.default_rng(1)
    return np.concatenate(
        [ring[:80], rng.normal(size=(25, 2)) * [1, 0.3], rng.normal(size=(15, 2)) * 10]
    )


def assert_calibrated(evidence: Evidence, reference: Evidence) -> None:
    """Errors of nine tenths of the rows within two standard errors, and small."""
    chosen = ~(evidence.unreliable | reference.unreliable)
    assert chosen.mean() > 0.95
    error = np.abs(evidence.log_density - reference.log_density)[chosen]
    stated = np.hypot(evidence.standard_error, reference.standard_error)[chosen]
    assert (error <= 2 * stated + 1e-6).mean() >= 0.9
    assert (error <= 0.05).mean() >= 0.95


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.filterwarnings("ignore:The log-density of")
def test_default_evidence_is_that_of_quadrature(
    n_components: int, fitted: MakeRing, rows: Array, truth: Truth
) -> None:
    quadrature = truth(n_components)
    exact = ~quadrature.unreliable
    assert exact.mean() > 0.9
    ours = fitted(n_components).score_samples(rows)
    error = np.abs(ours - quadrature.log_density)[exact]
    assert error.max() < 0.1
    assert (error < 0.05).mean() >= 0.95


@pytest.mark.parametrize("proposal", [None, "refined", "defensive"])
@pytest.mark.filterwarnings("ignore:The log-density of")
def test_errors_are_as_large_as_stated(
    proposal: str | None, fitted: MakeRing, rows: Array, truth: Truth
) -> None:
    quadrature, evidence = truth(2), fitted(2).evidence(rows, proposal=proposal)
    chosen = ~(quadrature.unreliable | evidence.unreliable)
    assert chosen.mean() > 0.8
    error = np.abs(evidence.log_density - quadrature.log_density)[chosen]
    assert (error <= 2 * evidence.standard_error[chosen] + 1e-3).mean() >= 0.9


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_repeats_spread_no_more_than_the_stated_error(
    fitted: MakeRing, rows: Array
) -> None:
    density = fitted(2)
    repeats = [
        density.evidence(rows[:60], proposal="refined", max_samples=256, random_state=s)
        for s in range(20)
    ]
    spread = np.std([one.log_density for one in repeats], axis=0, ddof=1)
    stated = np.sqrt(np.mean([one.standard_error**2 for one in repeats], axis=0))
    assert np.median(spread / stated) < 1.1
    assert (spread < 1.5 * stated).mean() > 0.9


def test_rows_of_the_model_are_scored_as_with_a_large_budget(
    fitted: MakeRing,
) -> None:
    """A thousand draws of the model against sixteen times as many samples."""
    density = fitted(2)
    rows = density.sample(1000, random_state=2)
    evidence = density.evidence(rows)
    reference = density.evidence(
        rows[:200],
        proposal=RefinedProposal(n_rounds=2, n_annealed_steps=64),
        tol=0.005,
        max_samples=2**15,
        random_state=1,
    )
    part = Evidence(**{name: value[:200] for name, value in vars(evidence).items()})
    assert_calibrated(part, reference)
    assert evidence.unreliable.mean() < 0.01


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The log-density of")  # one row or two in 1000
@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_a_thousand_simulated_rows_are_scored_within_their_errors(
    n_components: int,
) -> None:
    exact = QuadratureProposal(n_points=16_384)
    search = RefinedProposal(n_rounds=2, n_annealed_steps=64)
    rng = np.random.default_rng(3)
    z = rng.normal(size=(3000, 2))
    table = np.c_[z, z[:, :1] * z[:, 1:], np.sin(2 * z), z.sum(1)]
    table += 0.2 * rng.normal(size=table.shape)
    density = VAEDensity(n_components, max_iter=30, random_state=0).fit(table)
    rows = density.sample(1000, random_state=2)
    evidence = density.evidence(rows)
    reference = density.evidence(
        rows,
        proposal=exact if n_components == 1 else search,
        tol=0.005,
        max_samples=2**16,
        random_state=1,
    )
    assert_calibrated(evidence, reference)


def test_modes_that_an_undertrained_encoder_misses_are_found() -> None:
    """One latent, two clusters, six epochs: the encoder covers one of two modes."""
    rng = np.random.default_rng(1)
    column = np.r_[rng.normal(-2, 0.4, 120), rng.gamma(2.0, 0.7, 120) + 1]
    x = column[:, None] * 5 + 30
    density = VAEDensity(
        n_components=1,
        smoothing=0.6,
        hidden_layer_sizes=(12, 12),
        max_iter=6,
        early_stopping=False,
        batch_size=64,
        random_state=0,
    ).fit(x)
    grid = QuadratureProposal(n_points=4096)
    truth = density.evidence(x, proposal=grid, tol=1e-3).log_density
    result = density.evidence(x)
    error = result.log_density - truth
    covered = np.abs(error) <= 2 * result.standard_error + 1e-6
    assert (covered | result.unreliable).mean() >= 0.9
    assert abs(error.mean()) < 0.003
