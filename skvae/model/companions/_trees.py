"""Mixtures of Chow–Liu trees."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skvae.model.cells import DiscreteCells
from skvae.model.companions._base import Companion, CompanionFit
from skvae.model.companions._categories import Categories
from skvae.model.companions._completion import Completion
from skvae.model.companions._products import ProductMixtureFit, product_completion
from skvae.model.companions._rows import (
    BlockScorer,
    complete_by_uniforms,
    draw_modes,
)
from skvae.model.companions._sum_product import TreeSums, evidence
from skvae.model.features import ColumnKind
from skvae.model.missing import choose

__all__ = ["TreeMixtureFit"]

MAX_ITERATIONS = 15
TOL = 3e-3  # nats per row, of the bound, between two iterations
PRIOR_ROWS = 2.0  # with independent columns, that each tree has seen


class TreeMixture(Companion):
    r"""A mixture of trees.

    .. math:: p(x) = \sum_m w_m \prod_d p_m(x_d \mid x_{\mathrm{parent}_m(d)})

    Parameters
    ----------
    categories : Categories
        The columns.
    log_weight : Tensor of shape (M,)
        Log-weights of the trees.
    parent : Tensor of int of shape (M, D)
        Parent of each column; that of the root is D.
    order : Tensor of int of shape (M, D)
        Columns of each tree, parents first.
    log_mass : Tensor of shape (M, V, W)
        Log-mass of each value given that of the parent, up to W values, and given an
        unknown one, the last.
    """

    log_weight: Tensor
    parent: Tensor
    order: Tensor
    log_mass: Tensor

    def __init__(
        self,
        categories: Categories,
        log_weight: Tensor,
        parent: Tensor,
        order: Tensor,
        log_mass: Tensor,
    ) -> None:
        super().__init__()
        self.categories = categories
        self.register_buffer("log_weight", log_weight)
        self.register_buffer("parent", parent)
        self.register_buffer("order", order)
        self.register_buffer("log_mass", log_mass)

    by_pattern = False

    def complete_scorer(self) -> BlockScorer:
        """Return the log-mass of the mixture."""

        def of_block(rows: Tensor) -> Tensor:
            log_joint = self.log_joint(rows).T.contiguous()
            return log_joint.logsumexp(0) + self.categories.log_mass_of_known(rows)

        return of_block

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the log-mass, summed over the missing cells of each row."""
        sums = self._sums()

        def of_block(rows: Tensor) -> Tensor:
            allowed = evidence(self.categories, rows, known_only=False)
            log_p = torch.stack([tree.upward(allowed)[0] for tree in sums])
            return (log_p + self.log_weight[:, None]).logsumexp(0)

        return of_block

    def _sums(self) -> list[TreeSums]:
        trees = zip(self.parent, self.order, self.log_mass, strict=True)
        return [TreeSums.of(self.categories, *tree) for tree in trees]

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a tree for each row, and its missing cells from the root on."""
        sums = self._sums()

        def of_block(rows: Tensor, first: Tensor, uniform: Tensor) -> Tensor:
            allowed = evidence(self.categories, rows, known_only=True)
            log_p, beliefs = zip(*(tree.upward(allowed) for tree in sums), strict=True)
            tree = choose(torch.stack(log_p, 1) + self.log_weight, first)
            drawn = torch.empty_like(rows)
            for m in tree.unique().tolist():
                states = sums[m].downward(beliefs[m], uniform).to(rows)
                drawn = states.where((tree == m)[:, None], drawn)
            return drawn

        return complete_by_uniforms(of_block, x, generators)

    def cell(self, x: Tensor, column: int) -> DiscreteCells:
        """Return the distribution of the cell, by all of its values."""
        return self.categories.cell(self.log_prob, x, column)

    def log_joint(self, x: Tensor) -> Tensor:
        """Return log-weight plus log-mass of the known values of rows, (B, M)."""
        categories = self.categories
        code = categories.codes(x)
        known = code < categories.n_values
        cell = (categories.begin + code).where(known, 0)
        above = self._above(code)
        columns = []
        for log_mass, parent in zip(self.log_mass, self.parent, strict=True):
            factors = log_mass[cell, above[:, parent]]
            columns.append(factors.where(known, 0.0).sum(1))
        return torch.stack(columns, 1) + self.log_weight

    def _above(self, code: Tensor) -> Tensor:
        """Return codes as those of parents, with a column for that of the root."""
        unknown = self.log_mass.shape[2] - 1
        above = code.where(code < self.categories.n_values, unknown)
        return torch.cat([above, torch.full_like(above[:, :1], unknown)], 1)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a tree for each row, and its columns from the root on."""
        categories = self.categories
        tree = draw_modes(self.log_weight, n_samples, generator)
        rows = self.log_weight.new_zeros(n_samples, len(categories.n_values))
        for m, order in enumerate(self.order):
            chosen = (tree == m).nonzero().squeeze(1)
            if not len(chosen):
                continue
            drawn = rows[chosen]
            for column in order.tolist():
                above = self._above(categories.codes(drawn))[:, self.parent[m, column]]
                begin = int(categories.begin[column])
                end = begin + int(categories.n_values[column])
                mass = self.log_mass[m, begin:end, above].T.exp()
                value = torch.multinomial(mass, 1, generator=generator)
                drawn[:, column] = value.squeeze(1).to(drawn)
            rows[chosen] = drawn
        return rows


