"""Specs are scikit-learn parameter objects, and a user's own are as good as ours."""

import gc
import math
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from sklearn.base import clone
from torch import Tensor, nn

from skvae import VAEDensity
from skvae.model import BuildContext, LatentDraw, LinearStart
from skvae.model.backgrounds import BackgroundModule, BackgroundSpec
from skvae.model.decoders import DecoderSpec, MLPDecoder
from skvae.model.distributions import DiagonalGaussian
from skvae.model.likelihoods import (
    GaussianLikelihood,
    LikelihoodModule,
    LikelihoodSpec,
    MixtureLikelihood,
)
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import MixturePrior, PriorModule, PriorSpec
from skvae.model.spec import ComponentSpec, registered, resolve
from skvae.training.objectives import IWAE, ObjectiveSpec
from tests.pairs import covering

COMBINED = [PriorSpec, PosteriorSpec, DecoderSpec, LikelihoodSpec, ObjectiveSpec]
FAMILIES = [*COMBINED, BackgroundSpec]
VARIANTS = [spec for family in FAMILIES for spec in registered(family).values()]
every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_family = pytest.mark.parametrize("family", FAMILIES)

TINY = {
    "companion": None,
    "n_components": 2,
    "hidden_layer_sizes": (4,),
    "marginal_transform": None,
    "max_iter": 2,
    "n_importance_samples": 4,
    "max_evidence_samples": 4,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def real_table() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3))


@pytest.fixture(scope="module")
def tables(real_table: np.ndarray) -> dict[str, np.ndarray]:
    """Return a table for every kind of column."""
    return {
        "real": real_table,
        "binary": (real_table > 0).astype(float),
        "count": np.floor(np.exp(real_table.clip(max=3))),
        "category": np.digitize(real_table, [-1, 0, 1]) - 1.5,
    }


class ShiftedPriorModule(PriorModule):
    """N(shift, I), the shift learnt."""

    def __init__(self, shift: float, n_components: int) -> None:
        super().__init__()
        self.location = nn.Parameter(torch.full((n_components,), shift))

    def forward(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.location, torch.ones_like(self.location))

    def initialise(self, start: LinearStart) -> None:
        pass


class ShiftedPrior(PriorSpec):
    """A user's prior."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def build(self, context: BuildContext) -> ShiftedPriorModule:
        return ShiftedPriorModule(self.shift, context.n_components)


class LaplaceModule(LikelihoodModule):
    """Location and log-scale per column."""

    n_parameters = 2
    n_linear = 1

    def __init__(self, floor: Tensor) -> None:
        super().__init__()
        self.register_buffer("floor", floor)

    def _scale(self, raw: Tensor) -> Tensor:
        return raw[..., 1, :].exp() + self.floor

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        scale = self._scale(raw)
        return -(x - raw[..., 0, :]).abs() / scale - (2 * scale).log()

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        exponential = torch.empty(2, *raw[..., 0, :].shape, dtype=raw.dtype)
        one, other = exponential.exponential_(generator=generator)
        return raw[..., 0, :] + self._scale(raw) * (one - other)

    def mean(self, raw: Tensor) -> Tensor:
        return raw[..., 0, :]

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        log_scale = (start.residual_scale / math.sqrt(2)).log()
        return start.decoder_weight[None], torch.stack([start.decoder_bias, log_scale])


class LaplaceLikelihood(LikelihoodSpec):
    """A user's likelihood."""

    support: ClassVar = "real"

    def build(self, context: BuildContext) -> LaplaceModule:
        return LaplaceModule(context.scale_floor)


class TemperedBound(ObjectiveSpec):
    """A user's objective: Rényi's bound of order α."""

    def __init__(self, alpha: float = 0.5, n_samples: int = 2) -> None:
        self.alpha = alpha
        self.n_samples = n_samples

    def n_draws(self, progress: float) -> int:
        return self.n_samples

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        order = 1 - self.alpha
        log_mean = (order * draw.log_w).logsumexp(0) - math.log(len(draw.log_w))
        return log_mean / order


class NormalBackgroundModule(BackgroundModule):
    """N(0, scale² I)."""

    scale: Tensor

    def __init__(self, weight: float, scale: Tensor) -> None:
        super().__init__(weight)
        self.register_buffer("scale", scale)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(0.0, self.scale).log_prob(x).sum(-1)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        like = self.scale.new_empty(n_samples, len(self.scale))
        return self.scale * like.normal_(generator=generator)

    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        pass


class NormalBackground(BackgroundSpec):
    """A user's background."""

    def __init__(self, weight: float = 0.1, scale: float = 5.0) -> None:
        self.weight = weight
        self.scale = scale

    def build(self, context: BuildContext) -> NormalBackgroundModule:
        scale = torch.full((context.n_features,), self.scale)
        return NormalBackgroundModule(self.checked_weight(), scale)


USERS_OWN = {
    "prior": ShiftedPrior(shift=0.25),
    "likelihood": LaplaceLikelihood(),
    "objective": TemperedBound(alpha=0.3),
    "background": NormalBackground(scale=4.0),
}
every_own = pytest.mark.parametrize("name", USERS_OWN)


@every_variant
def test_clone_has_equal_parameters_and_is_another_object(
    variant: type[ComponentSpec],
) -> None:
    spec = variant()
    copy = clone(spec)
    assert copy is not spec
    assert type(copy) is variant
    assert copy.get_params() == spec.get_params()


@every_variant
def test_pickle_keeps_type_and_parameters(variant: type[ComponentSpec]) -> None:
    copy = pickle.loads(pickle.dumps(variant()))
    assert type(copy) is variant
    assert copy.get_params() == variant().get_params()


