"""
Your own prior, likelihood and objective
========================================

A component that skvae does not have can be written in a few lines. This example writes
a heavy-tailed prior, a skewed likelihood and another objective. Each of them replaces a
standard part of ``VAEDensity``, and is compared with it on held-out rows. Components of
your own work wherever those of skvae do: in ``clone``, in grid searches and in pickles.

Run it with ``python examples/plot_own_components.py [FIGURE]``.
"""

# %%
# A prior
# -------
#
# A component is two classes. The *spec* stores the hyper-parameters, and nothing else.
# It builds the *module*, a ``torch.nn.Module`` with the parameters that are learnt. The
# module of a prior returns a distribution over the latents z. The distribution gets
# standard-normal noise and turns it into draws; it makes no random numbers itself, so
# that skvae controls the seed.
#
# This prior is a Student-t distribution. A draw is a normal vector divided by a random
# scale, which is made of ``df`` further numbers of the noise.

import math
import pickle
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from torch import nn

from skvae import LikelihoodSpec, ObjectiveSpec, PriorSpec, VAEDensity
from skvae.model.distributions import LatentDistribution
from skvae.model.likelihoods import LikelihoodModule
from skvae.model.priors import PriorModule


class StudentTPrior(PriorSpec):
    """Student-t distribution with ``df`` degrees of freedom, its widths learnt."""

    def __init__(self, df=5, width=1.0):
        self.df = df
        self.width = width

    def build(self, context):
        return StudentTPriorModule(self.df, self.width, context.n_components)


class StudentTPriorModule(PriorModule):
    def __init__(self, df, width, n_components):
        super().__init__()
        self.df = df
        self.log_width = nn.Parameter(torch.full((n_components,), math.log(width)))

    def forward(self):
        return StudentT(self.log_width.exp(), self.df)

    def initialise(self, start):
        """Do nothing: at the start of training, latents have standard deviation one."""


class StudentT(LatentDistribution):
    def __init__(self, width, df):
        self.width, self.df = width, df
        self.noise_dim = len(width) + df

    def rsample(self, noise):
        normal, other = noise.split([len(self.width), self.df], -1)
        z = self.width * normal / other.square().mean(-1, keepdim=True).sqrt()
        return z, self.log_prob(z)

    def log_prob(self, z):
        n, df = len(self.width), self.df
        constant = math.lgamma((df + n) / 2) - math.lgamma(df / 2)
        constant = constant - n / 2 * math.log(df * math.pi) - self.width.log().sum()
        distance = (z / self.width).square().sum(-1)
        return constant - (df + n) / 2 * torch.log1p(distance / df)

    @property
    def mean(self):
        return torch.zeros_like(self.width)

    def select(self, rows):
        return self  # the prior is the same for all rows


# %%
# A likelihood
# ------------
#
# The decoder gives the likelihood ``n_parameters`` raw numbers per column, of which the
# first ``n_linear`` are locations. The likelihood turns them into a density. This one
# is a Laplace distribution with one scale to the left and another to the right, for
# skewed columns. ``scale_floor`` is the smallest scale that the resolution of a column
# allows. Without such a floor the likelihood would be unbounded: a scale could shrink
# to zero around a single value.


class AsymmetricLaplace(LikelihoodSpec):
    """Exponential tails with a scale of their own on either side."""

    def build(self, context):
        return AsymmetricLaplaceModule(context.scale_floor)


class AsymmetricLaplaceModule(LikelihoodModule):
    n_parameters = 3  # location, log-scale to the left, log-scale to the right
    n_linear = 1

    def __init__(self, floor):
        super().__init__()
        self.register_buffer("floor", floor)

    def location_and_scales(self, raw):
        location, *log_scales = raw.unbind(-2)
        return location, *(s.clamp(max=4).exp() + self.floor for s in log_scales)

    def column_log_prob(self, x, raw):
        location, left, right = self.location_and_scales(raw)
        distance = x - location
        steps = torch.where(distance > 0, distance / right, -distance / left)
        return -steps - (left + right).log()

    def sample(self, raw, generator):
        location, left, right = self.location_and_scales(raw)
        uniform = torch.empty_like(location).uniform_(generator=generator)
        to_the_right = uniform < right / (left + right)
        steps = torch.empty_like(location).exponential_(generator=generator)
        return location + steps * torch.where(to_the_right, right, -left)

    def mean(self, raw):
        location, left, right = self.location_and_scales(raw)
        return location + right - left

    def initialise(self, start):
        log_scale = (start.residual_scale / math.sqrt(2)).log()
        offset = torch.stack([start.decoder_bias, log_scale, log_scale])
        return start.decoder_weight[None], offset


