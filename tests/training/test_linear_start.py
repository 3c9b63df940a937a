"""The linear-Gaussian model that training starts from."""

import pytest
import torch
from torch import Tensor

from skvae.model import LinearStart
from skvae.training import linear_start

FLOOR = 1e-3


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def start_of(
    x: Tensor, n_components: int, weight: Tensor | None = None, seed: int = 0
) -> LinearStart:
    return linear_start(
        x,
        torch.ones(len(x), dtype=torch.float64) if weight is None else weight,
        n_components,
        torch.full((x.shape[1],), FLOOR, dtype=torch.float64),
        torch.Generator().manual_seed(seed),
    )


@pytest.fixture
def table() -> Tensor:
    return normal(2000, 2) @ normal(2, 5, seed=1) + 0.2 * normal(2000, 5, seed=2) + 3


def test_encoder_whitens_the_rows(table: Tensor) -> None:
    start = start_of(table, 3)
    mean = table @ start.encoder_weight.T + start.encoder_bias
    torch.testing.assert_close(mean.mean(0), torch.zeros(3).double())
    covariance = torch.cov(mean.T, correction=0)
    torch.testing.assert_close(covariance, torch.eye(3).double())


def test_latents_are_draws_of_the_encoder(table: Tensor) -> None:
    start = start_of(table, 3)
    noise = start.z - table @ start.encoder_weight.T - start.encoder_bias
    standard = noise @ torch.linalg.inv(start.encoder_tril).T
    covariance = torch.cov(standard.T)
    # Five standard errors of a covariance of 2,000 standard-normal rows.
    assert (covariance - torch.eye(3)).abs().max() < 5 * (2 / 2000) ** 0.5
    assert standard.mean(0).abs().max() < 5 * 2000**-0.5


def test_residual_scale_is_what_the_decoder_leaves(table: Tensor) -> None:
    start = start_of(table, 2)
    residual = table - start.z @ start.decoder_weight.T - start.decoder_bias
    torch.testing.assert_close(start.residual_scale, residual.square().mean(0).sqrt())
    # No worse than the best for latents with noise of 0.3: the column's own noise
    # and 0.09 / 1.09 of what the latents explain, to 5 %.
    explained = table.var(0) - 0.2**2
    best = (0.2**2 + explained * 0.09 / 1.09).sqrt()
    assert (start.residual_scale < 1.05 * best).all()


def test_decoder_cannot_be_improved_by_another_linear_map(table: Tensor) -> None:
    start = start_of(table, 2)
    design = torch.cat([start.z, torch.ones(len(table), 1)], 1)
    best = table - design @ torch.linalg.lstsq(design, table).solution
    ratio = start.residual_scale / best.square().mean(0).sqrt()
    assert ((ratio >= 1 - 1e-9) & (ratio < 1.01)).all()


def test_encoder_does_not_depend_on_the_order_of_rows_or_the_seed(
    table: Tensor,
) -> None:
    one = start_of(table, 5)
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(3))
    other = start_of(table[order], 5, seed=1)
    torch.testing.assert_close(one.encoder_weight, other.encoder_weight)
    torch.testing.assert_close(one.encoder_bias, other.encoder_bias)


def test_signs_of_the_directions_are_fixed(table: Tensor) -> None:
    weight = start_of(table, 5).encoder_weight
    assert (weight.gather(1, weight.abs().argmax(1)[:, None]) > 0).all()
    mirrored = start_of(-table, 5).encoder_weight
    torch.testing.assert_close(mirrored, weight)


def test_same_seed_gives_the_same_latents(table: Tensor) -> None:
    assert torch.equal(start_of(table, 3).z, start_of(table, 3).z)
    assert not torch.equal(start_of(table, 3).z, start_of(table, 3, seed=1).z)


