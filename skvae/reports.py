"""How records show themselves: tables in HTML, and data frames."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "data_frame",
    "html_list",
    "html_report",
    "html_table",
    "html_text",
    "pandas_for_frames",
]

# Colours are those of the notebook, be it light or dark.
LINE = "border-bottom:1px solid currentColor"
TABLE = "border-collapse:collapse;margin:0.4em 0;font-variant-numeric:tabular-nums"
CELL = "padding:0.15em 0.7em"


def pandas_for_frames() -> ModuleType:
    """Return the module pandas; raise an ImportError with advice if it is missing."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "to_frame needs the package pandas: pip install pandas."
        ) from error
    return pandas


def data_frame(columns: Mapping[str, Any]) -> "pd.DataFrame":
    """Return a pandas DataFrame with these columns."""
    return pandas_for_frames().DataFrame(dict(columns))


def html_report(*parts: str) -> str:
    """Return parts of a report as one, which nothing outside of it has to style."""
    return f'<div class="skvae-report">{"".join(parts)}</div>'


def html_text(text: str, *, strong: bool = False) -> str:
    """Return a paragraph."""
    tag = "strong" if strong else "span"
    return f'<p style="margin:0.4em 0"><{tag}>{escape(text)}</{tag}></p>'


def html_list(title: str, items: Iterable[str]) -> str:
    """Return a list of sentences under a title."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"{html_text(title, strong=True)}<ul>{lines}</ul>"


def html_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, n_names: int = 1
) -> str:
    """Return a table under a title.

    Parameters
    ----------
    title : str
        What the table shows.
    head : sequence of str
        Names of the columns.
    rows : iterable of sequence of str
        Cells. All text is escaped here.
    n_names : int, default=1
        Number of first columns that hold names, and are aligned at the left.
    """

    def line(tag: str, cells: Sequence[str], more: str = "") -> str:
        return "".join(
            f'<{tag} style="{CELL};{more}text-align:'
            f'{"left" if j < n_names else "right"}">{escape(cell)}</{tag}>'
            for j, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line('td', cells)}</tr>" for cells in rows)
    return (
        f"{html_text(title, strong=True)}"
        f'<table style="{TABLE}"><thead><tr>{line("th", head, f"{LINE};")}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
