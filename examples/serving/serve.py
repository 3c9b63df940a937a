"""A fitted detector or density behind HTTP.

Examples::

    python examples/serving/serve.py detector.skvae
    python examples/serving/serve.py detector.skvae --port 8080 --workers 4 --waiting 16

The file is one of `skvae.save`. Opening it runs no code of whoever made it. Ask::

    GET  /health                             the estimator, its columns, its limits
    POST /score    {"rows": [[0.1, 2.5]]}    scores; of a detector p-values, decisions
    POST /explain  {"rows": [{"length": 3}]} which columns make rows strange

Rows are lists of cells in the order of the columns, or mappings from their names; null
is a missing cell. A row's answer does not depend on the other rows of a request.

There are limits, each with a status of its own: bytes and rows of a request (413), and
requests that wait while all workers compute (503, with Retry-After). What is wrong with
the rows is said (422). It needs the packages of the extra ``serving``.
"""

import argparse
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import skvae

MOST_REASONS = 5  # columns that are named for each row
# An explanation takes some hundred scores of every column.
MOST_EXPLAINED = 8


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes
    ----------
    most_bytes, most_rows : int
        Of one request.
    n_workers : int
        Requests that are computed at the same time.
    n_waiting : int
        Requests that may wait for a worker; others are sent away.
    """

    most_bytes: int = 2**23
    most_rows: int = 10_000
    n_workers: int = 2
    n_waiting: int = 16


class Refused(Exception):
    """A request that is not answered.

    Parameters
    ----------
    status : int
        Status of HTTP.
    reason : str
        What is wrong.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Queue:
    """Counts the requests that are in the house, and sends away those too many."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.n_workers + limits.n_waiting
        self.inside = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self.inside >= self._most:
                raise Refused(503, "All workers are busy; try again later.")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.inside -= 1


def make_app(estimator: Any, limits: Limits | None = None) -> FastAPI:
    """Return the service of a fitted estimator with `score_samples`."""
    limits = limits or Limits()
    app = FastAPI(title="skvae", version=skvae.__version__)
    queue = Queue(limits)
    limiters: list[CapacityLimiter] = []  # made within the loop that uses it
    n_columns = int(estimator.n_features_in_)
    names = [str(name) for name in getattr(estimator, "feature_names_in_", [])]

    async def answer(
        request: Request, most_rows: int, compute: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        body = await _body(request, limits.most_bytes)
        with queue:
            if not limiters:
                limiters.append(CapacityLimiter(limits.n_workers))

            def work() -> dict[str, Any]:
                try:
                    return compute(_table(body, names, n_columns, most_rows))
                except (TypeError, ValueError) as error:
                    raise Refused(422, str(error)) from error

            return await to_thread.run_sync(work, limiter=limiters[0])

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> JSONResponse:
        headers = {"Retry-After": "1"} if refused.status == 503 else None
        return JSONResponse({"error": refused.reason}, refused.status, headers=headers)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "skvae": skvae.__version__,
            "estimator": type(estimator).__name__,
            "columns": names or n_columns,
            "requests": queue.inside,
            "most_rows": limits.most_rows,
            "most_bytes": limits.most_bytes,
        }

    @app.post("/score")
    async def score(request: Request) -> dict[str, Any]:
        return await answer(
            request, limits.most_rows, lambda rows: _scores(estimator, rows)
        )

    @app.post("/explain")
    async def explain(request: Request) -> dict[str, Any]:
        if not hasattr(estimator, "explain"):
            raise Refused(404, f"A {type(estimator).__name__} does not explain.")
        return await answer(
            request, MOST_EXPLAINED, lambda rows: _reasons(estimator, rows)
        )

    return app


async def _body(request: Request, most_bytes: int) -> Any:
    """Return a request's JSON; raise as soon as it has too many bytes."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most_bytes:
            raise Refused(413, f"A request may have {most_bytes} bytes at most.")
    try:
        return json.loads(content)
    except (RecursionError, UnicodeDecodeError, ValueError) as error:
        raise Refused(422, f"The request is no JSON: {error}") from error


def _table(body: Any, names: list[str], n_columns: int, most_rows: int) -> Any:
    """Return the rows of a request, as the estimator takes them."""
    rows = body.get("rows") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not rows:
        raise Refused(422, 'A request is {"rows": [...]}, with one row at least.')
    if len(rows) > most_rows:
        raise Refused(
            413, f"A request may have {most_rows} rows here, not {len(rows)}."
        )
    cells = [_cells(row, names, n_columns) for row in rows]
    if not names:
        return np.array(
            [[np.nan if cell is None else cell for cell in row] for row in cells],
            dtype=np.float64,
        )
    import pandas

    return pandas.DataFrame(cells, columns=names).infer_objects()


def _cells(row: Any, names: list[str], n_columns: int) -> list[Any]:
    if isinstance(row, dict):
        strangers = set(row) - set(names)
        if strangers:
            raise Refused(422, f"There is no column {sorted(strangers)[0]!r}.")
        row = [row.get(name) for name in names]
    if not isinstance(row, list) or len(row) != n_columns:
        raise Refused(422, f"A row is a list of {n_columns} cells, or a mapping.")
    for cell in row:
        if not isinstance(cell, (int, float, str, bool, type(None))):
            raise Refused(422, f"A cell is a number, a text or null, not {cell!r}.")
    return row


def _scores(estimator: Any, rows: Any) -> dict[str, Any]:
    found = {"score": _numbers(estimator.score_samples(rows))}
    if hasattr(estimator, "offset_"):
        score = np.array(found["score"], dtype=np.float64)
        found["p_value"] = _numbers(estimator.p_values(rows))
        found["is_outlier"] = (score < estimator.offset_).tolist()
    return found


def _reasons(estimator: Any, rows: Any) -> dict[str, Any]:
    explanation = estimator.explain(rows)
    reasons = []
    for row in range(len(explanation.score)):
        order = np.argsort(explanation.given_others[row], kind="stable")
        reasons.append(
            [
                {
                    "column": explanation.feature_names[j],
                    "value": _plain(explanation.value[row, j]),
                    "nats": float(explanation.given_others[row, j]),
                    "usual": _plain(explanation.usual[row, j]),
                }
                for j in order[:MOST_REASONS]
            ]
        )
    return {"score": _numbers(explanation.score), "reasons": reasons}


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON has them; what is not finite is null."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    """Open the file, and serve it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a file of skvae.save")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=Limits.n_workers)
    parser.add_argument("--waiting", type=int, default=Limits.n_waiting)
    arguments = parser.parse_args()
    import uvicorn

    limits = Limits(n_workers=arguments.workers, n_waiting=arguments.waiting)
    app = make_app(skvae.load(arguments.file), limits)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
