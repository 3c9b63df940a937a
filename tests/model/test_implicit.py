"""The implicit posterior and its critic."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from skvae.model import VAE, BuildContext
from skvae.model.distributions import CholeskyGaussian, ImplicitDistribution
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.networks import Critic
from skvae.model.posteriors import (
    FullPosterior,
    ImplicitPosterior,
    LadderPosterior,
)
from skvae.model.priors import LadderPrior, MixturePrior

K, B, D, L = 3, 5, 3, 2

MakeContext = Callable[..., BuildContext]
Perturb = Callable[..., nn.Module]
MakeVAE = Callable[..., VAE]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def bent(make_context: MakeContext, perturb: Perturb) -> nn.Module:
    """Return an implicit posterior away from its start."""
    return perturb(ImplicitPosterior().build(make_context())).double()


def test_it_starts_as_the_full_posterior_with_its_log_density(
    make_context: MakeContext,
) -> None:
    ours = ImplicitPosterior().build(make_context()).double()
    theirs = FullPosterior().build(make_context()).double()
    theirs.load_state_dict(ours.base.state_dict())
    x = normal(B, D)
    for q in (ours(x), ours.for_training(x)):
        z, log_q = q.rsample(normal(K, B, q.noise_dim))
        torch.testing.assert_close(log_q, theirs(x).log_prob(z))


def test_estimate_is_the_contrast_and_the_critic(bent: nn.Module) -> None:
    q = bent.for_training(normal(B, D))
    z = normal(K, B, L, seed=1)
    twin = torch.distributions.MultivariateNormal(
        q.contrast.mean, scale_tril=q.contrast.tril
    )
    standard = torch.linalg.solve(q.contrast.tril, (z - q.contrast.mean)[..., None])
    ratio = bent.critic(standard.squeeze(-1), q.features)
    torch.testing.assert_close(q.log_prob(z), twin.log_prob(z) + ratio)


def test_contrast_has_the_moments_of_the_draws_where_these_are_near_linear(
    make_context: MakeContext, perturb: Perturb
) -> None:
    module = perturb(ImplicitPosterior().build(make_context()), scale=0.1).double()
    with torch.no_grad():
        q = module.for_training(normal(B, D))
        z, _ = q.rsample(normal(20_000, B, q.noise_dim))
    standard = q.contrast.standardised(z)
    # It is computed from 16 points.
    assert (standard.mean(0).abs() < 0.1).all()
    second = torch.einsum("kbi,kbj->bij", standard, standard) / len(standard)
    assert ((second - torch.eye(L)).abs() < 0.2).all()


def test_density_that_stands_for_it_has_its_moments(bent: nn.Module) -> None:
    x = normal(B, D)
    with torch.no_grad():
        stands, contrast = bent(x), bent.for_training(x).contrast
        torch.testing.assert_close(stands.mean, contrast.mean)
        z, _ = stands.rsample(normal(40_000, B, stands.noise_dim))
    standard = contrast.standardised(z)
    second = torch.einsum("kbi,kbj->bij", standard, standard) / len(standard)
    assert ((second - torch.eye(L)).abs() < 0.05).all()


def test_gradients_of_the_bound_and_of_the_critic_are_apart(bent: nn.Module) -> None:
    q = bent.for_training(normal(B, D))
    noise = normal(K, B, q.noise_dim)
    z, log_q = q.rsample(noise)
    at_fixed_latents = q.log_prob(z.detach())
    assert not at_fixed_latents.requires_grad
    log_q.sum().backward(retain_graph=True)
    for name, parameter in bent.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached != name.startswith("critic."), name
    bent.zero_grad()
    q.critic_loss(z, noise).backward()
    for name, parameter in bent.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached == name.startswith("critic."), name


def test_fitted_critic_is_the_log_ratio_of_the_densities() -> None:
    """Of N(m(x), s²) and N(0, 1): a closed form that its linear part can have."""
    critic = Critic(1, 1, (), torch.Generator().manual_seed(0)).double()
    mean, scale = 0.7, 0.6
    optimiser = torch.optim.LBFGS(
        critic.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )
    features = torch.zeros(1, 1, dtype=torch.float64)
    drawn = mean + scale * normal(40_000, 1, 1)
    reference = normal(40_000, 1, 1, seed=1)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = critic.loss(drawn, reference, features)
        value.backward()
        return value

    optimiser.step(loss)
    u = torch.linspace(-0.5, 1.9, 13, dtype=torch.float64)[:, None, None]
    numerator = torch.distributions.Normal(mean, scale).log_prob(u)
    expected = numerator - torch.distributions.Normal(0.0, 1.0).log_prob(u)
    found = critic(u, features)
    torch.testing.assert_close(found, expected.squeeze(-1), rtol=0, atol=0.05)


def test_log_densities_that_are_reported_do_not_depend_on_the_critic(
    make_vae: MakeVAE, perturb: Perturb
) -> None:
    vae = make_vae(MixturePrior(n_modes=2), ImplicitPosterior(), GaussianLikelihood())
    x = normal(B, D).float()
    encoder = vae.encode(x)
    assert encoder.has_score
    noise = normal(K, B, encoder.noise_dim).float()
    before = vae.draw(x, noise)
    assert before.critic_loss is None
    perturb(vae.posterior.critic, scale=3.0)
    assert torch.equal(vae.draw(x, noise).log_w, before.log_w)


def test_ladder_has_the_critic_of_its_top(make_vae: MakeVAE) -> None:
    vae = make_vae(
        LadderPrior((1, 1), top="normal"),
        LadderPosterior((1, 1), top=ImplicitPosterior()),
        GaussianLikelihood(),
    ).double()
    x = normal(B, D)
    q = vae.encode(x, training=True)
    assert not q.has_score
    assert vae.encode(x).has_score
    noise = normal(K, B, q.noise_dim)
    draw = vae.draw(x, noise, training=True)
    assert draw.path_gradient
    torch.testing.assert_close(draw.log_q_z, q.log_prob(draw.z))
    top = vae.posterior.top.for_training(vae.features.for_encoder(x))
    assert isinstance(top, ImplicitDistribution)
    expected = top.critic_loss(draw.z[..., 1:], noise[..., 1:])
    assert draw.critic_loss is not None
    torch.testing.assert_close(draw.critic_loss, expected)


def test_rows_may_be_selected_and_detached(bent: nn.Module) -> None:
    q = bent.for_training(normal(B, D))
    noise, rows = normal(K, B, q.noise_dim), torch.tensor([3, 1])
    z, log_q = q.rsample(noise)
    some, log_some = q.select(rows).rsample(noise[:, rows])
    torch.testing.assert_close(some, z[:, rows])
    torch.testing.assert_close(log_some, log_q[:, rows])
    fixed, _ = q.detached().rsample(noise)
    assert torch.equal(fixed, z)
    assert not fixed.requires_grad
    assert isinstance(q.contrast, CholeskyGaussian)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("n_noise", 0), ("n_noise", "many"), ("critic_layer_sizes", (0,))],
)
def test_sizes_that_make_no_sense_are_named(
    parameter: str, value: object, make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=f"{parameter} of ImplicitPosterior"):
        ImplicitPosterior(**{parameter: value}).build(make_context())
