"""More codes than a sum would take: masses, draws, gradients, and whole densities."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chisquare
from sklearn.base import clone
from torch import Tensor

from skvae import (
    CodebookPrior,
    ConditionalVAEDensity,
    DiagonalPosterior,
    RefinedProposal,
    SlotwiseProposal,
    VAEDensity,
    load,
    save,
)
from skvae.model import VAE
from skvae.model.distributions import (
    CombinationDistribution,
    SlotDistribution,
    vectors_of,
)
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.priors import codebook
from tests.conftest import GIVEN_QUICK, QUICK

MakeVAE = Callable[..., VAE]
Rows = Callable[..., Tensor]

FALSE_ALARM = 1e-6
M, C, WIDTH = 3, 4, 2
EVERY = torch.tensor(list(product(range(C), repeat=M)))
SETTINGS = {**QUICK, "marginal_transform": None, "max_iter": 6}


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def some_tables() -> Tensor:
    slot = torch.arange(M).repeat_interleave(C)
    return normal(M * C, M * C, seed=3) * (slot[:, None] < slot)


def slots(*, own: bool, tables: bool) -> SlotDistribution:
    logits = normal(2, M, C, seed=2) if own else normal(M, C, seed=2)
    table = some_tables() if tables else None
    return SlotDistribution(normal(M, C, WIDTH, seed=1), logits, table)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("tables", [False, True])
def test_masses_are_products_of_conditional_ones(own: bool, tables: bool) -> None:
    p = slots(own=own, tables=tables)
    found = p.log_mass(EVERY[:, None].expand(-1, 2, -1)).exp()
    assert_allclose(found.sum(0), 1)
    table = some_tables().numpy() if tables else np.zeros((M * C, M * C))
    for row, combination in product(range(2), (0, 17, 63)):
        logits = (p.logits[row] if own else p.logits).numpy()
        mass = 1.0
        for m in range(M):
            odds = logits[m].copy()
            for before in range(m):
                code = before * C + int(EVERY[combination, before])
                odds += table[code, m * C : (m + 1) * C]
            mass *= np.exp(odds[EVERY[combination, m]]) / np.exp(odds).sum()
        assert_allclose(found[combination, row], mass)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("tables", [False, True])
def test_draws_follow_the_masses(own: bool, tables: bool) -> None:
    """By Pearson's χ²; false-alarm rate 1e-6."""
    p = slots(own=own, tables=tables)
    n_draws = 20_000
    z, log_mass = p.rsample(normal(n_draws, 2, p.noise_dim, seed=4))
    assert_allclose(log_mass, p.log_prob(z))
    every = vectors_of(p.codes, EVERY)
    mass = p.log_prob(every[:, None].expand(-1, 2, -1)).exp()
    for row in range(2):
        counts = (z[:, None, row] == every).all(-1).sum(0)
        assert counts.sum() == n_draws
        assert chisquare(counts, n_draws * mass[:, row]).pvalue > FALSE_ALARM
    assert (p.log_prob(z + 1e-9) == -torch.inf).all()
    expected = mass.T @ every if own else mass[:, 0] @ every
    assert_allclose(p.mean, expected, atol=0.2 if tables else 1e-9)  # 128 draws


def test_the_mode_is_the_most_probable_code_of_each_slot() -> None:
    p = slots(own=True, tables=False)
    assert_array_equal(p.mode, vectors_of(p.codes, p.logits.argmax(-1)))
    mass, square = p.logits.softmax(-1), p.codes.square()
    expected = (mass[..., None] * square).sum(2).flatten(1)
    assert_allclose(p.second_moment(), expected)


def test_a_few_combinations_count_once() -> None:
    codes = normal(M, C, WIDTH, seed=1)
    numbers = torch.tensor([[0, 1, 2], [3, 0, 1], [0, 1, 2]])[None]
    p = CombinationDistribution(codes, numbers, torch.tensor([[0.0, 1.0, 0.0]]))
    every = vectors_of(codes, EVERY)
    mass = p.log_prob(every[:, None]).exp().squeeze(1)
    assert_allclose(mass.sum(), 1)
    assert_allclose(mass.max(), np.e / (1 + np.e))
    assert (mass > 0).sum() == 2
    z, log_mass = p.rsample(normal(5000, 1, 1))
    assert_allclose(log_mass, p.log_prob(z))
    assert_allclose(z.mean(0), p.mean, atol=5 * float(z.std(0).max()) / 5000**0.5)


