"""Data sets of the density benchmarks: a folder of files, or scikit-learn's own.

Every set is a :class:`Split` of continuous columns, standardised by its training
rows, so that all methods and all figures share the same units.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Training, validation and test rows of one set, in standardised units.

    Parameters
    ----------
    train, valid, test : ndarray of shape (n_rows, n_columns), float64
        Disjoint rows of the same columns.
    """

    train: NDArray[np.float64]
    valid: NDArray[np.float64]
    test: NDArray[np.float64]


BUNDLED: dict[str, Callable[[], NDArray[np.float64]]] = {
    "breast_cancer": lambda: load_breast_cancer().data,
    "wine": lambda: load_wine().data,
    # In measured units, the columns lie on grids, which `dequantise` needs to see.
    "diabetes": lambda: load_diabetes(scaled=False).data,
    "digits": lambda: load_digits().data,
}


def set_names(folder: Path | None) -> list[str]:
    """Return the names of the sets in a folder, or of the bundled ones."""
    if folder is None:
        return list(BUNDLED)
    folders = (path.parent for path in folder.glob("*/train.parquet"))
    return sorted(path.stem for path in [*folder.glob("*.npz"), *folders])


def load_split(name: str, folder: Path | None) -> Split:
    """Load one set.

    Parameters
    ----------
    name : str
        One of ``set_names(folder)``.
    folder : Path or None
        Folder of the file ``<name>.npz`` with arrays ``train``, ``valid`` and
        ``test``, or of the folder ``<name>`` of ``train.parquet``, ``valid.parquet``
        and ``test.parquet`` (files, or folders of them), which are already
        standardised; None stands for the bundled sets. Of more than a million rows of
        a part, as many are drawn.

    Returns
    -------
    Split
    """
    if folder is None:
        rng = np.random.default_rng(SPLIT_SEED)
        return split_rows(dequantise(BUNDLED[name](), rng), rng)
    parts = ("train", "valid", "test")
    if (folder / name).is_dir():
        # A parent process that measures its children's memory must not load torch.
        from skvae import Batches

        files = [Batches(folder / name / f"{part}.parquet") for part in parts]
        drawn = [file.sample(None, SPLIT_SEED)[0] for file in files]
        return Split(*(rows.to_numpy(np.float64) for rows in drawn))
    with np.load(folder / f"{name}.npz") as arrays:
        return Split(*(arrays[part].astype(np.float64) for part in parts))


def dequantise(
    table: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Drop constant columns and spread repeated values over one grid step.

    On a column that repeats its values, log-density has no upper bound: a density with
    a narrow spike on a repeated value scores the higher the narrower the spike is.
    Uniform noise as wide as the grid step bounds it.

    Parameters
    ----------
    table : ndarray of shape (n_rows, n_columns)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n_rows, n_varying_columns)
    """
    spread = np.array(table[:, np.ptp(table, axis=0) > 0], dtype=np.float64)
    for column in spread.T:
        values = np.unique(column)
        if len(values) == len(column):
            continue
        # The smallest gap is too small a step where only some values have decimals.
        # A value that is repeated for another reason, such as a zero that means
        # "none", would then stay a spike: hence the second, wider step.
        step = max(np.diff(values).min(), column.std() / 50)
        column += rng.uniform(0, step, size=len(column))
    return spread


def split_rows(table: NDArray[np.float64], rng: np.random.Generator) -> Split:
    """Shuffle rows, split them 80/10/10 and standardise all by the training part.

    Parameters
    ----------
    table : ndarray of shape (n_rows, n_columns)
    rng : numpy.random.Generator

    Returns
    -------
    Split
    """
    rows = rng.permutation(table)
    n_held_out = round(0.1 * len(rows))
    train, valid, test = np.split(rows, [-2 * n_held_out, -n_held_out])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    return Split(*((part - mean) / scale for part in (train, valid, test)))
