"""DensityImputer: missing cells are filled in by a density, given the observed ones."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import MissingIndicator
from sklearn.mixture import GaussianMixture
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_choice
from skvae.arguments.seeds import generator_from, seed_from
from skvae.arguments.staging import staged_fit
from skvae.density import VAEDensity
from skvae.members.gaussian_mixture import ImputingMixture
from skvae.members.member import fit_member, seed_members
from skvae.members.rows import in_container_of
from skvae.persistence import ArrayState
from skvae.tables.batches import sampled
from skvae.tables.checks import listed_columns
from skvae.tables.labels import as_array, frame_columns, is_frame
from skvae.tables.names import TableColumns
from skvae.tables.raw import RawTable, read_table
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, Index, Mask, RandomState, Table

__all__ = ["DensityImputer"]


class DensityImputer(ArrayState, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Transformer that fills in missing cells by a density of the rows.

    A density p(x) is fitted to the observed cells of a table. A missing cell is then
    filled in by what is expected of it given the observed cells of its row, or by a
    draw,

    .. math:: x_{\mathrm{mis}} \sim p(x_{\mathrm{mis}} \mid x_{\mathrm{obs}}).

    `sklearn.impute.IterativeImputer` has a regression for each column; here, all
    columns come from one density, which follows bent and clustered data, and whose
    draws for several cells of a row belong together.

    Parameters
    ----------
    density : estimator, default=None
        Density estimator with ``impute(X, n_draws, random_state)``, such as
        `VAEDensity`, or a `sklearn.mixture.GaussianMixture`; None is ``VAEDensity()``.
        It is cloned. To use one that is fitted already, hand over
        ``FrozenEstimator(density)``.
    sample_posterior : bool, default=False
        Whether missing cells are filled in by one draw. False fills in what is
        expected: the mean of a real column, the most probable category, the median of
        a count.
    add_indicator : bool, default=False
        Whether columns of zeros and ones come after the others, which tell the cells
        that were missing, one for each column with missing cells in `fit`.
    keep_empty_features : bool, default=False
        Whether columns without any observed cell in `fit` are kept, with missing cells
        filled in by 0, or dropped. The density never sees them.
    random_state : int, RandomState instance or None, default=None
        Seed. Unless it is None, all parameters `random_state` of the density are set
        to seeds drawn from it. Draws are made with an int itself: every call of
        `transform` then draws a row alike. With a RandomState or None, every call
        draws others.

    Attributes
    ----------
    density_ : estimator
        The fitted density.
    empty_features_ : ndarray of int
        Numbers of the columns without any observed cell in `fit`; none with a
        `FrozenEstimator`, which has seen all columns.
    indicator_ : MissingIndicator or None
        Which columns have an indicator; None without `add_indicator`.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    sklearn.impute.IterativeImputer : A regression for each column.
    VAEDensity.impute : The same for a fitted density, and several draws at once.

    Notes
    -----
    *Text and categories.* A table of numbers becomes an array of floats, as from
    scikit-learn's imputers, also where it is a DataFrame; see `set_output` for others.
    A DataFrame with a column of text, categories or truth values needs a density that
    takes it, as ``VAEDensity(likelihood="auto")``. It becomes a DataFrame of the same
    dtypes, and an array of objects becomes an array of objects.

    *A Gaussian mixture* has means and draws in closed form. Its `fit` takes no missing
    cells: it is fitted to rows whose missing cells are drawn from the mixture before,
    some rounds in turn.

    *Several imputations.* A table that is filled in looks like data, and is not: its
    expected values understate spread and dependence. Draw it several times, with
    several seeds, and repeat the analysis: its results differ as much as the missing
    cells let them. These draws are given one fitted density; where rows are few, fit
    one to each bootstrap sample of the rows, too.

    References
    ----------
    P.-A. Mattei and J. Frellsen, 2019. MIWAE: deep generative modelling and imputation
    of incomplete data sets.

    D. B. Rubin, 1987. Multiple imputation for nonresponse in surveys.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import DensityImputer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 1))
    >>> X = np.hstack([x, 2 * x + 0.1 * rng.normal(size=(500, 1))])
    >>> imputer = DensityImputer(GaussianMixture(), random_state=0).fit(X)
    >>> imputer.transform([[1.0, np.nan], [np.nan, -4.0]]).round(1)
    array([[ 1.,  2.],
           [-2., -4.]])
    """

    def __init__(
        self,
        density: Density | None = None,
        *,
        sample_posterior: bool = False,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: RandomState = None,
    ) -> None:
        self.density = density
        self.sample_posterior = sample_posterior
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> "DensityImputer":
        """Fit the density to the observed cells of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or Batches
            Table of at least two rows that the density can read; NaN, None, or what
            else a data frame has for missing cells.
        y : Ignored
            For scikit-learn's pipelines.

        Returns
        -------
        self : DensityImputer
            The fitted imputer. If fitting fails, it stays as it was.

        Raises
        ------
        TypeError
            If the density has no `fit` or no `impute`.
        ValueError
            If no cell is observed, or the density cannot be fitted.
        """
        self._check_parameters()
        X, _ = sampled(X, None, self.random_state)
        density = clone(self._density())
        frozen = isinstance(density, FrozenEstimator)
        if frozen:
            check_is_fitted(density.estimator)
        if self.random_state is not None:
            seed_members([density], generator_from(self.random_state))
        with staged_fit(self) as staged:
            raw = read_table(staged, X, reset=True, min_samples=1 if frozen else 2)
            table, missing = _table_of(X, raw), _missing(raw)
            empty: Mask = np.all(missing, axis=0)
            if frozen:
                _check_columns(density, raw.columns)
                empty = np.zeros_like(empty)
            elif empty.all():
                which = listed_columns(raw.columns, np.flatnonzero(empty).tolist())
                raise ValueError(f"Input X has no observed cell in {which}.")
            staged.empty_features_ = np.flatnonzero(empty)
            staged.indicator_ = None
            if self.add_indicator:
                indicator = MissingIndicator(error_on_new=False)
                indicator.set_output(transform="default")
                staged.indicator_ = indicator.fit(_as_nan(missing))
            staged._container = take_rows(table, np.arange(0))
            if not frozen:
                seen = _take_columns(table, staged._seen())
                fit_member(_with_impute(density), seen, "the training rows", None, None)
            staged.density_ = density
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Return the table with its missing cells filled in.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_out)
            Observed cells are as they were. A row is filled in alike whatever the
            others are; but of equal rows, each gets a draw of its own.
        """
        check_is_fitted(self)
        raw = read_table(self, X, reset=False)
        missing = _missing(raw)
        table = in_container_of(self._container, _table_of(X, raw))
        seen = self._seen()
        filled: Any = _take_columns(table, seen)
        if missing[:, seen].any():
            filled = self._filled(filled)
        if raw.labels:
            return self._beside(table, filled, missing)
        numbers = raw.numbers.astype(_float_dtype(X))
        imputed = np.asarray(filled, dtype=np.float64)
        if np.isnan(imputed).any():
            raise ValueError(
                f"density={self.density!r} has filled in NaN for "
                f"{int(np.isnan(imputed).sum())} cells."
            )
        numbers[:, seen] = np.where(missing[:, seen], imputed, numbers[:, seen])
        empty = self.empty_features_
        numbers[:, empty] = np.where(missing[:, empty], 0.0, numbers[:, empty])
        parts = [numbers[:, self._kept()]]
        if self.indicator_ is not None:
            parts.append(self.indicator_.transform(_as_nan(missing)))
        return np.hstack(parts).astype(numbers.dtype, copy=False)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; None is `feature_names_in_`, or "x0", "x1", …
            without them.

        Returns
        -------
        names : ndarray of str
            Those of the columns that are kept, then those of the indicators.
        """
        names = super().get_feature_names_out(input_features)
        kept = names[self._kept()]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])

    def _density(self) -> Any:
        return VAEDensity() if self.density is None else self.density

    def _check_parameters(self) -> None:
        _check_density(self._density())
        for name in ("sample_posterior", "add_indicator", "keep_empty_features"):
            check_choice(getattr(self, name), name, (True, False))

    def _seen(self) -> Index:
        """Return the numbers of the columns that the density sees."""
        return np.delete(np.arange(self.n_features_in_), self.empty_features_)

    def _kept(self) -> Index:
        """Return the numbers of the columns that are not dropped."""
        return np.arange(self.n_features_in_) if self._keeps() else self._seen()

    def _keeps(self) -> bool:
        return bool(self.keep_empty_features)

    def _filled(self, table: Table) -> Any:
        density = _with_impute(self.density_)
        if not self.sample_posterior:
            return density.impute(table)
        state = self.random_state
        own = state is None or isinstance(state, np.random.RandomState)
        seed = seed_from(state) if own else int(state)  # type: ignore[arg-type]
        (drawn,) = density.impute(table, n_draws=1, random_state=seed)
        return drawn

    def _beside(self, table: Table, filled: Any, missing: Mask) -> Any:
        """Return filled columns of any dtype, with those that are beside them."""
        seen, indicators = self._seen().tolist(), None
        if self.indicator_ is not None:
            indicators = self.indicator_.transform(_as_nan(missing))
        if not is_frame(table):
            cells = np.array(table, dtype=object)
            cells[:, seen] = filled
            for j in self.empty_features_:
                cells[missing[:, j], j] = 0.0
            kept = cells[:, self._kept()]
            return kept if indicators is None else np.hstack([kept, indicators])
        by_number = dict(zip(seen, frame_columns(filled), strict=True))
        columns = [
            by_number[j] if j in by_number else np.zeros(len(missing))
            for j in self._kept().tolist()
        ]
        names = [table.columns[j] for j in self._kept()]  # type: ignore[attr-defined]
        if indicators is not None:
            columns += list(indicators.T)
            names += list(self.get_feature_names_out()[len(names) :])
        return _frame(filled, columns, names)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _is_mixture(density: object) -> bool:
    inner = density.estimator if isinstance(density, FrozenEstimator) else density
    return isinstance(inner, GaussianMixture)


