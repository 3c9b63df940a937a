"""Pipelines that end in a density: the density, and what comes before it."""

from typing import Any, TypeVar

__all__ = ["changes_rows", "last_step", "rows_of_last_step", "steps_of"]

Step = TypeVar("Step")


def steps_of(density: object) -> list[tuple[str, Any]]:
    """Return names and steps of a pipeline; none for any other estimator."""
    return list(getattr(density, "steps", None) or [])


def last_step(density: Step) -> Step:
    """Return the density that a pipeline ends in, or any other density itself."""
    steps = steps_of(density)
    return steps[-1][1] if steps else density


def changes_rows(density: object) -> bool:
    """Whether a pipeline has transformers before its last step."""
    before = steps_of(density)[:-1]
    return not all(step in (None, "passthrough") for _, step in before)


def rows_of_last_step(density: object, rows: Any) -> Any:
    """Return rows as the transformers of a fitted pipeline hand them to its last step.

    For a density that is no pipeline, these are the rows themselves.
    """
    for _, step in steps_of(density)[:-1]:
        if hasattr(step, "transform"):
            rows = step.transform(rows)
    return rows
