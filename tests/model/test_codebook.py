"""Codes: sums over them are exact, whatever the likelihood and the missing cells."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp
from torch import Tensor

from skvae import (
    CodebookPrior,
    DiagonalPosterior,
    LadderPrior,
    VAEDensity,
    load,
    save,
)
from skvae.model import VAE
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LikelihoodSpec,
    MixtureLikelihood,
)
from skvae.model.priors.codebook import CodebookPriorModule
from tests.conftest import QUICK

MakeVAE = Callable[..., VAE]
Rows = Callable[..., Tensor]

SETTINGS = {**QUICK, "decoder": "mlp", "marginal_transform": None, "companion": None}
both = pytest.mark.parametrize(
    "prior",
    [CodebookPrior(6), CodebookPrior(3, 2), CodebookPrior(3, 2, "autoregressive")],
)


@both
@pytest.mark.parametrize(
    "likelihood", [GaussianLikelihood(), MixtureLikelihood(), BernoulliLikelihood()]
)
@pytest.mark.parametrize("gaps", [False, True])
def test_the_sum_is_that_of_all_codes_one_by_one(
    prior: CodebookPrior,
    likelihood: LikelihoodSpec,
    gaps: bool,
    make_vae: MakeVAE,
    rows: Rows,
) -> None:
    vae = make_vae(prior, DiagonalPosterior(), likelihood).double()
    x = rows(likelihood.support, n_rows=20).double()
    if gaps:
        x[::2, 0] = torch.nan
        x[:4] = x[:4].where(torch.arange(x.shape[1]) == 1, torch.nan)
    codes = vae.prior()
    mask = ~x.isnan()
    with torch.no_grad():
        each = []
        for point, log_weight in zip(codes.points, codes.log_weight, strict=True):
            raw = vae.raw(x, point.expand(1, len(x), -1))
            cells = vae.likelihood.column_log_prob(x.where(mask, 0.0), raw)[0]
            each.append(log_weight + cells.where(mask, 0.0).sum(1))
        expected = torch.stack(each).logsumexp(0)
        known = vae.exact_log_prob(x, vae.raw_of_codes())
        assert_allclose(known, expected, rtol=0, atol=1e-9)
        assert_allclose(vae.exact_log_prob(x), expected, rtol=0, atol=1e-9)
        assert_allclose(
            vae.encode(x).log_weight, torch.stack(each).T - expected[:, None], atol=1e-9
        )


def test_the_gradient_is_that_of_the_sum(make_vae: MakeVAE, rows: Rows) -> None:
    vae = make_vae(CodebookPrior(5), DiagonalPosterior(), GaussianLikelihood()).double()
    x = rows("real", n_rows=8).double()
    parameters = [
        parameter
        for name, parameter in vae.named_parameters()
        if not name.startswith("posterior.")
    ]
    draw = vae.draw(x, torch.zeros(1, len(x), 1, dtype=x.dtype))
    found = torch.autograd.grad(draw.log_mean_w.sum(), parameters)
    expected = torch.autograd.grad(vae.exact_log_prob(x).sum(), parameters)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.fixture(scope="module")
def crosses() -> np.ndarray:
    """Rows around four points."""
    rng = np.random.default_rng(0)
    return rng.choice([-2.0, 2.0], (240, 2)) + 0.3 * rng.normal(size=(240, 2))


@pytest.fixture(scope="module")
def fitted(crosses: np.ndarray) -> VAEDensity:
    prior = CodebookPrior(8)
    return VAEDensity(2, prior=prior, likelihood="gaussian", **SETTINGS).fit(crosses)


def test_a_gaussian_codebook_is_a_mixture_of_gaussians(
    fitted: VAEDensity, crosses: np.ndarray
) -> None:
    model, columns = fitted.model_, fitted.columns_
    u, log_jacobian = columns.to_model(crosses[:50])
    with torch.no_grad():
        codes = model.prior()
        raw = model.raw_of_codes()[:, 0]
        mean = model.likelihood.mean(raw).numpy()
        scale = model.likelihood.scale(raw[:, 1:]).expand(8, 2).numpy()
        of_code = stats.norm.logpdf(u[:, None], mean, scale).sum(-1)
        log_p = logsumexp(of_code + codes.log_weight.numpy(), axis=1)
        far = model.background
        both = np.stack(
            [
                log_p + np.log1p(-far.weight),
                far.log_prob(torch.as_tensor(u)).numpy() + np.log(far.weight),
            ]
        )
    evidence = fitted.evidence(crosses[:50])
    assert_allclose(evidence.log_density, logsumexp(both, axis=0) + log_jacobian)
    assert_array_equal(evidence.standard_error, 0)
    assert_array_equal(evidence.bias, 0)
    assert not evidence.unreliable.any()
    assert fitted.score(crosses) > -2.9  # a single Gaussian has -4.2


def test_transform_gives_codes_and_takes_them_back(
    fitted: VAEDensity, crosses: np.ndarray
) -> None:
    codes = fitted.transform(crosses)
    assert codes.shape == (240, 1)
    assert set(codes[:, 0]) <= set(range(8))
    assert list(fitted.get_feature_names_out()) == ["vaedensity0"]
    rows = fitted.inverse_transform(codes)
    assert np.abs(rows - crosses).mean() < 0.5
    for wrong in (8, -1, 0.5):
        with pytest.raises(ValueError, match=rf"from 0 to 7; got {wrong}"):
            fitted.inverse_transform([[wrong]])


def test_diagnosis_says_how_many_codes_are_used(
    fitted: VAEDensity, crosses: np.ndarray
) -> None:
    diagnosis = fitted.diagnose(crosses)
    share = np.unique(fitted.transform(crosses), return_counts=True)[1] / 240
    assert diagnosis.n_codes == 8
    assert_allclose(diagnosis.code_perplexity, np.exp(stats.entropy(share)))
    assert "8 codes, of perplexity" in str(diagnosis)
    assert diagnosis.to_dict()["code_perplexity"] == list(diagnosis.code_perplexity)


def test_it_samples_imputes_and_is_saved(
    fitted: VAEDensity, crosses: np.ndarray, tmp_path: object
) -> None:
    """Each of the four places gets its share: 4.9 σ, one false alarm in 10⁶."""
    drawn = np.sign(fitted.sample(4000, random_state=0))
    places = np.unique(drawn, axis=0, return_counts=True)[1]
    truth = np.unique(np.sign(crosses), axis=0, return_counts=True)[1] / 240
    assert np.abs(places / 4000 - truth).max() < 4.9 * (0.25 / 240) ** 0.5
    gaps = np.array([[2.0, np.nan], [np.nan, np.nan]])
    halves = np.stack(fitted.impute(gaps, n_draws=200, random_state=0))[:, 0, 1]
    assert np.abs(halves[np.abs(halves) < 4]).mean() == pytest.approx(2, abs=0.2)
    assert 0.3 < (halves > 0).mean() < 0.7
    file = f"{tmp_path}/density"
    save(fitted, file)
    assert_array_equal(load(file).score_samples(crosses), fitted.score_samples(crosses))


def test_codes_start_at_separate_centres() -> None:
    """Also where there are more of them than different rows."""
    module = CodebookPriorModule(6, 1, 2)
    start = type("Start", (), {})()
    start.z = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(5, 1).double()
    start.sample_weight = torch.ones(10, dtype=torch.float64)
    module.initialise(start)
    assert len(module.codes[0].unique(dim=0)) == 6
    assert module.logit.isfinite().all()


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (CodebookPrior(4, 3), "n_slots of CodebookPrior must divide"),
        (
            CodebookPrior(1000, 2, "table"),
            "at most 65,536; got n_codes=1000 to the power of",
        ),
        (CodebookPrior(4, masses="tables"), "masses of CodebookPrior must be 'auto'"),
        (CodebookPrior(0), "n_codes of CodebookPrior"),
        (LadderPrior((1, 1), top="codebook"), "top of LadderPrior must be a prior"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_built(prior: object, message: str, crosses: np.ndarray) -> None:
    with pytest.raises(ValueError, match=message):
        VAEDensity(2, prior=prior, **SETTINGS).fit(crosses)
