"""The records as files beside the pages: an archive for each experiment, and all of it described as an RO-Crate.

See https://www.researchobject.org/ro-crate/. The crate says which experiment asked for a run, when it ran, in which
archive its record is, and which pages show it.
"""

import functools
import json
import re
import shutil
import tarfile
from html import unescape
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

import citation
import tsbp.study.schema  # noqa: F401  (every kind of record is known then)
from tsbp.runs import experiments, files, records
from tsbp.runs.config import KINDS
from tsbp.runs.files import PROJECT

FOLDER = "records"
"""Of the site, where the archives lie."""
ARCHIVE = ".tar.xz"
"""Compressed as a whole: records of one experiment resemble each other, and take a third of the space of a .zip."""
FORMATS = {".xz": "application/x-xz", ".yaml": "application/yaml", ".html": "text/html"}


@functools.cache
def archives() -> dict[str, list[Path]]:
    """Name → records: those of each experiment and, under the name of their folder, those of none."""
    found: dict[str, list[Path]] = {}
    by_key: dict[str, list[Path]] = {}
    rest: list[Path] = []
    for path, record in records.every():
        rest.append(path)
        if record["kind"] not in ("train", "cell", "toy"):
            continue
        config = KINDS[record["kind"]].restored(record)
        for key in {experiments.key(config), experiments.key(config, record.get("data_fingerprint", ""))}:
            by_key.setdefault(key, []).append(path)
    for name in experiments.names():
        paths = {path for key in experiments.load(name).keys for path in by_key.get(key, [])}
        if paths:
            found[name] = sorted(paths)
    own = {path for paths in found.values() for path in paths}
    for path in rest:
        if path not in own:
            found.setdefault(path.parent.relative_to(records.results_folder()).as_posix(), []).append(path)
    return found


def named(names: str) -> dict[str, list[Path]]:
    """The archives of experiments, or of all in a folder.

    Args:
        names: such as ``toy/table-1`` or ``settings``, several with commas between.

    Raises:
        ValueError: there are no records of that name.
    """
    found: dict[str, list[Path]] = {}
    for name in map(str.strip, names.split(",")):
        here = {one: paths for one, paths in archives().items() if name in (one, str(Path(one).parent))}
        if not here:
            raise ValueError(f"there are no records of {name!r}; there are those of {', '.join(archives())}")
        found |= here
    return found


def publish(site: Path) -> None:
    """Write the archives and ``ro-crate-metadata.json`` into a built site.

    Args:
        site: the folder with ``index.html``.
    """
    shutil.rmtree(site / FOLDER, ignore_errors=True)  # of an earlier build
    for name, paths in archives().items():
        archive = site / FOLDER / f"{name}{ARCHIVE}"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz") as archived:
            for path in paths:  # without the time of the file: equal records make equal archives
                member = tarfile.TarInfo(path.name)
                member.size = path.stat().st_size
                with path.open("rb") as record:
                    archived.addfile(member, record)
        experiment = PROJECT / "experiments" / f"{name}.yaml"
        if experiment.exists():
            shutil.copy(experiment, site / FOLDER / f"{name}.yaml")
    files.write_text(site / "ro-crate-metadata.json", json.dumps(crate(site), ensure_ascii=False) + "\n")


def crate(site: Path) -> dict[str, Any]:
    """What a site with its archives holds, as RO-Crate 1.1 says it in JSON-LD."""
    cited, meta, found = citation.citation(), citation.codemeta(), ROCrate(version="1.1")
    found.name, found.description, found.keywords = cited["title"], cited["abstract"], cited["keywords"]
    licence = {"@id": meta["license"], "@type": "CreativeWork", "name": cited["license"]}
    paper = {name: value for name, value in meta["referencePublication"].items() if name != "author"}
    makers = [{"@id": f"#author-{n}", **maker} for n, maker in enumerate(meta["author"], 1)]
    software = {"@id": "#tsbp", "@type": "SoftwareApplication", "name": "tsbp", "softwareVersion": cited["version"]}
    found.license, found.root_dataset["citation"] = found.add_jsonld(licence), found.add_jsonld(paper)
    found.creator, instrument = list(map(found.add_jsonld, makers)), found.add_jsonld(software)
    packed: dict[str, Any] = {}
    for name, paths in archives().items():
        archive = f"{FOLDER}/{name}{ARCHIVE}"
        experiment = PROJECT / "experiments" / f"{name}.yaml"
        asked = [_file(found, site, f"{FOLDER}/{name}.yaml", f"What was run: {name}")] if experiment.exists() else []
        packed[archive] = _file(
            found, site, archive, f"The records of {name}", numberOfItems=len(paths), isBasedOn=asked
        )
        finished = sorted(records.read(path)["finished"] for path in paths)
        run = found.add_jsonld({"@id": f"#{name}", "@type": "CreateAction", "name": f"The runs of {name}"})
        run["startTime"], run["endTime"] = finished[0], finished[-1]
        run["instrument"], run["result"] = instrument, packed[archive]
        if asked:
            run["object"] = asked
    for page in sorted(site.glob("book/*.html")):
        text = page.read_text(encoding="utf-8")
        heading = re.search("<title>(.*?)</title>", text, re.DOTALL)
        title = re.sub(r" &#8212; .*|<[^>]*>", "", heading[1] if heading else page.stem)
        shown = dict.fromkeys(re.findall(rf'href="\.\./({FOLDER}/[^"]+{re.escape(ARCHIVE)})"', text))
        _file(
            found, site, f"book/{page.name}", unescape(title), isBasedOn=[packed[one] for one in shown if one in packed]
        )
    return found.metadata.generate()


def _file(found: ROCrate, site: Path, name: str, title: str, **properties: Any) -> Any:
    """A file of the site, in the crate."""
    form = {"encodingFormat": FORMATS[Path(name).suffix], "contentSize": str((site / name).stat().st_size)}
    return found.add_file(
        site / name, name, properties={"name": title, **form, **{k: v for k, v in properties.items() if v}}
    )
