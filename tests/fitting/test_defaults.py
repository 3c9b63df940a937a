"""What "auto" resolves to, by numbers of rows and columns."""

import pytest

from skvae import VAEDensity
from skvae.fitting.defaults import TableSize, fit_settings
from skvae.fitting.parameters import Parameters


def settings_for(n_rows: int, n_features: int, **given):
    parameters = Parameters.of(VAEDensity(**{"smoothing": "auto", **given}))
    return fit_settings(parameters, TableSize(n_rows, n_rows, n_features))


@pytest.mark.parametrize(
    ("n_rows", "n_features", "expected"),
    [
        (9_000, 10, (0.0, 1e-4)),
        (8_999, 10, (0.1, 0.03)),
        (2_000, 10, (0.1, 0.03)),
        (1_999, 10, (0.2, 0.3)),
        # Few rows per column, but many rows: digits were 2.8 nats worse with 0.2.
        (50_000, 784, (0.0, 1e-4)),
        (29_999, 784, (0.2, 0.3)),
    ],
)
def test_regularisation_goes_by_rows_per_column_and_by_rows(
    n_rows, n_features, expected
):
    settings = settings_for(n_rows, n_features)
    assert (settings.dropout, settings.weight_decay) == expected


def test_what_is_given_is_kept() -> None:
    settings = settings_for(50_000, 10, dropout=0.3, weight_decay=0.5, max_iter=7)
    assert (settings.dropout, settings.weight_decay) == (0.3, 0.5)
    assert settings.n_epochs == 7


@pytest.mark.parametrize(
    ("n_rows", "n_features", "expected"),
    [(5, 3, (1,)), (80, 12, (8,)), (5_000, 5, (5,)), (5_000, 40, (12,))],
)
def test_latents_are_as_many_as_columns_within_bounds(
    n_rows, n_features, expected
) -> None:
    assert settings_for(n_rows, n_features).latent_levels == expected


@pytest.mark.parametrize(
    ("n_rows", "least", "most"),
    [(1_000, 4_500, 4_600), (20_000, 7_000, 7_200), (226_640, 26_900, 27_900)],
)
def test_the_number_of_steps_has_bounds(n_rows, least, most) -> None:
    settings = settings_for(n_rows, 10)
    steps_per_epoch = -(-(n_rows - settings.n_valid) // 256)
    assert least <= settings.n_epochs * steps_per_epoch <= most


def test_validation_rows_are_at_most_five_thousand() -> None:
    assert settings_for(226_640, 10).n_valid == 5_000
    assert settings_for(1_000, 10).n_valid == 100
    assert settings_for(150, 10).n_valid == 25
    assert settings_for(20, 10).n_valid == 5
    assert settings_for(7, 10).n_valid == 0
