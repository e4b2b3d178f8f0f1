"""What is said about citing the companion in several places is said once."""

import json
import re
import tomllib

import pytest
import yaml

import citation
from book.build import PROJECT

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def test_codemeta_is_that_of_the_citation_and_the_package():
    """``python book/citation.py`` would change nothing."""
    assert citation.CODEMETA.read_text(encoding="utf-8") == citation.text()
    written = json.loads(citation.text())
    assert written["@context"] == "https://w3id.org/codemeta/3.0" and written["@type"] == "SoftwareSourceCode"
    assert written["name"] == PROJECT_TABLE["name"] and written["softwareRequirements"] == PROJECT_TABLE["dependencies"]
    assert written["license"] == "https://spdx.org/licenses/" + citation.citation()["license"]


def test_codemeta_follows_a_change_of_the_citation(monkeypatch, tmp_path):
    changed = citation.citation() | {"version": "7.0", "authors": [{"family-names": "Doe", "given-names": "Jo"}]}
    monkeypatch.setattr(citation, "CITATION", tmp_path / "CITATION.cff")
    citation.CITATION.write_text(yaml.safe_dump(changed))
    found = citation.codemeta()
    assert found["version"] == "7.0" and found["author"][0]["familyName"] == "Doe"
    assert "author = {Doe, Jo}" in citation.bibtex("2026")


@pytest.mark.parametrize("repository", ["", "https://github.com/someone/somewhere"])
def test_bibtex_has_both_works(repository):
    companion, paper = citation.bibtex("2026", repository).split("\n\n")
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", companion, re.MULTILINE))
    assert companion.startswith("@software{tsbp,") and fields["author"] == "{The TSBP authors}"
    assert fields["year"] == "2026" and fields.get("url", "") == repository
    for entry in (companion, paper):
        assert entry.count("{") == entry.count("}")
    printed = set(re.findall(r"^  .*\}", paper, re.MULTILINE))
    listed = re.search(r"@misc\{yang2020,\n(.*?)\n\}", (PROJECT / "book" / "references.bib").read_text(), re.DOTALL)[1]
    shared = {line.rstrip(",") for line in listed.splitlines()} - {"  primaryclass = {cs.NE}"}
    assert shared <= printed, "the paper is cited in two ways"


def test_the_front_page_shows_them(extension):
    text = (PROJECT / "notebooks" / "index.py").read_text()
    assert "# ```{how-to-cite}\n# ```" in text.partition("# ## How to cite")[2]
