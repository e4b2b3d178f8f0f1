"""Sweeps: what is to be done, done once each, on every executor, whatever happens to a process."""

import contextlib
import fcntl
import functools
import itertools
import json
import math
import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest
from command import started, until, without_times

from tsbp.runs import records, run, training, workers
from tsbp.runs.experiments import trainings
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.sweep import ATTEMPTS, Outcome, sweep
from tsbp.runs.toy import ToyConfig

SMALL = {"network": "4C3-P2-20", "epochs": 1, "examples": 60}
LONG = {"network": "4C3-P2-20", "epochs": 12, "examples": 300}
"""Long enough to be met at work."""


def written(folder: Path) -> dict[str, dict]:
    """Name → record; everything else in the folder is a fault."""
    assert all(path.suffix == ".json" for path in folder.iterdir()), list(folder.iterdir())
    return {path.stem: records.read(path) for path in folder.iterdir()}


def name_of(config) -> str:
    return run.name_of(run.resolve(config))


def alone(config: TrainingConfig) -> dict:
    """The record of a run without any accident, less its times."""
    return without_times(json.loads(json.dumps(training.train(config, quiet=True))))


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(workers, "PAUSE", 0.1)


# --- in this process --------------------------------------------------------------------------------------------------


def test_records_are_written_once_and_skipped_the_next_time(tmp_path):
    configs = trainings("digits", seed=[0, 1], gradient=["full", "leak"], **SMALL)
    first = sweep(configs[:3], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(first.recorded) == 3 and not (first.skipped or first.unfinished or first.failed)
    second = sweep([*configs, *configs], tmp_path)
    assert len(second.recorded) == 1 and sorted(second.skipped) == sorted(first.recorded)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert without_times(written(tmp_path)[second.recorded[0]]) == alone(configs[3])


def test_runs_of_all_kinds(tmp_path):
    study = ToyConfig(learning_rates=(0.01,), repeats=2, iterations=2, time_steps=20)
    outcome = sweep([study, TrainingConfig.for_dataset("digits", **SMALL)], tmp_path)
    assert [name.partition("-")[0] for name in outcome.recorded] == ["toy", "train"]
    assert written(tmp_path).keys() == {*outcome.recorded}


def test_a_run_that_fails_takes_no_other_with_it(tmp_path):
    configs = trainings("digits", network=["4C3-P2-20", "9C9-P9-9"], epochs=1, examples=60)
    missing = TrainingConfig.for_dataset(str(tmp_path / "fruit"))
    outcome = sweep([*configs, missing], tmp_path / "runs")
    assert len(outcome.recorded) == 1 and len(outcome.failed) == 2
    reasons = sorted(outcome.failed.values())
    assert "fruit" in reasons[1] + reasons[0] and "P9" in reasons[0] + reasons[1]
    assert written(tmp_path / "runs").keys() == {*outcome.recorded}


def test_wrong_numbers_are_named(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        sweep([], tmp_path / "runs", workers=0)
    with pytest.raises(ValueError, match="lr must be greater than 0, got -1"):
        sweep(trainings("digits", lr=[0.01, -1], **SMALL), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_time_budget_leaves_checkpoints_that_the_next_sweep_takes_up(tmp_path):
    configs = trainings("digits", seed=[0, 1], **SMALL | {"examples": 300})
    outcome = sweep(configs, tmp_path, time_budget=0)
    assert len(outcome.unfinished) == 2 and not outcome.recorded and not list(tmp_path.iterdir())
    done = []
    for _ in range(100):
        outcome = sweep(configs, tmp_path, time_budget=0.15)
        done += outcome.recorded
        if not outcome.unfinished:
            break
    assert len(done) == 2
    for config in configs:
        assert without_times(written(tmp_path)[name_of(config)]) == alone(config)


@pytest.mark.parametrize("done", [False, True], ids=["given up", "done"])
def test_what_another_process_is_doing_is_waited_for(tmp_path, hasty, done, capsys):
    """It is taken over if the other gives it up, and left alone if the other has done it."""
    configs = trainings("digits", seed=[0, 1], **SMALL)
    path = tmp_path / f"{name_of(configs[0])}.json"
    theirs = json.dumps(json.loads(run.run(configs[0], tmp_path / "other", quiet=True).read_text()) | {"wall_time": 0})
    lock = path.with_suffix(".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def other() -> None:
        until((tmp_path / f"{name_of(configs[1])}.json").exists)
        if done:
            path.write_text(theirs)
        lock.close()

    thread = threading.Thread(target=other)
    thread.start()
    outcome = sweep(configs, tmp_path)
    thread.join()
    assert outcome == Outcome(recorded=[name_of(configs[1]), name_of(configs[0])])
    assert capsys.readouterr().out.count(f"another process is doing this run, which is waited for: {path.stem}") == 1
    path.with_suffix(".lock").unlink(missing_ok=True)
    (tmp_path / "other").joinpath(path.name).unlink()
    (tmp_path / "other").rmdir()
    assert (written(tmp_path)[path.stem]["wall_time"] == 0) == done


def test_outcomes_add_up():
    one, other = Outcome(["a"], ["b"], [], {"c": "why"}), Outcome(["d"], [], ["e"], {"f": "because"})
    assert one + other == Outcome(["a", "d"], ["b"], ["e"], {"c": "why", "f": "because"})


# --- a process each ---------------------------------------------------------------------------------------------------


def stand_in(folder: Path, script: str) -> str:
    """A program instead of Python, which is then called as ``$PYTHON "$@"``."""
    path = folder / "stand-in"
    path.write_text(f"#!/bin/sh\nPYTHON={sys.executable}\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_run_whose_process_always_dies_is_given_up_and_its_neighbour_is_not(tmp_path, monkeypatch):
    script = f'case "$*" in *"--seed 1 "*) echo died >> {tmp_path}/log; kill -9 $$;; esac; exec $PYTHON "$@"'
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, script))
    configs = trainings("digits", seed=[0, 1], **SMALL)
    outcome = sweep(configs, tmp_path / "runs", workers=2)
    assert outcome.recorded == [name_of(configs[0])] == [*written(tmp_path / "runs")]
    assert outcome.failed == {name_of(configs[1]): f"its process was killed by signal 9, {ATTEMPTS} times"}
    assert (tmp_path / "log").read_text().split() == ["died"] * ATTEMPTS


def test_what_a_process_is_given_and_what_it_says(tmp_path, monkeypatch, hasty, capsys):
    """Absolute folders, threads, and by exit code whether it failed or another is at it."""
    first = f'if [ ! -e {tmp_path}/log ]; then busy=1; fi; printf "%s\\n" "$OMP_NUM_THREADS" "$@" >> {tmp_path}/log'
    script = f'{first}; [ "$busy" ] && exit 75; echo hm >&2; echo "error: it is broken" >&2; exit 1'
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, script))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (config,) = trainings("digits", plugin="", **SMALL)
    outcome = sweep([config], "runs", workers=2, data_root="data", checkpoint_minutes=0.5)
    assert outcome.failed == {name_of(config): "it is broken"}
    said = (tmp_path / "log").read_text().splitlines()
    assert said[: len(said) // 2] == said[len(said) // 2 :], "twice the same"
    assert said[0] == str(max(1, (os.cpu_count() or 1) // 2)) and said[1:5] == ["-m", "tsbp", "train", "digits"]
    given = dict(itertools.pairwise(said[: len(said) // 2]))
    assert given["--out"] == str(tmp_path / "runs") and given["--data-root"] == str(tmp_path / "data")
    assert given["--checkpoint-minutes"] == "0.5" and "--resume" in said and "--quiet" in said
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    sweep([config], "runs", workers=2)
    assert (tmp_path / "log").read_text().splitlines()[len(said)] == "3", "the user's own number"


def test_what_a_process_prints_or_leaves_running_decides_nothing(tmp_path, monkeypatch):
    """Its record does. The folder's name is one that no line of output can show."""
    script = f'$PYTHON "$@"; code=$?; sleep 600 & echo $! > {tmp_path}/pid; echo bye; echo bye >&2; exit $code'
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, script))
    out = tmp_path / "two\nlines"
    (config,) = trainings("digits", gradient=["leak"], **SMALL)
    try:
        assert sweep([config], out, workers=2).recorded == [name_of(config)] == [*written(out)]
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", f"its process was killed by signal 11, {ATTEMPTS} times"),
        ("exit 3", "exit code 3"),
        ("printf '\\377 is no text\\n' >&2; exit 1", "\ufffd is no text"),
        ("exit 0", "its data are not those with which the sweep began"),
    ],
)
def test_how_a_process_can_end(tmp_path, monkeypatch, script, reason):
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, script))
    (config,) = trainings("digits", **SMALL)
    assert sweep([config], tmp_path / "runs", workers=2).failed == {name_of(config): reason}
    assert not (tmp_path / "runs").exists()


def test_a_process_that_cannot_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    (config,) = trainings("digits", **SMALL)
    (reason,) = sweep([config], tmp_path / "runs", workers=2).failed.values()
    assert "No such file" in reason and "gone" in reason


def test_no_process_is_started_for_a_run_that_is_done_or_under_way(tmp_path, monkeypatch, hasty):
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, f"touch {tmp_path}/started; exit 1"))
    (config,) = trainings("digits", **SMALL)
    path = run.run(config, tmp_path / "runs", quiet=True)
    options = workers.Options(None, 5.0, math.inf)
    assert workers.do_in_a_process(config, str(path), options) == path.read_text()
    path.unlink()
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(run.BusyError):
            workers.do_in_a_process(config, str(path), options)
    assert not (tmp_path / "started").exists()


