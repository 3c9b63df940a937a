"""Methods that fill in missing cells of new rows.

A method is fitted to incomplete training rows. It fills in other rows, by one value
for each cell and, where it can, by draws; where it has a density, it also says how
probable the true values of the missing cells were. See :class:`Filled`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from time import process_time
from typing import Any

import numpy as np
from _command import with_components
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.mixture import GaussianMixture

__all__ = ["METHODS", "Filled", "imputer"]

Array = NDArray[np.float64]

N_DRAWS = 50
N_RIDGE_DRAWS = 20  # each is a fit of its own
MIWAE_LATENTS = 10
N_MODES = (1, 2, 5, 10, 20)
REG_COVAR = (1e-6, 1e-3)
N_REDRAWS = 2
HELD_OUT = 0.2


@dataclass(frozen=True)
class Filled:
    """Rows, filled in by one method.

    Parameters
    ----------
    point : ndarray of shape (n_rows, n_columns)
        One value for each missing cell.
    draws : ndarray of shape (n_draws, n_rows, n_columns) or None
        Draws of the missing cells given the observed ones.
    nats : ndarray of shape (n_rows,) or None
        Log-density of the true missing cells given the observed ones.
    fit_seconds, fill_seconds : float
        CPU seconds of the fit, and of point and draws together.
    """

    point: Array
    draws: Array | None
    nats: Array | None
    fit_seconds: float
    fill_seconds: float


# Maps training rows and judged rows, both with NaN, and the judged rows without.
Imputer = Callable[[Array, Array, Array], Filled]


def fill_by_vae(
    params: dict[str, Any], train: Array, judged: Array, truth: Array
) -> Filled:
    """Fill in with a VAEDensity."""
    from skvae import VAEDensity

    began = process_time()
    density = VAEDensity(**params).fit(train)
    fitted = process_time()
    point = density.impute(judged)
    draws = np.stack(density.impute(judged, n_draws=N_DRAWS, random_state=0))
    filled = process_time()
    nats = density.score_samples(truth) - density.score_samples(judged)
    return Filled(point, draws, nats, fitted - began, filled - fitted)


def fill_by_miwae(train: Array, judged: Array, truth: Array) -> Filled:
    """Fill in with the model of Mattei and Frellsen (2019), from the same parts."""
    from skvae import IWAE

    params = {
        "n_components": min(MIWAE_LATENTS, train.shape[1]),
        "prior": "normal",
        "posterior": "diagonal",
        "decoder": "mlp",
        "likelihood": "student_t",
        "objective": IWAE(n_samples=20, first_part=0),
        "background": None,
        "companion": None,
        "hidden_layer_sizes": (128, 128, 128),
        "marginal_transform": None,
        "random_state": 0,
    }
    return fill_by_vae(params, train, judged, truth)


def fill_by_points(imputer: Any, train: Array, judged: Array, truth: Array) -> Filled:
    """Fill in with one of scikit-learn's imputers, which knows no spread."""
    began = process_time()
    imputer.fit(train)
    fitted = process_time()
    point = imputer.transform(judged)
    return Filled(point, None, None, fitted - began, process_time() - fitted)


def fill_by_ridge(train: Array, judged: Array, truth: Array) -> Filled:
    """Fill in by chained Bayesian ridge regressions, and by draws from these."""
    filled = fill_by_points(IterativeImputer(random_state=0), train, judged, truth)
    draws, fit_seconds, fill_seconds = [], filled.fit_seconds, filled.fill_seconds
    for seed in range(N_RIDGE_DRAWS):
        drawing = IterativeImputer(sample_posterior=True, random_state=seed)
        drawn = fill_by_points(drawing, train, judged, truth)
        draws.append(drawn.point)
        fit_seconds += drawn.fit_seconds
        fill_seconds += drawn.fill_seconds
    return Filled(filled.point, np.stack(draws), None, fit_seconds, fill_seconds)


def fill_by_mixture(train: Array, judged: Array, truth: Array) -> Filled:
    """Fill in with a Gaussian mixture, whose conditionals have closed forms."""
    began = process_time()
    mixture = tuned_mixture(train)
    fitted = process_time()
    rng = np.random.default_rng(0)
    point = judged.copy()
    draws = np.repeat(judged[None], N_DRAWS, axis=0)
    for row in np.flatnonzero(np.isnan(judged).any(1)):
        cells = conditional_of(mixture, judged[row])
        point[row, cells.missing] = cells.mean()
        draws[:, row, cells.missing] = cells.sample(N_DRAWS, rng)
    filled = process_time()
    nats = mixture.score_samples(truth) - observed_nats(mixture, judged)
    return Filled(point, draws, nats, fitted - began, filled - fitted)


