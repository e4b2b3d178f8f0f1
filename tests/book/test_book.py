"""The builder: what is executed again and when, and how a failure looks."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import jupytext
import pytest
import small
from papermill.exceptions import PapermillExecutionError

import fingerprint
import pages
from book import build

CHAPTERS = {
    "index", "01_neuron", "02_gradient", "03_other_methods", "04_one_neuron", "05_data_sets", "06_settings", "07_time",
    "08_cost", "09_errata", "10_reproduce",
}  # fmt: skip
"""Those whose dependencies are tested here. One that is added needs no place among them."""

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


CHAPTER = """
# %% [markdown]
# ## A section

# %%
import pandas as pd
from IPython.display import HTML

from tsbp.study import figures

figures.use_style()
pd.DataFrame({"words_": ["50 %"], "numbers": [1.25]}).style.hide().format("{:.2f}", subset=["numbers"])

# %% tags=["remove-output"]
figures.show("glued", pd.DataFrame({"glued": [2.5]}).style.hide().format("{:.2f}"))

# %% [markdown]
# ```{glue:table} glued
# :name: captioned
#
# What the *table* says.
# ```
#
# See {numref}`captioned`.

# %%
HTML("<div><input></div>")
"""


@pytest.fixture
def notebook(tmp_path):
    source = tmp_path / "chapter.py"
    source.write_text(SOURCE)
    return source


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """A book whose repository has no known address, as on the machine of an author."""
    monkeypatch.delenv("TSBP_REPOSITORY", raising=False)
    monkeypatch.setattr(build, "REPORTS", tmp_path / "reports")


def cells(notebook) -> list:
    return jupytext.read(notebook.with_name("out") / "chapter.ipynb").cells


def printed(notebook) -> list[str]:
    return "".join(o.text for c in cells(notebook) if c.cell_type == "code" for o in c.outputs).split()


def execute(notebook, parameters=None) -> bool:
    return pages.execute(notebook, parameters or {}, notebook.with_name("out"), build.REPORTS)


def test_a_second_build_executes_only_what_changed(notebook):
    assert execute(notebook)
    first = printed(notebook)
    assert first[0] == "42"
    page = notebook.with_name("out") / "chapter.ipynb"
    written = page.stat().st_mtime_ns
    assert not execute(notebook) and printed(notebook) == first
    assert page.stat().st_mtime_ns == written, "Sphinx would set the page anew"

    notebook.write_text(SOURCE.replace("A chapter", "The chapter"))
    assert not execute(notebook) and printed(notebook) == first
    assert "The chapter" in cells(notebook)[0].source

    assert execute(notebook, {"number": 2}) and printed(notebook)[0] == "14"
    assert not execute(notebook, {"number": 2})
    notebook.write_text(SOURCE.replace("* 7", "* 8"))
    assert execute(notebook) and printed(notebook)[0] == "48"


def test_folders_in_the_environment_are_those_of_the_working_directory(monkeypatch, tmp_path):
    """Notebooks are executed in another one."""
    monkeypatch.chdir(tmp_path)
    for name, folder in {"TSBP_RESULTS": "results", "TSBP_DATA": "../data", "TSBP_CACHE": "~/cache"}.items():
        monkeypatch.setenv(name, folder)
    monkeypatch.setenv("HOME", "/home/somebody")
    build.full_paths()
    expected = [str(tmp_path / "results"), str(tmp_path.parent / "data"), "/home/somebody/cache"]
    assert [os.environ[name] for name in ("TSBP_RESULTS", "TSBP_DATA", "TSBP_CACHE")] == expected
    monkeypatch.setenv("TSBP_RESULTS", "")
    monkeypatch.delenv("TSBP_DATA")
    build.full_paths()
    assert os.environ["TSBP_RESULTS"] == "" and "TSBP_DATA" not in os.environ, "as if it were not set"


@pytest.fixture
def change(monkeypatch, tmp_path):
    """Changes a file in a copy of the project, and says which of its chapters would be executed again."""
    project = tmp_path / "project"
    for folder in ("tsbp", "notebooks"):
        shutil.copytree(build.PROJECT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(build.PROJECT / "requirements.txt", project)
    monkeypatch.setattr(fingerprint, "PROJECT", project)
    monkeypatch.setenv("TSBP_RESULTS", str(project / "results"))
    chapters = sorted((project / "notebooks").glob("*.py"))

    def change(path: str, text: str) -> set[str]:
        before = {chapter.stem: fingerprint.fingerprint(chapter, {}) for chapter in chapters}
        file = project / path
        file.parent.mkdir(exist_ok=True)
        file.write_text((file.read_text() if file.exists() else "") + text)
        return {chapter.stem for chapter in chapters if fingerprint.fingerprint(chapter, {}) != before[chapter.stem]}

    return change


@pytest.mark.parametrize(
    ("path", "text", "again"),
    [
        ("tsbp/kernels/cpu.cpp", "// faster", CHAPTERS),
        ("tsbp/kernels/recurrent.h", "// faster", CHAPTERS),
        ("tsbp/neuron.py", "a = 1", CHAPTERS),
        ("tsbp/neuron.py", "# a comment", set()),
        ("tsbp/study/__init__.py", "a = 1", CHAPTERS),
        ("tsbp/study/claims.py", "a = 1", {"index"}),
        (
            "tsbp/runs/graph.py",
            "a = 1",
            {"05_data_sets", "06_settings", "07_time", "08_cost", "10_reproduce", "index"},
        ),  # in a function
        ("tsbp/__main__.py", "a = 1", set()),
        ("results/a.json", "{}", CHAPTERS - {"01_neuron", "02_gradient", "09_errata"}),
        ("requirements.txt", "numpy", CHAPTERS),
        ("notebooks/01_neuron.py", "\n# %%\na = 1\n", {"01_neuron"}),
        ("notebooks/01_neuron.py", "\n# %% [markdown]\n# Prose.\n", set()),
    ],
)
def test_a_chapter_is_executed_again_if_what_it_depends_on_changed(change, path, text, again):
    assert change(path, text) & CHAPTERS == again


def test_experiments_are_of_the_chapters_that_read_them(change):
    changed = change("experiments/short.yaml", "lr: 1")
    assert {"04_one_neuron", "06_settings"} <= changed and not {"01_neuron", "02_gradient", "09_errata"} & changed


def test_what_is_said_of_the_code_executes_nothing_again():
    described = b'A = 1\n"""One."""\n\n\ndef f(x):\n    """Twice."""\n    return 2 * x  # so\n'
    bare = b"A = 1\ndef f(x):\n    return 2 * x\n"
    assert fingerprint._code(described) == fingerprint._code(bare) != fingerprint._code(bare.replace(b"2", b"3"))


def test_a_build_that_was_killed_goes_on(tmp_path):
    """Chapter by chapter: what was executed before stays, and the next build says what it will execute."""
    flag = tmp_path / "flag"
    kill = f"import os, pathlib, signal\nif not pathlib.Path({str(flag)!r}).exists():\n"
    kill += "    os.kill(os.getppid(), signal.SIGKILL)\n    os._exit(1)"  # or the orphan complains of its parent
    for name, end in (("a", ""), ("b", kill), ("c", "")):
        (tmp_path / f"{name}.py").write_text(SOURCE.replace("number: int", 'profile: str = "quick"\nnumber: int') + end)
    program = (
        "import sys, pathlib; from book import build; build.NOTEBOOKS = build.EXECUTED = pathlib.Path(sys.argv[1])\n"
    )
    program += "import pages; pages.AT_ONCE = 1; build.BUILDERS['html'] = lambda: 'the book', ''; "
    program += "sys.argv[1:] = ['--profile', 'full']; build.main()"

    def built() -> tuple[int, list[str], str]:
        paths = os.pathsep.join([str(build.PROJECT), str(build.PROJECT / "book")])
        command = [sys.executable, "-c", program, str(tmp_path)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines(), done.stderr

    status, lines, error = built()
    assert status == 1 and lines[0] == "to execute: a, b, c"
    assert error.startswith("error: the process of a notebook was killed") and error.count("\n") == 1
    assert [path.name for path in tmp_path.glob("*.ipynb")] == ["a.ipynb"]
    flag.touch()
    status, lines, _ = built()
    assert status == 0 and lines[0] == "to execute: b, c" and lines[-1] == "the book"
    assert [line.split()[1] for line in lines[1:4]] == ["unchanged", "executed", "executed"]
    assert built()[1][0] == "to execute: nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="no sockets in the file system")
def test_kernels_that_start_at_once_share_no_ports(notebook):
    asked = "from ipykernel.connect import get_connection_info as asked\n\nprint(asked(unpack=True)['transport'])\n"
    notebook.write_text(SOURCE + asked)
    assert execute(notebook)
    assert printed(notebook)[-1] == "ipc"


def test_an_unknown_parameter_is_an_error(notebook):
    with pytest.raises(ValueError, match=r"chapter\.py has no parameter numbr"):
        execute(notebook, {"numbr": 2})
    assert not notebook.with_name("out").joinpath("chapter.ipynb").exists()


def test_a_failing_cell_is_named_and_the_earlier_result_stays(notebook, monkeypatch, capsys):
    assert execute(notebook)
    first = printed(notebook)
    notebook.write_text(SOURCE + "\n# %%\nnumber / 0\n")
    with pytest.raises(PapermillExecutionError):
        execute(notebook)
    assert printed(notebook) == first

    monkeypatch.setattr(build, "NOTEBOOKS", notebook.parent)
    monkeypatch.setattr(build, "EXECUTED", notebook.with_name("out"))
    monkeypatch.setattr("sys.argv", ["book/build.py"])
    with pytest.raises(SystemExit) as end:
        build.main()
    message = re.sub(r"\x1b\[[\d;]*m", "", str(end.value.code))
    assert "cell 3" in message and "number / 0" in message and "ZeroDivisionError" in message
    assert "to execute: chapter" in capsys.readouterr().out
    assert str(build.REPORTS / "chapter.ipynb") in message
    failed = jupytext.read(build.REPORTS / "chapter.ipynb").cells[-1]
    assert failed.source == "number / 0" and failed.outputs[0].ename == "ZeroDivisionError"
    assert "ZeroDivisionError" in (build.REPORTS / "chapter.log").read_text()


def test_a_page_says_how_to_run_it(notebook, tmp_path):
    """In words that work: its commands do what it says, with the parameters that papermill finds."""
    notebook.write_text(
        SOURCE.replace("# to be multiplied", '# a | b\nnames: list = ["x"]  # of things\nword: str = "it"  # any')
    )
    assert execute(notebook)
    instructions = cells(notebook)[-1].source
    assert "| `number` | int | `6` | a \\| b |" in instructions
    assert '| `names` | list | `["x"]` | of things |' in instructions
    commands = re.search(r"```bash\n(.*?)\n```", instructions, re.DOTALL)[1].replace("\\\n", "")
    (tmp_path / "notebooks").mkdir()
    shutil.copy(notebook, tmp_path / "notebooks")
    for words in map(shlex.split, commands.splitlines()):
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and "unknown parameter" not in done.stderr.lower(), done.stderr
    executed = jupytext.read(tmp_path / "executed.ipynb").cells
    injected = next(cell.source for cell in executed if "injected-parameters" in cell.metadata.get("tags", []))
    assert set(injected.splitlines()[1:]) == {"number = 6", 'word = "it"', 'names = ["x"]'}


def test_a_page_fetches_the_package_where_its_repository_is_known(notebook, monkeypatch, tmp_path):
    assert execute(notebook)
    assert not any("git clone" in cell.source for cell in cells(notebook))
    monkeypatch.setenv("TSBP_REPOSITORY", "https://github.com/someone/somewhere")
    assert not execute(notebook)
    title, added, *_ = cells(notebook)
    assert title.source == "A chapter" and "remove-cell" in added.metadata["tags"]
    assert "--branch notebooks https://github.com/someone/somewhere " in added.source
    assert not execute(notebook) and printed(notebook)[0] == "42"

    # Where the package is, the cell does nothing: no network is asked.
    page = notebook.with_name("out") / "chapter.ipynb"
    command = [sys.executable, "-m", "papermill", str(page), str(tmp_path / "again.ipynb"), "-p", "number", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    ran = jupytext.read(tmp_path / "again.ipynb").cells
    assert ran[1].outputs == [] and [c.outputs[0].text.split()[0] for c in ran if c.get("outputs")] == ["7"]

    monkeypatch.delenv("TSBP_REPOSITORY")
    assert not execute(notebook)
    assert not any("git clone" in cell.source for cell in cells(notebook))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A chapter as text and, beside it, as a page; no test may change them."""
    notebook = tmp_path_factory.mktemp("executed") / "chapter.py"
    notebook.write_text(SOURCE.replace("# A chapter", "# # A chapter") + CHAPTER)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("TSBP_REPOSITORY", raising=False)
        pages.execute(notebook, {}, notebook.parent, notebook.parent)
    return notebook


