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
    has_gaps : bool, default=False
        Whether `fit` has seen missing cells in the column. Networks then also read
        whether a cell is missing: the encoder of every such column, the decoder of the
        given ones.
    """

    support: Support = "real"
    n_values: int = 0
    other: float = 0.0
    center: float = 0.0
    scale: float = 1.0
    has_gaps: bool = False

    @property
    def n_features(self) -> int:
        """How many numbers networks read of the column."""
        return self.n_values if self.support == "category" else 1


class RowFeatures(nn.Module):
    """The map from rows (B, columns) to what networks read of them (B, F).

    A missing cell is NaN. Its features are zero, the mean of a standardised column and
    none of the categories. For a column in which `fit` has seen missing cells, a
    *flag* says whether the cell is missing. Flags of given columns are the last of the
    features. Those of other columns are for the encoder alone: a decoder that reads
    columns has a density of complete rows, and must not know which cells are missing.

    Parameters
    ----------
    kinds : tuple of ColumnKind
        One for every column.
    n_given : int, default=0
        How many of the columns, the last ones, are given.

    Attributes
    ----------
    n_features : int
        F.
    n_flags : int
        Number of flags for the encoder, M.
    owner : Tensor of shape (F,)
        The column that each feature belongs to.
    """

    owner: Tensor
    flagged: Tensor
    given_flagged: Tensor
    code: Tensor
    category: Tensor
    count: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, kinds: tuple[ColumnKind, ...], n_given: int = 0) -> None:
        super().__init__()
        self.kinds = kinds
        n_modelled = len(kinds) - n_given
        gaps = [j for j, kind in enumerate(kinds) if kind.has_gaps]
        flagged = [j for j in gaps if j < n_modelled]
        given_flagged = [j for j in gaps if j >= n_modelled]
        self.plain = all(kind.support in ("real", "binary") for kind in kinds)
        widths = [kind.n_features for kind in kinds]
        owner = [j for j, width in enumerate(widths) for _ in range(width)]
        of_feature = [kinds[j] for j in owner]
        buffers = {
            "owner": owner + given_flagged,
            "flagged": flagged,
            "given_flagged": given_flagged,
            "code": [code for width in widths for code in range(width)],
            "category": [kind.support == "category" for kind in of_feature],
            "count": [kind.support == "count" for kind in of_feature],
        }
        for name, values in buffers.items():
            dtype = torch.bool if name in ("category", "count") else torch.int64
            self.register_buffer(name, torch.tensor(values, dtype=dtype))
        for name in ("center", "scale"):
            numbers = [getattr(kind, name) for kind in of_feature]
            self.register_buffer(name, torch.tensor(numbers, dtype=BUILD_DTYPE))
        self.n_features, self.n_flags = len(self.owner), len(flagged)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to features."""
        features = self.with_gaps(x)
        return features.where(~features.isnan(), 0.0)

    def with_gaps(self, x: Tensor) -> Tensor:
        """Map rows to features, which are NaN where the cell is missing."""
        if self.plain:
            features = x
        else:
            owner = self.owner[: len(self.code)]
            x_of = x[..., owner]
            logarithm = (x_of.clamp(min=0).log1p() - self.center) / self.scale
            indicator = (x_of == self.code).to(x.dtype).where(~x_of.isnan(), torch.nan)
            features = torch.where(
                self.count, logarithm, torch.where(self.category, indicator, x_of)
            )
        if not len(self.given_flagged):
            return features
        return torch.cat([features, self._flags(x, self.given_flagged)], -1)

    def for_encoder(self, x: Tensor) -> Tensor:
        """Map rows to what the encoder reads: features and flags, (B, F + M)."""
        features = self(x)
        if not self.n_flags:
            return features
        return torch.cat([features, self._flags(x, self.flagged)], -1)

    def _flags(self, x: Tensor, columns: Tensor) -> Tensor:
        """Return 1 where a cell is missing, and 0 elsewhere."""
        return x[..., columns].isnan().to(x.dtype)
