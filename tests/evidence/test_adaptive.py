"""Estimates row by row, with as many samples as each row needs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae import VAEDensity
from skvae.evidence import (
    EncoderProposal,
    Estimate,
    PriorProposal,
    Proposal,
    estimate_evidence,
    row_hash,
)
from skvae.model import VAE

MakeModel = Callable[..., VAE]
LogProb = Callable[[Tensor], Tensor]


def estimate(
    vae: VAE,
    x: Tensor,
    n_samples: int = 32,
    max_samples: int = 32,
    tol: float = 0.1,
    proposal: Proposal | None = None,
) -> Estimate:
    return estimate_evidence(
        vae,
        EncoderProposal() if proposal is None else proposal,
        x,
        row_hash(x.numpy()),
        n_samples=n_samples,
        max_samples=max_samples,
        tol=tol,
    )


@pytest.mark.parametrize("proposal", [EncoderProposal(), PriorProposal()])
def test_estimate_converges_to_the_exact_density(
    proposal: Proposal, make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    x = rows[:60]
    result = estimate(make_model(), x, 4096, 4096, proposal=proposal)
    error = (result.log_density - exact(x)).abs()
    # Quasi-random errors are below the stated ones, which are for random draws.
    assert (error < 4 * result.standard_error + 1e-6).all()
    assert error.median() < 0.02


def test_exact_encoder_needs_one_sample(
    make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    vae = make_model(inflation=1.0)
    result = estimate(vae, rows, 1, 1)
    # The encoder adds its floor of 1e-4 to scales of about 0.4.
    torch.testing.assert_close(result.log_density, exact(rows), rtol=0, atol=0.02)


def test_wider_encoder_has_the_larger_error(
    make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    errors = [
        (estimate(make_model(inflation), rows).log_density - exact(rows)).abs().mean()
        for inflation in (1.1, 2.0, 6.0)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_value_of_a_row_depends_on_that_row_alone(
    make_model: MakeModel, rows: Tensor
) -> None:
    vae = make_model()
    options = {"max_samples": 512, "tol": 0.3, "proposal": PriorProposal()}
    together = estimate(vae, rows, **options)
    assert len(together.n_samples.unique()) > 1
    for chosen in (slice(3, 4), slice(10, 37), slice(None, None, 7)):
        part = estimate(vae, rows[chosen], **options)
        for name, values in vars(part).items():
            torch.testing.assert_close(
                values, getattr(together, name)[chosen], rtol=1e-9, atol=1e-9
            )
    reverse = estimate(vae, rows.flip(0), **options)
    torch.testing.assert_close(
        reverse.log_density.flip(0), together.log_density, rtol=1e-9, atol=1e-9
    )


def test_rows_above_the_tolerance_get_more_samples(
    make_model: MakeModel, rows: Tensor
) -> None:
    vae, tol, proposal = make_model(), 0.4, PriorProposal()
    first = estimate(vae, rows, tol=tol, proposal=proposal)
    final = estimate(vae, rows, max_samples=4096, tol=tol, proposal=proposal)
    poor = first.standard_error > tol
    assert poor.any()
    assert not poor.all()
    assert (final.n_samples[poor] > 32).all()
    assert (final.n_samples[~poor] == 32).all()
    assert ((final.standard_error <= tol) | (final.n_samples == 4096)).all()
    assert (final.standard_error <= tol).double().mean() > 0.8
    torch.testing.assert_close(final.log_density[~poor], first.log_density[~poor])


@pytest.mark.parametrize("max_samples", [32, 33, 100, 500])
def test_no_row_gets_more_samples_than_allowed(
    max_samples: int, make_model: MakeModel, rows: Tensor
) -> None:
    result = estimate(make_model(3.0), rows, max_samples=max_samples, tol=1e-6)
    assert (result.n_samples == max_samples).all()


def test_more_samples_are_the_same_estimate_as_all_at_once(
    make_model: MakeModel, rows: Tensor
) -> None:
    vae = make_model(3.0)
    staged = estimate(vae, rows, 32, 512, tol=1e-6)
    at_once = estimate(vae, rows, 512, 512)
    for name, values in vars(at_once).items():
        torch.testing.assert_close(getattr(staged, name), values)


def test_error_falls_with_samples(
    make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    vae, x = make_model(3.0), rows[:60]
    results = [estimate(vae, x, n, n) for n in (16, 256, 4096)]
    errors = [(r.log_density - exact(x)).square().mean().sqrt() for r in results]
    stated = [r.standard_error.mean() for r in results]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert stated[0] > 2 * stated[1] > 4 * stated[2]


def test_rows_whose_error_is_not_a_number_get_more_samples(
    make_model: MakeModel, rows: Tensor
) -> None:
    result = estimate(make_model(1.2), rows, n_samples=1, max_samples=64, tol=10.0)
    assert (result.n_samples == 4).all()
    assert result.standard_error.isfinite().all()


def test_many_rows_are_the_same_as_few(make_model: MakeModel, rows: Tensor) -> None:
    vae = make_model()
    many = rows[:1] + torch.linspace(0, 1, 5000, dtype=torch.float64)[:, None]
    result = estimate(vae, many)
    assert result.log_density.shape == (5000,)
    alone = estimate(vae, many[4321:4322])
    torch.testing.assert_close(result.log_density[4321:4322], alone.log_density)


def test_repeats_with_other_seeds_agree_within_their_errors() -> None:
    """Share of 600 differences beyond three standard errors, 0.3 % if Gaussian."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 300)
    table = np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(300, 2))
    density = VAEDensity(
        hidden_layer_sizes=(16,),
        marginal_transform=None,
        max_iter=20,
        n_importance_samples=128,
        max_evidence_samples=128,
        random_state=0,
    ).fit(table)
    plain, one, other = (
        density.evidence(table, random_state=seed) for seed in (None, 0, 1)
    )
    np.testing.assert_array_equal(plain.log_density, density.score_samples(table))
    deviations = []
    for a, b in ((plain, one), (one, other)):
        error = np.hypot(a.standard_error, b.standard_error)
        deviations.append((a.log_density - b.log_density) / error)
        assert (a.log_density != b.log_density).all()
    assert (np.abs(deviations) > 3).mean() < 0.02
    repeat = density.evidence(table, random_state=0)
    np.testing.assert_array_equal(repeat.log_density, one.log_density)
