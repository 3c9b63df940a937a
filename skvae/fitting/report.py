"""What a fit has tried, and how well each of it did."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skvae.fitting.state import History, Pilots
from skvae.reports import pandas_for_frames
from skvae.tables.companion import CompanionDensity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FitReport"]

LEAST_SHARE = 5e-4  # of a part of the companion that is printed


@dataclass(frozen=True)
class FitReport:
    """What `fit` has tried, the held-out score of each, and what was chosen.

    All scores are mean log-densities of rows that were held out, in nats per row and in
    the units of the columns. It prints as a table.

    Attributes
    ----------
    pilots : list of dict
        The `pilots_` of the estimator: decoders and margins.
    companion : list of dict
        One record per part of the companion: its "name"; "evidence", its score, which
        is that of the rows of all folds; and "share", its share of p(x).
    companion_share : float
        Share of the companion in all; 0 without one.
    n_iter, best_iter : int
        Epochs of the training, and the one whose weights were kept.
    evidence : float
        Score of the density by a lower bound, at that epoch; nan without validation
        rows.
    seconds : float
        Wall time of the training of the model that was chosen.
    """

    pilots: Pilots
    companion: list[dict[str, object]]
    companion_share: float
    n_iter: int
    best_iter: int
    evidence: float
    seconds: float

    @classmethod
    def of(
        cls,
        pilots: Pilots,
        companion: CompanionDensity | None,
        history: History,
        best_iter: int,
    ) -> "FitReport":
        """Return the report of a fit, given what it has left behind."""
        parts: list[dict[str, object]] = []
        if companion is not None:
            parts = [
                {
                    "name": name,
                    "evidence": score,
                    "share": companion.shares.get(name, 0.0),
                }
                for name, score in companion.held_out.items()
            ]
        at_best = history[best_iter - 1]["evidence"] if best_iter else float("nan")
        return cls(
            pilots=pilots,
            companion=parts,
            companion_share=0.0 if companion is None else companion.weight,
            n_iter=len(history),
            best_iter=best_iter,
            evidence=at_best,
            seconds=sum(record["seconds"] for record in history),
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas DataFrame with a row for each candidate and each part.

        Returns
        -------
        frame : pandas.DataFrame
            Columns "kind" ("candidate" of a race, or "companion"), "name", "evidence",
            "seconds" and "chosen" (of a candidate), and "share" (of a companion's
            part).

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        candidates = [
            {
                "kind": "candidate",
                "name": f"{pilot['decoder']}, {pilot['margins']}",
                **{key: pilot[key] for key in ("evidence", "seconds", "chosen")},
            }
            for pilot in self.pilots
        ]
        parts = [{"kind": "companion", **part} for part in self.companion]
        columns = ["kind", "name", "evidence", "seconds", "chosen", "share"]
        return pandas_for_frames().DataFrame([*candidates, *parts], columns=columns)

    def __str__(self) -> str:
        """Return a table in plain text."""
        lines = [
            f"Trained for {self.n_iter} epochs in {self.seconds:.1f} s; the best was "
            f"number {self.best_iter}."
        ]
        if self.pilots:
            lines += ["", f"{'decoder, margins':<34}{'nats':>10}{'seconds':>10}"]
        for pilot in self.pilots:
            name = f"{pilot['decoder']}, {pilot['margins']}"
            mark = "  chosen" if pilot["chosen"] else ""
            lines.append(
                f"{name:<34}{pilot['evidence']:>10.3f}{pilot['seconds']:>10.1f}{mark}"
            )
        if self.companion:
            share = f"companion ({self.companion_share:.1%} of p(x))"
            lines += ["", f"{share:<34}{'nats':>10}{'share':>10}"]
        for part in self.companion:
            of_part = float(part["share"])  # type: ignore[arg-type]
            shown = f"{of_part:.1%}" if of_part >= LEAST_SHARE else "–"
            lines.append(f"{part['name']:<34}{part['evidence']:>10.3f}{shown:>10}")
        return "\n".join(lines)
