"""What a notebook shows has a form for paper that says the same."""

import re

import pandas as pd
import pytest
import torch

from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig
from tsbp.study import claims, display, reproduce, tables
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


HOSTILE = "<img src=x onerror=alert(1)>'\"&lt;{}$x$\\write18{x} %_#^~\n\x1f\u2028|"


@pytest.mark.parametrize("make", [tables.show, lambda table: tables.show(table, HOSTILE, "words")])
def test_texts_are_no_markup(make):
    """Names of columns too, and whatever is formatted afterwards."""
    style = make(pd.DataFrame({HOSTILE: [HOSTILE, "b"], "words": [HOSTILE, "<b>"], "n": [1.5, 2.0]}))
    for shown in (style, style.format({"n": "{:.2f}"}), style.format("{}", subset=["words"])):
        for html in (shown.to_html(), shown._repr_html_(), display.html(shown)):
            assert "<img" not in html and "<b>" not in html and html.count("&lt;img src=x") == 3
            assert "&amp;lt;{}" in html, "escaped once, so that the page shows it as it is"
    assert ">1.50</td>" in style.to_html()


def test_a_plain_styler_of_a_notebook_is_escaped_too():
    style = pd.DataFrame({"a": [HOSTILE], "n": [1]}, index=[HOSTILE]).style.format({"n": "{:.1f}"})
    assert "<img" in style.to_html(), "pandas would let it through"
    assert "<img" not in display.html(style) and ">1.0</td>" in display.html(style)


def test_nothing_in_a_cell_is_latex():
    paper = latex(tables.show(pd.DataFrame({HOSTILE: [HOSTILE], "n": [1]}), HOSTILE))
    row = paper.splitlines()[-4]
    assert row.endswith(r"& 1 \\") and len(paper.splitlines()) == 9, paper
    plain = re.sub(
        r"\\(textbackslash|textasciicircum|textasciitilde|space) ?|\\[&%$#_{}]", "", row.removesuffix(r"& 1 \\")
    )
    assert not set(r"\&%$#_{}^~") & set(plain), plain


def test_names_of_records_are_no_markup(monkeypatch, tmp_path):
    claim = claims.Claim(HOSTILE, HOSTILE, claims.OPEN, "", HOSTILE, "a.html", (HOSTILE, "b"))
    monkeypatch.setattr(claims, "claims", lambda: [claim])
    html = claims.claims_table()._repr_html_()
    assert "<img" not in html and re.fullmatch(r"10_reproduce\.html#[\w~%-]+", re.findall(r"href='(.*?)'", html)[1])
    folder = tmp_path / "<img src=x>"
    monkeypatch.setenv("TSBP_RESULTS", str(tmp_path))
    config = TrainingConfig(dataset="<img src=x>'", network=HOSTILE)
    measured = {"test_accuracy": 1.0, "data_fingerprint": "0", "git_commit": "<b>'", "git_dirty": False}
    records.write(records.new(config, {}, torch.device("cpu")) | measured | {"identity": "<b>'"}, folder)
    listed = reproduce.command_list()
    assert "<img" not in listed and "<b>" not in listed and "''" not in re.sub("='|'>", "", listed)
    assert listed.count("&lt;img src=x&gt;") >= 4


def test_every_claim_is_on_paper():
    found, shown = claims.claims(), claims.claims_table()
    assert shown._repr_html_().count("<tr>") == len(found) + 1
    paper = shown._repr_latex_()
    assert paper.count(r"\\") == len(found) + 1 and "<" not in paper
    assert all(f" & {claim.verdict} & " in paper for claim in found)
