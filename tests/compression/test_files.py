"""Packed files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skvae import VAEDensity, save
from skvae.compression import pack, unpack
from skvae.compression.__main__ import main
from tests.conftest import QUICK

pytest.importorskip("constriction")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    kind = random.integers(0, 2, 80)
    return pd.DataFrame(
        {
            "length": (random.normal(size=80) + 3 * kind).round(2),
            "kind": np.array(["short", "long"], dtype=object)[kind],
        }
    )


@pytest.fixture(scope="module")
def density(table: pd.DataFrame) -> VAEDensity:
    return VAEDensity(**QUICK | {"likelihood": "auto"}).fit(table)


def test_a_packed_file_has_all_that_it_takes(
    table: pd.DataFrame, density: VAEDensity, tmp_path: Path
) -> None:
    path = tmp_path / "table.skz"
    sizes = pack(table, path, density)
    begin = 23  # of the file: what it is, and where the rows begin
    assert path.stat().st_size == sizes.total + begin
    pd.testing.assert_frame_equal(unpack(path), table)
    pd.testing.assert_frame_equal(unpack(path, slice(0, 3)), table[:3])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_command(
    table: pd.DataFrame, density: VAEDensity, tmp_path: Path, suffix: str
) -> None:
    before, packed, after = (
        str(tmp_path / name) for name in (f"a.{suffix}", "a.skz", f"b.{suffix}")
    )
    save(density, tmp_path / "density")
    write = table.to_parquet if suffix == "parquet" else table.to_csv
    write(before, index=False)
    main(["pack", before, packed, "--density", str(tmp_path / "density")])
    main(["unpack", packed, after])
    read = pd.read_parquet if suffix == "parquet" else pd.read_csv
    pd.testing.assert_frame_equal(read(after), read(before))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    for content in (b"", b"skvae packed 1\n", b"skvae packed 1\n" + bytes(8)):
        path.write_bytes(content)
        with pytest.raises(ValueError):
            unpack(path)
