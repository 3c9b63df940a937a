"""Mixtures of densities: the weights that fit rows best, and the evidence of rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from skvae.evidence import Evidence
from skvae.evidence.sampling import NEGLIGIBLE_SHARE
from skvae.typing import Array

__all__ = ["MixingWeights", "exact_evidence", "mix_evidence", "mixing_weights"]

TOL = 1e-10  # nats per row, of what other weights could gain
MAX_ITER = 2000
N_HALVINGS = 12


@dataclass(frozen=True)
class MixingWeights:
    """Weights of a mixture, with a proof of how good they are.

    Attributes
    ----------
    weights : ndarray of shape (M,)
        Probabilities; exact zeros for densities that the mixture is better without.
    gap : float
        Bound on what any other weights could gain, nats per row.
    n_iter : int
        Number of steps.
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
    :math:`\pi_m \leftarrow \pi_m g_m` never loses but is slow between densities that
    are alike. So each step is the better one of that and of a Newton step with
    :math:`\pi \ge 0`, a small least-squares problem.

    Parameters
    ----------
    log_density : ndarray of shape (n, M)
        log p_m(x_i), nats; −inf is allowed. Rows without any density do not count:
        no weights make a difference to them.
    sample_weight : ndarray of shape (n,)
        Positive.

    Returns
    -------
    result : MixingWeights
        With f at least that of the best density alone. Densities that are equal in
        all rows get equal weights.

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
    # Relative to the row's largest density, no shift of log-densities overflows.
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
    better = weights * slope
    better /= better.sum()
    value = _mean_log(density, better, share)
    target = _newton_target(share, weights, ratio, slope)
    if target is None:
        return better, value
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
    """Return the non-negative maximum of the quadratic model, if there is one.

    That of f(π) − Σ π, whose maximum over all π ≥ 0 sums to one of itself.
    """
    curvature = ratio.T @ (share[:, None] * ratio)
    # A little more on the step: equal densities are moved equally.
    curvature[np.diag_indices_from(curvature)] += 1e-9 * max(curvature.trace(), 1e-300)
    slope_at_zero = curvature @ weights + slope - 1
    try:
        lower = np.linalg.cholesky(curvature)
        target, _ = nnls(lower.T, np.linalg.solve(lower, slope_at_zero))
    except (np.linalg.LinAlgError, RuntimeError):
        return None
    return target if target.sum() > 0 and np.isfinite(target).all() else None


def exact_evidence(log_density: Array) -> Evidence:
    """Return the evidence of log-densities that have no error."""
    zero = np.zeros(len(log_density))
    count = zero.astype(np.int64)
    return Evidence(
        log_density=log_density,
        standard_error=zero,
        effective_sample_size=zero + np.inf,
        pareto_k=zero - np.inf,
        n_samples=count,
        n_stages=count,
        background_share=zero,
        unreliable=np.zeros(len(log_density), dtype=np.bool_),
    )


def mix_evidence(weights: Array, parts: Sequence[Evidence]) -> Evidence:
    r"""Return the evidence of a mixture, given that of its densities.

    With :math:`r_m = \pi_m p_m(x) / p(x)`, the probability that the row comes from
    density m, the error of log p is :math:`\sum_m r_m e_m` by the delta method, and
    its standard error at most :math:`\sum_m r_m \mathrm{se}_m`, which is what is
    returned: all densities get the same noise for the same row, and their errors are
    correlated. The importance weights of all densities together have the effective
    sample size :math:`1 / \sum_m (r_m^2 / n_m)`.

    Parameters
    ----------
    weights : ndarray of shape (M,)
        π, all positive.
    parts : sequence of Evidence
        Of the same n rows.
    """
    log_density = np.stack([part.log_density for part in parts])
    log_joint = np.log(weights)[:, None] + log_density
    total = np.logaddexp.reduce(log_joint, axis=0)
    share = np.exp(log_joint - np.where(np.isfinite(total), total, 0.0))
    counts = share >= NEGLIGIBLE_SHARE

    def all_of(name: str) -> Array:
        return np.stack([getattr(part, name) for part in parts])

    def shared(values: Array, power: int) -> Array:
        # A density without a share of the row adds nothing, whatever its error.
        with np.errstate(invalid="ignore"):
            return np.where(share > 0, share**power * values, 0.0).sum(0)

    with np.errstate(divide="ignore"):
        size = 1 / shared(1 / all_of("effective_sample_size"), 2)
    return Evidence(
        log_density=total,
        standard_error=shared(all_of("standard_error"), 1),
        effective_sample_size=size,
        pareto_k=np.where(counts, all_of("pareto_k"), -np.inf).max(0),
        n_samples=all_of("n_samples").sum(0),
        n_stages=all_of("n_stages").max(0),
        background_share=shared(all_of("background_share"), 1),
        unreliable=np.logical_or.reduce(counts & (all_of("unreliable") > 0)),
    )
