"""A user's own components, those of the gallery, are as good as ours."""

import importlib
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import trapezoid
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skvae
from skvae import ELBO, IWAE, VAEDensity
from skvae.model import LatentDraw
from tests.conftest import QUICK

ROOT = Path(skvae.__file__).parent.parent
EXAMPLES = ROOT / "examples"
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
NAMES = ["Student-t prior", "asymmetric Laplace", "Rényi bound", "all three"]
TINY = {**QUICK, "marginal_transform": None}

every_own = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def own() -> Iterator[ModuleType]:
    """Return the example, imported by its path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("plot_own_components")
        del sys.modules["plot_own_components"]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def test_every_own_component_of_the_example_is_tested(own: ModuleType) -> None:
    assert list(own.OWN) == NAMES


@every_own
def test_own_components_fit_score_sample_and_clone(
    name: str, own: ModuleType, table: np.ndarray
) -> None:
    density = clone(VAEDensity(**TINY, **own.OWN[name])).fit(table)
    for family, spec in own.OWN[name].items():
        assert type(getattr(density, f"{family}_")) is type(spec)
    assert np.isfinite(density.score_samples(table)).all()
    assert density.sample(5, random_state=0).shape == (5, 3)
    assert np.isfinite([record["objective"] for record in density.history_]).all()


def test_own_parameters_can_be_searched_over(
    own: ModuleType, table: np.ndarray
) -> None:
    density = VAEDensity(early_stopping=False, **TINY, **own.OWN["all three"])
    grid = {"prior__df": [2, 40], "objective__order": [0.0, 0.9]}
    search = GridSearchCV(density, grid, cv=2, error_score="raise").fit(table)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 4
    best = search.best_estimator_
    assert best.prior_.df == search.best_params_["prior__df"]
    assert best.prior is not density.prior


def test_pickle_opens_in_another_process(
    own: ModuleType, table: np.ndarray, tmp_path: Path
) -> None:
    density = VAEDensity(**TINY, **own.OWN["all three"]).fit(table)
    (tmp_path / "density.pkl").write_bytes(pickle.dumps(density))
    np.save(tmp_path / "table.npy", table)
    code = (
        "import pickle, sys, numpy as np\n"
        "density = pickle.load(open('density.pkl', 'rb'))\n"
        "np.save('scores.npy', density.score_samples(np.load('table.npy')))\n"
    )
    path = os.pathsep.join([str(EXAMPLES), str(ROOT)])
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg"},
        check=True,
    )
    scores = np.load(tmp_path / "scores.npy")
    np.testing.assert_allclose(scores, density.score_samples(table), rtol=1e-9)


# What the example says is true of the components


def test_own_prior_is_scipys_student_t(own: ModuleType) -> None:
    width = torch.tensor([0.5, 2.0], dtype=torch.float64)
    prior = own.StudentT(width, df=4)
    z, log_p = prior.rsample(normal(20_000, 1, prior.noise_dim))
    twin = stats.multivariate_t(shape=np.diag(width.numpy() ** 2), df=4)
    np.testing.assert_allclose(log_p[:, 0], twin.logpdf(z[:, 0].numpy()), atol=1e-9)
    for column, scale in zip(z[:, 0].T.numpy(), width.tolist(), strict=True):
        marginal = stats.t(df=4, scale=scale)
        assert stats.kstest(column, marginal.cdf).pvalue > FALSE_ALARM


def test_own_likelihood_is_scipys_asymmetric_laplace(own: ModuleType) -> None:
    floor = torch.zeros(1, dtype=torch.float64)
    module = own.AsymmetricLaplaceModule(floor)
    location, left, right = 0.3, 0.5, 2.0
    raw = torch.tensor([location, math.log(left), math.log(right)])[:, None].double()
    twin = stats.laplace_asymmetric(
        kappa=math.sqrt(left / right), loc=location, scale=math.sqrt(left * right)
    )
    x = torch.linspace(-5, 9, 50, dtype=torch.float64)[:, None]
    found = module.column_log_prob(x, raw.expand(1, 50, 3, 1))[0, :, 0]
    np.testing.assert_allclose(found, twin.logpdf(x[:, 0].numpy()), atol=1e-6)
    assert module.mean(raw).item() == pytest.approx(twin.mean(), abs=1e-6)
    drawn = module.sample(raw.expand(20_000, 3, 1), torch.Generator().manual_seed(0))
    assert stats.kstest(drawn[:, 0].numpy(), twin.cdf).pvalue > FALSE_ALARM


def test_own_objective_lies_between_elbo_and_importance_weighted_bound(
    own: ModuleType,
) -> None:
    log_w = 2 * normal(4, 50)
    zero = torch.zeros_like(log_w)
    draw = LatentDraw(z=zero[..., None], log_p_x=log_w, log_p_z=zero, log_q_z=zero)
    bounds = [own.RenyiBound(order).bound(draw, 0.0) for order in (0, 0.3, 0.9, 0.9999)]
    torch.testing.assert_close(bounds[0], IWAE().bound(draw, 0.0))
    torch.testing.assert_close(bounds[-1], ELBO().bound(draw, 0.0), atol=1e-2, rtol=0.0)
    for upper, lower in pairwise(bounds):
        assert (upper > lower).all()


@pytest.mark.filterwarnings("ignore:The log-density of:UserWarning")
def test_own_density_integrates_to_one(own: ModuleType, table: np.ndarray) -> None:
    """On one column, to 1 %."""
    settings = {**TINY, "n_importance_samples": 64, "max_evidence_samples": 1024}
    settings["evidence_tol"] = 0.02
    density = VAEDensity(**settings, **own.OWN["all three"], background=None)
    column = density.fit(table[:, :1]).columns_
    reach = 300 * float(column.scale[0])
    grid = table[:, 0].mean() + reach * np.linspace(-1, 1, 401) ** 5
    total = trapezoid(np.exp(density.score_samples(grid[:, None])), grid)
    assert total == pytest.approx(1, abs=0.01)
