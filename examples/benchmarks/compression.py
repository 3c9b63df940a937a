"""Bits of the test rows: compressed by VAEDensity, and by the best general tools.

Examples::

    python examples/benchmarks/compression.py --data FOLDER --sets nltcs plants
    python examples/benchmarks/compression.py --data FOLDER --sets magic --step 0.01

Tables of zeros and ones are packed to one bit a cell, and stored a byte a cell, row by
row and column by column; the tool and the layout with the fewest bytes count: gzip,
bz2, xz -9e, zstd -19 and Parquet with zstd. Real columns are rounded to multiples of
``--step``, in standard deviations, as one would store measurements, and given to the
tools as whole numbers of as few bytes as hold them. The density fits ``train`` and
``valid``, which the tools are not given, as they have no use for them; its own bytes
are in the table, too. "-log2 p" is what `code_lengths` says; "check" is whether all
rows came back to the bit.
"""

import bz2
import gzip
import io
import lzma
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _command import add_param, add_sets, benchmark_parser, check_sets
from _report import markdown_table
from numpy.typing import NDArray

from skvae import VAEDensity, save
from skvae.compression import compress, decompress

MOST_SAVED = 200_000  # rows that a fit gets


def with_parquet(cells: NDArray[np.generic]) -> int:
    """Return the bytes of a Parquet file with zstd."""
    buffer = io.BytesIO()
    columns = {str(j): pa.array(column) for j, column in enumerate(cells.T)}
    pq.write_table(pa.table(columns), buffer, compression="zstd", compression_level=19)
    return len(buffer.getvalue())


def with_zstd(data: bytes) -> int:
    """Return the bytes of zstd -19."""
    return len(pa.Codec("zstd", compression_level=19).compress(data))


TOOLS: dict[str, Callable[[bytes], int]] = {
    "gzip": lambda data: len(gzip.compress(data, 9)),
    "bz2": lambda data: len(bz2.compress(data, 9)),
    "xz": lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
    "zstd": with_zstd,
}


def best_tool(cells: NDArray[np.generic]) -> tuple[str, int]:
    """Return the tool with the fewest bytes, and how many these are."""
    layouts = {"rows": cells.tobytes(), "columns": cells.T.tobytes()}
    if cells.max() <= 1:
        layouts["packed rows"] = np.packbits(cells.astype(bool), axis=1).tobytes()
        layouts["packed"] = np.packbits(cells.astype(bool)).tobytes()
    found = {
        f"{tool}, {layout}": bytes_of(data)
        for tool, bytes_of in TOOLS.items()
        for layout, data in layouts.items()
    }
    found["parquet"] = with_parquet(cells)
    return min(found.items(), key=lambda item: item[1])


def whole(values: NDArray[np.float64]) -> NDArray[np.generic]:
    """Return numbers as whole ones from zero, of as few bytes as hold them."""
    shifted = np.rint(values - values.min(0)).astype(np.int64)
    return shifted.astype(np.min_scalar_type(int(shifted.max())))


def main() -> int:
    """Compress every set, and print its line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    add_param(parser)
    parser.add_argument("--rows", type=int, help="of the test rows; default: all")
    parser.add_argument("--step", type=float, default=0.01, help="of real columns")
    options = check_sets(parser, parser.parse_args())
    header = (
        "set", "rows", "best tool", "bits a row", "-log2 p", "skvae", "smaller by",
        "over -log2 p", "model bytes", "rows/s in", "rows/s out", "check",
    )  # fmt: skip
    lines: list[list[str]] = [list(header)]
    for name in options.sets:
        with np.load(options.data / f"{name}.npz") as arrays:
            train, valid, test = (arrays[k] for k in ("train", "valid", "test"))
        test = test[: options.rows].astype(float)
        fitted = np.concatenate([train, valid])[-MOST_SAVED:].astype(float)
        is_binary = bool(np.isin(fitted, (0, 1)).all())
        likelihood = "bernoulli"
        if is_binary:
            cells = test.astype(np.uint8)
        else:
            likelihood = "mixture"
            digits = max(0, -int(np.floor(np.log10(options.step))))
            test, fitted = (
                np.round(np.rint(rows / options.step) * options.step, digits)
                for rows in (test, fitted)
            )
            cells = whole(test / options.step)
        tool, n_bytes = best_tool(cells)
        parameters = {"likelihood": likelihood, "random_state": 0}
        density = VAEDensity(**parameters | dict(options.param)).fit(fitted)
        began = perf_counter()
        data = compress(density, test)
        packed = perf_counter()
        found = decompress(density, data)
        unpacked = perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            save(density, Path(folder, "density"))
            model = Path(folder, "density").stat().st_size
        expected = float(density.code_lengths(test).rows.mean())
        n_rows = len(test)
        bits, own = 8 * n_bytes / n_rows, 8 * len(data) / n_rows
        lines.append(
            [
                name,
                f"{n_rows:,}",
                tool,
                f"{bits:.2f}",
                f"{expected:.2f}",
                f"{own:.2f}",
                f"{100 * (1 - own / bits):.0f} %",
                f"{100 * (own / expected - 1):.1f} %",
                f"{model:,}",
                f"{n_rows / (packed - began):.0f}",
                f"{n_rows / (unpacked - packed):.0f}",
                "exact" if (found == test).all() else "WRONG",
            ]
        )
        print(*lines[-1], sep="  ", flush=True)
    print(f"\n{markdown_table(lines)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
