"""Random tables, parameters and methods.

A case is a seed. What it may do: answer with finite numbers, or refuse with a
ValueError or TypeError of ours, or scikit-learn's, that says why. What it may not do:
raise anything else, warn of anything but what the user can act on, compute a minute, or
touch random state, threads or numeric settings of the process.

Run one, or many::

    python -m tests.fuzz.cases --first 0 --number 10000
"""

import argparse
import copy
import io
import pickle
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning

import skvae
from skvae import VAEDensity, load, save

__all__ = ["Broken", "run"]

Random = np.random.Generator

SECONDS = 60.0
# Of these, users are to know.
USEFUL = ("The log-density of", "Training met non-finite", "have no observed cell")


class Broken(AssertionError):
    """A case that did what it may not do."""


def reals(random: Random, n: int, d: int) -> Any:
    return random.normal(size=(n, d)) @ random.normal(size=(d, d))


def heavy(random: Random, n: int, d: int) -> Any:
    return random.standard_t(1, size=(n, d))


def scaled(random: Random, n: int, d: int) -> Any:
    return reals(random, n, d) * 10.0 ** random.uniform(-120, 120, size=d)


def shifted(random: Random, n: int, d: int) -> Any:
    return reals(random, n, d) + 10.0 ** random.uniform(0, 9, size=d)


def whole(random: Random, n: int, d: int) -> Any:
    return random.poisson(random.uniform(0.1, 50, size=d), size=(n, d)).astype(float)


def binary(random: Random, n: int, d: int) -> Any:
    return (random.random((n, d)) < random.random(d)).astype(float)


def constant(random: Random, n: int, d: int) -> Any:
    rows = reals(random, n, d)
    rows[:, random.integers(d)] = random.choice([0.0, -7.0, 1e30])
    return rows


