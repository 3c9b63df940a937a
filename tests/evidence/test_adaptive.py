"""Estimates row by row: cheap proposals first, better ones where needed."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae import StudentTBackground, VAEDensity
from skvae.evidence import (
    Budget,
    EncoderProposal,
    PriorProposal,
    Proposal,
    RowEvidence,
    Stage,
    default_stages,
)
from skvae.evidence.pareto import pareto_k_error
from skvae.model import VAE
from skvae.model.cell_noise import CellNoise
from tests.conftest import QUICK

MakeModel = Callable[..., VAE]
LogProb = Callable[[Tensor], Tensor]
Estimate = Callable[..., RowEvidence]

BUDGET = Budget(256, 4096, 0.03)


def alone(
    n_samples: int = 32,
    max_samples: int = 32,
    tol: float = 0.1,
    proposal: Proposal | None = None,
) -> list[Stage]:
    proposal = EncoderProposal() if proposal is None else proposal
    return [Stage(proposal, Budget(n_samples, max_samples, tol))]


# One proposal


def test_exact_encoder_needs_one_sample(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    result = estimate(make_model(inflation=1.0), rows, alone(1, 1))
    # The encoder adds its floor of 1e-4 to scales of about 0.4.
    torch.testing.assert_close(result.log_density, exact(rows), rtol=0, atol=0.02)


def test_wider_encoder_has_the_larger_error(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    errors = []
    for inflation in (1.1, 2.0, 6.0):
        result = estimate(make_model(inflation), rows, alone())
        errors.append((result.log_density - exact(rows)).abs().mean())
    assert errors[0] < errors[1] < errors[2]


def test_rows_above_the_tolerance_get_more_samples(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae, tol, proposal = make_model(), 0.4, PriorProposal()
    first = estimate(vae, rows, alone(24, 48, tol, proposal))
    final = estimate(vae, rows, alone(24, 4096, tol, proposal))
    poor, more = first.standard_error > tol, final.n_samples > 48
    assert poor.any()
    assert not poor.all()
    assert more[poor].double().mean() > 0.9
    assert (final.standard_error <= tol).double().mean() > 0.7
    loose = estimate(vae, rows, alone(24, 4096, 10 * tol, proposal))
    few = loose.n_samples == 48
    assert few.any()
    torch.testing.assert_close(loose.log_density[few], first.log_density[few])


def test_rows_with_a_heavy_tail_get_more_samples_whatever_their_error(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    heavy = estimate(make_model(1 / 3), rows, alone(64, 256, tol=10.0))
    light = estimate(make_model(1.2), rows, alone(64, 256, tol=10.0))
    assert ((heavy.n_samples >= 128) & (heavy.n_samples <= 256)).all()
    assert (heavy.n_samples == 256).double().mean() > 0.6
    assert (light.n_samples == 128).double().mean() > 0.8


@pytest.mark.parametrize("max_samples", [32, 33, 100, 500])
def test_no_row_gets_more_samples_than_allowed(
    max_samples: int, make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    result = estimate(make_model(3.0), rows, alone(32, max_samples, 1e-6))
    in_halves = max_samples if max_samples <= 32 else max_samples // 2 * 2
    assert (result.n_samples == in_halves).all()


def test_first_number_above_the_largest_is_the_largest(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    result = estimate(make_model(3.0), rows, alone(256, 100, 1e-6))
    assert (result.n_samples == 100).all()


def test_more_samples_are_the_same_estimate_as_all_at_once(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model(3.0)
    in_steps = estimate(vae, rows, alone(32, 512, 1e-6))
    at_once = estimate(vae, rows, alone(256, 512, 1e-6))
    assert (at_once.n_samples == 512).all()
    for name, values in vars(at_once).items():
        torch.testing.assert_close(getattr(in_steps, name), values)


def test_error_falls_with_samples(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    vae, x = make_model(3.0), rows[:60]
    results = [estimate(vae, x, alone(n, n)) for n in (16, 256, 4096)]
    errors = [(r.log_density - exact(x)).square().mean().sqrt() for r in results]
    stated = [r.standard_error.mean() for r in results]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert stated[0] > 2 * stated[1] > 4 * stated[2]


def test_rows_whose_error_is_not_a_number_get_more_samples(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    result = estimate(make_model(1.2), rows, alone(1, 64, 10.0))
    assert (result.n_samples == 8).all()
    assert result.standard_error.isfinite().all()


def test_impatient_budget_is_not_spent_on_a_row_that_needs_more(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model(4.0)
    patient, impatient = (
        estimate(vae, rows, [Stage(EncoderProposal(), Budget(32, 128, 1e-3, wait))])
        for wait in (True, False)
    )
    assert (patient.n_samples == 128).all()
    assert (impatient.n_samples == 64).all()


@pytest.mark.parametrize("tol", [0.03, 0.05, 0.1])
def test_rows_that_stop_early_are_not_too_low(
    tol: float,
    make_model: MakeModel,
    decoder_weight: Tensor,
    exact: LogProb,
    estimate: Estimate,
) -> None:
    """Each half of the draws is judged by the other one.

    If the draws decided about themselves, the mean error would be −0.002.
    """
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    noise = torch.randn(4000, 3, dtype=torch.float64, generator=generator)
    x = z @ decoder_weight.T + 0.5 * noise
    result = estimate(make_model(0.9), x, default_stages(Budget(64, 4096, tol), 2))
    error = result.log_density - exact(x)
    # With another seed, it fails once in ten thousand times.
    assert error.mean().abs() < 4 * error.std() / len(x) ** 0.5 + 0.0004


@pytest.mark.parametrize("n_samples", [1, 2, 24])
def test_too_few_draws_to_tell_the_tail_are_unreliable(
    n_samples: int, make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    result = estimate(make_model(1.2), rows, alone(n_samples, n_samples))
    assert result.pareto_k.isnan().all()
    assert result.unreliable.all()


# Stages


def test_exact_encoder_gives_every_row_at_once(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    result = estimate(make_model(1.0), rows, default_stages(BUDGET, 2))
    torch.testing.assert_close(result.log_density, exact(rows), rtol=0, atol=1e-3)
    assert (result.n_stages == 1).all()
    assert (result.n_samples == 512).all()
    assert not result.unreliable.any()


@pytest.mark.parametrize(
    ("inflation", "shift"), [(1.5, 0.0), (0.3, 0.0), (4.0, 0.0), (0.5, 5.0)]
)
def test_any_encoder_gives_the_density_within_its_error(
    inflation: float,
    shift: float,
    make_model: MakeModel,
    rows: Tensor,
    exact: LogProb,
    estimate: Estimate,
) -> None:
    tol = 0.005
    stages = default_stages(Budget(256, 2**15, tol), 2)
    result = estimate(make_model(inflation, shift), rows, stages)
    error = (result.log_density - exact(rows)).abs()
    assert (result.standard_error <= tol).all()
    assert (error <= 4 * result.standard_error + 1e-4).all()
    assert not result.unreliable.any()


def test_rows_with_a_bad_encoder_go_on_to_the_next_stage(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    stages = default_stages(BUDGET, 2)
    good = estimate(make_model(1.1), rows, stages)
    narrow = estimate(make_model(0.3), rows, stages)
    aside = estimate(make_model(1.0, shift=5.0), rows, stages)
    assert (good.n_stages == 1).all()
    assert (narrow.n_stages > 1).all()
    assert (aside.n_stages > 1).all()
    assert (narrow.effective_sample_size > 0.5 * narrow.n_samples).all()


def test_rows_that_are_settled_stay_as_they_are(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    """Some rows stop after the encoder: their values are those of that stage."""
    vae, stages = make_model(1.5), default_stages(Budget(32, 512, 0.1), 2)
    first, final = estimate(vae, rows, stages[:1]), estimate(vae, rows, stages)
    settled = final.n_stages == 1
    assert settled.any()
    assert not settled.all()
    for name in ("log_density", "standard_error", "pareto_k", "n_samples"):
        torch.testing.assert_close(
            getattr(final, name)[settled], getattr(first, name)[settled]
        )
    assert (final.log_density != first.log_density)[~settled].all()


def test_every_stage_has_draws_of_its_own(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae, never = make_model(2.0), Budget(256, 256, 1e-9, patient=False)
    once = estimate(vae, rows, [Stage(EncoderProposal(), never)])
    twice = estimate(vae, rows, [Stage(EncoderProposal(), never)] * 2)
    assert (twice.n_stages == 2).all()
    assert (once.log_density != twice.log_density).all()


@pytest.fixture(scope="module")
def hard() -> tuple[VAE, Tensor]:
    """A small fitted density, and rows for which all five stages are tried."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 300)
    ring = np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(300, 2))
    settings = {**QUICK, "max_iter": 15, "background": None}
    density = VAEDensity(1, marginal_transform=None, **settings).fit(ring)
    model = density.model_
    grid = 0.2 * rng.normal(size=(12, 2))
    rows = np.concatenate([ring[:50], grid, 2 * ring[50:60]])
    return model, torch.from_numpy(density.columns_.to_model(rows)[0])


