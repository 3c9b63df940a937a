"""The public records of an evidence estimate."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae.reports import data_frame, html_report, html_table, html_text

__all__ = ["MEAN_TOL", "Bounds", "Evidence"]

MEAN_TOL = 0.3  # nats: the tolerance of rows of which only the mean is asked for
MOST_BIAS = -0.5  # nats
MAX_LINES = 10  # of the table that a notebook shows


@dataclass(frozen=True)
class Evidence:
    """Log-densities of n rows, with what is known about their errors.

    Attributes
    ----------
    log_density : ndarray of shape (n,)
        log p̂(x) in nats, in the units of the input columns.
    standard_error : ndarray of shape (n,)
        Standard error of `log_density`, in nats.
    bias : ndarray of shape (n,)
        Estimate of how far `log_density` is from log p(x) in expectation: the logarithm
        of an average is too small. It is noisy, and far smaller than the error of the
        row; see `unbiased`.
    effective_sample_size : ndarray of shape (n,)
        (Σ w)² / Σ w² of the importance weights: the number of equal weights that
        would give as small an error.
    pareto_k : ndarray of shape (n,)
        Tail shape k̂ of the importance weights: the mean of that of each half of them;
        nan where a half has fewer than 25.
    n_samples : ndarray of int of shape (n,)
        Number of importance samples that the value is made of.
    n_stages : ndarray of int of shape (n,)
        Number of the proposal that the value comes from, of the later one where its
        halves come from two: 1 is the encoder, 2 and 3 are Gaussians fitted to the row
        in few and in more steps, 4 is a mixture adapted to it, and 5 such a mixture
        with modes found from the prior. With one latent, 1 is the encoder mixed with
        the prior, 2 and 3 are grids, and 4 is the last mixture. Where the decoder reads
        no latents, or these are codes, nothing is sampled: one sample gives the value
        without an error, and k̂ is −∞.
    background_share : ndarray of shape (n,)
        Probability that the row comes from the background, or from the broad part of
        the companion, given the row; 0 without them.
    companion_share : ndarray of shape (n,)
        Probability that the row comes from the rest of the companion; 0 without one.
    unreliable : ndarray of bool of shape (n,)
        Whether to read the value as a lower bound: k̂ is nan, or above
        min(1 − 1/log₁₀ K, 0.7) with K the number of weights (by more than its standard
        error if K < 1,000), and the latent part has at least 5 % of the row's density.
    """

    log_density: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    bias: NDArray[np.float64]
    effective_sample_size: NDArray[np.float64]
    pareto_k: NDArray[np.float64]
    n_samples: NDArray[np.int64]
    n_stages: NDArray[np.int64]
    background_share: NDArray[np.float64]
    companion_share: NDArray[np.float64]
    unreliable: NDArray[np.bool_]

    def unbiased(self) -> NDArray[np.float64]:
        """Return log-densities without the estimated bias, for means over rows.

        In a mean over many rows errors average out, and biases do not. For a single
        row, `log_density` has the smaller error.

        Returns
        -------
        log_density : ndarray of shape (n,)
            Nats.
        """
        # Of few draws with heavy tails, the estimate of a bias is good for nothing.
        return self.log_density - self.bias.clip(min=MOST_BIAS)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each row.

        Returns
        -------
        frame : pandas.DataFrame
            The columns are the attributes.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return data_frame(columns)

    def _repr_html_(self) -> str:
        n_rows = len(self.log_density)
        head = ("row", "log p(x)", "± error", "samples", "stage", "k̂", "reliable")
        lines = [
            (
                str(i),
                f"{self.log_density[i]:.3f}",
                f"{self.standard_error[i]:.3f}",
                f"{self.n_samples[i]:,}",
                str(self.n_stages[i]),
                f"{self.pareto_k[i]:.2f}",
                "no" if self.unreliable[i] else "yes",
            )
            for i in range(min(n_rows, MAX_LINES))
        ]
        parts = [html_table(f"Evidence of {n_rows:,} rows, nats", head, lines)]
        n_bad = int(self.unreliable.sum())
        if n_bad:
            parts.append(html_text(f"{n_bad:,} rows are lower bounds only."))
        if n_rows > MAX_LINES:
            parts.append(html_text(f"… {n_rows:,} rows in all, by to_frame()"))
        return html_report(*parts)


@dataclass(frozen=True)
class Bounds:
    """Lower bounds on the log-densities of n rows, in nats.

    Each is estimated without bias from independent draws of the encoder. In
    expectation, ELBO = IWAE₁ ≤ IWAE₂ ≤ … ≤ log p(x). The estimates of one row need not
    be in this order.

    Attributes
    ----------
    n_samples : tuple of int
        The numbers K.
    elbo : ndarray of shape (n,)
        Evidence lower bound, in the units of the input columns.
    iwae : ndarray of shape (len(n_samples), n)
        Importance-weighted bound for each K.
    """

    n_samples: tuple[int, ...]
    elbo: NDArray[np.float64]
    iwae: NDArray[np.float64]

    @classmethod
    def of(cls, n_samples: Sequence[int], bounds: NDArray[np.float64]) -> "Bounds":
        """Return the record of bounds (1 + len(n_samples), n), the ELBO first."""
        iwae = bounds[1:].reshape(len(n_samples), -1)
        return cls(tuple(n_samples), bounds[0], iwae)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each row.

        Returns
        -------
        frame : pandas.DataFrame
            Columns "elbo", and "iwae_K" for each K.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        names = (f"iwae_{number}" for number in self.n_samples)
        columns = {"elbo": self.elbo, **dict(zip(names, self.iwae, strict=True))}
        return data_frame(columns)
