"""What a notebook shows, in two forms: HTML for the page, LaTeX for the book on paper.

Texts come from records and names of files. In both forms they are shown as they are: nothing in them is markup.
"""

import copy
import re
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

ON_PAPER = r"\begingroup\footnotesize"
"""How the LaTeX of a table begins. MyST-NB needs to be told that it is not an equation."""


@dataclass(frozen=True)
class Output:
    """An output of a notebook whose two forms were made apart."""

    html: str = field(repr=False)
    latex: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html

    def _repr_latex_(self) -> str:
        return self.latex


@dataclass(frozen=True)
class MarkdownTable:
    """A table in MyST Markdown with a number and a caption."""

    lines: str
    name: str
    """For references on the page."""
    caption: str
    """A line of MyST Markdown."""

    def _repr_markdown_(self) -> str:
        return f":::{{table}} {self.caption}\n:name: {self.name}\n\n{self.lines}\n:::"


class Table(Styler):
    """A table whose HTML is that of :func:`html`."""

    def to_html(self, *arguments: Any, **options: Any) -> Any:
        """As ``Styler.to_html``, with every text escaped."""
        return html(self, *arguments, **options)


def html(table: Styler, *arguments: Any, **options: Any) -> Any:
    """A table as ``Styler.to_html`` gives it, its numbers as they are formatted and every text escaped.

    pandas escapes texts only where each call of ``Styler.format`` asks for it.
    """
    shown = copy.copy(table).format_index(escape="html", axis="columns").format_index(escape="html", axis="index")
    cells = {place: escape(text) for place, text in _cells(table).items()}
    shown._display_funcs = {place: lambda value, text=text: text for place, text in cells.items()}
    return Styler.to_html(shown, *arguments, **options)


def latex(table: Styler) -> str:
    """A table without index as LaTeX in small letters, no wider than the page, its numbers as they are formatted.

    ``Styler.to_latex`` would leave characters such as % and _ as they are, and take CSS for commands.
    """
    rows, columns = table.data.shape
    cells = {place: one_line(text) for place, text in _cells(table).items()}
    texts = [[cells[row, column] for column in range(columns)] for row in range(rows)]
    head = [one_line(str(name)) for name in table.columns]
    plain = pd.DataFrame(texts, columns=head).to_latex(index=False, escape=True, column_format="L" * columns)
    plain = plain.replace(r"\begin{tabular}", r"\begin{tabulary}{\linewidth}").replace("{tabular}", "{tabulary}")
    return f"{ON_PAPER}\n{plain.replace(' ± ', '~±~')}\\endgroup"


def one_line(text: str) -> str:
    """A text without line ends and other control characters, which would end a row or a comment."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)


def _cells(table: Styler) -> dict[tuple[int, int], str]:
    """Row and column → the text that is shown there."""
    return {
        (row, column): str(table._display_funcs[row, column](value))
        for row, values in enumerate(table.data.itertuples(index=False, name=None))
        for column, value in enumerate(values)
    }
