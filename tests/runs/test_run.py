"""One run: done once, by one process at a time, and nothing left of it but its record."""

import fcntl
import json
import math
from pathlib import Path

import pytest
from command import SMALL, assert_one_clear_line, here, without_times
from filelock import FileLock

from tsbp.runs import files, records, training
from tsbp.runs import run as module
from tsbp.runs.run import BusyError, fingerprint, name_of, resolve, run
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.sweep import sweep
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


def test_each_choice_of_data_has_a_fingerprint_and_its_record_the_name_that_it_gives(tmp_path):
    chosen = [{}, {"validation": 20}, {"folds": 30}, {"folds": 30, "fold": 31}, {"folds": 30, "validation": 20}]
    found = {fingerprint(CONFIG.but(**choice)) for choice in chosen} | {fingerprint(CONFIG.but(examples=50))}
    assert len(found) == len(chosen) + 1
    for choice in chosen:
        assert run(CONFIG.but(**choice), tmp_path, quiet=True).exists()


def test_a_record_that_is_there_is_kept_unless_asked_otherwise(tmp_path):
    path = run(CONFIG, tmp_path, quiet=True)
    before = path.stat().st_mtime_ns
    assert run(CONFIG, tmp_path, quiet=True) == path
    assert path.stat().st_mtime_ns == before and list(tmp_path.iterdir()) == [path]
    assert run(CONFIG, tmp_path, quiet=True, resume=False) == path
    assert path.stat().st_mtime_ns > before


def left_by_kills(path: Path) -> None:
    """What a process leaves that is killed while it writes its record, and one killed just after that."""
    for name in (f"{path.stem}.pt", f"{path.stem}.lock", f".{path.name}.a1b2c3d4", f".{path.stem}.pt.e5f6_7h8"):
        (path.parent / name).touch()


@pytest.mark.parametrize("again", ["run", "run anew", "sweep", "tidy"])
def test_what_kills_have_left_goes_with_the_next_run(tmp_path, again):
    path = run(STUDY, tmp_path, quiet=True)
    left_by_kills(path)
    other = tmp_path / "train-other-full-T5-seed0-0123456789.pt"  # of a run that has no record yet
    other.touch()
    if again == "sweep":
        assert sweep([STUDY], tmp_path).skipped == [path.stem]
    elif again == "tidy":
        module.tidy_folder(tmp_path)
    else:
        assert run(STUDY, tmp_path, quiet=True, resume=again == "run") == path
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_what_is_left_of_a_training_under_way_stays(tmp_path):
    """Its checkpoint, that is; and a process at work is not disturbed even where a record is there."""
    path = tmp_path / f"{name_of(resolve(CONFIG))}.json"
    assert run(CONFIG, tmp_path, quiet=True, time_budget=0) is None
    module.tidy_folder(tmp_path)
    assert [one.suffix for one in tmp_path.iterdir()] == [".pt"]
    assert run(CONFIG, tmp_path, quiet=True) == path
    left_by_kills(path)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(CONFIG, tmp_path, quiet=True) == path
        module.tidy_folder(tmp_path)
        assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("content", ["", "{", "null", "[]", "{}", '{"identity": "0123456789"}', "\x00"])
@pytest.mark.parametrize("do", [run, lambda config, out: sweep([config], out)], ids=["run", "sweep"])
def test_a_file_that_is_no_whole_record_is_replaced(tmp_path, do, content):
    path = tmp_path / f"{name_of(STUDY)}.json"
    path.write_text(content)
    do(STUDY, tmp_path)
    assert records.read(path)["iterations"] == 2 and list(tmp_path.iterdir()) == [path]


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


def test_where_no_record_can_be_is_found_out_before_the_run(tmp_path, monkeypatch):
    """Not by permissions alone, which say that root may write to /proc."""
    monkeypatch.setattr(training, "train", None)
    monkeypatch.setattr(module, "_study", None)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="not a folder"):
        run(CONFIG, tmp_path / "file" / "runs")
    with pytest.raises(OSError, match="records cannot be written to /proc"):
        run(CONFIG, "/proc")
    (tmp_path / f"{name_of(STUDY)}.json").mkdir()
    with pytest.raises(IsADirectoryError, match=f"{name_of(STUDY)}.json, which is a folder"):
        run(STUDY, tmp_path)
    files.check_folder(tmp_path, f"{240 * 'x'}.json")
    with pytest.raises(OSError, match="File name too long"):
        files.check_folder(tmp_path, f"{241 * 'x'}.json")  # the temporary file beside it has a longer name
    files.check_folder(tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", f"{name_of(STUDY)}.json"}


def test_a_folder_that_another_run_has_just_removed_is_made_again(tmp_path, monkeypatch):
    out = tmp_path / "runs"

    class Late(FileLock):
        def acquire(self, **options):
            if not met:
                met.append(out.rmdir())
            return super().acquire(**options)

    met: list[None] = []
    monkeypatch.setattr(module, "FileLock", Late)
    assert run(STUDY, out, quiet=True).exists() and met


def test_data_are_told_apart_by_what_is_in_them(tmp_path):
    """Of the part that is used; not by how the run is set up otherwise."""
    assert fingerprint(CONFIG) == fingerprint(CONFIG.but(lr=0.5, seed=3, dropout=0.1))
    parts = [CONFIG, CONFIG.but(examples=61), CONFIG.but(validation=20), CONFIG.but(examples=0)]
    assert len({fingerprint(config) for config in parts}) == 4
