"""Likelihoods of several kinds in one table."""

from collections.abc import Callable, Mapping
from numbers import Integral

import torch
from torch import Tensor, nn

from skvae.model.cells import CellDistribution
from skvae.model.context import BuildContext, LinearStart
from skvae.model.features import Support
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods.bernoulli import BernoulliLikelihood
from skvae.model.likelihoods.categorical import CategoricalLikelihood
from skvae.model.likelihoods.mixture import MixtureLikelihood
from skvae.model.likelihoods.negative_binomial import NegativeBinomialLikelihood
from skvae.model.spec import resolve

__all__ = ["MixedLikelihood"]

BY_KIND: dict[Support, type[LikelihoodSpec]] = {
    "real": MixtureLikelihood,
    "binary": BernoulliLikelihood,
    "count": NegativeBinomialLikelihood,
    "category": CategoricalLikelihood,
}


class MixedLikelihood(LikelihoodSpec):
    r"""A likelihood for every column, chosen by the column's kind or by hand.

    .. math:: \log p(x \mid z) = \sum_d \log p_d(x_d \mid z)

    The sum has log-densities of continuous columns and log-masses of discrete ones: it
    is a log-density with respect to lengths of the former and counts of the latter.
    Two values can be compared only if the same columns are discrete in both.

    Parameters
    ----------
    columns : dict or None, default=None
        Maps columns, by name or index, to likelihoods, as aliases or specs. The columns
        of an array are named "x0", "x1", …. What a column holds decides where the
        dictionary does not have it:

        - text, categories and truth values of a DataFrame: "categorical";
        - zeros and ones: "bernoulli";
        - two to ten different whole numbers, each in at least ten rows: "categorical";
        - whole numbers from zero on, their variance not below their mean:
          "negative_binomial";
        - everything else: "mixture".

    Notes
    -----
    Scoring a row raises an error if a categorical column has a value that it never had
    in `fit`, unless the density has ``unknown_category="other"``. For whole numbers
    that may take new values, choose a likelihood of counts:
    ``MixedLikelihood({"n_children": "poisson"})``.

    References
    ----------
    A. Nazábal, P. M. Olmos, Z. Ghahramani and I. Valera, 2020. Handling incomplete
    heterogeneous data using VAEs.

    Examples
    --------
    >>> from skvae import MixedLikelihood, VAEDensity
    >>> VAEDensity(likelihood=MixedLikelihood({"visits": "poisson"}))
    VAEDensity(likelihood=MixedLikelihood(columns={'visits': 'poisson'}))
    """

    alias = "mixed"

    def __init__(
        self, columns: Mapping[str | int, str | LikelihoodSpec] | None = None
    ) -> None:
        self.columns = columns

    def supports(
        self, names: tuple[str, ...], natural: Callable[[int], Support]
    ) -> tuple[Support, ...]:
        """Return what each column holds, which is what its likelihood takes."""
        chosen = self._chosen(names, len(names))
        return tuple(
            chosen[j].supports((name,), lambda _, j=j: natural(j))[0]  # type: ignore[misc]
            if j in chosen
            else natural(j)
            for j, name in enumerate(names)
        )

    def build(self, context: BuildContext) -> "MixedLikelihoodModule":
        """Return the module."""
        chosen = self._chosen(context.names, context.n_features)
        groups: dict[str, tuple[LikelihoodSpec, list[int]]] = {}
        for j, kind in enumerate(context.modelled_kinds):
            spec = chosen[j] if j in chosen else BY_KIND[kind.support]()
            key = f"{type(spec).__module__} {spec!r}"
            groups.setdefault(key, (spec, []))[1].append(j)
        return MixedLikelihoodModule(
            [
                (spec.build(context.of_columns(columns)), columns)
                for spec, columns in groups.values()
            ],
            context.features().owner,
        )

    def _chosen(
        self, names: tuple[str, ...], n_features: int
    ) -> dict[int, LikelihoodSpec]:
        """Return the likelihoods that were chosen by hand, by index of the column."""
        if self.columns is not None and not isinstance(self.columns, Mapping):
            raise TypeError(
                f"columns of MixedLikelihood must be a dict or None, got "
                f"{self.columns!r}."
            )
        chosen: dict[int, LikelihoodSpec] = {}
        for key, value in (self.columns or {}).items():
            if isinstance(key, str) and key in names:
                index = names.index(key)
            elif (
                isinstance(key, Integral)
                and not isinstance(key, bool)
                and 0 <= key < n_features
            ):
                index = int(key)
            else:
                known = ", ".join(map(repr, names[:10]))
                more = ", …" if len(names) > 10 else ""
                raise ValueError(
                    f"columns of MixedLikelihood has {key!r}, which is no column. "
                    f"Allowed: an index below {n_features}"
                    f"{f' or a name: {known}{more}' if names else ''}."
                )
            if index in chosen:
                raise ValueError(
                    f"columns of MixedLikelihood has column {index} twice, by name "
                    f"and by index."
                )
            chosen[index] = resolve(value, LikelihoodSpec)
        return chosen


