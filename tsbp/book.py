"""From text notebooks to the book: jupytext makes them .ipynb, papermill executes them, Jupyter Book sets the pages.

``python -m tsbp.book`` does it all. A notebook is executed again only when its code, its parameters, the package, the
records or the locked requirements changed; a change of its prose alone keeps the outputs that are there.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from tsbp import records

PROJECT = records.PROJECT
NOTEBOOKS = PROJECT / "notebooks"
EXECUTED = PROJECT / "book"
SITE = PROJECT / "build" / "_build" / "html"
PROFILES = ("quick", "full")
SHOW_NOTHING = ("book", "readme", "__main__")
"""Modules that no notebook imports."""


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
    fingerprint = _fingerprint(notebook, parameters)
    if target.exists():
        earlier = jupytext.read(target)
        if earlier.metadata.get("tsbp_fingerprint") == fingerprint:
            _write(_with_outputs(notebook, earlier), target, fingerprint)
            return False

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / target.name
        jupytext.write(notebook, plain)
        unknown = parameters.keys() - papermill.inspect_notebook(plain).keys()
        if unknown:
            raise ValueError(f"{source.name} has no parameter {', '.join(sorted(unknown))}")
        executed = papermill.execute_notebook(
            plain,
            Path(scratch) / "executed.ipynb",
            parameters,
            cwd=scratch,
            progress_bar=sys.stderr.isatty(),
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
    _write(executed, target, fingerprint)
    return True


def build_site() -> Path:
    """Set the executed notebooks and the pages of ``book/`` with Jupyter Book, warnings as errors.

    Returns:
        The front page.

    Raises:
        CalledProcessError: the build failed; Jupyter Book has said why.
    """
    front_page = SITE / "index.html"
    front_page.unlink(missing_ok=True)  # its presence proves the build: other versions of the tool end in silence
    command = [str(Path(sysconfig.get_path("scripts")) / "jupyter-book"), "build", ".", "--config", "_config.yml"]
    command += ["--toc", "book/_toc.yml", "--path-output", "build", "-W", "-n", "--keep-going", "-q"]
    try:
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        shutil.rmtree(SITE.parent, ignore_errors=True)  # the next build would read half of it, and warn of nothing
        raise
    if not front_page.exists():
        raise FileNotFoundError(f"Jupyter Book ended without an error and without {front_page}")
    return front_page


def _fingerprint(notebook: NotebookNode, parameters: dict[str, Any]) -> str:
    """Hash of everything that the outputs depend on."""
    digest = hashlib.sha256()
    digest.update(json.dumps([cell.source for cell in notebook.cells if cell.cell_type == "code"]).encode())
    digest.update(json.dumps(parameters, sort_keys=True).encode())
    modules = [path for path in sorted((PROJECT / "tsbp").glob("*.py")) if path.stem not in SHOW_NOTHING]
    for path in [*modules, *sorted(records.results_folder().rglob("*.json")), PROJECT / "requirements.txt"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The text and tags of one notebook with the outputs of another that has the same code."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
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


def _write(notebook: NotebookNode, target: Path, fingerprint: str) -> None:
    notebook.metadata["tsbp_fingerprint"] = fingerprint
    records.write_text(target, jupytext.writes(notebook, fmt="ipynb"))


def main() -> None:
    """Execute what changed, build the site, and print the path of the front page."""
    parser = argparse.ArgumentParser(prog="python -m tsbp.book", description=main.__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="quick", help="quick takes minutes, full much longer")
    profile = parser.parse_args().profile
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")  # of the tools, not of this project

    for source in sorted(NOTEBOOKS.glob("*.py")):
        started = time.perf_counter()
        print(f"{source.name:28}", end="", flush=True)
        try:
            # The notebooks' own default is the quick profile: nothing is injected into the page then.
            ran = execute(source, {} if profile == "quick" else {"profile": profile})
        except PapermillExecutionError as error:
            sys.exit(f"failed in cell {error.exec_count}:\n\n{error.source}\n\n" + "\n".join(error.traceback))
        except ValueError as error:
            sys.exit(f"error: {error}")
        print(f"executed in {time.perf_counter() - started:.0f} s" if ran else "unchanged", flush=True)
    try:
        print(build_site())
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        sys.exit(f"error: the book was not built: {error}")


if __name__ == "__main__":
    main()
