"""The command line as a user meets it: a process, its exit code, what it prints and what it leaves behind."""

import functools
import json
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import SMALL, assert_one_clear_line, here, tsbp, without_times

from tsbp.runs.config import KINDS
from tsbp.runs.settings import PRESETS

TOY = ["toy", "--repeats", "2", "--iterations", "3", "--lr", "0.01", "--time-steps", "20"]


def test_train_leaves_a_record_that_repeats_the_run(tmp_path):
    run = tsbp(*SMALL, "--gradient", "leak", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    path = Path(run.stdout.splitlines()[-1])
    assert path.parent == tmp_path / "runs"
    record = json.loads(path.read_text())
    assert record["gradient"] == "leak" and 0 <= record["test_accuracy"] <= 100
    again = here(*shlex.split(record["command"])[1:], "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    repeated = json.loads((tmp_path / again.stdout.splitlines()[-1]).read_text())
    assert without_times(repeated) == without_times(record)


def test_toy_leaves_a_record_that_repeats_the_run(tmp_path):
    run = here(*TOY, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / run.stdout.splitlines()[-1]).read_text())
    assert record["gradients"] == ["full", "leak", "spatial"] and record["learning_rates"] == [0.01]
    again = here(*shlex.split(record["command"])[1:], "--out", "again", cwd=tmp_path)
    repeated = json.loads((tmp_path / again.stdout.splitlines()[-1]).read_text())
    assert repeated["loss_mean"] == record["loss_mean"]


def test_help(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    found = {
        command: here(command, "--help", cwd=tmp_path) for command in ("toy", "train", "sweep", "bench", "agreement")
    }
    assert all(run.returncode == 0 and "Usage" in run.stdout for run in found.values())
    for command in ("toy", "train", "sweep"):
        assert all(option in found[command].stdout for option in ("--gradient", "--seed", "--device", "--out"))
    assert all(preset in found["train"].stdout for preset in PRESETS)
    for command, kind in KINDS.items():  # every setting, by the names of its options
        options = {kind.option(name) for name in kind.model_fields if name != kind.argument}
        assert not {option for option in options if option not in found[command].stdout}
    assert "Usage" in here("--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "minst"], ["minst", "mnist"]),
        (["train", "mnist"], ["train-images-idx3-ubyte", "--data-root"]),
        (["train", "nmnist"], ["NMNIST", "--data-root"]),
        ([*SMALL, "--tau-m", "0.5"], ["tau_m", "0.5"]),
        ([*SMALL, "--tau-s", "0"], ["tau_s"]),
        ([*SMALL, "--temperature", "0"], ["temperature"]),
        ([*SMALL, "--time-steps", "0"], ["time_steps"]),
        ([*SMALL, "--network", "12Q5"], ["12Q5"]),
        ([*SMALL, "--padding", "wide"], ["padding"]),
        ([*SMALL, "--gradient", "half"], ["half"]),
        ([*SMALL, "--colour", "red"], ["--colour"]),
        ([*SMALL, "--device", "tpu"], ["tpu"]),
        ([*TOY, "--tau-m", "0"], ["tau_m"]),
        ([*TOY, "--lr", "-1"], ["learning_rates", "-1"]),
        ([*SMALL, "--lr", "fast"], ["lr", "fast"]),
        ([*SMALL, "--lr", "nan"], ["lr", "nan"]),
        ([*SMALL, "--epochs", "2.5"], ["epochs", "2.5"]),
        ([*SMALL, "--reset", "soft"], ["reset", "zero, subtract", "soft"]),
        (["toys"], ["toys"]),
        ([*SMALL, "--target", "02"], ["target", "02"]),
        ([*SMALL, "--dropout", "1"], ["dropout"]),
        (["sweep", "digits", "minst"], ["minst"]),
        (["sweep", "none.yaml"], ["none.yaml"]),
        (["sweep", "digits", "--workers", "0"], ["workers"]),
        (["sweep", "digits", "--gradient", "half"], ["gradient", "half"]),
        (["sweep", "digits", "--dask", "tcp://127.0.0.1:9"], ["tcp://127.0.0.1:9"]),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(tmp_path, arguments, words):
    assert_one_clear_line(here(*arguments, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_ends_the_process_with_one_line(tmp_path):
    run = tsbp(*SMALL, "--tau-m", "0.5", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (1, "", "error: tau_m must be at least 1, got '0.5'\n")


def test_an_impossible_folder_is_found_out_before_the_run(tmp_path):
    (tmp_path / "file").write_text("here first")
    started = time.monotonic()
    run = here("train", "digits", "--epochs", "1000", "--out", "file/runs", cwd=tmp_path)
    assert_one_clear_line(run, "file/runs", "not a folder")
    assert time.monotonic() - started < 30
    assert (tmp_path / "file").read_text() == "here first"


def test_a_disk_that_is_full_leaves_no_half_record(tmp_path):
    """The operating system refuses to write more than 100 bytes, as it refuses on a full disk."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
    run = tsbp(*TOY, "--out", "here", cwd=tmp_path, preexec_fn=limit)
    assert_one_clear_line(run, "too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_leaves_no_half_record(tmp_path, stop):
    command = [sys.executable, "-u", "-m", "tsbp", *SMALL, "--epochs", "1000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=listen, **pipes) as run:
        assert "epoch" in run.stdout.readline()
        run.send_signal(stop)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == (-stop if stop == signal.SIGKILL else 130)
    assert not list(tmp_path.glob("runs/*.json"))
    if stop == signal.SIGINT:
        assert not (tmp_path / "runs").exists()
        assert errors.strip().splitlines()[-1] == "error: interrupted"


def test_the_package_alone_needs_torch_and_numpy_only():
    """``import tsbp`` loads none of the libraries of its extras."""
    extras = "typer tqdm pydantic filelock torchvision sklearn pandas matplotlib papermill jupytext sympy scipy".split()  # noqa: SIM905
    code = (
        f"import sys, torch; before = set(sys.modules); import tsbp; print(set({extras}) & set(sys.modules) - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
