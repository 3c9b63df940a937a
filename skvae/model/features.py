"""What networks read of a row: every column as one number or several."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from skvae.model.dtype import BUILD_DTYPE

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
    other : float, default=0.0
        Mass of all values that are none of the categories together. Their code is
        n_values, and networks read it as no indicator at all. Zero where there are no
        such values.
    center, scale : float, default=0.0, 1.0
        Mean and standard deviation of log(1 + x) of a count column.
    """

    support: Support = "real"
    n_values: int = 0
    other: float = 0.0
    center: float = 0.0
    scale: float = 1.0

    @property
    def n_features(self) -> int:
        """How many numbers networks read of the column."""
        return self.n_values if self.support == "category" else 1


class RowFeatures(nn.Module):
    """The map from rows (B, columns) to what networks read of them (B, F).

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
    code: Tensor
    category: Tensor
    count: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, kinds: tuple[ColumnKind, ...]) -> None:
        super().__init__()
        self.kinds = kinds
        self.plain = all(kind.support in ("real", "binary") for kind in kinds)
        widths = [kind.n_features for kind in kinds]
        owner = [j for j, width in enumerate(widths) for _ in range(width)]
        of_feature = [kinds[j] for j in owner]
        buffers = {
            "owner": owner,
            "code": [code for width in widths for code in range(width)],
            "category": [kind.support == "category" for kind in of_feature],
            "count": [kind.support == "count" for kind in of_feature],
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values))
        for name in ("center", "scale"):
            numbers = [getattr(kind, name) for kind in of_feature]
            self.register_buffer(name, torch.tensor(numbers, dtype=BUILD_DTYPE))
        self.n_features = len(owner)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to features."""
        if self.plain:
            return x
        x = x[..., self.owner]
        logarithm = (x.clamp(min=0).log1p() - self.center) / self.scale
        indicator = (x == self.code).to(x.dtype)
        return torch.where(
            self.count, logarithm, torch.where(self.category, indicator, x)
        )
