"""The records beside the pages: archives that hold the files, links to them, an RO-Crate that describes them."""

import ast
import json
import re
import tarfile

import jupytext
import pytest

import published
from book.build import NOTEBOOKS
from tsbp.runs import experiments, records

CHAPTERS = {path.stem: path.read_text() for path in sorted(NOTEBOOKS.glob("*.py"))}
LINKS = {name: re.findall(r"\{records\}`([^`]+)`", text) for name, text in CHAPTERS.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of one page, which shows two archives."""
    site = tmp_path_factory.mktemp("site")
    (site / "book").mkdir()
    links = "".join(f'<a href="../records/{name}.tar.xz">x</a>' for name in ("toy/table-1", "toy/adam"))
    (site / "book" / "page.html").write_text(f"<title>A &amp; B &#8212; book</title>{links}")
    published.publish(site)
    return site


@pytest.fixture(scope="module")
def entities(site):
    written = json.loads((site / "ro-crate-metadata.json").read_text())
    assert written["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {one["@id"]: one for one in written["@graph"]}
    assert len(entities) == len(written["@graph"]), "an @id stands there twice"
    return entities


def test_every_record_is_in_an_archive_as_it_is(site):
    held = {}
    for path in site.rglob("*.tar.xz"):
        with tarfile.open(path) as archive:
            held |= {name: archive.extractfile(name).read() for name in archive.getnames()}
    assert held == {path.name: path.read_bytes() for path, _ in records.every()}


def test_an_archive_has_the_runs_of_its_experiment():
    experiment = experiments.load("settings/temperature")
    found = [records.read(path) for path in published.named("settings/temperature")["settings/temperature"]]
    assert len(found) == len(experiment.configs)
    assert {record["temperature"] for record in found} == {config.temperature for config in experiment.configs}
    assert published.named("settings").keys() == {name for name in experiments.names() if name.startswith("settings/")}


def test_equal_records_make_equal_archives(site):
    before = {path: path.read_bytes() for path in site.rglob("*.tar.xz")}
    published.publish(site)
    assert {path: path.read_bytes() for path in site.rglob("*.tar.xz")} == before


def test_unknown_records_are_an_error():
    with pytest.raises(ValueError, match=r"no records of 'toy/table-9'; there are those of .*toy/table-1"):
        published.named("toy/table-1, toy/table-9")


@pytest.mark.parametrize(
    "name", [name for name in LINKS if "records." in CHAPTERS[name] or "loss_stud" in CHAPTERS[name]]
)
def test_a_chapter_links_the_records_of_its_experiments(name):
    """Of those that it names, and of all that it names in its links."""
    linked = {one for names in LINKS[name] for one in published.named(names)}
    cells = [cell.source for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells if cell.cell_type == "code"]
    used = {node.value for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Constant)}
    assert linked and (used & published.archives().keys()) <= linked


def test_the_crate_is_one(site, entities):
    """What RO-Crate 1.1 says must be there: https://www.researchobject.org/ro-crate/specification/1.1/."""
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset" and {"name", "description", "datePublished", "license"} <= root.keys()
    assert re.match(r"\d{4}-\d\d-\d\dT", root["datePublished"])
    parts = {part["@id"] for part in root["hasPart"]}
    files = {name for name, one in entities.items() if one["@type"] == "File"}
    assert files == parts, "a file that is no part of the dataset"
    assert all(
        (site / name).is_file() and (site / name).stat().st_size == int(entities[name]["contentSize"]) for name in files
    )
    for one in entities.values():
        assert "@type" in one and not re.search(r"[ \\]", one["@id"])
        for value in one.values():
            for link in value if isinstance(value, list) else [value]:
                if isinstance(link, dict):  # flattened: nothing but a reference, which leads somewhere
                    assert link.keys() == {"@id"} and (link["@id"] in entities or "w3id.org" in link["@id"])


def test_the_crate_leads_from_an_experiment_to_records_and_pages(entities):
    (path,) = published.named("toy/table-1")["toy/table-1"]
    run = entities["#toy/table-1"]
    assert run["@type"] == "CreateAction" and run["endTime"] == records.read(path)["finished"]
    assert run["object"] == [{"@id": "records/toy/table-1.yaml"}]
    assert run["result"] == {"@id": "records/toy/table-1.tar.xz"}
    assert "records/toy/table-1.yaml" in str(entities["records/toy/table-1.tar.xz"]["isBasedOn"])
    page = entities["book/page.html"]
    assert page["name"] == "A & B" and "records/toy/table-1.tar.xz" in str(page["isBasedOn"])
    assert sum(one["@type"] == "CreateAction" for one in entities.values()) == len(published.archives())
