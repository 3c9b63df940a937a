"""Formulas as MathML, which browsers draw by themselves: no script, no network."""

from docutils import nodes
from docutils.utils.math import latex2mathml, unichar2tex
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def _formula(node: nodes.Node, *, as_block: bool) -> str:
    # Docstrings may have ∫ and ε where these read better than commands of TeX.
    tex = node.astext().translate(unichar2tex.uni2tex_table)
    return latex2mathml.tex2mathml(tex, as_block=as_block)


def _visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_formula(node, as_block=False))
    raise nodes.SkipNode


def _visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{_formula(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Let HTML builders draw formulas so."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
