"""Tables as bytes, and back."""

import contextlib
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import skvae.compression.container as container
from skvae import (
    AutoregressiveDecoder,
    CodebookPrior,
    GaussianMixtureCompanion,
    VAEDensity,
    save,
)
from skvae.compression import compress, decompress
from tests.conftest import QUICK

pytest.importorskip("constriction")

RANDOM = np.random.default_rng(0)
N = 60
GROUP = RANDOM.integers(0, 3, N)
REAL = (RANDOM.normal(size=(N, 3)) + GROUP[:, None]).round(1)
BINARY = (RANDOM.random((N, 4)) < 0.2 + 0.3 * GROUP[:, None]).astype(float)
COUNTS = RANDOM.poisson(1 + 3 * GROUP[:, None], size=(N, 2)).astype(float)
GAPS = np.where(RANDOM.random(REAL.shape) < 0.2, np.nan, REAL)
COMPANION = GaussianMixtureCompanion(n_modes=(2,), bandwidths=(0.5,))
CASES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "gaussian": (REAL, {"likelihood": "gaussian"}),
    "mixture": (REAL, {"likelihood": "mixture", "prior": "vamp"}),
    "student_t": (REAL, {"likelihood": "student_t", "prior": "normal"}),
    "logistic_mixture": (REAL, {"likelihood": "logistic_mixture"}),
    "margins": (REAL, {"marginal_transform": "normal"}),
    "companion": (REAL, {"companion": COMPANION}),
    "autoregressive": (REAL, {"decoder": "autoregressive"}),
    "no latents": (REAL, {"decoder": AutoregressiveDecoder(reads_latents=False)}),
    "levels": (REAL, {"n_components": (3, 2)}),
    "codes": (REAL, {"prior": CodebookPrior(5)}),
    "slots": (REAL, {"prior": CodebookPrior(20, n_slots=4), "n_components": 4}),
    "implicit": (REAL, {"posterior": "implicit"}),
    "gaps": (GAPS, {}),
    "gaps by columns": (GAPS, {"decoder": "autoregressive"}),
    "gaps and codes": (GAPS, {"prior": CodebookPrior(5), "companion": COMPANION}),
    "bernoulli": (BINARY, {"likelihood": "bernoulli"}),
    "tree": (BINARY, {"likelihood": "bernoulli", "companion": "tree"}),
    "categorical": (GROUP[:, None] * BINARY, {"likelihood": "categorical"}),
    "poisson": (COUNTS, {"likelihood": "poisson"}),
    "negative_binomial": (COUNTS, {"likelihood": "negative_binomial"}),
    "floats": (RANDOM.normal(size=(N, 2)), {}),
    "single floats": (RANDOM.normal(size=(N, 2)).astype("f4"), {}),
}


def frame() -> pd.DataFrame:
    """Return a table with a bit of everything."""
    table = pd.DataFrame(
        {
            "number": GAPS[:, 0],
            "count": COUNTS[:, 0].astype("int32"),
            "kind": pd.Categorical(np.array(["x", "y", "z"])[GROUP]),
            "flag": BINARY[:, 0] > 0,
            "text": np.where(BINARY[:, 1] > 0, "p", "q").astype(object),
            "whole": pd.array(np.where(GROUP == 1, None, GROUP), dtype="Int64"),
        }
    )
    table.loc[3, "number"] = -0.0
    table.loc[4, "text"] = None
    return table


@pytest.fixture(scope="module")
def mixed() -> VAEDensity:
    return VAEDensity(**QUICK | {"likelihood": "auto"}).fit(frame())


@pytest.fixture(scope="module")
def real() -> VAEDensity:
    return VAEDensity(**QUICK).fit(REAL)


# The others are slow together, and have no code of their own.
USUAL = (
    "mixture", "companion", "autoregressive", "no latents", "levels", "codes", "slots",
    "gaps and codes", "tree", "negative_binomial", "floats",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [n if n in USUAL else pytest.param(n, marks=pytest.mark.slow) for n in CASES],
)
def test_rows_come_back_to_the_bit(name: str) -> None:
    rows, parameters = CASES[name]
    density = VAEDensity(**QUICK | parameters).fit(rows)
    rows = rows.copy()
    if name.startswith("gaps"):
        rows[[7, 40, 41]] = np.nan
    found = decompress(density, compress(density, rows))
    assert found.dtype == rows.dtype
    assert found.tobytes() == rows.tobytes()


def test_rows_take_the_bits_that_they_should() -> None:
    """Within two per cent and 40 bytes of −log₂ p, of rows drawn from the density."""
    density = VAEDensity(**QUICK | {"companion": COMPANION}).fit(REAL)
    rows = density.sample(300, random_state=0).round(1)
    data = compress(density, rows)
    header = container._Header.of(data)
    n_bits = sum(32 * len(chunk.words) for chunk in header.chunks)
    expected = density.code_lengths(rows).rows.sum()
    assert 0.99 * expected < n_bits < 1.02 * expected + 320


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_come_back(mixed: VAEDensity, library: str) -> None:
    table = frame()
    if library == "polars":
        columns = pl.from_pandas(table)
        density = VAEDensity(**QUICK | {"likelihood": "auto"}).fit(columns)
        found = decompress(density, compress(density, columns))
        assert found.equals(columns)
        assert found.schema == columns.schema
        return
    found = decompress(mixed, compress(mixed, table))
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    assert np.signbit(found["number"][3])


