"""Several processes that share each batch, as torchrun starts them, against a single one."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import tsbp

from tsbp.runs.run import name_of, resolve
from tsbp.runs.settings import TrainingConfig

# One update an epoch: the loss of the second shows whether the first one summed the gradients of all processes.
TRAINING = ["train", "digits", "--network", "6C3-P2-20", "--epochs", "3", "--batch-size", "1437"]
TRAINING += ["--schedule", "constant", "--lr", "0.02", "--weight-gain", "4"]


def launched(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "tsbp", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def torchrun(*arguments: str, cwd: Path) -> list[str]:
    run = launched(*arguments, cwd=cwd)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def the_record(folder: Path) -> dict:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())


def test_two_processes_do_what_one_does(tmp_path):
    assert tsbp(*TRAINING, "--out", "one", cwd=tmp_path).returncode == 0
    lines = torchrun(*TRAINING, "--out", "two", cwd=tmp_path)
    assert len(lines) == 4  # three epochs and a path, each said once
    one, two = the_record(tmp_path / "one"), the_record(tmp_path / "two")
    assert (one["processes"], two["processes"]) == (1, 2)
    for alone, shared in zip(one["epoch_metrics"], two["epoch_metrics"], strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-3)
        assert shared["test_accuracy"] == pytest.approx(alone["test_accuracy"], abs=1)
    assert one["epoch_metrics"][0]["loss"] > 1.02 * one["epoch_metrics"][2]["loss"]  # something was learned


def test_a_run_that_another_process_is_doing_ends_all_of_them(tmp_path):
    """Rather than leave all but the first waiting for it; the first one says why."""
    name = name_of(resolve(TrainingConfig.for_dataset("digits", epochs=3)))
    with (tmp_path / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = launched("train", "digits", "--epochs", "3", "--out", str(tmp_path), cwd=tmp_path)
    assert run.returncode and run.stdout == ""
    own = run.stderr.partition("torch/distributed/elastic")[0]  # the launcher has much to say itself
    assert own.count(f"error: another process is doing the run {name}") == 1 and "Traceback" not in own, run.stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
def test_they_stop_together_and_go_on(tmp_path):
    assert "--resume" in torchrun(*TRAINING, "--out", "cut", "--time-budget", "0", cwd=tmp_path)[-1]
    assert len(list((tmp_path / "cut").iterdir())) == 1
    torchrun(*TRAINING, "--out", "cut", "--resume", cwd=tmp_path)
    torchrun(*TRAINING, "--out", "whole", cwd=tmp_path)
    cut, whole = the_record(tmp_path / "cut"), the_record(tmp_path / "whole")
    assert [epoch["loss"] for epoch in cut["epoch_metrics"]] == [epoch["loss"] for epoch in whole["epoch_metrics"]]
