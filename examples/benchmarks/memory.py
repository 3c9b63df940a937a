"""Memory of the public methods, for each row that they read or give back.

Examples::

    python examples/benchmarks/memory.py
    python examples/benchmarks/memory.py --rows 20000 60000 --methods impute evidence

Each method runs in a process of its own on two numbers of rows; what the peak of
resident memory grows by, divided by the rows that are more, are the bytes a row. The
rest does not depend on the number of rows: imports, the fitted model, blocks of rows.
Rows are those of ``scale.py``: ten columns, 80 bytes. The density reads no latents, so
that it is quick to read; importance sampling works in the same blocks of rows. Methods
that ask about missing cells get a tenth of the rows.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _process import in_fresh_process, limit_threads, peak_memory
from _report import markdown_table
from scale import N_COLUMNS, simulated

BYTES = 2**20  # of a MiB
SLOW = ("impute", "impute, five draws", "conditional, mean", "surprise", "bounds")


def with_gaps(rows: Any) -> Any:
    """Leave out a tenth of the cells."""
    rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    return rows


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "the rows": lambda density, rows: None,
    "score_samples": lambda density, rows: density.score_samples(rows),
    "score": lambda density, rows: density.score(rows),
    "evidence": lambda density, rows: density.evidence(rows),
    "bounds": lambda density, rows: density.bounds(rows),
    "transform": lambda density, rows: density.transform(rows),
    "inverse_transform": lambda density, rows: density.inverse_transform(
        rows[:, : density.n_components_]
    ),
    "sample": lambda density, rows: density.sample(len(rows), random_state=0),
    "impute": lambda density, rows: density.impute(with_gaps(rows)),
    "impute, five draws": lambda density, rows: density.impute(with_gaps(rows), 5),
    "conditional, mean": lambda density, rows: density.conditional(rows, [9]).mean(),
    "surprise": lambda density, rows: density.surprise(rows),
    "detector: p_values": lambda detector, rows: detector.p_values(rows),
    "detector: predict": lambda detector, rows: detector.predict(rows),
    "fit, one epoch": lambda density, rows: density.fit(rows),
}


def fit(folder: Path) -> None:
    """Keep a density and a detector that are quick to read."""
    from skvae import AutoregressiveDecoder, DensityOutlierDetector, VAEDensity, save

    density = VAEDensity(
        n_components=2,
        decoder=AutoregressiveDecoder((16,), reads_latents=False),
        marginal_transform="normal",
        companion=None,
        max_iter=3,
        random_state=0,
    )
    rows = simulated(2000, seed=1)
    save(density.fit(rows), folder / "density")
    save(DensityOutlierDetector(density).fit(rows), folder / "detector")


def peak(method: str, n_rows: int, folder: Path) -> float:
    """Return the peak of this process's memory after a method's call, in MiB."""
    from skvae import load

    estimator = load(folder / ("detector" if "detector" in method else "density"))
    if method.startswith("fit"):
        estimator.set_params(max_iter=1)
    rows = np.empty((n_rows, N_COLUMNS))
    for seed, part in enumerate(np.array_split(rows, -(-n_rows // 2000))):
        part[:] = simulated(len(part), seed)  # all at once would take more
    METHODS[method](estimator, rows)
    return peak_memory()


def main() -> None:
    """Print the bytes a row of each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs=2, default=[100_000, 300_000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    limit_threads(1)
    table = [["method", "peak, MiB", "rows", "bytes a row"]]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_fresh_process(fit, folder)
        for method in arguments.methods:
            few, many = (n // (10 if method in SLOW else 1) for n in arguments.rows)
            low, high = (
                in_fresh_process(peak, method, n_rows, folder) for n_rows in (few, many)
            )
            each = BYTES * (high - low) / (many - few)
            table.append([method, f"{high:.0f}", f"{many:,}", f"{each:,.0f}"])
            print(*table[-1], sep="  ", flush=True)
    print(f"\n{markdown_table(table)}")


if __name__ == "__main__":
    main()