def test_weights_are_repeated_rows(table: Tensor) -> None:
    x = table[:200]
    weight = torch.arange(200, dtype=torch.float64) % 3 + 1
    weighted, repeated = (
        start_of(x, 3, weight),
        start_of(x.repeat_interleave(weight.long(), 0), 3),
    )
    for name in ("encoder_weight", "encoder_bias", "decoder_bias"):
        torch.testing.assert_close(getattr(weighted, name), getattr(repeated, name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_start_has_the_dtype_of_the_rows(table: Tensor, dtype: torch.dtype) -> None:
    start = start_of(table.to(dtype), 3)
    assert {value.dtype for value in vars(start).values()} == {dtype}


def test_more_latents_than_columns_start_as_the_prior(table: Tensor) -> None:
    start = start_of(table, 7)
    assert start.z.shape == (2000, 7)
    assert (start.encoder_weight[5:] == 0).all()
    torch.testing.assert_close(
        start.encoder_tril.diagonal()[5:], torch.ones(2).double()
    )
    assert start.decoder_weight[:, 5:].abs().max() < 0.2
    assert (start.z[:, 5:].std(0) - 1).abs().max() < 0.1


@pytest.mark.parametrize(
    "kind", ["duplicated columns", "constant column", "one row", "fewer rows"]
)
def test_rank_deficient_tables_have_a_finite_start(table: Tensor, kind: str) -> None:
    x = {
        "duplicated columns": table[:, [0, 0, 0, 1]],
        "constant column": torch.cat([table[:, :3], torch.ones(2000, 1)], 1),
        "one row": table[:1],
        "fewer rows": table[:3],
    }[kind]
    start = start_of(x, 4)
    for name, value in vars(start).items():
        assert value.isfinite().all(), name
    assert (start.residual_scale >= FLOOR).all()
    # No latent is far outside the range of the prior.
    assert start.z.abs().max() < 10


# Given features


def test_encoder_ignores_directions_in_which_rows_do_not_vary(table: Tensor) -> None:
    """A missing cell of a constant column would otherwise move latents far away."""
    constant = torch.cat([table[:, :1], table[:, :1], torch.ones(2000, 2)], 1)
    start = start_of(constant, 3)
    assert start.encoder_weight[1:].abs().max() == 0
    assert start.encoder_weight[0].abs().max() < 1
    assert torch.equal(start.encoder_tril.diagonal()[1:], torch.ones(2).double())


@pytest.fixture
def conditional_table() -> Tensor:
    """Return rows of four features and, last, two that are given."""
    given = normal(2000, 2, seed=4) @ torch.tensor([[1.0, 0.5], [0.0, 2.0]]).double()
    slope = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0], [0.0, 0.0]]).double()
    left = normal(2000, 1, seed=5) @ normal(1, 4, seed=6)
    own = 0.2 * normal(2000, 4, seed=7)
    return torch.cat([given @ slope.T + left + own + 3, given + 1], 1)


def conditional_start(x: Tensor, weight: Tensor | None = None) -> LinearStart:
    return linear_start(
        x,
        torch.ones(len(x), dtype=torch.float64) if weight is None else weight,
        2,
        torch.full((4,), FLOOR, dtype=torch.float64),
        torch.Generator().manual_seed(0),
        n_given=2,
    )


def test_encoder_describes_what_given_features_leave(conditional_table: Tensor) -> None:
    x = conditional_table
    start = conditional_start(x)
    mean = x @ start.encoder_weight.T + start.encoder_bias
    covariance = torch.cov(torch.cat([mean, x[:, 4:]], 1).T, correction=0)
    torch.testing.assert_close(covariance[:2, :2], torch.eye(2).double())
    # The ridge leaves a trace of them.
    assert covariance[:2, 2:].abs().max() < 0.02


def test_given_weight_is_the_regression_on_given_features(
    conditional_table: Tensor,
) -> None:
    x = conditional_table
    start = conditional_start(x)
    design = torch.cat([x[:, 4:], torch.ones(len(x), 1)], 1)
    slope = torch.linalg.lstsq(design, x[:, :4]).solution[:2].T
    torch.testing.assert_close(start.given_weight[:4], slope, rtol=0, atol=0.01)
    torch.testing.assert_close(start.given_weight[4:], torch.eye(2).double())


def test_residual_is_what_latents_and_given_features_leave(
    conditional_table: Tensor,
) -> None:
    x = conditional_table
    start = conditional_start(x).with_given_inputs()
    residual = x - start.z @ start.decoder_weight.T - start.decoder_bias
    torch.testing.assert_close(
        residual[:, :4].square().mean(0).sqrt(),
        start.residual_scale[:4],
        rtol=1e-3,
        atol=0,
    )
    assert residual[:, 4:].abs().max() < 1e-9
    assert start.residual_scale[:4].max() < 0.7


def test_weights_are_repeated_rows_where_features_are_given(
    conditional_table: Tensor,
) -> None:
    x = conditional_table[:200]
    weight = torch.arange(200, dtype=torch.float64) % 3 + 1
    weighted = conditional_start(x, weight)
    repeated = conditional_start(x.repeat_interleave(weight.long(), 0))
    for name in ("encoder_weight", "encoder_bias", "given_weight", "decoder_bias"):
        torch.testing.assert_close(getattr(weighted, name), getattr(repeated, name))


def test_constant_and_duplicated_given_features_have_a_finite_start(
    conditional_table: Tensor,
) -> None:
    x = conditional_table.clone()
    x[:, 4] = 1.0
    x[:, 5] = x[:, 0]
    for name, value in vars(conditional_start(x)).items():
        assert value.isfinite().all(), name
