"""Classical and neural rivals of ``VAEDensity``, each tuned on validation rows.

A fitter takes a :class:`~_data.Split` and a seed and returns a :class:`Fitted`. Every
fitter fits to ``train`` and chooses its settings by the mean log-density of ``valid``.
"""

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from _data import Split
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

if TYPE_CHECKING:
    import torch

N_COMPONENTS = (1, 2, 3, 5, 10, 20, 30, 50)
REG_COVAR = (1e-6, 1e-3)
BANDWIDTHS = np.geomspace(0.05, 1, 11)
MANY_ROWS = 20_000
N_BANDWIDTH_ROWS = 1000
FLOW_BATCH = 256
FLOW_CHECK_EVERY = 250
FLOW_SCORE_BLOCK = 4096

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Fitted:
    """A tuned and fitted density.

    Parameters
    ----------
    score : callable
        Maps rows (n, n_columns) to log-densities (n,), in nats.
    settings : str
        What the tuning chose.
    fit_seconds : float
        Wall-clock time of tuning and fitting together.
    final_fit_seconds : float
        Wall-clock time of the fit with the chosen settings alone.
    standard_error : callable or None
        Maps rows to the standard errors of their log-densities, in nats; None where
        the log-density is exact.
    draw : callable or None
        Draws as many rows as its first argument says, with the seed that is its second;
        None where a method is not asked for it.
    """

    score: Score
    settings: str
    fit_seconds: float
    final_fit_seconds: float
    standard_error: Score | None = None
    draw: Callable[[int, int], NDArray[np.float64]] | None = None


def random_rows(
    rows: NDArray[np.float64], n_rows: int, seed: int
) -> NDArray[np.float64]:
    """Return a random subset of at most ``n_rows`` rows, the same for a seed."""
    if len(rows) <= n_rows:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), n_rows, replace=False)
    return rows[chosen]


def _fit_seconds(
    density: GaussianMixture | KernelDensity, rows: NDArray[np.float64]
) -> float:
    """Fit an estimator in place and return the seconds that it took."""
    start = perf_counter()
    with warnings.catch_warnings():
        # A mixture whose EM stops at max_iter before it has converged is a candidate
        # like any other: its validation score says how good it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(rows)
    return perf_counter() - start


