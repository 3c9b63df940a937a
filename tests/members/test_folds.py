"""Which rows are held out."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from skvae.members.folds import distinct_rows, every_row_once, one_part


def generator(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def test_one_part_is_a_share_of_the_rows() -> None:
    X = np.arange(200.0).reshape(100, 2)
    (fold,) = one_part(X, np.ones(100), 0.1, generator())
    assert len(fold.valid) == 10
    assert_array_equal(np.sort(np.r_[fold.train, fold.valid]), np.arange(100))
    (other,) = one_part(X, np.ones(100), 0.1, generator(1))
    assert not np.array_equal(fold.valid, other.valid)
    for fraction, expected in ((1e-6, 1), (0.999, 99)):
        (fold,) = one_part(X, np.ones(100), fraction, generator())
        assert len(fold.valid) == expected
    large = np.arange(80_000.0)[:, None]
    (fold,) = one_part(large, np.ones(80_000), 0.1, generator())
    assert len(fold.valid) == 5000


def test_one_part_is_a_share_of_the_weight() -> None:
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(400, 2)), rng.exponential(size=400)
    weight[:40] = 0
    (fold,) = one_part(X, weight, 0.3, generator())
    assert 0.28 < weight[fold.valid].sum() / weight.sum() <= 0.3
    assert fold.train.min() >= 40
    assert fold.valid.min() >= 40


@pytest.mark.parametrize("weighted", [False, True])
def test_every_row_is_held_out_once(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(100, 2)), 2, axis=0)
    weight = rng.integers(0, 3, 200).astype(float) if weighted else np.ones(200)
    folds = every_row_once(X, weight, 5, generator())
    used = np.flatnonzero(weight)
    assert_array_equal(np.sort(np.concatenate([f.valid for f in folds])), used)
    for fold in folds:
        assert_array_equal(np.sort(np.r_[fold.train, fold.valid]), used)
        together = set(map(tuple, X[fold.train])) & set(map(tuple, X[fold.valid]))
        assert not together
        assert abs(weight[fold.valid].sum() - weight.sum() / 5) <= 4


def test_few_distinct_rows_fill_all_folds() -> None:
    X = np.array([[0.0], [1.0], [2.0]])
    weight = np.array([1000.0, 1.0, 1.0])
    folds = every_row_once(X, weight, 3, generator())
    assert sorted(len(fold.valid) for fold in folds) == [1, 1, 1]


def test_boolean_masks_are_splits() -> None:
    X = np.arange(6.0)[:, None]
    mask = np.array([True, False] * 3)
    (fold,) = every_row_once(X, np.ones(6), [(mask, ~mask)], generator())
    assert_array_equal(fold.train, [0, 2, 4])
    assert_array_equal(fold.valid, [1, 3, 5])


def test_distinct_rows_do_not_depend_on_the_container() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(60, 2)).astype(float)
    code = distinct_rows(X)
    _, expected = np.unique(X, axis=0, return_inverse=True)
    assert_array_equal(code, expected.ravel())
    assert_array_equal(distinct_rows(pd.DataFrame(X)), code)
    text = pd.DataFrame(
        {"a": X[:, 0], "b": np.array(["u", "v", "w"])[X[:, 1].astype(int)]}
    )
    assert_array_equal(distinct_rows(text), code)
    assert_array_equal(distinct_rows(text.to_numpy()), code)
    assert_array_equal(distinct_rows(sparse.csr_array(X)), np.arange(60))
    mixed = np.array([["1", 1], [1, 1], [None, 1], ["1", 1]], dtype=object)
    code = distinct_rows(mixed)
    assert code[0] == code[3]
    assert len(set(code.tolist())) == 3
