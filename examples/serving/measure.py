"""What the service of `serve.py` takes: latency, throughput, overload, garbage.

Example::

    python examples/serving/measure.py

A detector with a Gaussian mixture, one with its default committee, and a `VAEDensity`
are fitted to simulated rows, saved, and served by a process of their own with two
workers. Latencies are of requests of one row, one after the other; throughput is of
requests of many rows, from one client and from four at once; overload is 64 requests
at once, of which two are computed and four may wait.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sklearn.mixture import GaussianMixture

import skvae

ROWS, N_COLUMNS = 2000, 8
GARBAGE: dict[str, bytes] = {
    "no JSON": b"\xff\xfe{",
    "deep JSON": b"[" * 100_000,
    "no rows": b"{}",
    "too few cells": b'{"rows": [[1, 2]]}',
    "a nested cell": json.dumps({"rows": [[[1]] * N_COLUMNS]}).encode(),
    "text for numbers": json.dumps({"rows": [["a"] * N_COLUMNS]}).encode(),
    "infinite": b'{"rows": [[1e999' + b", 1" * (N_COLUMNS - 1) + b"]]}",
    "many rows": json.dumps({"rows": [[0] * N_COLUMNS] * 10_001}).encode(),
    "many bytes": b" " * (2**23 + 1),
}


def simulated(n_rows: int) -> np.ndarray:
    """Return correlated rows."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, N_COLUMNS))
    return np.sin(rows) + 0.2 * rng.normal(size=rows.shape)


def started(file: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the service, and wait until it answers."""
    command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(file)]
    process = subprocess.Popen([*command, "--port", str(port), "--waiting", "4"])
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
            return process
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError("The service did not start within a minute.")


def post(url: str, rows: Any) -> httpx.Response:
    """Ask for scores of rows, without patience for others."""
    return httpx.post(f"{url}/score", json={"rows": rows}, timeout=120)


def measured(url: str, rows: list[list[float]], n_many: int) -> dict[str, str]:
    """Return figures of a service that runs."""
    post(url, rows[:1]).raise_for_status()
    seconds = []
    with httpx.Client(base_url=url, timeout=120) as client:
        for row in rows[:100]:
            begin = time.perf_counter()
            client.post("/score", json={"rows": [row]}).raise_for_status()
            seconds.append(time.perf_counter() - begin)
    middle, late = 1e3 * np.quantile(seconds, [0.5, 0.99])
    many = rows[:n_many]
    rates = []
    for n_clients in (1, 4):
        begin = time.perf_counter()
        with ThreadPoolExecutor(n_clients) as pool:
            for answer in pool.map(lambda _: post(url, many), range(n_clients)):
                answer.raise_for_status()
        rates.append(n_clients * len(many) / (time.perf_counter() - begin))
    with ThreadPoolExecutor(64) as pool:
        answers = pool.map(lambda _: post(url, many).status_code, range(64))
        overload = Counter(answers)
    return {
        "one row, ms: median": f"{middle:.0f}",
        "99 %": f"{late:.0f}",
        "rows/s, one client": f"{rates[0]:,.0f}",
        "four": f"{rates[1]:,.0f}",
        "64 at once": f"{overload[200]} answered, {overload[503]} sent away",
    }


def main() -> None:
    """Print a line for each estimator, and what garbage gets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    rows = simulated(ROWS)
    url = f"http://127.0.0.1:{arguments.port}"
    mixture = GaussianMixture(20, random_state=0)
    detectors = {
        "Gaussian mixture": skvae.DensityOutlierDetector(mixture, random_state=0),
        "committee": skvae.DensityOutlierDetector(random_state=0),
        "VAEDensity": skvae.VAEDensity(random_state=0),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, estimator in detectors.items():
            file = Path(folder, "estimator.skvae")
            skvae.save(estimator.fit(rows), file)
            process = started(file, arguments.port)
            try:
                figures = measured(url, rows.tolist(), 1000)
                print(name, figures, flush=True)
                if name == "Gaussian mixture":
                    for what, content in GARBAGE.items():
                        answer = httpx.post(f"{url}/score", content=content)
                        reason = answer.json()["error"][:60]
                        print(f"{what}: {answer.status_code} {reason}", flush=True)
                    post(url, rows[:1].tolist()).raise_for_status()
            finally:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
