"""What keeps the repository in order: workflows, hooks, the published branch, and the files about the project."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import tsbp
from book.build import PROJECT, TEX_LIVE
from tsbp.runs import experiments
from tsbp.runs.data import DATA_SETS

MAKEFILE = (PROJECT / "Makefile").read_text()
TARGETS = {target for line in re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE) for target in line.split()}
HOOK = (PROJECT / ".ci" / "hooks" / "pre-commit").read_text()


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | environment, check=False)


def git(*arguments: str | Path, cwd: Path) -> str:
    done = run("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """A repository with the scripts of this one."""
    folder = tmp_path / "repository"
    (folder / ".ci").mkdir(parents=True)
    for name in ("guard", "publish"):
        (folder / ".ci" / name).write_bytes((PROJECT / ".ci" / name).read_bytes())
        (folder / ".ci" / name).chmod(0o755)
    (folder / ".github").mkdir()
    (folder / ".github" / "ci.yml").write_text("jobs:\n")
    (folder / ".gitignore").write_text("*.ipynb\n")
    git("init", "--quiet", "--initial-branch=main", ".", cwd=folder)
    git("add", ".", cwd=folder)
    git("commit", "--quiet", "-m", "first", cwd=folder)
    return folder


# --- workflows; zizmor checks them in make lint -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ci", "weekly"])
def test_commands_of_the_workflows_exist(name):
    text = (PROJECT / ".github" / "workflows" / f"{name}.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"].values()
    called = set(re.findall(r"make ([a-z-]+)", text))
    called |= {target for job in jobs for target in job.get("strategy", {}).get("matrix", {}).get("torch", [])}
    assert called <= TARGETS
    assert all(os.access(PROJECT / script, os.X_OK) for script in re.findall(r"bash (\.ci/\S+)", text))


def test_the_oldest_that_is_supported_is_tested():
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text())
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"].removeprefix(">=") in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    oldest = re.search(r"torch==([\d.]+)\.\*", MAKEFILE)[1]
    assert f"torch>={oldest}" in project["dependencies"]


def test_what_a_pdf_needs_is_what_ci_installs():
    assert " ".join(TEX_LIVE) in (PROJECT / ".github" / "workflows" / "weekly.yml").read_text()


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_the_hook_refuses_what_does_not_belong_there(repository):
    """Make sets it, and nothing else that it runs is there: a ruff that is content."""
    command = run("make", "--no-print-directory", "--dry-run", "hooks", cwd=PROJECT).stdout.splitlines()[-1]
    assert run("sh", "-c", command, cwd=repository).returncode == 0
    for path, script in ((".ci/hooks/pre-commit", HOOK), (".venv/bin/ruff", "#!/bin/sh\n")):
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(script)
        (repository / path).chmod(0o755)
    refused = {
        "notebooks/a.ipynb": (b"{}", "notebooks are committed as text"),
        "runs/a.json": (b"{}", "a program makes it"),
        "tsbp.egg-info/PKG-INFO": (b"", "a program makes it"),
        "results/a b.json": (b"0" * 500_001, "500,001 bytes"),
    }
    accepted = {"results/a.json": b"0" * 500_000, "tsbp/runs/data/mnist.py": b""}
    for path, content in ({path: content for path, (content, _) in refused.items()} | accepted).items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_bytes(content)
        git("add", "--force", path, cwd=repository)
    commit = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "more")
    done = run(*commit, cwd=repository)
    assert done.returncode and git("log", "-1", "--format=%s", cwd=repository) == "first\n"
    lines = done.stderr.splitlines()[1:]
    assert len(lines) == len(refused)
    assert all(any(f"{path}: {reason}" in line for line in lines) for path, (_, reason) in refused.items())
    git("rm", "--quiet", "--cached", *refused, cwd=repository)
    done = run(*commit, cwd=repository)
    assert done.returncode == 0, done.stderr


def test_nothing_that_is_tracked_would_be_refused():
    if run("git", "rev-parse", cwd=PROJECT).returncode:
        pytest.skip("not a git checkout")
    done = run(sys.executable, ".ci/guard", "--all", cwd=PROJECT)
    assert done.returncode == 0, done.stderr


def test_pre_commit_has_the_locked_ruff():
    ruff, _ = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert f"ruff=={ruff['rev'].removeprefix('v')} " in (PROJECT / "requirements.txt").read_text()


# --- the branch of executed notebooks ---------------------------------------------------------------------------------


def test_publishing_leaves_the_checkout_as_it_is(repository, tmp_path):
    git("init", "--quiet", "--bare", tmp_path / "public", cwd=tmp_path)
    (repository / "book").mkdir()
    (repository / "book" / "a.ipynb").write_text("{}")
    for _ in range(2):
        done = run("bash", ".ci/publish", tmp_path / "public", cwd=repository)
        assert done.returncode == 0, done.stderr
    published = git("ls-tree", "-r", "--name-only", "notebooks", cwd=tmp_path / "public").split()
    assert published == [".ci/guard", ".ci/publish", ".gitignore", "book/a.ipynb"]
    assert git("rev-list", "--count", "notebooks", cwd=tmp_path / "public") == "1\n"
    head = git("rev-parse", "HEAD", cwd=repository).strip()
    assert head in git("log", "-1", "--format=%s", "notebooks", cwd=tmp_path / "public")
    assert git("status", "--porcelain", cwd=repository) == "" and git("branch", cwd=repository) == "* main\n"


def test_publishing_does_not_go_back(repository, tmp_path):
    """CI jobs may end in another order than that of their commits."""
    git("init", "--quiet", "--bare", tmp_path / "public", cwd=tmp_path)
    (repository / "book").mkdir()
    (repository / "book" / "a.ipynb").write_text("{}")
    git("commit", "--quiet", "--allow-empty", "-m", "second", cwd=repository)
    assert run("bash", ".ci/publish", tmp_path / "public", cwd=repository).returncode == 0
    later = git("rev-parse", "HEAD", cwd=repository).strip()
    git("checkout", "--quiet", "HEAD~", cwd=repository)
    done = run("bash", ".ci/publish", tmp_path / "public", cwd=repository)
    assert done.returncode == 1 and f"error: the branch notebooks is of {later}" in done.stderr
    assert later in git("log", "-1", "--format=%s", "notebooks", cwd=tmp_path / "public")
    git("checkout", "--quiet", "main", cwd=repository)
    git("commit", "--quiet", "--allow-empty", "-m", "third", cwd=repository)
    assert run("bash", ".ci/publish", tmp_path / "public", cwd=repository).returncode == 0


def test_binder_has_what_the_notebooks_need():
    """PyTorch from conda, without CUDA; the rest by the package's own extra."""
    environment = yaml.safe_load((PROJECT / ".binder" / "environment.yml").read_text())
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    oldest = next(need for need in project["dependencies"] if need.startswith("torch"))
    assert oldest.replace("torch", "pytorch-cpu") in environment["dependencies"]
    assert '--editable ".[notebook]"' in (PROJECT / ".binder" / "postBuild").read_text()
    assert "notebook" in project["optional-dependencies"]


