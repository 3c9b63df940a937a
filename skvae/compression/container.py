"""Tables as bytes: the bits of their rows behind a header that says what they are."""

import base64
import hashlib
import itertools
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skvae.compression.rows import CodedRows, RowCoder
from skvae.compression.table import (
    ColumnForm,
    columns_of,
    table_of,
    unlike,
    verbatim,
)
from skvae.density import VAEDensity
from skvae.model.memory import check_memory
from skvae.persistence import encode
from skvae.scoring.reader import RowReader
from skvae.tables.alphabets import alphabet_from, fit_alphabet
from skvae.tables.raw import read_table
from skvae.tables.schema import TableSchema
from skvae.typing import Array

__all__ = ["compress", "decompress"]

MAGIC = b"skvae rows 1\n"
ROWS_PER_CHUNK = 2**14
MOST_HEADER_BYTES = 2**28
SIZES = struct.Struct("<II")  # length and checksum of the header
REFUSAL = "The bytes are no rows that skvae has compressed"
# What deflating may refer to: a part of the format, as the magic bytes are.
USUAL_HEADER = (
    b'"list","whole":false,"object","values":["categories","library":"pandas","names":['
    b'"dtype":"<i8","<f4","alphabet":{"name":"palette","numbers":["name":"floats",'
    b'"first":0,"gap":1,"digits":0,"name":"decimals",'
    b'{"model":"","frame":{"library":"numpy","dtype":"<f8","one_dimensional":false},'
    b'"columns":[[1,{"form":{"dtype":"array","categories":null,"of":"array","cells":'
    b'"<f8"},"alphabet":{"name":"codes","n_values":2},"missing":0.0,"rows":[],'
    b'"cells":[]}]],"chunks":[[0,16384,0.5,[-1,-1,0,0,0,0,0,0,0,0,0,0],0]]}'
)
# What is raised for headers that are damaged.
DAMAGES = (
    ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, struct.error,
    zlib.error,
)  # fmt: skip


def compress(
    density: VAEDensity,
    X: ArrayLike,
    *,
    rows_per_chunk: int = ROWS_PER_CHUNK,
    check: bool = False,
) -> bytes:
    """Return a table as bytes, about −log₂ p(x) bits for each of its rows.

    Parameters
    ----------
    density : VAEDensity
        Fitted; what reads the bytes needs the same one.
    X : array-like or data frame of shape (n_samples, n_features)
        Any rows that the density can score. Missing cells stay missing, and every cell
        comes back to the bit: what a density of numbers cannot tell, such as the sign
        of a zero, is stored beside the rows.
    rows_per_chunk : int, default=16384
        Rows that have to be read together. Each chunk costs some tens of bytes.
    check : bool, default=False
        Whether to decompress the bytes at once and to compare.

    Returns
    -------
    data : bytes

    Raises
    ------
    ValueError
        If the density has no distributions of single columns or latents that could be
        written as symbols, or a data frame has an index.
    TypeError
        If cells are of types that JSON does not have.
    ImportError
        If the package constriction is not installed.

    Notes
    -----
    Rows take the negative evidence lower bound of a Gaussian that is fitted to the
    posterior of each, in bits: some hundredths of a bit more than −log₂ p(x).

    Both sides compute probabilities, and have to round them alike. The bytes can be
    read on machines whose processor and versions of torch and NumPy compute as those of
    the machine that wrote them; other results are noticed, and are an error. The number
    of threads does not matter.

    See Also
    --------
    decompress : The way back.
    VAEDensity.code_lengths : What rows and columns take.

    References
    ----------
    J. Townsend, T. Bird and D. Barber, 2019. Practical lossless compression with latent
    variables using bits back coding.

    J. Duda, 2009. Asymmetric numeral systems.

    R. Bamler, 2022. Understanding entropy coding with asymmetric numeral systems: a
    statistician's perspective.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEDensity
    >>> from skvae.compression import compress, decompress
    >>> X = np.random.default_rng(0).normal(size=(200, 2)).round(1)
    >>> density = VAEDensity(max_iter=5, random_state=0).fit(X)
    >>> data = compress(density, X)
    >>> bool((decompress(density, data) == X).all()), len(data) < X.nbytes / 5
    (True, True)
    """
    reader = _reader(density)
    if not isinstance(rows_per_chunk, Integral) or rows_per_chunk < 1:
        raise ValueError(
            f"rows_per_chunk must be an int of at least 1, got {rows_per_chunk!r}."
        )
    schema = density.schema_
    numbers = schema.encode(read_table(density, X, reset=False)).copy()
    frame, columns = columns_of(X)
    parts = [
        _Column.of(column, numbers[:, j], schema, j) for j, column in enumerate(columns)
    ]
    for part, own in zip(parts, numbers.T, strict=True):
        own[part.rows] = np.nan
    coder = _row_coder(reader, parts)
    size = int(rows_per_chunk)
    blocks = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    chunks = [coder.encode(block) for block in blocks]
    header = {
        "model": _digest(density),
        "frame": frame,
        # Columns that are alike are described once.
        "columns": [
            [len(list(alike)), asdict(part)] for part, alike in itertools.groupby(parts)
        ],
        "chunks": [
            [len(c.words), c.n_rows, c.growth, c.lattice, c.checksum] for c in chunks
        ],
    }
    text = _deflated(json.dumps(header, separators=(",", ":")).encode())
    words = b"".join(chunk.words.astype("<u4").tobytes() for chunk in chunks)
    data = MAGIC + SIZES.pack(len(text), zlib.crc32(text)) + text + words
    if check:
        decompress(density, data)
    return data


