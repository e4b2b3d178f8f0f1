"""Every published record is what its schema says, and has the name of its run."""

import hashlib
import json

import fastjsonschema
import pytest

from tsbp.runs import files, records
from tsbp.study import schema


@pytest.fixture(scope="module")
def published() -> dict:
    """Path → record, as it stands there."""
    return {path: json.loads(path.read_text()) for path in records.files(records.results_folder())}


def test_published_records_are_whole(published):
    """Every record in results/ is of its schema, names a clean commit, and has the name of its run.

    Those from a GPU were made by a copy of the files without their last commits; experiments/cuda says of which.
    """
    checks = {kind: fastjsonschema.compile(schema.of(kind)) for kind in schema.RESULTS}
    for path, record in published.items():
        checks[record["kind"]](record)
        copied = record.get("device") == "cuda" and record["git_commit"].startswith("3875194")
        assert record["git_commit"] and (copied or record["git_dirty"] is False), path
        assert path.stem == records.name_of_record(record), path
        config = schema.CONFIGURATIONS[record["kind"]].restored(record)
        assert record["identity"] == config.identity(record.get("data_fingerprint", "")), path
        assert record["kind"] != "train" or ("test_accuracy" in record) != ("validation_accuracy" in record), path
    assert len({record["identity"] for record in published.values()}) == len(published) > 800


@pytest.mark.parametrize(
    ("old", "folder", "identity"),
    [
        ("train-mnist-full-T30-seed0-fccdd669", "networks", "a46928d003"),
        ("toy-T100-seed0-763a7146", "toy", "00c28b498b"),
        ("bench-lif-T5-seed0-fd9a8631", "bench", "06279c093e"),
        ("train-cifar10-full-T5-seed0-1d515fce", "tuning", "038c304b0a"),
        ("train-cifar10-full-T5-seed0-684fbc51", "cuda", "5bf56e2cb3"),
    ],
)
def test_records_are_found_by_the_names_they_had(published, old, folder, identity):
    """Names used to end with a hash of the command that is still in the record."""
    hashes = {hashlib.sha256(record["command"].encode()).hexdigest()[:8]: path for path, record in published.items()}
    found = hashes[old.rpartition("-")[2]]
    assert found.parent.name == folder and found.stem == old.rpartition("-")[0] + f"-{identity}"


@pytest.mark.parametrize("kind", schema.RESULTS)
def test_published_schemas_are_current(kind):
    """If not: python -m tsbp.study.schema."""
    path = records.results_folder() / "schema" / f"{kind}-{records.SCHEMA_VERSION}.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(schema.of(kind)))
    assert path.parent == files.PROJECT / "results" / "schema"


@pytest.mark.parametrize(
    "change", [{"lr": -1}, {"lr": "0.1"}, {"clip_norm": "inf"}, {"reset": "soft"}, {"colour": "red"}, {"seed": 0.5}]
)
def test_the_schema_refuses(published, change):
    record = next(record for record in published.values() if record["kind"] == "train")
    check = fastjsonschema.compile(schema.of("train"))
    check(record | {"clip_norm": "Infinity", "right": "AAAA"})
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check(record | change)
