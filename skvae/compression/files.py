"""Tables as files that anyone can unpack: the density and the bits of the rows."""

import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from skvae.arguments.files import replaced_as_a_whole
from skvae.compression.container import compress, decompress
from skvae.density import VAEDensity
from skvae.persistence import load, save

__all__ = ["PackedSizes", "pack", "unpack"]

MAGIC = b"skvae packed 1\n"
SIZE = struct.Struct("<Q")  # bytes of the density


@dataclass(frozen=True)
class PackedSizes:
    """What a file is made of.

    Attributes
    ----------
    rows, model : int
        Bytes of the rows, with their header, and of the density.
    """

    rows: int
    model: int

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.rows + self.model


def pack(
    X: ArrayLike,
    path: str | os.PathLike[str],
    density: VAEDensity | None = None,
    *,
    check: bool = True,
) -> PackedSizes:
    """Write a table to a file together with the density that it takes to read it.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        The table.
    path : path-like
        File to write; it is replaced as a whole.
    density : VAEDensity or None, default=None
        Fitted; None fits one to the table, with default parameters and seed 0. It is a
        part of the file, so that only large tables become small ones.
    check : bool, default=True
        Whether to unpack the rows before the file is written.

    Returns
    -------
    sizes : PackedSizes
        What the density takes, and what the rows take.

    See Also
    --------
    unpack : The way back.
    compress : The rows alone.
    """
    if density is None:
        density = VAEDensity(random_state=0).fit(X)
    rows = compress(density, X, check=check)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "density")
        save(density, file)
        model = file.read_bytes()
    with replaced_as_a_whole(path) as partial, partial.open("xb") as packed:
        packed.write(MAGIC + SIZE.pack(len(model)))
        packed.write(model)
        packed.write(rows)
    return PackedSizes(len(rows), len(model))


def unpack(path: str | os.PathLike[str], rows: slice | None = None) -> Any:
    """Return the table that `pack` has written.

    Parameters
    ----------
    path : path-like
        The file. It may come from anyone: as with `load`, nothing in it is executed.
    rows : slice or None, default=None
        Which rows; all by default.

    Raises
    ------
    ValueError
        If it is no such file, or damaged.
    """
    data = Path(path).read_bytes()
    begin = len(MAGIC) + SIZE.size
    if not data.startswith(MAGIC) or len(data) < begin:
        raise ValueError(f"{os.fspath(path)} is no table that skvae has packed.")
    (size,) = SIZE.unpack(data[len(MAGIC) : begin])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "density")
        file.write_bytes(data[begin : begin + size])
        density = load(file)
    return decompress(density, data[begin + size :], rows)
