"""The progress bar of a fit."""

import math

from tqdm.auto import tqdm

from skvae.training import EpochRecord

__all__ = ["FitProgress"]


class FitProgress:
    """A bar over epochs with the validation score and the time left.

    Parameters
    ----------
    name : str
        What is fitted.
    n_epochs : int
        Largest number of epochs.
    n_done : int
        Epochs that are behind already.
    enabled : bool
        Whether to show anything.
    """

    def __init__(self, name: str, n_epochs: int, n_done: int, *, enabled: bool) -> None:
        self.bar = tqdm(
            total=n_epochs,
            initial=n_done,
            desc=name,
            unit="epoch",
            disable=not enabled,
        )

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()

    def update(self, record: EpochRecord) -> None:
        """Show one more epoch."""
        if math.isfinite(record.evidence):
            self.bar.set_postfix_str(f"validation {record.evidence:.4g} nats/row")
        self.bar.update()
