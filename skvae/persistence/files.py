"""Fitted estimators in files that anyone may open."""

import hashlib
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skvae.arguments.files import replaced_as_a_whole
from skvae.persistence.codec import Encoded, MalformedError, decode, encode
from skvae.persistence.members import dump_member, load_member
from skvae.persistence.registry import name_of_class, package_version

__all__ = ["load", "load_values", "save", "save_values"]

FORMAT = 1
TREE, ARRAY, MEMBER = "skvae.json", "arrays/{}.npy", "members/{}.skops"
MOST_TREE_BYTES = 2**28
LONGEST_HEADER = 1024  # bytes of a .npy file before its numbers
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
# What zipfile and NumPy raise of files that are damaged.
DAMAGES = (
    ArithmeticError, EOFError, LookupError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write an estimator to a file that is safe to open.

    The file is a zip archive of a JSON document and of plain ``.npy`` arrays. `load`
    reads it; nothing in it is ever executed. What is saved twice is the same to the
    byte.

    Parameters
    ----------
    estimator : estimator
        A public estimator of skvae, fitted or not, or one of scikit-learn's around it,
        such as a pipeline. Estimators of other libraries, also as members, are stored
        by skops, which has to be installed for them.
    path : path-like
        File to write. It is replaced as a whole, once everything has been written.

    Raises
    ------
    TypeError
        If it is no estimator, or has a part that no file can hold.
    ImportError
        If an estimator of another library needs skops, and it is not installed.

    See Also
    --------
    load : Reads the file.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from skvae import VAEDensity, load, save
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = VAEDensity(max_iter=5, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "density.skvae")
    ...     save(density, path)
    ...     again = load(path)
    >>> bool((again.score_samples(X) == density.score_samples(X)).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(
            f"estimator must be an estimator, got {type(estimator).__name__}."
        )
    save_values(estimator, path)


def save_values(
    value: object, path: str | os.PathLike[str], *, sync: bool = True
) -> None:
    """Write any value that `encode` knows, as `save` does.

    Parameters
    ----------
    value : object
        Numbers, text, containers, arrays, tensors, records and estimators.
    path : path-like
        File to write; replaced as a whole.
    sync : bool, default=True
        Whether to wait until the file is on the disk, for the case that power fails.
    """
    encoded = encode(value, own=True)
    members = [
        dump_member(member, place)
        for member, place in zip(encoded.others, encoded.places, strict=True)
    ]
    with replaced_as_a_whole(path) as partial, partial.open("xb") as file:
        _write(file, name_of_class(type(value)), encoded, members)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def load(
    path: str | os.PathLike[str],
    *,
    components: Iterable[type] = (),
    trusted: Iterable[str] = (),
) -> Any:
    """Read an estimator from a file that `save` has written.

    Only classes of skvae are built, and those that are named here; their attributes are
    set, and no code of theirs is run. Sizes, versions and checksums are checked first.

    Parameters
    ----------
    path : path-like
        The file. It may come from anyone: what is wrong with it is an error, and no
        more memory is taken than the file has bytes, times a small number.
    components : iterable of type, default=()
        Classes of your own that may be built: priors, likelihoods and so on, and their
        torch modules.
    trusted : iterable of str, default=()
        Full names of types in members of other libraries that skops does not know, and
        that you trust.

    Returns
    -------
    estimator : estimator
        As it was saved: its scores are the same to the bit.

    Raises
    ------
    ValueError
        If the file is not one of `save`'s, is damaged, is of a later version, or asks
        for a class that may not be built; the message says which.
    ImportError
        If it needs a package that is not installed.
    """
    found = load_values(path, components=components, trusted=trusted)
    if not isinstance(found, BaseEstimator):
        raise ValueError(_refusal(path, "it has no estimator"))
    return found


def load_values(
    path: str | os.PathLike[str],
    *,
    components: Iterable[type] = (),
    trusted: Iterable[str] = (),
) -> Any:
    """Read what `save_values` has written; as `load`, which has estimators alone."""
    allowed = {name_of_class(kind): kind for kind in components}
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                tree, entries = _read_tree(archive)
                arrays = _read_arrays(archive, tree, entries)
                blobs = _read_members(archive, tree, entries)
        except DAMAGES as error:
            raise ValueError(_refusal(path, error)) from error
    try:
        members = [load_member(blob, tuple(trusted)) for blob in blobs]
        return decode(Encoded(tree["root"], arrays, members), allowed)
    except MalformedError as error:
        raise ValueError(_refusal(path, error)) from error


def _refusal(path: str | os.PathLike[str], error: Exception | str) -> str:
    return f"{os.fspath(path)} cannot be opened: {error}."


def _write(file: BinaryIO, kind: str, encoded: Encoded, members: list[bytes]) -> None:
    """Write the archive. Nothing is compressed, so that nothing can swell."""
    entries = {}
    for number, array in enumerate(encoded.arrays):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        entries[ARRAY.format(number)] = buffer.getvalue()
    for number, blob in enumerate(members):
        entries[MEMBER.format(number)] = blob
    tree = {
        "format": FORMAT,
        "skvae": package_version(),
        "of": kind,
        "arrays": [_description(array) for array in encoded.arrays],
        "n_members": len(members),
        "sha256": {
            name: hashlib.sha256(content).hexdigest()
            for name, content in entries.items()
        },
        "root": encoded.root,
    }
    text = json.dumps(tree, allow_nan=False, separators=(",", ":"))
    entries = {TREE: text.encode("utf-8")} | entries
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, FIXED_TIME), content)
        # The checksum of all comes last, as the archive's comment.
        archive.comment = _checksum(entries[TREE])


