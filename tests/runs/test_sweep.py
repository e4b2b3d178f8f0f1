"""Sweeps: what is to be done, done once each, on every executor, whatever happens to a worker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from command import without_times

from tsbp.runs import files, records, training
from tsbp.runs.settings import PRESETS, TrainingConfig
from tsbp.runs.sweep import ATTEMPTS, _run, grid, read_file, sweep

SMALL = {"network": "4C3-P2-20", "epochs": 1}


def written(folder: Path) -> dict[str, dict]:
    """Name → record; everything else in the folder is a fault."""
    assert all(path.suffix == ".json" for path in folder.iterdir())
    return {path.stem: records.read(path) for path in folder.iterdir()}


def test_a_grid_is_all_combinations_the_last_setting_fastest():
    configs = grid(["digits", "mnist"], seed=range(2), gradient=["full", "leak"], epochs=3)
    found = [(config.dataset, config.seed, config.gradient) for config in configs]
    assert found[:4] == [("digits", 0, "full"), ("digits", 0, "leak"), ("digits", 1, "full"), ("digits", 1, "leak")]
    assert len(configs) == 8 and {config.epochs for config in configs} == {3}
    assert configs[0].lr == TrainingConfig.for_dataset("digits").lr


def test_a_file_holds_one_block_or_several(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("{dataset: digits, seed: [0, 1], gradient: [full, leak, spatial], epochs: 2}")
    assert read_file(file) == grid(["digits"], seed=[0, 1], gradient=["full", "leak", "spatial"], epochs=2)
    file.write_text("- {dataset: [paper-mnist, paper-mnist-swapped]}\n- {dataset: mnist, lr: [0.001, 0.002]}")
    configs = read_file(file)
    assert [config.time_steps for config in configs] == [30, 5, 5, 5]
    assert [config.lr for config in configs[2:]] == [0.001, 0.002]


@pytest.mark.parametrize("content", ["", "3", "[1, 2]", "{seed: 1}", "{dataset: digits, colour: red}", "{", "\x00"])
def test_what_is_no_sweep_is_named(tmp_path, content):
    file = tmp_path / "sweep.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"sweep\.yaml"):
        read_file(file)


@pytest.mark.parametrize("path", sorted((files.PROJECT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_published_sweeps_give_all_gradients_the_same(path):
    """Of each configuration, but for the number of seeds, all gradients are there with the same settings."""
    configs = [training.resolve(replace(config, device="cpu")) for config in read_file(path)]
    gradients = defaultdict(set)
    for config in configs:
        gradients[replace(config, gradient="full", seed=0)].add(config.gradient)
    assert gradients and all(found == {"full", "leak", "spatial"} for found in gradients.values())


def test_records_are_written_once_and_skipped_the_next_time(tmp_path):
    configs = grid(["digits"], seed=[0, 1], gradient=["full", "leak"], **SMALL)
    first = sweep(configs[:3], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(first.recorded) == 3 and not (first.skipped or first.unfinished or first.failed)
    second = sweep([*configs, *configs], tmp_path)
    assert len(second.recorded) == 1 and sorted(second.skipped) == sorted(first.recorded)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    alone = training.train(configs[3], quiet=True)
    assert without_times(written(tmp_path)[second.recorded[0]]) == without_times(json.loads(json.dumps(alone)))


def test_a_run_that_fails_takes_no_other_with_it(tmp_path):
    configs = grid(["digits"], network=["4C3-P2-20", "9C9-P9-9"], epochs=1)
    outcome = sweep(configs, tmp_path)
    assert len(outcome.recorded) == 1
    (reason,) = outcome.failed.values()
    assert "9C9" in reason or "P9" in reason


def test_a_bad_setting_is_found_before_the_first_run(tmp_path):
    with pytest.raises(ValueError, match="lr"):
        sweep(grid(["digits"], lr=[0.01, -1], **SMALL), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_time_budget_leaves_checkpoints_that_the_next_sweep_takes_up(tmp_path):
    configs = grid(["digits"], seed=[0, 1], **SMALL)
    outcome = sweep(configs, tmp_path, time_budget=0)
    assert len(outcome.unfinished) == 2 and not outcome.recorded
    done = []
    for _ in range(60):
        outcome = sweep(configs, tmp_path, time_budget=0.5)
        done += outcome.recorded
        if not outcome.unfinished:
            break
    assert len(done) == 2
    for config in configs:
        record = written(tmp_path)[records.name_of("train", training.resolve(config))]
        assert without_times(record) == without_times(json.loads(json.dumps(training.train(config, quiet=True))))


def one_that_dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_that_kills_its_workers_is_given_up(tmp_path, monkeypatch):
    from tsbp.runs import sweep as module

    monkeypatch.setattr(module, "_run", one_that_dies)
    outcome = sweep(grid(["digits"], **SMALL), tmp_path, workers=2)
    assert len(outcome.failed) == 1 and ATTEMPTS > 1 and not list(tmp_path.iterdir())


LONG = [*grid(["digits"], seed=[0, 1], gradient=["full", "leak"], network="8C3-P2-40", epochs=8)]


def expected() -> dict[str, dict]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers; another number adds up in another order
    try:
        return {records.name_of("train", training.resolve(c)): training.train(c, quiet=True) for c in LONG}
    finally:
        torch.set_num_threads(threads)


def assert_all_there(folder: Path) -> None:
    """What one sees of the runs is what they are without any accident."""
    found = written(folder)
    for name, record in expected().items():
        assert found.pop(name)["epoch_metrics"][-1]["test_accuracy"] == record["test_accuracy"]
    assert not found


@pytest.mark.slow
def test_a_killed_process_of_the_pool_costs_nothing_else(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("{dataset: digits, seed: [0, 1], gradient: [full, leak], network: 8C3-P2-40, epochs: 8}")
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "tsbp", "sweep", file, "--workers", "2", "--checkpoint-minutes", "0.005"]
    with subprocess.Popen([*command, "--out", out], text=True, stdout=subprocess.PIPE) as process:
        until(lambda: len(list(out.glob("*.pt"))) == 2)
        workers = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        assert len(workers) == 2
        workers[0].kill()
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "4 recorded" in printed
    assert sum(line.endswith(".json") for line in printed.splitlines()) == 4
    assert_all_there(out)


@pytest.mark.slow
def test_workers_do_not_outlive_the_sweep(tmp_path):
    command = [sys.executable, "-m", "tsbp", "sweep", "digits", "--epochs", "999", "--workers", "2", "--out", tmp_path]
    with subprocess.Popen([*command, "--checkpoint-minutes", "0.005"], stderr=subprocess.DEVNULL) as process:
        until(lambda: len(list(tmp_path.glob("*.pt"))) == 2)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_a_run_with_a_record_is_not_repeated_by_a_cluster_that_lost_its_worker(tmp_path):
    config = grid(["digits"], **SMALL)[0]
    checkpoint = tmp_path / "run.pt"
    arguments = (config, checkpoint, None, 0.0, time.time() + 60)
    assert _run(*arguments)["seed"] == 0 and checkpoint.exists()
    checkpoint.unlink()
    (tmp_path / "run.json").touch()
    assert _run(*arguments) is None and not checkpoint.exists()


@pytest.mark.slow
def test_a_killed_dask_worker_costs_nothing_else(tmp_path, monkeypatch):
    from distributed import LocalCluster

    writes = Counter()
    write = records.write

    def counted(record, folder):
        writes[record["seed"], record["gradient"]] += 1
        return write(record, folder)

    monkeypatch.setattr(records, "write", counted)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill_one() -> None:
            until(lambda: len(list(tmp_path.glob("*.pt"))) == 2)
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            killed.set()

        killed = threading.Event()
        threading.Thread(target=kill_one, daemon=True).start()
        outcome = sweep(LONG, tmp_path, dask=cluster.scheduler_address, checkpoint_minutes=0.005)
        assert killed.is_set()
    assert len(outcome.recorded) == 4 and not (outcome.failed or outcome.unfinished)
    assert set(writes.values()) == {1} and len(writes) == 4
    assert_all_there(tmp_path)


def until(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "this never happened"
        time.sleep(0.05)


def test_presets_are_table_3():
    """Networks and time steps as printed in the paper, and with the first two rows' time steps exchanged."""
    paper = [name for name in PRESETS if name.startswith("paper-")]
    steps = {name: TrainingConfig.for_dataset(name).time_steps for name in paper}
    assert steps == {
        "paper-mnist": 30,
        "paper-mnist-swapped": 5,
        "paper-nmnist": 5,
        "paper-nmnist-swapped": 30,
        "paper-cifar10": 5,
    }
