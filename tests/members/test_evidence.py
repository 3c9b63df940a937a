"""The evidence of a mixture's rows."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

from skvae import VAEDensity
from skvae.members.evidence import exact_evidence, has_evidence, mix_evidence


def test_only_densities_that_know_their_errors_have_evidence() -> None:
    assert has_evidence(VAEDensity())
    assert not has_evidence(GaussianMixture())


def test_evidence_of_exact_densities_is_exact() -> None:
    log_density = np.array([[-1.0, -np.inf, -np.inf], [-2.0, -3.0, -np.inf]])
    mixed = mix_evidence(np.array([0.25, 0.75]), [*map(exact_evidence, log_density)])
    expected = np.log([0.25 * np.exp(-1) + 0.75 * np.exp(-2), 0.75 * np.exp(-3)])
    assert_allclose(mixed.log_density, [*expected, -np.inf])
    assert_array_equal(mixed.standard_error, 0)
    assert_array_equal(mixed.effective_sample_size, np.inf)
    assert_array_equal(mixed.pareto_k, -np.inf)
    assert mixed.n_samples.dtype == np.int64
    assert not mixed.unreliable.any()


def test_members_with_a_small_share_do_not_make_a_row_unreliable() -> None:
    def noisy(log_density: float, k: float, *, unreliable: bool) -> object:
        evidence = exact_evidence(np.array([log_density]))
        return type(evidence)(
            **{
                **vars(evidence),
                "pareto_k": np.array([k]),
                "unreliable": np.array([unreliable]),
            }
        )

    weights = np.array([0.5, 0.5])
    good = noisy(0.0, 0.1, unreliable=False)
    for log_density, expected in ((-1.0, True), (-5.0, False)):
        bad = noisy(log_density, 0.9, unreliable=True)
        mixed = mix_evidence(weights, [good, bad])
        assert mixed.unreliable.tolist() == [expected]
        assert_allclose(mixed.pareto_k, 0.9 if expected else 0.1)
