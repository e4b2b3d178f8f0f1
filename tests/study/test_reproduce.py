"""The commands that the book prints beside the records repeat exactly these runs."""

import re
import shlex
from html import unescape

import pytest
import torch
import typer

from tsbp import __main__ as command_line
from tsbp.peers import agreement, bench
from tsbp.runs import records, run, training
from tsbp.study import reproduce

COMMAND = typer.main.get_command(command_line.app)  # made once: with all its options it takes a while


class _Asked(Exception):
    """Carries the configuration that a command was about to run."""


@pytest.fixture
def asked(monkeypatch):
    """The settings that a command line would run with, found without running it."""

    def stop(config, *_, **__):
        raise _Asked(config)

    for module, function in ((run, "name_of"), (bench, "run"), (agreement, "run")):
        monkeypatch.setattr(module, function, stop)
    # Some ran on a GPU, which may be missing here.
    monkeypatch.setattr(training, "resolve_device", lambda name: torch.device("cpu" if name == "auto" else name))

    def settings(command: str) -> dict[str, str]:
        tsbp, kind, *words = shlex.split(command)
        assert tsbp == "tsbp"
        with pytest.raises(_Asked) as found:
            COMMAND([kind, *words], standalone_mode=False)
        return _words(found.value.args[0].model_dump())

    return settings


def _words(settings: dict) -> dict[str, str]:
    """JSON has no tuples, and reads the number of a padding back from text."""
    return {name: str(list(value) if isinstance(value, tuple) else value) for name, value in settings.items()}


@pytest.fixture(scope="module")
def published() -> dict[str, dict]:
    return {path.stem: records.read(path) for path in records.files(records.results_folder())}


@pytest.mark.parametrize("kind", ["toy", "train", "bench", "agreement"])
def test_short_commands_lead_to_the_same_run(kind, asked, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_kind = {name: record for name, record in published.items() if record["kind"] == kind}
    assert of_kind
    for name, record in of_kind.items():
        command = reproduce.short_command(record)
        found = asked(command)
        assert found == _words({setting: record[setting] for setting in found}), name
        assert len(command) <= len(record["command"])


def test_a_changed_setting_changes_the_command(asked, published):
    record = next(record for record in published.values() if record["kind"] == "train")
    changed = record | {"temperature": 0.7, "seed": 123}
    assert "--temperature 0.7" in reproduce.short_command(changed)
    settings = asked(reproduce.short_command(changed))
    assert settings["temperature"] == "0.7" and settings["seed"] == "123"


def test_presets_shorten_a_command():
    config = training.resolve(training.TrainingConfig.for_dataset("mnist-30", gradient="leak", device="cpu"))
    record = {"kind": "train", **config.model_dump()}
    assert reproduce.short_command(record) == "tsbp train mnist-30 --gradient leak --precision float32 --device cpu"


def test_every_record_is_listed_with_its_command(published):
    listed = reproduce.command_list()
    assert sorted(re.findall(r"<td id='([^']+)'>", listed)) == sorted(published)
    rows = re.findall(r"<tr><td id='([^']+)'>.*?<code>(.*?)</code>", listed)
    assert {name: unescape(re.sub("</?span>", "", command)) for name, command in rows} == {
        name: reproduce.short_command(record) for name, record in published.items()
    }
    effort = reproduce.effort_table()
    assert effort["runs"].sum() == len(published)
    total = reproduce.totals()
    assert total["records"] == len(published)
    hours = sum(float(row) for row in effort["hours"] if row != "not recorded")
    assert total["core_hours"] + total["gpu_hours"] == pytest.approx(hours, abs=0.05 * len(effort))


def test_what_is_missing_has_a_command_and_a_time(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = reproduce.missing_table().set_index("command")
    assert "tsbp train mnist" not in missing.index  # measured whole
    assert {"tsbp train nmnist", "tsbp train paper-mnist", "tsbp train paper-cifar10"} <= set(missing.index)
    for command, row in missing.iterrows():
        assert asked(command)["time_steps"] == str(row["T"])
        assert (
            re.fullmatch(r"[1-9]\d* (min|h|days)", row["two cores"]) or "fashion" in command
        )  # which is timed nowhere
        assert re.fullmatch(r"[1-9]\d* (min|h|days)", row["GPU"]) or re.search("nmnist|reduced|fashion", command)


def test_expected_times_scale_with_examples_and_epochs(published):
    """The subset of N-MNIST has a sixtieth of the recordings: the whole takes sixty times as long."""
    subset = [
        r for r in published.values() if r["kind"] == "train" and r["dataset"] == "nmnist" and not r["validation"]
    ]
    subset = [r for r in subset if r["time_steps"] == 30]
    hours = sum(r["wall_time"] * r["threads"] for r in subset) / len(subset) * 60 / 2 / 3600
    shown = reproduce.missing_table().set_index("command").loc["tsbp train nmnist", "two cores"]
    assert shown == reproduce._rounded(hours)
