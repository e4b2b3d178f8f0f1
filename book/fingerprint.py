"""What the outputs of a notebook depend on, as one number: it is executed again when that changes, and only then.

jupyter-cache compares the cells of a notebook alone: a change in the package would leave outdated outputs in the book.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import jupytext

from tsbp.runs import files, records

PROJECT = files.PROJECT


def fingerprint(source: Path, parameters: dict[str, Any]) -> str:
    """Hash of a notebook's code and parameters, the modules it imports, what those read, and the locked versions.

    Args:
        source: the notebook in jupytext's percent format.
        parameters: values for its cell tagged ``parameters``.
    """
    cells = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    digest = hashlib.sha256(json.dumps([cells, parameters], sort_keys=True).encode())
    modules = imported(source)
    for name in sorted(modules):
        digest.update(_code(modules[name].read_bytes()))
    for path in [PROJECT / "requirements.txt", *_read_by(modules)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def imported(script: Path) -> dict[str, Path]:
    """The modules of this project that a script imports, directly or through others, in functions or outside, and where
    they are.
    """
    finder = ModuleFinder(path=[str(PROJECT)])  # other libraries are not found there, and not followed
    finder.run_script(str(script))
    return {
        name: Path(str(getattr(module, "__file__", "")))
        for name, module in finder.modules.items()
        if name.startswith("tsbp")
    }


def _read_by(modules: Iterable[str]) -> list[Path]:
    """The files that are no modules, but read by some."""
    found = {
        "tsbp.kernels": PROJECT.glob("tsbp/kernels/*.[ch]*"),
        "tsbp.runs.records": records.results_folder().rglob("*.json"),
        "tsbp.runs.experiments": PROJECT.glob("experiments/**/*.yaml"),
    }
    return [path for name, paths in found.items() if name in modules for path in sorted(paths)]


@functools.cache
def _code(module: bytes) -> bytes:
    """What a module does: without its comments and docstrings, on which no output depends."""
    tree = ast.parse(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree).encode()


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
