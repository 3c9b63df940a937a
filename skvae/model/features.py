"""What networks read of a row: every column as one number or several."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["ColumnKind", "RowFeatures", "Support"]

Support = Literal["real", "binary", "count", "category"]


@dataclass(frozen=True)
class ColumnKind:
    """The values that a column may have, and how networks read them.

    Attributes
    ----------
    support : {"real", "binary", "count", "category"}
        Real numbers, zeros and ones, whole numbers from zero, or codes
        0, …, n_values − 1 without an order. Networks read counts as standardised
        log(1 + x), categories as indicators, the others as they are.
    n_values : int, default=0
        Number of categories.
    center, scale : float, default=0.0, 1.0
        Mean and standard deviation of log(1 + x) of a count column.
    """

    support: Support = "real"
    n_values: int = 0
    center: float = 0.0
    scale: float = 1.0

    @property
    def n_features(self) -> int:
        """How many numbers networks read of the column."""
        return self.n_values if self.support == "category" else 1


class RowFeatures(nn.Module):
    """Rows (B, columns) to what networks read of them (B, F).

    Parameters
    ----------
    kinds : tuple of ColumnKind
        One for every column.

    Attributes
    ----------
    n_features : int
        F.
    owner : Tensor of shape (F,)
        The column that each feature belongs to.
    """

    owner: Tensor
    counts: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, kinds: tuple[ColumnKind, ...]) -> None:
        super().__init__()
        self.kinds = kinds
        widths = torch.tensor([kind.n_features for kind in kinds])
        columns = torch.arange(len(kinds))
        self.register_buffer("owner", columns.repeat_interleave(widths))
        self.n_features = len(self.owner)
        self.plain = all(kind.support in ("real", "binary") for kind in kinds)
        self.register_buffer(
            "counts", torch.tensor([kind.support == "count" for kind in kinds])
        )
        self.register_buffer("center", torch.tensor([kind.center for kind in kinds]))
        self.register_buffer("scale", torch.tensor([kind.scale for kind in kinds]))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to features."""
        if self.plain:
            return x
        logarithm = (x.clamp(min=0).log1p() - self.center) / self.scale
        x = torch.where(self.counts, logarithm, x)
        parts = []
        for column, kind in zip(x.unbind(-1), self.kinds, strict=True):
            if kind.support == "category":
                codes = torch.arange(kind.n_values, device=x.device)
                parts.append((column.unsqueeze(-1) == codes).to(x.dtype))
            else:
                parts.append(column.unsqueeze(-1))
        return torch.cat(parts, -1)
