"""A training that was stopped, at any moment and by anything, ends as one that was not."""

import json
import multiprocessing
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import SMALL, assert_one_clear_line, here, tsbp, until, without_times

from tsbp.runs import run, training
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.training import train

# Everything random that there is: order, augmentation, dropout, Poisson spikes.
CONFIG = TrainingConfig.for_dataset(
    "digits", network="4C3-P2-20", epochs=2, examples=300, flip=True, dropout=0.2, encoding="poisson"
)


@pytest.fixture(scope="module")
def uninterrupted() -> dict:
    return train(CONFIG, quiet=True)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Of a run that had time for one batch."""
    path = tmp_path / "run.pt"
    assert train(CONFIG, quiet=True, checkpoint=path, time_budget=0) is None
    return path


def test_a_run_in_slices_is_the_run_in_one_piece(tmp_path, uninterrupted):
    """Every batch from another call, the last ones of both epochs included."""
    path, record, slices = tmp_path / "run.pt", None, 0
    while record is None:
        record = train(CONFIG, quiet=True, checkpoint=path, resume=True, time_budget=0)
        slices += 1
    assert slices > 2 * 15
    assert without_times(record) == without_times(uninterrupted)


@pytest.mark.parametrize("settings", [{"precision": "bfloat16"}, {"schedule": "constant"}, {"optimizer": "nesterov"}])
def test_every_kind_of_state_is_kept(tmp_path, settings):
    config = CONFIG.but(epochs=1, **settings)
    path, record = tmp_path / "run.pt", None
    while record is None:
        record = train(config, quiet=True, checkpoint=path, resume=True, time_budget=0.1)
    assert without_times(record) == without_times(train(config, quiet=True))


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "sklearn.datasets", "torch._dynamo", "tsbp.runs.run"])  # starts at once


def test_ten_kills(tmp_path):
    """kill -9 at ten random moments, the writing of a checkpoint among them; then the record of a quiet life."""
    config = CONFIG.but(epochs=6)
    expected = train(config, quiet=True)
    training = sum(epoch["seconds"] for epoch in expected["epoch_metrics"])
    moment, out = random.Random(0), tmp_path / "runs"

    def written() -> list[int]:
        return [path.stat().st_mtime_ns for path in out.glob("*.pt")]

    for kill in range(10):
        before = written()
        process = PROCESSES.Process(target=run.run, args=(config, out), kwargs={"quiet": True, "checkpoint_minutes": 0})
        process.start()
        # Every third life ends before it trains, or nearly so; the others train for a fifteenth of the whole at most.
        if kill % 3 == 2:
            time.sleep(moment.uniform(0, 0.3))
        else:
            until(lambda before=before, process=process: written() != before or not process.is_alive())
            time.sleep(moment.uniform(0, training / 15))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert len(written()) == 1 and not list(out.glob("*.json"))
    path = run.run(config, out, quiet=True)
    assert without_times(json.loads(path.read_text())) == without_times(json.loads(json.dumps(expected)))
    assert list(out.iterdir()) == [path], "something is left over"


def test_a_time_budget_on_the_command_line(tmp_path):
    first = here(*SMALL, "--time-budget", "0", cwd=tmp_path)
    assert first.returncode == 0 and "--resume" in first.stdout
    (checkpoint,) = (tmp_path / "runs").iterdir()
    assert checkpoint.suffix == ".pt"
    assert_one_clear_line(here(*SMALL, cwd=tmp_path), checkpoint.name, "--resume")
    done = tsbp(*SMALL, "--resume", cwd=tmp_path)
    (record,) = (tmp_path / "runs").iterdir()
    assert done.stdout.splitlines()[-1] == str(record)
    before = record.read_bytes()
    assert here(*SMALL, "--resume", "--quiet", cwd=tmp_path).stdout.splitlines() == [str(record)]
    assert record.read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(checkpoint):
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"another configuration: lr 0\.01 there, 0\.1 here; seed 0 there, 3 here"):
        train(CONFIG.but(lr=0.1, seed=3), quiet=True, checkpoint=checkpoint, resume=True)
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_of_other_data_is_refused(checkpoint, digits):
    other = replace(digits, train_images=digits.train_images.flip(0))
    with pytest.raises(ValueError, match="other data"):
        train(CONFIG, dataset=other, quiet=True, checkpoint=checkpoint, resume=True)


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_damaged_checkpoint_is_named(checkpoint, damage):
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(ValueError, match=r"run\.pt is not a whole checkpoint"):
        train(CONFIG, quiet=True, checkpoint=checkpoint, resume=True)


@pytest.mark.parametrize("place", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_a_flipped_bit_is_noticed(checkpoint, place):
    """In any part of the archive; PyTorch reads weights without their checksums."""
    content = bytearray(checkpoint.read_bytes())
    with zipfile.ZipFile(checkpoint) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.file_size)[-9:]
    entry = entries[int(place * len(entries))]
    name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
    start = entry.header_offset + 30 + name + extra
    content[start + int(place * entry.file_size)] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt is not a whole checkpoint"):
        train(CONFIG, quiet=True, checkpoint=checkpoint, resume=True)


def _a_weight_less(state: dict) -> None:
    state["network"].popitem()


def _another_shape(state: dict) -> None:
    name, weight = state["network"].popitem()
    state["network"][name] = weight[:1]


@pytest.mark.parametrize(
    "change",
    [
        *(lambda state, name=name: state.pop(name) for name in ("network", "optimizer", "order", "random", "config")),
        lambda state: state.update(position="1"),
        lambda state: state.update(position=-1),
        lambda state: state.update(position=10**6),
        lambda state: state.update(order=state["order"][:7]),
        lambda state: state["order"].fill_(3),
        lambda state: state.update(epoch_metrics=[3]),
        lambda state: state.update(generator=torch.zeros(3, dtype=torch.uint8)),
        lambda state: state.update(schedule=None),
        _a_weight_less,
        _another_shape,
    ],
)
def test_a_part_that_is_missing_or_of_another_kind_is_noticed(checkpoint, change):
    state = torch.load(checkpoint)
    change(state)
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match=r"run\.pt is not a whole checkpoint; delete it"):
        train(CONFIG, quiet=True, checkpoint=checkpoint, resume=True)


def test_a_checkpoint_can_hold_no_program(tmp_path):
    """Unpickling is limited to tensors and plain values."""
    path = tmp_path / "run.pt"
    torch.save({"config": os.system}, path)
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        train(CONFIG, quiet=True, checkpoint=path, resume=True)


def test_nan_leaves_the_checkpoint_from_before(checkpoint, monkeypatch):
    good = checkpoint.read_bytes()

    def poisoned(*arguments):
        return loss(*arguments) * float("nan")

    loss = training.loss_of
    monkeypatch.setattr(training, "loss_of", poisoned)
    with pytest.raises(FloatingPointError, match="epoch 1/2"):
        train(CONFIG, quiet=True, checkpoint=checkpoint, resume=True, checkpoint_minutes=0)
    assert checkpoint.read_bytes() == good


def in_a_small_disk(folder: Path, options: str, script: str) -> subprocess.CompletedProcess:
    """Run a script where ``folder`` is a memory disk of its own; only the script sees it."""
    mounted = f"mount -t tmpfs -o {options} tmpfs {folder}"
    space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*space, mounted], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a memory disk")
    return subprocess.run([*space, f"{mounted} && {script}"], capture_output=True, text=True, timeout=300)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    """There is room for one checkpoint, not for the next beside it."""
    disk, saved = tmp_path / "disk", tmp_path / "runs"
    disk.mkdir()
    command = [*SMALL, "--resume", "--checkpoint-minutes", "0"]
    first = here(*SMALL, "--time-budget", "0", cwd=tmp_path)
    size = next(saved.glob("*.pt")).stat().st_size
    whole = " ".join([sys.executable, "-m", "tsbp", *command, "--out", str(disk)])
    script = f"cp {saved}/*.pt {disk} && {whole}; code=$?; cp {disk}/* {saved}; ls -A {disk} | wc -l; exit $code"
    full = in_a_small_disk(disk, f"size={int(1.5 * size)}", script)
    assert_one_clear_line(full, "No space left", "the one before is whole")
    assert full.stdout.splitlines()[-1].strip() == "1", "something half-written stayed"
    assert first.returncode == 0 and here(*command, cwd=tmp_path).returncode == 0


def test_a_folder_without_permission_is_found_out_before_the_run(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    whole = " ".join([sys.executable, "-m", "tsbp", *SMALL, "--epochs", "100000", "--out", str(disk)])
    assert_one_clear_line(in_a_small_disk(disk, "ro", whole), "Read-only file system", str(disk))


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path):
    under_way = training.Run(training.resolve(CONFIG), training.data.load("digits"), compiled=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"run\.pt could not be written \([^)]+\)$"):  # and there was none before
        under_way.save(tmp_path / "file" / "run.pt")
