"""The progress bar of a scoring."""

from tqdm.auto import tqdm

__all__ = ["RowProgress"]

DELAY = 2.0  # seconds, before which nothing is shown
ROWS_BETWEEN = 1024


class RowProgress:
    """A bar over rows, with rows a second and the time left.

    Parameters
    ----------
    name : str
        What is scored.
    n_rows : int
        Number of all rows.
    enabled : bool
        Whether to show anything, once the scoring takes more than two seconds.
    """

    def __init__(self, name: str, n_rows: int, *, enabled: bool) -> None:
        self.enabled = enabled
        self.bar = tqdm(
            total=n_rows, desc=name, unit="row", delay=DELAY, disable=not enabled
        )

    def rows_at_once(self, most: int) -> int:
        """Return how many rows to read between two updates."""
        return min(most, ROWS_BETWEEN) if self.enabled else most

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()

    def update(self, n_rows: int) -> None:
        """Show so many more rows."""
        self.bar.update(n_rows)
