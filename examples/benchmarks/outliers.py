"""Outlier detection beside detectors and densities of scikit-learn.

Examples::

    python examples/benchmarks/outliers.py --data FOLDER
    python examples/benchmarks/outliers.py --data FOLDER --seeds 0 1 2 3 4 --n-jobs 2
    python examples/benchmarks/outliers.py --data FOLDER --contaminate 0.05
    python examples/benchmarks/outliers.py --data FOLDER --bootstrap

There are two published protocols. In the semi-supervised one, a detector is fitted to
half of the normal rows and ranks the other half and all anomalies. In the unsupervised
one (``--bootstrap``), it is fitted to a bootstrap sample of all rows and ranks all of
them. A detector has the same settings, its defaults, on all sets. Gaussian mixture and
kernel density are tuned by the log-density of a tenth of the training rows. The script
reports the area under the ROC curve (AUC) and average precision (AP) in percent, mean
± standard deviation over seeds.

``--contaminate`` mixes anomalies into the training rows. The method ``skvae_told`` is
then told their share by ``contamination``; with ``--bootstrap``, that they are a
twentieth, which is what one might guess.

``vae`` is a single `VAEDensity` with the settings of the committee's view "density",
but trained to the end and read by importance sampling. The detectors ``pyod_...`` are
those of PyOD with their defaults; they need the extra ``outliers``.

With clean training rows, the mean AUC of k-nearest neighbours over eight of the sets
has to be the published 88.40. If it is not, the data or the split are not those of the
publication.

Rates of false alarms: the normal test rows are divided into two halves at random.
`fit_threshold` chooses the threshold by one half, and the rate is measured on the
other. A rate is the mean of 200 divisions, and is given for sets whose half has at
least 5 / rate rows.
"""

import argparse
import json
import multiprocessing
import shlex
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _anomalies import load_anomalies, load_bootstrap
from _command import add_sets, benchmark_parser, check_sets
from _data import Split
from _process import limit_threads
from _report import markdown_table
from _rivals import fit_gmm, fit_kde
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

RATES = (0.01, 0.05)
N_DIVISIONS = 200
# The published mean AUC of nearest neighbours over these sets.
PUBLISHED_KNN = 88.40
CHECKED_SETS = {
    "Wilt", "cardio", "magic.gamma", "mammography", "pendigits", "satellite",
    "shuttle", "thyroid",
}  # fmt: skip
GUESS = 0.05  # of the share of anomalies, if it is not known


@dataclass(frozen=True)
class Job:
    """One method on one set with one seed."""

    dataset: str
    folder: Path
    method: str
    seed: int
    contaminate: float
    bootstrap: bool


@dataclass(frozen=True)
class Result:
    """What was measured; areas, precisions and rates as shares of one."""

    dataset: str
    method: str
    seed: int
    n_train: int
    n_normal: int
    n_anomalies: int
    auc: float
    average_precision: float
    false_alarms: dict[str, float]
    fit_seconds: float
    score_seconds: float


Score = Callable[[Array], Array]
# A fitter takes training rows, a seed and the share of anomalies among the rows.
Fitter = Callable[[Array, int, float], Score]


def fit_skvae(train: Array, seed: int, mixed_in: float) -> Score:
    """Fit the detector with its defaults, except that its threshold takes less time.

    The areas do not depend on the threshold.
    """
    from skvae import DensityOutlierDetector

    detector = DensityOutlierDetector(random_state=seed, max_reference_rows=200)
    return detector.fit(train).score_samples


def fit_vae(train: Array, seed: int, mixed_in: float) -> Score:
    """Fit a single density."""
    from skvae import DensityOutlierDetector, VAEDensity

    density = VAEDensity(
        decoder="mlp",
        companion=None,
        marginal_transform=None,
        smoothing="auto",
        evidence_tol=0.3,
        max_evidence_samples=1024,
    )
    detector = DensityOutlierDetector(
        density, random_state=seed, max_reference_rows=200
    )
    return detector.fit(train).score_samples


