"""The pages on the package: nothing of the public interface is missing, and docstrings may be written as prose."""

import re

import pytest

import tsbp
from book.build import PROJECT

PAGES = "\n".join(path.read_text() for path in sorted((PROJECT / "book").glob("api*.md")))
DIRECTIVES = re.findall(r"^\.\. (?:auto|py:)(\w+):: (\S+)", PAGES, re.MULTILINE)


@pytest.mark.parametrize("name", tsbp.__all__)
def test_the_public_interface_is_described(name):
    described = {target for kind, target in DIRECTIVES if kind != "module"}
    assert {f"tsbp.{name}", name} & described


def test_every_module_is_described():
    paths = [path.relative_to(PROJECT).with_suffix("") for path in (PROJECT / "tsbp").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    described = [target for kind, target in DIRECTIVES if kind == "module"]
    assert sorted(described) == sorted(modules - {"tsbp", "tsbp.__main__"})  # the pages' own words, and tsbp --help


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
