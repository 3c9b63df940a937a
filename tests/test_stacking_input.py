"""What StackedDensity takes: names, members, parameters, tables."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from skvae import ConditionalVAEDensity, StackedDensity, VAEDensity
from tests.known import Normal

Array = np.ndarray

KERNELS = [("narrow", KernelDensity(bandwidth=0.3)), ("wide", KernelDensity())]


# Names and parameters


def test_parameters_reach_the_members() -> None:
    stack = StackedDensity([("a", KernelDensity()), ("b", VAEDensity())], cv=3)
    assert stack.get_params()["a__bandwidth"] == 1.0
    assert stack.get_params()["b__prior"] == "mixture"
    assert "a" not in stack.get_params(deep=False)
    given = stack.estimators
    stack.set_params(a__bandwidth=0.5, b=GaussianMixture(), b__n_components=3, cv=4)
    assert stack.estimators[0][1].bandwidth == 0.5
    assert stack.estimators[1][1].n_components == 3
    assert isinstance(given[1][1], VAEDensity)
    with pytest.raises(ValueError, match="Invalid parameter 'c'"):
        stack.set_params(c=3)
    copied = clone(stack)
    assert copied.estimators[0][1] is not stack.estimators[0][1]
    assert copied.get_params()["a__bandwidth"] == 0.5


def test_grid_search_over_members_and_their_parameters(table: Array) -> None:
    search = GridSearchCV(
        StackedDensity([("mixture", GaussianMixture()), *KERNELS], random_state=0),
        {"mixture__n_components": [1, 3], "narrow": ["drop", KernelDensity()]},
        cv=2,
        error_score="raise",
    ).fit(table)
    assert len(np.unique(search.cv_results_["mean_test_score"])) >= 2
    best = search.best_estimator_
    assert (
        best.estimators_[0].n_components == search.best_params_["mixture__n_components"]
    )
    assert len(best.estimators_) == 3 - (search.best_params_["narrow"] == "drop")


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        ([], "non-empty list of pairs"),
        (None, "non-empty list of pairs"),
        ([KernelDensity()], "non-empty list of pairs"),
        ([(1, KernelDensity())], "non-empty list of pairs"),
        ([("a", KernelDensity()), ("a", KernelDensity())], "must be unique"),
        ([("a__b", KernelDensity())], "contain '__'"),
        ([("cv", KernelDensity())], "be parameters of StackedDensity, got 'cv'"),
        ([("a", "drop")], "All estimators are dropped"),
    ],
)
def test_bad_names_are_an_error(estimators: Any, message: str, table: Array) -> None:
    with pytest.raises(ValueError, match=message):
        StackedDensity(estimators).fit(table)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (LogisticRegression(), "Member 'x' must be .* which has no score_samples"),
        ("dropped", "Member 'x' must be .* which has no fit"),
        (KernelDensity, "which is a class"),
    ],
)
def test_members_that_are_no_densities_are_an_error(
    member: Any, message: str, table: Array
) -> None:
    with pytest.raises(TypeError, match=message):
        StackedDensity([("x", member)]).fit(table)


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"validation_fraction": 0}, ValueError, "validation_fraction must be"),
        ({"validation_fraction": "half"}, TypeError, "validation_fraction must be"),
        ({"cv": 1}, ValueError, "cv must be an int at least 2, got 1"),
        ({"cv": True}, TypeError, "cv must be an int, a splitter"),
        ({"cv": 300}, ValueError, "200 different rows in X; .* at least 300"),
        ({"cv": []}, ValueError, "has no splits"),
        ({"cv": [([0, 1], [])]}, ValueError, "Split 0 of cv has no rows to hold out"),
        ({"refit": "yes"}, ValueError, "refit must be one of"),
        ({"random_state": "a"}, ValueError, "cannot be used to seed"),
    ],
)
def test_bad_parameters_are_named(
    parameters: dict[str, Any], kind: type[Exception], message: str, table: Array
) -> None:
    with pytest.raises(kind, match=message):
        StackedDensity(KERNELS, **parameters).fit(table)


def test_members_that_fail_are_named(table: Array) -> None:
    class Broken(Normal):
        def score_samples(self, X: Any) -> Array:
            return np.full(len(X), self.mean)

    def message_of(member: Any) -> str:
        with pytest.raises((ValueError, TypeError)) as caught:
            StackedDensity([("good", Normal()), ("bad", member)]).fit(table)
        return str(caught.value)

    prefix = "The density of member 'bad' (180 rows) could not be fitted: "
    assert message_of(GaussianMixture(500)).startswith(prefix)
    assert message_of(ConditionalVAEDensity()).startswith(prefix)
    assert "member 'bad' could not score 20 rows" in message_of(Broken(np.nan))
    assert "NaN or +inf for 20" in message_of(Broken(np.inf))


def test_a_fit_that_fails_leaves_the_stack_as_it_was(table: Array) -> None:
    frame = pd.DataFrame(table, columns=list("abc"))
    # With this seed, the bad row is not among the held-out ones.
    stack = StackedDensity(KERNELS, random_state=0).fit(frame)
    before = dict(vars(stack))
    bad = table[:, :2].copy()
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match="could not be fitted"):
        stack.fit(bad)
    assert vars(stack) == before
    stack.fit(table)
    assert not hasattr(stack, "feature_names_in_")


def test_bad_tables_are_named(table: Array) -> None:
    stack = StackedDensity(KERNELS)
    with pytest.raises(NotFittedError):
        stack.score_samples(table)
    with pytest.raises(ValueError, match="1 sample"):
        stack.fit(table[:1])
    with pytest.raises(ValueError, match="1 different rows in X"):
        stack.fit(np.ones((10, 2)))
    with pytest.raises(ValueError, match="NaN"):
        stack.fit(np.where(table > 5, np.nan, table))
    with pytest.raises(ValueError, match=r"(?s)weight.*zero"):
        stack.fit(table, sample_weight=np.zeros(len(table)))
    stack.fit(table)
    with pytest.raises(ValueError, match="X has 2 features"):
        stack.score_samples(table[:, :2])
    with pytest.raises(ValueError, match="n_samples must be"):
        stack.sample(0)