@pytest.fixture
def small_book(executed, monkeypatch, tmp_path):
    """A project of one executed chapter, with the configuration of the real one."""
    return small.small_book(executed, tmp_path / "project", monkeypatch)


@pytest.mark.parametrize("address", [None, "https://github.com/someone/somewhere"])
def test_links_to_binder_and_colab(executed, small_book, monkeypatch, address):
    if address:
        monkeypatch.setenv("TSBP_REPOSITORY", address)
    page = build.build_site().with_name("book") / "chapter.html"
    html = page.read_text()
    binder = "https://mybinder.org/v2/gh/someone/somewhere/notebooks?urlpath=lab/tree/book/chapter.ipynb"
    colab = "https://colab.research.google.com/github/someone/somewhere/blob/notebooks/book/chapter.ipynb"
    found = [link in html for link in (binder, colab, f'href="{address}"')]
    assert found == [bool(address)] * 3
    assert address or not re.search(r"mybinder\.org|colab\.research|fa-rocket", html)
    copies = {path.name: path for path in (build.SITE / "_downloads").rglob("chapter.*")}
    assert copies["chapter.py"].read_text() == executed.read_text()
    assert "42" in copies["chapter.ipynb"].read_text()
    notebook = copies["chapter.ipynb"].relative_to(build.SITE).as_posix()
    assert html.count(notebook) == 2 and not list((build.SITE / "_sources").rglob("*.ipynb")), (
        "the theme's download too"
    )


