"""Tables that come in batches: the same fits and scores as in one piece."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from skvae import (
    Batches,
    DensityImputer,
    DensityOutlierDetector,
    OutlierCommittee,
    VAEDensity,
)
from skvae.tables import batches as module
from tests.conftest import QUICK

FAST = {**QUICK, "max_iter": 2, "marginal_transform": None}
NAMES = ["a", "b", "c"]


def parts_of(table: Any, *stops: int) -> list[Any]:
    starts = (0, *stops)
    ends = (*stops, len(table))
    take = table.iloc if hasattr(table, "iloc") else table
    return [take[i:j] for i, j in zip(starts, ends, strict=True)]


def mixed(table: NDArray[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(table, columns=NAMES)
    return frame.assign(d=np.where(table[:, 0] > 0, "up", "down"))


@pytest.fixture
def folder(table: NDArray[Any], tmp_path: Path) -> Path:
    """Return a folder of two Parquet files, of several row groups."""
    for number, part in enumerate(parts_of(mixed(table), 90)):
        arrow = pa.Table.from_pandas(part, preserve_index=False)
        pq.write_table(arrow, tmp_path / f"{number}.parquet", row_group_size=40)
    return tmp_path


def test_a_fit_to_batches_is_the_fit_to_the_table(table: NDArray[Any]) -> None:
    whole = VAEDensity(**FAST).fit(table)
    expected = whole.score_samples(table[:50])
    for parts in (parts_of(table, 7, 120), parts_of(table, 1, 1, 199)):
        density = VAEDensity(**FAST).fit(Batches(parts))
        assert_array_equal(density.score_samples(table[:50]), expected)
    scores = whole.score_samples(Batches(parts_of(table[:50], 3, 20)))
    assert_array_equal(scores, expected)


@pytest.mark.parametrize(
    "estimator",
    [
        DensityOutlierDetector(GaussianMixture(random_state=0), random_state=0),
        OutlierCommittee(max_iter=1, random_state=0),
        DensityImputer(GaussianMixture(random_state=0), random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_others_are_fitted_to_batches(estimator: Any, table: NDArray[Any]) -> None:
    expected = clone(estimator).fit(table)
    fitted = clone(estimator).fit(Batches(parts_of(table, 30)))
    method = "transform" if isinstance(estimator, DensityImputer) else "score_samples"
    some = table[:5].copy()
    some[:2, 0] = np.nan if method == "transform" else 0.5
    assert_array_equal(getattr(fitted, method)(some), getattr(expected, method)(some))


@pytest.mark.parametrize("of", ["path", "file", "dataset", "columns", "small batches"])
def test_parquet_folders_are_tables(of: str, table: NDArray[Any], folder: Path) -> None:
    source = {
        "path": lambda: Batches(folder),
        "file": lambda: Batches(str(folder / "0.parquet")),
        "dataset": lambda: Batches(ds.dataset(folder)),
        "columns": lambda: Batches(folder, columns=["c", "a"]),
        "small batches": lambda: Batches(folder, batch_size=17),
    }[of]()
    rows, _ = source.sample(None, 0)
    expected = mixed(table)[:90] if of == "file" else mixed(table)
    if of == "columns":
        expected = expected[["c", "a"]]
    pd.testing.assert_frame_equal(rows, expected, check_dtype=False)


def test_frames_with_text_are_fitted_and_scored(
    table: NDArray[Any], folder: Path
) -> None:
    settings = {**FAST, "likelihood": "auto"}
    whole = VAEDensity(**settings).fit(mixed(table))
    density = VAEDensity(**settings).fit(Batches(folder))
    assert list(density.feature_names_in_) == [*NAMES, "d"]
    assert_array_equal(
        density.score_samples(Batches(folder, batch_size=33)),
        whole.score_samples(mixed(table)),
    )


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_of_numbers_keep_their_names(make: Any, table: NDArray[Any]) -> None:
    parts = [make(dict(zip(NAMES, part.T, strict=True))) for part in parts_of(table, 9)]
    rows, _ = Batches(parts).sample(None, 0)
    assert list(rows.columns) == NAMES
    assert type(rows) is type(parts[0])
    assert_array_equal(np.asarray(rows), table)


def test_too_many_rows_are_thinned_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is taken with the same probability, wherever it is."""
    monkeypatch.setattr(module, "MOST_SAMPLED", 100)
    numbers = np.arange(1000.0)[:, None]
    taken = np.zeros(1000)
    for seed in range(60):
        rows, weight = Batches(parts_of(numbers, 300, 301)).sample(numbers[:, 0], seed)
        assert len(rows) == 100
        assert (np.diff(rows[:, 0]) > 0).all()
        assert_array_equal(weight, rows[:, 0])
        other, _ = Batches(parts_of(numbers, 5, 700)).sample(None, seed)
        assert_array_equal(other, rows)
        taken[rows[:, 0].astype(int)] += 1
    # Ten blocks of the table: 600 draws each are expected. False alarm: 1e-4.
    assert stats.chisquare(taken.reshape(10, 100).sum(1)).pvalue > 1e-4