def decompress(density: VAEDensity, data: bytes, rows: slice | None = None) -> Any:
    """Return the table that was compressed.

    Parameters
    ----------
    density : VAEDensity
        The one that compressed it.
    data : bytes
        What `compress` has returned.
    rows : slice or None, default=None
        Which rows; all by default. Only the chunks that have some of them are read.

    Returns
    -------
    X : ndarray or data frame of shape (n_samples, n_features)
        The rows, in the container that they came in, to the bit.

    Raises
    ------
    ValueError
        If the bytes are not those of `compress`, are damaged, or belong to another
        density; the message says which.
    """
    reader = _reader(density)
    header = _Header.of(data)
    if header.model != _digest(density):
        raise ValueError(
            "The bytes were written with another density: the one that is given has "
            "other parameters, columns or units."
        )
    n_rows = sum(chunk.n_rows for chunk in header.chunks)
    begin, end, step = (rows or slice(None)).indices(n_rows)
    if step != 1:
        raise ValueError(f"rows must be a slice of step 1, got {rows!r}.")
    n_columns = len(density.schema_.kinds)
    if len(header.columns) != n_columns:
        raise ValueError(f"{REFUSAL}: it has {len(header.columns)} columns.")
    check_memory(8 * n_rows * n_columns, f"a table of {n_rows} rows")
    try:
        return _table(reader, header, begin, max(begin, end))
    except DAMAGES as error:
        raise ValueError(f"{REFUSAL}, or are damaged: {error}") from error


def _table(reader: RowReader, header: "_Header", begin: int, end: int) -> Any:
    """Return the rows from one number to another."""
    coder = _row_coder(reader, header.columns)
    found = [np.empty((0, len(header.columns)))]
    first = place = 0
    for chunk in header.chunks:
        if place < end and place + chunk.n_rows > begin:
            first = first if len(found) > 1 else place
            found.append(coder.decode(chunk))
        place += chunk.n_rows
    numbers = np.concatenate(found)[begin - first : end - first]
    columns = [
        part.column(own, slice(begin, end))
        for part, own in zip(header.columns, numbers.T, strict=True)
    ]
    return table_of(header.frame, columns)