def fit_pyod(name: str, *, seeded: bool = False) -> Fitter:
    """Return a fitter of one of PyOD's detectors, whose scores are of strangeness."""

    def fitter(train: Array, seed: int, mixed_in: float) -> Score:
        import importlib

        module = importlib.import_module(f"pyod.models.{name}")
        settings = {"random_state": seed} if seeded else {}
        detector = getattr(module, PYOD[name])(**settings).fit(train)
        return lambda rows: -np.asarray(detector.decision_function(rows))

    return fitter


def fit_trimmed(train: Array, seed: int, mixed_in: float) -> Score:
    """Fit the detector to four fifths of the rows, as if a twentieth were anomalies."""
    return fit_told(train, seed, 0.05)


def fit_told(train: Array, seed: int, mixed_in: float) -> Score:
    """Fit the detector and tell it the share of anomalies among the training rows."""
    from skvae import DensityOutlierDetector

    detector = DensityOutlierDetector(
        contamination=mixed_in, random_state=seed, max_reference_rows=200
    )
    return detector.fit(train).score_samples


def fit_knn(train: Array, seed: int, mixed_in: float) -> Score:
    """Score by the distance to the fifth neighbour."""
    neighbours = NearestNeighbors(n_neighbors=5).fit(train)
    return lambda rows: -neighbours.kneighbors(rows)[0][:, -1]


