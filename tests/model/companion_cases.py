"""Tables of real and of discrete columns, and companions that are fitted to them."""

import functools
import itertools

import numpy as np
import torch
from torch import Tensor

from skvae.model.companions import Companion, CompanionFit, CompanionPool
from skvae.model.companions._broad import StudentTFit
from skvae.model.companions._kernels import KernelDensityFit
from skvae.model.companions._mixtures import GaussianMixtureFit
from skvae.model.companions._products import MatchingKernelsFit, ProductMixtureFit
from skvae.model.companions._trees import TreeMixtureFit
from skvae.model.features import ColumnKind

__all__ = [
    "CASES",
    "FALSE_ALARM",
    "KINDS",
    "WITH_OTHER",
    "companion_of",
    "discrete_fits",
    "discrete_rows",
    "every_row",
    "fit_of",
    "fitted",
    "floor_of",
    "kinds_of_case",
    "pool_of",
    "real_fits",
    "real_rows",
    "rows_of",
]

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
KINDS = (
    ColumnKind("binary"),
    ColumnKind("category", n_values=3),
    ColumnKind("category", n_values=4),
)
WITH_OTHER = (
    ColumnKind("binary"),
    ColumnKind("category", n_values=3, other=0.05),
    ColumnKind("category", n_values=2, other=0.1),
)


def floor_of(n_columns: int) -> Tensor:
    return torch.full((n_columns,), 1e-3, dtype=torch.float64)


def real_fits(n_columns: int) -> list[CompanionFit]:
    floor = floor_of(n_columns)
    return [
        StudentTFit(3.0, floor),
        GaussianMixtureFit(1, floor),
        GaussianMixtureFit(3, floor, 5.0),
        GaussianMixtureFit(3, floor, 5.0, pooled=True),
        KernelDensityFit(0.3, floor, 4.0),
    ]


def discrete_fits(kinds: tuple[ColumnKind, ...]) -> list[CompanionFit]:
    return [
        ProductMixtureFit(1, kinds),
        ProductMixtureFit(3, kinds),
        MatchingKernelsFit(0.2, kinds),
        TreeMixtureFit(1, kinds),
        TreeMixtureFit(3, kinds),
    ]


def real_rows(
    n_rows: int = 90, share: float = 0.0, seed: int = 0, n_columns: int = 3
) -> Tensor:
    """Draw rows of three clusters, with a share of missing cells."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-3.0, 0.0, 2.0], [1.0, 2.5, -1.0], [3.0, -2.5, 1.0]])
    mixing = [[0.4, 0.3, 0.2], [0, 0.5, -0.3], [0, 0, 0.4]]
    rows = centres[rng.integers(3, size=n_rows)] + rng.normal(size=(n_rows, 3)) @ mixing
    return with_gaps(rows[:, :n_columns], share, seed)


def discrete_rows(
    kinds: tuple[ColumnKind, ...] = KINDS,
    n_rows: int = 120,
    share: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Draw rows whose columns depend on the one before them."""
    rng = np.random.default_rng(seed)
    columns: list[np.ndarray] = []
    for kind in kinds:
        n_values = kind.n_values or 2
        column = rng.integers(n_values, size=n_rows)
        if columns:
            keeps = rng.random(n_rows) < 0.7
            column = np.where(keeps, columns[-1] % n_values, column)
        columns.append(column)
    return with_gaps(np.stack(columns, 1).astype(float), share, seed)


def with_gaps(rows: np.ndarray, share: float, seed: int) -> Tensor:
    gaps = np.random.default_rng(seed + 1).random(rows.shape) < share
    return torch.from_numpy(np.where(gaps, np.nan, rows))


def every_row(kinds: tuple[ColumnKind, ...], *, unknown: bool) -> Tensor:
    ranges = [range((k.n_values or 2) + (unknown and k.other > 0)) for k in kinds]
    return torch.tensor(list(itertools.product(*ranges)), dtype=torch.float64)


def fitted(fit: CompanionFit, x: Tensor) -> Companion:
    (companion,) = fit.fit(x, torch.ones(1, len(x), dtype=torch.float64))
    return companion


def pool_of(x: Tensor, fits: list[CompanionFit]) -> CompanionPool:
    parts = [fitted(fit, x) for fit in fits]
    weight = torch.arange(1, len(parts) + 1).double()
    return CompanionPool.of(parts, weight / weight.sum())


CASES = [
    *(f"real-{i}" for i in range(len(real_fits(3)))),
    *(f"{kind}-{i}" for kind in ("known", "other") for i in range(5)),
]


def kinds_of_case(case: str) -> tuple[ColumnKind, ...]:
    return WITH_OTHER if case.startswith("other") else KINDS


def fit_of(case: str) -> CompanionFit:
    kind, number = case.split("-")
    fits = real_fits(3) if kind == "real" else discrete_fits(kinds_of_case(case))
    return fits[int(number)]


def rows_of(case: str, share: float = 0.0) -> Tensor:
    """Return the rows that a case's companion is fitted to."""
    if case.startswith("real"):
        return real_rows(share=share)
    return discrete_rows(kinds_of_case(case), share=share)


@functools.cache
def companion_of(case: str, share: float = 0.0) -> tuple[Companion, Tensor]:
    """Return a companion fitted to rows with gaps, and these rows; change neither."""
    kind, name = case.split("-")
    x = rows_of(case, share)
    if name != "pool":
        return fitted(fit_of(case), x), x
    if kind == "real":
        return pool_of(x, [*real_fits(3), KernelDensityFit(0.1, floor_of(3))]), x
    return pool_of(x, discrete_fits(kinds_of_case(case))), x
