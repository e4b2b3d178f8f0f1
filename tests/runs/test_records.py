"""Records: complete or absent, and able to repeat their run."""

import errno
import json
import os
from dataclasses import dataclass, fields, replace

import pytest
import torch

from tsbp.runs import files, records
from tsbp.runs.settings import TrainingConfig


@dataclass
class Config:
    dataset: str = "some/where/fruit"
    gradient: str = "leak"
    learning_rates: tuple[float, ...] = (0.1, 0.2)
    flip: bool = False
    time_steps: int = 5
    seed: int = 3


def a_record(**settings) -> dict:
    return records.new("train", Config(**settings), {"test_accuracy": 97.5}, torch.device("cpu"))


def test_round_trip(tmp_path):
    record = a_record()
    path = records.write(record, tmp_path / "new")
    assert path.name.startswith("train-fruit-leak-T5-seed3-")
    assert records.read(path) == json.loads(json.dumps(record))
    frame = records.load("train", tmp_path)
    assert frame["test_accuracy"].tolist() == [97.5] and frame["path"].tolist() == [path]
    assert records.load("toy", tmp_path).empty and records.load("train", tmp_path / "nowhere").empty


def test_the_command_holds_every_setting():
    expected = "tsbp train some/where/fruit --gradient leak --lr 0.1 --lr 0.2 --no-flip --time-steps 5 --seed 3"
    assert a_record()["command"] == expected
    assert "--flip" in a_record(flip=True)["command"]


def test_provenance():
    record = a_record()
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["device_name"] and record["threads"] >= 1
    assert record["finished"].endswith("+00:00")


def test_another_setting_is_another_file_and_the_same_run_replaces_its_own(tmp_path):
    records.write(a_record(), tmp_path)
    records.write(a_record(), tmp_path)
    records.write(a_record(flip=True), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_results_may_not_shadow_the_configuration():
    with pytest.raises(ValueError, match="seed"):
        records.new("train", Config(), {"seed": 4}, torch.device("cpu"))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, failing):
    path = records.write(a_record(), tmp_path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        records.write(a_record(), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "3"])
def test_what_is_no_record_is_named(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"bad\.json is not a record"):
        records.load("train", tmp_path)


def test_records_of_a_later_version_are_refused(tmp_path):
    path = tmp_path / "new.json"
    path.write_text(json.dumps({"schema_version": records.SCHEMA_VERSION + 1, "kind": "train"}))
    with pytest.raises(ValueError, match="schema version"):
        records.read(path)


def test_records_of_the_first_version_get_the_settings_they_were_run_with(tmp_path):
    settings = {"kind": "train", "dataset": "mnist", "lr": 0.002}
    (tmp_path / "old.json").write_text(json.dumps({"schema_version": 1, **settings}))
    (tmp_path / "new.json").write_text(json.dumps({"schema_version": 2, **settings, "schedule": "constant"}))
    assert records.read(tmp_path / "new.json")["examples"] == 0
    (tmp_path / "toy.json").write_text(json.dumps({"schema_version": 1, "kind": "toy"}))
    old = records.read(tmp_path / "old.json")
    assert old["schedule"] == "one-cycle" and old["encoding"] == "direct" and old["dropout"] == 0 and old["lr"] == 0.002
    assert records.read(tmp_path / "new.json")["schedule"] == "constant"
    assert records.read(tmp_path / "toy.json") == {"schema_version": 1, "kind": "toy", "plugin": ""}
    assert sorted(records.load("train", tmp_path)["schedule"]) == ["constant", "one-cycle"]


def test_what_version_3_added_renames_no_earlier_run():
    names = [setting.name for setting in fields(TrainingConfig)]
    paths = sorted((files.PROJECT / "results" / "short").glob("train-*.json"))
    assert paths
    for path in paths:
        record = records.read(path)
        config = TrainingConfig(**{name: record[name] for name in names})
        assert records.name_of("train", config) == path.stem
        assert records.name_of("train", replace(config, rotation=5.0)) != path.stem


def test_select_finds_the_runs_of_a_configuration(tmp_path):
    for settings in ({}, {"seed": 4}, {"seed": 4, "time_steps": 6}, {"gradient": "full"}):
        records.write(a_record(**settings), tmp_path)
    runs = records.load("train", tmp_path)
    assert len(records.select(runs, Config())) == 1
    assert sorted(records.select(runs, Config(), but=("seed", "gradient"))["seed"]) == [3, 3, 4]
    assert records.select(runs, Config(time_steps=7), but=("seed",)).empty
    assert records.select(records.load("train", tmp_path / "nowhere"), Config()).empty


def test_published_records_are_whole():
    """Every record in results/ can be read, names a clean commit, and repeats its own file name.

    Those from a GPU were made by a copy of the files without their last commits; sweeps/cuda.yaml says of which.
    """
    for path in records.results_folder().rglob("*.json"):
        record = records.read(path)
        copied = record.get("device") == "cuda" and record["git_commit"].startswith("3875194")
        assert record["git_commit"] and (copied or record["git_dirty"] is False), path
        assert path.stem == records._name(record), path