def test_some_rows_are_read_alone(real: VAEDensity) -> None:
    data = compress(real, REAL, rows_per_chunk=20)
    for rows in (slice(0, 5), slice(15, 25), slice(50, None), slice(30, 30)):
        assert (decompress(real, data, rows) == REAL[rows]).all()
    with pytest.raises(ValueError, match="rows must be a slice of step 1"):
        decompress(real, data, slice(0, 10, 2))


def test_new_and_strange_rows(real: VAEDensity) -> None:
    rows = np.array([[1e9, -1e9, 0.1], [np.nan] * 3, [-0.0, 1e-300, 1 / 3]])
    found = decompress(real, compress(real, rows, check=True))
    assert found.tobytes() == rows.tobytes()


def test_unknown_categories_come_back() -> None:
    table = frame()[["text", "count"]]
    parameters = QUICK | {"likelihood": "auto", "unknown_category": "other"}
    density = VAEDensity(**parameters).fit(table)
    table.loc[0, "text"] = "new"
    found = decompress(density, compress(density, table))
    pd.testing.assert_frame_equal(found, table)


def test_another_density_is_refused(real: VAEDensity) -> None:
    data = compress(real, REAL)
    other = VAEDensity(**QUICK | {"random_state": 1}).fit(REAL)
    with pytest.raises(ValueError, match="written with another density"):
        decompress(other, data)


def test_damaged_bytes_are_refused_or_mean_the_same(real: VAEDensity) -> None:
    data = compress(real, REAL[:20])
    for place in RANDOM.integers(len(data), size=20).tolist():
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(RANDOM.integers(8))
        # Nothing follows from the bits that the first latents were drawn with.
        with contextlib.suppress(ValueError):
            assert (decompress(real, bytes(damaged)) == REAL[:20]).all()
    for part in (b"", data[:20], data[:-4], data + b"0000", b"x" + data):
        with pytest.raises(ValueError, match="no rows that"):
            decompress(real, part)


def test_headers_that_say_what_cannot_be_are_refused(real: VAEDensity) -> None:
    data = compress(real, REAL[:20])
    begin = len(container.MAGIC) + struct.calcsize("<II")
    size, _ = struct.unpack("<II", data[len(container.MAGIC) : begin])
    header = json.loads(container._inflated(data[begin : begin + size]))
    for path, value in (
        (("columns", 0, 1, "alphabet"), {"name": "palette"}),
        (("columns", 0, 1, "missing"), "much"),
        (("columns", 0, 0), 10**15),
        (("columns",), []),
        (("chunks", 0, 0), 10**12),
        (("chunks", 0), [1]),
        (("frame",), None),
    ):
        changed = json.loads(json.dumps(header))
        *way, last = path
        place = changed
        for step in way:
            place = place[step]
        place[last] = value
        text = container._deflated(json.dumps(changed).encode())
        sizes = struct.pack("<II", len(text), zlib.crc32(text))
        with pytest.raises(ValueError):
            decompress(real, container.MAGIC + sizes + text + data[begin + size :])


def test_arguments(real: VAEDensity) -> None:
    with pytest.raises(TypeError, match="density must be a VAEDensity, got int"):
        compress(3, REAL)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows_per_chunk must be an int"):
        compress(real, REAL, rows_per_chunk=0)
    density = VAEDensity(**QUICK).fit(pd.DataFrame(REAL, columns=list("abc")))
    table = pd.DataFrame(REAL, columns=list("abc"), index=np.arange(N) + 5)
    with pytest.raises(ValueError, match="index of X is not 0, 1"):
        compress(density, table)


def test_priors_without_probabilities_of_a_lattice_are_refused() -> None:
    pytest.importorskip("zuko")
    density = VAEDensity(**QUICK | {"prior": "flow"}).fit(REAL)
    with pytest.raises(ValueError, match="needs a prior of Gaussians or of codes"):
        compress(density, REAL)


@pytest.mark.slow
def test_another_process_with_other_threads(real: VAEDensity, tmp_path: Path) -> None:
    save(real, tmp_path / "density")
    (tmp_path / "rows").write_bytes(compress(real, REAL))
    np.save(tmp_path / "table.npy", REAL)
    code = (
        "import sys, pathlib, numpy as np, torch\n"
        "torch.set_num_threads(2)\n"
        "from skvae import load\n"
        "from skvae.compression import decompress\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "data = (folder / 'rows').read_bytes()\n"
        "found = decompress(load(folder / 'density'), data)\n"
        "assert (found == np.load(folder / 'table.npy')).all()\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_random_rows_come_back(name: str) -> None:
    """500 rows of every kind of model, near and far from what it was fitted to."""
    rows, parameters = CASES[name]
    density = VAEDensity(**QUICK | parameters).fit(rows)
    near = np.asarray(density.sample(400, random_state=1), dtype=float)
    if not name.startswith(("bernoulli", "tree", "categorical", "poisson", "neg")):
        far = 1e3 * RANDOM.standard_cauchy((100, near.shape[1]))
        near = np.concatenate([near, far])
    assert decompress(density, compress(density, near)).tobytes() == near.tobytes()