HARD = default_stages(Budget(32, 128, 0.01), 2)


def test_value_of_a_row_depends_on_that_row_alone(
    hard: tuple[VAE, Tensor], estimate: Estimate
) -> None:
    """It is the same in any batch, at any place, with any threads, in all stages."""
    vae, rows = hard
    together = estimate(vae, rows, HARD)
    assert {4, 5} <= set(together.n_stages.tolist())
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    last = int(together.n_stages.argmax())
    for chosen in (
        torch.tensor([last]),
        torch.arange(10, 37),
        torch.arange(0, len(rows), 7),
        order,
    ):
        part = estimate(vae, rows[chosen], HARD)
        for name, values in vars(part).items():
            torch.testing.assert_close(
                values,
                getattr(together, name)[chosen],
                rtol=1e-9,
                atol=1e-9,
                equal_nan=True,
            )
    torch.set_num_threads(2)
    try:
        threaded = estimate(vae, rows.repeat(3, 1), HARD)
    finally:
        torch.set_num_threads(1)
    for name, values in vars(threaded).items():
        whole = getattr(together, name).repeat(3)
        torch.testing.assert_close(values, whole, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_more_threads_leave_as_many_as_there_were(
    hard: tuple[VAE, Tensor], estimate: Estimate
) -> None:
    torch.set_num_threads(2)
    try:
        estimate(hard[0], hard[1].repeat(3, 1), HARD[:1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("max_samples", [1, 20, 100, 1000])
def test_no_stage_gets_more_samples_than_allowed(
    max_samples: int, hard: tuple[VAE, Tensor], estimate: Estimate
) -> None:
    stages = default_stages(Budget(min(256, max_samples), max_samples, 1e-4), 1)
    result = estimate(*hard, stages)
    # A single draw has no spread: a row has one in each half.
    assert (result.n_samples <= max(2, max_samples)).all()
    assert (result.n_samples >= 1).all()
    assert result.log_density.isfinite().all()


def test_row_that_nothing_settles_is_unreliable(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    """The limit of k̂ is that for the number of samples that the row got."""
    vae = make_model(0.1, shift=30.0)
    result = estimate(vae, rows[:20], default_stages(Budget(32, 32, 0.01), 2)[:1])
    limit = min(1 - 1 / np.log10(32), 0.7)
    error = pareto_k_error(result.pareto_k, result.n_samples)
    assert torch.equal(result.unreliable, result.pareto_k - error > limit)
    assert result.unreliable.double().mean() > 0.5


def test_many_rows_are_the_same_as_few(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model()
    many = rows[:1] + torch.linspace(0, 1, 5000, dtype=torch.float64)[:, None]
    result = estimate(vae, many, alone())
    assert result.log_density.shape == (5000,)
    one = estimate(vae, many[4321:4322], alone())
    torch.testing.assert_close(result.log_density[4321:4322], one.log_density)


def test_rows_times_samples_at_a_time_are_bounded(
    hard: tuple[VAE, Tensor], estimate: Estimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, rows = hard
    sizes, log_likelihood = [], VAE.log_likelihood

    def spy(self: VAE, x: Tensor, z: Tensor, cells: CellNoise | None = None) -> Tensor:
        # A point of a grid is decoded once for all rows.
        sizes.append(z.shape[0] * (len(x) if z.shape[1] > 1 else len(x) / 4))
        assert z.shape[1] in (1, len(x))
        return log_likelihood(self, x, z, cells)

    monkeypatch.setattr(VAE, "log_likelihood", spy)
    stages = default_stages(Budget(256, 4096, 0.01), 2)
    result = estimate(vae, rows.repeat(2, 1), stages)
    assert max(sizes) <= 4096
    assert result.n_samples.sum() > 100_000


# With a background


def background_log_share(vae: VAE, x: Tensor) -> Tensor:
    """Return log ε p₀(x)."""
    return math.log(vae.background.weight) + vae.background.log_prob(x)


def test_background_is_added_in_closed_form(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    """Values are log((1 − ε) p + ε p₀), shares those of the second term."""
    vae = make_model(1.2, background=StudentTBackground(weight=0.2))
    result = estimate(vae, rows, default_stages(BUDGET, 2))
    with torch.no_grad():
        log_p0 = vae.background.log_prob(rows)
    latent, other = 0.8 * exact(rows).exp(), 0.2 * log_p0.exp()
    expected = (latent + other).log()
    torch.testing.assert_close(result.log_density, expected, rtol=0, atol=0.05)
    torch.testing.assert_close(
        result.background_share, other / (latent + other), rtol=0, atol=0.02
    )
    assert (result.background_share > 0.1).any()


def test_far_row_is_the_background_and_is_reliable(
    make_model: MakeModel, far_rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model(0.3, shift=3.0, background=StudentTBackground())
    result = estimate(vae, far_rows, default_stages(BUDGET, 2))
    with torch.no_grad():
        share = background_log_share(vae, far_rows)
    torch.testing.assert_close(result.log_density, share, rtol=0, atol=1e-6)
    assert (result.standard_error < 1e-6).all()
    assert (result.background_share > 1 - 1e-6).all()
    assert not result.unreliable.any()
    # A search for better modes is given up where there is no hope.
    assert (result.n_stages == 2).all()


def test_error_is_the_latent_parts_times_its_share(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    """The share is the derivative of log((1 − ε) p + ε p₀) with respect to log p."""
    plain, mixed = make_model(2.0), make_model(2.0, background=StudentTBackground(0.3))
    latent, result = (estimate(vae, rows, alone(256, 256)) for vae in (plain, mixed))
    with torch.no_grad():
        other = background_log_share(mixed, rows).exp()
    share = 0.7 * latent.log_density.exp()
    share = share / (share + other)
    assert share.min() < 0.5 < share.max()
    torch.testing.assert_close(result.standard_error, share * latent.standard_error)
    torch.testing.assert_close(result.background_share, 1 - share)


# VAEDensity


def test_unreliable_rows_are_counted_in_one_warning(table: np.ndarray) -> None:
    settings = {**QUICK, "n_importance_samples": 32, "max_evidence_samples": 32}
    density = VAEDensity(background=None, **settings).fit(table)
    rows = np.concatenate([table, table[:20] + 1000])
    with pytest.warns(UserWarning, match="best read as a lower bound") as caught:
        evidence = density.evidence(rows, proposal="encoder")
    assert len(caught) == 1
    n_unreliable = evidence.unreliable.sum()
    assert 0 < n_unreliable < len(rows)
    assert f"{n_unreliable} of {len(rows)} rows" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_repeats_with_other_seeds_agree_within_their_errors() -> None:
    """Of 600 differences, 0.3 % would exceed three standard errors if Gaussian."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 300)
    table = np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(300, 2))
    density = VAEDensity(
        decoder="mlp",
        companion=None,
        hidden_layer_sizes=(16,),
        marginal_transform=None,
        max_iter=20,
        n_importance_samples=128,
        max_evidence_samples=1024,
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
