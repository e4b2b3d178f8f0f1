"""From text notebooks to the book: jupytext makes them .ipynb, papermill executes them, Jupyter Book sets the pages.

``python book/build.py`` does it all. Each notebook is written as soon as it is executed, and executed again only when
something changed on which its outputs depend (see ``fingerprint.py``). So a build that was interrupted goes on.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import jupytext
import papermill
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from papermill.exceptions import PapermillExecutionError

from fingerprint import fingerprint
from tsbp.runs import files

PROJECT = files.PROJECT
NOTEBOOKS = PROJECT / "notebooks"
EXECUTED = PROJECT / "book"
SITE = PROJECT / "build" / "_build" / "html"
PROFILES = ("quick", "full")
TEX_LIVE = ("texlive-xetex", "texlive-latex-extra", "texlive-fonts-recommended", "fonts-freefont-otf", "latexmk")
"""What a PDF needs, by the names of Debian and Ubuntu."""
REPORTS = PROJECT / "build" / "reports"
"""What a notebook that failed leaves: how far it came, and the error."""
AT_ONCE = min(4, os.cpu_count() or 1)
"""Notebooks that are executed at the same time; each has a Python of its own, which takes a gigabyte."""
ADDED = "added-by-the-build"
"""Tag of the cells that a text notebook has not, but every page needs."""

_SET_UP = """\
# Where tsbp is missing, as in Colab, fetch it with its records and install what the notebooks need.
import importlib.util
import sys

if importlib.util.find_spec("tsbp") is None:
    !git clone --quiet --depth 1 --branch notebooks {repository} tsbp-repository
    %pip install --quiet "./tsbp-repository[notebook]"
    sys.path.insert(0, "tsbp-repository")  # with the records, which are not installed"""

_INSTRUCTIONS = """\
:::{{admonition}} Run this page yourself
:class: dropdown

Get it {{download}}`with its outputs <{name}.ipynb>`, or {{download}}`as text <../notebooks/{name}.py>`. In a copy of
the repository, after `make book` and `source .venv/bin/activate`, this executes it anew; change some parameters, leave
out the rest.

```bash
jupytext notebooks/{name}.py \\
    --to ipynb --output {name}.ipynb
{command}
```

| parameter | type | default | meaning |
| --- | --- | --- | --- |
{rows}
:::"""


def execute(source: Path, parameters: dict[str, Any], folder: Path = EXECUTED) -> bool:
    """Execute one text notebook into ``folder``, unless its outputs there are still good.

    Args:
        source: the notebook in jupytext's percent format.
        parameters: values for its cell tagged ``parameters``; its own defaults serve for the others.
        folder: where the executed .ipynb goes. It is replaced only after the last cell has run.

    Returns:
        Whether cells were run.

    Raises:
        ValueError: the notebook has no parameter of that name.
        PapermillExecutionError: a cell failed.
    """
    notebook = jupytext.read(source)
    target = folder / f"{source.stem}.ipynb"
    depends_on = fingerprint(source, parameters)
    good = _depended_on(target) == depends_on
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / target.name
        jupytext.write(notebook, plain)
        known = papermill.inspect_notebook(plain)
        unknown = parameters.keys() - known.keys()
        if unknown:
            raise ValueError(f"{source.name} has no parameter {', '.join(sorted(unknown))}")
        page = _with_outputs(notebook, jupytext.read(target) if good else _run(plain, parameters))
    page.metadata["tsbp_fingerprint"] = depends_on
    _write(_with_additions(page, source.stem, known), target)
    return not good


def execute_all(sources: list[Path], parameters: dict[str, Any]) -> Iterator[tuple[Path, float | None]]:
    """Execute those of the text notebooks whose outputs are not good any more, several at a time.

    Yields:
        Each notebook when it is done, and its seconds; None if its outputs were still good.

    Raises:
        PapermillExecutionError: a cell failed; notebooks that had not begun are left out.
    """

    def timed(source: Path) -> float | None:
        started = time.perf_counter()
        return time.perf_counter() - started if execute(source, parameters, EXECUTED) else None

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // AT_ONCE)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(timed, source): source for source in sources}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _depended_on(page: Path) -> str | None:
    """The fingerprint with which a notebook was executed; None where it was not."""
    return jupytext.read(page).metadata.get("tsbp_fingerprint") if page.exists() else None


