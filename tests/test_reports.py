"""Records as tables of notebooks and as data frames."""

import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

from skvae import DensityOutlierDetector, VAEDensity, compare_densities
from skvae.reports import html_list, html_report, html_table, html_text
from skvae.typing import Array
from tests.conftest import QUICK

BAD = "<script>&'\""


class Cells(HTMLParser):
    """Reads the cells of tables, and says which tags there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[list[str]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.lines[-1][-1] += data


def test_all_text_is_escaped_and_nothing_is_loaded() -> None:
    html = html_report(
        html_text(BAD, strong=True),
        html_list(BAD, [BAD, "second"]),
        html_table(BAD, [BAD, "number"], [[BAD, "1.5"]]),
    )
    read = Cells(html)
    assert read.lines == [[BAD, "number"], [BAD, "1.5"]]
    assert html.count("&lt;script&gt;&amp;&#x27;&quot;") == 6
    assert not {"script", "link", "img", "style"} & set(read.tags)
    assert read.attributes == {"style", "class"}
    # Colours are those of the notebook, light or dark.
    assert "background" not in html and "#" not in html.replace("&#x27;", "")


def test_evidence_shows_its_first_rows(table: Array, density: VAEDensity) -> None:
    evidence = density.evidence(table[:12])
    read = Cells(evidence._repr_html_())
    assert read.lines[0][:3] == ["row", "log p(x)", "± error"]
    assert len(read.lines) == 11
    assert read.lines[4][1] == f"{evidence.log_density[3]:.3f}"
    assert read.lines[4][3] == f"{evidence.n_samples[3]:,}"
    assert "12 rows in all, by to_frame()" in evidence._repr_html_()
    bad = replace(evidence, unreliable=np.arange(12) < 2)
    assert [line[-1] for line in Cells(bad._repr_html_()).lines[1:4]] == [
        "no",
        "no",
        "yes",
    ]
    assert "2 rows are lower bounds only" in bad._repr_html_()
    frame = evidence.to_frame()
    assert_array_equal(frame["log_density"], evidence.log_density)
    assert "standard_error" in frame and len(frame) == 12


def test_explanation_shows_names_that_are_no_markup(table: Array) -> None:
    frame = pd.DataFrame(table, columns=["a", BAD, "c"])
    detector = DensityOutlierDetector(GaussianMixture(), random_state=0).fit(frame)
    explanation = detector.explain(frame[:2])
    read = Cells(explanation._repr_html_())
    assert read.lines[0] == [
        "row",
        "column",
        "value",
        "usual",
        "given others",
        "alone",
    ]
    assert {line[1] for line in read.lines[1:]} == {"a", BAD, "c"}
    worst = np.minimum(explanation.given_others, explanation.alone)[0].argmin()
    assert read.lines[1][4] == f"{explanation.given_others[0, worst]:.2f}"
    printed = repr(explanation).splitlines()
    assert len({len(line) for line in printed}) == 1
    assert [line.split() for line in printed[1:]] == read.lines[1:]


def test_comparison_shows_the_table_that_it_prints(table: Array) -> None:
    comparison = compare_densities(
        {BAD: GaussianMixture(1), "two": GaussianMixture(2)},
        table,
        cv=2,
        random_state=0,
    )
    read = Cells(comparison._repr_html_())
    printed = str(comparison).splitlines()[1:4]
    # They differ in spaces alone.
    assert ["".join(line).replace(" ", "") for line in read.lines] == [
        line.replace(" ", "") for line in printed
    ]


def test_tables_of_bounds_and_of_a_diagnosis(table: Array, density: VAEDensity) -> None:
    bounds = density.bounds(table[:5], (1, 4))
    frame = bounds.to_frame()
    assert frame.columns.tolist() == ["elbo", "iwae_1", "iwae_4"]
    assert_array_equal(frame["iwae_4"], bounds.iwae[1])
    diagnosis = density.diagnose(table[:50])
    of_columns = diagnosis.to_frame()
    assert of_columns["feature_names"].tolist() == ["x0", "x1", "x2"]
    assert_allclose(of_columns["floor_share"], diagnosis.floor_share)
    assert len(diagnosis.to_frame("latents")) == diagnosis.n_components
    assert_allclose(diagnosis.to_frame("bounds")["bound_gap"], diagnosis.bound_gap)
    assert_allclose(diagnosis.to_frame("evidence")["quantiles"], diagnosis.quantiles)
    with pytest.raises(ValueError, match="table must be one of 'columns', 'latents'"):
        diagnosis.to_frame("rows")


def test_a_fit_report_is_a_frame_of_candidates_and_parts(density: VAEDensity) -> None:
    candidate = {
        "decoder": "mlp",
        "margins": "normal",
        "evidence": -1.0,
        "seconds": 2.0,
        "chosen": True,
    }
    part = {"name": "one mode", "evidence": -2.0, "share": 0.25}
    report = replace(density.fit_report_, pilots=[candidate], companion=[part])
    frame = report.to_frame()
    assert frame["kind"].tolist() == ["candidate", "companion"]
    assert frame["name"].tolist() == ["mlp, normal", "one mode"]
    assert frame["evidence"].tolist() == [-1.0, -2.0]
    assert frame["share"].isna().tolist() == [True, False]
    assert frame.loc[0, "chosen"] and frame.loc[0, "seconds"] == 2.0


def test_what_to_install_for_frames(
    table: Array, density: VAEDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = density.bounds(table[:2])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs the package pandas"):
        bounds.to_frame()


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_questions_to_draws_of_a_density_of_a_frame_warn_of_nothing(
    table: Array, container: Any
) -> None:
    """Draws are arrays without names; this is no fault of the user's."""
    frame = container(dict(zip("abc", table.T, strict=True)))
    fitted = VAEDensity(**QUICK).fit(frame)
    assert np.isfinite(fitted.entropy(5, random_state=0).value)
