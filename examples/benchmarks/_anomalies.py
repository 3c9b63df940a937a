"""Data sets of the outlier benchmark, in the two published protocols."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

MOST_ROWS = 50_000


@dataclass(frozen=True)
class Anomalies:
    """Training rows, and test rows with labels, standardised by the training rows.

    Parameters
    ----------
    train : ndarray of shape (n_train, n_columns)
        Normal rows; with contamination, anomalies too.
    test : ndarray of shape (n_test, n_columns)
        The other normal rows, and the other anomalies.
    is_anomaly : ndarray of bool of shape (n_test,)
        Which test rows are anomalies.
    """

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]


def load_anomalies(name: str, folder: Path, contaminate: float, seed: int) -> Anomalies:
    """Load one set and split it.

    The training rows are the first half of the normal rows in the order of the file,
    unshuffled; the test rows are the other half and all anomalies. If a file has more
    than 50,000 rows, a random 50,000 of them are used.

    Parameters
    ----------
    name : str
        The set is the file ``<name>.npz`` with arrays ``X`` and ``y``; rows with y = 1
        are anomalies.
    folder : Path
        Folder of the file.
    contaminate : float
        Share of the training rows that are anomalies. At most half of all anomalies
        are used for this. They are drawn at random, and are no test rows.
    seed : int
        Seed of the draws.

    Returns
    -------
    Anomalies

    References
    ----------
    V. Livernoche, V. Jain, Y. Hezaveh and S. Ravanbakhsh, 2024. On diffusion modeling
    for anomaly detection.
    """
    rng = np.random.default_rng(seed)
    table, odd = _read(name, folder, rng)
    normal, anomalies = np.flatnonzero(~odd), rng.permutation(np.flatnonzero(odd))
    train, others = np.split(normal, [(len(normal) + 1) // 2])
    n_mixed_in = round(contaminate / (1 - contaminate) * len(train))
    n_mixed_in = min(n_mixed_in, len(anomalies) // 2)
    train = np.concatenate([train, anomalies[:n_mixed_in]])
    test = np.concatenate([others, np.sort(anomalies[n_mixed_in:])])
    return _standardised(table, odd, train, test)


def load_bootstrap(name: str, folder: Path, seed: int) -> Anomalies:
    """Load one set, to be judged without knowing which rows are normal.

    The training rows are a bootstrap sample of all rows, anomalies included; the test
    rows are all rows.

    Parameters
    ----------
    name, folder
        As for `load_anomalies`.
    seed : int
        Seed of the sample.

    Returns
    -------
    Anomalies
    """
    rng = np.random.default_rng(seed)
    table, odd = _read(name, folder, rng)
    train = rng.integers(len(table), size=len(table))
    return _standardised(table, odd, train, np.arange(len(table)))


def _read(
    name: str, folder: Path, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the rows of a set, and which are anomalies; of many, random 50,000."""
    with np.load(folder / f"{name}.npz") as arrays:
        table, odd = arrays["X"].astype(np.float64), arrays["y"] == 1
    if len(table) > MOST_ROWS:
        chosen = np.sort(rng.choice(len(table), MOST_ROWS, replace=False))
        table, odd = table[chosen], odd[chosen]
    return table, odd


def _standardised(
    table: NDArray[np.float64],
    odd: NDArray[np.bool_],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Anomalies:
    """Return training and test rows in the units of the training rows."""
    scaler = StandardScaler().fit(table[train])
    return Anomalies(
        scaler.transform(table[train]), scaler.transform(table[test]), odd[test]
    )
