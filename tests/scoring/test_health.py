"""The health report of a fitted density."""

import copy
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

import skvae.scoring.health
from skvae import Diagnosis, GaussianLikelihood, MixtureLikelihood, VAEDensity
from skvae.evidence import Evidence, RowNoise, row_hash
from skvae.evidence.autoencoding import autoencode_rows
from skvae.model import BuildContext
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    LikelihoodModule,
    LikelihoodSpec,
)
from skvae.scoring.reader import RowReader
from tests.conftest import QUICK

FLOOR = 0.01


def warned(diagnosis: Diagnosis, what: str) -> bool:
    return any(what in warning for warning in diagnosis.warnings)


def context() -> BuildContext:
    return BuildContext(
        n_features=2,
        n_components=1,
        n_rows=100,
        hidden_layer_sizes=(),
        dropout=0.0,
        scale_floor=torch.full((2,), FLOOR),
        column_scale=torch.ones(2),
        generator=torch.Generator().manual_seed(0),
    )


@pytest.fixture(scope="module")
def trained(table: np.ndarray) -> VAEDensity:
    """Return a density whose encoder has learnt something."""
    return VAEDensity(
        decoder="mlp",
        companion=None,
        max_iter=60,
        hidden_layer_sizes=(32, 32),
        marginal_transform=None,
        max_evidence_samples=256,
        random_state=0,
    ).fit(table)


@pytest.fixture(scope="module")
def report(trained: VAEDensity, table: np.ndarray) -> Diagnosis:
    return trained.diagnose(table)


def without_background(density: VAEDensity) -> VAEDensity:
    """Return a copy whose latent part has all the rows."""
    bare = copy.deepcopy(density)
    bare.model_.background = None
    return bare


def blinded(density: VAEDensity) -> VAEDensity:
    """Return a copy whose encoder gives every row the same latents."""
    blind = copy.deepcopy(density)
    with torch.no_grad():
        blind.model_.posterior.network.skip.zero_()
        blind.model_.posterior.network.output.zero_()
    return blind


def test_report_agrees_with_the_estimator(
    trained: VAEDensity, report: Diagnosis, table: np.ndarray
) -> None:
    evidence = trained.evidence(table)
    assert (report.n_rows, report.n_rows_used) == (200, 200)
    assert (report.n_features, report.n_components) == (3, trained.n_components_)
    assert not report.drawn_from_model
    assert report.log_density == pytest.approx(trained.score_samples(table).mean())
    assert report.log_density_error == pytest.approx(
        evidence.log_density.std(ddof=1) / math.sqrt(200)
    )
    assert report.unreliable_share == evidence.unreliable.mean()
    assert report.stage_share[0] == (evidence.n_stages == 1).mean()
    assert sum(report.stage_share) == pytest.approx(1)
    assert report.effective_sample_size[1] in evidence.effective_sample_size
    assert report.pareto_k[2] in evidence.pareto_k
    assert report.effective_sample_size == tuple(sorted(report.effective_sample_size))
    assert (report.n_iter, report.best_iter) == (trained.n_iter_, trained.best_iter_)


def test_bounds_are_those_of_the_estimator(
    trained: VAEDensity, report: Diagnosis, table: np.ndarray
) -> None:
    bounds = trained.bounds(table, report.bound_samples)
    assert report.n_bound_rows == 200
    # Other draws of the same 200 rows.
    assert_allclose(report.bound, bounds.iwae.mean(1), atol=0.1)


def test_bounds_rise_towards_the_log_density(report: Diagnosis) -> None:
    assert report.bound_samples == (1, 5, 25, 100)
    # Five standard errors: a false alarm in 10⁶ with another seed.
    error = np.array(report.bound_gap_error)
    assert (np.diff(report.bound) > -5 * (error[1:] + error[:-1])).all()
    assert (np.array(report.bound_gap) > -5 * error).all()
    assert report.bound_gap[0] > 5 * error[0]
    assert_allclose(
        np.add(report.bound, report.bound_gap), report.log_density, rtol=1e-10
    )


def test_elbo_is_reconstruction_minus_kl(
    trained: VAEDensity, table: np.ndarray
) -> None:
    report = without_background(trained).diagnose(table)
    # Both are means over draws: 16 per row for one and 100 for the other.
    assert report.log_likelihood - report.kl == pytest.approx(report.bound[0], abs=0.1)


