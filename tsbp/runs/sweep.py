"""Many runs: which are still to be done, and doing them here, in processes, or on a Dask cluster."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from tsbp.runs import data, files, run, workers
from tsbp.runs.config import Config
from tsbp.runs.settings import NetworkConfig
from tsbp.runs.workers import LostError, Options, SweepError, Workers

ATTEMPTS = 4
"""How often a run is started before it is given up because its process keeps dying."""


@dataclass
class Outcome:
    """What became of the runs of a sweep, by the names of their records."""

    recorded: list[str] = field(default_factory=list)
    """They were done now, here or by another sweep over the same folder."""
    skipped: list[str] = field(default_factory=list)
    """There was a record already."""
    unfinished: list[str] = field(default_factory=list)
    """The time was over first; they go on from their checkpoints next time."""
    failed: dict[str, str] = field(default_factory=dict)
    """Name → reason."""

    def __add__(self, other: "Outcome") -> "Outcome":
        """What became of the runs of both."""
        return Outcome(
            self.recorded + other.recorded,
            self.skipped + other.skipped,
            self.unfinished + other.unfinished,
            self.failed | other.failed,
        )


def sweep(
    configs: Sequence[Config],
    out: str | Path,
    *,
    workers: int = 1,
    dask: str | None = None,
    data_root: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
    time_budget: float = math.inf,
) -> Outcome:
    """Do the runs that have no record yet, and write one for each.

    Several sweeps may share a folder: a run is done by one of them.

    Args:
        configs: the runs, in the order in which they are started.
        out: folder of records and checkpoints. Workers on other machines must see it under the same absolute path for
            a lost run to go on from its checkpoint; without that it starts again.
        workers: how many runs go on at a time; more than one take a process each.
        dask: address of a Dask scheduler whose workers do the runs; ``workers`` is then ignored.
        data_root: see :func:`tsbp.runs.data.data_root`; on the workers.
        checkpoint_minutes: time from one checkpoint of a run to the next.
        time_budget: seconds after which the runs under way save a checkpoint and end.

    Raises:
        ValueError: a worker count below 1, or an empty address.
        OSError: the folder cannot be written, there is no scheduler at the address, or it or all its workers were lost.
        SweepError: the data sets could not be read at all.
    """
    root = str(Path(data_root).absolute()) if data_root else None
    options = Options(root, checkpoint_minutes, time.time() + time_budget)
    out = Path(out).absolute()
    files.check_folder(out)
    if dask is not None:
        configs = [_absolute(config) for config in configs]
    with _workers(workers, dask) as those:
        return _Sweep(those, out, options).do(configs)


def _workers(count: int, dask: str | None) -> AbstractContextManager[Workers]:
    if count < 1:
        raise ValueError(f"workers must be at least 1, got {count}")
    if dask is None:
        return workers.here() if count == 1 else workers.processes(count)
    if not dask.strip():
        raise ValueError(f"dask must be the address of a scheduler, such as tcp://host:8786, got {dask!r}")
    return workers.cluster(dask)


def _absolute(config: Config) -> Config:
    """The configuration with the full path of a folder of images: workers have other working directories."""
    if isinstance(config, NetworkConfig) and config.dataset not in data.DATA_SETS and Path(config.dataset).is_dir():
        return config.but(dataset=str(Path(config.dataset).absolute()))
    return config


class _Sweep:
    """A sweep under way."""

    def __init__(self, workers: Workers, out: Path, options: Options) -> None:
        self.workers, self.out, self.options = workers, out, options
        self.outcome = Outcome()
        self.waiting: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.busy: set[str] = set()
        """Runs that another process was doing."""

    def path(self, name: str) -> Path:
        return self.out / f"{name}.json"

    def do(self, configs: Sequence[Config]) -> Outcome:
        """Do the runs that have no record yet."""
        runs = self._named(configs)
        if self.out.is_dir():
            run.tidy_folder(self.out)
        outcome, under_way = self.outcome, dict[Future[str | None], str]()
        outcome.skipped = [name for name in runs if run.is_recorded(self.path(name))]
        self.waiting = [name for name in runs if name not in outcome.skipped]
        with tqdm(total=len(runs), initial=len(outcome.skipped), desc="sweep", unit="run", disable=None) as bar:
            while self.waiting or under_way:
                while self.waiting and len(under_way) < self.workers.count and self.options.time_budget:
                    name = self.waiting.pop(0)
                    path = str(self.path(name))
                    future = self.workers.executor.submit(self.workers.do, runs[name], path, self.options)
                    under_way[future] = name
                if not under_way:
                    outcome.unfinished += self.waiting
                    break
                for future in self.workers.wait(under_way):
                    self._note(under_way.pop(future), future)
                    bar.update(len(outcome.skipped) + len(outcome.recorded) - bar.n)
        return outcome

    def _named(self, configs: Sequence[Config]) -> dict[str, Config]:
        """Name → configuration of the runs that can be done."""
        future = self.workers.executor.submit(workers.named, list(configs), self.options)
        self.workers.wait([future])
        try:
            named = future.result()
        except CancelledError:
            raise
        except Exception as error:
            raise SweepError(f"the data sets could not be read: {_said(error)}") from None
        self.outcome.failed = {name: reason for name, (_, reason) in named.items() if reason}
        return {name: config for name, (config, reason) in named.items() if not reason}

    def _note(self, name: str, future: Future[str | None]) -> None:
        """What became of a run; it may have to be done again."""
        try:
            record = future.result()
        except CancelledError:
            raise
        except run.BusyError:
            if name not in self.busy:
                tqdm.write(f"another process is doing this run, which is waited for: {name}")
            self.busy.add(name)
            self.waiting.append(name)
        except Exception as error:
            if isinstance(error, LostError) or type(error).__name__ == "KilledWorker":
                self.attempts[name] += 1
                if self.attempts[name] < ATTEMPTS:
                    tqdm.write(f"a process was lost; its run goes on from its checkpoint: {name}")
                    self.waiting.insert(0, name)
                    return
            times = f", {ATTEMPTS} times" if self.attempts[name] == ATTEMPTS else ""
            self.outcome.failed[name] = _said(error) + times
            tqdm.write(f"{name}: {self.outcome.failed[name]}")
        else:
            if record is None:
                self.outcome.unfinished.append(name)
                return
            if not run.is_recorded(self.path(name)):  # a worker elsewhere has a file system of its own
                files.write_text(self.path(name), record)
            self.outcome.recorded.append(name)
            tqdm.write(str(self.path(name)))


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
