"""Fits and scores in several threads and processes, and torch's global state."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skvae import MixedLikelihood, NormalPrior, VAEDensity
from skvae.evidence import RowNoise, noise
from skvae.fitting.torch_state import global_state_for
from skvae.model import BuildContext
from skvae.model.likelihoods import GaussianLikelihood, LikelihoodModule, LikelihoodSpec
from skvae.model.priors import PriorModule, PriorSpec
from tests.conftest import QUICK

WAIT = 300  # seconds, within which everything here is over by far

USES: dict[str, Callable[[VAEDensity, np.ndarray], object]] = {
    "score": lambda density, rows: density.score_samples(rows),
    "bounds": lambda density, rows: density.bounds(rows).iwae,
    "transform": lambda density, rows: density.transform(rows),
    "inverse_transform": lambda density, rows: density.inverse_transform(
        np.zeros((5, density.n_components_))
    ),
    "sample": lambda density, rows: density.sample(5),
    "diagnose": lambda density, rows: str(density.diagnose(rows)),
}

# The search of the second stage for proposals needs gradients.
CAREFUL = {**QUICK, "evidence_tol": 0.01, "max_evidence_samples": 512}


@pytest.fixture(scope="module")
def careful(table: np.ndarray) -> VAEDensity:
    density = VAEDensity(**CAREFUL, n_components=2).fit(table)
    assert (density.evidence(far(table)).n_stages > 1).any()
    return density


def far(table: np.ndarray) -> np.ndarray:
    return np.r_[table[:20], table[:5] * 3]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def assert_same_model(one: VAEDensity, other: VAEDensity) -> None:
    expected = one.model_.state_dict()
    for name, value in other.model_.state_dict().items():
        assert value.dtype == expected[name].dtype, name
        assert_array_equal(value.numpy(), expected[name].numpy(), err_msg=name)


# Processes

FORKS = """
import os, signal, sys
import numpy as np, torch
from skvae import VAEDensity

# A tensor of fewer numbers is not divided among threads.
rows = np.random.default_rng(0).normal(size=(4000, 3))
quick = dict(max_iter=1, hidden_layer_sizes=(16,), evidence_tol=1.0, random_state=0,
             n_importance_samples=16, max_evidence_samples=24, n_components=2,
             marginal_transform="normal", decoder="mlp", companion=None)
