"""The built site: links, names, and nothing from elsewhere (``docs/make.py``)."""

import inspect
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import skvae

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build" / "html"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src"}


class Page(HTMLParser):
    """Anchors of a page, its links, and what a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag in LOADED and LOADED[tag] in values:
            self.loaded.add(values[LOADED[tag]])


@cache
def parsed(path: Path) -> Page:
    return Page(path)


def pages() -> list[Path]:
    found = sorted(SITE.rglob("*.html"))
    assert found, "build the site first: python docs/make.py"
    return [page for page in found if SITE / "_static" not in page.parents]


def test_links_lead_to_pages_and_anchors() -> None:
    broken = []
    for page in pages():
        for link in parsed(page).links | parsed(page).loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                (page.parent / unquote(parts.path)).resolve() if parts.path else page
            )
            if not target.exists():
                broken.append(f"{page.relative_to(SITE)}: {link}")
            elif parts.fragment and target.suffix == ".html":
                if unquote(parts.fragment) not in parsed(target).anchors:
                    broken.append(f"{page.relative_to(SITE)}: {link}")
    assert not broken


def test_pages_load_nothing_from_elsewhere() -> None:
    for page in pages():
        away = {link for link in parsed(page).loaded if urlsplit(link).netloc}
        assert not away, page.relative_to(SITE)


def test_the_reference_has_every_public_name_and_method() -> None:
    anchors = {
        anchor
        for page in (SITE / "reference").glob("*.html")
        for anchor in parsed(page).anchors
    }
    names = {f"skvae.{name}" for name in skvae.__all__}
    for name in skvae.__all__:
        owner = getattr(skvae, name)
        if inspect.isclass(owner):
            names |= {
                f"skvae.{name}.{method}"
                for method, value in inspect.getmembers(owner, inspect.isfunction)
                if method[0] != "_" and value.__module__.startswith("skvae")
            }
    assert len(names) > 200
    assert names <= anchors


def test_search_knows_words_of_pages_and_names_of_classes() -> None:
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    for word in ("martingal", "VAEDensity", "companion"):
        assert word in index


def test_llms_txt_leads_to_sources_of_pages() -> None:
    text = (SITE / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# skvae\n\n> ")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 30
    for link in links:
        assert (SITE / link).is_file(), link