FILE = "{dataset: digits, seed: [0, 1], gradient: [full, leak], network: 4C3-P2-20, epochs: 12, examples: 300}"
FOUR = trainings("digits", seed=[0, 1], gradient=["full", "leak"], **LONG)


def assert_all_there(folder: Path, configs: list[TrainingConfig]) -> None:
    """What one sees of the runs is what they are without any accident."""
    found = written(folder)
    for config in configs:
        assert without_times(found.pop(name_of(config))) | {"threads": 1} == alone(config) | {"threads": 1}
    assert not found


def children(process) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "train" in child.cmdline()]


@pytest.mark.slow
def test_a_killed_process_costs_nothing_else(tmp_path):
    (tmp_path / "sweep.yaml").write_text(FILE)
    options = ["--workers", "2", "--checkpoint-minutes", "0", "--out", "runs", "--data-root", "data"]
    with started("sweep", "sweep.yaml", *options, cwd=tmp_path) as process:
        until(lambda: list(tmp_path.glob("runs/*.pt")), process)
        children(process)[0].kill()
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "4 recorded, 0 were there, 0 unfinished" in printed
    assert printed.count("a process was lost; its run goes on from its checkpoint") == 1
    assert sum(line.endswith(".json") for line in printed.splitlines()) == 4
    assert_all_there(tmp_path / "runs", FOUR)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_sweep(tmp_path, stop):
    """The sweep alone gets the signal; what was done until then is there for the next one."""
    listen = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    options = ["--epochs", "999", "--examples", "300", "--workers", "2", "--checkpoint-minutes", "0"]
    with started("sweep", "digits", *options, cwd=tmp_path, preexec_fn=listen, start_new_session=True) as process:
        until(lambda: len(list(tmp_path.glob("runs/*.pt"))) == 2, process)
        found = children(process)
        process.send_signal(stop)
        assert len(found) == 2 and not psutil.wait_procs(found, timeout=30)[1]
        _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    if stop == signal.SIGINT:
        assert errors.strip().splitlines()[-1] == "error: interrupted" and "Traceback" not in errors
    assert len(list(tmp_path.glob("runs/*.pt"))) == 2 and not list(tmp_path.glob("runs/*.json"))


