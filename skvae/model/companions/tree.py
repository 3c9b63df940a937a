"""Trees, products and kernels as companions of zeros and ones and categories."""

from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

from skvae.model.companions._base import CompanionFit, CompanionSpec, CompanionTable
from skvae.model.companions._products import (
    MatchingKernelsFit,
    ProductMixtureFit,
    product_completion,
)
from skvae.model.companions._trees import TreeMixtureFit
from skvae.model.features import Support
from skvae.model.spec import positive_int

__all__ = ["TreeCompanion"]


class TreeCompanion(CompanionSpec):
    """Mixtures of Chow–Liu trees and of independent columns, and kernels around rows.

    A kernel keeps the value of the row in each column, or with a probability that is
    its width, has any value, by their frequencies. Independent columns take the rows
    that are unlike all others. Rows that were not fitted decide about the weights of
    all of these.

    Parameters
    ----------
    n_trees : tuple of int, default=(1, 3, 8)
        Sizes of the mixtures of trees, in rising order.
    n_products : tuple of int, default=(10, 30, 100)
        Sizes of the mixtures of independent columns, in rising order.
    widths : tuple of float, default=(0.02, 0.05, 0.1, 0.2, 0.4)
        Widths of the kernels, between 0 and 1; none for no kernels.

    Examples
    --------
    >>> from skvae import TreeCompanion, VAEDensity
    >>> VAEDensity(companion=TreeCompanion())
    VAEDensity(companion=TreeCompanion())
    """

    alias = "tree"
    supports: ClassVar[tuple[Support, ...]] = ("binary", "category")

    def __init__(
        self,
        n_trees: tuple[int, ...] = (1, 3, 8),
        n_products: tuple[int, ...] = (10, 30, 100),
        widths: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4),
    ) -> None:
        self.n_trees = n_trees
        self.n_products = n_products
        self.widths = widths

    def series(self, table: CompanionTable) -> Sequence[Sequence[CompanionFit]]:
        """Return independent columns, trees, products, and kernels one by one."""
        kinds = table.kinds
        trees = [positive_int(n, "each of n_trees") for n in self.n_trees]
        products = [positive_int(n, "each of n_products") for n in self.n_products]
        for width in self.widths:
            if not isinstance(width, Real) or not 0 < width < 1:
                raise ValueError(
                    f"each of widths must be a number between 0 and 1, both excluded, "
                    f"got {width!r}."
                )
        most = max(1, table.n_rows // 3)
        completion = product_completion(kinds)
        return [
            [ProductMixtureFit(1, kinds)],
            [TreeMixtureFit(n, kinds, completion) for n in trees if n <= most],
            [ProductMixtureFit(n, kinds) for n in products if n <= most],
            *([MatchingKernelsFit(width, kinds, completion)] for width in self.widths),
        ]
