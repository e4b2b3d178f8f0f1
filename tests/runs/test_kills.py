"""Sweeps whose processes are killed at random: every record once, whole, and equal to that of an undisturbed run."""

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
from command import environment, started, until, without_times

from tsbp.runs import records, run, sweep, training
from tsbp.runs.experiments import trainings

FILE = "{{dataset: digits, seed: [0, 1], gradient: [full, leak], network: 4C3-P2-20, epochs: {}, examples: 300}}"
SETTINGS = {"seed": [0, 1], "gradient": ["full", "leak"], "network": "4C3-P2-20", "examples": 300}


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
        assert without_times(found) | {"threads": 1} == without_times(alone) | {"threads": 1}


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "sklearn.datasets", "torch._dynamo", "tsbp.runs.sweep"])  # starts at once


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


class Killer:
    """Kills processes at random moments, one at a time, as long as there is something to lose."""

    def __init__(self, cwd: Path, epochs: int) -> None:
        (cwd / "sweep.yaml").write_text(FILE.format(epochs))
        self.cwd, self.out = cwd, cwd / "runs"
        self.configs = trainings("digits", **SETTINGS, epochs=epochs)
        self.choose = random.Random(0)
        self.killed: list[str] = []
        self.sweep: subprocess.Popen | None = None
        self.options: list[str] = []

    def start(self) -> subprocess.Popen:
        command = ["sweep", "sweep.yaml", "--checkpoint-minutes", "0", "--out", "runs", *self.options]
        self.sweep = started(*command, cwd=self.cwd, stdout=subprocess.DEVNULL, stderr=(self.cwd / "said").open("w"))
        return self.sweep

    def kill(self, victims: Callable[[], dict[int, str]]) -> None:
        """One process, just after a checkpoint or at any time."""
        if self.sweep is None or self.sweep.poll() is not None:
            self.start()
        before = progress(self.out)
        if self.choose.random() < 0.7:
            until(lambda: progress(self.out) != before or self.sweep.poll() is not None)
            time.sleep(self.choose.uniform(0, 0.3))
        else:
            time.sleep(self.choose.uniform(0, 8))
        found = victims()
        if found:
            victim = self.choose.choice(sorted(found))
            os.kill(victim, signal.SIGKILL)
            self.killed.append(found[victim])

    def trainings(self) -> dict[int, str]:
        """Those under way in this folder, whoever started them."""
        found = {}
        for process in psutil.process_iter(["pid", "cmdline"]):
            if "train" in (process.info["cmdline"] or []) and str(self.out) in process.info["cmdline"]:
                found[process.info["pid"]] = "training"
        return found

    def sweeping(self) -> dict[int, str]:
        return {self.sweep.pid: "sweep"} if self.sweep and self.sweep.poll() is None else {}

    def finish(self) -> None:
        """What the line on standard error says: the same command goes on."""
        assert not {path.stem for path in self.out.glob("*.json")} >= {
            run.name_of(run.resolve(config)) for config in self.configs
        }, "there was nothing left to lose"
        if self.sweep is not None and self.sweep.poll() is None:
            self.sweep.wait(300)
        for _ in range(3):
            if self.start().wait(300) == 0:
                break
        assert self.sweep.returncode == 0, (self.cwd / "said").read_text()
        assert_undisturbed(self.out, self.configs)


@pytest.mark.slow
def test_twenty_kills_over_a_sweep_with_two_workers(tmp_path):
    """Of the sweep and of its trainings."""
    killer = Killer(tmp_path, epochs=500)
    killer.options = ["--workers", "2"]
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

    def workers(self) -> dict[int, str]:
        """The processes that do the work; each is started again when it dies."""
        found = {}
        for nanny in self.started[1:]:
            for child in psutil.Process(nanny.pid).children() if nanny.poll() is None else ():
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
    killer = Killer(tmp_path, epochs=400)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    cluster = Cluster(tmp_path / "1")
    try:
        killer.options = ["--dask", cluster.address]
        while len(killer.killed) < 9:
            killer.kill(lambda: killer.sweeping() | killer.trainings() | cluster.workers())
        if killer.sweep.poll() is not None:
            killer.start()
        before = progress(killer.out)
        until(lambda: progress(killer.out) != before, killer.sweep)
        cluster.scheduler.kill()
        killer.killed.append("scheduler")
        assert killer.sweep.wait(60) == 1
        assert "was lost; the same command goes on" in (tmp_path / "said").read_text().splitlines()[-1]
        cluster.end()
        cluster = Cluster(tmp_path / "2")
        killer.options = ["--dask", cluster.address]
        while len(killer.killed) < 20:
            killer.kill(lambda: killer.sweeping() | killer.trainings() | cluster.workers())
        assert {"sweep", "training", "worker", "scheduler"} == set(killer.killed)
        killer.finish()
    finally:
        cluster.end()
