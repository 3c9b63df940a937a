"""Log-densities of one or two columns: marginal, or conditional on a row."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from skvae.display._columns import AxisColumn
from skvae.members.drawing import draw_from
from skvae.members.evidence import knows_errors, member_evidence
from skvae.members.pipelines import changes_rows
from skvae.members.rows import in_container_of
from skvae.tables.labels import is_frame
from skvae.tables.rows import take_rows, with_cells
from skvae.typing import Array, Density, Mask, Table

__all__ = ["LogDensity", "read_log_density"]

SEED = 0
# Most values of a map are far from the data, where the proposals that `evidence` would
# search for take ten times as long as these draws. The errors say what they are off by.
MAX_ACCURATE = 250
QUICKLY: dict[str, Any] = {"tol": 0.1, "max_samples": 512, "proposal": "defensive"}
USUAL: dict[str, Any] = {"tol": None, "max_samples": None, "proposal": None}
N_BEYOND = 10  # values beyond each end of an axis, as far as the axis is long


class LogDensity(NamedTuple):
    """Log-densities at all combinations of the values of one or two columns.

    Attributes
    ----------
    log_density : ndarray of shape (G,) or (G_y, G_x)
        Nats.
    standard_error : ndarray of the same shape, or None
        None where none is known.
    """

    log_density: Array
    standard_error: Array | None


@dataclass(frozen=True)
class _Grid:
    """All combinations of the values of one or two columns, G of them.

    Attributes
    ----------
    columns : sequence of int
        Numbers of the columns.
    cells : list of ndarray of shape (G,)
        The values of each column.
    log_weight : ndarray of shape (G,)
        Logarithms of the lengths or areas by which densities are summed.
    on_axes : ndarray of bool of shape (G,)
        Which of them are drawn; the others are beyond the axes.
    """

    columns: Sequence[int]
    cells: list[NDArray[Any]]
    log_weight: Array
    on_axes: Mask

    @classmethod
    def of(
        cls, columns: Sequence[int], axes: Sequence[AxisColumn], *, beyond: bool = False
    ) -> "_Grid":
        """Return the values of the axes, and others beyond them if these are asked for.

        A density is scaled to sum to one over all of them.
        """
        cells, weights, inside = zip(
            *(_values_and_weights(axis, beyond) for axis in axes), strict=True
        )
        return cls(
            columns,
            [values.ravel() for values in np.meshgrid(*cells)],
            np.log(np.prod(np.meshgrid(*weights), axis=0)).ravel(),
            np.all(np.meshgrid(*inside), axis=0).ravel(),
        )

    def in_place_of(self, row: Any) -> Any:
        """Return a row, once for each combination, with these values in its cells."""
        table: Any = take_rows(row, np.zeros(len(self.on_axes), dtype=np.intp))
        for j, values in zip(self.columns, self.cells, strict=True):
            table = with_cells(table, j, values)
        return table

    def normalised(self, log_density: Array) -> Array:
        """Return log-densities of the axes, scaled to sum to one over all values."""
        return (log_density - logsumexp(log_density + self.log_weight))[self.on_axes]


def _values_and_weights(
    axis: AxisColumn, beyond: bool
) -> tuple[NDArray[Any], Array, Mask]:
    if axis.is_discrete:
        step = axis.places[1] - axis.places[0] if len(axis.places) > 1 else 1.0
        n_values = len(axis.cells)
        return axis.cells, np.full(n_values, step), np.ones(n_values, dtype=bool)
    values = axis.places
    inside = np.ones(len(values), dtype=bool)
    if beyond:
        low, high = values[[0, -1]]
        more = np.linspace(0, high - low, N_BEYOND + 1)[1:]
        values = np.r_[low - more[::-1], values, high + more]
        inside = (values >= low) & (values <= high)
    # The trapezoidal rule.
    ends = np.r_[values[0], (values[1:] + values[:-1]) / 2, values[-1]]
    return values, np.diff(ends), inside


def read_log_density(
    density: Density,
    table: Table,
    columns: Sequence[int],
    axes: Sequence[AxisColumn],
    row: Any | None,
    n_draws: int,
) -> LogDensity:
    """Return the log-density of columns at the values of their axes.

    Parameters
    ----------
    density : estimator
        Fitted.
    table : array or data frame of shape (n, D)
        Rows, for their container.
    columns : sequence of one or two int
        Numbers of the columns.
    axes : sequence of AxisColumn
        The values of each.
    row : array or data frame of shape (1, D) or None
        What the columns are conditional on; None is for marginals.
    n_draws : int
        Rows that are drawn for marginals.
    """
    shape = tuple(len(axis.cells) for axis in reversed(axes))
    error: Array | None
    if row is None and len(columns) == table.shape[1]:
        grid = _Grid.of(columns, axes)
        first = take_rows(table, np.zeros(1, dtype=np.intp))
        log_density, error = _read(density, grid.in_place_of(first))
    elif _has_conditionals(density) and len(columns) == 2:
        log_density, error = _of_two(density, table, columns, axes, row)
    elif _has_conditionals(density):
        rows = _drawn(density, table, n_draws) if row is None else row
        log_density, error = _mean(_given(density, rows, columns[0], axes[0]))
    else:
        grid = _Grid.of(columns, axes, beyond=True)
        if row is None:
            slices = _slices(density, _drawn(density, table, n_draws), grid)
            log_density, error = _mean(slices)
        else:
            log_density, error = _read(density, grid.in_place_of(row))
            log_density = grid.normalised(log_density)
            error = None if error is None else error[grid.on_axes]
    return LogDensity(
        log_density.reshape(shape), None if error is None else error.reshape(shape)
    )


def _has_conditionals(density: Density) -> bool:
    """Whether a density has conditionals of its own, and reads the rows as they are."""
    return not changes_rows(density) and callable(getattr(density, "conditional", None))


def _options(n_values: int) -> dict[str, Any]:
    return USUAL if n_values <= MAX_ACCURATE else QUICKLY


def _read(density: Density, rows: Any) -> tuple[Array, Array | None]:
    """Return log-densities and their errors, if there are any."""
    with warnings.catch_warnings():
        _ignore_unreliable()
        evidence = member_evidence(
            density,
            rows,
            "the display",
            random_state=None,
            **_options(rows.shape[0]),
        )
    error = evidence.standard_error if knows_errors(density) else None
    return evidence.log_density, error


def _ignore_unreliable() -> None:
    # In a figure, the errors say so.
    warnings.filterwarnings("ignore", message="The log-density of .* lower bound")


def _given(density: Any, rows: Any, j: int, axis: AxisColumn) -> Array:
    """Return log p(column | the other cells) of n rows, shape (n, G)."""
    given = density.conditional(rows, j)
    if axis.labels is not None:
        with np.errstate(divide="ignore"):
            return np.log(given.probabilities())
    return given.log_pdf(np.tile(axis.places, (len(given), 1)))


def _of_two(
    density: Any,
    table: Any,
    columns: Sequence[int],
    axes: Sequence[AxisColumn],
    row: Any | None,
) -> tuple[Array, Array]:
    """Return log p(a, b | others) by the product rule, in both orders.

    Both would be equal but for the draws that each conditional is read by. Where two
    independent values differ by d, the standard error of their mean is d / 2.
    """
    missing = columns if row is not None else range(table.shape[1])
    row = take_rows(table, np.zeros(1, dtype=np.intp)) if row is None else row
    for j in missing:
        row = with_cells(row, j, [None if is_frame(row) else np.nan])

    def product(first: int, second: int) -> Array:
        """Return log p(first) + log p(second | first), of shape (G, G)."""
        rows = _Grid.of([columns[first]], [axes[first]]).in_place_of(row)
        of_first = _given(density, row, columns[first], axes[first])
        return of_first.T + _given(density, rows, columns[second], axes[second])

    one, other = product(0, 1).T, product(1, 0)
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(np.abs(one - other), nan=0.0)
    return np.logaddexp(one, other) - np.log(2), difference / 2


def _drawn(density: Any, table: Any, n_draws: int) -> Any:
    """Return rows drawn from a density, in the container of a table."""
    if not callable(getattr(density, "sample", None)):
        raise ValueError(
            f"The marginal of some columns needs a density with sample; {density!r} "
            f"has none. Fit it to these columns alone, or draw a conditional: given=0 "
            f"for the first row."
        )
    return in_container_of(table, draw_from(density, n_draws, SEED))


def _slices(density: Density, rows: Any, grid: _Grid) -> Array:
    """Return log p(columns | the other cells) of n rows, each scaled to sum to one."""
    each = np.empty((rows.shape[0], int(grid.on_axes.sum())))
    for k in range(len(each)):
        asked = grid.in_place_of(take_rows(rows, np.array([k])))
        each[k] = grid.normalised(_read(density, asked)[0])
    return each


def _mean(each: Array) -> tuple[Array, Array | None]:
    r"""Return the logarithm of the mean over draws of conditionals, and its error.

    .. math:: p(x_A) = E_{x_B \sim p}\; p(x_A \mid x_B)
    """
    n = len(each)
    log_mean = logsumexp(each, axis=0) - np.log(n)
    if n == 1:
        return log_mean, None
    ratio = np.exp(each - np.where(np.isfinite(log_mean), log_mean, 0.0))
    # By the delta method, the error of a logarithm is relative.
    return log_mean, ratio.std(0, ddof=1) / np.sqrt(n)
