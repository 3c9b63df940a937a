"""One distribution for all rows."""

from torch import Tensor

from skvae.model.distributions._base import LatentDistribution

__all__ = ["SharedDistribution"]


class SharedDistribution(LatentDistribution):
    """The same distribution for each of B rows.

    Parameters
    ----------
    distribution : LatentDistribution
        Without a batch shape.
    n_rows : int
        Number of rows, B.
    """

    def __init__(self, distribution: LatentDistribution, n_rows: int) -> None:
        self.distribution, self.n_rows = distribution, n_rows
        self.noise_dim = distribution.noise_dim

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws and their log-density."""
        return self.distribution.rsample(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density."""
        return self.distribution.log_prob(z)

    @property
    def mean(self) -> Tensor:
        """The mean, once for each row."""
        return self.distribution.mean.expand(self.n_rows, -1)

    @property
    def mode(self) -> Tensor:
        """The mode, once for each row."""
        return self.distribution.mode.expand(self.n_rows, -1)

    def detached(self) -> "SharedDistribution":
        """Share the detached distribution."""
        return SharedDistribution(self.distribution.detached(), self.n_rows)

    def select(self, rows: Tensor) -> "SharedDistribution":
        """Return the same for fewer rows."""
        return SharedDistribution(self.distribution, len(rows))
