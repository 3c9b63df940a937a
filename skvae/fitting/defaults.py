"""What "auto" means: settings by rule in the numbers of rows and columns."""

import math
from dataclasses import dataclass

from skvae.fitting.parameters import Parameters

__all__ = ["FitSettings", "TableSize", "fit_settings"]

MAX_VALIDATION_ROWS = 5000
# Training stops early, by validation rows, from as many rows on.
MIN_ROWS_TO_STOP_EARLY = 8
# A tenth of few rows tells little: as many validate, but no more than this share.
FEW_VALIDATION_ROWS, MOST_VALIDATION = 25, 0.25
# Wide tables of as many rows have few rows per column, but enough of them.
MANY_ROWS = 30_000
LARGE_ROWS = 20_000  # more rows are worth more steps, as their cube root
# Training goes on for as many epochs, for as many steps, and for such a share of what
# it took until then, after the last improvement.
PATIENCE_EPOCHS, PATIENCE_STEPS, PATIENCE_SHARE = 10, 150, 0.5
# Small tables are fitted as well by small networks, in a fraction of the time; where
# rows per column are few, so is a shallower autoregressive decoder.
SMALL_ROWS = 800
# Too few rows to tell candidates well apart, or at all.
SHORT_RACE_ROWS, NO_RACE_ROWS = 500, 100
LAYERS = ((96,) * 6, (64,) * 3)  # of larger tables, and of small ones
FEW_ROWS_LAYERS = ((128, 128), (64, 64))
DROPOUT = (0.0, 0.1, 0.2)  # by rows per column: from 900, from 200, below
WEIGHT_DECAY = (1e-4, 0.03, 0.3)
# The smoothing, in spreads of a column, is (30 / rows per column)², at most 0.6. It
# vanishes where rows are many: strange rows then stand out from thin directions of
# the table, which smoothing would widen.
SMOOTHING_ROWS = 30.0
MOST_SMOOTHING = 0.6


@dataclass(frozen=True)
class TableSize:
    """The numbers that rules read.

    Attributes
    ----------
    n_rows : int
        Distinct rows.
    n_draws : int
        Rows per epoch, validation rows included.
    n_features : int
        Columns that have a density.
    n_given : int, default=0
        Columns that the density is conditional on.
    """

    n_rows: int
    n_draws: int
    n_features: int
    n_given: int = 0

    @property
    def rows_per_column(self) -> float:
        """How many rows there are to learn each column from."""
        return self.n_draws / (self.n_features + self.n_given)


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
    patience, patience_share : float
        Epochs without improvement before training stops, and which share of the epochs
        until the improvement they have to be as well.
    dropout, weight_decay : float
        Regularisation of the networks.
    smoothing : float
        Least standard deviation of the likelihood, in spreads of the column.
    hidden_layer_sizes, few_rows_layers : tuple of int
        Widths of the networks, and of an autoregressive decoder for few rows.
    few_rows : bool
        Whether rows per column are too few to do without regularisation.
    race, short_race : bool
        Whether rows are enough to tell candidates apart, and too few to do it well.
    tiny : bool
        Whether rows are too few to set some of them aside.
    """

    latent_levels: tuple[int, ...]
    n_epochs: int
    n_valid: int
    patience: float
    patience_share: float
    dropout: float
    weight_decay: float
    smoothing: float
    hidden_layer_sizes: tuple[int, ...]
    few_rows_layers: tuple[int, ...]
    few_rows: bool
    tiny: bool
    race: bool
    short_race: bool

    @property
    def n_components(self) -> int:
        """Number of latents."""
        return sum(self.latent_levels)


def fit_settings(parameters: Parameters, size: TableSize) -> FitSettings:
    """Resolve every "auto" by the size of the table.

    Parameters
    ----------
    parameters : Parameters
        The estimator's.
    size : TableSize
        Numbers of rows and columns.
    """
    n_valid = _n_valid(parameters, size)
    levels = parameters.n_components
    if isinstance(levels, str):
        # More latents than a tenth of the rows would only store them.
        levels = max(1, min(size.n_features, 12, size.n_rows // 10))
    levels = levels if isinstance(levels, tuple) else (levels,)
    n_epochs = _n_epochs(parameters, size, n_valid)
    patience, patience_share = parameters.n_iter_no_change, 0.0
    if isinstance(patience, str):
        n_steps = _steps_per_epoch(parameters, size, n_valid)
        patience = max(PATIENCE_EPOCHS, math.ceil(PATIENCE_STEPS / n_steps))
        patience_share = PATIENCE_SHARE
    smoothing = parameters.smoothing
    if isinstance(smoothing, str):
        smoothing = min((SMOOTHING_ROWS / size.rows_per_column) ** 2, MOST_SMOOTHING)
    if size.rows_per_column >= 900 or size.n_draws >= MANY_ROWS:
        heavy = 0
    else:
        heavy = 1 if size.rows_per_column >= 200 else 2
    dropout, weight_decay = parameters.dropout, parameters.weight_decay
    layers, small = parameters.hidden_layer_sizes, size.n_draws < SMALL_ROWS
    return FitSettings(
        latent_levels=tuple(int(number) for number in levels),
        n_epochs=n_epochs,
        n_valid=n_valid,
        patience=float(patience),
        patience_share=patience_share,
        dropout=DROPOUT[heavy] if isinstance(dropout, str) else float(dropout),
        weight_decay=(
            WEIGHT_DECAY[heavy]
            if isinstance(weight_decay, str)
            else float(weight_decay)
        ),
        smoothing=float(smoothing),
        hidden_layer_sizes=(
            LAYERS[small] if isinstance(layers, str) else tuple(layers)
        ),
        few_rows_layers=FEW_ROWS_LAYERS[small],
        few_rows=heavy > 0,
        race=n_valid > 0 and size.n_draws >= NO_RACE_ROWS,
        short_race=size.n_draws < SHORT_RACE_ROWS,
        tiny=parameters.early_stopping == "auto" and not n_valid,
    )


def _n_valid(parameters: Parameters, size: TableSize) -> int:
    """Return how many rows validate; none where training does not stop early."""
    stops = parameters.early_stopping
    stops_itself = isinstance(stops, str)
    if stops_itself:
        stops = size.n_draws >= MIN_ROWS_TO_STOP_EARLY
    if not stops:
        return 0
    share = parameters.validation_fraction
    if stops_itself:
        few = FEW_VALIDATION_ROWS / size.n_draws
        share = max(share, min(MOST_VALIDATION, few))
    n_valid = round(share * size.n_draws)
    return min(max(min(n_valid, MAX_VALIDATION_ROWS), 1), size.n_draws - 1)


def _n_epochs(parameters: Parameters, size: TableSize, n_valid: int) -> int:
    """Return the largest number of epochs.

    "auto" is 100 epochs, but 4,500 to 12,000 steps; fewer for tiny tables, more for
    large ones.
    """
    if not isinstance(parameters.max_iter, str):
        return int(parameters.max_iter)
    steps_per_epoch = _steps_per_epoch(parameters, size, n_valid)
    most = 12_000 * max(1.0, size.n_draws / LARGE_ROWS) ** (1 / 3)
    n_steps = min(max(100 * steps_per_epoch, 4500), most)
    n_steps *= min(1.0, math.sqrt(size.n_draws / 800))
    return math.ceil(n_steps / steps_per_epoch)


def _steps_per_epoch(parameters: Parameters, size: TableSize, n_valid: int) -> int:
    return math.ceil((size.n_draws - n_valid) / parameters.batch_size)
