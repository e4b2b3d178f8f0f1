"""The repository itself: the locks agree, nothing generated is committed, the README is true."""

import re

from book import readme
from tsbp.runs import files

PROJECT = files.PROJECT


def test_environment_yml_equals_the_lock():
    import yaml

    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    pinned = environment["dependencies"][-1]["pip"]
    lock = [line for line in (PROJECT / "requirements.txt").read_text().splitlines() if line]
    assert pinned == [*lock, "--editable ."]
    assert all("==" in line for line in lock)


def test_the_lock_satisfies_the_package():
    from importlib.metadata import requires

    def names(lines) -> set[str]:
        return {re.match(r"[\w.-]+", line)[0].lower() for line in lines if line}

    lock, bench = ((PROJECT / f"requirements{kind}.txt").read_text().splitlines() for kind in ("", "-bench"))
    wanted = requires("tsbp")
    peers = [line for line in wanted if "extra == 'bench'" in line or 'extra == "bench"' in line]
    assert len(peers) == 4 and names(peers) - {"tsbp"} <= names(bench)
    assert names(wanted) - names(peers) - {"tsbp"} <= names(lock)
    shared = names(lock) & names(bench)
    assert "torch" in shared
    assert [x for x in lock if names([x]) <= shared] == [x for x in bench if names([x]) <= shared], "versions differ"


def test_readme_shows_the_records():
    """``python book/readme.py`` would change nothing."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.with_results(text) == text
    assert "0.005" in readme.results()


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
