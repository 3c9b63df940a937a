"""Flows of priors and posteriors: start, exactness, tails, fixed-noise means."""

import builtins
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skvae.model import BuildContext
from skvae.model.distributions import mean_over_fixed_noise
from skvae.model.networks import SplineFlow
from skvae.model.posteriors import FlowPosterior, FullPosterior
from skvae.model.priors import FlowPrior, NormalPrior

K, B, D = 6, 5, 3

MakeContext = Callable[..., BuildContext]
Perturb = Callable[..., nn.Module]

sizes = pytest.mark.parametrize("n_latents", [1, 2, 5])


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def make_flow(n_latents: int, n_context: int, n_passes: int) -> SplineFlow:
    generator = torch.Generator().manual_seed(0)
    return SplineFlow(n_latents, n_context, 2, 6, (8, 8), n_passes, generator).double()


@sizes
@pytest.mark.parametrize("n_context", [0, 3])
@pytest.mark.parametrize("n_passes", [2, 5])
def test_log_det_is_that_of_autograds_jacobian(
    n_latents: int, n_context: int, n_passes: int, perturb: Perturb
) -> None:
    flow = perturb(make_flow(n_latents, n_context, n_passes))
    u = 2 * normal(n_latents)
    context = normal(n_context, seed=1) if n_context else None
    v, log_det = flow(u, context)
    jacobian = torch.autograd.functional.jacobian(lambda u: flow(u, context)[0], u)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet)
    back, minus_log_det = flow.inverse(v, context)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(minus_log_det, -log_det)


@sizes
def test_flow_starts_at_the_identity_and_can_leave_it(
    n_latents: int, perturb: Perturb
) -> None:
    flow, u = make_flow(n_latents, D, 2), 3 * normal(K, B, n_latents)
    context = normal(B, D)
    v, log_det = flow(u, context)
    torch.testing.assert_close(v, u)
    torch.testing.assert_close(log_det, torch.zeros(K, B).double())
    perturb(flow)
    v, _ = flow(u, context)
    assert (v - u).abs().max() > 0.1
    # Every number reads the row's context.
    other, _ = flow(u, context + 1)
    assert ((v - other).abs().amax((0, 1)) > 1e-3).all()


@sizes
def test_flow_is_the_identity_beyond_five(n_latents: int, perturb: Perturb) -> None:
    flow = perturb(make_flow(n_latents, 0, n_latents))
    far = 5.0 + normal(K, B, n_latents).abs() * 1e3
    for u in (far, -far):
        v, log_det = flow(u, None)
        assert torch.equal(v, u)
        assert (log_det == 0).all()


@sizes
def test_prior_starts_as_the_normal_prior(
    n_latents: int, make_context: MakeContext
) -> None:
    context = make_context(n_components=n_latents)
    ours, twin = (
        spec.build(context).double()() for spec in (FlowPrior(), NormalPrior())
    )
    z = 3 * normal(K, B, n_latents)
    torch.testing.assert_close(ours.log_prob(z), twin.log_prob(z))
    torch.testing.assert_close(ours.rsample(z)[0], z)
    torch.testing.assert_close(ours.mean, twin.mean)


@sizes
def test_posterior_starts_as_the_full_posterior(
    n_latents: int, make_context: MakeContext, perturb: Perturb
) -> None:
    twin = FullPosterior().build(make_context(n_components=n_latents)).double()
    ours = FlowPosterior().build(make_context(n_components=n_latents)).double()
    perturb(twin)
    ours.base.load_state_dict(twin.state_dict())
    x, noise = normal(B, D), normal(K, B, n_latents)
    for one, other in zip(ours(x).rsample(noise), twin(x).rsample(noise), strict=True):
        torch.testing.assert_close(one, other)
    z = 3 * normal(K, B, n_latents, seed=2)
    torch.testing.assert_close(ours(x).log_prob(z), twin(x).log_prob(z))
    torch.testing.assert_close(ours(x).mean, twin(x).mean)


def test_density_of_the_flow_posterior_integrates_to_one(
    make_context: MakeContext, perturb: Perturb
) -> None:
    """On a grid in the coordinates of its Gaussian."""
    module = perturb(FlowPosterior().build(make_context()), scale=0.2).double()
    with torch.no_grad():
        q = module(normal(1, D))
        axis = torch.linspace(-8, 8, 241, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis) @ q.gaussian.tril[0].T
        cell = q.gaussian.tril[0].det() * (axis[1] - axis[0]) ** 2
        log_q = q.log_prob((grid + q.gaussian.mean)[:, None])
        total = float(log_q.exp().sum() * cell)
        gaussian = q.gaussian.log_prob((grid + q.gaussian.mean)[:, None])
    assert total == pytest.approx(1, abs=1e-2)
    assert (log_q - gaussian).abs().max() > 0.5


@pytest.mark.parametrize("spec", [FlowPrior, FlowPosterior])
@pytest.mark.parametrize("name", ["n_transforms", "n_bins"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "many"])
def test_other_sizes_are_refused(
    spec: type[FlowPrior | FlowPosterior],
    name: str,
    value: object,
    make_context: MakeContext,
) -> None:
    with pytest.raises(ValueError, match=rf"{name} of {spec.__name__}.*positive int"):
        spec(**{name: value}).build(make_context())


@pytest.mark.parametrize("spec", [FlowPrior, FlowPosterior])
def test_without_zuko_the_error_says_what_to_install(
    spec: type[FlowPrior | FlowPosterior],
    make_context: MakeContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = builtins.__import__

    def without_zuko(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "zuko":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_zuko)
    with pytest.raises(ImportError, match=r"pip install 'skvae\[flows\]'"):
        spec().build(make_context())


# Means over fixed noise


@pytest.mark.parametrize("n_dims", [1, 3, 12])
def test_fixed_noise_is_exact_for_what_is_linear_or_square(n_dims: int) -> None:
    slope, square = normal(n_dims), normal(n_dims, seed=1)

    def draw(noise: Tensor) -> Tensor:
        value = 3 + noise @ slope + noise.square() @ square
        return value[..., None]

    mean = mean_over_fixed_noise(draw, n_dims, 4, like=slope)
    torch.testing.assert_close(mean, (3 + square.sum()).expand(4, 1))


def test_fixed_noise_is_close_for_what_is_not() -> None:
    """E exp(ε/2) = exp(1/8)."""
    mean = mean_over_fixed_noise(lambda e: (0.5 * e).exp(), 3, 2, like=normal(1))
    torch.testing.assert_close(
        mean, torch.full((2, 3), 0.125).double().exp(), rtol=2e-3, atol=0
    )


def test_fixed_noise_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    one, same = (
        mean_over_fixed_noise(torch.exp, 2, 3, like=normal(1)) for _ in range(2)
    )
    assert torch.equal(one, same)
    assert torch.equal(torch.get_rng_state(), before)
