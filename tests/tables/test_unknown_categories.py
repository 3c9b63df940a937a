"""unknown_category="other": values that `fit` has not seen have a smoothed mass."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import ConditionalVAEDensity, VAEDensity
from skvae.tables.raw import read_table
from tests.conftest import GIVEN_QUICK, QUICK

N = 200
PRECISE = {
    **QUICK,
    "n_importance_samples": 1024,
    "max_evidence_samples": 1024,
    "evidence_tol": 1e-3,
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return a column of two words and one of three, which depend on each other."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    return pd.DataFrame(
        {
            "left": np.where(z + rng.normal(size=N) > 0, "a", "b"),
            "right": np.array(["p", "q", "r"])[np.digitize(z, [-0.5, 0.7])],
        }
    )


def other_mass(n_known: int) -> float:
    return 0.5 / (N + 0.5 * (n_known + 1))


@pytest.mark.parametrize("background", ["auto", None])
@pytest.mark.parametrize("decoder", ["mlp", "autoregressive"])
def test_masses_of_known_values_and_the_other_sum_to_one(
    background: str | None, decoder: str, frame: pd.DataFrame
) -> None:
    density = VAEDensity(
        1,
        likelihood="auto",
        background=background,
        unknown_category="other",
        **{**PRECISE, "decoder": decoder},
    ).fit(frame)
    states = itertools.product(["a", "b", "new"], ["p", "q", "r", "never seen"])
    table = pd.DataFrame(list(states), columns=frame.columns)
    mass = np.exp(density.evidence(table, proposal="quadrature").log_density).reshape(
        3, 4
    )
    assert mass.sum() == pytest.approx(1, abs=1e-5)
    # An unknown value is as probable whatever the other column has.
    assert mass[2].sum() == pytest.approx(other_mass(2), rel=1e-4)
    assert mass[:, 3].sum() == pytest.approx(other_mass(3), rel=1e-4)
    if decoder == "mlp":  # which does not read the columns
        assert_allclose(mass[2, :3] / mass[2].sum(), mass[:, :3].sum(0), atol=1e-4)


def test_all_unknown_values_of_a_column_are_one(frame: pd.DataFrame) -> None:
    density = VAEDensity(likelihood="auto", unknown_category="other", **QUICK)
    density.fit(frame)
    rows = pd.DataFrame({"left": ["new", "newer", 3], "right": ["p"] * 3})
    assert len(set(density.score_samples(rows))) == 1
    assert set(density.sample(500)[:, 1]) == {"p", "q", "r"}
    assert density.transform(rows).shape == (3, density.n_components_)
    assert np.isfinite(density.bounds(rows).elbo).all()
    assert density.diagnose(frame.replace("p", "new"))


def test_the_fit_is_that_of_known_categories(frame: pd.DataFrame) -> None:
    """The mass of the others takes a constant from the scores, and no more."""
    settings = {**QUICK, "likelihood": "auto", "early_stopping": False}
    error = VAEDensity(**settings).fit(frame)
    other = VAEDensity(unknown_category="other", **settings).fit(frame)
    taken = np.log1p(-other_mass(2)) + np.log1p(-other_mass(3))
    assert_allclose(
        other.score_samples(frame), error.score_samples(frame) + taken, atol=1e-3
    )
    with pytest.raises(ValueError, match=r"'new' in row 0.*unknown_category='other'"):
        error.score_samples(pd.DataFrame({"left": ["new"], "right": ["p"]}))


def test_numbers_that_are_categories_may_be_new(frame: pd.DataFrame) -> None:
    table = np.c_[frame["left"] == "a", np.arange(N) % 3]
    density = VAEDensity(
        likelihood="categorical", unknown_category="other", **QUICK
    ).fit(table)
    assert np.isfinite(density.score_samples([[0.5, 7], [1, 2]])).all()
    density.partial_fit([[0.5, 7], [1, 2]])
    assert np.isfinite(density.score_samples(table)).all()


def test_missing_cells_are_no_other_category(frame: pd.DataFrame) -> None:
    density = VAEDensity(likelihood="auto", unknown_category="other", **QUICK)
    density.fit(frame)
    rows = frame[:3].assign(left=[None, "new", "a"])
    codes = density.schema_.encode(read_table(density, rows, reset=False))
    place = frame.columns.get_loc("left")
    known = density.schema_.categories[place]
    assert_array_equal(codes[:, place], [np.nan, len(known), known.index("a")])


def test_given_categories_may_be_new(frame: pd.DataFrame) -> None:
    y = (frame["left"] == "a").to_numpy(float) + np.arange(N) / N
    settings: dict[str, Any] = {**GIVEN_QUICK, "unknown_category": "other"}
    density = ConditionalVAEDensity(**settings).fit(frame, y)
    new = pd.DataFrame({"left": ["x", "y"], "right": ["p", "p"]})
    log_p = density.score_samples(new, [0.5, 0.5])
    assert np.isfinite(log_p).all()
    assert log_p[0] == log_p[1]
    assert density.sample(new, 3).shape == (6,)
    known = ConditionalVAEDensity(**GIVEN_QUICK).fit(frame, y)
    assert_array_equal(known.score_samples(frame, y), density.score_samples(frame, y))
    with pytest.raises(ValueError, match="'x' in row 0, a category that fit has not"):
        known.sample(new)


def test_unknown_category_is_one_of_two(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="unknown_category must be one of 'error'"):
        VAEDensity(unknown_category="ignore").fit(frame)
