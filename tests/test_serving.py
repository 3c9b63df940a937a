"""The service of examples/serving: answers, limits, and what garbage gets."""

import importlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture

import skvae
from skvae import DensityOutlierDetector, VAEDensity
from tests.conftest import QUICK

pytest.importorskip("fastapi", reason="the service needs fastapi")
pytest.importorskip("httpx", reason="its test client needs httpx")
testclient = pytest.importorskip("fastapi.testclient")

FOLDER = Path(skvae.__file__).parent.parent / "examples" / "serving"


@pytest.fixture(scope="module")
def serve() -> Iterator[ModuleType]:
    """Return the example, imported by its path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("serve")
        del sys.modules["serve"]


@pytest.fixture(scope="module")
def detector(table: np.ndarray) -> DensityOutlierDetector:
    frame = pd.DataFrame(table, columns=["a", "b", "c"])
    return DensityOutlierDetector(GaussianMixture(random_state=0)).fit(frame)


@pytest.fixture
def client(serve: ModuleType, detector: DensityOutlierDetector) -> Any:
    limits = serve.Limits(most_rows=50, most_bytes=5000)
    return testclient.TestClient(serve.make_app(detector, limits))


def test_answers_are_those_of_the_detector(
    client: Any, detector: DensityOutlierDetector, table: np.ndarray
) -> None:
    rows = table[:9]
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    answer = client.post("/score", json={"rows": rows.tolist()})
    assert answer.status_code == 200
    found = answer.json()
    np.testing.assert_array_equal(found["score"], detector.score_samples(frame))
    np.testing.assert_array_equal(found["p_value"], detector.p_values(frame))
    outlier = detector.predict(frame) == -1
    np.testing.assert_array_equal(found["is_outlier"], outlier)
    by_name = [dict(zip("cab", row[[2, 0, 1]].tolist(), strict=True)) for row in rows]
    assert client.post("/score", json={"rows": by_name}).json() == found
    assert client.get("/health").json()["columns"] == ["a", "b", "c"]


def test_reasons_are_the_strangest_columns(client: Any, table: np.ndarray) -> None:
    row = table.mean(0)
    row[1] += 20 * table[:, 1].std()
    (reasons,) = client.post("/explain", json={"rows": [row.tolist()]}).json()[
        "reasons"
    ]
    assert reasons[0]["column"] == "b"
    assert reasons[0]["value"] == row[1]
    assert reasons[0]["nats"] < -10
    assert len(reasons) == 3


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"\xff{", 422, "no JSON"),
        (b"[" * 4000, 422, "no JSON|rows"),
        (b"{}", 422, "with one row at least"),
        (b'{"rows": []}', 422, "with one row at least"),
        (b'{"rows": [[1, 2]]}', 422, "a list of 3 cells"),
        (b'{"rows": [[1, 2, [3]]]}', 422, r"not \[3\]"),
        (b'{"rows": [{"z": 1}]}', 422, "no column 'z'"),
        (b'{"rows": [["x", 1, 2]]}', 422, "x"),
        (b'{"rows": [[1e999, 1, 2]]}', 422, "infinity|large"),
        (b'{"rows": [' + b"[1,2,3]," * 50 + b"[1,2,3]]}", 413, "50 rows here, not 51"),
        (b" " * 5001, 413, "5000 bytes at most"),
    ],
)
def test_garbage_gets_a_reason(
    content: bytes, status: int, reason: str, client: Any
) -> None:
    answer = client.post("/score", content=content)
    assert answer.status_code == status
    assert re.search(reason, answer.json()["error"])


def test_densities_score_and_do_not_explain(
    serve: ModuleType, table: np.ndarray
) -> None:
    density = VAEDensity(**QUICK).fit(table)
    client = testclient.TestClient(serve.make_app(density))
    row = [*table[0, :2].tolist(), None]
    found = client.post("/score", json={"rows": [row]}).json()
    expected = density.score_samples([[*table[0, :2], np.nan]])
    assert found == {"score": expected.tolist()}
    answer = client.post("/explain", json={"rows": [row]})
    assert answer.status_code == 404
    assert "VAEDensity does not explain" in answer.json()["error"]


def test_too_many_requests_are_sent_away(
    serve: ModuleType, detector: DensityOutlierDetector, table: np.ndarray
) -> None:
    """One is computed, one waits, the third is told to come back."""
    may_go, has_begun = threading.Event(), threading.Event()

    class Slow:
        n_features_in_ = 3

        def score_samples(self, rows: np.ndarray) -> np.ndarray:
            has_begun.set()
            assert may_go.wait(30)
            return np.zeros(len(rows))

    limits = serve.Limits(n_workers=1, n_waiting=1)
    body = {"rows": table[:1].tolist()}
    with testclient.TestClient(serve.make_app(Slow(), limits)) as client:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(client.post("/score", json=body).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        threads[0].start()
        assert has_begun.wait(30)
        threads[1].start()
        while client.get("/health").json()["requests"] < 2:
            time.sleep(0.01)
        answer = client.post("/score", json=body)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        may_go.set()
        for thread in threads:
            thread.join()
    assert statuses == [200, 200]
