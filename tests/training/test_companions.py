"""How companions share p(x): folds, weights and the latent part beside them."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from skvae.model.companions import CompanionFit
from skvae.model.companions._broad import StudentTFit
from skvae.model.companions._kernels import KernelDensityFit
from skvae.model.companions._mixtures import GaussianMixtureFit
from skvae.training.companions import beside_pool, fit_pool, mixture_weights

FLOOR = torch.full((2,), 1e-3, dtype=torch.float64)
ONE = GaussianMixtureFit(1, FLOOR)
SERIES: list[list[CompanionFit]] = [
    [StudentTFit(3.0, FLOOR)],
    [ONE, GaussianMixtureFit(2, FLOOR)],
    [KernelDensityFit(0.4, FLOOR)],
]


def rows(n_rows: int = 80) -> Tensor:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 2))
    x[: n_rows // 2] += 4
    return torch.from_numpy(rng.permutation(x))


def folds(n_rows: int, n_folds: int) -> Tensor:
    return torch.arange(n_rows) % n_folds == torch.arange(n_folds)[:, None]


def log_p(n_rows: int = 200, n_members: int = 3) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal([0, 0.3, -1], size=(n_rows, n_members)))


def test_weights_are_the_most_likely_ones() -> None:
    values = log_p()
    weight = torch.linspace(0.5, 2, len(values), dtype=torch.float64)
    prior = torch.full((3,), 1e-6, dtype=torch.float64)
    shares = mixture_weights(values, weight, prior)

    def loss(logits: np.ndarray) -> float:
        share = torch.from_numpy(logits).log_softmax(0)
        return -float(weight @ (values + share).logsumexp(1))

    best = optimize.minimize(loss, np.zeros(3), method="Nelder-Mead", tol=1e-10)
    assert float(weight @ (values + shares.log()).logsumexp(1)) == pytest.approx(
        -best.fun, abs=1e-4
    )
    assert float(shares.sum()) == pytest.approx(1)


def test_without_rows_weights_are_the_prior() -> None:
    prior = torch.tensor([0.3, 1.2], dtype=torch.float64)
    shares = mixture_weights(torch.zeros(0, 2).double(), torch.zeros(0).double(), prior)
    torch.testing.assert_close(shares, prior / 1.5)


def test_rows_are_judged_by_parts_that_were_fitted_without_them() -> None:
    x, weight = rows(), torch.ones(80, dtype=torch.float64)
    held_out = folds(80, 4)
    pool = fit_pool(SERIES, x, weight, held_out)
    for fold in held_out:
        (without,) = ONE.fit(x[~fold], weight[None, ~fold])
        torch.testing.assert_close(pool.log_p[fold, 1], without.log_prob(x[fold]))
    (of_all,) = ONE.fit(x, weight[None])
    torch.testing.assert_close(pool.companions[1].log_prob(x), of_all.log_prob(x))


def test_two_modes_win_where_there_are_two() -> None:
    pool = fit_pool(SERIES, rows(), torch.ones(80).double(), folds(80, 4))
    shares = dict(zip(pool.names, pool.weight.tolist(), strict=True))
    assert shares["2 modes"] > 0.5
    assert shares["student_t"] >= 0.004


def test_series_ends_where_held_out_rows_are_worse_off() -> None:
    modes: list[CompanionFit] = [
        GaussianMixtureFit(n, 1e-3 * FLOOR) for n in (1, 2, 20, 26)
    ]
    pool = fit_pool([SERIES[0], modes], rows(), torch.ones(80).double(), folds(80, 4))
    assert pool.names == ["student_t", "1 mode", "2 modes", "20 modes"]


@pytest.mark.parametrize(("shift", "low", "high"), [(-3, 0.9, 1), (3, 0, 0.15)])
def test_latent_part_gets_what_it_explains(
    shift: float, low: float, high: float
) -> None:
    pool = fit_pool(SERIES, rows(), torch.ones(80).double(), folds(80, 4))
    some = torch.arange(30)
    latent = pool.held_out_log_p()[some] + shift
    share, mixture, shares = pool.beside(latent, some, torch.ones(30).double())
    assert low <= share <= high
    assert sum(shares.values()) == pytest.approx(share)
    assert "student_t" in shares
    assert mixture.log_prob(rows()).isfinite().all()


def test_latent_part_beside_the_pool() -> None:
    latent, known = torch.zeros(50).double(), torch.full((50,), -2.0).double()
    known[::7] = torch.nan
    mixed = beside_pool(latent, known, torch.ones(50).double())
    torch.testing.assert_close(mixed[::7], latent[::7])
    others = mixed[known.isfinite()]
    assert (others < 0).all()
    assert (others > math.log(0.9)).all()


def test_latent_part_without_numbers_gets_next_to_nothing() -> None:
    pool = fit_pool(SERIES, rows(), torch.ones(80).double(), folds(80, 4))
    some = torch.arange(30)
    latent = torch.full((30,), torch.nan).double()
    share, mixture, _ = pool.beside(latent, some, torch.ones(30).double())
    assert 0.98 < share < 1
    assert mixture.log_prob(rows()).isfinite().all()
