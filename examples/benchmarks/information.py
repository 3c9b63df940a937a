"""What terms of the aggregate posterior do to log p(x) and to latents.

Examples::

    python examples/benchmarks/information.py
    python examples/benchmarks/information.py --decoder autoregressive

Sets are scikit-learn's, with the classes of their rows. Every objective is fitted to
90 % of the rows, without their classes, and read on the others. Means and standard
errors are over the held-out rows. The columns of the table:

- nats: log p(x), and its difference from the first objective, paired by row;
- KL: of encoder and prior, in nats per row;
- MMD²: 1,000 times the squared maximum mean discrepancy of the latents of the training
  rows, one drawn for each, from the prior; 0 on average if both are distributed alike;
- active: latents that tell rows apart (see ``diagnose``);
- accuracy: share of rows whose class the five nearest training rows have, by
  ``transform``.
"""

from typing import Any

import numpy as np
import torch
from _command import benchmark_parser
from _data import dequantise
from _report import mean_and_error, plus_minus
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skvae import ELBO, InfoObjective, VAEDensity
from skvae.training.objectives.info import maximum_mean_discrepancy

SETS = {"wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}
DEFAULT_SETS = ["wine", "breast_cancer"]
OBJECTIVES = {
    "ELBO": ELBO(),
    "MMD 10": InfoObjective(mmd=10),
    "MMD 100": InfoObjective(mmd=100),
    "MMD 100, to the end": InfoObjective(mmd=100, released=1.0),
    "information 1": InfoObjective(mmd=0, mutual_information=1),
    "information 1, to the end": InfoObjective(
        mmd=0, mutual_information=1, released=1.0
    ),
    "MMD 100 + information 1, to the end": InfoObjective(
        mmd=100, mutual_information=1, released=1.0
    ),
}


def load(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows in random order, their repeated values spread, and their classes."""
    rng = np.random.default_rng(0)
    table = SETS[name]()
    order = rng.permutation(len(table.data))
    return dequantise(table.data, rng)[order], table.target[order]


def discrepancy(density: VAEDensity, rows: NDArray[np.float64]) -> float:
    """Return MMD² of the latents of rows and the prior, by the default kernel."""
    model = density.model_
    x = torch.from_numpy(density.columns_.to_model(rows)[0])
    found = []
    for seed in range(20):
        with torch.no_grad():
            batch = model.aggregate(x, torch.Generator().manual_seed(seed))
        assert batch is not None
        length = batch.z.shape[1] ** 0.5
        weight = torch.ones(len(x), dtype=x.dtype)
        found.append(
            maximum_mean_discrepancy(batch.z, batch.prior_z, length, weight).item()
        )
    return float(np.mean(found))


def main() -> None:
    """Fit every objective to every set and print a Markdown table."""
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=["wine", "breast_cancer"]
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--prior", default="normal")
    parser.add_argument("--decoder", default="mlp")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| set | objective | nats | difference | KL | MMD² | active | accuracy |")
    print("|---|---|---|---|---|---|---|---|")
    settings: dict[str, Any] = {
        "prior": arguments.prior,
        "decoder": arguments.decoder,
        "background": None,
        "companion": None,
        "marginal_transform": "normal",
        "max_iter": arguments.epochs,
        "random_state": 0,
    }
    for name in arguments.sets:
        rows, classes = load(name)
        n_train = round(0.9 * len(rows))
        scaler = StandardScaler().fit(rows[:n_train])
        train, test = np.split(scaler.transform(rows), [n_train])
        first = None
        for label, objective in OBJECTIVES.items():
            density = VAEDensity(objective=objective, **settings).fit(train)
            scores = density.score_samples(test)
            first = scores if first is None else first
            lead = plus_minus(*mean_and_error(scores - first), "+")
            report = density.diagnose(test)
            neighbours = KNeighborsClassifier(5).fit(
                density.transform(train), classes[:n_train]
            )
            accuracy = neighbours.score(density.transform(test), classes[n_train:])
            mmd = 1000 * discrepancy(density, train)
            active = f"{report.n_active} of {density.n_components_}"
            print(
                f"| {name} | {label} | {scores.mean():.2f} | {lead} | {report.kl:.1f} "
                f"| {mmd:.1f} | {active} | {accuracy:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
