"""One run, from its configuration to its record. No run is done twice, or by two processes at a time."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from tsbp.runs import cells, data, evaluation, files, processes, records, toy, training
from tsbp.runs.config import Config
from tsbp.runs.settings import CellConfig, NetworkConfig, TrainingConfig
from tsbp.runs.toy import ToyConfig


class BusyError(Exception):
    """Another process is doing this run."""


def run(
    config: Config,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    resume: bool = True,
    quiet: bool = False,
    checkpoint_minutes: float = 5.0,
    time_budget: float = math.inf,
    device: str = "auto",
) -> Path | None:
    """Do a run and write its record, unless there is one.

    Args:
        config: a training, a cell, or a study of the single neuron.
        out: folder for the record and, meanwhile, the checkpoint.
        data_root: see :func:`tsbp.runs.data.data_root`.
        resume: continue from a checkpoint, and accept a record that is there.
        quiet: print nothing.
        checkpoint_minutes: time from one checkpoint to the next.
        time_budget: seconds after which a training saves a checkpoint and ends.
        device: of a cell or a study of the single neuron; a training has its own.

    Returns:
        The record's path; None if the time was over first, and in all processes of a group but the first.

    Raises:
        BusyError: another process is doing this run.
        ValueError: a setting is out of its range, or does not fit the data.
        FileNotFoundError: the data are missing.
        FileExistsError: there is a checkpoint, and ``resume`` is False.
        FloatingPointError: the loss became NaN or infinite.
        OSError: the folder cannot be written.
    """
    out = Path(out).absolute()
    files.check_folder(out)
    config = resolve(config)
    path = out / f"{name_of(config, data_root)}.json"
    checkpoint = path.with_suffix(".pt")
    group = torch.device(config.device if isinstance(config, TrainingConfig) else "cpu")
    if processes.first_says(resume and is_recorded(path), group):
        with suppress(BusyError):
            tidy(path, group)
        return path
    with _alone(path, group):
        if processes.first_says(resume and is_recorded(path), group):  # whoever held the lock has done it
            return path
        if isinstance(config, TrainingConfig):
            record = training.train(
                config,
                dataset=_dataset(config.dataset, data_root, config.time_steps),
                quiet=quiet,
                checkpoint=checkpoint,
                resume=resume,
                checkpoint_minutes=checkpoint_minutes,
                time_budget=time_budget,
            )
        elif isinstance(config, CellConfig):
            record = _cell(config, _dataset(config.dataset, data_root, config.time_steps), device, quiet)
        elif isinstance(config, ToyConfig):
            record = _study(config, device, quiet)
        else:
            raise ValueError(
                f"a run is a training, a cell or a study of the single neuron, not of the kind {config.kind}"
            )
        if record is None or processes.rank():
            return None
        records.write(record, out)
        checkpoint.unlink(missing_ok=True)
        return path


def resolve(config: Config) -> Config:
    """The configuration with ``auto`` replaced by what this machine gives."""
    return training.resolve(config) if isinstance(config, TrainingConfig) else config


def name_of(config: Config, data_root: str | Path | None = None) -> str:
    """Name of a run's record; for networks their data are read, whose fingerprint is part of the run's identity."""
    return records.name_of(config, fingerprint(config, data_root) if isinstance(config, NetworkConfig) else "")


def fingerprint(config: NetworkConfig, data_root: str | Path | None = None) -> str:
    """Fingerprint of the part of a data set on which a run trains and is measured."""
    return _fingerprint(evaluation.part(config), data_root)


@lru_cache(maxsize=64)
def _fingerprint(part: TrainingConfig, root: str | Path | None) -> str:
    return evaluation.prepare(part, _dataset(part.dataset, root, part.time_steps)).fingerprint()


@lru_cache(maxsize=1)
def _dataset(name: str, root: str | Path | None, time_steps: int) -> data.DataSet:
    """The runs of a sweep come in an order in which the data set seldom changes."""
    return data.load(name, root, time_steps)


def _cell(config: CellConfig, dataset: data.DataSet, name: str, quiet: bool) -> dict[str, Any]:
    device, progress = training.resolve_device(name), _bar("cell", "epoch", quiet)
    return records.new(config, cells.run(config, dataset=dataset, device=device, progress=progress), device)


def _study(config: ToyConfig, name: str, quiet: bool) -> dict[str, Any]:
    device, progress = training.resolve_device(name), _bar("toy", "iteration", quiet)
    return records.new(config, toy.run(config, device=device, progress=progress).summary(), device)


def _bar(what: str, unit: str, quiet: bool) -> Callable[[Iterable], Iterable]:
    """Shows how far a loop is, on a terminal."""
    return lambda steps: tqdm(steps, what, unit=unit, disable=True if quiet else None)


def is_recorded(path: Path) -> bool:
    """Whether there is a whole record of the run that the path names; a file that was cut off is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["identity"] == path.stem.rpartition("-")[2]
    except (FileNotFoundError, IsADirectoryError, ValueError, TypeError, KeyError):
        return False


def tidy(path: Path, device: torch.device | None = None) -> None:
    """Remove what killed processes have left of a run beside its record or checkpoint.

    Args:
        path: of the record.
        device: of the group of processes that calls this, if it is one.

    Raises:
        BusyError: another process is doing this run.
        OSError: the folder cannot be written.
    """
    with _alone(path, device):
        pass


def tidy_folder(folder: Path) -> None:
    """The same of all recorded runs in a folder that no process is doing."""
    temporary = [*folder.glob(".*.json.*"), *folder.glob(".*.pt.*")]
    left = {path.name[1:].rsplit(".", 2)[0] for path in temporary}
    left |= {path.stem for suffix in ("pt", "lock") for path in folder.glob(f"*.{suffix}")}
    for stem in left:
        if is_recorded(folder / f"{stem}.json"):
            with suppress(BusyError):
                tidy(folder / f"{stem}.json")


@contextmanager
def _alone(path: Path, device: torch.device | None = None) -> Iterator[None]:
    """Hold the lock of a run, which the operating system frees when the process ends, however it ends.

    Of a group of processes the first one holds it. Where it cannot, all of them fail, and it alone says why.
    """
    lock = FileLock(path.with_suffix(".lock"))
    missing = [folder for folder in [path.parent, *path.parent.parents] if not folder.exists()]
    problem: Exception | None = None
    try:
        if not processes.rank():
            try:
                _acquire(lock, path)
                _prepare(path)
            except (BusyError, OSError) as error:
                problem = error
        if processes.first_says(problem is not None, device or torch.device("cpu")):
            raise problem or BusyError
        yield
    finally:
        if lock.is_locked:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        with suppress(OSError):  # a run that failed leaves no empty folder
            for folder in missing:
                folder.rmdir()


def _acquire(lock: FileLock, path: Path) -> None:
    for last in (False, False, True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            return
        except FileNotFoundError:  # another run has failed just now, and removed the empty folder
            if last:
                raise
        except Timeout:
            raise BusyError(f"another process is doing the run {path.stem}") from None


def _prepare(path: Path) -> None:
    """See that the record can be written, and remove what killed processes have left of the run."""
    files.check_folder(path.parent, path.name)
    checkpoint = path.with_suffix(".pt")
    files.remove_leftovers(path)
    files.remove_leftovers(checkpoint)
    if is_recorded(path):
        checkpoint.unlink(missing_ok=True)
