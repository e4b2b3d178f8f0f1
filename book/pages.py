"""Text notebooks executed as pages of the book: each again only when something changed on which it depends."""

import ast
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import papermill
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from fingerprint import fingerprint
from tsbp.runs import files

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
:class: dropdown tsbp-run

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


def execute(source: Path, parameters: dict[str, Any], folder: Path, reports: Path) -> bool:
    """Execute one text notebook into ``folder``, unless its outputs there are still good.

    Args:
        source: the notebook in jupytext's percent format.
        parameters: values for its cell tagged ``parameters``; its own defaults serve for the others.
        folder: where the executed .ipynb goes. It is replaced only after the last cell has run.
        reports: where a notebook that failed goes.

    Returns:
        Whether cells were run.

    Raises:
        ValueError: the notebook has no parameter of that name.
        PapermillExecutionError: a cell failed.
    """
    (state,) = states([source], parameters, folder)
    _make(state, parameters, folder, reports)
    return not state.good


class State(NamedTuple):
    """Of a text notebook and its page."""

    source: Path
    depends_on: str
    """Fingerprint of what its outputs depend on."""
    good: bool
    """Whether the page has the outputs that belong to this fingerprint."""


def states(sources: list[Path], parameters: dict[str, Any], folder: Path) -> list[State]:
    """Which text notebooks have to be executed; see :func:`execute`."""
    found = []
    for source in sources:
        depends_on = fingerprint(source, parameters)
        page = folder / f"{source.stem}.ipynb"
        good = page.exists() and jupytext.read(page).metadata.get("tsbp_fingerprint") == depends_on
        found.append(State(source, depends_on, good))
    return found


def _make(state: State, parameters: dict[str, Any], folder: Path, reports: Path) -> None:
    """Write the page of a notebook, with the outputs that it has or those of an execution."""
    notebook = jupytext.read(state.source)
    target = folder / f"{state.source.stem}.ipynb"
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / target.name
        jupytext.write(notebook, plain)
        known = papermill.inspect_notebook(plain)
        unknown = parameters.keys() - known.keys()
        if unknown:
            raise ValueError(f"{state.source.name} has no parameter {', '.join(sorted(unknown))}")
        page = _with_outputs(notebook, jupytext.read(target) if state.good else _run(plain, parameters, reports))
    page.metadata["tsbp_fingerprint"] = state.depends_on
    _write(_with_additions(page, state.source.stem, known), target)


class NotebookError(Exception):
    """A cell failed; the message says which, how, and where the notebook is as far as it came."""


def execute_all(
    found: list[State], parameters: dict[str, Any], folder: Path, reports: Path
) -> Iterator[tuple[Path, float | None]]:
    """Make the pages of notebooks: those with good outputs here, the others in processes, several at a time.

    Yields:
        Each notebook when it is done, and its seconds; None if its outputs were still good.

    Raises:
        NotebookError: a cell failed; notebooks that had not begun are left out.
        ValueError: a notebook has not all of these parameters.
    """
    for state in found:
        if state.good:
            _make(state, parameters, folder, reports)
            yield state.source, None
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // AT_ONCE)))
    # Processes, for papermill changes the working directory of its own.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(AT_ONCE, mp_context=spawn, initializer=_end_with_the_build) as pool:
        outdated = [state for state in found if not state.good]
        running = {pool.submit(_timed, state, parameters, folder, reports): state.source for state in outdated}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_the_build() -> None:
    """A worker would wait for work for ever, if the build was killed."""
    build = multiprocessing.parent_process()
    assert build, "this is not a worker"

    def watch() -> None:
        build.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _timed(state: State, parameters: dict[str, Any], folder: Path, reports: Path) -> float:
    started = time.perf_counter()
    try:
        _make(state, parameters, folder, reports)
    except PapermillExecutionError as error:  # which does not pass from one process to another
        raise NotebookError("\n\n".join([_report(error), *error.__notes__])) from None
    return time.perf_counter() - started


def _run(plain: Path, parameters: dict[str, Any], reports: Path) -> NotebookNode:
    """The notebook executed, in its own folder; one that fails is kept among the reports."""
    executed = plain.with_name("executed.ipynb")
    try:
        return papermill.execute_notebook(
            plain,
            executed,
            parameters,
            cwd=plain.parent,
            progress_bar=sys.stderr.isatty(),
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            config=_own_sockets(plain.parent),
        )
    except PapermillExecutionError as error:
        reports.mkdir(parents=True, exist_ok=True)
        shutil.copy(executed, reports / plain.name)
        (reports / plain.name).with_suffix(".log").write_text(_report(error), encoding="utf-8")
        error.add_note(f"The notebook as far as it came is {reports / plain.name}")
        raise


def _own_sockets(folder: Path) -> Config:
    """Sockets in the notebook's own folder, for two kernels that start at once may choose the same TCP port."""
    if sys.platform == "win32":  # which has none
        return Config()
    return Config(KernelManager={"transport": "ipc", "connection_file": str(folder / "kernel.json")})


def _report(error: PapermillExecutionError) -> str:
    """Which cell failed, and how."""
    return f"failed in cell {error.exec_count}:\n\n{error.source}\n\n" + "\n".join(error.traceback)


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