def test_latents_by_their_definition(trained: VAEDensity, table: np.ndarray) -> None:
    density = without_background(trained)
    report = density.diagnose(table)
    u, _ = density.columns_.to_model(table)
    with torch.no_grad():
        q = density.model_.encode(torch.from_numpy(u))
        variance = q.tril.square().sum(-1).numpy()
    mean = q.mean.numpy()
    m, v = mean.mean(0), variance.mean(0) + mean.var(0)
    kl = 0.5 * (variance / v + (mean - m) ** 2 / v - 1 - np.log(variance / v))
    assert_allclose(report.latent_kl, kl.mean(0), rtol=1e-8)
    assert_allclose(report.latent_activity, mean.var(0) / v, rtol=1e-8)
    assert report.n_active == (mean.var(0) / v > 0.01).sum()


def test_reconstruction_is_transform_and_back(
    trained: VAEDensity, table: np.ndarray
) -> None:
    report = without_background(trained).diagnose(table)
    back = trained.inverse_transform(trained.transform(table))
    expected = np.sqrt(np.square(back - table).mean(0)) / trained.columns_.scale
    assert_allclose(report.reconstruction_error, expected, rtol=1e-8)


def test_collapse_is_told_where_the_encoder_ignores_the_row(
    trained: VAEDensity, report: Diagnosis, table: np.ndarray
) -> None:
    assert not warned(report, "Posterior collapse")
    assert report.n_active > 0
    collapsed = blinded(trained).diagnose(table)
    assert collapsed.n_active == 0
    assert_allclose(collapsed.latent_kl, 0, atol=1e-10)
    assert warned(collapsed, "Posterior collapse")


def test_collapse_of_independent_columns() -> None:
    noise = np.random.default_rng(0).normal(size=(300, 3))
    density = VAEDensity(
        n_components=2,
        prior="normal",
        posterior="diagonal",
        objective="elbo",
        likelihood=GaussianLikelihood(scale=1.5),
        companion=None,
        hidden_layer_sizes=(8,),
        marginal_transform=None,
        early_stopping=False,
        learning_rate=0.02,
        batch_size=50,
        max_iter=80,
        random_state=0,
    ).fit(noise)
    report = density.diagnose(noise)
    assert warned(report, "Posterior collapse")
    assert report.kl < 0.05


def test_one_row_is_not_called_a_collapse(
    trained: VAEDensity, table: np.ndarray
) -> None:
    report = trained.diagnose(table[:1])
    assert math.isnan(report.log_density_error)
    assert report.to_dict()["log_density_error"] is None
    assert not warned(report, "Posterior collapse")
    assert warned(report, "X has 1 rows only")
    assert "-" in str(report)


def test_column_with_repeated_values_is_named() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    frame = pd.DataFrame(
        {
            "smooth": z + 0.5 * rng.normal(size=400),
            "grade": np.where(rng.random(400) < 0.8, 3.0, z.round(1)),
        }
    )
    density = VAEDensity(
        decoder="mlp",
        companion=None,
        hidden_layer_sizes=(16,),
        marginal_transform=None,
        max_iter=150,
        max_evidence_samples=64,
        random_state=0,
    ).fit(frame)
    report = density.diagnose(frame)
    assert report.feature_names == ("smooth", "grade")
    smooth, grade = report.floor_share
    assert smooth < 0.2 < grade
    assert warned(report, f"smallest one allowed in 'grade' ({grade:.0%}): values")
    assert not warned(report, "'smooth'")


def test_many_columns_at_the_floor_are_one_warning(report: Diagnosis) -> None:
    names = tuple("abcdefgh")
    all_hit = replace(report, feature_names=names, floor_share=(0.5,) * 8)
    (advice,) = skvae.scoring.health._advice_on_columns(all_hit)
    assert "'e' (50%) and 3 more columns" in advice
    assert "'f'" not in advice


def test_floor_share_of_a_mixture() -> None:
    module = MixtureLikelihood(n_modes=2).build(context())
    log_scale = torch.tensor([[0.5 * FLOOR, 2.0], [2.0, 2.0]]).log()
    logit = torch.tensor([[0.25, 0.25], [0.75, 0.75]]).log()
    raw = torch.cat([torch.zeros(2, 2), log_scale, logit])
    share = module.floor_share(raw[None, None], 2.0)
    assert share is not None
    assert_allclose(share, [[[0.25, 0.0]]], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (GaussianLikelihood("cell"), [[[1.0, 0.0]]]),
        (GaussianLikelihood("column"), [[[0.0, 0.0]]]),
        (GaussianLikelihood("row"), [[[0.0, 0.0]]]),
        (GaussianLikelihood(0.001), None),
        (BernoulliLikelihood(), None),
    ],
    ids=repr,
)
def test_floor_share_of_the_others(
    spec: LikelihoodSpec, expected: list[Any] | None
) -> None:
    module: LikelihoodModule = spec.build(context())
    raw = torch.zeros(1, 1, module.n_parameters, 2)
    raw[..., -1, :] = torch.tensor([0.5 * FLOOR, 2.0]).log()
    share = module.floor_share(raw, 2.0)
    if expected is None:
        assert share is None
    else:
        assert share is not None
        assert_allclose(share, expected)


