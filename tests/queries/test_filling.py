"""Fits and scores of incomplete rows, and tables filled in."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skvae import AutoregressiveDecoder, MixedLikelihood, VAEDensity
from tests.conftest import QUICK

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
PLAIN = {**QUICK, "max_iter": 25, "marginal_transform": None, "evidence_tol": 0.1}
PLAIN |= {"n_importance_samples": 64, "max_evidence_samples": 4096}
DECODERS = ["mlp", AutoregressiveDecoder((16,))]


def correlated(n_rows: int = 500, n_columns: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(n_rows, 1))
    return 2 + factor + 0.5 * rng.normal(size=(n_rows, n_columns))


def with_gaps(rows: np.ndarray, share: float = 0.25, seed: int = 1) -> np.ndarray:
    missing = np.random.default_rng(seed).random(rows.shape) < share
    return np.where(missing, np.nan, rows)


@pytest.fixture(scope="module", params=DECODERS, ids=["mlp", "autoregressive"])
def density(request: pytest.FixtureRequest) -> VAEDensity:
    return VAEDensity(**{**PLAIN, "decoder": request.param}).fit(
        with_gaps(correlated())
    )


def test_a_fit_to_rows_with_gaps_knows_how_columns_hang_together(
    density: VAEDensity,
) -> None:
    complete = correlated(700)[500:]
    truth = stats.multivariate_normal([2] * 4, 1 + 0.25 * np.eye(4))
    lost = truth.logpdf(complete).mean() - density.score(complete)
    independent = 4 * (-0.5 * np.log(2 * np.pi * np.e * 1.25))
    assert lost < 0.25 * (truth.logpdf(complete).mean() - independent)


def test_scores_of_complete_rows_do_not_depend_on_gaps_of_others(
    density: VAEDensity,
) -> None:
    complete = correlated(20)
    rows = np.concatenate([with_gaps(complete), complete, np.full((1, 4), np.nan)])
    scores = density.score_samples(rows)
    np.testing.assert_array_equal(scores[20:40], density.score_samples(complete))
    np.testing.assert_array_equal(
        scores[:20], density.score_samples(with_gaps(complete))
    )
    assert scores[40] == 0
    one_by_one = [density.score_samples(row[None])[0] for row in rows[:6]]
    np.testing.assert_array_equal(scores[:6], one_by_one)


def test_bounds_are_below_the_log_density_of_observed_cells(
    density: VAEDensity,
) -> None:
    rows = with_gaps(correlated(60))
    bounds, read = density.bounds(rows, [1, 50]), density.evidence(rows)
    gap = read.unbiased() - bounds.iwae[1]
    assert gap.mean() > -3 * gap.std() / np.sqrt(len(gap))
    assert bounds.elbo.mean() < read.log_density.mean()


def test_a_density_of_complete_rows_reads_incomplete_ones() -> None:
    density = VAEDensity(**PLAIN).fit(correlated())
    rows = correlated(30)
    truth = stats.multivariate_normal([2] * 2, 1 + 0.25 * np.eye(2))
    rows[:, [1, 3]] = np.nan
    found = density.evidence(rows)
    assert found.unreliable.mean() < 0.1
    difference = found.log_density - truth.logpdf(rows[:, [0, 2]])
    assert np.abs(difference).mean() < 0.25


def test_filled_cells_are_near_what_a_linear_model_expects(
    density: VAEDensity,
) -> None:
    complete = correlated(100)
    rows = with_gaps(complete)
    missing = np.isnan(rows)
    filled = density.impute(rows)
    np.testing.assert_array_equal(filled[~missing], complete[~missing])
    best = np.empty_like(complete)
    for i, row in enumerate(rows):
        seen = ~missing[i]
        weight = np.full(seen.sum(), 1 / (seen.sum() + 0.25))
        best[i] = 2 + weight @ (row[seen] - 2)
    error = np.mean((filled - complete)[missing] ** 2)
    assert error < 1.2 * np.mean((best - complete)[missing] ** 2)


def test_draws_have_the_spread_that_the_missing_cells_have(
    density: VAEDensity,
) -> None:
    complete = correlated(120)
    rows = with_gaps(complete)
    missing = np.isnan(rows)
    draws = np.stack(density.impute(rows, n_draws=19))
    rank = (draws < complete).sum(0)[missing]
    counts = np.bincount(rank, minlength=20)
    # Ranks among draws of the right distribution are uniform; the fit is not perfect.
    assert stats.chisquare(counts).statistic < 3 * stats.chi2(19).isf(0.01)
    again = np.stack(density.impute(rows[:20], n_draws=19))
    np.testing.assert_array_equal(draws[:, :20], again)
    other = np.stack(density.impute(rows[:20], n_draws=19, random_state=1))
    assert (draws[:, :20] != other)[:, missing[:20]].mean() > 0.99


def test_a_row_is_filled_in_alike_whatever_the_others_are(density: VAEDensity) -> None:
    rows = with_gaps(correlated(40))
    together, drawn = density.impute(rows), density.impute(rows, n_draws=3)
    for i in range(0, 40, 13):
        np.testing.assert_array_equal(density.impute(rows[i : i + 1])[0], together[i])
        alone = density.impute(rows[i : i + 1], n_draws=3)
        for one, all_rows in zip(alone, drawn, strict=True):
            np.testing.assert_array_equal(one[0], all_rows[i])


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 220
    tall = rng.random(n) < 0.5
    frame = pd.DataFrame(
        {
            "size": np.where(tall, 180, 160) + 4 * rng.normal(size=n),
            "shape": pd.Categorical(np.where(tall, "long", "round")),
            "children": pd.array(rng.poisson(np.where(tall, 9, 1)), dtype="Int64"),
            "owner": pd.array(tall ^ (rng.random(n) < 0.1), dtype="boolean"),
            "place": np.where(rng.random(n) < 0.3, "here", "there").astype(object),
        },
        index=pd.RangeIndex(1000, 1000 + n),
    )
    for j, name in enumerate(frame.columns):
        lost = np.random.default_rng(j).random(n) < 0.15
        frame.loc[frame.index[lost], name] = None
    return frame


def test_frames_come_back_with_their_dtypes(mixed: pd.DataFrame) -> None:
    likelihood = MixedLikelihood({"children": "negative_binomial"})
    density = VAEDensity(**{**PLAIN, "likelihood": likelihood}).fit(mixed)
    mixed = mixed[:120]
    filled = density.impute(mixed)
    assert (filled.dtypes == mixed.dtypes).all()
    assert filled.index.equals(mixed.index)
    assert not filled.isna().any().any()
    for name in mixed.columns:
        seen = mixed[name].notna()
        assert filled.loc[seen, name].equals(mixed.loc[seen, name])
    lost = mixed["shape"].isna() & mixed["size"].notna()
    long = filled.loc[lost, "shape"] == "long"
    assert (long == (mixed.loc[lost, "size"] > 170)).mean() > 0.9
    (drawn,) = density.impute(mixed[:40], n_draws=1)
    assert (drawn.dtypes == mixed.dtypes).all()
    probabilities = density.conditional(mixed[:20], "shape").probabilities()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-9)
    counts = density.conditional(mixed[:20], "children")
    assert (counts.quantile(0.5) == np.floor(counts.quantile(0.5))).all()


def test_a_wrong_cell_surprises_and_its_neighbours_do_not() -> None:
    rows = correlated(500)
    density = VAEDensity(**PLAIN).fit(rows)
    wrong = np.tile([2.5, 2.5, -1.5, 2.5], (1, 1))
    found = density.surprise(wrong)
    assert found.surprise[0].argmax() == 2
    assert found.tail[0, 2] < 0.01
    assert abs(np.asarray(found.expected)[0, 2] - 2.5) < 0.5
    usual = density.surprise(rows[:20])
    assert stats.kstest(usual.tail.ravel(), "uniform").statistic < 0.15


def test_information_and_entropy_are_those_of_the_normal_distribution() -> None:
    density = VAEDensity(**PLAIN).fit(correlated(1500, 2))
    truth = stats.multivariate_normal([2] * 2, 1 + 0.25 * np.eye(2))
    entropy = density.entropy(250, random_state=0)
    assert abs(entropy.value - truth.entropy()) < 0.1 + 4 * entropy.standard_error
    information = density.mutual_information(0, 1, 250, random_state=0)
    expected = -0.5 * np.log(1 - 0.8**2)
    assert abs(information.value - expected) < 0.1 + 4 * information.standard_error
    table = density.dependence(40, random_state=0)
    assert np.isnan(np.diag(table)).all()
    assert table[0, 1] == table[1, 0] > 0.2


def test_tables_without_an_observed_cell_and_infinite_ones_are_refused() -> None:
    rows = correlated(50)
    rows[:, 2] = np.nan
    with pytest.raises(ValueError, match="no observed cell in column 2"):
        VAEDensity(**PLAIN).fit(rows)
    rows[:, 2] = np.inf
    with pytest.raises(ValueError, match="infinity in column 2"):
        VAEDensity(**PLAIN).fit(rows)
    density = VAEDensity(**{**PLAIN, "max_iter": 2}).fit(correlated(50))
    with pytest.raises(ValueError, match="infinity in column 2"):
        density.impute(rows)
    empty = correlated(50)
    empty[:3] = np.nan
    with pytest.warns(UserWarning, match="3 of 50 rows of X have no observed cell"):
        VAEDensity(**{**PLAIN, "max_iter": 2}).fit(empty)


def test_counts_stay_counts_where_the_decoder_reads_columns() -> None:
    rng = np.random.default_rng(0)
    factor = rng.normal(size=250)
    rows = np.c_[
        rng.poisson(np.exp(0.8 * factor + 1)), factor + 0.3 * rng.normal(size=250)
    ].astype(float)
    likelihood = MixedLikelihood({0: "negative_binomial"})
    decoder = AutoregressiveDecoder((16,))
    density = VAEDensity(**{**PLAIN, "likelihood": likelihood, "decoder": decoder})
    conditional = density.fit(rows).conditional(rows[:40], 0)
    quantiles = conditional.quantile([0.05, 0.5, 0.95])
    assert (quantiles >= 0).all()
    np.testing.assert_array_equal(quantiles, np.floor(quantiles))
    held = (quantiles[:, 0] <= rows[:40, 0]) & (rows[:40, 0] <= quantiles[:, 2])
    assert held.mean() > 0.75
    assert np.corrcoef(quantiles[:, 1], rows[:40, 1])[0, 1] > 0.6
    expected = density.surprise(rows[:20]).expected
    assert (expected[:, 0] >= 0).all()