def _description(array: NDArray[Any]) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape)}


def _checksum(tree: bytes) -> bytes:
    return b"sha256:" + hashlib.sha256(tree).hexdigest().encode("ascii")


def _read_tree(
    archive: zipfile.ZipFile,
) -> tuple[dict[str, Any], dict[str, zipfile.ZipInfo]]:
    """Return the JSON document and the archive's entries; raise if either is odd."""
    entries = {}
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or (
            entry.compress_size != entry.file_size
        ):
            raise MalformedError(f"its entry {entry.filename} is compressed")
        if entry.filename in entries:
            raise MalformedError(f"it has two entries {entry.filename}")
        entries[entry.filename] = entry
    if TREE not in entries:
        raise MalformedError(f"it has no entry {TREE}: skvae.save did not write it")
    if entries[TREE].file_size > MOST_TREE_BYTES:
        raise MalformedError(f"{TREE} has more than {MOST_TREE_BYTES} bytes")
    text = archive.read(TREE)
    if archive.comment != _checksum(text):
        raise MalformedError(f"{TREE} is not what its checksum says")
    try:
        tree = json.loads(text)
    except RecursionError:
        raise MalformedError("the tree is too deep") from None
    if not isinstance(tree, dict) or type(tree.get("format")) is not int:
        raise MalformedError(f"{TREE} does not say which format it has")
    if tree["format"] > FORMAT:
        raise MalformedError(
            f"its format is {tree['format']}, written by skvae "
            f"{tree.get('skvae')}; this version of skvae reads formats up to {FORMAT}"
        )
    expected: dict[str, type] = {
        "arrays": list, "n_members": int, "sha256": dict
    }  # fmt: skip
    for name, kind in expected.items():
        if not isinstance(tree.get(name), kind):
            raise MalformedError(f"{TREE} has no proper {name!r}")
    if "root" not in tree:
        raise MalformedError(f"{TREE} has no 'root'")
    n_arrays, n_members = len(tree["arrays"]), tree["n_members"]
    if n_members > len(entries) or n_arrays > len(entries):
        raise MalformedError("it lacks entries")
    names = {ARRAY.format(j) for j in range(n_arrays)}
    names |= {MEMBER.format(j) for j in range(n_members)}
    if names | {TREE} != set(entries) or names != set(tree["sha256"]):
        raise MalformedError("its entries are not those of its document")
    return tree, entries


def _content(
    archive: zipfile.ZipFile, tree: Mapping[str, Any], entry: zipfile.ZipInfo
) -> bytes:
    content = archive.read(entry)
    if hashlib.sha256(content).hexdigest() != tree["sha256"][entry.filename]:
        raise MalformedError(f"{entry.filename} is not what its checksum says")
    return content


def _read_arrays(
    archive: zipfile.ZipFile,
    tree: Mapping[str, Any],
    entries: Mapping[str, zipfile.ZipInfo],
) -> list[NDArray[Any]]:
    arrays = []
    for number, description in enumerate(tree["arrays"]):
        entry = entries[ARRAY.format(number)]
        if not isinstance(description, dict):
            raise MalformedError(f"{entry.filename} is not described")
        dtype, shape = description.get("dtype"), description.get("shape")
        if not isinstance(dtype, str) or not isinstance(shape, list):
            raise MalformedError(f"{entry.filename} is not described")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise MalformedError(f"{entry.filename} has the shape {shape}")
        # NumPy would allocate what the shape says, whatever there is.
        try:
            n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        except TypeError as error:
            raise MalformedError(f"{entry.filename}: {error}") from None
        if not n_bytes < entry.file_size <= n_bytes + LONGEST_HEADER:
            raise MalformedError(
                f"{entry.filename} has {entry.file_size} bytes, which is not the size "
                f"of an array of shape {tuple(shape)} and dtype {dtype}"
            )
        file = io.BytesIO(_content(archive, tree, entry))
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise MalformedError(f"{entry.filename} is of version {version}")
        found, _, found_dtype = np.lib.format.read_array_header_1_0(file)
        if list(found) != shape or found_dtype.str != dtype:
            raise MalformedError(f"{entry.filename} is not as described")
        file.seek(0)
        arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays


def _read_members(
    archive: zipfile.ZipFile,
    tree: Mapping[str, Any],
    entries: Mapping[str, zipfile.ZipInfo],
) -> list[bytes]:
    names = [MEMBER.format(number) for number in range(tree["n_members"])]
    return [_content(archive, tree, entries[name]) for name in names]