# --- files about the project ------------------------------------------------------------------------------------------


def test_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= citation.keys()
    assert citation["version"] == tsbp.__version__
    (paper,) = citation["references"]
    bibliography = (PROJECT / "book" / "references.bib").read_text()
    assert paper["title"] in bibliography and paper["url"].endswith("2011.09964") and "2011.09964" in bibliography
    assert paper["authors"] == [{"family-names": "Yang", "given-names": "Yukun"}]


def test_changes_begin_with_this_version():
    text = (PROJECT / "CHANGELOG.md").read_text()
    assert re.search(r"^## ([\d.]+)", text, re.MULTILINE)[1] == tsbp.__version__


PAGES = [path for pattern in ("notebooks/*.py", "book/*.md") for path in sorted(PROJECT.glob(pattern))]
NAMED = ["CONTRIBUTING.md", "CHANGELOG.md", "README.md", ".pre-commit-config.yaml", "experiments/cuda/README.md"]
NAMED += [path.relative_to(PROJECT).as_posix() for path in PAGES]


@pytest.mark.parametrize("name", NAMED)
def test_commands_and_files_that_are_named_exist(name):
    text = (PROJECT / name).read_text()
    for swept in re.findall(r"tsbp sweep ([a-z0-9/-]+)", text):
        assert swept in DATA_SETS or experiments.named(swept), swept
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= TARGETS
    for path in re.findall(r"`((?:\.ci|\.binder|notebooks|tsbp|book|tests|sweeps)/[\w./*]*)`", text):
        assert list(PROJECT.glob(path.rstrip("/") or ".")), path