# %%
# An objective
# ------------
#
# An objective is a spec without a module. It says how many latents to draw for a row,
# and turns their importance weights w into the bound that training maximises. Rényi's
# bound of order α lies between the ELBO (α → 1) and the importance-weighted bound
# (α = 0) [1]_.
#
# .. [1] Y. Li and R. E. Turner, 2016. Rényi divergence variational inference.


class RenyiBound(ObjectiveSpec):
    r"""1 / (1 − α) · log mean w^(1 − α)."""

    def __init__(self, order=0.5, n_samples=4):
        self.order = order
        self.n_samples = n_samples

    def n_draws(self, progress):
        return self.n_samples

    def bound(self, draw, progress):
        power = 1 - self.order
        log_sum = (power * draw.log_w).logsumexp(0)
        return (log_sum - math.log(self.n_samples)) / power


# %%
# Are they better?
# ----------------
#
# There are two tables. The first has 569 tumours and ten columns, standard errors of
# measurements, which are all skewed with heavy tails. The second has 442 patients and
# ten columns, most of which are not. Half of the rows are held out.
#
# The plain model has a normal prior, a Gaussian likelihood and the ELBO. Each other
# model replaces one of these components, and the last one all three. Two models are
# compared on the same held-out rows, so the error of their difference is that of paired
# differences.
#
# This is an example and no benchmark: one split, one seed, small networks and a short
# training. The Rényi bound also costs more than the ELBO, because it has four draws per
# row instead of one.

PLAIN = {
    "n_components": 4,
    "prior": "normal",
    "likelihood": "gaussian",
    "objective": "elbo",
    "background": None,
    "hidden_layer_sizes": (32, 32),
    "marginal_transform": None,
    "max_iter": 150,
    "evidence_tol": 0.1,
    "random_state": 0,
}
OWN = {
    "Student-t prior": {"prior": StudentTPrior()},
    "asymmetric Laplace": {"likelihood": AsymmetricLaplace()},
    "Rényi bound": {"objective": RenyiBound()},
}
OWN["all three"] = {name: part for own in OWN.values() for name, part in own.items()}


def tables():
    return {
        "breast cancer, ten skewed columns": load_breast_cancer().data[:, 10:20],
        "diabetes": load_diabetes(scaled=False).data,
    }


def gains(table):
    """Return what each own component adds to held-out log-densities, row by row."""
    X, X_test = train_test_split(table, test_size=0.5, random_state=0)
    plain = VAEDensity(**PLAIN).fit(X).score_samples(X_test)
    return {
        name: VAEDensity(**{**PLAIN, **own}).fit(X).score_samples(X_test) - plain
        for name, own in OWN.items()
    }


def draw(gains_of_tables, path):
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True, sharex=True)
    for axis, (title, found) in zip(axes, gains_of_tables.items(), strict=True):
        for height, (name, gain) in enumerate(found.items()):
            mean, error = gain.mean(), gain.std() / math.sqrt(len(gain))
            print(f"{title}: {name} {mean:+.3f} ± {error:.3f} nats per row")
            axis.errorbar(mean, -height, xerr=2 * error, fmt="o", color="C0")
        axis.axvline(0, color="0.6", linewidth=1)
        axis.margins(y=0.15)
        axis.set_yticks(-np.arange(len(found)), list(found))
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("gain in held-out log-density, nats per row (± 2 se)")
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    print(f"Figure: {path}")


# %%
# Nested parameters
# -----------------
#
# A grid search can vary every parameter of a spec's ``__init__``.


def search(table):
    """Return a search over the prior's degrees of freedom, fitted."""
    density = VAEDensity(**{**PLAIN, "prior": StudentTPrior(), "max_iter": 30})
    return GridSearchCV(density, {"prior__df": [2, 5, 30]}, cv=2).fit(table)


# %%
# Pickles
# -------
#
# A pickle holds the *name* of a class, not its code. A class that a script or a
# notebook defines is called ``__main__.StudentTPrior``, and another program that opens
# the pickle has no class of that name. Therefore keep components in a file that can be
# imported, like this one, and import them from it. This file does so itself: its last
# lines import it and run the ``main`` of the imported module, whose classes are called
# ``plot_own_components.StudentTPrior``. If you cannot import them from a file,
# ``cloudpickle.dumps(density)`` stores the code, too.


def main(path):
    draw({title: gains(table) for title, table in tables().items()}, path)
    table = tables()["diabetes"]
    found = search(table)
    print("Best degrees of freedom:", found.best_params_["prior__df"])
    stored = pickle.dumps(found.best_estimator_)
    assert b"plot_own_components" in stored
    opened = pickle.loads(stored)
    assert opened.score(table) == found.best_estimator_.score(table)


if __name__ == "__main__":
    # The imported main, not the one of __main__: see "Pickles" above.
    from plot_own_components import main

    default_path = Path(tempfile.gettempdir()) / "skvae-own-components.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default_path)