COUNTING = """
from tsbp.runs import records
write = records.write
def counted(record, folder):
    with open("log", "a") as log:
        print(record["identity"], file=log)
    return write(record, folder)
records.write = counted
"""


@pytest.mark.slow
def test_two_sweeps_share_a_folder(tmp_path):
    """Every record is written once, by whichever it was; neither sweep fails."""
    (tmp_path / "counting.py").write_text(COUNTING)
    command = ["sweep", "digits", "--plugin", "counting", "--network", "4C3-P2-20", "--epochs", "2", "--seeds", "2"]
    with (
        started(*command, cwd=tmp_path) as one,
        started(*command, "--workers", "2", cwd=tmp_path) as other,
    ):
        printed = [process.communicate(timeout=300) for process in (one, other)]
    assert one.returncode == other.returncode == 0, printed
    assert all("0 unfinished" in out for out, _ in printed)
    log = (tmp_path / "log").read_text().split()
    assert len(written(tmp_path / "runs")) == 6 and len(log) == len(set(log)) == 6


# --- on a Dask cluster ------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch):
    """A scheduler and a worker in this process, whose runs never end."""
    from distributed import LocalCluster

    monkeypatch.setattr(workers, "LOOK", 0.05)
    monkeypatch.setattr(workers, "do_in_a_process", never_done)
    begun.clear()
    given_up.clear()
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(protocol="tcp", **options) as cluster:
        yield cluster