def _run(plain: Path, parameters: dict[str, Any]) -> NotebookNode:
    """The notebook executed, in its own folder; one that fails is kept in :data:`REPORTS`."""
    executed = plain.with_name("executed.ipynb")
    try:
        return papermill.execute_notebook(
            plain,
            executed,
            parameters,
            cwd=plain.parent,
            progress_bar=sys.stderr.isatty(),
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
    except PapermillExecutionError as error:
        REPORTS.mkdir(parents=True, exist_ok=True)
        shutil.copy(executed, REPORTS / plain.name)
        (REPORTS / plain.name).with_suffix(".log").write_text(_report(error), encoding="utf-8")
        error.add_note(f"The notebook as far as it came is {REPORTS / plain.name}")
        raise


def _report(error: PapermillExecutionError) -> str:
    """Which cell failed, and how."""
    return f"failed in cell {error.exec_count}:\n\n{error.source}\n\n" + "\n".join(error.traceback)


def build_site() -> Path:
    """Set the executed notebooks and the pages of ``book/`` with Jupyter Book, warnings as errors.

    Returns:
        The front page.

    Raises:
        CalledProcessError: the build failed; Jupyter Book has said why.
    """
    return _jupyter_book("html", SITE / "index.html")


def build_pdf() -> Path:
    """Set the same on paper.

    Returns:
        The PDF.

    Raises:
        CalledProcessError: the build failed; Jupyter Book or LaTeX has said why.
        FileNotFoundError: there is no LaTeX here.
    """
    check_latex()
    return _jupyter_book("pdflatex", SITE.with_name("latex") / "tsbp.pdf")


def check_latex() -> None:
    """Find out before long work whether there is a LaTeX.

    Raises:
        FileNotFoundError: there is not; the message says what to install.
    """
    if not (shutil.which("xelatex") and shutil.which("latexmk")):
        raise FileNotFoundError(f"a PDF needs xelatex and latexmk, of TeX Live the packages {', '.join(TEX_LIVE)}")


def check_links() -> Path:
    """Visit every link of the book that leads out of it.

    Returns:
        The report.

    Raises:
        CalledProcessError: some are broken; Sphinx has named them.
    """
    return _jupyter_book("linkcheck", PROJECT / "build" / "links" / "_build" / "html" / "output.txt")


def _jupyter_book(builder: str, result: Path) -> Path:
    """Build what is ``result`` in the end."""
    # Sphinx does not see that these changed.
    around = [PROJECT / "book" / name for name in ("tsbp_sphinx.py", "_toc.yml", "notation.md")]
    around += [*(PROJECT / "book" / "_static").iterdir(), PROJECT / "_config.yml"]
    stale = not result.exists() or any(path.stat().st_mtime > result.stat().st_mtime for path in around)
    result.unlink(missing_ok=True)  # its presence proves the build: other versions of the tool end in silence
    folder = next(parent for parent in result.parents if parent.name == "_build")
    command = [str(Path(sysconfig.get_path("scripts")) / "jupyter-book"), "build", ".", "--config", "_config.yml"]
    command += ["--toc", "book/_toc.yml", "--path-output", str(folder.parent), "--builder", builder]
    command += ["-W", "-n", "--keep-going", "-q", *(["--all"] if stale else [])]
    try:
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        if builder != "linkcheck":  # whose report names the broken ones
            result.unlink(missing_ok=True)
        shutil.rmtree(folder / ".doctrees", ignore_errors=True)  # the next build would read less, and warn of nothing
        raise
    if not result.exists():
        raise FileNotFoundError(f"Jupyter Book ended without an error and without {result}")
    return result


def _with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The text and tags of one notebook with the outputs of another that has the same code."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code" and not _tagged(cell, ADDED)]
    merged = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            earlier = cells.pop(0)
            cell.outputs, cell.execution_count = earlier.outputs, earlier.execution_count
        merged.append(cell)
        if cells and _tagged(cells[0], "injected-parameters") and _tagged(cell, "parameters"):
            merged.append(cells.pop(0))
    notebook.cells = merged
    notebook.metadata = {**executed.metadata, **notebook.metadata}
    return notebook