def test_checks_do_not_depend_on_blocks(
    trained: VAEDensity, table: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.from_numpy(trained.columns_.to_model(table)[0])
    noise = RowNoise(row_hash(table))
    whole = autoencode_rows(trained.model_, x, noise, 2.0)
    monkeypatch.setattr("skvae.evidence.blocks.DRAWS_AT_ONCE", {"cpu": 7 * 16})
    parts = autoencode_rows(trained.model_, x, noise, 2.0)
    for name, value in vars(whole).items():
        assert_allclose(getattr(parts, name), value, rtol=1e-9, atol=1e-12)


def test_without_rows_the_model_draws_them(trained: VAEDensity) -> None:
    report = trained.diagnose()
    assert report.drawn_from_model
    assert report.n_rows == report.n_rows_used == 1000
    assert "1,000 drawn from the model" in str(report)
    assert trained.diagnose() == report


def test_same_call_same_report(
    trained: VAEDensity, report: Diagnosis, table: np.ndarray
) -> None:
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    weights = copy.deepcopy(trained.model_.state_dict())
    assert trained.diagnose(table) == report
    assert str(trained.diagnose(table)) == str(report)
    assert_allclose(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    for name, value in trained.model_.state_dict().items():
        assert torch.equal(value, weights[name])


def test_large_tables_are_thinned(
    density: VAEDensity, table: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skvae.scoring.health, "MAX_ROWS", 120)
    monkeypatch.setattr(skvae.scoring.health, "MAX_BOUND_ROWS", 50)
    report = density.diagnose(table)
    assert (report.n_rows, report.n_rows_used, report.n_bound_rows) == (200, 120, 50)
    assert "120, drawn from the 200 given" in str(report)
    assert report == density.diagnose(table)


def test_dictionary_is_plain(report: Diagnosis) -> None:
    values = report.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["log_density"] == report.log_density
    assert values["latent_kl"] == list(report.latent_kl)


def test_text_has_the_tables_and_the_warnings(report: Diagnosis) -> None:
    report = replace(report, warnings=("Something <odd> is not in order. " * 5,))
    text = str(report)
    assert repr(report) == text
    for heading in ("log p(x)", "Pareto", "Latents", "Columns", "Training", "Warnings"):
        assert heading in text
    for name in ("z0", "x0", "x2"):
        assert f"\n  {name} " in text
    assert f"{report.log_density:.3f} ± {report.log_density_error:.3f}" in text
    assert "  - Something <odd>" in text
    assert max(map(len, text.splitlines())) <= 80
    html = report._repr_html_()
    assert "Something &lt;odd&gt;" in html and "Something <" not in html
    assert f">{report.log_density:.3f} ± {report.log_density_error:.3f}</td>" in html
    assert f">{report.bound[1]:.3f} ± {report.bound_error[1]:.3f}</td>" in html
    assert html.count("<table") == html.count("</table>") == 5
    assert str(replace(report, warnings=())).endswith("No warnings.")


def test_text_of_a_wide_table_is_short(report: Diagnosis) -> None:
    wide = replace(
        report,
        feature_names=tuple(f"a rather long name of column {j:>9}" for j in range(300)),
        reconstruction_error=tuple(1 / (1 + j) for j in range(300)),
        floor_share=(math.nan,) * 300,
    )
    text = str(wide)
    assert "Columns (20 largest of 300)" in text
    assert len(text.splitlines()) < 80
    assert max(map(len, text.splitlines())) <= 80


def test_binary_columns(binary_table: np.ndarray) -> None:
    density = VAEDensity(likelihood="bernoulli", **QUICK).fit(binary_table)
    for report in (density.diagnose(binary_table), density.diagnose()):
        assert all(math.isnan(share) for share in report.floor_share)
        assert report.to_dict()["floor_share"] == [None] * 4
        assert all(0 < error < 1.5 for error in report.reconstruction_error)
        assert not warned(report, "smallest one allowed")


def test_without_a_background(table: np.ndarray) -> None:
    density = VAEDensity(background=None, **QUICK).fit(table)
    report = density.diagnose(table)
    assert report.background_share == 0
    assert math.isfinite(report.kl)


def test_rows_of_the_background_are_told(
    trained: VAEDensity, table: np.ndarray
) -> None:
    far = table.copy()
    far[:40] = 1e6 * (1 + np.arange(120).reshape(40, 3))
    report = trained.diagnose(far)
    assert report.background_share >= 0.2
    assert warned(report, "The background takes 20% of the rows")
    # Encoder and decoder are checked on the others.
    assert max(report.reconstruction_error) < 2
    only_far = trained.diagnose(far[:40])
    assert only_far.background_share == 1
    assert not warned(only_far, "Posterior collapse")
    json.dumps(only_far.to_dict(), allow_nan=False)


def test_unreliable_rows_are_told_without_a_python_warning(
    density: VAEDensity, table: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence_of = RowReader.evidence

    def doubted(reader: RowReader, rows: np.ndarray, *args: Any) -> Evidence:
        evidence = evidence_of(reader, rows, *args)
        return replace(evidence, unreliable=np.arange(len(rows)) % 10 == 0)

    monkeypatch.setattr(RowReader, "evidence", doubted)
    report = density.diagnose(table[:40])
    assert report.unreliable_share == 0.1
    assert warned(report, "lower bounds only")


def with_history(density: VAEDensity, evidence: list[float]) -> VAEDensity:
    """Return a copy that looks as if it had been trained so."""
    trained = copy.deepcopy(density)
    trained.history_ = [
        {"epoch": 1 + i, "objective": -5.0, "bound": -5.0, "evidence": value}
        for i, value in enumerate(evidence)
    ]
    trained.n_iter_ = trained.best_iter_ = len(evidence)
    return trained


def test_training_that_had_not_ended(density: VAEDensity, table: np.ndarray) -> None:
    rising = with_history(density, [-9.0, -8.0, -7.0, -6.0]).diagnose(table[:30])
    assert warned(rising, "rose by 1.00 nat in the last 25%")
    assert rising.validation_gap == 1.0
    flat = with_history(density, [-9.0, -6.0, math.nan, -5.9]).diagnose(table[:30])
    assert not warned(flat, "Raise max_iter")


def test_overfitting_is_told_by_the_weights_that_are_kept(
    trained: VAEDensity, table: np.ndarray
) -> None:
    """The training bound may be far above the validation evidence, as it is here."""
    overfitted = with_history(trained, [-9.0, -9.5])
    for best_iter, is_told in ((0, True), (1, False)):
        overfitted.best_iter_ = best_iter
        report = overfitted.diagnose(table)
        assert warned(report, "overfits at once") == is_told
        assert not warned(report, "above the validation evidence")


def test_divergences_are_told(density: VAEDensity, table: np.ndarray) -> None:
    diverged = with_history(density, [-5.0, -5.0])
    diverged.history_[0]["objective"] = math.nan
    assert warned(diverged.diagnose(table[:30]), "non-finite values 1 time")
    assert not warned(density.diagnose(table[:30]), "non-finite")


def test_without_validation_there_is_no_gap(table: np.ndarray) -> None:
    density = VAEDensity(early_stopping=False, **QUICK).fit(table)
    report = density.diagnose(table[:30])
    assert math.isnan(report.validation_gap)
    assert report.to_dict()["validation_gap"] is None
    assert math.isfinite(report.training_bound)
    assert not warned(report, "max_iter")


def test_partly_fitted_density(table: np.ndarray) -> None:
    report = VAEDensity(**QUICK).partial_fit(table).diagnose(table[:30])
    assert report.n_iter == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((5, 4)), "4 features"),
        (np.ones(3), "1D"),
        (np.full((5, 3), np.inf), "Input X contains infinity in column 0"),
        (np.empty((0, 3)), "0 sample"),
        ([["a", "b", "c"]], "convert"),
    ],
)
def test_wrong_rows_are_refused(density: VAEDensity, rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density.diagnose(rows)


def test_unfitted_density_is_refused(table: np.ndarray) -> None:
    with pytest.raises(NotFittedError):
        VAEDensity().diagnose(table)
    with pytest.raises(NotFittedError):
        VAEDensity().diagnose()
