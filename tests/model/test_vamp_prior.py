"""The prior that is made of the encoder."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from skvae.model import VAE, BuildContext
from skvae.model.distributions import CholeskyGaussian, MixtureOverRows
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.posteriors import FullPosterior, PosteriorSpec
from skvae.model.priors import VampPrior
from skvae.model.spec import registered
from skvae.training import linear_start

K, B, C, D, L = 6, 5, 4, 3, 2

MakeContext = Callable[..., BuildContext]
Perturb = Callable[..., nn.Module]

every_posterior = pytest.mark.parametrize("spec", registered(PosteriorSpec).values())


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@every_posterior
def test_with_one_pseudo_input_it_is_the_posterior_there(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    context = make_context()
    encoder = perturb(spec().build(context)).double()
    prior = VampPrior(n_pseudo_inputs=1).build(context).double()
    prior.connect(encoder)
    p, q = prior(), encoder(prior.pseudo_inputs)
    noise = normal(K, B, p.noise_dim)
    z, log_p = p.rsample(noise)
    expected, log_q = q.rsample(noise[..., :-1].reshape(K * B, 1, -1))
    torch.testing.assert_close(z, expected.view(K, B, L))
    torch.testing.assert_close(log_p, log_q.view(K, B))
    torch.testing.assert_close(p.mean, q.mean[0])


@every_posterior
def test_it_is_the_weighted_mean_of_the_encoders_densities(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    context = make_context()
    encoder = perturb(spec().build(context)).double()
    prior = perturb(VampPrior(n_pseudo_inputs=C).build(context), seed=2).double()
    prior.connect(encoder)
    z, weight = normal(K, B, L), prior.logit.softmax(0)
    expected = torch.zeros(K, B, dtype=torch.float64)
    for number in range(C):
        q = encoder(prior.pseudo_inputs[number : number + 1])
        of_one = q.log_prob(z.reshape(K * B, 1, L)).view(K, B)
        expected = expected + weight[number] * of_one.exp()
    torch.testing.assert_close(prior().log_prob(z).exp(), expected)


def test_mixture_over_rows_equals_the_twin() -> None:
    log_weight = normal(C, seed=1).log_softmax(0)
    means, diagonal = normal(C, L, seed=2), normal(C, L, seed=4).exp()
    tril = normal(C, L, L, seed=3).tril(-1) + diagonal.diag_embed()
    ours = MixtureOverRows(log_weight, CholeskyGaussian(means, tril))
    twin = MixtureSameFamily(
        Categorical(logits=log_weight), MultivariateNormal(means, scale_tril=tril)
    )
    z = 2 * normal(K, B, L)
    torch.testing.assert_close(ours.log_prob(z), twin.log_prob(z))
    torch.testing.assert_close(ours.mean, twin.mean)


def test_mixture_over_rows_draws_rows_by_their_weights() -> None:
    """Chi-square statistic of four rows; false-alarm rate 1e-4."""
    log_weight = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
    means = torch.arange(4, dtype=torch.float64)[:, None] * 100
    parts = CholeskyGaussian(means, torch.ones(4, 1, 1, dtype=torch.float64))
    n_draws = 20_000
    z, _ = MixtureOverRows(log_weight, parts).rsample(normal(n_draws, 1, 2))
    count = torch.bincount((z[:, 0, 0] / 100).round().long(), minlength=4)
    expected = n_draws * log_weight.exp()
    assert ((count - expected).square() / expected).sum() < 21.1


@pytest.fixture
def vae(make_vae: Callable[..., VAE]) -> VAE:
    return make_vae(VampPrior(n_pseudo_inputs=C), FullPosterior(), GaussianLikelihood())


def test_encoder_is_registered_once(vae: VAE) -> None:
    names = [name for name, _ in vae.named_parameters()]
    assert {n for n in names if n.startswith("prior")} == {
        "prior.logit",
        "prior.pseudo_inputs",
    }
    assert set(vae.prior.state_dict()) == {"logit", "pseudo_inputs"}


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_a_copys_prior_is_made_of_the_copys_encoder(
    duplicate: Callable[[VAE], VAE], vae: VAE, perturb: Perturb
) -> None:
    z = normal(K, B, L).float()
    before = vae.prior().log_prob(z)
    twin = duplicate(vae)
    assert torch.equal(twin.prior().log_prob(z), before)
    perturb(twin.posterior)
    assert not torch.equal(twin.prior().log_prob(z), before)
    assert torch.equal(vae.prior().log_prob(z), before)


def test_prior_follows_its_encoder_to_another_dtype(vae: VAE) -> None:
    z = normal(K, B, L)
    single = vae.prior().log_prob(z.float())
    double = vae.double().prior().log_prob(z)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_encoder_through_the_prior(vae: VAE) -> None:
    vae.prior().log_prob(normal(K, B, L).float()).sum().backward()
    assert vae.posterior.network.skip.grad.abs().max() > 0


def test_without_an_encoder_it_says_so(make_context: MakeContext) -> None:
    prior = VampPrior().build(make_context())
    with pytest.raises(RuntimeError, match="connected to an encoder"):
        prior()


@pytest.mark.parametrize("number", [0, -1, 2.5, "many", True])
def test_other_numbers_of_pseudo_inputs_are_refused(
    number: object, make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=r"n_pseudo_inputs of VampPrior.*'auto'"):
        VampPrior(n_pseudo_inputs=number).build(make_context())


@pytest.mark.parametrize(("n_rows", "expected"), [(5, 1), (200, 10), (10**6, 128)])
def test_default_number_of_pseudo_inputs_goes_by_rows(
    n_rows: int, expected: int, make_context: MakeContext
) -> None:
    prior = VampPrior().build(make_context(n_rows=n_rows))
    assert prior.pseudo_inputs.shape == (expected, D)


def test_pseudo_inputs_start_at_rows_of_all_clusters(make_context: MakeContext) -> None:
    """Four far clusters of unequal size: one row of each, weighted by its size."""
    sizes = [100, 50, 30, 20]
    centres = 10 * torch.eye(4, D, dtype=torch.float64)
    x = torch.cat([c + 0.1 * normal(n, D) for c, n in zip(centres, sizes, strict=True)])
    weight = torch.ones(len(x), dtype=torch.float64)
    start = linear_start(
        x, weight, L + 1, torch.full((D,), 1e-3), torch.Generator().manual_seed(0)
    )
    prior = VampPrior(n_pseudo_inputs=4).build(make_context()).double()
    prior.initialise(start)
    chosen = prior.pseudo_inputs
    assert (torch.cdist(chosen, x).amin(1) == 0).all()
    nearest = torch.cdist(chosen, centres).argmin(1)
    assert sorted(nearest.tolist()) == [0, 1, 2, 3]
    share = (torch.tensor(sizes).double() / sum(sizes) + 0.1 / 4) / 1.1
    # The latents' noise carries a row or two to another cluster.
    torch.testing.assert_close(
        prior.logit.softmax(0), share[nearest], rtol=0, atol=0.02
    )
