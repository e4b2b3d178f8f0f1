"""What a notebook shows, in two forms: HTML for the page, LaTeX for the book on paper."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas.io.formats.style

ON_PAPER = r"\begingroup\footnotesize"
"""How the LaTeX of a table begins. MyST-NB needs to be told that it is not an equation."""
_BETWEEN = "\x1f"  # ASCII's separator of units: in no cell


@dataclass(frozen=True)
class Output:
    """An output of a notebook whose two forms were made apart."""

    html: str
    latex: str

    def _repr_html_(self) -> str:
        return self.html

    def _repr_latex_(self) -> str:
        return self.latex


def latex(table: "pandas.io.formats.style.Styler") -> str:
    """A table without index as LaTeX in small letters, no wider than the page, its numbers as they are formatted.

    ``Styler.to_latex`` would leave characters such as % and _ as they are, and take CSS for commands.
    """
    import pandas as pd

    head, *rows = (line.split(_BETWEEN) for line in table.to_string(delimiter=_BETWEEN).splitlines())
    plain = pd.DataFrame(rows, columns=head).to_latex(index=False, escape=True, column_format="L" * len(head))
    plain = plain.replace(r"\begin{tabular}", r"\begin{tabulary}{\linewidth}").replace("{tabular}", "{tabulary}")
    return f"{ON_PAPER}\n{plain.replace(' ± ', '~±~')}\\endgroup"
