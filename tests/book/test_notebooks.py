"""Every notebook through the reader's own tools: jupytext and papermill, one notebook by itself, from any directory."""

import ast
import subprocess
import sys
from pathlib import Path

import jupytext
import papermill
import pytest

from book.build import NOTEBOOKS

CHANGED = {
    "01_neuron": {"threshold": 0.7, "time_steps": 30},
    "02_gradient": {"profile": "full", "time_steps": 12, "temperature": 0.5},
    "03_other_methods": {"tau_m": 4.0, "temperature": 0.5, "seed": 1},
    "04_one_neuron": {"repeats": 4, "iterations": 20, "learning_rates": [0.01, 0.1]},
    "05_data_sets": {"epochs": 1, "seeds": 1, "seed": 2},
    "06_settings": {"lr": 0.02, "epochs": 1, "seed": 3},
    "07_time": {"temperature": 0.5, "examples": 20, "trained_epochs": 1, "epochs": 1, "seed": 1},
    "08_cost": {"time_steps": 3, "batch_size": 2, "neurons": 100, "repeats": 3, "seed": 1},
    "09_errata": {"tau_m": 4.0, "threshold": 0.8, "temperature": 0.5, "seed": 1},
    "10_reproduce": {"epochs": 1, "seed": 2},
}
"""Chapter → what is set in it; in the others, the profile."""
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))


def run(tool: str, *arguments, cwd: Path) -> str:
    command = [sys.executable, "-m", tool, *map(str, arguments)]
    for _ in range(3):
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500)
        if "Kernel died before replying" not in done.stderr:  # of two that start at once and choose the same port
            break
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_runs_alone_with_other_parameters(name, tmp_path):
    run("jupytext", "--to", "ipynb", "--output", tmp_path / "in.ipynb", NOTEBOOKS / f"{name}.py", cwd=tmp_path)
    changed = CHANGED.get(name, {"profile": "full"})
    parameters = [word for key, value in changed.items() for word in ("-y", f"{key}: {value}")]
    log = run("papermill", "in.ipynb", "out.ipynb", *parameters, "--no-progress-bar", cwd=tmp_path)
    assert "unknown parameter" not in log.lower()
    cells = jupytext.read(tmp_path / "out.ipynb").cells
    injected = [cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [f"{key} = " in injected[0].source for key in changed] == [True] * len(changed)
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any(cell.outputs for cell in code)
    assert not any(
        output.output_type == "error" or output.get("name") == "stderr" for c in code for output in c.outputs
    )


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_described(name, tmp_path):
    """Papermill's own inspection lists every parameter with a word of help."""
    jupytext.write(jupytext.read(NOTEBOOKS / f"{name}.py"), tmp_path / "in.ipynb")
    listed = papermill.inspect_notebook(tmp_path / "in.ipynb")
    parameters = next(
        c for c in jupytext.read(NOTEBOOKS / f"{name}.py").cells if "parameters" in c.metadata.get("tags", [])
    )
    lines = parameters.source.splitlines()
    assert lines and all("  # " in line for line in lines)
    assert "profile: str" in lines[0]
    for line in lines:
        assert listed[line.partition(":")[0]]["help"] == line.partition("  # ")[2]


@pytest.mark.parametrize("name", NAMES)
def test_functions_live_in_the_package(name):
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
            assert not kinds & {ast.FunctionDef, ast.ClassDef}, cell.source


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_prose_is_a_comment(name):
    """MyST leaves out a line that begins with a per cent sign, which a number before the line's end may have had."""
    prose = [cell.source for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells if cell.cell_type == "markdown"]
    assert not [line for text in prose for line in text.splitlines() if line.lstrip().startswith("%")]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_a_form_for_paper(name):
    assert "figures.use_style()" in (NOTEBOOKS / f"{name}.py").read_text().splitlines()
