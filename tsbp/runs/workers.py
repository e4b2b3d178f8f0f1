"""Where the runs of a sweep are done: in this process, in processes of their own, or on a Dask cluster.

A run outside this process is a ``tsbp train --resume`` of its own. Nothing that happens to it costs another run, and
one whose process was killed is started again and goes on from its checkpoint.
"""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tsbp.runs import records, run
from tsbp.runs.config import Config
from tsbp.runs.settings import NetworkConfig, TrainingConfig

PAUSE = 5.0
"""Seconds until a run that another process is doing is asked for again."""
LOOK = 5.0
"""Seconds from one look at a Dask scheduler to the next, while no run ends."""
SILENCE = 30.0
"""Seconds without an answer after which a Dask scheduler is lost."""
NO_WORKERS = 45.0
"""Seconds that a Dask scheduler may be without workers."""
BUSY = 75
"""Exit code of a run that another process is doing: EX_TEMPFAIL of sysexits.h."""
WATCHED = "TSBP_ENDS_WITH_ITS_PARENT"
"""Variable that tells a process to end when its standard input does."""


class SweepError(Exception):
    """Some runs of a sweep failed."""


class LostError(Exception):
    """The process of a run was killed."""


@dataclass(frozen=True)
class Options:
    """What is the same for all runs of a sweep."""

    data_root: str | None
    checkpoint_minutes: float
    end: float
    """Time of the clock at which runs save a checkpoint and end."""
    folder: str = field(default_factory=os.getcwd)
    """Where the sweep was started; plugins are looked for there."""

    @property
    def time_budget(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.end - time.time())


Do = Callable[[Config, str, Options], "str | None"]


@dataclass
class Workers:
    """What takes runs."""

    executor: Executor
    do: Do
    """Does one run; takes the path of its record, and returns the record as text, None if the time was over."""
    count: int
    """How many runs it takes at a time."""
    check: Callable[[], None] = lambda: None
    """Raises an OSError where runs can no longer end."""

    def wait(self, futures: Iterable[Future[Any]]) -> set[Future[Any]]:
        """Those that are done; at least one.

        Raises:
            OSError: none will be.
        """
        while not (done := wait(futures, timeout=LOOK, return_when=FIRST_COMPLETED).done):
            self.check()
        return done


@contextmanager
def here() -> Iterator[Workers]:
    """This process."""
    yield Workers(SerialExecutor(), do_here, 1)