@dataclass(frozen=True)
class _Column:
    """What the header says of a column.

    Attributes
    ----------
    form, alphabet : dict
        How cells are made of numbers, and which numbers there are.
    missing : float
        Share of cells that are not coded.
    rows, cells : list
        Those of them that are stored as they are: where, and what.
    """

    form: dict[str, Any]
    alphabet: dict[str, Any]
    missing: float
    rows: list[int]
    cells: list[Any]

    @classmethod
    def of(
        cls, column: tuple[str, Any, Any], numbers: Array, schema: TableSchema, j: int
    ) -> "_Column":
        """Describe a column whose cells the density reads as these numbers."""
        values = schema.categories[j]
        if values is not None:
            # The code of all unknown categories together does not say which it is.
            numbers = np.where(numbers == len(values), np.nan, numbers)
        form = ColumnForm.of(column, numbers, schema, j)
        is_coded = ~np.isnan(numbers)
        alphabet = fit_alphabet(numbers[is_coded], schema.kinds[j])
        back = np.full_like(numbers, np.nan)
        back[is_coded] = alphabet.values(alphabet.places(numbers[is_coded]))
        rows = np.flatnonzero(unlike(form.cells(back), column[1]))
        is_coded[rows] = False
        return cls(
            form.description,
            {"name": alphabet.name} | alphabet.description(),
            float(1 - is_coded.mean()),
            rows.tolist(),
            verbatim(column[1], rows),
        )

    def column(self, numbers: Array, rows: slice) -> tuple[str, Any, Any]:
        """Return the column of some rows, as `table_of` takes it."""
        form = ColumnForm(self.form)
        cells = form.cells(numbers)
        for row, cell in zip(self.rows, self.cells, strict=True):
            if rows.start <= row < rows.stop:
                cells[row - rows.start] = cell
        return form.column(cells)


@dataclass(frozen=True)
class _Header:
    """What stands before the bits.

    Attributes
    ----------
    model : str
        Of the density.
    frame : dict
        What the table is besides its columns.
    columns : list of _Column
        The columns.
    chunks : list of CodedRows
        The rows.
    """

    model: str
    frame: dict[str, Any]
    columns: list[_Column]
    chunks: list[CodedRows]

    @classmethod
    def of(cls, data: bytes) -> "_Header":
        """Read the header; raise a ValueError if it is none."""
        if not data.startswith(MAGIC):
            raise ValueError(f"{REFUSAL}: they begin otherwise.")
        try:
            begin = len(MAGIC) + SIZES.size
            size, checksum = SIZES.unpack(data[len(MAGIC) : begin])
            text = data[begin : begin + size]
            if len(text) != size or zlib.crc32(text) != checksum:
                raise ValueError("the header is not what its checksum says")
            parts = json.loads(_inflated(text))
            words = np.frombuffer(data, dtype="<u4", offset=begin + size)
            chunks, used = [], 0
            for n_words, *rest in parts["chunks"]:
                own = words[used : used + n_words].astype(np.uint32)
                chunks.append(CodedRows(own, *rest))
                used += n_words
            if used != len(words):
                raise ValueError(f"there are {len(words)} words of bits, not {used}")
            check_memory(sum(n for n, _ in parts["columns"]), "so many columns")
            columns = [
                _Column(**column) for n, column in parts["columns"] for _ in range(n)
            ]
            return cls(parts["model"], parts["frame"], columns, chunks)
        except DAMAGES as error:
            raise ValueError(f"{REFUSAL}: {error}.") from error


def _row_coder(reader: RowReader, columns: Sequence[_Column]) -> RowCoder:
    alphabets = [alphabet_from(column.alphabet) for column in columns]
    return RowCoder(reader, alphabets, np.array([c.missing for c in columns]))


def _reader(density: VAEDensity) -> RowReader:
    """Return the fitted model on the CPU."""
    if not isinstance(density, VAEDensity):
        raise TypeError(f"density must be a VAEDensity, got {type(density).__name__}.")
    check_is_fitted(density)
    return RowReader.on(
        torch.device("cpu"),
        density.model_,
        density.columns_,
        density.companion_density_,
    )


def _deflated(text: bytes) -> bytes:
    """Return a header in few bytes: what all headers have is known already."""
    deflate = zlib.compressobj(9, zdict=USUAL_HEADER)
    return deflate.compress(text) + deflate.flush()


def _inflated(text: bytes) -> bytes:
    """Return the header, or as much of it as a header may have."""
    inflate = zlib.decompressobj(zdict=USUAL_HEADER)
    return inflate.decompress(text, MOST_HEADER_BYTES)


def _digest(density: VAEDensity) -> str:
    """Return a digest of all that probabilities are computed from, 128 bits."""
    parts = ("model_", "columns_", "companion_density_", "schema_")
    encoded = encode([getattr(density, part) for part in parts], own=True)
    digest = hashlib.sha256(json.dumps(encoded.root).encode())
    for array in encoded.arrays:
        digest.update(array.tobytes())
    return base64.b64encode(digest.digest()[:16]).decode().rstrip("=")
