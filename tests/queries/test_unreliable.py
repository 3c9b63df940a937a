"""Questions that read many log-densities say once which rows are unreliable."""

import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from skvae import VAEDensity
from skvae.evidence import Evidence
from skvae.scoring.reader import RowReader


@pytest.mark.parametrize(
    ("question", "n_read"),
    [
        (lambda density: density.entropy(20), 1),
        (lambda density: density.mutual_information([0, 2], 1, 20), 3),
        (lambda density: density.dependence(20), 6),
        (
            lambda density: density.conditional(np.ones((20, 3)), 1).log_prob([1] * 20),
            2,
        ),
    ],
    ids=["entropy", "mutual_information", "dependence", "log_prob"],
)
def test_one_warning_is_for_all_rows_that_a_question_reads(
    question: Callable[[VAEDensity], Any],
    n_read: int,
    density: VAEDensity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of the tables that is read has one unreliable row, always another one."""
    read, count = RowReader.evidence, itertools.count()

    def evidence(reader: RowReader, rows: np.ndarray, *settings: Any) -> Evidence:
        unreliable = np.arange(len(rows)) == next(count)
        return replace(read(reader, rows, *settings), unreliable=unreliable)

    monkeypatch.setattr(RowReader, "evidence", evidence)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        question(density)
    assert next(count) == n_read
    (warning,) = caught
    assert f"log-density of {n_read} of 20 rows" in str(warning.message)
    assert warning.filename == __file__


def test_no_warning_where_all_rows_are_reliable(
    density: VAEDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = RowReader.evidence

    def evidence(*settings: Any) -> Evidence:
        found = read(*settings)
        return replace(found, unreliable=np.zeros_like(found.unreliable))

    monkeypatch.setattr(RowReader, "evidence", evidence)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        density.dependence(5)
