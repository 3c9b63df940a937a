"""Trainings on the disk, from which a fit that was killed goes on."""

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from skvae.fitting.parameters import Parameters
from skvae.fitting.plan import WeightedRows
from skvae.fitting.state import FittedState
from skvae.persistence import encode, load_values, save_values
from skvae.training import Trainer

__all__ = ["Checkpoint", "Checkpoints"]

IDENTITY, TRAINING = "fit.skvae", "training-{}.skvae"
# Parameters that no training depends on.
WITHOUT_EFFECT = {
    "checkpoint", "device", "evidence_tol", "max_evidence_samples",
    "n_importance_samples", "random_state", "verbose", "warm_start",
}  # fmt: skip
ROWS_AT_ONCE = 2**18


@dataclass(frozen=True)
class Checkpoint:
    """The file of one training."""

    path: Path

    def attach(self, trainer: Trainer) -> None:
        """Let a trainer go on from the file, if there is one, and write to it."""
        if self.path.exists():
            trainer.restore(load_values(self.path))
        trainer.keep = self._write

    def _write(self, trainer: Trainer) -> None:
        # Killed processes lose nothing that they have handed to the system.
        save_values(trainer.state(), self.path, sync=False)


@dataclass(frozen=True)
class Checkpoints:
    """The folder of a fit.

    Attributes
    ----------
    folder : Path
        Where the files are.
    seed : int
        Seed of the fit.
    """

    folder: Path
    seed: int

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        parameters: Parameters,
        table: WeightedRows,
        previous: FittedState | None,
        seed: int,
    ) -> "Checkpoints":
        """Return the checkpoints of a fit, those that are there included.

        Parameters
        ----------
        folder : path-like
            It is made if it is not there.
        parameters, table, previous
            What the fit depends on.
        seed : int
            Seed of the fit. If the parameters have none, it is that of the fit which
            made the folder.

        Raises
        ------
        ValueError
            If the folder is that of another fit; it says what is different.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        identity: dict[str, Any] = {
            "parameters": _described(parameters),
            "table": _digest_of_rows(table),
            "previous": _digest_of_model(previous),
            "seed": seed,
        }
        file = path / IDENTITY
        if file.exists():
            before = load_values(file)
            if parameters.random_state is None:
                identity["seed"] = before["seed"]
            different = _difference(before, identity)
            if different:
                raise ValueError(
                    f"checkpoint={os.fspath(folder)!r} is that of another fit: "
                    f"{different}. Choose another folder, or delete this one."
                )
        else:
            save_values(identity, file)
        return cls(path, int(identity["seed"]))

    def of(self, number: int) -> Checkpoint:
        """Return the checkpoint of a training, by its number in the fit."""
        return Checkpoint(self.folder / TRAINING.format(number))


def _described(parameters: Parameters) -> dict[str, str]:
    """Return the parameters that a training depends on, as text."""
    return {
        field.name: repr(getattr(parameters, field.name))
        for field in fields(parameters)
        if field.name not in WITHOUT_EFFECT
    }


def _digest_of_rows(table: WeightedRows) -> str:
    digest = hashlib.sha256(repr((table.rows.shape, table.schema)).encode())
    for begin in range(0, len(table.rows), ROWS_AT_ONCE):
        index = np.arange(begin, min(begin + ROWS_AT_ONCE, len(table.rows)))
        digest.update(np.ascontiguousarray(table.rows[index]).tobytes())
        digest.update(np.ascontiguousarray(table.weight[index]).tobytes())
    return digest.hexdigest()


def _digest_of_model(previous: FittedState | None) -> str:
    if previous is None:
        return ""
    encoded = encode([dict(previous.model.state_dict()), previous.optimiser_state])
    digest = hashlib.sha256(json.dumps(encoded.root).encode())
    for array in encoded.arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return what is different, as a clause; empty if nothing is."""
    if before["table"] != now["table"]:
        return "the rows, their weights or their columns are others"
    for name, value in now["parameters"].items():
        known = before["parameters"].get(name)
        if known != value:
            return f"{name} was {known} and is {value}"
    if before["previous"] != now["previous"]:
        return "it went on from another model"
    if before["seed"] != now["seed"]:
        return "random_state is another one"
    return ""