begun, given_up = threading.Event(), threading.Event()


def never_done(config, path, options) -> None:
    begun.set()
    given_up.wait(60)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("scheduler", "the Dask scheduler at .* was lost; the same command goes on from the checkpoints"),
        ("workers", "the Dask scheduler at .* has had no workers for 0.2 s; the same command goes on"),
    ],
)
def test_a_cluster_that_is_lost_ends_the_sweep(tmp_path, cluster, monkeypatch, what, words):
    monkeypatch.setattr(workers, "NO_WORKERS", 0.2)

    def lose() -> None:
        begun.wait(60)
        if what == "scheduler":
            cluster.sync(cluster.scheduler.close)
        else:
            cluster.scale(0)
        given_up.set()

    thread = threading.Thread(target=lose)
    thread.start()
    configs = trainings("digits", seed=[0, 1], **SMALL)
    with pytest.raises(OSError, match=words):
        sweep(configs, tmp_path, dask=cluster.scheduler_address)
    thread.join()


@pytest.mark.parametrize("address", ["", " ", "no such scheme://here", "tcp://127.0.0.1"])
def test_an_address_without_a_scheduler_is_named(tmp_path, address):
    with pytest.raises((ValueError, OSError)) as error:
        sweep(trainings("digits", **SMALL), tmp_path / "runs", dask=address)
    assert repr(address) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_workers_elsewhere_get_full_paths_and_the_folder_of_plugins(tmp_path, monkeypatch):
    """Their own working directory is another."""
    (tmp_path / "here" / "fruit" / "train").mkdir(parents=True)
    (tmp_path / "here" / "plugged_elsewhere.py").touch()
    monkeypatch.chdir(tmp_path / "here")
    seen = {}

    @contextlib.contextmanager
    def elsewhere(address):
        os.chdir(tmp_path)
        yield workers.Workers(workers.SerialExecutor(), lambda *arguments: None, 1)

    def named(configs, options):
        seen.update({config.dataset: options for config in configs})
        return before(configs, options)

    before = workers.named
    monkeypatch.setattr(workers, "cluster", elsewhere)
    monkeypatch.setattr(workers, "named", named)
    monkeypatch.setattr(sys, "path", list(sys.path))
    configs = [TrainingConfig.for_dataset(name, plugin="plugged_elsewhere") for name in ("fruit", "digits")]
    sys.modules.pop("plugged_elsewhere")
    sys.path[:] = [path for path in sys.path if path != str(tmp_path / "here")]
    outcome = sweep(configs, "runs", dask="there", data_root="data")
    assert seen.keys() == {str(tmp_path / "here" / "fruit"), "digits"}
    assert {options.data_root for options in seen.values()} == {str(tmp_path / "here" / "data")}
    assert len(outcome.unfinished) == 1, "the plugin was found"
    (reason,) = outcome.failed.values()
    assert str(tmp_path / "here" / "fruit" / "train") in reason
    sys.modules.pop("plugged_elsewhere")


@pytest.mark.slow
def test_a_killed_dask_worker_costs_nothing_else(tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill_one() -> None:
            until(lambda: list(tmp_path.glob("*.pt")))
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            killed.set()

        killed = threading.Event()
        threading.Thread(target=kill_one, daemon=True).start()
        outcome = sweep(FOUR, tmp_path, dask=cluster.scheduler_address, checkpoint_minutes=0)
        assert killed.is_set()
    assert sorted(outcome.recorded) == sorted(map(name_of, FOUR)) and not (outcome.failed or outcome.unfinished)
    assert_all_there(tmp_path, FOUR)
