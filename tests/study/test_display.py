"""What a notebook shows has a form for paper that says the same."""

import pandas as pd

from tsbp.study import claims, tables
from tsbp.study.display import latex


def test_a_table_on_paper_has_the_values_of_the_page():
    table = pd.DataFrame({"tau_m": ["50 % & more", "{a}"], "change": [0.123, -2.0]})
    style = tables.show(table, "tau_m").format("{:+.1f} ± 1", subset=["change"])
    lines = latex(style).splitlines()
    assert lines[1] == r"\begin{tabulary}{\linewidth}{LL}" and lines[-2:] == [r"\end{tabulary}", r"\endgroup"]
    assert [line for line in lines if line.endswith(r"\\")] == [
        r"tau\_m & change \\",
        r"50 \% \& more & +0.1~±~1 \\",
        r"\{a\} & -2.0~±~1 \\",
    ]


def test_every_claim_is_on_paper():
    found, shown = claims.claims(), claims.claims_table()
    assert shown._repr_html_().count("<tr>") == len(found) + 1
    paper = shown._repr_latex_()
    assert paper.count(r"\\") == len(found) + 1 and "<" not in paper
    assert all(f" & {claim.verdict} & " in paper for claim in found)
