"""Distribution functions of Student-t and negative binomial numbers."""

import torch
from torch import Tensor

__all__ = ["incomplete_beta", "negative_binomial_cdf", "student_t_cdf"]

MAX_TERMS = 20_000
TINY = 1e-300
PRECISION = 1e-15


def incomplete_beta(a: Tensor, b: Tensor, x: Tensor, rest: Tensor) -> Tensor:
    r"""Return the regularised incomplete beta function.

    .. math:: I_x(a, b) = \frac{1}{B(a, b)} \int_0^x t^{a - 1} (1 - t)^{b - 1} dt

    By its continued fraction; an element's bits depend on no other.

    Parameters
    ----------
    a, b : Tensor
        Positive, of one shape, float64.
    x, rest : Tensor
        x and 1 − x, from 0 to 1: their small one keeps its digits.

    References
    ----------
    W. H. Press, S. A. Teukolsky, W. T. Vetterling and B. P. Flannery, 2007. Numerical
    recipes, section 6.4.
    """
    # The fraction converges fast on one side of the mean, and I_x(a, b) is
    # 1 − I_{1 − x}(b, a).
    swap = x > (a + 1) / (a + b + 2)
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    x, rest = torch.where(swap, rest, x), torch.where(swap, x, rest)
    log_front = a * x.log() + torch.special.xlog1py(b, -x).where(
        x < 0.5, b * rest.log()
    )
    log_front = log_front + torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    front = torch.where(x > 0, log_front.exp() / a, 0.0)
    value = (front * _continued_fraction(a, b, x, front > 0)).clamp(0, 1)
    return torch.where(swap, 1 - value, value)


def _continued_fraction(a: Tensor, b: Tensor, x: Tensor, active: Tensor) -> Tensor:
    """Return the fraction by the method of Lentz, where it is asked for."""

    def away_from_zero(value: Tensor) -> Tensor:
        return value.where(value.abs() > TINY, TINY)

    c = torch.ones_like(x)
    d = away_from_zero(1 - (a + b) * x / (a + 1)).reciprocal()
    fraction = d
    for m in range(1, MAX_TERMS):
        before = fraction
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = away_from_zero(1 + term * d).reciprocal()
            c = away_from_zero(1 + term / c)
            fraction = torch.where(active, fraction * c * d, fraction)
        active = active & ((fraction - before).abs() > PRECISION * before.abs())
        if not active.any():
            break
    return fraction


def student_t_cdf(t: Tensor, df: Tensor) -> Tensor:
    """Return P(T ≤ t) of a standard Student-t number; both of one shape, float64."""
    square = t.square()
    inside = square / df  # t² / ν
    tail = (1 + inside).reciprocal()
    half = torch.full_like(df, 0.5)
    rest = (1 + inside.reciprocal()).reciprocal()
    lower = 0.5 * incomplete_beta(df / 2, half, tail, rest)
    return torch.where(t < 0, lower, 1 - lower)


def negative_binomial_cdf(x: Tensor, mean: Tensor, size: Tensor) -> Tensor:
    """Return P(X ≤ x) of counts by mean and size; all of one shape, float64."""
    count = x.floor().clamp(min=0)
    total = size + mean
    cdf = incomplete_beta(size, count + 1, size / total, mean / total)
    return cdf.where(x >= 0, 0.0)
