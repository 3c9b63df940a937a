"""What a fit on a dask cluster costs, against rows and workers.

Examples::

    python examples/benchmarks/workers.py
    python examples/benchmarks/workers.py --rows 10000 10000000 --workers 1 2 --folder F

Rows are those of ``scale.py``, from the same Parquet files. For each number of rows and
of workers, processes of one thread each on this machine: the time that passes before
and after the training (rows are read, counted and drawn, margins and start fitted), the
training rows a second after the first epoch, the milliseconds of a step, the test score
of the density, and the rows a second at which an exact density, a small masked network,
scores all partitions. The decoder is "mlp", margins are normal scores, and there is no
companion, so that the training is most of the fit.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from _process import in_fresh_process, limit_threads, peak_memory
from _report import markdown_table
from scale import N_TEST, rows_in, simulated

SETTINGS = {
    "decoder": "mlp",
    "marginal_transform": "normal",
    "companion": None,
    "random_state": 0,
}


@dataclass(frozen=True)
class Cost:
    """What a fit and a reading cost; memory in MiB, the most of any worker."""

    other_seconds: float
    rows_per_second: float
    step_ms: float
    n_steps: int
    test_score: float
    scored_per_second: float
    memory: float


def measure(folder: Path, n_workers: int, max_iter: int, batch_size: int) -> Cost:
    """Fit and score in this process and its workers."""
    import dask.dataframe as dd
    import pandas as pd
    from distributed import Client, LocalCluster

    from skvae import AutoregressiveDecoder, VAEDensity
    from skvae.dask import DaskVAEDensity, map_rows

    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        frame = dd.read_parquet(folder)
        test = pd.DataFrame(simulated(N_TEST, seed=0), columns=list(frame.columns))
        density = DaskVAEDensity(
            client, max_iter=max_iter, batch_size=batch_size, **SETTINGS
        )
        began = perf_counter()
        density.fit(frame)
        seconds = perf_counter() - began
        epochs = [record["seconds"] for record in density.history_]
        typical = float(np.median(epochs[1:]))
        n_training = min(len(frame), 2**20)
        n_training -= min(5000, round(0.1 * n_training))
        most = max(batch_size, n_training // 200)
        n_steps = math.ceil(n_training / min(n_workers * batch_size, most))
        exact = VAEDensity(
            decoder=AutoregressiveDecoder((64, 64), reads_latents=False),
            companion=None,
            max_iter=1,
            random_state=0,
        ).fit(frame.head(20_000))
        began = perf_counter()
        map_rows(exact.score_samples, frame).sum().compute()
        scored = len(frame) / (perf_counter() - began)
        return Cost(
            other_seconds=seconds - sum(epochs),
            rows_per_second=n_training / typical,
            step_ms=1000 * typical / n_steps,
            n_steps=n_steps,
            test_score=density.to_local().score(test),
            scored_per_second=scored,
            memory=max(client.run(peak_memory).values()),
        )


def main() -> None:
    """Print a line for each number of rows and of workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--max-iter", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="where the rows are kept")
    arguments = parser.parse_args()
    limit_threads(1)
    table = [
        [
            "rows", "workers", "training rows/s", "ms a step", "steps an epoch",
            "other s", "test nats", "scored rows/s", "peak MiB",
        ]
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        parent = arguments.folder or Path(temporary)
        for n_rows in arguments.rows:
            folder = rows_in(parent, n_rows)
            for n_workers in arguments.workers:
                cost = in_fresh_process(
                    *(measure, folder, n_workers),
                    *(arguments.max_iter, arguments.batch_size),
                )
                table.append(
                    [
                        f"{n_rows:,}",
                        f"{n_workers}",
                        f"{cost.rows_per_second:,.0f}",
                        f"{cost.step_ms:.1f}",
                        f"{cost.n_steps}",
                        f"{cost.other_seconds:.0f}",
                        f"{cost.test_score:.3f}",
                        f"{cost.scored_per_second:,.0f}",
                        f"{cost.memory:.0f}",
                    ]
                )
                print(*table[-1], sep="  ", flush=True)
    print(f"\n{markdown_table(table)}")


if __name__ == "__main__":
    main()
