"""What each view of an ``OutlierCommittee`` is worth, judged by leaving out sets.

Examples::

    python examples/benchmarks/views.py --data FOLDER

A committee is fitted to the normal training rows of every set, as in ``outliers.py``,
and scores the test rows in each of its views. The script then takes every subset of the
views, and two rules, the smallest of their log-probabilities or the mean. Tables have
the mean area under the ROC curve, in percent, of each view alone, of all views without
one, and of the subset that a user would have chosen who had seen all sets but one,
judged on that one.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from _anomalies import Anomalies, load_anomalies
from _command import add_sets, benchmark_parser, check_sets
from _process import limit_threads
from _report import markdown_table
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Array = NDArray[np.float64]
RULES = {"smallest": np.min, "mean": np.mean}


def areas_of(
    name: str, folder: Path, seed: int
) -> tuple[list[str], dict[tuple[str, tuple[int, ...]], float]]:
    """Return the names of the views, and the area of every rule and subset.

    Parameters
    ----------
    name : str
        Set.
    folder : Path
        Its folder.
    seed : int
        Of the committee.
    """
    import torch

    from skvae import OutlierCommittee

    torch.set_num_threads(1)
    data: Anomalies = load_anomalies(name, folder, 0.0, seed)
    committee = OutlierCommittee(random_state=seed).fit(data.train)
    scores: Array = committee.score_views(data.test)
    views = list(committee.views_)
    numbers = range(len(views))
    areas = {}
    for size in range(1, 1 + len(views)):
        for subset in combinations(numbers, size):
            for rule, of_views in RULES.items():
                score = of_views(scores[:, subset], axis=1)
                areas[rule, subset] = 100 * roc_auc_score(data.is_anomaly, -score)
    return views, areas


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-jobs", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data is needed: no bundled set has labelled anomalies")
    return check_sets(parser, arguments)


def main() -> None:
    """Print the tables."""
    arguments = parse_arguments()
    limit_threads(1)
    context = multiprocessing.get_context("spawn")
    of_set = partial(areas_of, folder=arguments.data, seed=arguments.seed)
    with ProcessPoolExecutor(arguments.n_jobs, mp_context=context) as pool:
        found = list(pool.map(of_set, arguments.sets))
    views = found[0][0]
    choices = list(found[0][1])
    table = np.array([[areas[choice] for choice in choices] for _, areas in found])
    mean = dict(zip(choices, table.mean(0), strict=True))
    every = tuple(range(len(views)))

    rows = [["view", "alone", *(f"all but it, {rule}" for rule in RULES)]]
    for i, view in enumerate(views):
        others = tuple(j for j in every if j != i)
        without = [f"{mean[rule, others]:.2f}" for rule in RULES]
        rows.append([view, f"{mean['smallest', (i,)]:.2f}", *without])
    rows.append(["all", "", *(f"{mean[rule, every]:.2f}" for rule in RULES)])
    print(markdown_table(rows))

    rows = [["set", "all, smallest", "chosen by the others", "which"]]
    for name, own, others in zip(
        arguments.sets, table, table.sum(0) - table, strict=True
    ):
        best = int(others.argmax())
        rule, subset = choices[best]
        which = f"{rule} of {', '.join(views[i] for i in subset)}"
        all_views = own[choices.index(("smallest", every))]
        rows.append([name, f"{all_views:.2f}", f"{own[best]:.2f}", which])
    cells = [[float(cell) for cell in row[1:3]] for row in rows[1:]]
    rows.append(["mean", *(f"{value:.2f}" for value in np.mean(cells, axis=0)), ""])
    print(f"\n{markdown_table(rows)}")


if __name__ == "__main__":
    main()
