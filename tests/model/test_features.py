"""What networks read of a row."""

import math

import torch

from skvae.model.features import ColumnKind, RowFeatures

KINDS = (
    ColumnKind("category", n_values=3),
    ColumnKind("real"),
    ColumnKind("count", center=0.7, scale=0.5),
    ColumnKind("binary"),
    ColumnKind("category", n_values=2),
)


def test_every_kind_has_its_own_reading() -> None:
    features = RowFeatures(KINDS).double()
    row = torch.tensor([2.0, -1.5, 4.0, 1.0, 0.0], dtype=torch.float64)
    count = (math.log(5) - 0.7) / 0.5
    expected = [0, 0, 1, -1.5, count, 1, 1, 0]
    assert features.owner.tolist() == [0, 0, 0, 1, 2, 3, 4, 4]
    assert features.n_features == len(expected)
    ours = features(torch.stack([row, row]))
    wanted = torch.tensor(expected, dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=1e-6)
    assert ours.dtype == torch.float64


def test_real_and_binary_columns_are_read_as_they_are() -> None:
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert RowFeatures((ColumnKind("real"), ColumnKind("binary")))(x).equal(x)
