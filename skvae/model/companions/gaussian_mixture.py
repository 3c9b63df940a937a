"""Gaussian mixtures and kernels as companions of real columns."""

import math
from collections.abc import Sequence
from numbers import Real

from skvae.model.companions._base import CompanionFit, CompanionSpec, CompanionTable
from skvae.model.companions._broad import BROAD_DF, StudentTFit
from skvae.model.companions._kernels import KernelDensityFit
from skvae.model.companions._mixtures import GaussianMixtureFit, mixture_completion
from skvae.model.spec import positive_int

__all__ = ["GaussianMixtureCompanion"]

MODES = (1, 2, 3, 5, 10, 20, 50)
BANDWIDTHS = (0.05, 0.08, 0.13, 0.2, 0.33, 0.52, 0.84)
MANY_ROWS = 2000  # from which on covariances need less of a prior
EQUAL_ROWS = 1e4  # of a prior that makes all covariances of a mixture equal
MOST_WORK = 1e9  # rows × modes × columns²


class GaussianMixtureCompanion(CompanionSpec):
    """Gaussian mixtures of several sizes, and kernels of several widths.

    All of them have full covariances: mixtures a covariance for each mode, kernels that
    of the whole table, times the square of their bandwidth. Mixtures are fitted as they
    are, and with covariances that are drawn to their mean over the modes, as if each
    had seen D + 2 more rows. Up to 2,000 rows, mixtures and kernels are also fitted
    with covariances that are shrunk to their diagonals in the same way, and mixtures
    with equal covariances. A Student-t distribution with three degrees of freedom takes
    the rows far from all others. Rows that were not fitted decide about the weights of
    all of these.

    Parameters
    ----------
    n_modes : tuple of int, default=(1, 2, 3, 5, 10, 20, 50)
        Sizes of the mixtures, in rising order; a mode has three rows or more. Larger
        ones are not tried where held-out rows are worse off with them, nor in tables
        of so many rows and columns that they would take minutes.
    bandwidths : tuple of float, default=(0.05, 0.08, 0.13, 0.2, 0.33, 0.52, 0.84)
        Standard deviations of the kernels, in units of that of the rows; none for no
        kernels.

    Examples
    --------
    >>> from skvae import GaussianMixtureCompanion, VAEDensity
    >>> VAEDensity(companion=GaussianMixtureCompanion(bandwidths=()))
    VAEDensity(companion=GaussianMixtureCompanion(bandwidths=()))
    """

    alias = "gaussian_mixture"

    def __init__(
        self,
        n_modes: tuple[int, ...] = MODES,
        bandwidths: tuple[float, ...] = BANDWIDTHS,
    ) -> None:
        self.n_modes = n_modes
        self.bandwidths = bandwidths

    def series(self, table: CompanionTable) -> Sequence[Sequence[CompanionFit]]:
        """Return mixtures in a series for each prior, and kernels one by one."""
        floor, more_rows = table.floor, len(table.floor) + 2.0
        most = min(table.n_rows // 3, MOST_WORK / (table.n_rows * len(floor) ** 2))
        for bandwidth in self.bandwidths:
            if not isinstance(bandwidth, Real) or not 0 < bandwidth < math.inf:
                raise ValueError(
                    f"each of bandwidths must be a positive number, got {bandwidth!r}."
                )
        modes = [positive_int(n, "each of n_modes") for n in self.n_modes]
        completion = mixture_completion(floor, table.n_rows)
        series: list[list[CompanionFit]] = [[StudentTFit(BROAD_DF, floor)]]
        priors = [(0.0, False), (more_rows, True)]
        if table.n_rows <= MANY_ROWS:
            priors += [(more_rows, False), (EQUAL_ROWS, True)]
        for prior_rows, pooled in priors:
            series.append(
                [
                    GaussianMixtureFit(n_modes, floor, prior_rows, pooled, completion)
                    for n_modes in modes
                    if n_modes == 1 or n_modes <= most
                ]
            )
            if pooled:
                continue
            for bandwidth in self.bandwidths:
                kernels = KernelDensityFit(bandwidth, floor, prior_rows, completion)
                series.append([kernels])
        return series