def test_a_change_of_style_reaches_every_page(small_book):
    page = build.build_site().with_name("book") / "chapter.html"
    before, written = page.read_text(), page.stat().st_mtime_ns
    build.build_site()
    assert page.stat().st_mtime_ns == written, "nothing had changed"
    with (small_book / "book" / "_static" / "book.css").open("a") as style:
        style.write("body { color: red; }\n")
    build.build_site()
    assert (build.SITE / "_static" / "book.css").read_text().rstrip().endswith("color: red; }")
    assert page.read_text() != before, "browsers would show the style that they kept"


def test_a_page_of_a_former_chapter_is_gone(small_book):
    build.build_site()
    former = build.SITE / "book" / "former.html"
    former.write_text("of a chapter that was renamed")
    time.sleep(0.01)  # a file system may have coarse times
    (small_book / "book" / "_toc.yml").touch()
    assert build.build_site().exists()
    assert not former.exists()


def test_a_warning_is_an_error(small_book, capfd):
    page = small_book / "book" / "chapter.ipynb"
    page.write_text(page.read_text().replace("A section", "A {doc}`nowhere`"))
    with pytest.raises(subprocess.CalledProcessError):
        build.build_site()
    assert "unknown document: 'nowhere'" in capfd.readouterr().err and not (build.SITE / "index.html").exists()


