"""How many codes ``CodebookPrior("auto")`` should have: leave one table out.

Examples::

    python examples/benchmarks/code_numbers.py --data FOLDER
    python examples/benchmarks/code_numbers.py --data FOLDER --rows 2000 --epochs 20

Each number of codes is fitted to at most ``--rows`` training rows of each set, without
a companion, and scored on the validation rows. A rule gives one code per r rows, at
most m, rounded down to a number that was fitted. Its loss on a set is the mean
log-density of the best number minus that of the rule's, in nats per column. The rule
that is best on all other sets is judged on the set that was left out.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
from _command import add_sets, benchmark_parser, check_sets
from _data import load_split
from _process import in_fresh_process, limit_threads
from _report import markdown_table

N_CODES = (4, 8, 16, 32, 64, 128, 256)
ROWS_PER_CODE = (5, 10, 20, 40, 80)
LEAST_ROWS_PER_CODE = 4  # more codes are not fitted
MOST_CODES = (32, 64, 128)

Rule = tuple[int, int]


def measure(name: str, data: Path | None, n_rows: int, epochs: int) -> dict[int, float]:
    """Return the score of each number of codes on a set, in nats per column."""
    from skvae import CodebookPrior, VAEDensity

    split = load_split(name, data)
    chosen = np.random.default_rng(0).permutation(len(split.train))[:n_rows]
    train, scores = split.train[np.sort(chosen)], {}
    for n_codes in N_CODES:
        if n_codes * LEAST_ROWS_PER_CODE > len(train):
            break
        density = VAEDensity(
            prior=CodebookPrior(n_codes),
            decoder="mlp",
            companion=None,
            max_iter=epochs,
            random_state=0,
        ).fit(train)
        scores[n_codes] = density.score(split.valid) / train.shape[1]
        print(f"{name}  {n_codes}  {scores[n_codes]:.4f}", flush=True)
    return scores


def number_by(rule: Rule, n_rows: int, fitted: list[int]) -> int:
    """Return the number of codes that a rule (r, m) gives, of those fitted."""
    rows_per_code, most = rule
    wanted = min(n_rows // rows_per_code, most)
    return max([n for n in fitted if n <= wanted], default=fitted[0])


def main() -> int:
    """Measure every set in a fresh process, then compare the rules."""
    parser = benchmark_parser(__doc__)
    add_sets(parser)
    parser.add_argument("--rows", type=int, default=4000, help="at most, for training")
    parser.add_argument("--epochs", type=int, default=30)
    options = check_sets(parser, parser.parse_args())
    limit_threads(1)
    rules = list(product(ROWS_PER_CODE, MOST_CODES))
    losses = np.empty((len(rules), len(options.sets)))
    table = [["set", "rows", *map(str, N_CODES)]]
    for column, name in enumerate(options.sets):
        n_rows = min(options.rows, len(load_split(name, options.data).train))
        scores = in_fresh_process(
            measure, name, options.data, options.rows, options.epochs
        )
        best = max(scores.values())
        for row, rule in enumerate(rules):
            number = number_by(rule, n_rows, list(scores))
            losses[row, column] = best - scores[number]
        shown = [f"{scores[n] - best:+.3f}" if n in scores else "" for n in N_CODES]
        table.append([name, str(n_rows), *shown])
    print(f"\n{markdown_table(table)}\n")
    summary = [["left out", "best rule of the others: r, m", "loss", "20, 64"]]
    today = losses[rules.index((20, 64))]
    for column, name in enumerate(options.sets):
        others = np.delete(losses, column, axis=1).mean(1)
        winner = int(others.argmin())
        rule, loss = rules[winner], losses[winner, column]
        summary.append([name, str(rule), f"{loss:.4f}", f"{today[column]:.4f}"])
    print(markdown_table(summary))
    order = losses.mean(1).argsort()[:5]
    for row in order:
        print(f"{rules[row]}: mean loss {losses[row].mean():.4f} nats per column")
    return 0


if __name__ == "__main__":
    sys.exit(main())
