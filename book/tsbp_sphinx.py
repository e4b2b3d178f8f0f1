"""What this book adds to Sphinx: tables with a number and a caption, symbols that say what they mean, numbers that keep
their per cent sign, links that run a chapter elsewhere, docstrings whose prose may have colons, modules that find their
page by themselves, how to cite the companion, links to records, a PDF.
"""

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.ext.glue.directives import PasteFigureDirective
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.writers.html5 import HTML5Translator
from sphinx.writers.latex import LaTeXTranslator

import citation
import published
import tsbp.runs.experiments  # noqa: F401  (before autodoc, whose TYPE_CHECKING leaves models undefined)
from tsbp.runs import config as configuration
from tsbp.study.display import ON_PAPER


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_enumerable_node(CaptionedTable, "table", html=(begin_figure, end_figure), latex=(begin_table, end_table))
    app.add_node(TableCaption, html=(begin_caption, end_caption))
    app.add_directive_to_domain("glue", "table", GlueTable)
    app.add_directive("how-to-cite", HowToCite)
    app.add_role("records", Records())
    app.add_transform(Tables)
    app.add_post_transform(Meanings)
    app.add_post_transform(OnPaper)
    app.connect("source-read", keep_together)
    app.connect("source-read", add_modules)
    app.connect("env-get-outdated", lambda app, *_: list(undescribed(Path(app.srcdir))))
    app.connect("config-inited", add_links)
    app.connect("config-inited", load_mathjax_in_parts)
    app.connect("autodoc-process-docstring", keep_prose, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", without_settings)
    app.connect("html-page-context", without_citations, priority=900)  # after the descriptions are made
    return {"parallel_read_safe": True, "parallel_write_safe": True}


RECORDS = "tsbp-records-link"


class CaptionedTable(nodes.figure):
    """A table that a cell has made, below its caption. It is numbered with the tables in Markdown, not the figures."""


class TableCaption(nodes.caption):
    """A caption that ends before what it describes begins; that of a figure ends with the figure."""


class GlueTable(PasteFigureDirective):
    """``glue:table``, used as ``glue:figure`` is: a table from a cell, with a caption and a name for references."""

    def run(self) -> list[nodes.Node]:
        pasted, *problems = super().run()
        if not isinstance(pasted, nodes.figure):
            return [pasted, *problems]
        captions = [child for child in pasted if isinstance(child, nodes.caption)]
        cells = nodes.container("", *(child for child in pasted if child not in captions), classes=["cell_output"])
        table = CaptionedTable("", *(TableCaption(c.rawsource, "", *c.children) for c in captions), cells)
        table.update_all_atts(pasted)
        table["classes"].append("tsbp-table")
        self.set_source_info(table)
        for label in table["ids"]:
            self.document.ids[label] = table
        return [table, *problems]


class HowToCite(SphinxDirective):
    """``how-to-cite``: the companion and the paper in BibTeX, from ``CITATION.cff``."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(citation.CITATION))
        year, repository = str(self.config.copyright), os.environ.get("TSBP_REPOSITORY", "")
        entries = citation.bibtex(year, repository)
        return [nodes.literal_block(entries, entries, language="bibtex")]


class Records(SphinxRole):
    """``records``: links to the records of experiments as archives, see :func:`published.named`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            found = published.named(self.text)
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        up = "../" * self.env.docname.count("/")
        links: list[nodes.Node] = []
        for name, paths in found.items():
            address = f"{up}{published.FOLDER}/{name}{published.ARCHIVE}"
            links += [nodes.Text(", ")] if links else []
            links.append(nodes.reference("", f"{name} ({len(paths)})", refuri=address, classes=[RECORDS]))
        return links, []


def begin_figure(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.visit_figure(node)


def end_figure(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append("</figure>\n")


def begin_caption(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.visit_caption(node)


def end_caption(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.depart_caption(node)
    translator.body.append("</figcaption>\n")


def begin_table(translator: LaTeXTranslator, node: nodes.Element) -> None:
    translator.body.append("\n\\begin{table}[htbp]\n\\centering\n\\capstart\n")


def end_table(translator: LaTeXTranslator, node: nodes.Element) -> None:
    translator.body.append("\\end{table}\n")


def add_links(app: Sphinx, config: Config) -> None:
    """Link every chapter to Binder, Colab and its repository, if the address of one is in ``TSBP_REPOSITORY``.

    Where a page is shared, its address and card are known if that of the site is in ``TSBP_SITE``.
    """
    config.ogp_site_url = os.environ.get("TSBP_SITE", "")
    config.ogp_social_cards = config.ogp_social_cards | {"enable": bool(config.ogp_site_url)}
    address = os.environ.get("TSBP_REPOSITORY")
    if address:
        config.html_theme_options |= {
            "repository_url": address,
            "repository_branch": "notebooks",  # main and the executed notebooks, see .ci/publish
            "use_repository_button": True,
            "launch_buttons": {
                "notebook_interface": "jupyterlab",
                "binderhub_url": "https://mybinder.org",
                "colab_url": "https://colab.research.google.com",
            },
        }


def load_mathjax_in_parts(app: Sphinx, config: Config) -> None:
    """``_config.yml`` names the parts; sphinx-mathjax-offline would have a page load twice as much in one file."""
    config.mathjax_path = "mathjax/startup.js"


def keep_prose(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon for a type; here types are hints. A colon in front says: no type."""
    starts = [n + 1 for n, line in enumerate(lines[:-1]) if line.strip() == "Returns:"]
    for n in starts if what not in ("attribute", "data", "property") else [0] if lines else []:
        indent = len(lines[n]) - len(lines[n].lstrip())
        lines[n] = f"{lines[n][:indent]}: {lines[n].lstrip()}"


def keep_together(app: Sphinx, name: str, source: list[str]) -> None:
    """No line breaks between a number, or one that is glued in, and its per cent sign."""
    source[0] = re.sub(r"(?<=[\d`]) (?=%(?!\w))", "\xa0", source[0])


def add_modules(app: Sphinx, name: str, source: list[str]) -> None:
    """A module that no page describes stands at the end of the page on its room of the package."""
    for module in undescribed(Path(app.srcdir)).get(name, []):
        source[0] += f"\n## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"


def undescribed(project: Path) -> dict[str, list[str]]:
    """Page → modules of its room, ``book/api`` or ``book/api_runs`` say, that are on no page by hand."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (project / "book").glob("api*.md"))
    described = {"tsbp", "tsbp.__main__", *re.findall(r"module:: (\S+)", pages)}  # these two: the pages' own words
    found: dict[str, list[str]] = {}
    for path in sorted((project / "tsbp").rglob("*.py")):
        module = ".".join(path.relative_to(project).with_suffix("").parts).removesuffix(".__init__")
        if module not in described:
            found.setdefault("_".join(["book/api", *module.split(".")[1:-1][:1]]), []).append(module)
    return found


def without_settings(
    app: Sphinx, what: str, name: str, described: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """The settings of a configuration, with their types, limits and checks, are a wall; its docstring lists them."""
    if isinstance(described, type) and issubclass(described, configuration.Config):
        return "(**settings)", returns
    return None


def without_citations(app: Sphinx, name: str, template: str, context: dict[str, Any], document: Any) -> None:
    """The description of a page starts with its text, in which a citation in brackets means nothing."""
    context["metatags"] = re.sub(r" ?\[ ?[^]<>]+, \d{4}[a-z]?\]", "", context.get("metatags", ""))


class Meanings(SphinxPostTransform):
    """Every symbol in an equation shows, under the pointer, what the page on notation says of it.

    Except those that the page uses for something of its own: ``own-symbols`` in its front matter.
    """

    builders = ("html",)
    default_priority = 500

    def run(self, **_: Any) -> None:
        meanings = notation(Path(self.env.srcdir, "book/notation.md").read_text(encoding="utf-8"))
        for symbol in self.env.metadata[self.env.docname].get("own-symbols", "").split():
            meanings.pop(symbol)
        for equation in [*self.document.findall(nodes.math), *self.document.findall(nodes.math_block)]:
            if not any(isinstance(parent, nodes.container) for parent in ancestors(equation)):  # SymPy's own letters
                explained = explain(equation.astext(), meanings)
                equation.children = [nodes.Text(explained)]


def ancestors(node: nodes.Node) -> list[nodes.Node]:
    return [] if node.parent is None else [node.parent, *ancestors(node.parent)]


def notation(page: str) -> dict[str, str]:
    """Symbol in TeX → what it means and is called in the code, from the first table of the page on notation."""
    table = page.split("| --- |", 1)[1].split("\n\n", 1)[0]
    meanings: dict[str, str] = {}
    for symbols, meaning, code, _ in (row.strip("|").split("|") for row in table.splitlines()[1:]):
        name = re.search("`(.+?)`", code)
        tip = re.sub("[`$]", "", meaning).strip() + (f" ({name[1]})" if name else "")
        meanings |= {re.sub(r"\[t\]|\(U\)| ?\*", "", symbol): tip for symbol in re.findall(r"\$(.+?)\$", symbols)}
    return meanings


def explain(tex: str, meanings: dict[str, str]) -> str:
    """An equation whose symbols have a tooltip."""
    whole = "|".join(re.escape(symbol) for symbol in sorted(meanings, key=len, reverse=True) if len(symbol) > 1)
    words = r"\\(?:text|mathrm|operatorname|begin|end)\*?\{[^}]*\}|\\[A-Za-z]+|\\."

    def tip(symbol: str) -> str:
        return rf"{{\texttip{{{symbol}}}{{{meanings[symbol]}}}}}"

    def explained(found: re.Match) -> str:
        symbol = found[0]
        if symbol in meanings:
            return tip(symbol)
        # A product such as Uh, but no word.
        return "".join(map(tip, symbol)) if symbol.isalpha() and all(c in meanings for c in symbol) else symbol

    return re.sub(rf"(?:{whole})(?![A-Za-z])|{words}|[A-Za-z]+", explained, tex)


class Tables(SphinxTransform):
    """MyST-NB takes all LaTeX in outputs for equations; that of a table stays as it is.

    This comes before Sphinx looks for equations: a page without any loads no MathJax.
    """

    default_priority = 500

    def apply(self, **_: Any) -> None:
        for equation in list(self.document.findall(nodes.math_block)):
            if equation.astext().startswith(ON_PAPER):
                equation.replace_self(nodes.raw("", equation.astext(), format="latex"))


class OnPaper(SphinxPostTransform):
    """LaTeX knows no HTML, and would make chapters of the front page's sections."""

    builders = ("latex",)
    default_priority = 3  # before MyST-NB chooses among the forms of an output, at 4

    def run(self, **_: Any) -> None:
        outputs = [node for node in self.document.findall(nodes.container) if node.get("nb_element") == "mime_bundle"]
        for output in outputs:
            if {form["mime_type"] for form in output.children} == {"text/html", "text/plain"}:
                output.replace_self(nodes.paragraph("", "", nodes.emphasis(text="Only the web can show this.")))
        for link in [link for link in self.document.findall(nodes.reference) if RECORDS in link["classes"]]:
            link.replace_self(link.children)  # the archives lie beside the pages
        front_page = self.document.next_node(nodes.section)
        for section in [node for node in front_page.children if isinstance(node, nodes.section)]:
            title, *rest = section.children
            section.replace_self([nodes.rubric("", "", *title.children), *rest])