def test_without_latex_there_is_one_line_and_no_work(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", ["book/build.py", "--to", "pdf"])
    with pytest.raises(SystemExit) as end:
        build.main()
    assert end.value.code.startswith("error: a PDF needs xelatex and latexmk") and "\n" not in end.value.code
    assert capsys.readouterr().out == ""


def test_a_pdf_is_offered_if_it_is_that_of_these_pages(monkeypatch, tmp_path):
    site, pdf, chapters = tmp_path / "html", tmp_path / "latex" / "tsbp.pdf", tmp_path / "book"
    for folder in (site / "book", pdf.parent, chapters):
        folder.mkdir(parents=True)
    monkeypatch.setattr(build, "EXECUTED", chapters)
    (chapters / "chapter.ipynb").touch()
    front, title = site / "book" / "index.html", '<h1>Title</h1>\n<h1>Title<a href="#">#</a></h1>\n<p>Text.</p>'
    front.write_text(title)
    build.offer_pdf(site, pdf)
    assert front.read_text() == title and not (site / "tsbp.pdf").exists(), "without LaTeX nothing changes"
    pdf.write_bytes(b"p" * 1_200_000)
    for _ in range(2):
        build.offer_pdf(site, pdf)
        assert (site / "tsbp.pdf").read_bytes() == pdf.read_bytes()
        assert front.read_text().count('<a href="../tsbp.pdf">The whole book as a PDF</a> (1.2 MB)') == 1
    os.utime(pdf, (0, 0))
    build.offer_pdf(site, pdf)
    assert front.read_text() == title and not (site / "tsbp.pdf").exists(), "it is older than a chapter"


def test_a_table_is_html_on_the_web_and_latex_on_paper(small_book):
    page = build.build_site().with_name("book") / "chapter.html"
    html = page.read_text()
    assert "<td" in html and "tabulary" not in html and "<input>" in html
    assert "MathJax" not in html, "there are no equations"
    tex = build._jupyter_book("latex", build.SITE.with_name("latex") / "tsbp.tex").read_text()
    assert r"words\_ & numbers \\" in tex and r"50 \% & 1.25 \\" in tex and "Only the web can show this" in tex
    assert "equation" not in tex[tex.index(r"\begin{document}") :]


def test_a_table_of_a_cell_has_a_number_and_a_caption_above_it(small_book):
    html = (build.build_site().with_name("book") / "chapter.html").read_text()
    figure = re.search(r'<figure class="tsbp-table[^"]*" id="captioned">(.*?)</figure>', html, re.DOTALL)[1]
    caption, table = figure.split("</figcaption>")
    assert re.search(r"Table 1.*What the <em>table</em> says", caption, re.DOTALL) and "2.50</td>" in table
    assert re.search(r'href="#captioned".*?Table 1', html)
    tex = build._jupyter_book("latex", build.SITE.with_name("latex") / "tsbp.tex").read_text()
    table = re.search(r"\\begin{table}(.*?)\\end{table}", tex, re.DOTALL)[1]
    assert table.index(r"\caption{What the") < table.index(r"glued \\") < table.index(r"2.50 \\")


@pytest.mark.slow
def test_a_book_on_paper(small_book):
    """Tables and figures are there, and nothing of Python's own names for them."""
    if not shutil.which("xelatex") or not shutil.which("pdftotext"):
        pytest.skip("no LaTeX, or no pdftotext, on this machine")
    pdf = build.build_pdf()
    text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"words_ +numbers\s+50 % +1.25", text) and "Only the web can show this" in text
    assert "HTML object" not in text and "Styler object" not in text and "CHAPTER" not in text


def test_autodoc_is_not_the_first_to_import_pydantics_models():
    """It imports modules as a type checker sees them, and pydantic's models stay undefined if it is the first."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import tsbp_sphinx; assert 'tsbp.runs.toy' in sys.modules"
    subprocess.run([sys.executable, "-c", script, build.PROJECT / "book"], check=True)