@dataclass(frozen=True)
class ConditionalMixture:
    """Mixture of Gaussians: the missing cells of a row given the observed ones.

    Parameters
    ----------
    missing : ndarray of shape (n_columns,), bool
        Which cells are missing.
    log_weights : ndarray of shape (n_modes,)
        Log-weights of the modes.
    means : ndarray of shape (n_modes, n_missing)
    covariances : ndarray of shape (n_modes, n_missing, n_missing)
    observed_nats : float
        Log-density of the observed cells.
    """

    missing: NDArray[np.bool_]
    log_weights: Array
    means: Array
    covariances: Array
    observed_nats: float

    def mean(self) -> Array:
        """Return the mean, (n_missing,)."""
        return np.exp(self.log_weights) @ self.means

    def sample(self, n_draws: int, rng: np.random.Generator) -> Array:
        """Return draws, (n_draws, n_missing)."""
        weights = np.exp(self.log_weights)
        modes = rng.choice(len(weights), n_draws, p=weights / weights.sum())
        noise = rng.standard_normal((n_draws, self.means.shape[1]))
        drawn = self.means[modes]
        for mode in np.unique(modes):
            root = np.linalg.cholesky(self.covariances[mode])
            drawn[modes == mode] += noise[modes == mode] @ root.T
        return drawn


def conditional_of(mixture: GaussianMixture, row: Array) -> ConditionalMixture:
    r"""Return the distribution of a row's missing cells given the observed ones.

    With :math:`\Sigma_{oo} = L L^\top` and :math:`G = L^{-1} \Sigma_{om}`, a mode has

    .. math:: \mu_m + G^\top L^{-1} (x_o - \mu_o), \qquad \Sigma_{mm} - G^\top G.
    """
    missing = np.isnan(row)
    covariances = mixture.covariances_
    root = np.linalg.cholesky(covariances[:, ~missing][:, :, ~missing])
    shift = row[~missing] - mixture.means_[:, ~missing]
    white = np.linalg.solve(root, shift[..., None])
    gain = np.linalg.solve(root, covariances[:, ~missing][:, :, missing])
    turned = gain.transpose(0, 2, 1)
    joint = np.log(mixture.weights_) - 0.5 * (
        np.square(white).sum((1, 2))
        + 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        + (~missing).sum() * np.log(2 * np.pi)
    )
    nats = float(logsumexp(joint))
    return ConditionalMixture(
        missing=missing,
        log_weights=joint - nats,
        means=mixture.means_[:, missing] + (turned @ white)[..., 0],
        covariances=covariances[:, missing][:, :, missing] - turned @ gain,
        observed_nats=nats,
    )


def observed_nats(mixture: GaussianMixture, rows: Array) -> Array:
    """Return the log-density of the observed cells of rows, (n_rows,)."""
    return np.array([conditional_of(mixture, row).observed_nats for row in rows])


def tuned_mixture(rows: Array) -> GaussianMixture:
    """Return the mixture that is best on the observed cells of a held-out fifth."""
    order = np.random.default_rng(0).permutation(len(rows))
    held, kept = np.split(order, [round(HELD_OUT * len(rows))])
    completed = drawn_by_ridge(rows[kept])
    best_score, best = -np.inf, (1, max(REG_COVAR))
    for settings in product(N_MODES, REG_COVAR):
        if settings[0] > len(kept):
            continue
        try:
            mixture = redrawn_mixture(rows[kept], completed, *settings)
            score = observed_nats(mixture, rows[held]).mean()
        except (ValueError, np.linalg.LinAlgError):  # a covariance has collapsed
            continue
        if score > best_score:
            best_score, best = score, settings
    return redrawn_mixture(rows, drawn_by_ridge(rows), *best)


def drawn_by_ridge(rows: Array) -> Array:
    """Return rows, their missing cells drawn from chained regressions."""
    return IterativeImputer(sample_posterior=True, random_state=0).fit_transform(rows)


def redrawn_mixture(
    rows: Array, completed: Array, n_modes: int, reg_covar: float
) -> GaussianMixture:
    """Fit a mixture to completed rows, and again to rows completed by itself."""
    mixture = GaussianMixture(
        n_modes, reg_covar=reg_covar, max_iter=200, warm_start=True, random_state=0
    )
    rng = np.random.default_rng(0)
    mixture.fit(completed)
    for _ in range(N_REDRAWS):
        completed = rows.copy()
        for row in np.flatnonzero(np.isnan(rows).any(1)):
            cells = conditional_of(mixture, rows[row])
            completed[row, cells.missing] = cells.sample(1, rng)[0]
        mixture.fit(completed)
    return mixture


def _trees() -> IterativeImputer:
    """Return chained regressions by trees, much like missForest."""
    trees = ExtraTreesRegressor(n_estimators=50, n_jobs=1, random_state=0)
    return IterativeImputer(trees, max_iter=5, random_state=0)


METHODS = ("vae", "miwae", "mean", "knn", "ridge", "trees", "gmm")


def imputer(method: str, params: dict[str, Any]) -> Imputer:
    """Return one of ``METHODS``; the parameters are those of ``"vae"``."""
    settings = {"random_state": 0, **with_components(params)}
    imputers: dict[str, Callable[[], Imputer]] = {
        "vae": lambda: partial(fill_by_vae, settings),
        "miwae": lambda: fill_by_miwae,
        "mean": lambda: partial(fill_by_points, SimpleImputer()),
        "knn": lambda: partial(fill_by_points, KNNImputer()),
        "ridge": lambda: fill_by_ridge,
        "trees": lambda: partial(fill_by_points, _trees()),
        "gmm": lambda: fill_by_mixture,
    }
    return imputers[method]()
