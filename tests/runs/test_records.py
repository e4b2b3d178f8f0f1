"""Records: complete or absent, strict JSON of a known schema, and able to repeat their run."""

import errno
import json
import math
import os

import numpy as np
import pytest
import torch

from tsbp.peers.bench import BenchConfig
from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig

CONFIG = TrainingConfig(dataset="some/where/fruit", gradient="leak", seed=3, clip_norm=math.inf)
CPU = torch.device("cpu")


def a_record(**settings) -> dict:
    return records.new(CONFIG.but(**settings), {"test_accuracy": 97.5, "data_fingerprint": "0123"}, CPU)


def test_round_trip(tmp_path):
    record = a_record()
    path = records.write(record, tmp_path / "new")
    assert path.stem == f"train-fruit-leak-T5-seed3-{CONFIG.identity('0123')}" == records.name_of(CONFIG, "0123")
    read = records.read(path)
    assert TrainingConfig.restored(read) == CONFIG and read["clip_norm"] == math.inf
    assert read == record | {"clip_norm": math.inf}
    frame = records.load("train", tmp_path)
    assert frame["test_accuracy"].tolist() == [97.5] and frame["path"].tolist() == [path]
    assert records.load("toy", tmp_path).empty and records.load("train", tmp_path / "nowhere").empty


def test_records_are_strict_json(tmp_path):
    """Infinity is a text; a result that is not finite is no result, and leaves no file."""

    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    path = records.write(a_record(), tmp_path)
    assert json.loads(path.read_text(), parse_constant=no_constant)["clip_norm"] == "Infinity"
    with pytest.raises(ValueError, match="JSON compliant"):
        records.write(a_record() | {"loss": math.nan}, tmp_path / "new")
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_holds_every_setting():
    command = a_record()["command"].split()
    assert command[:3] == ["tsbp", "train", "some/where/fruit"]
    assert "--plugin" not in command and "--no-flip" in command
    for option, value in (("--gradient", "leak"), ("--clip-norm", "inf"), ("--batch-size", "100"), ("--target", "1")):
        assert command[command.index(option) + 1] == value
    assert len([word for word in command if word.startswith("--")]) == len(TrainingConfig.model_fields) - 2
    assert "--flip" in a_record(flip=True)["command"].split()
    study = records.command(ToyConfig(learning_rates=(0.1, 0.2), gradients=("full", "0.5")))
    assert study.startswith("tsbp toy --gradient full --gradient 0.5 --lr 0.1 --lr 0.2 ")


def test_provenance():
    record = a_record()
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["device_name"] and record["threads"] == torch.get_num_threads()
    assert record["finished"].endswith("+00:00")


def test_the_threads_of_a_benchmark_are_those_it_was_set_to():
    """It has given the process its own number back by the time the record is made."""
    config = BenchConfig(benchmark="lif", threads=torch.get_num_threads() + 1)
    assert records.new(config, {}, CPU)["threads"] == torch.get_num_threads() + 1


def test_another_setting_is_another_file_and_the_same_run_replaces_its_own(tmp_path):
    records.write(a_record(), tmp_path)
    records.write(a_record(), tmp_path)
    records.write(a_record(flip=True), tmp_path)
    records.write(records.new(CONFIG, {"data_fingerprint": "4567"}, CPU), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_results_may_not_shadow_the_configuration():
    with pytest.raises(ValueError, match="seed"):
        records.new(CONFIG, {"seed": 4}, CPU)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, failing):
    path = records.write(a_record(), tmp_path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        records.write(a_record(), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", "3", '{"schema": "train"}', '{"schema": 5}', '{"schema": null}', "\xff"),
        '{"schema": "train-None"}',
        '{"schema": "train-5", "lr": NaN}',
        '{"schema": "train-5", "clip_norm": Infinity}',
        '{"schema": "train-5", "seed": 1, "seed": 2}',
        '{"schema": "train-5", "lr": ' + "[" * 100_000,
        '{"schema": "train-5", "seed": ' + "9" * 5000 + "}",
        '{"schema": "train-5", "lr": "fast"}',
        '{"schema": "train-5", "seed": "<b>"}',
        '{"schema": "train-5", "flip": 1}',
        '{"schema": "train-5", "network": null}',
        '{"schema": "train-5", "test_accuracy": "<b>"}',
        '{"schema": "train-5", "threads": []}',
        '{"schema": "train-5", "device_name": {"a": 1}}',
    ],
)
def test_what_is_no_record_is_named(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"^\S+bad\.json is not a record[^\n]*$"):
        records.load("train", tmp_path)


