"""Sweeps whose processes are killed at random: every record once, whole, and equal to that of an undisturbed run."""

import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from command import environment, until, without_times

from tsbp.runs import records, run, sweep, training
from tsbp.runs.experiments import trainings

SETTINGS = {"seed": [0, 1], "gradient": ["full", "leak"], "network": "4C3-P2-20", "examples": 300}


SURROUNDINGS = {"threads": 1, "git_commit": "", "git_dirty": False}
"""May be others in other processes, at other times."""


def progress(out: Path) -> set[tuple[str, int]]:
    """Changes with every checkpoint and record."""
    found = set()
    for path in out.glob("*.*"):
        try:
            found.add((path.name, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def assert_undisturbed(out: Path, configs) -> None:
    """There are the records of these runs, and nothing else."""
    names = {run.name_of(run.resolve(config)): config for config in configs}
    assert {path.name for path in out.iterdir()} == {f"{name}.json" for name in names}
    for name, config in names.items():
        alone = json.loads(json.dumps(training.train(config, quiet=True)))
        found = records.read(out / f"{name}.json")
        assert without_times(found) | SURROUNDINGS == without_times(alone) | SURROUNDINGS


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["pytest", "sklearn.datasets", "torch._dynamo", "distributed", "tsbp.runs.sweep"]
)  # starts at once


def test_five_kills_of_a_sweep(tmp_path):
    configs = trainings("digits", **SETTINGS | {"seed": [0]}, epochs=6)
    moment = random.Random(0)
    for kill in range(5):
        before = progress(tmp_path)
        sweeping = PROCESSES.Process(
            target=sweep.sweep, args=(configs, tmp_path), kwargs={"checkpoint_minutes": 0, "workers": 1}
        )
        sweeping.start()
        if kill % 3 == 2:
            time.sleep(moment.uniform(0, 0.3))
        else:
            until(lambda before=before, one=sweeping: progress(tmp_path) != before or not one.is_alive())
            time.sleep(moment.uniform(0, 0.05))
        sweeping.kill()
        sweeping.join()
    assert sweep.sweep(configs, tmp_path).failed == {}
    assert_undisturbed(tmp_path, configs)


def sweep_until_it_ends(configs, out: Path, said: Path, options: dict) -> None:
    """What the command line does, without the seconds of its start."""
    try:
        outcome = sweep.sweep(configs, out, **options)
    except OSError as error:
        said.write_text(str(error))
        sys.exit(1)
    sys.exit(bool(outcome.failed))


class Killer:
    """Kills processes at random moments, one at a time, as long as there is something to lose."""

    def __init__(self, folder: Path, epochs: int, **options) -> None:
        self.out, self.said = folder / "runs", folder / "said"
        self.configs = trainings("digits", **SETTINGS, epochs=epochs)
        self.options = options | {"checkpoint_minutes": 0}
        self.choose = random.Random(0)
        self.killed: list[str] = []
        self.sweep = self.start()

    def start(self):
        arguments = (self.configs, self.out, self.said, self.options)
        process = PROCESSES.Process(target=sweep_until_it_ends, args=arguments, daemon=True)
        process.start()
        return process

    def kill(self, victims: Callable[[], dict[int, str]]) -> None:
        """One process, just after a checkpoint or at any time."""
        if not self.sweep.is_alive():
            self.sweep = self.start()
        before = progress(self.out)
        if self.choose.random() < 0.7:
            until(lambda: progress(self.out) != before or not self.sweep.is_alive())
            time.sleep(self.choose.uniform(0, 0.3))
        else:
            time.sleep(self.choose.uniform(0, 8))
        found = victims()
        if found:
            victim = self.choose.choice(sorted(found))
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(victim, signal.SIGKILL)
                self.killed.append(found[victim])
            if victim == self.sweep.pid:
                self.sweep.join()

    def trainings(self) -> dict[int, str]:
        """Those under way in this folder, whoever started them."""
        found = {}
        for process in psutil.process_iter(["pid", "cmdline"]):
            if "train" in (process.info["cmdline"] or []) and str(self.out) in process.info["cmdline"]:
                found[process.info["pid"]] = "training"
        return found

    def sweeping(self) -> dict[int, str]:
        return {self.sweep.pid: "sweep"} if self.sweep.is_alive() else {}

    def finish(self) -> None:
        """The same sweep goes on; a run whose processes were killed too often needs it once more."""
        assert len(list(self.out.glob("*.json"))) < len(self.configs), "there was nothing left to lose"
        del self.options["checkpoint_minutes"]
        for _ in range(3):
            self.sweep.kill()
            self.sweep = self.start()
            self.sweep.join(300)
            if self.sweep.exitcode == 0:
                break
        assert self.sweep.exitcode == 0
        assert_undisturbed(self.out, self.configs)


@pytest.mark.slow
def test_twenty_kills_over_a_sweep_with_two_workers(tmp_path):
    """Of the sweep and of its trainings."""
    killer = Killer(tmp_path, epochs=200, workers=2)
    while len(killer.killed) < 20:
        killer.kill(lambda: killer.sweeping() | killer.trainings())
    assert {"sweep", "training"} == set(killer.killed)
    killer.finish()


class Cluster:
    """A Dask scheduler and two workers, a process each, and what watches over the workers."""

    def __init__(self, cwd: Path) -> None:
        self.cwd, self.started = cwd, []
        environment_ = environment(cwd) | {"OMP_NUM_THREADS": "1"}
        self.options = {"cwd": cwd, "env": environment_, "stdout": subprocess.DEVNULL, "start_new_session": True}
        self.scheduler = self._run("scheduler", "--port", "0", "--no-dashboard")
        said = cwd / "scheduler"
        until(lambda: re.search(r"Scheduler at: +(tcp://\S+)", said.read_text()), self.scheduler)
        self.address = re.search(r"Scheduler at: +(tcp://\S+)", said.read_text())[1]
        for _ in range(2):
            self._run("worker", self.address, "--nthreads", "1", "--no-dashboard")
        until(lambda: (cwd / "worker").read_text().count("Registered to:") == 2)

    def _run(self, what: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        with (self.cwd / what).open("a") as said:
            self.started.append(subprocess.Popen(command, stderr=said, **self.options))
        return self.started[-1]

    def clients(self) -> int:
        """How many there have been."""
        return (self.cwd / "scheduler").read_text().count("Receive client connection")

    def workers(self) -> dict[int, str]:
        """The processes that do the work; each is started again when it dies."""
        found = {}
        for nanny in self.started[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(nanny.pid).children():
                    if "spawn_main" in " ".join(child.cmdline()):
                        found[child.pid] = "worker"
        return found

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
            process.wait()


@pytest.mark.slow
def test_twenty_kills_over_a_cluster_whose_scheduler_dies_once(tmp_path):
    """Of the sweep, its trainings and the workers; and then the same sweep on another cluster."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    cluster = Cluster(tmp_path / "1")
    try:
        killer = Killer(tmp_path, epochs=200, dask=cluster.address)
        while len(killer.killed) < 10:
            killer.kill(lambda: killer.sweeping() | killer.trainings() | cluster.workers())
        if not killer.sweep.is_alive():
            before = cluster.clients()
            killer.sweep = killer.start()
            until(lambda: cluster.clients() > before)
        before = progress(killer.out)
        until(lambda: progress(killer.out) != before)
        cluster.scheduler.kill()
        killer.sweep.join(60)
        assert killer.sweep.exitcode == 1 and "was lost; the same command goes on" in killer.said.read_text()
        cluster.end()
        cluster = Cluster(tmp_path / "2")
        killer.options["dask"] = cluster.address
        while len(killer.killed) < 20:
            killer.kill(lambda: killer.sweeping() | killer.trainings() | cluster.workers())
        assert {"sweep", "training", "worker"} == set(killer.killed)
        killer.finish()
    finally:
        cluster.end()
