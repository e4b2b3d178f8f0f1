"""The pages on the package: nothing of the public interface is missing, and docstrings may be written as prose."""

import re
from types import SimpleNamespace

import pytest
from sphinx.pycode import ModuleAnalyzer

import tsbp
from book.build import PROJECT

PAGES = "\n".join(path.read_text() for path in sorted((PROJECT / "book").glob("api*.md")))
DIRECTIVES = re.findall(r"^\.\. (?:auto|py:)(\w+):: (\S+)", PAGES, re.MULTILINE)


@pytest.mark.parametrize("name", tsbp.__all__)
def test_the_public_interface_is_described(name):
    described = {target for kind, target in DIRECTIVES if kind != "module"}
    assert {f"tsbp.{name}", name} & described


def test_every_module_is_described(extension):
    """Once: by hand, or at the end of the page on its room."""
    paths = [path.relative_to(PROJECT).with_suffix("") for path in (PROJECT / "tsbp").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    described = [target for kind, target in DIRECTIVES if kind == "module"]
    for page, added in extension.undescribed(PROJECT).items():
        assert (PROJECT / f"{page}.md").exists()
        described += added
    assert sorted(described) == sorted(modules - {"tsbp", "tsbp.__main__"})  # the pages' own words, and tsbp --help


@pytest.mark.parametrize("path", sorted((PROJECT / "tsbp").rglob("*.py")), ids=lambda path: path.stem)
def test_sphinx_can_read_the_comments_of_a_module(path):
    # where its parser fails, an f-string in an annotation say, the texts below values vanish without a word
    ModuleAnalyzer.for_string(path.read_text(encoding="utf-8"), path.stem).analyze()


def test_a_new_module_finds_its_page(extension, tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "api_runs.md").write_text("```{eval-rst}\n.. automodule:: tsbp.runs.data\n```\n")
    for name in ("adaptive.py", "runs/data/__init__.py", "runs/data/shapes.py"):
        path = tmp_path / "tsbp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert extension.undescribed(tmp_path) == {
        "book/api": ["tsbp.adaptive"],
        "book/api_runs": ["tsbp.runs.data.shapes"],
    }
    source = ["# Runs\n"]
    extension.add_modules(SimpleNamespace(srcdir=tmp_path), "book/api_runs", source)
    assert "## tsbp.runs.data.shapes\n" in source[0] and ".. automodule:: tsbp.runs.data.shapes\n" in source[0]
    extension.add_modules(SimpleNamespace(srcdir=tmp_path), "book/using", source)
    assert source[0].count("automodule") == 1


@pytest.mark.parametrize(
    ("what", "written", "read"),
    [
        ("attribute", ["Names, or numbers: 0 is leak."], ["Names, or numbers: 0 is leak."]),
        (
            "function",
            ["Ask.", "", "Returns:", "    The larger: below 0.05, none."],
            [":returns: The larger: below 0.05, none."],
        ),
        ("function", ["Add: one and one."], ["Add: one and one."]),
        ("data", [], []),
    ],
)
def test_prose_with_a_colon_stays_prose(extension, what, written, read):
    from sphinx.ext.napoleon import Config, GoogleDocstring

    lines = list(written)
    extension.keep_prose(None, what, "thing", None, None, lines)
    shown = GoogleDocstring(lines, Config(), None, what, "thing", None, None).lines()
    assert [line for line in shown if line][-1:] == read
    assert not any(line.startswith((":type", ":rtype")) for line in shown)