@dataclass(frozen=True)
class TreeMixtureFit(CompanionFit):
    """Maximum-likelihood trees, by expectation–maximisation where there are several.

    Attributes
    ----------
    n_modes : int
        Number of trees.
    kinds : tuple of ColumnKind
        What the columns hold.
    completion : Completion or None, default=None
        Draws the missing cells of the rows; by default a mixture of products does.

    References
    ----------
    C. K. Chow and C. N. Liu, 1968. Approximating discrete probability distributions
    with dependence trees.

    M. Meilă and M. I. Jordan, 2000. Learning with mixtures of trees.
    """

    n_modes: int
    kinds: tuple[ColumnKind, ...]
    completion: Completion | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        return f"{self.n_modes} trees" if self.n_modes > 1 else "tree"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Run expectation–maximisation for each weighting, to completed rows."""
        categories = Categories(self.kinds)
        if not x.isnan().any():
            indicators = categories.indicators(x)
            return [self._fit_one(categories, x, indicators, w) for w in weights]
        completion = self.completion or product_completion(self.kinds)
        companions = []
        for rows, weight in zip(completion.of(x, weights), weights, strict=True):
            indicators = categories.indicators(rows)
            own = weight[weight > 0]
            companions.append(self._fit_one(categories, rows, indicators, own))
        return companions

    def _fit_one(
        self, categories: Categories, x: Tensor, indicators: Tensor, weight: Tensor
    ) -> TreeMixture:
        used = weight > 0
        x, indicators, weight = x[used], indicators[used], weight[used]
        overall = categories.frequencies(indicators, weight)
        share = weight[:, None]
        if self.n_modes > 1:
            start = ProductMixtureFit(self.n_modes, self.kinds)
            products = start.fit_one(categories, indicators, weight)
            log_joint = torch.addmm(
                products.log_weight, indicators, products.log_mass.T
            )
            share = log_joint.softmax(1) * weight[:, None]
        bound = -torch.inf
        for _ in range(MAX_ITERATIONS):
            trees = self._maximise(categories, indicators, share, overall)
            if self.n_modes == 1:
                break
            log_joint = torch.cat([trees.log_joint(rows) for rows in x.split(1024)])
            log_p = log_joint.logsumexp(1)
            before, bound = bound, float(weight @ log_p / weight.sum())
            if not bound - before > TOL:
                break
            share = (log_joint - log_p[:, None]).exp() * weight[:, None]
        return trees

    def _maximise(
        self, categories: Categories, indicators: Tensor, share: Tensor, overall: Tensor
    ) -> TreeMixture:
        n_rows = share.sum(0).clamp(min=1e-8)
        prior = PRIOR_ROWS * (overall[:, None] * overall)
        trees = []
        for weight, total in zip(share.T, n_rows, strict=True):
            joint = (indicators * weight[:, None]).T @ indicators
            trees.append(_tree(categories, (joint + prior) / (total + PRIOR_ROWS)))
        parent, order, log_mass = map(torch.stack, zip(*trees, strict=True))
        log_weight = (n_rows / n_rows.sum()).log()
        return TreeMixture(categories, log_weight, parent, order, log_mass)


def _tree(categories: Categories, joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return parents, order and conditional log-masses of the best tree.

    Parameters
    ----------
    categories : Categories
        The columns.
    joint : Tensor of shape (V, V)
        Mass of each pair of values of two columns.
    """
    owner, value = categories.owner, categories.value
    n_columns = len(categories.n_values)
    mass = joint.diagonal()
    mass = mass / categories.sums(mass)[owner]
    information = joint * (joint.clamp(min=1e-300) / (mass[:, None] * mass)).log()
    information = categories.sums(categories.sums(information).T)
    parent, order = _spanning_tree(information)
    width = int(categories.n_values.max())
    log_mass = mass.log()[:, None].repeat(1, width + 1)
    of_parent = parent[owner]  # of each indicator's column
    for above in range(width):
        has = (of_parent < n_columns) & (
            above < categories.n_values[of_parent.clamp(max=n_columns - 1)]
        )
        index = has.nonzero().squeeze(1)
        column = categories.begin[of_parent[index]] + above
        log_mass[index, above] = joint[index, column].log()
    # Given each value of the parent, the values of the column have the total mass one.
    cells = log_mass.new_full((n_columns, width, width + 1), -torch.inf)
    cells[owner, value] = log_mass
    log_mass = log_mass - cells.logsumexp(1)[owner]
    return parent, order, log_mass


def _spanning_tree(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return parents and order of the heaviest spanning tree, by Prim's algorithm.

    Parameters
    ----------
    weight : Tensor of shape (D, D)
        Symmetric.
    """
    n_columns = len(weight)
    parent = torch.full((n_columns,), n_columns)
    best = weight[0].clone()
    source = torch.zeros(n_columns, dtype=torch.int64)
    outside = torch.ones(n_columns, dtype=torch.bool)
    outside[0] = False
    order = [0]
    for _ in range(n_columns - 1):
        column = int(best.where(outside, -torch.inf).argmax())
        parent[column] = source[column]
        outside[column] = False
        order.append(column)
        nearer = outside & (weight[column] > best)
        best = torch.where(nearer, weight[column], best)
        source = source.where(~nearer, column)
    return parent, torch.tensor(order)
