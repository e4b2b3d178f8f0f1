"""Many runs: which are still to be done, and doing them here, in processes, or on a Dask cluster.

A run outside this process is a ``tsbp train --resume`` of its own. Nothing that happens to it costs another run, and
one whose process was killed is started again and goes on from its checkpoint.
"""

import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tsbp.runs import files, records, run
from tsbp.runs.config import Config
from tsbp.runs.settings import TrainingConfig

ATTEMPTS = 4
"""How often a run is started before it is given up because its process keeps dying."""
PAUSE = 5.0
"""Seconds until a run that another process is doing is asked for again."""
BUSY = 75
"""Exit code of a run that another process is doing: EX_TEMPFAIL of sysexits.h."""
WATCHED = "TSBP_ENDS_WITH_ITS_PARENT"
"""Variable that tells a process to end when its standard input does."""


class SweepError(Exception):
    """Some runs of a sweep failed."""


class LostError(Exception):
    """The process of a run was killed."""


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


@dataclass(frozen=True)
class Options:
    """What is the same for all runs of a sweep."""

    data_root: str | None
    checkpoint_minutes: float
    end: float
    """Time of the clock at which runs save a checkpoint and end."""

    @property
    def time_budget(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.end - time.time())


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
        ValueError: a worker count below 1.
        OSError: the folder cannot be written, or there is no scheduler at the address.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    root = str(Path(data_root).absolute()) if data_root else None
    options = Options(root, checkpoint_minutes, time.time() + time_budget)
    out = Path(out).absolute()
    files.check_folder(out)
    with _executor(workers, dask) as (executor, do, workers):
        named = executor.submit(_named, list(configs), root).result()
        outcome = Outcome(failed={name: reason for name, (_, reason) in named.items() if reason})
        runs = {name: config for name, (config, reason) in named.items() if not reason}
        outcome.skipped += [name for name in runs if (out / f"{name}.json").exists()]
        waiting = [name for name in runs if name not in outcome.skipped]
        attempts: Counter[str] = Counter()
        under_way: dict[Future[str | None], str] = {}
        with tqdm(total=len(runs), initial=len(outcome.skipped), desc="sweep", unit="run", disable=None) as bar:
            while waiting or under_way:
                while waiting and len(under_way) < workers and options.time_budget:
                    name = waiting.pop(0)
                    if (out / f"{name}.json").exists():  # another sweep over this folder has done it
                        outcome.recorded.append(name)
                        bar.update()
                        continue
                    under_way[executor.submit(do, runs[name], str(out), options)] = name
                if not under_way:
                    outcome.unfinished += waiting
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    name = under_way.pop(future)
                    try:
                        record = future.result()
                    except run.BusyError:
                        waiting.append(name)
                        continue
                    except Exception as error:
                        lost = isinstance(error, LostError) or type(error).__name__ == "KilledWorker"
                        attempts[name] += lost
                        if lost and attempts[name] < ATTEMPTS:
                            tqdm.write(f"a process was lost; its run goes on from its checkpoint: {name}")
                            waiting.insert(0, name)
                            continue
                        outcome.failed[name] = " ".join(str(error).split()) or type(error).__name__
                        tqdm.write(f"{name}: {outcome.failed[name]}")
                        continue
                    if record is None:
                        outcome.unfinished.append(name)
                        continue
                    path = out / f"{name}.json"
                    if not path.exists():  # a worker elsewhere has a file system of its own
                        files.write_text(path, record)
                    outcome.recorded.append(name)
                    bar.update()
                    tqdm.write(str(path))
    return outcome


Do = Callable[[Config, str, Options], "str | None"]


@contextmanager
def _executor(workers: int, dask: str | None) -> Iterator[tuple[Executor, Do, int]]:
    """What takes runs, how each is done, and how many it takes at a time."""
    if dask:
        from distributed import Client

        try:
            client = Client(dask, timeout=10)
        except (OSError, ValueError) as error:
            raise OSError(f"no Dask scheduler answers at {dask}: {' '.join(str(error).split())}") from None
        with client:
            n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
            if not n_workers:
                raise OSError(f"the Dask scheduler at {dask} has no workers")
            yield client.get_executor(pure=False), do_in_a_process, n_workers
    elif workers == 1:
        yield SerialExecutor(), do_here, 1
    else:
        chosen = os.environ.get("OMP_NUM_THREADS", "")
        threads = 0 if chosen else max(1, (os.cpu_count() or 1) // workers)
        children: set[subprocess.Popen[str]] = set()
        with ThreadPoolExecutor(workers) as pool:
            try:
                yield pool, partial(do_in_a_process, threads=threads, children=children), workers
            finally:
                for child in list(children):
                    child.kill()


class SerialExecutor(Executor):
    """Does what it is given at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Call the function; the future is done when this returns."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


def _named(configs: list[Config], data_root: str | None) -> dict[str, tuple[Config, str]]:
    """Name → configuration as the machine that does the run has it, and why the run cannot be done, if so."""
    found = {}
    for config in configs:
        try:
            resolved = run.resolve(config)
            found[run.name_of(resolved, data_root)] = resolved, ""
        except (ValueError, OSError) as error:
            found[records.name_of(config)] = config, str(error)
    return found


def do_here(config: Config, out: str, options: Options) -> str | None:
    """Do a run in this process; its record as text, None if the time was over."""
    try:
        path = run.run(
            config,
            out,
            data_root=options.data_root,
            quiet=True,
            checkpoint_minutes=options.checkpoint_minutes,
            time_budget=options.time_budget,
        )
    except run.BusyError:
        time.sleep(PAUSE)
        raise
    return path.read_text(encoding="utf-8") if path else None


def do_in_a_process(
    config: Config,
    out: str,
    options: Options,
    threads: int = 0,
    children: "set[subprocess.Popen[str]] | None" = None,
) -> str | None:
    """The same in a process of its own, which ends with this one.

    Args:
        config: the run.
        out: folder for its record.
        options: what all runs share.
        threads: number of its threads; 0 for that of the environment or PyTorch's own choice.
        children: the process is in it while it runs.

    Raises:
        BusyError: another process is doing the run.
        LostError: the process was killed.
        SweepError: the run failed.
    """
    command = [sys.executable, "-m", "tsbp", *records.words(config)[1:], "--out", out]
    if isinstance(config, TrainingConfig):
        command += ["--resume", "--quiet", "--checkpoint-minutes", str(options.checkpoint_minutes)]
        command += ["--time-budget", str(options.time_budget)]
        command += ["--data-root", options.data_root] if options.data_root else []
    environment = os.environ | {WATCHED: "1"} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    said: list[str] = []
    with subprocess.Popen(command, env=environment, text=True, **pipes) as child:
        if children is not None:
            children.add(child)
        reader = threading.Thread(target=lambda: said.extend(child.stderr or []))
        reader.start()  # its standard input stays open as long as it runs, which communicate() would close
        printed = child.stdout.read() if child.stdout else ""
        code = child.wait()
        reader.join()
        if children is not None:
            children.discard(child)
    if code == BUSY:
        time.sleep(PAUSE)
        raise run.BusyError
    if code < 0:
        raise LostError(f"its process was killed by signal {-code}, {ATTEMPTS} times")
    if code:
        raise SweepError("".join(said[-1:] or [f"exit code {code}"]).strip().removeprefix("error: "))
    path = Path(printed.strip().splitlines()[-1])
    return path.read_text(encoding="utf-8") if path.suffix == ".json" else None


def end_with_the_parent() -> None:
    """End this process when the one that started it does, if it was asked to."""
    if os.environ.get(WATCHED):
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