def _with_impute(density: Any) -> Any:
    """Return a density that can impute: this one, or a mixture in closed form."""
    return ImputingMixture(density) if _is_mixture(density) else density


def _check_density(density: object) -> None:
    missing = [name for name in ("fit", "impute") if not hasattr(density, name)]
    if isinstance(density, type) or (missing and not _is_mixture(density)):
        raise TypeError(
            f"density must be a GaussianMixture or an estimator with fit and impute, "
            f"as VAEDensity, got {density!r}"
            + (", which is a class." if isinstance(density, type) else "")
            + ("" if isinstance(density, type) else f", which has no {missing[0]}.")
        )


def _check_columns(density: Any, columns: TableColumns) -> None:
    """Raise a ValueError unless a frozen density has as many columns as X."""
    n_seen = getattr(density, "n_features_in_", columns.n_columns)
    if n_seen != columns.n_columns:
        raise ValueError(
            f"density={density!r} was fitted to {n_seen} columns, but X has "
            f"{columns.n_columns}."
        )


def _table_of(X: Any, raw: RawTable) -> Any:
    """Return a table as densities take it: a frame as it is, else an array."""
    if is_frame(X):
        return X
    return np.asarray(as_array(X), dtype=object) if raw.labels else raw.numbers


def _missing(raw: RawTable) -> Mask:
    if raw.complete:
        return np.zeros(raw.numbers.shape, dtype=bool)
    return np.concatenate(list(raw.missing_blocks()))


def _as_nan(missing: Mask) -> Array:
    """Return missing cells as scikit-learn's indicators take them."""
    return np.where(missing, np.nan, 0.0)


def _take_columns(table: Any, numbers: Index) -> Any:
    if table.shape[1] == len(numbers):
        return table
    return table.iloc[:, numbers] if hasattr(table, "iloc") else table[:, numbers]


def _float_dtype(X: Any) -> Any:
    """Return float32 for a table of that dtype alone, and float64 for all others."""
    dtypes = X.dtypes if is_frame(X) else [getattr(X, "dtype", None)]
    single = all(str(dtype).lower() == "float32" for dtype in dtypes)
    return np.float32 if single else np.float64


def _frame(model: Any, columns: list[Any], names: list[Any]) -> Any:
    """Return columns as a data frame with the container and the index of another."""
    if not hasattr(model, "iloc"):
        return type(model)(dict(zip(names, columns, strict=True)))
    # By number first, because names may repeat.
    frame = type(model)(dict(enumerate(columns)), index=model.index)
    frame.columns = names
    return frame