@every_variant
def test_repr_is_the_call_that_makes_it(variant: type[ComponentSpec]) -> None:
    assert repr(variant()) == f"{variant.__name__}()"


@every_variant
def test_alias_stands_for_the_spec_with_its_defaults(
    variant: type[ComponentSpec],
) -> None:
    family = variant.__mro__[1]
    assert type(resolve(variant.alias, family)) is variant
    assert registered(family)[variant.alias] is variant


@every_family
def test_unknown_alias_is_refused_with_the_list_of_known_ones(family: type) -> None:
    with pytest.raises(ValueError, match=f"{family.family}='nonsense'") as caught:
        resolve("nonsense", family)
    for alias in registered(family):
        assert repr(alias) in str(caught.value)


@every_family
def test_other_objects_are_refused(family: type) -> None:
    for value in (3, None, IWAE if family is PriorSpec else MixturePrior):
        with pytest.raises(TypeError, match=family.family):
            resolve(value, family)


def test_spec_of_another_family_is_refused() -> None:
    with pytest.raises(TypeError, match="prior must be"):
        resolve(GaussianLikelihood(), PriorSpec)


def test_repr_shows_changed_parameters() -> None:
    assert repr(MixturePrior(n_modes=8)) == "MixturePrior(n_modes=8)"


def test_nested_parameters_are_set_through_the_estimator() -> None:
    density = VAEDensity(
        prior=MixturePrior(),
        likelihood=MixtureLikelihood(),
        decoder=MLPDecoder(),
        objective=IWAE(),
    )
    density.set_params(
        prior__n_modes=3,
        likelihood__n_modes=2,
        decoder__hidden_layer_sizes=(5,),
        objective__n_samples=4,
    )
    assert density.prior.n_modes == 3
    assert density.get_params()["likelihood__n_modes"] == 2
    assert density.decoder.hidden_layer_sizes == (5,)
    assert density.objective.n_samples == 4


def test_fit_uses_nested_parameters_and_leaves_the_specs_alone(
    real_table: np.ndarray,
) -> None:
    prior = MixturePrior(n_modes=3)
    density = VAEDensity(prior=prior, **TINY).fit(real_table)
    assert density.model_.prior.means.shape == (3, 2)
    assert density.prior is prior
    assert density.prior_ is not prior
    assert density.prior_.get_params() == prior.get_params()
    assert set(vars(prior)) == {"n_modes"}


@pytest.mark.parametrize(
    ("prior", "posterior", "decoder", "likelihood", "objective"),
    covering([list(registered(family)) for family in COMBINED]),
)
def test_every_pair_of_components_fits_and_scores(
    prior: str,
    posterior: str,
    decoder: str,
    likelihood: str,
    objective: str,
    tables: dict[str, np.ndarray],
) -> None:
    table = tables[registered(LikelihoodSpec)[likelihood].support]
    density = VAEDensity(
        prior=prior,
        posterior=posterior,
        decoder=decoder,
        likelihood=likelihood,
        objective=objective,
        **TINY,
    ).fit(table)
    assert np.isfinite(density.score_samples(table[:10])).all()
    assert np.isfinite(density.sample(5, random_state=0)).all()
    assert density.transform(table).shape == (40, 1 if prior == "codebook" else 2)


@every_own
def test_users_own_spec_fits_scores_and_samples(
    name: str, real_table: np.ndarray
) -> None:
    density = VAEDensity(**{name: USERS_OWN[name]}, **TINY).fit(real_table)
    assert type(getattr(density, f"{name}_")) is type(USERS_OWN[name])
    assert np.isfinite(density.score_samples(real_table)).all()
    assert density.sample(5, random_state=0).shape == (5, 3)


@every_own
def test_users_own_spec_survives_clone_and_pickle(
    name: str, real_table: np.ndarray
) -> None:
    density = VAEDensity(**{name: USERS_OWN[name]}, **TINY)
    copy = clone(density)
    assert getattr(copy, name).get_params() == USERS_OWN[name].get_params()
    fitted = copy.fit(real_table)
    opened = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        opened.score_samples(real_table), fitted.score_samples(real_table)
    )


def test_users_own_parameters_are_nested_parameters(real_table: np.ndarray) -> None:
    density = VAEDensity(prior=ShiftedPrior(), **TINY)
    density.set_params(prior__shift=0.5).fit(real_table)
    assert density.prior_.shift == 0.5


def test_users_own_spec_without_alias_is_not_registered() -> None:
    assert ShiftedPrior not in registered(PriorSpec).values()


@pytest.mark.filterwarnings("ignore:The log-density of:UserWarning")
def test_users_own_density_integrates_to_one(real_table: np.ndarray) -> None:
    """Of a user's likelihood on one column, to 1 %."""
    density = VAEDensity(
        **{**TINY, "n_importance_samples": 64, "max_evidence_samples": 1024},
        likelihood=LaplaceLikelihood(),
        evidence_tol=0.02,
    ).fit(real_table[:, :1])
    grid = np.linspace(-40, 40, 801)
    total = trapezoid(np.exp(density.score_samples(grid[:, None])), grid)
    assert total == pytest.approx(1, abs=0.01)


def test_alias_of_another_class_is_an_error_and_a_new_definition_is_not() -> None:
    class Impostor(PriorSpec):
        alias = "mixture"

    with pytest.raises(ValueError, match=r"Impostor has the alias 'mixture'"):
        resolve("normal", PriorSpec)
    del Impostor
    gc.collect()
    for width in (1, 2):

        class Again(PriorSpec):
            alias = "again"
            number = width

    assert registered(PriorSpec)["again"].number == 2
    del Again
    gc.collect()
    assert "again" not in registered(PriorSpec)