def fit_tuned(fit: Callable[[Split, int], Any]) -> Fitter:
    """Return a fitter that holds out a tenth of the rows to tune a density."""

    def fitter(train: Array, seed: int, mixed_in: float) -> Score:
        rows = np.random.default_rng(seed).permutation(train)
        valid, fitted_to = np.split(rows, [len(rows) // 10])
        return fit(Split(fitted_to, valid, valid), seed).score

    return fitter


def fit_detector(make: Callable[[int], Any]) -> Fitter:
    """Return a fitter of one of scikit-learn's detectors."""
    return lambda train, seed, mixed_in: make(seed).fit(train).score_samples


PYOD = {"ecod": "ECOD", "copod": "COPOD", "knn": "KNN", "vae": "VAE"}
METHODS: dict[str, Fitter] = {
    "skvae": fit_skvae,
    "skvae_told": fit_told,
    "skvae_trimmed": fit_trimmed,
    "knn": fit_knn,
    "lof": fit_detector(lambda seed: LocalOutlierFactor(novelty=True)),
    "iforest": fit_detector(lambda seed: IsolationForest(random_state=seed)),
    "ocsvm": fit_detector(lambda seed: OneClassSVM()),
    "gmm": fit_tuned(fit_gmm),
    "kde": fit_tuned(fit_kde),
    "vae": fit_vae,
    "pyod_ecod": fit_pyod("ecod"),
    "pyod_copod": fit_pyod("copod"),
    "pyod_knn": fit_pyod("knn"),
    "pyod_vae": fit_pyod("vae", seeded=True),
}
# This method is told the share of anomalies among the training rows.
TOLD = "skvae_told"
OF_TORCH = ("skvae", "skvae_told", "skvae_trimmed", "vae", "pyod_vae")
# These run when they are named: ``skvae_trimmed`` trims clean rows to show what that
# costs, ``vae`` takes minutes, and PyOD is an extra.
DEFAULTS = [
    method
    for method in METHODS
    if method not in ("skvae_trimmed", "vae") and not method.startswith("pyod")
]
# These methods have no randomness: with the same training rows, one seed is enough.
WITHOUT_CHANCE = ("knn", "lof", "ocsvm", "pyod_ecod", "pyod_copod", "pyod_knn")


class KnownScores(BaseEstimator):
    """A "density" whose score of a row is the row's only column."""

    def fit(self, X: Array, y: None = None) -> "KnownScores":
        """Do nothing."""
        return self

    def score_samples(self, X: Array) -> Array:
        """Return the column."""
        return X[:, 0]


def false_alarms(scores: Array, rate: float, seed: int) -> float:
    """Return the share of normal rows below thresholds from other normal rows.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores of normal rows that no fit has seen.
    rate : float
        The rate of false alarms that the threshold is chosen for.
    seed : int
        Seed of the divisions.

    Returns
    -------
    float
        Mean rate over the divisions; nan if there are too few rows to measure it.
    """
    from skvae import DensityOutlierDetector

    half = len(scores) // 2
    if half < 5 / rate:
        return float("nan")
    rng = np.random.default_rng(seed)
    detector = DensityOutlierDetector(KnownScores()).fit(scores[:2, None])
    shares = []
    for _ in range(N_DIVISIONS):
        known, new = np.split(rng.permutation(scores)[:, None], [half])
        detector.fit_threshold(known, false_positive_rate=rate)
        shares.append(np.mean(detector.predict(new) == -1))
    return float(np.mean(shares))


def run_job(job: Job) -> Result:
    """Fit and measure one method."""
    if job.method in OF_TORCH:
        import torch

        torch.set_num_threads(1)
    if job.bootstrap:
        data, mixed_in = load_bootstrap(job.dataset, job.folder, job.seed), GUESS
    else:
        mixed_in = job.contaminate
        data = load_anomalies(job.dataset, job.folder, mixed_in, job.seed)
    with threadpool_limits(limits=1):
        start = perf_counter()
        score = METHODS[job.method](data.train, job.seed, mixed_in)
        fitted = perf_counter()
        scores = score(data.test)
        scored = perf_counter()
    normal = scores[~data.is_anomaly]
    rates = RATES if job.method == "skvae" else ()
    return Result(
        dataset=job.dataset,
        method=job.method,
        seed=job.seed,
        n_train=len(data.train),
        n_normal=len(normal),
        n_anomalies=int(data.is_anomaly.sum()),
        auc=float(roc_auc_score(data.is_anomaly, -scores)),
        average_precision=float(average_precision_score(data.is_anomaly, -scores)),
        false_alarms={str(r): false_alarms(normal, r, job.seed) for r in rates},
        fit_seconds=fitted - start,
        score_seconds=scored - fitted,
    )


def percent(values: list[float]) -> str:
    """Format a mean in percent and, of several seeds, its standard deviation."""
    mean = f"{100 * np.mean(values):.2f}"
    return f"{mean} ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else mean


def score_table(results: list[Result], measure: str) -> str:
    """Return a Markdown table: a row per set and their mean, a column per method."""
    methods = [m for m in METHODS if any(r.method == m for r in results)]
    datasets = list(dict.fromkeys(r.dataset for r in results))
    rows = [["set", "train / normal / anomalies", *methods]]
    for dataset in datasets:
        runs = [r for r in results if r.dataset == dataset]
        size = f"{runs[0].n_train} / {runs[0].n_normal} / {runs[0].n_anomalies}"
        cells = {
            method: [getattr(r, measure) for r in runs if r.method == method]
            for method in methods
        }
        means = {m: np.mean(values) for m, values in cells.items() if values}
        best = max(means, key=lambda method: means[method])
        shown = [percent(cells[m]) if cells[m] else "–" for m in methods]
        shown[methods.index(best)] = f"**{shown[methods.index(best)]}**"
        rows.append([dataset, size, *shown])
    means_by_seed = {m: list(mean_by_seed(results, m, measure)) for m in methods}
    rows.append(
        ["mean", "", *(percent(v) if v else "–" for v in means_by_seed.values())]
    )
    return markdown_table(rows)


def mean_by_seed(results: list[Result], method: str, measure: str) -> list[float]:
    """Return the mean over sets for each seed that has all of them."""
    datasets = {r.dataset for r in results}
    means = []
    for seed in sorted({r.seed for r in results if r.method == method}):
        values = [
            getattr(r, measure) for r in results if (r.method, r.seed) == (method, seed)
        ]
        if len(values) == len(datasets):
            means.append(float(np.mean(values)))
    return means


def alarm_table(results: list[Result]) -> str:
    """Return a Markdown table of the detector's false-alarm rates and its costs."""
    header = [f"false alarms at {100 * rate:g} %" for rate in RATES]
    rows = [["set", *header, "fit s", "score s"]]
    for dataset in dict.fromkeys(r.dataset for r in results):
        runs = [r for r in results if r.dataset == dataset and r.method == "skvae"]
        if not runs:
            continue
        cells = []
        for rate in RATES:
            values = [r.false_alarms[str(rate)] for r in runs]
            few = bool(np.isnan(values).any())
            cells.append("too few rows" if few else f"{percent(values)} %")
        fit = np.mean([r.fit_seconds for r in runs])
        score = np.mean([r.score_seconds for r in runs])
        rows.append([dataset, *cells, f"{fit:.0f}", f"{score:.0f}"])
    return markdown_table(rows)


def knn_is_published(results: list[Result]) -> bool:
    """Whether the mean AUC of nearest neighbours is the published one."""
    of_sets = [result for result in results if result.dataset in CHECKED_SETS]
    (mean,) = mean_by_seed(of_sets, "knn", "auc")
    return abs(100 * mean - PUBLISHED_KNN) < 0.005


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DEFAULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contaminate", type=float, default=0.0)
    parser.add_argument(
        "--bootstrap", action="store_true", help="fit to a sample of all rows"
    )
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data is needed: no bundled set has labelled anomalies")
    check_sets(parser, arguments)
    if not 0 <= arguments.contaminate < 0.5:
        parser.error(f"--contaminate must be in [0, 0.5): {arguments.contaminate}")
    if arguments.bootstrap and arguments.contaminate:
        parser.error("--contaminate and --bootstrap exclude one another")
    return arguments


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    """Return all runs, the longest first."""
    jobs = []
    contaminate, bootstrap = arguments.contaminate, arguments.bootstrap
    same_rows = not contaminate and not bootstrap
    for method in [m for m in METHODS if m in arguments.methods]:
        if method == TOLD and same_rows:
            continue
        for dataset in arguments.sets:
            once = method in WITHOUT_CHANCE and same_rows
            for seed in arguments.seeds[:1] if once else arguments.seeds:
                jobs.append(
                    Job(dataset, arguments.data, method, seed, contaminate, bootstrap)
                )
    return jobs


def main() -> int:
    """Run the benchmark; the exit status is 1 if a run or the self-check failed."""
    arguments = parse_arguments()
    limit_threads(1)
    results: list[Result] = []
    n_failures = 0
    context = multiprocessing.get_context("spawn")
    start = perf_counter()
    with ProcessPoolExecutor(arguments.n_jobs, mp_context=context) as pool:
        futures = {pool.submit(run_job, job): job for job in jobs_of(arguments)}
        for future in as_completed(futures):
            job = futures[future]
            # If one fit fails, the others go on.
            try:
                result = future.result()
            except Exception as failure:
                n_failures += 1
                print(f"{job.dataset} {job.method} failed: {failure!r}", flush=True)
                continue
            results.append(result)
            print(
                f"{job.dataset:<12} {job.method:<8} seed {job.seed}  "
                f"AUC {100 * result.auc:.2f}  "
                f"AP {100 * result.average_precision:.2f}  "
                f"fit {result.fit_seconds:.0f} s, score {result.score_seconds:.0f} s",
                flush=True,
            )
    minutes = (perf_counter() - start) / 60
    order = list(METHODS)
    results.sort(key=lambda r: (r.dataset.lower(), order.index(r.method), r.seed))

    # The files are written before anything is printed: printing to a closed pipe
    # would raise, and the figures would be lost.
    if arguments.json:
        report = {
            "command": shlex.join(["python", *sys.argv]),
            "minutes": minutes,
            "results": [asdict(result) for result in results],
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    alarms = ""
    if any(result.method == "skvae" for result in results):
        alarms = f"{alarm_table(results)}\n\n"
    markdown = (
        "Area under the ROC curve, percent.\n\n"
        f"{score_table(results, 'auc')}\n\nAverage precision, percent.\n\n"
        f"{score_table(results, 'average_precision')}\n\n{alarms}"
        f"{minutes:.0f} minutes, {arguments.n_jobs} at a time.\n"
    )
    if arguments.markdown:
        arguments.markdown.write_text(markdown, encoding="utf-8")
    print(f"\n{markdown}")
    complete = set(arguments.sets) >= CHECKED_SETS and "knn" in arguments.methods
    same_rows = not arguments.contaminate and not arguments.bootstrap
    if complete and same_rows and not n_failures:
        if not knn_is_published(results):
            print(f"Self-check failed: knn is not at {PUBLISHED_KNN}.")
            return 1
        print(f"Self-check: knn is at the published {PUBLISHED_KNN}.")
    return 1 if n_failures else 0


if __name__ == "__main__":
    sys.exit(main())
