"""The builder: what is executed again and when, and how a failure looks."""

import re

import jupytext
import pytest
from papermill.exceptions import PapermillExecutionError

from tsbp import book

SOURCE = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# A chapter

# %% tags=["parameters"]
number: int = 6  # to be multiplied

# %%
import time

print(number * 7, time.time_ns())
"""


@pytest.fixture
def notebook(tmp_path):
    source = tmp_path / "chapter.py"
    source.write_text(SOURCE)
    return source


def printed(notebook) -> list[str]:
    cells = jupytext.read(notebook.with_name("out") / "chapter.ipynb").cells
    return "".join(o.text for c in cells if c.cell_type == "code" for o in c.outputs).split()


def build(notebook, parameters=None) -> bool:
    return book.execute(notebook, parameters or {}, notebook.with_name("out"))


def test_a_second_build_executes_only_what_changed(notebook, monkeypatch, tmp_path):
    monkeypatch.setenv("TSBP_RESULTS", str(tmp_path / "results"))
    assert build(notebook)
    first = printed(notebook)
    assert first[0] == "42"
    assert not build(notebook) and printed(notebook) == first

    notebook.write_text(SOURCE.replace("A chapter", "The chapter"))
    assert not build(notebook) and printed(notebook) == first
    assert "The chapter" in jupytext.read(notebook.with_name("out") / "chapter.ipynb").cells[0].source

    assert build(notebook, {"number": 2}) and printed(notebook)[0] == "14"
    assert not build(notebook, {"number": 2})
    notebook.write_text(SOURCE.replace("* 7", "* 8"))
    assert build(notebook) and printed(notebook)[0] == "48"

    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("{}")
    assert build(notebook)


def test_an_unknown_parameter_is_an_error(notebook):
    with pytest.raises(ValueError, match=r"chapter\.py has no parameter numbr"):
        build(notebook, {"numbr": 2})
    assert not notebook.with_name("out").joinpath("chapter.ipynb").exists()


def test_a_failing_cell_is_named_and_the_earlier_result_stays(notebook, monkeypatch, capsys):
    assert build(notebook)
    first = printed(notebook)
    notebook.write_text(SOURCE + "\n# %%\nnumber / 0\n")
    with pytest.raises(PapermillExecutionError):
        build(notebook)
    assert printed(notebook) == first

    monkeypatch.setattr(book, "NOTEBOOKS", notebook.parent)
    monkeypatch.setattr(book, "EXECUTED", notebook.with_name("out"))
    monkeypatch.setattr("sys.argv", ["tsbp.book"])
    with pytest.raises(SystemExit) as end:
        book.main()
    message = re.sub(r"\x1b\[[\d;]*m", "", str(end.value.code))
    assert "cell 3" in message and "number / 0" in message and "ZeroDivisionError" in message
    assert "chapter.py" in capsys.readouterr().out
