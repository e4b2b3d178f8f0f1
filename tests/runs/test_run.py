"""One run: done once, by one process at a time, and nothing left of it but its record."""

import fcntl
import json
import math

import pytest
from command import SMALL, assert_one_clear_line, here, without_times

from tsbp.runs import files, records, training
from tsbp.runs.run import BusyError, fingerprint, name_of, resolve, run
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig

CONFIG = TrainingConfig.for_dataset("digits", network="4C3-P2-20", epochs=1, examples=60)
STUDY = ToyConfig(learning_rates=(0.01,), repeats=2, iterations=2, time_steps=20)


def test_a_record_and_nothing_else(tmp_path):
    path = run(CONFIG, tmp_path / "deep" / "runs", quiet=True)
    assert list(path.parent.iterdir()) == [path] and path.stem == name_of(resolve(CONFIG))
    record = json.loads(path.read_text())
    assert record["identity"] == resolve(CONFIG).identity(fingerprint(CONFIG)) == path.stem[-10:]
    assert record["data_fingerprint"] == fingerprint(CONFIG)
    assert without_times(record) == without_times(json.loads(json.dumps(training.train(CONFIG, quiet=True))))
    study = run(STUDY, tmp_path, quiet=True)
    assert records.read(study)["iterations"] == 2 and study.stem == name_of(STUDY)


def test_a_record_that_is_there_is_kept_unless_asked_otherwise(tmp_path):
    path = run(CONFIG, tmp_path, quiet=True)
    before = path.stat().st_mtime_ns
    path.with_suffix(".pt").touch()  # of a process that was killed just after it wrote the record
    assert run(CONFIG, tmp_path, quiet=True) == path
    assert path.stat().st_mtime_ns == before and list(tmp_path.iterdir()) == [path]
    assert run(CONFIG, tmp_path, quiet=True, resume=False) == path
    assert path.stat().st_mtime_ns > before


@pytest.mark.parametrize("existing", [False, True])
def test_a_run_that_fails_leaves_no_lock_and_no_folder(tmp_path, monkeypatch, existing):
    out = tmp_path / "deep" / "runs"
    if existing:
        out.mkdir(parents=True)
    with pytest.raises(ValueError, match="9"):
        run(CONFIG.but(network="9C9-P9-9"), out, quiet=True)
    loss = training.loss_of
    monkeypatch.setattr(training, "loss_of", lambda *arguments: math.nan * loss(*arguments))
    with pytest.raises(FloatingPointError, match="epoch 1/1"):
        run(CONFIG, out, quiet=True)
    assert not list(tmp_path.rglob("*.*")) and out.exists() == existing == (tmp_path / "deep").exists()


def test_a_run_under_way_is_left_to_the_process_that_does_it(tmp_path):
    """One line, and the exit code by which a sweep knows."""
    path = tmp_path / f"{name_of(resolve(CONFIG))}.json"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match=path.stem):
            run(CONFIG, tmp_path, quiet=True)
        found = here(*SMALL[:-1], "60", "--out", tmp_path, cwd=tmp_path)
        assert found.returncode == 75
        assert_one_clear_line(found, "another process", path.stem)
        assert found.stdout == "" and len(found.stderr.splitlines()) == 1
    assert run(CONFIG, tmp_path, quiet=True) == path  # a lock that nobody holds is no obstacle
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_tried_before_the_run(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="not a folder"):
        run(CONFIG.but(epochs=10_000), tmp_path / "file" / "runs")
    files.check_folder(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_data_are_told_apart_by_what_is_in_them(tmp_path):
    """Of the part that is used; not by how the run is set up otherwise."""
    assert fingerprint(CONFIG) == fingerprint(CONFIG.but(lr=0.5, seed=3, dropout=0.1))
    parts = [CONFIG, CONFIG.but(examples=61), CONFIG.but(validation=20), CONFIG.but(examples=0)]
    assert len({fingerprint(config) for config in parts}) == 4