class MixedLikelihoodModule(LikelihoodModule):
    """Groups of columns, each with the module of its likelihood.

    All columns have the same number of raw parameters: as many locations as the group
    with the most locations needs, then as many others as the group with the most others
    needs. A group reads the first of each.

    Parameters
    ----------
    groups : list of (LikelihoodModule, list of int)
        Modules and their columns, which together are all columns.
    owner : Tensor of shape (F,)
        The column that each feature of a row belongs to.
    """

    order: Tensor

    def __init__(
        self, groups: list[tuple[LikelihoodModule, list[int]]], owner: Tensor
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(module for module, _ in groups)
        columns = [torch.tensor(indices) for _, indices in groups]
        self.sizes = [len(indices) for indices in columns]
        for i, indices in enumerate(columns):
            self.register_buffer(f"columns_{i}", indices)
        self.register_buffer("order", torch.cat(columns).argsort())
        self.features = [
            torch.isin(owner, indices).nonzero().squeeze(1) for indices in columns
        ]
        self.reads_in_single = all(module.reads_in_single for module, _ in groups)
        self.n_linear = max(module.n_linear for module, _ in groups)
        self.n_parameters = self.n_linear + max(
            module.n_parameters - module.n_linear for module, _ in groups
        )

    def _groups(self) -> list[tuple[LikelihoodModule, Tensor]]:
        return [
            (part, getattr(self, f"columns_{i}"))  # type: ignore[misc]
            for i, part in enumerate(self.parts)
        ]

    def _raw_of(self, part: LikelihoodModule, columns: Tensor, raw: Tensor) -> Tensor:
        """Return the raw parameters of one group, (..., P, D) to (..., P_g, D_g)."""
        n_others = part.n_parameters - part.n_linear
        own = raw.index_select(-1, columns)
        others = own[..., self.n_linear : self.n_linear + n_others, :]
        return torch.cat([own[..., : part.n_linear, :], others], -2)

    def _together(self, cells: list[Tensor]) -> Tensor:
        """Put the cells of the groups (..., D_g) in the order of the columns."""
        return torch.cat(cells, -1).index_select(-1, self.order)

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return log-densities and log-masses of the cells."""
        return self._together(
            [
                part.column_log_prob(
                    x.index_select(-1, columns), self._raw_of(part, columns, raw)
                )
                for part, columns in self._groups()
            ]
        )

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the cells of each group."""
        return self._together(
            [
                part.sample(self._raw_of(part, columns, raw), generator)
                for part, columns in self._groups()
            ]
        )

    def mean(self, raw: Tensor) -> Tensor:
        """Return the means of each group's columns."""
        return self._together(
            [
                part.mean(self._raw_of(part, columns, raw))
                for part, columns in self._groups()
            ]
        )

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> CellDistribution:
        """Return the distribution that the column's likelihood has."""
        for part, columns in self._groups():
            place = (columns == column).nonzero().flatten().tolist()
            if place:
                own = self._raw_of(part, columns, raw)
                return part.cell(own, log_weight, place[0])
        raise IndexError(f"there is no column {column}")

    def floor_share(self, raw: Tensor, factor: float) -> Tensor | None:
        """Return the groups' shares, nan where a group has no floor."""
        shares = []
        for part, columns in self._groups():
            own = self._raw_of(part, columns, raw)
            share = part.floor_share(own, factor)
            none = torch.full_like(own[..., 0, :], torch.nan)
            shares.append(none if share is None else share)
        return self._together(shares)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start every group at its part of the linear model."""
        n_latents = start.decoder_weight.shape[1]
        slope = start.z.new_zeros(self.n_linear, sum(self.sizes), n_latents)
        offset = start.z.new_zeros(self.n_parameters, sum(self.sizes))
        for (part, columns), features in zip(
            self._groups(), self.features, strict=True
        ):
            own_slope, own_offset = part.initialise(start.of_features(features))
            n_others = part.n_parameters - part.n_linear
            slope[: part.n_linear, columns] = own_slope.to(slope)
            offset[: part.n_linear, columns] = own_offset[: part.n_linear].to(offset)
            offset[self.n_linear : self.n_linear + n_others, columns] = own_offset[
                part.n_linear :
            ].to(offset)
        return slope, offset
