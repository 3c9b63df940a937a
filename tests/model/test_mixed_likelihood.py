"""Columns of several kinds in one table, each with the module of its likelihood."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from skvae.model import VAE, BuildContext
from skvae.model.backgrounds import MixedBackground
from skvae.model.decoders import MLPDecoder
from skvae.model.features import ColumnKind
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    GaussianLikelihood,
    LikelihoodSpec,
    MixedLikelihood,
    MixtureLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from skvae.model.posteriors import FullPosterior
from skvae.model.priors import NormalPrior
from skvae.training import linear_start

K, B, L = 4, 40, 2
KINDS = (
    ColumnKind("category", n_values=3),
    ColumnKind("real"),
    ColumnKind("count", center=0.8, scale=0.6),
    ColumnKind("binary"),
    ColumnKind("real"),
    ColumnKind("category", n_values=2),
    ColumnKind("count", center=1.0, scale=0.5),
)
D = len(KINDS)
NAMES = ("colour", "height", "visits", "member", "weight", "side", "calls")
BY_KIND = {
    "real": MixtureLikelihood,
    "binary": BernoulliLikelihood,
    "count": NegativeBinomialLikelihood,
    "category": CategoricalLikelihood,
}

MakeContext = Callable[..., BuildContext]


@pytest.fixture
def context(make_context: MakeContext) -> BuildContext:
    return replace(make_context(n_features=D), kinds=KINDS, names=NAMES)


def normal(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def table(n_rows: int = B) -> Tensor:
    number = normal(n_rows, D)
    number = number + number[:, :1]
    columns = [
        {
            "real": column,
            "binary": (column > 0).double(),
            "count": (2 * (0.5 * column).exp()).floor(),
            "category": (column.sigmoid() * max(kind.n_values, 1)).floor(),
        }[kind.support]
        for column, kind in zip(number.T, KINDS, strict=True)
    ]
    return torch.stack(columns, 1)


def spec_of(spec: MixedLikelihood, j: int) -> LikelihoodSpec:
    chosen = {} if spec.columns is None else dict(spec.columns)
    value = chosen.get(NAMES[j], chosen.get(j, BY_KIND[KINDS[j].support]()))
    return PoissonLikelihood() if value == "poisson" else value


EXAMPLES = [
    MixedLikelihood(),
    MixedLikelihood({"calls": "poisson", 1: StudentTLikelihood(df=5)}),
    MixedLikelihood({"height": GaussianLikelihood(), "weight": GaussianLikelihood()}),
]
every_example = pytest.mark.parametrize("spec", EXAMPLES, ids=repr)


def started(spec: MixedLikelihood, context: BuildContext) -> tuple[VAE, Tensor]:
    """Return a VAE at its linear start, and the rows that it was started from."""
    x = table()
    vae = VAE.build(
        context, NormalPrior(), FullPosterior(), MLPDecoder(), spec, MixedBackground()
    ).double()
    features = vae.features(x)
    vae.initialise(
        linear_start(
            features,
            torch.ones(len(x), dtype=torch.float64),
            L,
            torch.full((features.shape[1],), 0.01),
            torch.Generator().manual_seed(0),
        )
    )
    vae.background.initialise(x, torch.ones(len(x)))
    return vae, x


@every_example
def test_cells_are_those_of_each_columns_own_likelihood(
    spec: MixedLikelihood, context: BuildContext
) -> None:
    """Of a column alone, started at the features of that column alone."""
    vae, x = started(spec, context)
    z = normal(K, B, L)
    with torch.no_grad():
        raw = vae.raw(x, z)
        cells = vae.likelihood.column_log_prob(x, raw)
        means = vae.likelihood.mean(raw)
        assert vae.log_likelihood(x, z).shape == (K, B)
        torch.testing.assert_close(vae.log_likelihood(x, z), cells.sum(-1))
    features = vae.features(x)
    owner = vae.features.owner
    start = linear_start(
        features,
        torch.ones(B, dtype=torch.float64),
        L,
        torch.full((features.shape[1],), 0.01),
        torch.Generator().manual_seed(0),
    )
    for j in range(D):
        module = spec_of(spec, j).build(context.of_columns([j])).double()
        own_start = start.of_features((owner == j).nonzero().squeeze(1))
        slope, offset = module.initialise(own_start)
        own_raw = offset.double().repeat(K, B, 1, 1)
        own_raw[:, :, : module.n_linear] += torch.einsum("pdl,kbl->kbpd", slope, z)
        expected = module.column_log_prob(x[:, j : j + 1], own_raw)[..., 0]
        torch.testing.assert_close(cells[..., j], expected, rtol=1e-5, atol=1e-5)
        mean = module.mean(own_raw)[..., 0]
        torch.testing.assert_close(means[..., j], mean, rtol=1e-5, atol=1e-5)


@every_example
def test_samples_are_in_the_support(
    spec: MixedLikelihood, context: BuildContext
) -> None:
    vae, _ = started(spec, context)
    with torch.no_grad():
        before = torch.get_rng_state()
        rows, same = (
            vae.generate(2000, torch.Generator().manual_seed(1)) for _ in range(2)
        )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(rows, same)
    for column, kind in zip(rows.T, KINDS, strict=True):
        if kind.support == "real":
            assert (column != column.floor()).float().mean() > 0.99
            continue
        assert torch.equal(column, column.floor().clamp(min=0))
        n_values = {"binary": 2, "category": kind.n_values}.get(kind.support)
        if n_values is not None:
            assert set(column.tolist()) == set(range(n_values))


def test_hidden_cells_of_any_kind_change_nothing(context: BuildContext) -> None:
    vae, x = started(MixedLikelihood(), context)
    z = normal(K, B, L)
    with torch.no_grad():
        raw = vae.raw(x, z)
        cells = vae.likelihood.column_log_prob(x, raw)
        for j in range(D):
            observed = torch.ones(B, D, dtype=torch.bool)
            observed[:, j] = False
            spoilt = x.where(observed, torch.nan)
            ours = vae.likelihood.log_prob(spoilt, raw, observed)
            torch.testing.assert_close(ours, cells.sum(-1) - cells[..., j])


def test_gradient_reaches_every_parameter(
    context: BuildContext, perturb: Callable[..., nn.Module]
) -> None:
    spec = MixedLikelihood({"height": StudentTLikelihood(), "calls": "poisson"})
    vae, x = started(spec, context)
    perturb(vae)
    noise = normal(K, B, vae.encode(x).noise_dim)
    vae.draw(x, noise).log_w.mean().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_locations_alone_extrapolate(context: BuildContext) -> None:
    """A scale never lands among the locations of a column with more of them."""
    module = MixedLikelihood(
        {"height": GaussianLikelihood(), "colour": "categorical"}
    ).build(context)
    n_linear = max(part.n_linear for part in module.parts)
    assert module.n_linear == n_linear
    raw = torch.zeros(1, module.n_parameters, D)
    raw[:, 1:n_linear] = 50.0
    gaussian = next(p for p in module.parts if p.n_parameters == 2 and p.n_linear == 1)
    assert (module._raw_of(gaussian, torch.tensor([1]), raw) == 0).all()


def test_equal_choices_are_one_group(context: BuildContext) -> None:
    spec = MixedLikelihood({"visits": "poisson", "calls": "poisson"})
    module = spec.build(context)
    assert sorted(module.sizes) == [1, 2, 2, 2]


def test_floor_share_is_nan_where_there_is_no_floor(context: BuildContext) -> None:
    module = MixedLikelihood().build(context)
    share = module.floor_share(torch.zeros(B, module.n_parameters, D), 2.0)
    real = torch.tensor([kind.support == "real" for kind in KINDS])
    assert torch.equal(share.isnan(), ~real.expand(B, -1))
    all_discrete = context.of_columns([0, 3])
    shares = MixedLikelihood().build(all_discrete).floor_share(raw_of(all_discrete), 2)
    assert shares.isnan().all()


def raw_of(context: BuildContext) -> Tensor:
    module = MixedLikelihood().build(context)
    return torch.zeros(B, module.n_parameters, context.n_features)


def test_saved_weights_open_in_another_module(context: BuildContext) -> None:
    (one, x), spec = started(MixedLikelihood(), context), MixedLikelihood()
    other = spec.build(context).double()
    other.load_state_dict(one.likelihood.state_dict())
    raw = normal(K, B, other.n_parameters, D)
    assert torch.equal(other.log_prob(x, raw), one.likelihood.log_prob(x, raw))


def test_supports_are_what_the_likelihoods_are_for() -> None:
    def natural(j: int) -> str:
        return KINDS[j].support

    spec = MixedLikelihood({"visits": "gaussian", 3: "categorical"})
    assert spec.supports(NAMES, natural) == (
        *("category", "real", "real", "category"),
        *("real", "category", "count"),
    )
    assert PoissonLikelihood().supports(NAMES, natural) == ("count",) * D


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"age": "poisson"}, ValueError, r"'age', which is no column.*'colour'"),
        ({7: "poisson"}, ValueError, "7, which is no column.*below 7"),
        ({-1: "poisson"}, ValueError, "-1, which is no column"),
        ({True: "poisson"}, ValueError, "True, which is no column"),
        ({"visits": "poisson", 2: "poisson"}, ValueError, "column 2 twice"),
        ({"visits": "zipf"}, ValueError, "likelihood='zipf' is unknown"),
        ({"visits": 3}, TypeError, "likelihood must be"),
        (["poisson"], TypeError, "must be a dict or None"),
    ],
)
def test_wrong_columns_are_refused(
    columns: object, error: type[Exception], message: str, context: BuildContext
) -> None:
    with pytest.raises(error, match=message):
        MixedLikelihood(columns).build(context)
