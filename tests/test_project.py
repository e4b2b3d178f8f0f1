"""The repository itself: the locks agree, nothing generated is committed, the README is true."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from book import readme
from tsbp.runs import files

PROJECT = files.PROJECT


LOCKS = ("requirements.txt", "requirements-bench.txt")


def pinned(lock: str) -> list[str]:
    """What a lock pins, without the hashes."""
    lines = (PROJECT / lock).read_text().splitlines()
    return [line.removesuffix(" \\") for line in lines if line and not line.startswith(" ")]


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_in_a_lock_has_one_version_and_its_hashes(lock):
    text = (PROJECT / lock).read_text()
    entries = re.findall(r"^\S.*(?: \\\n    --hash=sha256:[0-9a-f]{64})+$", text, re.MULTILINE)
    assert len(entries) == len(pinned(lock)) > 50 and all("==" in line for line in pinned(lock))


def test_conda_installs_from_the_lock():
    import yaml

    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert environment["dependencies"][-1] == {"pip": ["--requirement requirements.txt"]}


def test_the_lock_satisfies_the_package():
    from importlib.metadata import requires

    def names(lines) -> set[str]:
        return {re.match(r"[\w.-]+", line)[0].lower() for line in lines if line}

    lock, bench = map(pinned, LOCKS)
    wanted = requires("tsbp")
    peers = [line for line in wanted if "extra == 'bench'" in line or 'extra == "bench"' in line]
    assert len(peers) > 4 and names(peers) - {"tsbp"} <= names(bench)
    assert names(wanted) - names(peers) - {"tsbp"} <= names(lock)
    shared = names(lock) & names(bench)
    assert "torch" in shared
    assert [x for x in lock if names([x]) <= shared] == [x for x in bench if names([x]) <= shared], "versions differ"


def test_readme_shows_the_records():
    """``python book/readme.py`` would change nothing."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.with_results(text) == text
    assert "reproduced" in readme.results() and len(text.splitlines()) <= 90


def test_readme_picture_can_be_drawn(tmp_path):
    readme.draw(tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size > 5_000
    assert readme.PICTURE.exists() and "results/learning-rates.svg" in readme.README.read_text()


def test_make_targets_of_the_readme_exist():
    lines = re.findall(r"^\.PHONY: (.*)", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for line in lines for target in line.split()}
    named = set(re.findall(r"make ([a-z-]+)", readme.README.read_text() + (PROJECT / ".ci" / "run").read_text()))
    assert named and named <= targets


def test_readme_code_runs():
    code = re.search(r"```python\n(.*?)```", readme.README.read_text(), re.DOTALL)[1]
    names: dict = {}
    exec(code, names)
    assert names["current"].grad.shape == (100, 32, 10)


ROOMS = ["kernels", "", "runs", "peers", "study"]
"""Of the package, from the lowest to the highest."""


def test_imports_run_one_way():
    """No module imports from a room above its own, types aside."""
    for path in sorted((PROJECT / "tsbp").rglob("*.py")):
        if path.name == "__main__.py":
            continue
        own = ROOMS.index(room(path.relative_to(PROJECT / "tsbp").parts[:-1]))
        for module in imported(ast.parse(path.read_text())):
            assert ROOMS.index(room(module.split(".")[1:])) <= own, f"{path} imports {module}"


def room(parts) -> str:
    return parts[0] if parts and parts[0] in ROOMS else ""


def imported(node: ast.AST) -> Iterator[str]:
    """The package's modules that a module imports, but for those under TYPE_CHECKING."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tsbp"):
        yield from (f"{node.module}.{name.name}" for name in node.names)
    elif isinstance(node, ast.Import):
        yield from (name.name for name in node.names if name.name.startswith("tsbp"))
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


@pytest.mark.slow
def test_a_wheel_has_all_that_the_package_needs(tmp_path):
    """Outside the checkout it imports, compiles its kernel and trains."""
    source = tmp_path / "source"  # the tools leave their own folders beside what they build
    shutil.copytree(PROJECT / "tsbp", source / "tsbp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("tsbp-*.whl")
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], check=True
    )
    script = """
import sys, torch, tsbp
before = set(sys.modules)
assert tsbp.__file__.startswith(sys.argv[1]), tsbp.__file__
assert not {"pydantic", "pandas", "scipy", "typer"} & before
from tsbp.kernels import dispatch
assert dispatch.usable(torch.zeros(1))
from tsbp.__main__ import main
sys.argv = "tsbp train digits --network 4C3-P2-20 --epochs 1 --device cpu".split()
main()
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(site)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "TSBP_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "runs").glob("train-digits-*.json"))
