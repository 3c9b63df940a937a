"""Densities on a dask cluster: one training by all workers, lazy reading."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skvae import VAEDensity
from skvae.dask import DaskVAEDensity, map_rows
from skvae.distributed import LostProcessError
from tests.test_distributed import SETTINGS, bent

ROWS = bent(600)
NAMES = ["a", "b"]


def two_workers() -> Any:
    return distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        host="127.0.0.1",
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with two_workers() as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def array() -> Any:
    return da.from_array(ROWS, chunks=(250, 1))


@pytest.fixture(scope="module")
def fitted(client: Any, array: Any) -> DaskVAEDensity:
    return DaskVAEDensity(client, random_state=0, **SETTINGS).fit(array)


def frame_of(rows: Any, n_partitions: int = 3) -> Any:
    frame = pd.DataFrame(rows, columns=NAMES)
    return dd.from_pandas(frame, npartitions=n_partitions)


def test_partitions_change_neither_fits_nor_scores(
    client: Any, fitted: DaskVAEDensity
) -> None:
    frame = frame_of(ROWS)
    other = DaskVAEDensity(client, random_state=0, **SETTINGS).fit(frame)
    assert list(other.feature_names_in_) == NAMES
    for name, values in fitted.to_local().model_.state_dict().items():
        assert torch.equal(values, other.model_.state_dict()[name])
    expected = fitted.to_local().score_samples(ROWS)
    scores = other.score_samples(frame)
    assert dask.is_dask_collection(scores)
    np.testing.assert_array_equal(scores.compute(), expected)


@pytest.mark.slow
def test_two_workers_are_as_good_as_one_process(fitted: DaskVAEDensity) -> None:
    """Within the spread of seeds: four standard deviations of five fits."""
    test = bent(1000, seed=2)
    alone = [
        VAEDensity(**SETTINGS, random_state=seed).fit(ROWS).score(test)
        for seed in range(5)
    ]
    spread = max(float(np.std(alone, ddof=1)), 0.01)
    together = fitted.to_local().score(test)
    assert together == pytest.approx(np.mean(alone), abs=4 * spread)


def test_one_worker_fits_what_one_process_fits(array: Any) -> None:
    weight = np.where(np.arange(600) < 300, 1.0, 0.5)
    alone = VAEDensity(random_state=0, **SETTINGS).fit(ROWS, sample_weight=weight)
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"
    ) as client:
        density = DaskVAEDensity(random_state=0, **SETTINGS)
        density.fit(array, sample_weight=da.from_array(weight, chunks=250))
        assert not hasattr(density._unfitted, "model_")
        assert client.nthreads()  # it was found without being handed over
    for name, values in alone.model_.state_dict().items():
        assert torch.equal(values, density.model_.state_dict()[name])


def test_it_reads_lazily(fitted: DaskVAEDensity) -> None:
    local, rows = fitted.to_local(), ROWS[:100]
    array = da.from_array(rows, chunks=(40, 1))

    def fail(block: Any) -> Any:
        raise ZeroDivisionError

    failing = fitted.score_samples(array.map_blocks(fail, dtype=float))
    with pytest.raises(ZeroDivisionError):
        failing.compute()
    evidence = fitted.evidence(array, tol=0.5)
    expected = local.evidence(rows, tol=0.5)
    for name in vars(expected):
        lazy = getattr(evidence, name)
        assert lazy.chunks == ((40, 40, 20),)
        values = lazy.compute()
        np.testing.assert_array_equal(values, getattr(expected, name))
        assert values.dtype == lazy.dtype
    np.testing.assert_array_equal(
        fitted.transform(array).compute(), local.transform(rows)
    )
    assert fitted.score(array) == pytest.approx(local.score(rows), rel=1e-12)
    weight = np.arange(100.0)
    assert fitted.score(array, sample_weight=weight) == pytest.approx(
        local.score(rows, sample_weight=weight), rel=1e-12
    )
    np.testing.assert_array_equal(fitted.sample(3, 0), local.sample(3, 0))


def test_it_imputes_in_the_partitions(fitted: DaskVAEDensity) -> None:
    local = fitted.to_local()
    rows = bent(40, seed=3)
    rows[::3, 0] = np.nan
    frame = frame_of(rows)
    filled = fitted.impute(frame)
    assert filled.npartitions == 3
    np.testing.assert_array_equal(filled.compute().to_numpy(), local.impute(rows))
    array = da.from_array(rows, chunks=(15, 2))
    draws = fitted.impute(array, n_draws=2, random_state=1)
    for drawn, expected in zip(
        draws, local.impute(rows, n_draws=2, random_state=1), strict=True
    ):
        np.testing.assert_array_equal(drawn.compute(), expected)


def test_partitions_may_be_empty(client: Any, fitted: DaskVAEDensity) -> None:
    frame = frame_of(np.sort(bent(60, seed=4), axis=0))
    few = frame[frame["a"] > 1.0]
    assert min(few.map_partitions(len).compute()) == 0
    kept = few.compute()
    local = fitted.to_local()
    expected = local.score_samples(kept.to_numpy())
    np.testing.assert_array_equal(fitted.score_samples(few).compute(), expected)
    np.testing.assert_array_equal(fitted.impute(few).compute(), kept)
    errors = fitted.evidence(few).standard_error.compute()
    assert errors.shape == expected.shape
    assert fitted.score(few) == pytest.approx(local.score(kept.to_numpy()))
    settings = {**SETTINGS, "max_iter": 1}
    assert DaskVAEDensity(client, **settings).fit(few).n_iter_ == 1


def test_any_function_of_rows_is_mapped(array: Any) -> None:
    signs = map_rows(lambda rows: np.sign(rows[:, 0]), array, dtype=int)
    assert signs.dtype == int
    np.testing.assert_array_equal(signs.compute(), np.sign(ROWS[:, 0]))
    both = map_rows(lambda rows: rows * 2, array, shape=(2,))
    np.testing.assert_array_equal(both.compute(), 2 * ROWS)
    with pytest.raises(ValueError, match=r"shape \(\d+,\), got \(\d+, 2\)"):
        map_rows(lambda rows: rows, array).compute()


def test_it_is_an_estimator(fitted: DaskVAEDensity) -> None:
    assert fitted.get_params()["max_iter"] == SETTINGS["max_iter"]
    copy = clone(fitted)
    assert copy.client is fitted.client
    assert copy.set_params(max_iter=7).get_params()["max_iter"] == 7
    with pytest.raises(NotFittedError):
        copy.to_local()
    with pytest.raises(AttributeError, match="n_iter_"):
        copy.n_iter_  # noqa: B018
    assert repr(DaskVAEDensity(max_iter=3)) == "DaskVAEDensity(max_iter=3)"
    opened = pickle.loads(pickle.dumps(fitted))
    assert opened.client is None
    np.testing.assert_array_equal(
        opened.to_local().score_samples(ROWS[:5]),
        fitted.to_local().score_samples(ROWS[:5]),
    )


@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        (ROWS, None, "must be a dask array or a dask data frame, got ndarray"),
        (da.zeros(5, chunks=5), None, "X must have two dimensions"),
        (da.zeros((5, 2), chunks=(3, 2)), np.ones(4), r"shape \(4,\), and X has 5"),
        (
            da.zeros((5, 2), chunks=(3, 2)),
            da.ones(5, chunks=5),
            "has 1 partitions, and X has 2",
        ),
        (
            da.zeros((5, 2), chunks=(3, 2)),
            da.ones(5, chunks=(2, 3)),
            r"shape \(\d,\) in partition \d",
        ),
        (frame_of(ROWS), np.ones(600), "a dask collection with the partitions of X"),
        (frame_of(ROWS[:0], 1), None, "no rows in any partition"),
        (da.full((5, 2), np.inf, chunks=5), None, "contains infinity"),
    ],
    ids=["array", "one", "few", "partitions", "lengths", "frame", "none", "infinite"],
)
def test_bad_input_is_refused(client: Any, X: Any, weight: Any, message: str) -> None:
    density = DaskVAEDensity(client, **SETTINGS)
    with pytest.raises((TypeError, ValueError), match=message):
        density.fit(X, sample_weight=weight)
    assert not hasattr(density, "density_")


def test_what_cannot_be_fitted(tmp_path: Any, array: Any) -> None:
    with pytest.raises(TypeError, match="n_latents"):
        DaskVAEDensity(n_latents=3)
    with pytest.raises(ValueError, match="is for fits by one process"):
        DaskVAEDensity(checkpoint=tmp_path).fit(array)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_lost_worker_is_an_error_and_the_next_fit_works(array: Any) -> None:
    settings = {**SETTINGS, "max_iter": 100_000, "early_stopping": False}
    density = DaskVAEDensity(**settings)

    def kill_one(client: Any) -> None:
        def is_training() -> bool:
            return torch.distributed.is_initialized()

        while not all(client.run(is_training).values()):
            time.sleep(0.1)
        os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)

    with two_workers() as cluster, distributed.Client(cluster) as client:
        density.set_params(client=client)
        killer = threading.Thread(target=kill_one, args=(client,))
        killer.start()
        with pytest.raises(LostProcessError, match="has lost a worker of the fit"):
            density.fit(array)
        killer.join()
        assert not hasattr(density, "density_")
        client.wait_for_workers(2)
        density.set_params(max_iter=2).fit(array)
        assert density.n_iter_ == 2
