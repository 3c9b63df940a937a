"""DaskVAEDensity: the density of a dask array or data frame."""

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from skvae.dask.cluster import fit_on_workers, import_distributed
from skvae.dask.partitions import (
    Part,
    joined,
    joined_like,
    lengths_of,
    map_rows,
    node_of,
    partitions_of,
    parts_of,
)
from skvae.density import VAEDensity
from skvae.distributed import check_no_checkpoint
from skvae.evidence import Evidence, RowEvidence
from skvae.typing import Array

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["DaskVAEDensity"]


class DaskVAEDensity(BaseEstimator):
    """`VAEDensity` of dask arrays and data frames.

    Each worker of a dask cluster is a process of one common training (see
    `skvae.distributed.fit_together`). Partitions stay where they are: what the workers
    exchange are a sample of a million rows, and gradients. Reading is lazy, partition
    by partition.

    Parameters
    ----------
    client : distributed.Client, default=None
        Where to fit; None is the present client. It is not pickled.
    **parameters : dict
        Parameters of `VAEDensity`. `checkpoint` cannot be set, and `warm_start` has
        no effect.

    Attributes
    ----------
    density_ : VAEDensity
        The fitted density. Its attributes, such as ``history_``, are also attributes
        of this estimator.

    Notes
    -----
    Fits to the same rows with the same number of worker processes and the same
    `random_state` are the same; that by one worker is that of ``VAEDensity().fit``. Of
    more than a million rows, the partitions decide, too, which are drawn. Scores do not
    depend on partitions.

    A worker is one process of the training, whatever its threads. On GPUs there has to
    be one worker for each, which sees that one alone, as those of dask-cuda.

    References
    ----------
    M. Rocklin, 2015. Dask: parallel computation with blocked algorithms and task
    scheduling.

    Examples
    --------
    >>> from skvae.dask import DaskVAEDensity
    >>> density = DaskVAEDensity(max_iter=10, random_state=0)
    >>> density.get_params()["max_iter"]
    10

    With a `client` and a dask data frame ``frame``::

        density.fit(frame)
        density.score_samples(frame).to_zarr("scores")
        skvae.save(density.to_local(), "density.skvae")
    """

    def __init__(self, client: Any = None, **parameters: Any) -> None:
        self.client = client
        self._unfitted = VAEDensity(**parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the client and the parameters of `VAEDensity`.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of components.
        """
        return {"client": self.client, **self._unfitted.get_params(deep)}

    def set_params(self, **parameters: Any) -> "DaskVAEDensity":
        """Set the client, or parameters of `VAEDensity`."""
        if "client" in parameters:
            self.client = parameters.pop("client")
        self._unfitted.set_params(**parameters)
        return self

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "DaskVAEDensity":
        """Fit the density on all workers.

        Parameters
        ----------
        X : dask array or dask data frame of shape (n_samples, n_features)
            Rows. They are read twice, and none but a sample of them is kept: if it
            takes long to compute them, `persist` them first.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : dask array, dask series or array-like of shape (n_samples,), \
default=None
            Weights of the rows, in the same partitions.

        Returns
        -------
        self : DaskVAEDensity
            The fitted estimator. If fitting fails, it stays as it was.

        Raises
        ------
        LostProcessError
            If a worker is lost meanwhile. Nothing is half-fitted: call `fit` again.
        """
        check_no_checkpoint(self._unfitted)
        client = self._client()
        parts = parts_of(X, sample_weight)
        self.density_ = fit_on_workers(client, self._unfitted, parts)
        return self

    def score_samples(self, X: Any) -> Any:
        """Return the log-density of each row, lazily.

        Parameters
        ----------
        X : dask array or dask data frame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : dask array of shape (n_samples,)
            As from `VAEDensity.score_samples`.
        """
        return map_rows(self.to_local().score_samples, X)

    def evidence(self, X: Any, **options: Any) -> Evidence:
        """Return log-densities with what is known about their errors, lazily.

        Parameters
        ----------
        X : dask array or dask data frame of shape (n_samples, n_features)
            Rows.
        **options : dict
            As of `VAEDensity.evidence`.

        Returns
        -------
        evidence : Evidence
            Its fields are dask arrays of shape (n_samples,). Compute those that you
            need in one call: ``dask.compute(evidence.log_density, evidence.bias)``.
        """
        import dask

        held = node_of(self.to_local())
        parts = [
            dask.delayed(_evidence)(held, rows, options) for rows in partitions_of(X)
        ]
        return Evidence(
            **{
                name: joined(
                    [getattr(part, name) for part in parts], lengths_of(X), empty.dtype
                )
                for name, empty in vars(_no_evidence()).items()
            }
        )

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-density of the rows, computed at once.

        Parameters
        ----------
        X : dask array or dask data frame of shape (n_samples, n_features)
            Rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : dask array, dask series or array-like of shape (n_samples,), \
default=None
            Weights of the mean.

        Returns
        -------
        score : float
            As from `VAEDensity.score`.
        """
        import dask

        held = node_of(self.to_local())
        sums = [
            dask.delayed(_score_sum)(held, part) for part in parts_of(X, sample_weight)
        ]
        total, weight = np.sum(dask.compute(*sums), axis=0)
        return float(total / weight)

    def impute(
        self, X: Any, n_draws: int | None = None, random_state: int | None = None
    ) -> Any:
        """Return the table with its missing cells filled in, lazily.

        Parameters
        ----------
        X : dask array or dask data frame of shape (n_samples, n_features)
            Rows.
        n_draws, random_state : int, default=None
            As of `VAEDensity.impute`. Equal rows get draws of their own within a
            partition.

        Returns
        -------
        X : dask array or data frame, or list of n_draws of them
            In the partitions of X.
        """
        import dask

        held = node_of(self.to_local())
        filled = [
            dask.delayed(_impute)(held, rows, n_draws, random_state)
            for rows in partitions_of(X)
        ]
        if n_draws is None:
            return joined_like(X, filled)
        return [joined_like(X, [part[d] for part in filled]) for d in range(n_draws)]

    def transform(self, X: Any) -> Any:
        """Return the encoder's mean latents of each row, lazily.

        Parameters
        ----------
        X : dask array or dask data frame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : dask array of shape (n_samples, `n_components_`)
            Posterior means.
        """
        density = self.to_local()
        return map_rows(density.transform, X, shape=(density.n_components_,))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw rows, in this process.

        Parameters
        ----------
        n_samples, random_state
            As of `VAEDensity.sample`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        """
        return self.to_local().sample(n_samples, random_state)

    def to_local(self) -> VAEDensity:
        """Return the fitted density, which needs no dask."""
        check_is_fitted(self, "density_")
        return self.density_

    def _client(self) -> "Client":
        distributed = import_distributed()
        try:
            client = self.client or distributed.default_client()
        except ValueError as error:
            raise RuntimeError(
                "There is no dask client. Make one, such as distributed.Client(), or "
                "hand one over as client=."
            ) from error
        if client.asynchronous:
            raise TypeError("client must not be asynchronous.")
        return client

    def __getattr__(self, name: str) -> Any:
        # What the fitted density knows, and nothing that pickles and checks ask for.
        if name.endswith("_") and not name.startswith("_") and name != "density_":
            with contextlib.suppress(AttributeError, KeyError):
                return getattr(vars(self)["density_"], name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}.")

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self) -> "DaskVAEDensity":
        return type(self)(self.client, **clone(self._unfitted).get_params(deep=False))


def _signature() -> inspect.Signature:
    """Return the parameters of DaskVAEDensity, one by one."""
    own, client = list(inspect.signature(DaskVAEDensity.__init__).parameters.values())[
        :2
    ]
    density = inspect.signature(VAEDensity.__init__).parameters.values()
    return inspect.Signature([own, client, *list(density)[1:]])


# What reads signatures, as scikit-learn's representations do, sees no **parameters.
DaskVAEDensity.__init__.__signature__ = _signature()  # type: ignore[attr-defined]


# Partitions may be empty, and tables of `VAEDensity` may not.


def _evidence(density: VAEDensity, rows: Any, options: dict[str, Any]) -> Evidence:
    return density.evidence(rows, **options) if len(rows) else _no_evidence()


def _impute(
    density: VAEDensity, rows: Any, n_draws: int | None, random_state: int | None
) -> Any:
    if len(rows):
        return density.impute(rows, n_draws, random_state)
    return rows if n_draws is None else [rows] * n_draws


def _no_evidence() -> Evidence:
    """Return the evidence of no rows, whose fields have their types."""
    nothing = vars(RowEvidence.of_nothing(0))
    return Evidence(**{name: values.numpy() for name, values in nothing.items()})


def _score_sum(density: VAEDensity, part: Part) -> tuple[float, float]:
    """Return the weighted sum of log-densities, and that of the weights."""
    rows, weight = part
    total = len(rows) if weight is None else float(np.sum(weight))
    if not total:
        return 0.0, 0.0
    return total * density.score(rows, sample_weight=weight), total
