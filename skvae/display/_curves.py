"""Log-densities of one or two columns: marginal, or conditional on a row."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.utils import get_tags

from skvae.display._columns import AxisColumn
from skvae.evidence import Evidence
from skvae.members.drawing import draw_from
from skvae.members.evidence import knows_errors, member_evidence
from skvae.members.pipelines import changes_rows, last_step
from skvae.members.rows import in_container_of
from skvae.tables.rows import take_rows, with_cells
from skvae.typing import Array, Density, Table

__all__ = ["LogDensity", "read_log_density"]

SEED = 0
# Most values of a grid are far from the data, where the proposals that `evidence` would
# search for take ten times as long as these draws. What they are off by is in the error.
QUICKLY: dict[str, Any] = {"tol": 0.1, "max_samples": 512, "proposal": "defensive"}
LABEL = "the display"


class LogDensity(NamedTuple):
    """Log-densities at all combinations of the values of one or two columns.

    Attributes
    ----------
    log_density : ndarray of shape (G,) or (G_y, G_x)
        Nats.
    standard_error : ndarray of the same shape, or None
        None where log-densities are exact.
    """

    log_density: Array
    standard_error: Array | None


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
        Rows that are drawn where the density has no method `marginal`.
    """
    shape = tuple(len(axis.cells) for axis in reversed(axes))
    grid = np.meshgrid(*(axis.cells for axis in axes))
    cells = [values.ravel() for values in grid]
    log_weight = np.log(_weights(axes))
    marginal = None if changes_rows(density) else getattr(density, "marginal", None)
    if row is not None:
        found = _conditional(density, row, columns, cells, log_weight)
    elif len(columns) == table.shape[1]:
        model: Any = take_rows(table, np.zeros(len(cells[0]), dtype=np.intp))
        found = _read(density, _with_all(model, columns, cells))
    elif callable(marginal):
        values = np.empty((len(cells[0]), len(columns)), dtype=object)
        for place, column in enumerate(cells):
            values[:, place] = column
        with warnings.catch_warnings():
            _ignore_unreliable()
            evidence = marginal(list(columns)).evidence(values, **QUICKLY)
        found = evidence.log_density, evidence.standard_error
    else:
        found = _by_draws(density, table, columns, cells, log_weight, n_draws)
    log_density, error = found
    return LogDensity(
        log_density.reshape(shape), None if error is None else error.reshape(shape)
    )


def _weights(axes: Sequence[AxisColumn]) -> Array:
    """Return the lengths or areas by which densities are summed, (G,)."""
    grid = np.meshgrid(*(axis.weight for axis in axes))
    return np.prod([values.ravel() for values in grid], axis=0)


def _with_all(table: Any, columns: Sequence[int], cells: Sequence[Any]) -> Any:
    for j, values in zip(columns, cells, strict=True):
        table = with_cells(table, j, values)
    return table


def _read(density: Density, rows: Any) -> tuple[Array, Array | None]:
    """Return log-densities and their errors, if there are any."""
    with warnings.catch_warnings():
        _ignore_unreliable()
        evidence: Evidence = member_evidence(
            density,
            rows,
            LABEL,
            random_state=None,
            **QUICKLY,
        )
    error = evidence.standard_error if knows_errors(density) else None
    return evidence.log_density, error


def _ignore_unreliable() -> None:
    # In a figure, the errors say so.
    warnings.filterwarnings("ignore", message="The log-density of .* lower bound")


def _conditional(
    density: Density,
    row: Any,
    columns: Sequence[int],
    cells: Sequence[Any],
    log_weight: Array,
) -> tuple[Array, Array | None]:
    """Return log p(columns | the other cells of a row)."""
    rows = take_rows(row, np.zeros(len(cells[0]), dtype=np.intp))
    log_density, error = _read(density, _with_all(rows, columns, cells))
    if not (get_tags(density).input_tags.allow_nan and _has_conditional(density)):
        return log_density - logsumexp(log_density + log_weight), error
    missing = [[None if values.dtype == object else np.nan] for values in cells]
    of_others, _ = _read(density, _with_all(row, columns, missing))
    return log_density - of_others, error


def _has_conditional(density: Density) -> bool:
    """Whether the log-density of a row with missing cells is that of the others."""
    return not changes_rows(density) and hasattr(last_step(density), "conditional")


def _by_draws(
    density: Density,
    table: Any,
    columns: Sequence[int],
    cells: Sequence[Any],
    log_weight: Array,
    n_draws: int,
) -> tuple[Array, Array]:
    r"""Return the marginal as a mean of conditionals over draws.

    .. math:: p(x_A) = E_{x_B \sim p}\; p(x_A \mid x_B)
    """
    if not callable(getattr(density, "sample", None)):
        raise ValueError(
            f"The marginal of some columns needs a density with marginal, as "
            f"VAEDensity has, or with sample; {density!r} has neither. Fit it to these "
            f"columns alone, or draw a conditional: given=0 for the first row."
        )
    # Rows of numbers and labels are drawn as arrays of objects.
    drawn = in_container_of(table, draw_from(density, n_draws, SEED))  # type: ignore[arg-type]
    same = np.zeros(len(cells[0]), dtype=np.intp)
    each = np.empty((n_draws, len(same)))
    for k in range(n_draws):
        rows = _with_all(take_rows(drawn, same + k), columns, cells)
        log_density, _ = _read(density, rows)
        each[k] = log_density - logsumexp(log_density + log_weight)
    log_mean = logsumexp(each, axis=0) - np.log(n_draws)
    with np.errstate(invalid="ignore"):
        ratio = np.exp(each - np.where(np.isfinite(log_mean), log_mean, 0.0))
    # By the delta method, the error of a logarithm is relative.
    error = ratio.std(0, ddof=1) / np.sqrt(n_draws) if n_draws > 1 else 0 * log_mean
    return log_mean, error
