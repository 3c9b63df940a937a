"""Mixtures of densities: their log-densities, and the weights that fit rows best."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from skvae.typing import Array

__all__ = ["MixingWeights", "log_joint", "log_mixture", "mixing_weights"]

TOL = 1e-10  # nats per row that other weights could gain
MAX_ITER = 2000
N_HALVINGS = 12


def log_joint(log_density: Array, weights: Array) -> Array:
    """Return log π_m p_m(x) of n rows and M densities, shape (n, M).

    Parameters
    ----------
    log_density : ndarray of shape (n, M)
        log p_m(x), nats.
    weights : ndarray of shape (M,)
        Probabilities π; log 0 is −inf.
    """
    with np.errstate(divide="ignore"):
        return log_density + np.log(weights)


def log_mixture(log_density: Array, weights: Array) -> Array:
    """Return log Σ_m π_m p_m(x) of n rows, shape (n,); arguments as for `log_joint`."""
    return np.logaddexp.reduce(log_joint(log_density, weights), axis=1)


@dataclass(frozen=True)
class MixingWeights:
    """Weights of a mixture, with a proof of how good they are.

    Attributes
    ----------
    weights : ndarray of shape (M,)
        Probabilities. A density that the mixture is better without has exactly zero.
    gap : float
        Upper bound on what any other weights could gain, nats per row.
    n_iter : int
        Number of steps of the search.
    """

    weights: Array
    gap: float
    n_iter: int


def mixing_weights(log_density: Array, sample_weight: Array) -> MixingWeights:
    r"""Maximise the mean log-density of a mixture over its weights.

    .. math:: \max_\pi f(\pi), \quad
              f(\pi) = \sum_i w_i \log \sum_m \pi_m\, p_m(x_i), \quad \sum_i w_i = 1

    f is concave, and its derivatives :math:`g_m = \sum_i w_i p_m(x_i) / p(x_i)` bound
    what is left to gain: :math:`\max f - f(\pi) \le \max_m g_m - 1`. The EM step
    :math:`\pi_m \leftarrow \pi_m g_m` never lowers f, but it is slow where two
    densities are alike. Newton's step with :math:`\pi \ge 0`, a small least-squares
    problem, is fast there. Each step of the search is the better one of the two.

    Parameters
    ----------
    log_density : ndarray of shape (n, M)
        log p_m(x_i), nats; −inf is allowed. Rows that are −inf under all densities do
        not count, because they are −inf under every mixture.
    sample_weight : ndarray of shape (n,)
        Positive.

    Returns
    -------
    result : MixingWeights
        f is at least that of the best density alone. Densities that are equal in all
        rows get equal weights.

    References
    ----------
    B. G. Lindsay, 1983. The geometry of mixture likelihoods: a general theory.

    Y. Kim, P. Carbonetto, M. Stephens and M. Anitescu, 2020. A fast algorithm for
    maximum likelihood estimation of mixture proportions using sequential quadratic
    programming.
    """
    n_densities = log_density.shape[1]
    weights = np.full(n_densities, 1 / n_densities)
    top = log_density.max(1)
    seen = top > -np.inf
    if not seen.any():
        return MixingWeights(weights, 0.0, 0)
    # Dividing each row by its largest density leaves π as it is, and prevents overflow.
    density = np.exp(log_density[seen] - top[seen, None])
    share = sample_weight[seen] / sample_weight[seen].sum()
    value = _mean_log(density, weights, share)
    gap, n_iter = np.inf, 0
    for n_iter in range(MAX_ITER + 1):
        ratio = density / (density @ weights)[:, None]
        slope = share @ ratio
        gap = max(float(slope.max()) - 1, 0.0)
        if gap <= TOL or n_iter == MAX_ITER:
            break
        weights, best = _step(density, share, weights, ratio, slope)
        if best <= value:  # all that is left is rounding
            break
        value = best
    # The search nears a weight of one but does not reach it: take it if it is better.
    alone = share @ np.where(density > 0, log_density[seen] - top[seen, None], -np.inf)
    first = int(alone.argmax())
    if alone[first] >= value:
        weights = np.zeros(n_densities)
        weights[alone == alone[first]] = 1 / (alone == alone[first]).sum()
    return MixingWeights(weights, gap, n_iter)


def _mean_log(density: Array, weights: Array, share: Array) -> float:
    with np.errstate(divide="ignore"):
        return float(share @ np.log(density @ weights))


def _step(
    density: Array, share: Array, weights: Array, ratio: Array, slope: Array
) -> tuple[Array, float]:
    """Return better weights, and their mean log-density."""
    # The step of the EM algorithm.
    better = weights * slope
    better /= better.sum()
    value = _mean_log(density, better, share)
    target = _newton_target(share, weights, ratio, slope)
    if target is None:
        return better, value
    # Newton's step may be too long: f is quadratic only nearby.
    length = 1.0
    for _ in range(N_HALVINGS):
        candidate = (1 - length) * weights + length * target
        candidate /= candidate.sum()
        candidate_value = _mean_log(density, candidate, share)
        if candidate_value >= value:
            return candidate, candidate_value
        length /= 2
    return better, value


def _newton_target(
    share: Array, weights: Array, ratio: Array, slope: Array
) -> Array | None:
    """Return the maximum over π ≥ 0 of a quadratic model of f(π) − Σ π, if it has one.

    Over all π ≥ 0, f(π) − Σ π has its maximum at weights that sum to one, where f has
    its maximum over probabilities. So π ≥ 0 is the only constraint that is needed.
    """
    curvature = ratio.T @ (share[:, None] * ratio)
    # A small penalty on the length of the step: equal densities are moved equally.
    curvature[np.diag_indices_from(curvature)] += 1e-9 * max(curvature.trace(), 1e-300)
    slope_at_zero = curvature @ weights + slope - 1
    try:
        lower = np.linalg.cholesky(curvature)
        target, _ = nnls(lower.T, np.linalg.solve(lower, slope_at_zero))
    except (np.linalg.LinAlgError, RuntimeError):
        return None
    return target if target.sum() > 0 and np.isfinite(target).all() else None
