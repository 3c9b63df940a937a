"""Pages of the documentation: what they list, what they link to, what they name."""

import re
from pathlib import Path

import pytest

import skvae

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
GENERATED = ("_build", "gallery", "reference")
PAGES = sorted(
    page
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]
    if page.relative_to(ROOT).parts[1:2] not in [(name,) for name in GENERATED]
)
TESTS = re.compile(r"\btests/[\w/]+(?:\.py)?\b")
SCRIPTS = re.compile(r"\bexamples/[\w/]+\.py\b")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    outside_of_code = re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", outside_of_code, flags=re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_of_a_page_name_files_that_exist(page: Path) -> None:
    for pattern in (TESTS, SCRIPTS):
        for name in pattern.findall(text_of(page)):
            found = [*ROOT.glob(name), *ROOT.glob(f"{name}*")]
            assert found, name


def test_every_page_is_in_the_list_of_pages() -> None:
    """Of the list, navigation and llms.txt are made (docs/_ext/links.py)."""
    listed = re.findall(
        r"^- \[[^\]]+\]\(([\w/]+\.md)\): ", text_of(DOCS / "README.md"), re.M
    )
    assert len(listed) == len(set(listed))
    apart = {DOCS / "README.md", DOCS / "index.md", ROOT / "README.md"}
    assert {DOCS / name for name in listed} == set(PAGES) - apart


def test_records_state_the_version_of_the_package() -> None:
    """One source has the version; what repeats it has to follow."""
    version = skvae.__version__
    assert f"version: {version}\n" in text_of(DOCS / "CITATION.cff")
    assert f"{{{version}}}" in text_of(DOCS / "project.md")
    assert version in text_of(DOCS / "CHANGELOG.md")
    recipe = ROOT / ".github" / "conda" / "recipe.yaml"
    if recipe.exists():  # an sdist has no folder for GitHub
        assert f"version: {version}\n" in text_of(recipe)
