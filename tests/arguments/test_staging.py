"""Fits that change an estimator either completely or not at all."""

import pytest
from sklearn.base import BaseEstimator

from skvae.arguments.staging import staged_fit


class Model(BaseEstimator):
    def __init__(self, tol: float = 0.1) -> None:
        self.tol = tol


@pytest.fixture
def fitted() -> Model:
    model = Model()
    model.mean_, model.error_, model._state = 1.0, 0.5, "old"
    return model


def test_nothing_changes_before_the_block_ends(fitted: Model) -> None:
    with staged_fit(fitted) as staged:
        staged.mean_ = 2.0
        staged.scale_ = 3.0
        staged._state = "new"
        assert vars(fitted) == {"tol": 0.1, "mean_": 1, "error_": 0.5, "_state": "old"}
    assert vars(fitted) == {"tol": 0.1, "mean_": 2, "scale_": 3, "_state": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("warm", [False, True])
def test_block_that_raises_leaves_the_estimator_as_it_was(
    fitted: Model, error: type[BaseException], warm: bool
) -> None:
    before = dict(vars(fitted))
    with pytest.raises(error), staged_fit(fitted, warm=warm) as staged:
        staged.mean_ = 2.0
        del staged._state
        raise error
    assert vars(fitted) == before


def test_copy_is_of_the_same_class_with_the_same_parameters(fitted: Model) -> None:
    with staged_fit(fitted) as staged:
        assert type(staged) is Model
        assert staged is not fitted
        assert staged.get_params() == fitted.get_params()


def test_fit_begins_without_what_an_earlier_one_has_learnt(fitted: Model) -> None:
    with staged_fit(fitted) as staged:
        assert vars(staged) == {"tol": 0.1, "_state": "old"}
    assert vars(fitted) == {"tol": 0.1, "_state": "old"}


def test_warm_fit_begins_with_what_an_earlier_one_has_learnt(fitted: Model) -> None:
    with staged_fit(fitted, warm=True) as staged:
        assert vars(staged) == vars(fitted)
        staged.mean_ += 1
        del staged.error_
    assert vars(fitted) == {"tol": 0.1, "mean_": 2, "_state": "old"}


@pytest.mark.parametrize("warm", [False, True])
def test_attributes_that_a_callback_sets_meanwhile_stay(
    fitted: Model, warm: bool
) -> None:
    with staged_fit(fitted, warm=warm) as staged:
        staged.mean_ = 2.0
        fitted.tol = 0.2
        fitted.context = "of the fit"
    assert fitted.mean_ == 2
    assert fitted.tol == 0.2
    assert fitted.context == "of the fit"


def test_value_that_is_set_again_is_no_deletion(fitted: Model) -> None:
    """The copy drops it at first, but the fit arrives at the very same object."""
    with staged_fit(fitted) as staged:
        staged.mean_ = fitted.mean_
    assert fitted.mean_ == 1
