"""The page on notation, and what its symbols say on all others."""

import re

import pytest
import sympy

from book.build import NOTEBOOKS, PROJECT
from tsbp import GRADIENTS, scaled
from tsbp.gradients import STUDIED

PAGE = (PROJECT / "book" / "notation.md").read_text()
MEANINGS = {"t": "step", "U": "potential", "h": "surrogate", r"\tau_m": "membrane", r"a_\text{target}": "target"}


def test_symbols_have_one_meaning_each(extension):
    meanings = extension.notation(PAGE)
    assert meanings["U"] == "membrane potential (potential)"
    assert meanings[r"\delta"] == "gradient of the loss at U[t], and so at I[t]"
    listed = re.findall(r"^\| (\$.+?) \|", PAGE, re.MULTILINE)
    assert len(meanings) == sum(row.count("$") // 2 for row in listed) - 1  # h(U) and h[t] are one


@pytest.mark.parametrize(
    ("tex", "explained"),
    [
        ("U[t]", r"{\texttip{U}{potential}}[{\texttip{t}{step}}]"),
        ("1 - Uh", r"1 - {\texttip{U}{potential}}{\texttip{h}{surrogate}}"),
        (r"\frac1{\tau_m}", r"\frac1{{\texttip{\tau_m}{membrane}}}"),
        (r"a_\text{target}", r"{\texttip{a_\text{target}}{target}}"),
        (r"N_t", r"N_{\texttip{t}{step}}"),
        (r"\text{that}, \hat x, \tau_m t", r"\text{that}, \hat x, {\texttip{\tau_m}{membrane}} {\texttip{t}{step}}"),
        (r"\begin{aligned} x \\ y \end{aligned}", r"\begin{aligned} x \\ y \end{aligned}"),
        ("grad_{ut}", "grad_{ut}"),
    ],
)
def test_symbols_are_explained_and_nothing_else(extension, tex, explained):
    assert extension.explain(tex, MEANINGS) == explained


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("a 95 % interval", "a 95\xa0% interval"),
        ("{glue:text}`x:.2f` %.", "{glue:text}`x:.2f`\xa0%."),
        ("7 %d", "7 %d"),
        ('print(f"{x} % of", a % b)', 'print(f"{x} % of", a % b)'),
    ],
)
def test_a_per_cent_sign_stays_with_its_number(extension, written, kept):
    source = [written]
    extension.keep_together(None, "page", source)
    assert source == [kept]


@pytest.mark.parametrize("page", [PROJECT / "book" / "notation.md", NOTEBOOKS / "02_gradient.py"])
def test_factors_in_print_are_those_of_the_package(page):
    """The tables that name the gradients beside tsbp.GRADIENTS, whose functions take SymPy's symbols too."""
    symbols = {name: sympy.Symbol(name) for name in "UShc"}
    rows = re.findall(r"^(?:# )?\| `?(\w+)`? \| \$([^$]+)\$", page.read_text(), re.MULTILINE)
    printed = {name: tex for name, tex in rows if name in (*STUDIED, "scaled")}
    assert printed.keys() >= set(STUDIED)
    for name, tex in printed.items():
        factor = scaled(symbols["c"]) if name == "scaled" else GRADIENTS[name]
        expected = factor(*(symbols[letter] for letter in "USh"))
        assert sympy.sympify(re.sub(r"\\,|(?<=U) (?=h)", "*", tex), locals=symbols) == expected


def test_every_symbol_of_the_numbered_equations_is_on_the_page(extension):
    explained = r"\{\\texttip\{.+?\}\{[^}]*\}\}"
    words = r"\\(?:text|begin|end)\{.*?\}|\\[a-zA-Z]+"
    for path in sorted(NOTEBOOKS.glob("[0-9]*.py")):
        text = re.sub(r"^# ?", "", path.read_text(), flags=re.MULTILINE)
        for equation in re.findall(r"\$\$\n(.+?)\$\$ \(", text, re.DOTALL):
            rest = re.sub(f"{explained}|{words}", "", extension.explain(equation, extension.notation(PAGE)))
            assert set(re.findall("[A-Za-z]", rest)) <= {"x"}, (path.name, rest)
