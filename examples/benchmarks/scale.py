"""What a table of many rows costs, from a folder of Parquet files.

Examples::

    python examples/benchmarks/scale.py
    python examples/benchmarks/scale.py --rows 10000 100000 1000000 --folder FOLDER

Rows are simulated: ten columns that are bent functions of three latents, with noise.
They are written to Parquet once, and kept in the folder if one is given. For each
number of rows, in a process of its own: a fit to ``Batches`` with few epochs and its
default settings, the test score, the peak of resident memory (that of the imports is
shown apart), and the rows a second of ``Batches.map`` into a Parquet file. Up to a
million rows, a fit to the same rows as one array is beside it.

What is scored into a file is a masked autoregressive density, which is exact and reads
some ten thousand rows a second; importance sampling reads some thousand.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from _process import in_fresh_process, limit_threads, peak_memory
from _report import markdown_table
from numpy.typing import NDArray

N_COLUMNS, N_TEST, ROWS_PER_FILE = 10, 5000, 500_000
MOST_IN_MEMORY = 1_000_000


@dataclass(frozen=True)
class Cost:
    """What one number of rows cost; memory in MiB, at its peak so far."""

    imports: float
    fit_seconds: float
    fit_memory: float
    test_score: float
    in_memory_score: float
    file_rows: float
    file_memory: float


def simulated(n_rows: int, seed: int) -> NDArray[np.float64]:
    """Return rows of ten columns that depend on three latents."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_rows, 3))
    weights = np.random.default_rng(0).normal(size=(3, N_COLUMNS))
    linear = z @ weights
    return linear + 0.5 * np.sin(2 * linear) + 0.2 * rng.normal(size=linear.shape)


def rows_in(parent: Path, n_rows: int) -> Path:
    """Return the folder of so many rows in Parquet files, written once."""
    folder = parent / f"rows-{n_rows}"
    if not folder.exists():
        write(folder, n_rows)
    return folder


def write(folder: Path, n_rows: int) -> None:
    """Write rows to Parquet files, some hundred thousand in each."""
    import pyarrow
    import pyarrow.parquet

    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for number, begin in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        rows = simulated(min(ROWS_PER_FILE, n_rows - begin), seed=number + 1)
        names = [f"x{j}" for j in range(N_COLUMNS)]
        table = pyarrow.table(dict(zip(names, rows.T, strict=True)))
        path = partial / f"{number:03}.parquet"
        pyarrow.parquet.write_table(table, path, row_group_size=100_000)
    partial.rename(folder)


def measure(folder: Path, n_rows: int, max_iter: int) -> Cost:
    """Fit and score in this process."""
    from skvae import AutoregressiveDecoder, Batches, VAEDensity

    limit_threads(1)
    source = Batches(folder)
    test = simulated(N_TEST, seed=0)
    frame = next(iter(source)).iloc[:0].reindex(range(N_TEST))
    frame[:] = test
    imports = peak_memory()
    settings = {"max_iter": max_iter, "random_state": 0}
    began = perf_counter()
    density = VAEDensity(**settings).fit(source)
    seconds, fit_memory = perf_counter() - began, peak_memory()
    score = density.score(frame)
    in_memory = float("nan")
    exact = AutoregressiveDecoder((64, 64), reads_latents=False)
    student = VAEDensity(decoder=exact, companion=None, **settings).fit(source)
    before = perf_counter()
    student_file = folder.parent / f"scores-{n_rows}.parquet"
    source.map(student.score_samples, to=student_file, name="log_density")
    rate, file_memory = n_rows / (perf_counter() - before), peak_memory()
    if n_rows <= MOST_IN_MEMORY:
        rows = np.concatenate([batch.to_numpy() for batch in source])
        in_memory = VAEDensity(**settings).fit(rows).score(test)
    return Cost(imports, seconds, fit_memory, score, in_memory, rate, file_memory)


def main() -> None:
    """Print a line for each number of rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--max-iter", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where the rows are kept")
    arguments = parser.parse_args()
    table = [
        [
            "rows", "fit s", "peak MiB (imports)", "test nats", "from one array",
            "into a file: rows/s", "peak MiB",
        ]
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        parent = arguments.folder or Path(temporary)
        for n_rows in arguments.rows:
            folder = rows_in(parent, n_rows)
            cost = in_fresh_process(measure, folder, n_rows, arguments.max_iter)
            table.append(
                [
                    f"{n_rows:,}",
                    f"{cost.fit_seconds:.0f}",
                    f"{cost.fit_memory:.0f} ({cost.imports:.0f})",
                    f"{cost.test_score:.3f}",
                    f"{cost.in_memory_score:.3f}",
                    f"{cost.file_rows:,.0f}",
                    f"{cost.file_memory:.0f}",
                ]
            )
            print(*table[-1], sep="  ", flush=True)
    print(f"\n{markdown_table(table)}")


if __name__ == "__main__":
    main()