def test_wide_tables_have_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 8 * 4 * 50)
    rows, _ = Batches([np.ones((400, 4))]).sample(None, 0)
    assert len(rows) == 50


def test_weights_are_those_of_the_rows(table: NDArray[Any]) -> None:
    weight = np.random.default_rng(0).integers(0, 3, len(table))
    whole = VAEDensity(**FAST).fit(table, sample_weight=weight)
    density = VAEDensity(**FAST).fit(
        Batches(parts_of(table, 30, 60)), sample_weight=weight
    )
    rows = table[:20]
    assert_array_equal(density.score_samples(rows), whole.score_samples(rows))
    for wrong in (weight[:-1], np.append(weight, 1)):
        with pytest.raises(ValueError, match="one weight for each row"):
            VAEDensity(**FAST).fit(Batches([table]), sample_weight=wrong)


def test_callables_and_objects_are_read_again(table: NDArray[Any]) -> None:
    def generate() -> Iterator[NDArray[Any]]:
        yield from parts_of(table, 50)

    source = Batches(generate)
    assert [len(batch) for batch in source] == [50, 150]
    assert [len(batch) for batch in source] == [50, 150]
    density = VAEDensity(**FAST).fit(source)
    assert len(density.score_samples(source)) == 200


def test_results_go_to_a_file(table: NDArray[Any], folder: Path) -> None:
    source, file = Batches(folder, batch_size=30), folder / "scores.pq"
    done = source.map(
        lambda batch: batch["a"].to_numpy() ** 2, to=file, name="square", keep=["d"]
    )
    assert done is None
    found = pq.read_table(file).to_pandas()
    assert list(found.columns) == ["d", "square"]
    assert_array_equal(found["square"], table[:, 0] ** 2)
    assert found["d"].tolist() == mixed(table)["d"].tolist()


def test_a_failed_map_leaves_no_file(folder: Path) -> None:
    def fail(batch: Any) -> Any:
        raise RuntimeError("no")

    before = sorted(folder.iterdir())
    with pytest.raises(RuntimeError, match="no"):
        Batches(folder).map(fail, to=folder / "scores.pq")
    assert sorted(folder.iterdir()) == before


def test_what_cannot_be_read(table: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="it is an iterator"):
        Batches(iter([table]))
    with pytest.raises(TypeError, match="got int"):
        Batches(3)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Batches(tmp_path / "nowhere")
    for empty in (Batches([]), Batches([table[:0]])):
        with pytest.raises(ValueError, match="no rows in any batch"):
            VAEDensity(**FAST).fit(empty)
        with pytest.raises(ValueError, match="no rows in any batch"):
            empty.map(len)
    with pytest.raises(ValueError, match=r"different numbers of columns: \[2, 3\]"):
        Batches([table, table[:, :2]]).sample(None, 0)
    frames = [pd.DataFrame(table, columns=NAMES), pd.DataFrame(table)]
    with pytest.raises(ValueError, match="must have the same columns"):
        Batches(frames).sample(None, 0)
