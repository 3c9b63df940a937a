"""Figures of the benchmarks as text: means with errors, and Markdown tables."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["markdown_table", "mean_and_error", "plus_minus"]


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean over rows and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def plus_minus(mean: float | None, error: float | None, sign: str = "") -> str:
    """Format a figure and its standard error, or a dash where there is none."""
    if mean is None or error is None:
        return "–"
    return f"{mean:{sign}.3f} ± {error:.3f}"


def markdown_table(rows: list[list[str]]) -> str:
    """Join rows of cells into a Markdown table; the first row is the header."""
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
