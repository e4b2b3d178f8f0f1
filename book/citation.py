"""How to cite the companion and its paper, and ``codemeta.json``: made from ``CITATION.cff`` and ``pyproject.toml``.

``python book/citation.py`` writes ``codemeta.json``.
"""

import json
import tomllib
from typing import Any

import yaml

from tsbp.runs.files import PROJECT, write_text

CITATION = PROJECT / "CITATION.cff"
CODEMETA = PROJECT / "codemeta.json"


def citation() -> dict[str, Any]:
    """What ``CITATION.cff`` says."""
    return yaml.safe_load(CITATION.read_text(encoding="utf-8"))


def bibtex(year: str, repository: str = "") -> str:
    """The companion and the paper as two entries of BibTeX.

    Args:
        year: of the companion, which has no date of release.
        repository: its address, if one is known.
    """
    cited = citation()
    (paper,) = cited["references"]
    number = paper["url"].rsplit("/", 1)[-1]
    companion = {"author": _names(cited), "title": f"{{{cited['title']}}}", "year": year, "version": cited["version"]}
    companion |= {"url": repository} if repository else {}
    arxiv = {"author": _names(paper), "title": paper["title"], "year": paper["year"]}
    arxiv |= {"eprint": number, "archiveprefix": "arXiv", "doi": _doi(paper)}
    return f"{_entry('software', 'tsbp', companion)}\n\n{_entry('misc', 'yang2020', arxiv)}"


def _entry(kind: str, key: str, fields: dict[str, Any]) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"


def _names(cited: dict[str, Any]) -> str:
    """Authors as BibTeX separates them; a group in braces, so that no part of it is taken for a first name."""
    people = cited["authors"]
    named = (f"{{{x['name']}}}" if "name" in x else f"{x['family-names']}, {x['given-names']}" for x in people)
    return " and ".join(named)


def _doi(cited: dict[str, Any]) -> str:
    return next(identifier["value"] for identifier in cited["identifiers"] if identifier["type"] == "doi")


def authors(cited: dict[str, Any]) -> list[dict[str, str]]:
    """Authors in the words of schema.org."""
    return [
        {"@type": "Organization", "name": x["name"]}
        if "name" in x
        else {"@type": "Person", "familyName": x["family-names"], "givenName": x["given-names"]}
        for x in cited["authors"]
    ]


def codemeta() -> dict[str, Any]:
    """The package as CodeMeta describes software, see https://codemeta.github.io."""
    cited = citation()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (paper,) = cited["references"]
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "alternateName": cited["title"],
        "description": cited["abstract"],
        "version": cited["version"],
        "license": f"https://spdx.org/licenses/{project['license']}",
        "author": authors(cited),
        "keywords": cited["keywords"],
        "programmingLanguage": {"@type": "ComputerLanguage", "name": "Python"},
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "readme": project["readme"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "author": authors(paper),
            "datePublished": str(paper["year"]),
            "@id": f"https://doi.org/{_doi(paper)}",
            "url": paper["url"],
        },
    }


def text() -> str:
    """What ``codemeta.json`` holds."""
    return json.dumps(codemeta(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(CODEMETA, text())