def fit_gmm(split: Split, seed: int) -> Fitted:
    """Fit a full-covariance Gaussian mixture.

    The number of components and the regularisation are chosen jointly from
    ``N_COMPONENTS`` and ``REG_COVAR``. Candidates with fewer than two rows per
    column and component are left out, and so are those whose covariances collapse.
    Above ``MANY_ROWS`` training rows the candidates see a random subset of that size
    and the chosen one is fitted again on all rows.

    Parameters
    ----------
    split : Split
    seed : int

    Returns
    -------
    Fitted
    """
    start = perf_counter()
    rows = random_rows(split.train, MANY_ROWS, seed)
    limit = max(1, len(rows) // (2 * rows.shape[1]))
    feasible = [k for k in N_COMPONENTS if k <= limit]

    best_score, best, seconds = -np.inf, None, 0.0
    for n_components, reg_covar in itertools.product(feasible, REG_COVAR):
        mixture = GaussianMixture(
            n_components, reg_covar=reg_covar, max_iter=200, random_state=seed
        )
        try:
            candidate_seconds = _fit_seconds(mixture, rows)
        except ValueError:
            continue
        score = mixture.score(split.valid)
        if score > best_score:
            best_score, best, seconds = score, mixture, candidate_seconds
    if best is None:
        raise ValueError("No Gaussian mixture could be fitted to these rows.")
    if len(rows) < len(split.train):
        seconds = _fit_seconds(best, split.train)
    mixture = best

    def draw(n_rows: int, seed: int) -> NDArray[np.float64]:
        # Its `sample` takes the seed from the estimator.
        return copy.copy(mixture).set_params(random_state=seed).sample(n_rows)[0]

    return Fitted(
        score=best.score_samples,
        settings=f"K={best.n_components}, reg_covar={best.reg_covar:g}",
        fit_seconds=perf_counter() - start,
        final_fit_seconds=seconds,
        draw=draw,
    )


def fit_kde(split: Split, seed: int) -> Fitted:
    """Fit a Gaussian kernel density with one bandwidth for all columns.

    The bandwidth is chosen from ``BANDWIDTHS``. The best bandwidth shrinks as rows are
    added, so every candidate is fitted to all training rows. Above ``MANY_ROWS``
    training rows, scoring takes long: the candidates then score ``N_BANDWIDTH_ROWS``
    random validation rows instead of all.

    Parameters
    ----------
    split : Split
    seed : int

    Returns
    -------
    Fitted
    """
    start = perf_counter()
    many = len(split.train) > MANY_ROWS
    valid = random_rows(split.valid, N_BANDWIDTH_ROWS, seed) if many else split.valid
    # With one leaf, the tree is a plain sum over the training rows. With the default
    # leaves, the tree keeps bounds that cancel in floating-point arithmetic, and rows
    # far from the data score up to hundreds of nats too high (scikit-learn issues 7492
    # and 25799).
    kde = KernelDensity(leaf_size=len(split.train))
    scores = [
        kde.set_params(bandwidth=bandwidth).fit(split.train).score(valid)
        for bandwidth in BANDWIDTHS
    ]
    kde.set_params(bandwidth=float(BANDWIDTHS[int(np.argmax(scores))]))
    seconds = _fit_seconds(kde, split.train)
    return Fitted(
        score=kde.score_samples,
        settings=f"h={kde.bandwidth:.3f}",
        fit_seconds=perf_counter() - start,
        final_fit_seconds=seconds,
    )


def _batches(n_rows: int, generator: "torch.Generator") -> Iterator["torch.Tensor"]:
    """Yield row indices of full batches without end, shuffled anew in every epoch."""
    import torch

    size = min(FLOW_BATCH, n_rows)
    while True:
        order = torch.randperm(n_rows, generator=generator)
        yield from order[: n_rows - n_rows % size].split(size)


def fit_mapped_flow(split: Split, seed: int, seconds: float) -> Fitted:
    """Fit the flow of `fit_flow` to columns that are mapped to normal scores.

    The maps are those of ``VAEDensity(marginal_transform="normal")``, fitted to
    ``train``. The exact derivatives of the maps turn the flow's log-densities into
    those of the unmapped columns.

    Parameters
    ----------
    split, seed, seconds
        As `fit_flow` takes them.

    Returns
    -------
    Fitted
    """
    from skvae.tables.margins import fit_normal_scores

    maps = [fit_normal_scores(x, np.ones(len(x))) for x in split.train.T]

    def mapped(rows: NDArray[np.float64]) -> tuple[Any, Any]:
        """Return mapped rows and the log-determinant of each row's Jacobian."""
        scores, log_slope = rows.copy(), np.zeros(len(rows))
        for column, margin in enumerate(maps):
            if margin is not None:
                scores[:, column], slopes = margin.forward(rows[:, column])
                log_slope += slopes
        return scores, log_slope

    def score(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log-densities in the units of the unmapped columns."""
        scores, log_slope = mapped(rows)
        return np.asarray(flow.score(scores) + log_slope)

    parts = (mapped(part)[0] for part in (split.train, split.valid, split.test))
    flow = fit_flow(Split(*parts), seed, seconds)
    return replace(flow, score=score)


def fit_flow(split: Split, seed: int, seconds: float) -> Fitted:
    """Fit a neural spline flow (zuko) within a wall-clock budget.

    Three transforms with two hidden layers of 128 units, Adam at 1e-3, batches of
    256 rows. Validation rows are scored every 250 steps and at the end, and the best
    weights are kept. Small sets overfit within 250 steps: where ten epochs have fewer
    steps, validation rows are scored every ten epochs instead. The budget holds for
    steps and validations together.

    Parameters
    ----------
    split : Split
    seed : int
    seconds : float
        The budget.

    Returns
    -------
    Fitted

    Raises
    ------
    ImportError
        If zuko is not installed.
    """
    try:
        import zuko
    except ImportError as error:
        raise ImportError(
            "The flow needs zuko; install it with: pip install 'skvae[flows]'"
        ) from error
    import torch

    def score(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the flow's log-densities, block by block to bound the memory."""
        blocks = torch.as_tensor(rows, dtype=torch.float32).split(FLOW_SCORE_BLOCK)
        with torch.no_grad():
            parts = [flow().log_prob(block) for block in blocks]
        return torch.cat(parts).double().numpy()

    start = perf_counter()
    torch.manual_seed(seed)
    train = torch.as_tensor(split.train, dtype=torch.float32)
    flow = zuko.flows.NSF(train.shape[1], transforms=3, hidden_features=(128, 128))
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)
    batches = _batches(len(train), torch.Generator().manual_seed(seed))
    check_every = min(FLOW_CHECK_EVERY, 10 * max(1, len(train) // FLOW_BATCH))

    best_score, best_step, best_weights = -np.inf, 0, copy.deepcopy(flow.state_dict())
    for step in itertools.count(1):
        optimiser.zero_grad(set_to_none=True)
        loss = -flow().log_prob(train[next(batches)]).mean()
        loss.backward()
        optimiser.step()
        last = perf_counter() - start > seconds
        if last or step % check_every == 0:
            valid_score = score(split.valid).mean()
            if valid_score > best_score:
                best_score, best_step = valid_score, step
                best_weights = copy.deepcopy(flow.state_dict())
        if last:
            break
    flow.load_state_dict(best_weights)
    elapsed = perf_counter() - start

    def draw(n_rows: int, seed: int) -> NDArray[np.float64]:
        torch.manual_seed(seed)
        with torch.no_grad():
            return flow().sample((n_rows,)).double().numpy()

    return Fitted(
        score=score,
        settings=f"best at step {best_step} of {step}",
        fit_seconds=elapsed,
        final_fit_seconds=elapsed,
        draw=draw,
    )