@contextmanager
def processes(count: int) -> Iterator[Workers]:
    """Processes of this machine, which share its cores unless ``$OMP_NUM_THREADS`` says otherwise."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    threads = 0 if chosen else max(1, (os.cpu_count() or 1) // count)
    standard_input, open_end = os.pipe()
    try:
        with ThreadPoolExecutor(count) as pool:
            try:
                yield Workers(pool, partial(do_in_a_process, threads=threads, standard_input=standard_input), count)
            finally:
                os.close(open_end)  # ends the processes, those too that are just starting
    finally:
        os.close(standard_input)


class ClusterError(OSError):
    """A Dask scheduler or all its workers are not there any more."""


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """The workers of a Dask scheduler.

    Raises:
        OSError: there is no scheduler at the address, it was lost, or it has no workers.
    """
    from distributed import Client

    for name in ("distributed.client", "distributed.utils"):  # a lost scheduler is told of here, in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address!r}: {' '.join(str(error).split())}") from None
    lost = f"the Dask scheduler at {address} was lost; the same command goes on from the checkpoints"
    seen = time.monotonic()

    def count() -> int:
        try:
            assert client.scheduler  # None once the client has given it up
            return len(client.sync(client.scheduler.ncores, callback_timeout=SILENCE))
        except (AssertionError, OSError):
            raise ClusterError(lost) from None

    def check() -> None:
        nonlocal seen
        if count():
            seen = time.monotonic()
        elif time.monotonic() - seen > NO_WORKERS:
            raise ClusterError(lost.replace("was lost", f"has had no workers for {NO_WORKERS:g} s"))

    try:
        if not (workers := count()):
            raise ClusterError(f"the Dask scheduler at {address} has no workers")
        yield Workers(client.get_executor(pure=False), do_in_a_process, workers, check)
    except Exception as error:
        if isinstance(error, CancelledError) or (client.status != "running" and not isinstance(error, ClusterError)):
            raise ClusterError(lost) from None
        raise
    finally:
        with suppress(OSError):
            client.close(timeout=5)


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


def named(configs: list[Config], options: Options) -> dict[str, tuple[Config, str]]:
    """Name → configuration as the machine that does the run has it, and why the run cannot be done, if so."""
    if options.folder not in sys.path:
        sys.path.append(options.folder)
    found = {}
    for config in configs:
        try:
            resolved = run.resolve(config)
            found[run.name_of(resolved, options.data_root)] = resolved, ""
        except (ValueError, OSError) as error:
            found[records.name_of(config)] = config, str(error)
    return found


def do_here(config: Config, path: str, options: Options) -> str | None:
    """Do a run in this process.

    Args:
        config: the run.
        path: of its record.
        options: what all runs share.

    Returns:
        The record as text; None if the time was over.

    Raises:
        BusyError: another process is doing the run.
    """
    try:
        written = run.run(
            config,
            Path(path).parent,
            data_root=options.data_root,
            quiet=True,
            checkpoint_minutes=options.checkpoint_minutes,
            time_budget=options.time_budget,
        )
    except run.BusyError:
        time.sleep(PAUSE)
        raise
    return written.read_text(encoding="utf-8") if written else None


def do_in_a_process(
    config: Config,
    path: str,
    options: Options,
    threads: int = 0,
    standard_input: int = subprocess.PIPE,
) -> str | None:
    """The same in a process of its own, which ends with this one.

    Args:
        config: the run.
        path: of its record.
        options: what all runs share.
        threads: number of its threads; 0 for that of the environment or PyTorch's own choice.
        standard_input: of the process, which ends with it; by default it ends with this process.

    Raises:
        BusyError: another process is doing the run.
        LostError: the process was killed.
        SweepError: the run failed.
    """
    record = Path(path)
    try:
        run.tidy(record)  # tells in no time what a new process would in seconds
    except run.BusyError:
        time.sleep(PAUSE)
        raise
    if not run.is_recorded(record):
        code, said = _process(_command(config, record.parent, options), options.folder, threads, standard_input)
        if code == BUSY:
            time.sleep(PAUSE)
            raise run.BusyError
        if code < 0:
            raise LostError(f"its process was killed by signal {-code}")
        if code:
            raise SweepError(said.removeprefix("error: ") or f"exit code {code}")
        if not record.exists():
            if options.time_budget:
                raise SweepError("its data are not those with which the sweep began")
            return None
    return record.read_text(encoding="utf-8")


def _command(config: Config, out: Path, options: Options) -> list[str]:
    command = [sys.executable, "-m", "tsbp", *records.words(config)[1:], "--out", str(out)]
    if isinstance(config, TrainingConfig):
        command += ["--resume", "--quiet", "--checkpoint-minutes", str(options.checkpoint_minutes)]
        command += ["--time-budget", str(options.time_budget)]
    if isinstance(config, NetworkConfig):
        command += ["--data-root", options.data_root] if options.data_root else []
    return command


def _process(command: list[str], folder: str, threads: int, standard_input: int) -> tuple[int, str]:
    """The exit code of a command, and the last line of what it said on standard error."""
    environment = os.environ | {WATCHED: "1"} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    where = folder if os.path.isdir(folder) else None  # of another machine, perhaps
    with tempfile.TemporaryFile() as said:
        pipes: dict[str, Any] = {"stdin": standard_input, "stdout": subprocess.DEVNULL, "stderr": said}
        with subprocess.Popen(command, cwd=where, env=environment, **pipes) as child:
            child.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    return child.returncode, lines[-1] if lines else ""


def end_with_the_parent() -> None:
    """End this process when the one that started it does, if it was asked to."""
    if os.environ.get(WATCHED):
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