@pytest.fixture
def few_count_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sums over all combinations be taken of none, so that they can be checked."""
    monkeypatch.setattr(codebook, "MOST_CODES", 1)


def sum_over_all(vae: VAE, x: Tensor, n_codes: int, n_slots: int) -> Tensor:
    """Return log p(x, c) of all combinations, (N, B)."""
    every = torch.tensor(list(product(range(n_codes), repeat=n_slots)))
    z = vectors_of(vae.prior.codes, every)[:, None].expand(-1, len(x), -1)
    return vae.log_likelihood(x, z) + vae.prior().log_prob(z)


@pytest.mark.usefixtures("few_count_as_many")
def test_the_encoder_follows_the_posterior(make_vae: MakeVAE, rows: Rows) -> None:
    """Its gradient is that of −KL(p(c | x) ‖ q(c | x)), by many draws, to a few %."""
    prior = CodebookPrior(4, 2)
    vae = make_vae(prior, DiagonalPosterior(), GaussianLikelihood()).double()
    x = rows("real", n_rows=2).double()
    draw = vae.draw(x, normal(40_000, len(x), 2, seed=5))
    encoder = list(vae.posterior.parameters())
    others = [*vae.prior.parameters(), *vae.decoder.parameters()]
    found = torch.autograd.grad(draw.log_mean_w.sum(), encoder, retain_graph=True)
    bound = torch.autograd.grad(draw.log_mean_w.sum(), others)
    log_joint = sum_over_all(vae, x, 4, 2)
    every = torch.tensor(list(product(range(4), repeat=2)))
    log_q = vae.encode(x).log_mass(every[:, None].expand(-1, len(x), -1))
    cross = (log_joint.detach().softmax(0) * log_q).sum()
    expected = torch.autograd.grad(cross, encoder)
    exact = torch.autograd.grad(log_joint.logsumexp(0).sum(), others)
    for ours, theirs in zip((*found, *bound), (*expected, *exact), strict=True):
        assert (ours - theirs).norm() < 0.05 * theirs.norm() + 1e-3


@pytest.mark.usefixtures("few_count_as_many")
@pytest.mark.parametrize("gaps", [False, True])
def test_evidence_is_the_sum_within_its_error(crosses: np.ndarray, gaps: bool) -> None:
    """A quick fit's encoder is poor; the errors are honest all the same.

    Of 32 rows, near and far, none is off by five standard errors: less than one false
    alarm in 10⁴ by normal errors, and in a hundred by errors of 10 degrees of freedom.
    """
    exact = {"evidence_tol": 0.02, "n_importance_samples": 64}
    density = VAEDensity(
        3,
        prior=CodebookPrior(4, 3),
        likelihood="gaussian",
        background=None,
        **{**SETTINGS, **exact, "max_evidence_samples": 1024},
    ).fit(crosses)
    table = np.r_[crosses[:24], 2 * crosses[50:58]]
    if gaps:
        table[::2, 0] = np.nan
    u, log_jacobian = density.columns_.to_model(table)
    with torch.no_grad():
        x = torch.as_tensor(u)
        log_p = sum_over_all(density.model_, x, 4, 3).logsumexp(0).numpy()
    log_p += log_jacobian
    for proposal in (None, SlotwiseProposal()):
        evidence = density.evidence(table, proposal=proposal)
        error = np.abs(evidence.log_density - log_p)
        told = ~evidence.unreliable
        assert told.mean() > (0.4 if gaps else 0.8)
        assert (error <= 5 * evidence.standard_error + 1e-6)[told].all()
        assert error.max() < 0.2


@pytest.fixture(scope="module")
def crosses() -> np.ndarray:
    """Rows around four points."""
    rng = np.random.default_rng(0)
    return rng.choice([-2.0, 2.0], (240, 2)) + 0.3 * rng.normal(size=(240, 2))


@pytest.fixture(scope="module")
def fitted(crosses: np.ndarray) -> VAEDensity:
    """Return a density with 2^20 combinations."""
    prior = CodebookPrior(16, 5)
    return VAEDensity(5, prior=prior, likelihood="gaussian", **SETTINGS).fit(crosses)


def test_it_does_all_that_a_density_does(
    fitted: VAEDensity, crosses: np.ndarray, tmp_path: object
) -> None:
    """Each of the four places gets its share: 4.9 σ, one false alarm in 10⁶."""
    codes = fitted.transform(crosses)
    assert codes.shape == (240, 5)
    assert np.isin(codes, range(16)).all()
    assert np.abs(fitted.inverse_transform(codes) - crosses).mean() < 0.5
    assert fitted.score(crosses) > -3.8  # a single Gaussian has -4.2
    drawn = np.sign(fitted.sample(4000, random_state=0))
    places = np.unique(drawn, axis=0, return_counts=True)[1]
    truth = np.unique(np.sign(crosses), axis=0, return_counts=True)[1] / 240
    assert np.abs(places / 4000 - truth).max() < 4.9 * (0.5 / 240) ** 0.5
    gaps = np.array([[2.0, np.nan], [np.nan, np.nan]])
    halves = np.stack(fitted.impute(gaps, n_draws=200, random_state=0))[:, 0, 1]
    assert np.median(np.abs(halves)) == pytest.approx(2, abs=0.6)
    assert 0.1 < (halves > 0).mean() < 0.9
    diagnosis = fitted.diagnose(crosses)
    assert diagnosis.n_codes == 16
    assert len(diagnosis.code_perplexity) == 5
    save(fitted, f"{tmp_path}/density")
    other = load(f"{tmp_path}/density")
    scores = fitted.score_samples(crosses[:40])
    assert_array_equal(other.score_samples(crosses[:40]), scores)
    assert_array_equal(other.transform(crosses), codes)
    assert_array_equal(fitted.score_samples(crosses[20:30]), scores[20:30])


def test_equal_seeds_give_equal_fits(fitted: VAEDensity, crosses: np.ndarray) -> None:
    again = clone(fitted).fit(crosses)
    state = fitted.model_.state_dict()
    for name, values in again.model_.state_dict().items():
        assert_array_equal(values, state[name])


def test_codes_can_be_conditional_and_columns_read(crosses: np.ndarray) -> None:
    prior = CodebookPrior(16, 5)
    of_target = ConditionalVAEDensity(5, prior=prior, **GIVEN_QUICK)
    of_target.fit(crosses[:, :1], crosses[:, 1:])
    log_p = of_target.score_samples(crosses[:20, :1], crosses[:20, 1:])
    assert np.isfinite(log_p).all()
    settings = {**SETTINGS, "decoder": "autoregressive", "max_iter": 2}
    density = VAEDensity(5, prior=prior, **settings).fit(crosses)
    gaps = crosses[:20].copy()
    gaps[::2, 0] = np.nan
    assert np.isfinite(density.score_samples(gaps)).all()
    elbo = {**SETTINGS, "objective": "elbo", "max_iter": 2}
    assert np.isfinite(VAEDensity(5, prior=prior, **elbo).fit(crosses).score(crosses))


def test_proposals_say_which_latents_they_are_for(
    fitted: VAEDensity, crosses: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="RefinedProposal is for continuous latents"):
        fitted.evidence(crosses, proposal=RefinedProposal())
    with pytest.raises(ValueError, match="QuadratureProposal is for continuous"):
        fitted.evidence(crosses, proposal="quadrature")
    continuous = VAEDensity(2, **SETTINGS).fit(crosses)
    with pytest.raises(ValueError, match="SlotwiseProposal is for a CodebookPrior"):
        continuous.evidence(crosses, proposal="slotwise")