def repeated(random: Random, n: int, d: int) -> Any:
    return reals(random, n, d)[random.integers(max(1, n // 4), size=n)]


def dependent(random: Random, n: int, d: int) -> Any:
    rows = reals(random, n, d)
    rows[:, -1] = rows[:, 0]
    return rows


def gaps(random: Random, n: int, d: int) -> Any:
    rows = reals(random, n, d)
    rows[random.random((n, d)) < 0.3] = np.nan
    return rows


def infinite(random: Random, n: int, d: int) -> Any:
    rows = reals(random, n, d)
    rows[random.integers(n), random.integers(d)] = random.choice([np.inf, -np.inf])
    return rows


def single(random: Random, n: int, d: int) -> Any:
    return reals(random, n, d).astype(np.float32)


def mixed(random: Random, n: int, d: int) -> Any:
    frame = pd.DataFrame(reals(random, n, d), columns=[f"x{j}" for j in range(d)])
    frame["text"] = random.choice(["a", "b", "cc"], size=n)
    frame["flag"] = random.random(n) < 0.5
    frame["kind"] = pd.Categorical(random.choice(["u", "v"], size=n))
    if random.random() < 0.3:
        frame.loc[random.random(n) < 0.2, "text"] = None
    return frame


TABLES = (
    reals, heavy, scaled, shifted, whole, binary, constant, repeated, dependent, gaps,
    infinite, single, mixed,
)  # fmt: skip
CHOICES: dict[str, tuple[Any, ...]] = {
    "n_components": ("auto", 1, 2, 5, (3, 2)),
    "prior": ("mixture", "normal", "vamp", "flow", skvae.MixturePrior(n_modes=2)),
    "posterior": ("full", "diagonal", "flow", "implicit"),
    "decoder": ("auto", "mlp", "autoregressive"),
    "likelihood": (
        "auto", "mixture", "gaussian", "student_t", "logistic_mixture", "bernoulli",
        "categorical", "poisson", "negative_binomial",
    ),
    "objective": (
        "auto", "iwae", "elbo", "dreg", "stl",
        skvae.InfoObjective("iwae", mutual_information=0.5),
    ),
    "background": ("auto", None, "student_t"),
    "companion": (
        None, None, skvae.GaussianMixtureCompanion(n_modes=(1,), bandwidths=(0.5,)),
    ),
    "marginal_transform": ("auto", None, "normal", "whitened"),
    "smoothing": ("auto", 0.0, 0.3),
    "unknown_category": ("error", "other"),
    "learning_rate": (1e-3, 1e-2, 10.0),
    "dropout": ("auto", 0.0, 0.5),
    "batch_size": (1, 7, 256),
    "early_stopping": ("auto", True, False),
}  # fmt: skip
QUICK = {
    "hidden_layer_sizes": (8,),
    "n_importance_samples": 8,
    "max_evidence_samples": 64,
    "evidence_tol": 1.0,
}


def numbers_of(answer: Any) -> list[Any]:
    """Return the arrays of numbers that an answer has."""
    if isinstance(answer, (list, tuple)):
        return [array for part in answer for array in numbers_of(part)]
    if isinstance(answer, pd.DataFrame):
        return [answer.select_dtypes("number").to_numpy(dtype=float)]
    array = np.asarray(answer)
    return [array] if array.dtype.kind in "fiu" else []


def through_file(density: VAEDensity, rows: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        save(density, Path(folder, "file"))
        again = load(Path(folder, "file")).score_samples(rows)
    if not np.array_equal(again, density.score_samples(rows)):
        raise Broken("a file gave other scores")
    return again


def through_pickle(density: VAEDensity, rows: Any) -> Any:
    again = pickle.loads(pickle.dumps(density)).score_samples(rows)
    if not np.array_equal(again, density.score_samples(rows)):
        raise Broken("a pickle gave other scores")
    return again


def in_turn(density: VAEDensity, rows: Any) -> Any:
    """Score rows alone; they must have the scores that they have together."""
    together = density.score_samples(rows)
    take = rows.iloc if hasattr(rows, "iloc") else rows
    alone = [density.score_samples(take[i : i + 1])[0] for i in range(2)]
    if not np.array_equal(alone, together[:2]):
        raise Broken("a row alone has another score")
    return together


METHODS: dict[str, Callable[[VAEDensity, Any], Any]] = {
    "score_samples": lambda density, rows: density.score_samples(rows),
    "score": lambda density, rows: density.score(rows),
    "evidence": lambda density, rows: density.evidence(rows, tol=0.5).log_density,
    "threshold": lambda density, rows: (
        density.evidence(rows, threshold=0.0).log_density
    ),
    "sample": lambda density, rows: density.sample(5, random_state=0),
    "transform": lambda density, rows: density.transform(rows),
    "inverse": lambda density, rows: density.inverse_transform(density.transform(rows)),
    "impute": lambda density, rows: density.impute(rows),
    "draws": lambda density, rows: density.impute(rows, n_draws=2, random_state=1),
    "surprise": lambda density, rows: density.surprise(rows).tail[
        ~np.asarray(pd.DataFrame(rows).isna())
    ],
    "marginal": lambda density, rows: density.marginal([0]).score_samples(
        rows.iloc[:, [0]] if hasattr(rows, "iloc") else rows[:, :1]
    ),
    "mean": lambda density, rows: density.conditional(rows, [0]).mean(),
    "bounds": lambda density, rows: density.bounds(rows, (1, 4)).iwae,
    "partial_fit": lambda density, rows: (
        copy.deepcopy(density).partial_fit(rows).score_samples(rows)
    ),
    "file": through_file,
    "pickle": through_pickle,
    "in turn": in_turn,
}


def state_of_process() -> tuple[Any, ...]:
    """Return what no fit may change."""
    return (
        repr(np.random.get_state()),  # noqa: NPY002
        torch.random.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        np.geterr(),
    )


def is_ours(error: BaseException) -> bool:
    """Return whether an error says why, in a sentence, where we or sklearn raise."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "skvae" in last.filename or "sklearn" in last.filename


def run(seed: int) -> str:
    """Run a case; return what came of it.

    Raises
    ------
    Broken
        If it did what it may not do. The message has the case.
    """
    random = np.random.default_rng(seed)
    make = TABLES[random.integers(len(TABLES))]
    n, d = int(random.choice([2, 3, 10, 40, 80])), int(random.integers(1, 5))
    rows = make(random, n, d)
    names = random.choice(list(CHOICES), size=random.integers(0, 5), replace=False)
    parameters = dict(QUICK, max_iter=int(random.integers(1, 4)), random_state=seed)
    parameters |= {"companion": None, "decoder": "mlp"}
    for name in names.tolist():
        parameters[name] = CHOICES[name][random.integers(len(CHOICES[name]))]
    weight = random.integers(0, 3, n) if random.random() < 0.2 else None
    methods = random.choice(list(METHODS), size=3, replace=False).tolist()
    case = f"seed {seed}: {make.__name__} {n} x {d}, {parameters}, {methods}"
    before, begin = state_of_process(), time.process_time()
    doing = "fit"
    outcome = "answered"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            density = VAEDensity(**parameters).fit(rows, sample_weight=weight)
            for doing in methods:
                for numbers in numbers_of(METHODS[doing](density, rows)):
                    if not np.isfinite(numbers).all():
                        raise Broken(f"it gave {numbers}")
        except Broken as error:
            raise Broken(f"{case}: {doing}: {error}") from error
        except (ValueError, TypeError) as error:
            if not is_ours(error):
                raise Broken(f"{case}: {doing} raised {error!r}") from error
            outcome = f"{doing} refused"
        except Exception as error:
            raise Broken(f"{case}: {doing} raised {error!r}") from error
    for warning in caught:
        text = str(warning.message)
        useful = issubclass(warning.category, (UserWarning, ConvergenceWarning))
        if not useful or not any(part in text for part in USEFUL):
            raise Broken(f"{case}: {doing} warned {warning.category}: {text}")
    if time.process_time() - begin > SECONDS:
        raise Broken(f"{case}: it took {time.process_time() - begin:.0f} s")
    if state_of_process() != before:
        raise Broken(f"{case}: it changed the state of the process")
    return outcome


def main() -> None:
    """Run cases, and count what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--number", type=int, default=10_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    outcomes: Counter[str] = Counter()
    for seed in range(arguments.first, arguments.first + arguments.number):
        try:
            outcomes[run(seed)] += 1
        except Broken as broken:
            outcomes["broken"] += 1
            print(broken, flush=True)
    report = io.StringIO()
    for outcome, number in outcomes.most_common():
        print(f"{number:6d}  {outcome}", file=report)
    print(report.getvalue())


if __name__ == "__main__":
    main()
