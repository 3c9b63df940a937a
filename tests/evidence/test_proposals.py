"""Where the latents of the importance sampler come from."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor

from skvae.evidence import (
    Budget,
    DefensiveProposal,
    EncoderProposal,
    PriorProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
    RowEvidence,
    RowNoise,
    Stage,
)
from skvae.evidence.sampling import DrawSampler
from skvae.model import VAE
from skvae.model.spec import registered, resolve

MakeModel = Callable[..., VAE]
LogProb = Callable[[Tensor], Tensor]
Estimate = Callable[..., RowEvidence]
FoldedMass = Callable[[Tensor, float, int], np.ndarray]

every_alias = pytest.mark.parametrize("alias", sorted(registered(Proposal)))
of_continuous_latents = pytest.mark.parametrize(
    "alias", sorted(set(registered(Proposal)) - {"slotwise"})
)


def alone(proposal: Proposal, n_samples: int, tol: float = 0.01) -> list[Stage]:
    return [Stage(proposal, Budget(n_samples, n_samples, tol))]


# Parameter objects


def test_there_are_six_proposals() -> None:
    assert set(registered(Proposal)) == {
        "defensive",
        "encoder",
        "prior",
        "quadrature",
        "refined",
        "slotwise",
    }


@every_alias
def test_alias_stands_for_the_default(alias: str) -> None:
    proposal = resolve(alias, Proposal)
    assert type(proposal) is registered(Proposal)[alias]
    assert proposal.get_params() == type(proposal)().get_params()


@every_alias
def test_proposal_can_be_cloned_and_printed(alias: str) -> None:
    proposal = resolve(alias, Proposal)
    assert repr(proposal) == f"{type(proposal).__name__}()"
    copy = clone(proposal)
    assert copy is not proposal
    assert copy.get_params() == proposal.get_params()


def test_clone_keeps_the_parameters() -> None:
    proposal = RefinedProposal(n_steps=2, n_annealed_steps=3, n_rounds=1)
    assert repr(clone(proposal)) == (
        "RefinedProposal(n_annealed_steps=3, n_rounds=1, n_steps=2)"
    )


# The density


@of_continuous_latents
def test_estimate_is_the_exact_density_within_its_error(
    alias: str,
    make_model: MakeModel,
    rows: Tensor,
    exact: LogProb,
    estimate: Estimate,
) -> None:
    """The error is below four standard errors, and below 1e-6 nat by quadrature."""
    x = rows[:60]
    result = estimate(make_model(), x, alone(resolve(alias, Proposal), 4096))
    error = (result.log_density - exact(x)).abs()
    if alias == "quadrature":
        assert error.max() < 1e-6
    assert (error <= 4 * result.standard_error + 1e-6).all()
    assert error.median() < 0.02
    assert (result.n_stages == 1).all()
    assert (result.background_share == 0).all()
    assert alias == "prior" or not result.unreliable.any()


@of_continuous_latents
def test_value_of_a_row_depends_on_that_row_alone(
    alias: str, make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae, stages = make_model(3.0), alone(resolve(alias, Proposal), 256)
    together = estimate(vae, rows, stages)
    for chosen in (slice(3, 4), slice(10, 37), slice(None, None, 7)):
        part = estimate(vae, rows[chosen], stages)
        for name, values in vars(part).items():
            whole = getattr(together, name)[chosen]
            torch.testing.assert_close(
                values, whole, rtol=1e-9, atol=1e-9, equal_nan=True
            )


@of_continuous_latents
def test_estimate_leaves_the_model_and_the_random_state_alone(
    alias: str, make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    random_state = torch.get_rng_state()
    result = estimate(vae, rows[:4], alone(resolve(alias, Proposal), 32))
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert not result.log_density.requires_grad


# The refined proposal


@pytest.mark.parametrize(
    ("inflation", "shift"), [(1.0, 0.0), (1 / 3, 0.0), (1 / 3, 5.0), (3.0, 0.0)]
)
def test_refined_proposal_mends_a_wrong_encoder(
    inflation: float,
    shift: float,
    make_model: MakeModel,
    rows: Tensor,
    exact: LogProb,
    estimate: Estimate,
) -> None:
    vae = make_model(inflation, shift)
    refined = estimate(vae, rows, alone(RefinedProposal(), 1024))
    share = refined.effective_sample_size / refined.n_samples
    assert share.min() > 0.6
    torch.testing.assert_close(refined.log_density, exact(rows), rtol=0, atol=0.05)
    if (inflation, shift) != (1.0, 0.0):
        encoder = estimate(vae, rows, alone(EncoderProposal(), 1024))
        assert encoder.effective_sample_size.median() < 0.3 * 1024


def test_more_steps_mend_an_encoder_that_is_farther_off(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model(1.0, shift=5.0)
    shares = [
        estimate(vae, rows, alone(RefinedProposal(n_steps), 256))
        .effective_sample_size.div(256)
        .median()
        .item()
        for n_steps in (0, 4, 40)
    ]
    assert shares[0] < 0.05
    assert shares[1] > 0.5
    assert shares[2] > 0.8


def test_rounds_of_adaptation_mend_what_the_steps_left(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    vae = make_model(3.0)
    plain, adapted = (
        estimate(vae, rows, alone(RefinedProposal(n_steps=0, n_rounds=n_rounds), 256))
        for n_rounds in (0, 2)
    )
    assert plain.effective_sample_size.median() < 0.3 * 256
    assert adapted.effective_sample_size.median() > 0.8 * 256


def test_refined_proposal_is_right_far_away(
    make_model: MakeModel,
    far_rows: Tensor,
    exact: LogProb,
    estimate: Estimate,
) -> None:
    """Thirty standard deviations, where the encoder alone is off by many nats."""
    vae = make_model(1 / 3, shift=3.0)
    encoder = estimate(vae, far_rows, alone(EncoderProposal(), 4096))
    refined = estimate(vae, far_rows, alone(RefinedProposal(), 4096))
    assert exact(far_rows).max() < -400
    assert (encoder.log_density - exact(far_rows)).abs().median() > 0.3
    torch.testing.assert_close(refined.log_density, exact(far_rows), rtol=0, atol=0.05)
    assert not refined.unreliable.any()


SEARCH = RefinedProposal(n_rounds=2, n_annealed_steps=64)


def test_search_from_the_prior_finds_the_large_mode_that_the_encoder_does_not_know(
    make_folded: MakeModel, folded_mass: FoldedMass, estimate: Estimate
) -> None:
    """The encoder knows of the latent −1 − x, which holds at most a tenth."""
    fold, x = -1.0, torch.linspace(1.2, 3.0, 20, dtype=torch.float64)[:, None]
    vae = make_folded(fold, side=-1)
    small, large = (folded_mass(x, fold, side) for side in (-1, 1))
    exact = np.logaddexp(small, large)
    truth = estimate(vae, x, alone(QuadratureProposal(), 1))
    np.testing.assert_allclose(truth.log_density, exact, rtol=0, atol=1e-6)
    near = estimate(vae, x, alone(RefinedProposal(), 1024))
    np.testing.assert_allclose(near.log_density, small, rtol=0, atol=0.05)
    assert (exact - small).min() > 2
    both = estimate(vae, x, alone(SEARCH, 1024))
    np.testing.assert_allclose(both.log_density, exact, rtol=0, atol=0.05)
    assert not both.unreliable.any()


def test_search_from_the_prior_finds_one_of_two_equal_modes(
    make_folded: MakeModel, folded_mass: FoldedMass, estimate: Estimate
) -> None:
    """If it finds only the mode that the encoder knows, log 2 is missing."""
    x = torch.linspace(0.6, 2.5, 40, dtype=torch.float64)[:, None]
    vae, one = make_folded(0.0, side=1), folded_mass(x, 0.0, 1)
    result = estimate(vae, x, alone(SEARCH, 1024))
    both, error = result.log_density.numpy(), result.standard_error.numpy()
    found = np.abs(both - one - np.log(2)) < 0.05
    assert (both > one - 0.05).all()
    assert (both < one + np.log(2) + 4 * error + 0.01).all()
    assert found.mean() > 0.25


# The other proposals


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2, float("nan")])
def test_defensive_share_is_between_zero_and_one(
    share: float, make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    with pytest.raises(ValueError, match=r"prior_share of DefensiveProposal.*got"):
        estimate(make_model(), rows, alone(DefensiveProposal(share), 32))


def test_defensive_proposal_bounds_the_weights_of_a_narrow_encoder(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    """The encoder is two posterior scales aside and three times too narrow."""
    vae, x = make_model(1 / 3, shift=6.0), rows[:60]
    encoder = estimate(vae, x, alone(EncoderProposal(), 4096))
    defensive = estimate(vae, x, alone(DefensiveProposal(0.3), 4096))
    assert encoder.unreliable.double().mean() > 0.9
    assert (encoder.log_density - exact(x)).abs().median() > 0.3
    error = (defensive.log_density - exact(x)).abs()
    assert (error < 4 * defensive.standard_error + 1e-6).all()
    assert error.median() < 0.05


def test_defensive_share_moves_from_the_encoder_to_the_prior(
    make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    """Near the ends there are about as many effective samples as at the ends."""
    vae, x = make_model(1.2), rows[:60]
    sizes = {
        name: estimate(vae, x, alone(proposal, 512)).effective_sample_size.median()
        for name, proposal in {
            "encoder": EncoderProposal(),
            "low": DefensiveProposal(0.01),
            "half": DefensiveProposal(0.5),
            "high": DefensiveProposal(0.99),
            "prior": PriorProposal(),
        }.items()
    }
    assert sizes["low"] > 0.9 * sizes["encoder"]
    assert sizes["high"] < 2 * sizes["prior"]
    assert sizes["high"] < sizes["half"] < sizes["low"]


def test_quadrature_has_no_need_of_an_encoder(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    vae = make_model(1 / 3, shift=50.0)
    result = estimate(vae, rows[:60], alone(QuadratureProposal(), 1))
    torch.testing.assert_close(result.log_density, exact(rows[:60]), rtol=0, atol=1e-6)
    assert (result.n_samples == 256**2).all()
    assert result.standard_error.max() < 1e-6


def test_quadrature_says_where_its_grid_is_too_coarse(
    make_model: MakeModel, rows: Tensor, exact: LogProb, estimate: Estimate
) -> None:
    x = rows[:60]
    errors, stated = [], []
    for n_points in (8, 12, 16, 40):
        result = estimate(make_model(), x, alone(QuadratureProposal(n_points), 1, 0.05))
        assert (result.n_samples == n_points**2).all()
        errors.append((result.log_density - exact(x)).abs())
        stated.append(result.standard_error)
        assert torch.equal(result.unreliable, result.standard_error > 0.05)
        # Two coarse grids may agree by chance.
        assert ((errors[-1] > 0.05) & ~result.unreliable).sum() <= 2
    assert errors[0].max() > 0.3
    assert stated[0].max() > 0.3
    assert errors[-1].max() < 1e-3


def test_quadrature_is_for_one_or_two_latents(estimate: Estimate) -> None:
    class Three:
        noise_dim = 3

        def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
            return noise, noise.sum(-1)

    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="proposal='refined'"):
        QuadratureProposal()._grid(Three(), x)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_points", [0, -3, 2.5, "many", None])
def test_quadrature_points_are_a_positive_int_or_auto(
    n_points: object, make_model: MakeModel, rows: Tensor, estimate: Estimate
) -> None:
    with pytest.raises(ValueError, match=r"n_points of QuadratureProposal.*'auto'"):
        estimate(make_model(), rows, alone(QuadratureProposal(n_points), 1))


def test_draws_are_not_those_of_the_search(make_model: MakeModel, rows: Tensor) -> None:
    """A proposal sees noise that is independent of that of the estimate."""
    seen: dict[str, RowNoise] = {}

    class Spy(EncoderProposal):
        alias = ""

        def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> object:
            seen["search"] = noise
            return super().prepare(model, x, noise)

    noise = RowNoise(np.arange(len(rows), dtype=np.uint64))
    vae, budget = make_model(), Budget(512, 512, 0.1)
    with torch.no_grad():
        ours = Spy().estimate(vae, rows, noise, budget)
        sampler = DrawSampler(rows, seen["search"], vae, vae.encode(rows))
        theirs = sampler.estimate(budget, vae.closed_form(rows))
    difference = ours.log_density - theirs.log_density
    assert (difference != 0).all()
    like = rows.new_zeros(1)
    numbers = torch.stack(
        [seen["search"].points(1, 0, 1, like), noise.points(1, 0, 1, like)]
    )
    assert (numbers[0] != numbers[1]).all()
