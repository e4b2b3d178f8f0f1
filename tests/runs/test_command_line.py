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
from unittest import mock

import pytest
import typer
from command import SMALL, assert_one_clear_line, here, started, tsbp, without_times

from tsbp.__main__ import app
from tsbp.runs import records, training
from tsbp.runs.config import KINDS
from tsbp.runs.settings import PRESETS, TrainingConfig

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
        command: here(command, "--help", cwd=tmp_path)
        for command in ("toy", "train", "cell", "sweep", "bench", "agreement")
    }
    assert all(run.returncode == 0 and "Usage" in run.stdout for run in found.values())
    shown = {command: "".join(run.stdout.split()) for command, run in found.items()}  # wherever its lines break
    for command in ("toy", "train", "cell", "sweep"):
        assert all(option in shown[command] for option in ("--gradient", "--seed", "--device", "--out"))
    assert all(preset in shown["train"] for preset in PRESETS)
    for command, kind in KINDS.items():  # every setting, by the names of its options
        options = {kind.option(name) for name in kind.model_fields if name != kind.argument}
        assert not {option for option in options if option not in shown[command]}
    for command, text in shown.items():  # brackets are not taken for markup
        for parameter in typer.main.get_command(app).commands[command].params:
            assert "".join((getattr(parameter, "help", "") or "").split()) in text
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
        ([*SMALL, "--gradient", "nothing"], ["nothing"]),
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
        (["sweep", "digits", "--gradient", "nothing"], ["gradient", "nothing"]),
        ([*SMALL, "--shift", "99999"], ["shift", "at most 8", "99999"]),
        ([*SMALL, "--network", "999999999999"], ["the network 999999999999 would take", "PB of memory; there are"]),
        ([*SMALL, "--network", "9" * 30], ["network token", "no memory can hold"]),
        ([*SMALL, "--time-steps", "99999999999"], ["99999999999 time steps", "PB of memory"]),
        ([*SMALL, "--synaptic-delay", "99999999999"], ["5 time steps after 99999999999", "of memory"]),
        ([*SMALL, "--padding", "999999"], ["the network 4C3-P2-20", "of memory"]),
        ([*SMALL, "--padding", "-1"], ["padding", "-1"]),
        ([*SMALL, "--lr", "1e38"], ["lr must be at most 1e+30"]),
        ([*SMALL, "--batch-size", "9" * 30], ["batch_size must be less than 2**63"]),
        ([*SMALL, "--seed", "-1"], ["seed", "at least 0"]),
        ([*SMALL, "--seed", str(2**32)], ["seed must be at most 4294967295"]),
        ([*SMALL, "--seed", str(2**64)], ["seed must be at most 4294967295"]),
        ([*SMALL, "--temperature", "1e-320"], ["gradient norm nan"]),
        ([*SMALL, "--time-budget", "nan"], ["--time-budget", "nan"]),
        ([*SMALL, "--checkpoint-minutes", "-1"], ["--checkpoint-minutes", "-1"]),
        ([*SMALL, "--out", "x" * 5000], ["File name too long"]),
        ([*TOY, "--n-inputs", "9999999999999"], ["9999999999999 inputs", "PB of memory"]),
        ([*TOY, "--repeats", "999999999999"], ["999999999999 repeats", "of memory"]),
        ([*TOY, "--iterations", "99999999999999"], ["99999999999999 iterations", "of memory"]),
        ([*TOY, "--time-steps", "9999999999"], ["9999999999 time steps", "of memory"]),
        ([*TOY, "--seed", str(2**70)], ["seed must be at most 4294967295"]),
        (["bench", "lif", "--neurons", "999999999999"], ["neurons over 5 time steps", "of memory"]),
        (
            ["bench", "recurrent", "--neurons", "9999999", "--batch-size", "1"],
            ["the weights between 9,999,999 neurons"],
        ),
        (["bench", "nmnist", "--time-steps", "99999999999"], ["500 recordings of 99999999999 frames", "of memory"]),
        (["bench", "lif", "--threads", "99999"], ["threads must be at most 1024"]),
        (["agreement", "--time-steps", "99999999999"], ["99999999999 time steps", "of memory"]),
        (["sweep", "digits", "--seeds", "99999999999"], ["--seeds"]),
        (["sweep", "digits", "--seeds", "9999"], ["29,997 runs; at most 20,000"]),
        (["train", "a\nb"], ["a\\nb"]),
        (["train", "."], ["expected class folders in train"]),
        (["sweep", "digits", "--dask", "tcp://127.0.0.1:9"], ["tcp://127.0.0.1:9"]),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(tmp_path, arguments, words):
    assert_one_clear_line(here(*arguments, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


def test_what_fits_into_no_memory_after_all_ends_in_one_line(tmp_path, monkeypatch):
    """The estimates leave out much."""
    for error in (
        MemoryError("Unable to allocate"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ):
        monkeypatch.setattr(training, "train", mock.Mock(side_effect=error))
        assert_one_clear_line(here(*SMALL, cwd=tmp_path), "the memory is exhausted")
    monkeypatch.setattr(training, "train", mock.Mock(side_effect=RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        here(*SMALL, cwd=tmp_path)


def test_a_name_with_a_line_end_is_quoted_in_one_line(tmp_path):
    (tmp_path / "a\nb\x1b[31m" / "train" / "c").mkdir(parents=True)
    run = here("train", "a\nb\x1b[31m", cwd=tmp_path)
    assert run.stderr.count("\n") == 1 and "\x1b" not in run.stderr
    assert_one_clear_line(run, r"a\nb\x1b[31m")


def test_a_folder_may_be_called_like_an_option(tmp_path):
    command = records.words(TrainingConfig(dataset="--help"))
    assert command[2] == "./--help" and records.words(TrainingConfig(dataset="./--help"))[2] == "./--help"


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.2, 2.0])
def test_ctrl_c_while_modules_load_is_no_traceback(tmp_path, seconds):
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with started("train", "digits", "--epochs", "1000", cwd=tmp_path, preexec_fn=listen) as run:
        time.sleep(seconds)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode in (-signal.SIGINT, 130) and "Traceback" not in errors, errors
    assert not (tmp_path / "runs").exists()


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