def test_a_file_is_no_folder_of_records(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is not a folder of records"):
        records.load("train", tmp_path / "file")


def test_the_same_run_in_two_files_is_named(tmp_path):
    first = records.write(a_record(), tmp_path / "a")
    second = records.write(a_record(), tmp_path / "b")
    records.write(a_record(seed=4), tmp_path / "b")
    with pytest.raises(ValueError, match=rf"^{first} and {second} are records of the same run; remove one of them$"):
        records.load("train", tmp_path)
    second.unlink()
    assert len(records.load("train", tmp_path)) == 2


@pytest.mark.parametrize("gradient", ["../../mine", "a/b", "a\\b", "a\nb"])
def test_a_record_stays_in_its_folder(tmp_path, gradient):
    """Whatever a plugin calls its gradient."""
    record = a_record() | {"gradient": gradient}
    path = records.write(record, tmp_path)
    assert path.parent == tmp_path and list(tmp_path.iterdir()) == [path] and "\n" not in path.name


@pytest.mark.parametrize(("name", "said"), [("train-6", "schema version 6"), ("song-5", "'song'")])
def test_records_of_another_schema_are_refused(tmp_path, name, said):
    (tmp_path / "new.json").write_text(json.dumps({"schema": name, "kind": name[:-2]}))
    with pytest.raises(ValueError, match=rf"new\.json has .*{said}"):
        records.read(tmp_path / "new.json")


def test_records_from_before_a_setting_have_the_value_they_were_run_with(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"schema": "train-5", "kind": "train", "lr": 0.5, "clip_norm": "Infinity"}))
    record = records.read(path)
    assert (record["lr"], record["rotation"], record["clip_norm"]) == (0.5, 0.0, math.inf)


def test_select_finds_the_runs_of_a_configuration(tmp_path):
    for settings in ({}, {"seed": 4}, {"seed": 4, "time_steps": 6}, {"gradient": "full"}):
        records.write(a_record(**settings), tmp_path)
    runs = records.load("train", tmp_path)
    assert len(records.select(runs, CONFIG)) == 1
    assert sorted(records.select(runs, CONFIG, but=("seed", "gradient"))["seed"]) == [3, 3, 4]
    assert records.select(runs, CONFIG.but(time_steps=7), but=("seed",)).empty
    assert records.select(records.load("train", tmp_path / "nowhere"), CONFIG).empty


def test_a_study_is_found_by_its_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("TSBP_RESULTS", str(tmp_path))
    config = ToyConfig(learning_rates=(0.1,))
    with pytest.raises(FileNotFoundError, match=r"tsbp toy .*--lr 0\.1 "):
        records.recorded(config)
    records.write(records.new(config, {"final_loss": [[[1.0]]]}, CPU), tmp_path / "deep" / "below")
    assert records.recorded(config)["learning_rates"] == (0.1,)
    with pytest.raises(FileNotFoundError):
        records.recorded(config.but(seed=1))


# --- which examples were right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 8, 9, 360])
def test_what_is_packed_comes_back(n):
    right = torch.rand(n) < 0.7
    text = records.packed(right)
    assert text.isascii() and np.array_equal(records.unpacked(text, n), right.numpy())


@pytest.mark.parametrize(
    ("text", "n"), [("", 8), ("no", 8), ("????", 8), ("AAAA", 8), (None, 8), (None, 17), (None, 25)]
)
def test_what_was_not_packed_is_refused(text, n):
    with pytest.raises(ValueError, match=r"cannot be read|there are 16 bits"):
        records.unpacked(records.packed(torch.ones(16) > 0) if text is None else text, n)