torch.set_num_threads(2)
density = VAEDensity(**quick)
uses = {
    "fit": lambda: density.fit(rows),
    "score": lambda: density.evidence(rows, proposal="encoder"),
    "transform": lambda: density.transform(rows),
    "sample": lambda: density.sample(4000),
    "diagnose": lambda: density.diagnose(rows[:30]),
    "torch": lambda: torch.ones(100_000).exp(),
}
for last, use in uses.items():
    use()
    for name in ("fit", "score", "transform", "sample", "diagnose"):
        child = os.fork()
        if not child:
            signal.alarm(40)
            uses[name]()
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{name} failed in a child of a process that ended with {last}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_fit_and_read_whatever_the_parent_has_done() -> None:
    """OpenMP's threads do not survive a fork, and who waits for them waits for ever."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_fit_does_not_import_torchs_compiler() -> None:
    """The import takes more than a second, and a ^C leaves it half done for good."""
    code = (
        "import sys, numpy as np\n"
        "from skvae import VAEDensity\n"
        "rows = np.random.default_rng(0).normal(size=(200, 3))\n"
        f"density = VAEDensity(**{QUICK!r}).fit(rows)\n"
        "density.score(rows), density.sample(5), density.transform(rows)\n"
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=WAIT, check=True)


# Threads


def test_a_fit_leaves_other_threads_alone(table: np.ndarray) -> None:
    """Their draws, their dtype and their number of threads are what they would be."""
    expected = VAEDensity(**QUICK).fit(table)
    found = []
    with ThreadPoolExecutor(2) as pool, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        fits = [pool.submit(VAEDensity(**QUICK).fit, table) for _ in range(4)]
        while not all(fit.done() for fit in fits):
            found.append(torch.rand(()))
    generator = torch.Generator().manual_seed(0)
    assert_array_equal(
        torch.stack(found), [torch.rand((), generator=generator) for _ in found]
    )
    for fit in fits:
        assert_same_model(expected, fit.result())


@pytest.mark.parametrize("use", ["fit", *USES])
def test_no_global_state_is_set_not_even_for_a_moment(
    use: str, table: np.ndarray, density: VAEDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        pytest.fail("torch's global state was set")

    for name in (
        "set_default_dtype",
        "manual_seed",
        "set_rng_state",
        "random.fork_rng",
        "random.set_rng_state",
    ):
        monkeypatch.setattr(f"torch.{name}", forbidden)
    if use == "fit":
        VAEDensity(**QUICK).fit(table)
    else:
        USES[use](density, far(table))


def read(density: VAEDensity, rows: np.ndarray) -> np.ndarray:
    """Return log-densities of some rows, read by draws, by a search and by bounds."""
    rows = rows[:40]
    values = [
        density.evidence(rows, proposal=proposal).log_density
        for proposal in ("encoder", "refined")
    ]
    return np.stack([*values, *density.bounds(rows).iwae])


VARIANTS = {
    "defaults": {"decoder": "auto"},
    "flows": {"prior": "flow", "posterior": "flow"},
    "flows of one latent": {"prior": "flow", "posterior": "flow", "n_components": 1},
    "vamp": {"prior": "vamp", "posterior": "diagonal"},
    "levels": {"n_components": (2, 1)},
    "autoregressive": {"decoder": "autoregressive", "prior": "normal"},
    "gaussian": {"likelihood": "gaussian"},
    "student_t": {"likelihood": "student_t", "background": None},
    "counts": {"likelihood": "poisson"},
    "mixed": {"likelihood": "mixed"},
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float64) for name in VARIANTS), ("defaults", torch.float16)],
)
def test_fits_and_scores_do_not_depend_on_the_default_dtype(
    name: str, dtype: torch.dtype, table: np.ndarray
) -> None:
    rows = table
    if name == "counts":
        rows = np.random.default_rng(0).poisson(3.0, (200, 3))
    if name == "mixed":
        rows = np.c_[table, np.arange(200) % 3 == 0, np.arange(200) % 4]
    settings = {**QUICK, **VARIANTS[name]}
    expected = VAEDensity(**settings).fit(rows)
    scores, drawn = read(expected, rows), expected.sample(9)
    noise._first_sobol.cache_clear()
    with default_dtype(dtype):
        fitted = VAEDensity(**settings).fit(rows)
        assert_same_model(expected, fitted)
        assert_array_equal(read(fitted, rows), scores)
        assert_array_equal(fitted.sample(9), drawn)


def test_points_of_a_row_do_not_depend_on_the_default_dtype() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    expected = RowNoise.shared().points(3, 0, 8, like)
    for dtype in (torch.float16, torch.float32, torch.float64):
        noise._first_sobol.cache_clear()
        with default_dtype(dtype):
            found = RowNoise.shared().points(3, 0, 8, like)
        assert torch.equal(found, expected)


# Inference mode


@pytest.mark.filterwarnings("ignore:The log-density of:UserWarning")
@pytest.mark.parametrize("use", USES)
def test_inference_mode_changes_no_value(
    use: str, careful: VAEDensity, table: np.ndarray
) -> None:
    rows = far(table)
    expected = USES[use](careful, rows)
    with torch.inference_mode():
        assert_array_equal(USES[use](careful, rows), expected)
        # The tensors of this copy are made in inference mode.
        copied = pickle.loads(pickle.dumps(careful))
        assert_array_equal(USES[use](copied, rows), expected)
    assert_array_equal(USES[use](copied, rows), expected)


def test_inference_mode_changes_no_fit(table: np.ndarray) -> None:
    expected = VAEDensity(**QUICK).fit(table)
    with torch.inference_mode():
        fitted = VAEDensity(**QUICK).fit(table)
    assert_same_model(expected, fitted)


# Components that are not ours


class RandomPrior(PriorSpec):
    """A prior whose module is built as a user would, from torch's global state."""

    def build(self, context: BuildContext) -> PriorModule:
        module = NormalPrior().build(context)
        module.first = torch.nn.Parameter(torch.randn(3))
        return module


def test_own_components_have_the_seed_and_the_dtype_of_the_fit(
    table: np.ndarray,
) -> None:
    def fit() -> VAEDensity:
        return VAEDensity(**QUICK, prior=RandomPrior()).fit(table)

    expected = fit()
    state = torch.get_rng_state()
    with default_dtype(torch.float64), ThreadPoolExecutor(3) as pool:
        for fitted in [pool.submit(fit) for _ in range(3)]:
            assert_same_model(expected, fitted.result(WAIT))
        assert torch.get_default_dtype() == torch.float64
    assert torch.equal(torch.get_rng_state(), state)
    other = VAEDensity(**{**QUICK, "random_state": 1}, prior=RandomPrior()).fit(table)
    assert not torch.equal(expected.model_.prior.first, other.model_.prior.first)


def test_global_state_is_prepared_for_own_components_alone() -> None:
    class Own(LikelihoodSpec):
        """A likelihood that is not ours."""

        def build(self, context: BuildContext) -> LikelihoodModule:
            return GaussianLikelihood().build(context)

    def seeded(*components: object) -> bool:
        with global_state_for(components, seed=123):
            return torch.initial_seed() == 123

    ours: list[LikelihoodSpec] = [GaussianLikelihood(), MixedLikelihood()]
    assert not seeded(*ours, None)
    assert not seeded(MixedLikelihood({"a": "poisson", "b": GaussianLikelihood()}))
    assert seeded(*ours, Own())
    assert seeded(MixedLikelihood({"a": Own()}))


def test_one_fit_at_a_time_prepares_global_state() -> None:
    entered, seeds = threading.Event(), []

    def prepare(seed: int) -> None:
        with global_state_for(RandomPrior(), seed):
            entered.set()
            torch.rand(1000).sum()
            seeds.append((seed, torch.initial_seed()))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(prepare, seed) for seed in range(20)]:
            done.result(WAIT)
    assert len(seeds) == 20
    assert all(asked == found for asked, found in seeds)
