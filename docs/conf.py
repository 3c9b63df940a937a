"""How Sphinx builds the documentation: ``python docs/make.py``.

Pages are Markdown, written to be read on GitHub, too. The reference is generated from
docstrings (`_ext/reference_pages.py`), the gallery by running ``examples/plot_*.py``.
Nothing is fetched while the site is built, and nothing when its pages are opened.
"""

import os
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import skvae

# -- Project --

project = "skvae"
author = "The skvae developers"
project_copyright = "The skvae developers"
version = release = skvae.__version__

extensions = [
    "links",
    "mathml",
    "myst_parser",
    "numpydoc",
    "reference_pages",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "README.md", "gallery/**/*.md5", "**/*.ipynb"]
default_role = "literal"
highlight_language = "none"

# -- Markdown --

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 4  # links like page.md#heading, as GitHub makes them

# -- Docstrings --

autosummary_generate = False
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc's sections say it in words
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True

# Links to other projects need their inventories from the network: only on request.
intersphinx_mapping = (
    {
        "joblib": ("https://joblib.readthedocs.io/en/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
    if os.environ.get("SKVAE_DOCS_INTERSPHINX")
    else {}
)

# -- Gallery --

# Warnings in examples are for their readers: rows that are best read as lower bounds.
warnings.filterwarnings("ignore", category=UserWarning, module="skvae")

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/(plot_|quickstart)",
    "ignore_pattern": r"/(benchmarks|distributed|serving|spark)/|__init__",
    "nested_sections": False,
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("skvae",),
    "reference_url": {"skvae": None},
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "download_all_examples": False,
    "plot_gallery": not os.environ.get("SKVAE_DOCS_NO_GALLERY"),
    "abort_on_example_error": True,
    "parallel": 2,
}

# -- HTML --

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skvae"
html_static_path = ["_static"]
html_css_files = ["skvae.css"]
html_context = {"default_mode": "auto"}
html_favicon = "_static/logo.svg"
html_copy_source = True
html_show_search_summary = False  # it would fetch pages, which files may not
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "logo": {
        "text": "skvae",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"start": [], "glossary": [], "index": []}
