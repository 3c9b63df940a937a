"""What "auto" means: settings by rule in the numbers of rows and columns."""

import math
from dataclasses import dataclass

__all__ = ["FitSettings", "fit_settings"]

MAX_VALIDATION_ROWS = 5000
MIN_ROWS_TO_STOP_EARLY = 100
# Wide tables of as many rows have few rows per column, but enough of them.
MANY_ROWS = 30_000
LARGE_ROWS = 20_000  # more rows are worth more steps, as their cube root
DROPOUT = (0.0, 0.1, 0.2)  # by rows per column: from 900, from 200, below
WEIGHT_DECAY = (1e-4, 0.03, 0.3)
# The smoothing, in spreads of a column, is (30 / rows per column)², at most 0.6.
# Where rows are many, thin directions are what strange rows stand out from.
SMOOTHING_ROWS = 30.0
MOST_SMOOTHING = 0.6


@dataclass(frozen=True)
class FitSettings:
    """The numbers that a fit uses after every "auto" has been resolved.

    Attributes
    ----------
    latent_levels : tuple of int
        Number of latents of every level, bottom first.
    n_epochs : int
        Passes over the training rows.
    n_valid : int
        Validation rows; 0 for none.
    patience : float
        Epochs without improvement before training stops.
    dropout, weight_decay : float
        Regularisation of the networks.
    smoothing : float
        Least standard deviation of the likelihood, in spreads of the column.
    few_rows : bool
        Whether rows per column are too few to do without regularisation.
    """

    latent_levels: tuple[int, ...]
    n_epochs: int
    n_valid: int
    patience: float
    dropout: float
    weight_decay: float
    smoothing: float
    few_rows: bool

    @property
    def n_components(self) -> int:
        """Number of latents."""
        return sum(self.latent_levels)


def fit_settings(
    *,
    n_rows: int,
    n_draws: int,
    n_features: int,
    n_given: int = 0,
    batch_size: int,
    n_components: int | str | tuple[int, ...],
    max_iter: int | str,
    early_stopping: bool | str,
    validation_fraction: float,
    n_iter_no_change: int | str,
    dropout: float | str,
    weight_decay: float | str,
    smoothing: float | str,
) -> FitSettings:
    """Resolve every "auto" of an estimator.

    Parameters
    ----------
    n_rows : int
        Distinct rows.
    n_draws : int
        Rows per epoch, validation rows included.
    n_features : int
        Columns that have a density.
    n_given : int, default=0
        Columns that the density is conditional on.
    batch_size, n_components, max_iter, early_stopping, validation_fraction, \
n_iter_no_change, dropout, weight_decay, smoothing
        The estimator's parameters.
    """
    if early_stopping == "auto":
        early_stopping = n_draws >= MIN_ROWS_TO_STOP_EARLY
    n_valid = 0
    if early_stopping:
        n_valid = min(round(validation_fraction * n_draws), MAX_VALIDATION_ROWS)
        n_valid = min(max(n_valid, 1), n_draws - 1)
    if n_components == "auto":
        # More latents than a tenth of the rows would only store them.
        n_components = max(1, min(n_features, 12, n_rows // 10))
    levels = n_components if isinstance(n_components, tuple) else (n_components,)
    steps_per_epoch = math.ceil((n_draws - n_valid) / batch_size)
    if max_iter == "auto":
        max_iter = math.ceil(_default_steps(n_draws, steps_per_epoch) / steps_per_epoch)
    n_epochs = int(max_iter)
    if n_iter_no_change == "auto":
        n_iter_no_change = max(10, math.ceil(n_epochs / 4))
    rows_per_column = n_draws / (n_features + n_given)
    if smoothing == "auto":
        smoothing = min((SMOOTHING_ROWS / rows_per_column) ** 2, MOST_SMOOTHING)
    if rows_per_column >= 900 or n_draws >= MANY_ROWS:
        heavy = 0
    else:
        heavy = 1 if rows_per_column >= 200 else 2
    return FitSettings(
        latent_levels=tuple(int(size) for size in levels),
        n_epochs=n_epochs,
        n_valid=n_valid,
        patience=float(n_iter_no_change),
        dropout=DROPOUT[heavy] if dropout == "auto" else float(dropout),
        weight_decay=(
            WEIGHT_DECAY[heavy] if weight_decay == "auto" else float(weight_decay)
        ),
        smoothing=float(smoothing),
        few_rows=heavy > 0,
    )


def _default_steps(n_draws: int, steps_per_epoch: int) -> float:
    """100 epochs, 4,500 to 12,000 steps; fewer for tiny tables, more for large ones."""
    most = 12_000 * max(1.0, n_draws / LARGE_ROWS) ** (1 / 3)
    n_steps = min(max(100 * steps_per_epoch, 4500), most)
    return n_steps * min(1.0, math.sqrt(n_draws / 800))
