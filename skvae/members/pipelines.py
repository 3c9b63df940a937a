"""Pipelines that end in a density, and searches that chose one: what is inside."""

from typing import Any

__all__ = ["changes_rows", "last_step", "rows_of_last_step", "steps_of"]


def steps_of(density: object) -> list[tuple[str, Any]]:
    """Return names and steps of a pipeline; none for any other estimator."""
    return list(getattr(density, "steps", None) or [])


def last_step(density: object) -> Any:
    """Return the density that a pipeline ends in, or that a search has chosen.

    Pipelines and searches may be nested. A search that is not fitted has chosen the
    estimator that it was given. Any other density is returned as it is.
    """
    inner = _inside(density)
    return density if inner is None else last_step(inner)


def changes_rows(density: object) -> bool:
    """Whether transformers come before the last step of a pipeline."""
    before = [step for _, step in steps_of(density)[:-1]]
    inner = _inside(density)
    return not all(step in (None, "passthrough") for step in before) or (
        inner is not None and changes_rows(inner)
    )


def rows_of_last_step(density: object, rows: Any) -> Any:
    """Return rows as the transformers of a fitted pipeline hand them to its last step.

    For a density that is no pipeline, these are the rows themselves.
    """
    for _, step in steps_of(density)[:-1]:
        if hasattr(step, "transform"):
            rows = step.transform(rows)
    inner = _inside(density)
    return rows if inner is None else rows_of_last_step(inner, rows)


def _inside(density: object) -> Any:
    """Return the last step of a pipeline or the choice of a search; else None."""
    steps = steps_of(density)
    if steps:
        return steps[-1][1]
    if hasattr(density, "best_estimator_"):
        return density.best_estimator_
    # Searches of scikit-learn have `refit`, other estimators around one have not.
    return getattr(density, "estimator", None) if hasattr(density, "refit") else None
