"""Columns of a row that have no density: all densities are conditional on them."""

import itertools

import pytest
import torch
from torch import Tensor

from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.decoders import DecoderSpec, MLPDecoder
from skvae.model.features import ColumnKind
from skvae.model.likelihoods import GaussianLikelihood, LikelihoodSpec
from skvae.model.posteriors import DiagonalPosterior, FullPosterior
from skvae.model.priors import NormalPrior
from skvae.model.spec import registered

K, B, D, L = 4, 6, 3, 2
GIVEN = (ColumnKind(), ColumnKind("category", 3))
N_GIVEN = 4  # features

independent_decoders = pytest.mark.parametrize(
    "spec",
    [spec for spec in registered(DecoderSpec).values() if not spec.autoregressive],
)
every_decoder = pytest.mark.parametrize("spec", registered(DecoderSpec).values())
real_likelihoods = pytest.mark.parametrize(
    "likelihood",
    [spec for spec in registered(LikelihoodSpec).values() if spec.support == "real"],
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def context() -> BuildContext:
    return BuildContext(
        n_features=D,
        n_components=L,
        n_rows=100,
        hidden_layer_sizes=(8,),
        dropout=0.0,
        scale_floor=torch.full((D,), 0.01),
        column_scale=torch.ones(D),
        generator=torch.Generator().manual_seed(0),
        kinds=(ColumnKind(),) * D + GIVEN,
    )


def rows() -> Tensor:
    codes = torch.tensor([0, 1, 2, 0, 1, 2], dtype=torch.float64)
    return torch.cat([normal(B, D + 1, seed=1), codes[:, None]], 1)


def start() -> LinearStart:
    n_features = D + N_GIVEN
    tril = torch.tensor([[0.5, 0.0], [0.2, 0.4]], dtype=torch.float64)
    identity = torch.eye(N_GIVEN, dtype=torch.float64)
    return LinearStart(
        encoder_weight=normal(L, n_features, seed=2),
        encoder_bias=normal(L, seed=3),
        encoder_tril=tril,
        decoder_weight=torch.cat([normal(D, L, seed=4), torch.zeros(N_GIVEN, L)]),
        decoder_bias=torch.cat([normal(D, seed=5), torch.zeros(N_GIVEN)]),
        residual_scale=torch.linspace(0.5, 1.5, n_features, dtype=torch.float64),
        features=normal(50, n_features, seed=6),
        z=normal(50, L, seed=7),
        sample_weight=torch.ones(50, dtype=torch.float64),
        given_weight=torch.cat([normal(D, N_GIVEN, seed=8), identity]),
    )


@independent_decoders
def test_decoder_starts_at_the_linear_map_of_latents_and_given_features(
    spec: type[DecoderSpec],
) -> None:
    module = spec().build(context(), n_parameters=4, n_linear=2).double()
    slope, offset = normal(2, D, L + N_GIVEN, seed=5), normal(4, D, seed=6)
    module.initialise(slope, offset)
    z, features = normal(K, B, L), normal(B, D + N_GIVEN, seed=9)
    inputs = torch.cat([z, features[:, D:].expand(K, -1, -1)], -1)
    expected = offset.repeat(K, B, 1, 1)
    expected[:, :, :2] += torch.einsum("pdl,kbl->kbpd", slope, inputs)
    torch.testing.assert_close(module(z, features), expected)


@every_decoder
def test_means_start_at_the_decoders_regression(spec: type[DecoderSpec]) -> None:
    vae = VAE.build(
        context(), NormalPrior(), FullPosterior(), spec(), GaussianLikelihood()
    ).double()
    begin = start()
    vae.initialise(begin)
    linear = vae.decoder.regress(begin)
    expected = (linear.z @ linear.decoder_weight.T + linear.decoder_bias)[:, :D]
    mean = vae.likelihood.mean(vae.decoder(begin.z[None], begin.features))[0]
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-5)


@real_likelihoods
@independent_decoders
def test_decoded_mean_starts_at_the_linear_model(
    spec: type[DecoderSpec], likelihood: type[LikelihoodSpec]
) -> None:
    vae = VAE.build(
        context(), NormalPrior(), FullPosterior(), spec(), likelihood()
    ).double()
    vae.initialise(start())
    z, given = normal(B, L), rows()[:, D:]
    g = vae.features(rows())[:, D:]
    begin = start()
    expected = (
        z @ begin.decoder_weight[:D].T
        + g @ begin.given_weight[:D].T
        + begin.decoder_bias[:D]
    )
    # Likelihoods pass their offsets on in single precision.
    torch.testing.assert_close(vae.decode(z, given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("posterior", [DiagonalPosterior, FullPosterior])
def test_encoder_starts_at_the_linear_map_of_all_features(posterior: type) -> None:
    vae = VAE.build(
        context(), NormalPrior(), posterior(), MLPDecoder(), GaussianLikelihood()
    ).double()
    begin = start()
    vae.initialise(begin)
    features = vae.features(rows())
    expected = features @ begin.encoder_weight.T + begin.encoder_bias
    torch.testing.assert_close(vae.embed(rows()), expected)


@every_decoder
def test_likelihood_depends_on_the_given_columns(spec: type[DecoderSpec]) -> None:
    vae = VAE.build(
        context(), NormalPrior(), FullPosterior(), spec(), GaussianLikelihood()
    ).double()
    vae.initialise(start())
    z, x = normal(K, B, L), rows()
    for column, value in itertools.product((D, D + 1), (0.0, 2.0)):
        moved = x.clone()
        moved[:, column] = value
        same = (moved == x).all(1)
        change = (vae.log_joint(moved, z) - vae.log_joint(x, z)).abs()
        assert (change[:, same] == 0).all()
        assert (change[:, ~same] > 1e-6).all()


def test_a_start_without_given_features_is_the_decoders_own() -> None:
    begin = start()
    plain = LinearStart(**{**vars(begin), "given_weight": None})
    assert plain.with_given_inputs() is plain
    part = begin.of_features(torch.tensor([0, 2]))
    torch.testing.assert_close(part.given_weight, begin.given_weight[[0, 2]])


def test_given_features_become_latents_of_the_decoders_start() -> None:
    begin = start()
    seen = begin.with_given_inputs()
    model = seen.z @ seen.decoder_weight.T + seen.decoder_bias
    given = begin.features[:, D:]
    expected = (
        begin.z @ begin.decoder_weight.T
        + given @ begin.given_weight.T
        + begin.decoder_bias
    )
    torch.testing.assert_close(model, expected)
    # A given feature is decoded as itself.
    torch.testing.assert_close(model[:, D:], given)