def _tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _with_additions(notebook: NotebookNode, name: str, parameters: dict[str, dict[str, str]]) -> NotebookNode:
    """A page with how to run it at its end and, if the address of its repository is known, what fetches the package."""
    notebook.cells.append(new_markdown_cell(_instructions(name, parameters), metadata={"tags": [ADDED]}))
    repository = os.environ.get("TSBP_REPOSITORY")
    if repository:
        tags = {"tags": [ADDED, "remove-cell"]}
        notebook.cells.insert(1, new_code_cell(_SET_UP.format(repository=repository), metadata=tags))
    return notebook


def _write(page: NotebookNode, target: Path) -> None:
    """Write a page, unless it is there already: Sphinx sets only those anew that are younger than their pages."""
    for number, cell in enumerate(page.cells):
        cell["id"] = f"cell-{number}"  # jupytext draws them
    text = jupytext.writes(page, fmt="ipynb")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(target, text)


def _instructions(name: str, parameters: dict[str, dict[str, str]]) -> str:
    """How to run a notebook.

    Args:
        name: of its file.
        parameters: what papermill's inspection says of each.
    """
    words, rows = [f"papermill {name}.ipynb executed.ipynb"], []
    for parameter, found in parameters.items():
        value = ast.literal_eval(found["default"])
        simple = isinstance(value, bool | int | float | str)
        words.append(f"-p {parameter} {value}" if simple else f"-y '{parameter}: {json.dumps(value)}'")
        meaning = found["help"].replace("|", "\\|")
        rows.append(f"| `{parameter}` | {found['inferred_type_name']} | `{found['default']}` | {meaning} |")
    return _INSTRUCTIONS.format(name=name, command=" \\\n    ".join(words), rows="\n".join(rows))


BUILDERS = {
    "html": (build_site, "the book was not built"),
    "pdf": (build_pdf, "there is no PDF"),
    "links": (check_links, "not all links lead somewhere"),
}


def full_paths() -> None:
    """Turn the folders that variables of the environment name into full paths: notebooks are executed in another."""
    for name in ("TSBP_RESULTS", "TSBP_DATA", "TSBP_CACHE"):
        if folder := os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(folder))


def main() -> None:
    """Execute what changed, set the book, and print the path of the result."""
    parser = argparse.ArgumentParser(prog="python book/build.py", description=main.__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="quick", help="quick takes minutes, full much longer")
    parser.add_argument("--to", choices=BUILDERS, default="html", help="html, pdf, or a report on the book's links")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")  # of the tools, not of this project
    full_paths()
    shutil.rmtree(REPORTS, ignore_errors=True)
    try:
        if options.to == "pdf":
            check_latex()
        # The notebooks' own default is the quick profile: nothing is injected into the page then.
        parameters = {} if options.profile == "quick" else {"profile": options.profile}
        pages = {source: EXECUTED / f"{source.stem}.ipynb" for source in sorted(NOTEBOOKS.glob("*.py"))}
        outdated = [path.stem for path in pages if _depended_on(pages[path]) != fingerprint(path, parameters)]
        print(f"to execute: {', '.join(outdated) or 'nothing'}", flush=True)
        for source, seconds in execute_all(list(pages), parameters):
            print(
                f"{source.name:28}" + ("unchanged" if seconds is None else f"executed in {seconds:.0f} s"), flush=True
            )
    except PapermillExecutionError as error:
        sys.exit("\n\n".join([_report(error), *error.__notes__]))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    build, failure = BUILDERS[options.to]
    try:
        print(build())
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        sys.exit(f"error: {failure}: {error}")


if __name__ == "__main__":
    main()
