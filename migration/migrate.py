"""Bring the records of schema versions 1 to 4 to version 5, once, and prove that no number changed.

    python migration/migrate.py

What changes: the file's name ends with the identity of the run; infinity is text; the optimiser that was called ``sgd``
in trainings, SGD with Nesterov momentum, is ``nesterov``; ``soft_reset`` is ``reset``; the folder ``short`` is
``networks``; a benchmark's ``threads`` are those that it used, not those of the process that wrote the record; ratios,
which follow from the times, are left out. ``command`` stays as it was: the old name ends with the hash of it.
"""

import hashlib
import json
import math
import shlex
import subprocess
from pathlib import Path

from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.bench import BenchConfig
from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig
from tsbp.study.statistics import ratio_intervals

CLASSES = {"train": TrainingConfig, "toy": ToyConfig, "bench": BenchConfig, "agreement": AgreementConfig}


def leaves(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}/{number}")
    else:
        yield path, value


def migrated(old: dict) -> dict:
    record = dict(old)
    kind = record.pop("kind")
    record.pop("schema_version")
    if kind == "train" and record["optimizer"] == "sgd":
        record["optimizer"] = "nesterov"
    if kind == "toy":
        record["reset"] = "subtract" if record.pop("soft_reset") else "zero"
    if kind == "bench":
        words = shlex.split(record["command"])
        record["threads"] = int(words[words.index("--threads") + 1])
        again = ratio_intervals(record["seconds"])
        assert all(math.isclose(a, b, rel_tol=5e-3) for n, r in record.pop("ratios").items() for a, b in zip(r, again[n], strict=True))
    config = CLASSES[kind].restored(record)
    settings = config.strict()
    head = {"schema": f"{kind}-{records.SCHEMA_VERSION}", "kind": kind}
    head["identity"] = config.identity(record.get("data_fingerprint", ""))
    head["command"] = record.pop("command")
    return head | settings | {key: value for key, value in record.items() if key not in settings}


def prove(old: dict, new: dict) -> None:
    """Every leaf of the old record is in the new one, but for what the migration is for."""
    before, after = dict(leaves(old)), dict(leaves(new))
    allowed = {"/schema_version", "/soft_reset", "/optimizer", "/threads" if old["kind"] == "bench" else ""}
    for path, value in before.items():
        if path in allowed or path.startswith("/ratios/"):
            continue
        now = float(after[path]) if path == "/clip_norm" else after[path]
        assert type(now) is type(value) and (now == value), (path, value, now)
    defaults = CLASSES[old["kind"]]
    for path in after.keys() - before.keys() - {"/schema", "/identity", "/reset", "/processes"}:
        field = defaults.model_fields[path.split("/")[1]]
        assert after[path] == field.default, path


def main() -> None:
    folder = records.results_folder()
    subprocess.run(["git", "mv", str(folder / "short"), str(folder / "networks")], check=True)
    names = set()
    for path in sorted(folder.rglob("*.json")):
        old = json.loads(path.read_text())
        digest = hashlib.sha256(old["command"].encode()).hexdigest()[:8]
        assert path.stem.endswith(digest), path
        new = migrated(old)
        prove(old, new)
        if old["kind"] == "train" and "processes" not in old:
            new["processes"] = 1
        target = path.with_name(f"{records.name_of_record(new)}.json")
        assert target.name not in names, target
        names.add(target.name)
        subprocess.run(["git", "mv", str(path), str(target)], check=True)
        records.write(new, path.parent)
        assert target.exists() and records.read(target)["command"] == old["command"]
    print(len(names), "records")


if __name__ == "__main__":
    main()
