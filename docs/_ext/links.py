"""Links that work on GitHub and on the site; docs/README.md as the list of pages.

A section of that list has the page of the section first, and then those below it. It
becomes the navigation of the site (``<!-- pages: Components -->``) and llms.txt.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

EXAMPLE = re.compile(r"\]\((?:\.\./)+examples/(plot_\w+|quickstart)\.py\)")
PAGE = re.compile(r"\]\(([\w/]+)\.md\)")
PAGES = re.compile(r"<!-- pages: ([\w ]+) -->")


def _list_of_pages(app: Sphinx) -> str:
    return (Path(app.srcdir) / "README.md").read_text(encoding="utf-8")


def _toctree(text: str, section: str) -> str:
    """Return a hidden table of contents of the pages below that of a section."""
    _, _, below = text.partition(f"\n## {section}\n")
    _, *pages = PAGE.findall(below.partition("\n## ")[0])
    if not pages:
        raise ValueError(f"docs/README.md has no pages in a section {section!r}.")
    lines = ["```{toctree}", ":hidden:", "", *(f"/{page}" for page in pages), "```"]
    return "\n".join(lines)


def _adapt(app: Sphinx, name: str, content: list[str]) -> None:
    """Let links to examples lead to the gallery, and pages to those below them."""
    text = EXAMPLE.sub(r"](/gallery/\1.rst)", content[0])
    content[0] = PAGES.sub(lambda m: _toctree(_list_of_pages(app), m[1]), text)


def _write_llms(app: Sphinx, exception: Exception | None) -> None:
    """Write llms.txt: the list of pages, with links to their sources."""
    if exception is None and app.builder.format == "html":
        text = PAGE.sub(r"](_sources/\1.md.txt)", _list_of_pages(app))
        (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both to the build."""
    app.connect("source-read", _adapt)
    app.connect("build-finished", _write_llms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
