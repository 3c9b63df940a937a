"""Missing numbers in model units: every column goes by its observed cells."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.evidence import row_hash
from skvae.model.features import ColumnKind
from skvae.tables.columns import Columns, fit_columns, merge_duplicates
from skvae.tables.given import ConditionalColumns, GivenColumns
from skvae.tables.margins import MonotoneMap, fit_normal_scores
from skvae.tables.output import Layout
from skvae.tables.scaling import location_and_scale, standardise
from skvae.tables.schema import TableSchema
from skvae.tables.whitening import fit_whitened_columns, has_thin_direction

Array = np.ndarray
NAN = np.nan
N = 400
KINDS = (*(ColumnKind("real"),) * 3, ColumnKind("count"), ColumnKind("binary"))
SETTINGS: list[dict[str, Any]] = [
    {"normal_margins": False},
    {"normal_margins": True},
    {"normal_margins": True, "smoothing": 0.3, "least_floor": 0.01},
]


@pytest.fixture(scope="module")
def whole() -> Array:
    """Return three real columns, one of them of few values; counts; zeros and ones."""
    rng = np.random.default_rng(0)
    return np.c_[
        np.exp(rng.normal(size=N)),
        1e5 + 3 * rng.normal(size=N),
        rng.normal(size=N).round(),
        rng.poisson(3, N),
        rng.integers(0, 2, N),
    ]


@pytest.fixture(scope="module")
def weight() -> Array:
    return np.random.default_rng(1).random(N)


@pytest.fixture(scope="module")
def some(whole: Array) -> Array:
    """Return the same table with missing cells in all columns but the second."""
    missing = np.random.default_rng(2).random(whole.shape) < [0.5, 0.0, 0.3, 0.1, 0.9]
    return np.where(missing, NAN, whole)


def bits(values: Any) -> bytes:
    return np.ascontiguousarray(values, dtype=float).tobytes()


def assert_same(ours: Columns, j: int, theirs: Columns) -> None:
    """Check that column j is fitted as the only column of another table."""
    assert ours.kinds[j] == theirs.kinds[0]
    for name in ("center", "scale", "floor"):
        assert_allclose(getattr(ours, name)[j], getattr(theirs, name)[0], rtol=1e-13)
    one, other = ours.maps[j], theirs.maps[0]
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert_allclose(one.x, other.x, rtol=1e-12, atol=1e-12)
        assert_allclose(one.slope, other.slope, rtol=1e-9)


# Scaling


def test_location_and_scale_are_those_of_the_observed_cells(
    some: Array, weight: Array
) -> None:
    center, scale = location_and_scale(some, weight)
    for j, column in enumerate(some.T):
        seen = ~np.isnan(column)
        expected = location_and_scale(column[seen], weight[seen])
        assert_allclose([center[j], scale[j]], expected, rtol=1e-13)
        assert_array_equal(location_and_scale(column, weight), expected)


def test_a_column_without_observed_cells_is_not_moved() -> None:
    rows = np.array([[NAN, 2.0, NAN], [NAN, 4.0, 7.0]])
    center, scale = location_and_scale(rows, np.ones(2))
    assert_array_equal(center, [0, 3, 7])
    assert_array_equal(scale, [1, 1, 7])
    assert_array_equal(location_and_scale(rows[:, 0], np.ones(2)), [0, 1])


def test_missing_cells_stay_missing(some: Array, weight: Array) -> None:
    with np.errstate(all="raise"):
        u = standardise(some, *location_and_scale(some, weight))
    assert_array_equal(np.isnan(u), np.isnan(some))


# Margins


def test_normal_scores_are_those_of_the_observed_cells(
    some: Array, weight: Array
) -> None:
    column = some[:, 0]
    seen = ~np.isnan(column)
    ours = fit_normal_scores(column, weight)
    theirs = fit_normal_scores(column[seen], weight[seen])
    assert isinstance(ours, MonotoneMap)
    assert isinstance(theirs, MonotoneMap)
    for name in ("x", "u", "slope"):
        assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert fit_normal_scores(np.r_[np.arange(49.0), [NAN] * 99], np.ones(148)) is None
    assert fit_normal_scores(np.full(100, NAN), np.ones(100)) is None


def test_a_monotone_map_keeps_missing_cells_apart(whole: Array, weight: Array) -> None:
    monotone = fit_normal_scores(whole[:, 0], weight)
    assert monotone is not None
    x = np.array([-5.0, NAN, 0.5, 1.0, NAN, 99.0])
    seen = ~np.isnan(x)
    with np.errstate(all="raise"):
        u, log_slope = monotone.forward(x)
        back = monotone.inverse(u)
    assert_array_equal(np.isnan(u), ~seen)
    assert_array_equal(log_slope[~seen], 0)
    assert bits(u[seen]) == bits(monotone.forward(x[seen])[0])
    assert bits(log_slope[seen]) == bits(monotone.forward(x[seen])[1])
    assert_array_equal(np.isnan(back), ~seen)
    assert bits(back[seen]) == bits(monotone.inverse(u[seen]))


# Columns


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_columns_are_fitted_to_their_observed_cells(
    settings: dict[str, Any], some: Array, weight: Array
) -> None:
    columns = fit_columns(some, weight, KINDS, **settings)
    for j, column in enumerate(some.T):
        seen = ~np.isnan(column)
        alone = fit_columns(
            column[seen, None], weight[seen], KINDS[j : j + 1], **settings
        )
        assert_same(columns, j, alone)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_jacobian_is_that_of_the_observed_columns(
    settings: dict[str, Any], whole: Array, some: Array, weight: Array
) -> None:
    columns = fit_columns(whole, weight, KINDS, **settings)
    u, log_jacobian = columns.to_model(some)
    alone = [
        Columns(
            KINDS[j : j + 1],
            columns.center[[j]],
            columns.scale[[j]],
            columns.maps[j : j + 1],
            columns.floor[[j]],
        ).to_model(whole[:, [j]])
        for j in range(len(KINDS))
    ]
    seen = ~np.isnan(some)
    expected = sum(np.where(seen[:, j], alone[j][1], 0.0) for j in range(len(KINDS)))
    assert_allclose(log_jacobian, expected, atol=1e-12)
    assert_array_equal(u, np.where(seen, np.concatenate([a for a, _ in alone], 1), NAN))
    back = columns.to_table(u)
    assert_array_equal(np.isnan(back), ~seen)
    assert bits(back[seen]) == bits(columns.to_table(columns.to_model(whole)[0])[seen])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_row_does_not_depend_on_what_other_rows_miss(
    settings: dict[str, Any], order: Any, whole: Array, some: Array, weight: Array
) -> None:
    columns = fit_columns(whole, weight, KINDS, **settings)
    u, log_jacobian = columns.to_model(whole)
    mixed = np.array(np.where(np.arange(N)[:, None] % 2, some, whole), order=order)
    u_mixed, log_jacobian_mixed = columns.to_model(mixed)
    assert bits(u_mixed[::2]) == bits(u[::2])
    assert bits(log_jacobian_mixed[::2]) == bits(log_jacobian[::2])
    for i in range(1, 20, 2):
        alone = columns.to_model(some[i : i + 1])
        assert_array_equal(alone[0][0], u_mixed[i])
        assert bits(alone[1][0]) == bits(log_jacobian_mixed[i])


def test_rows_without_any_cell_have_no_jacobian(whole: Array, weight: Array) -> None:
    columns = fit_columns(whole, weight, KINDS, normal_margins=True)
    u, log_jacobian = columns.to_model(np.full((2, 5), NAN))
    assert np.isnan(u).all()
    assert_allclose(log_jacobian, 0, atol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_columns_that_some_rows_do_not_have_at_all(
    settings: dict[str, Any], whole: Array, weight: Array
) -> None:
    """Rows that train may miss a cell that only rows that validate have."""
    rows = np.where([True, False, True, True, True], NAN, whole)
    columns = fit_columns(rows, weight, KINDS, **settings)
    assert_array_equal(columns.scale[[0, 2, 3, 4]], 1)
    assert columns.floor[0] == settings.get("least_floor", 1e-3) or columns.floor[
        0
    ] == (settings.get("smoothing", 0.0))
    assert columns.kinds[3] == KINDS[3]
    assert np.isfinite(columns.to_model(whole)[0]).all()


def test_given_columns_have_no_share_of_the_jacobian(
    whole: Array, some: Array, weight: Array
) -> None:
    columns = fit_columns(whole[:, :2], weight, KINDS[:2], normal_margins=False)
    schema = TableSchema(("a", "b"), KINDS[1:3], (None, None), Layout(2))
    given = GivenColumns(schema, np.zeros(2), np.ones(2))
    both = ConditionalColumns(columns, given.standardised(some[:, 1:3], weight))
    u, log_jacobian = both.to_model(np.c_[whole[:, :2], some[:, 1:3]])
    assert_array_equal(np.isnan(u[:, 2:]), np.isnan(some[:, 1:3]))
    assert bits(log_jacobian) == bits(columns.to_model(whole[:, :2])[1])


# Principal directions


def test_incomplete_rows_have_no_principal_directions() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(300, 2))
    rows = np.c_[wide, wide.sum(1) + 1e-3 * rng.normal(size=300)]
    kinds, weight = KINDS[:3], np.ones(300)
    assert has_thin_direction(rows, weight, kinds)
    columns = fit_whitened_columns(rows, weight, kinds)
    bad = rows.copy()
    bad[5, 1] = bad[7, 0] = NAN
    assert not has_thin_direction(bad, weight, kinds)
    message = "2 of 300 rows have missing cells, .*marginal_transform=None or 'normal'"
    with pytest.raises(ValueError, match=message):
        columns.to_model(bad)
    with pytest.raises(ValueError, match=message):
        fit_whitened_columns(bad, weight, kinds)


# Equal rows


def test_rows_with_the_same_missing_cells_merge() -> None:
    other_nan = -np.array(NAN)
    table = np.array(
        [[1, NAN], [1, 2], [NAN, 2], [1, other_nan], [NAN, NAN], [0, NAN], [NAN, 2]]
    )
    rows, weight = merge_duplicates(table, np.array([1.0, 2, 3, 4, 5, 0, 7]))
    assert_array_equal(rows, [[1, 2], [1, NAN], [NAN, 2], [NAN, NAN]])
    assert_array_equal(weight, [2, 5, 10, 5])


def test_merged_rows_do_not_depend_on_the_order_of_the_table(some: Array) -> None:
    rng = np.random.default_rng(0)
    table = np.repeat(some[:, 2:] + 0.0, 2, axis=0)  # one kind of zero
    weight = rng.integers(1, 4, len(table)).astype(float)
    rows, total = merge_duplicates(table, weight)
    assert len(rows) < len(table) / 2
    assert total.sum() == weight.sum()
    for _ in range(5):
        order = rng.permutation(len(table))
        again, same = merge_duplicates(table[order], weight[order])
        assert bits(again) == bits(rows)
        assert_array_equal(same, total)


def test_complete_rows_keep_their_order_among_themselves(some: Array) -> None:
    table = some[:, 2:] + 0.0
    complete = table[~np.isnan(table).any(1)]
    expected = np.unique(complete, axis=0)
    rows, _ = merge_duplicates(table, np.ones(len(table)))
    assert bits(rows[~np.isnan(rows).any(1)]) == bits(expected)


# Noise


def test_every_nan_is_the_same_in_the_hash_of_a_row() -> None:
    payloads = np.array(
        [
            0x7FF8000000000000,
            0xFFF8000000000000,
            0x7FF8000000000001,
            0x7FF0000000000001,
        ],
        dtype=np.uint64,
    ).view(np.float64)
    rows = np.c_[np.full(4, 1.5), payloads, np.full(4, -0.0)]
    before = rows.tobytes()
    hashes = row_hash(rows)
    assert rows.tobytes() == before
    assert len(np.unique(hashes)) == 1
    others = np.array([[NAN, 1.5, 0.0], [1.5, 0.0, 0.0], [1.5, 0.0, NAN], [NAN] * 3])
    assert len(np.unique(np.r_[hashes[:1], row_hash(others)])) == 5
