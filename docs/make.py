#!/usr/bin/env python3
"""Build the documentation, and check it: ``python docs/make.py``.

1. The site, in ``docs/_build/html``, with warnings as errors. Examples are run.
2. The tests of ``tests/docs``: links, the reference, snippets, and the wheel.
3. The examples in docstrings, unless ``--no-doctests`` leaves them to a run of pytest.

``--no-gallery`` shows examples without running them, to look at a page sooner. The
packages are those of the extra "docs".
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SITE = DOCS / "_build" / "html"


def main() -> int:
    """Run all steps; return 0 if none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-gallery", action="store_true")
    parser.add_argument("--no-doctests", action="store_true")
    arguments = parser.parse_args()
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning"]
    # A page that no longer has a source would stay, and so would links to it.
    sphinx += ["--quiet", "--fresh-env", "--builder", "html"]
    pytest = [sys.executable, "-m", "pytest", "--numprocesses=2"]
    steps = [[*sphinx, DOCS, SITE], [*pytest, "-m", "docs", "tests/docs"]]
    if not arguments.no_doctests:
        steps.append([*pytest, "skvae"])
    # Two examples at a time, each in a thread.
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    if arguments.no_gallery:
        environment["SKVAE_DOCS_NO_GALLERY"] = "1"
    codes = [
        subprocess.run(step, cwd=DOCS.parent, env=environment).returncode
        for step in steps
    ]
    print(f"Open {SITE / 'index.html'}")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
