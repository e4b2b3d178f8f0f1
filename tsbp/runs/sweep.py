"""Many trainings: which are still to be done, and doing them on any ``concurrent.futures.Executor``.

The executor is a plain loop, a pool of processes, or a Dask cluster. It runs the trainings; the records are written
here, each once. A run whose worker is lost is submitted again and goes on from its checkpoint.
"""

import itertools
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tsbp.runs import data, processes, records, training
from tsbp.runs.settings import TrainingConfig

ATTEMPTS = 4
"""How often a run is started before it is given up because its workers keep dying."""


class SweepError(Exception):
    """Some runs of a sweep failed."""


@dataclass
class Outcome:
    """What became of the runs of a sweep, by the names of their records."""

    recorded: list[str] = field(default_factory=list)
    """They were done now."""
    skipped: list[str] = field(default_factory=list)
    """There was a record already."""
    unfinished: list[str] = field(default_factory=list)
    """The time was over first; they go on from their checkpoints next time."""
    failed: dict[str, str] = field(default_factory=dict)
    """Name → reason."""


def grid(datasets: Sequence[str], **settings: Any) -> list[TrainingConfig]:
    """All combinations: for every data set or preset, with the last setting changing fastest.

    Args:
        datasets: names that :meth:`.TrainingConfig.for_dataset` knows.
        **settings: fields of a configuration; a list stands for each of its values.
    """
    values = [value if isinstance(value, list | tuple | range) else [value] for value in settings.values()]
    return [
        TrainingConfig.for_dataset(dataset, **dict(zip(settings, chosen, strict=True)))
        for dataset in datasets
        for chosen in itertools.product(*values)
    ]


def read_file(path: str | Path) -> list[TrainingConfig]:
    """The runs that a YAML file asks for: one mapping, or a list of them, of settings or lists of settings.

    ``{dataset: [digits, mnist], seed: [0, 1], gradient: [full, leak]}`` are eight runs.

    Raises:
        ValueError: the file is not of that form.
        FileNotFoundError: there is no such file.
    """
    import yaml

    try:
        blocks = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    blocks = blocks if isinstance(blocks, list) else [blocks]
    if not all(isinstance(block, dict) and block.get("dataset") for block in blocks):
        raise ValueError(f"{path} must hold a mapping with the key dataset, or a list of such mappings")
    configs = []
    for block in blocks:
        datasets = block.pop("dataset")
        try:
            configs += grid(datasets if isinstance(datasets, list) else [datasets], **block)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
    return configs


def sweep(
    configs: Sequence[TrainingConfig],
    out: str | Path,
    *,
    workers: int = 1,
    dask: str | None = None,
    data_root: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
    time_budget: float = math.inf,
) -> Outcome:
    """Do the runs that have no record yet, and write one for each.

    Args:
        configs: the runs, in the order in which they are started.
        out: folder of records and checkpoints. Workers on other machines must see it under the same path for a lost
            run to go on from its checkpoint; without that it starts again.
        workers: how many runs go on at a time; more than one take a process each.
        dask: address of a Dask scheduler whose workers do the runs; ``workers`` is then ignored.
        data_root: see :func:`tsbp.runs.data.data_root`; on the workers.
        checkpoint_minutes: time from one checkpoint of a run to the next.
        time_budget: seconds after which the runs under way save a checkpoint and end.

    Raises:
        ValueError: a setting is out of range, or a worker count below 1.
        OSError: the folder cannot be written, or there is no scheduler at the address.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    end = time.time() + time_budget
    out = Path(out).absolute()
    records.check_folder(out)
    with _executor(workers, dask) as (start, workers):
        executor = start()
        # Workers may have a GPU where this process has none: they say what "auto" means.
        configs = executor.submit(_resolved, list(configs)).result()
        runs = {records.name_of("train", config): config for config in configs}
        outcome = Outcome(skipped=[name for name in runs if (out / f"{name}.json").exists()])
        waiting = [name for name in runs if name not in outcome.skipped]
        attempts = dict.fromkeys(waiting, 0)
        under_way: dict[Future, str] = {}
        with tqdm(total=len(runs), initial=len(outcome.skipped), desc="sweep", unit="run", disable=None) as bar:
            while waiting or under_way:
                while waiting and len(under_way) < workers and time.time() < end:
                    name = waiting.pop(0)
                    attempts[name] += 1
                    arguments = (runs[name], out / f"{name}.pt", data_root, checkpoint_minutes, end)
                    under_way[executor.submit(_run, *arguments)] = name
                if not under_way:
                    outcome.unfinished += waiting
                    break
                lost = []
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    name = under_way.pop(future)
                    try:
                        record = future.result()
                    except Exception as error:
                        if _is_loss(error) and attempts[name] < ATTEMPTS:
                            lost.append(name)
                            continue
                        outcome.failed[name] = " ".join(str(error).split()) or type(error).__name__
                        tqdm.write(f"{name}: {outcome.failed[name]}")
                        continue
                    if record is None:
                        outcome.unfinished.append(name)
                        continue
                    path = records.write(record, out)
                    path.with_suffix(".pt").unlink(missing_ok=True)
                    outcome.recorded.append(name)
                    bar.update()
                    tqdm.write(str(path))
                if lost:
                    tqdm.write(f"a worker was lost; its run goes on from its checkpoint: {', '.join(lost)}")
                    waiting = lost + waiting
                    if isinstance(executor, ProcessPoolExecutor):  # one lost process breaks the whole pool
                        executor.shutdown()
                        executor = start()
    return outcome


class SerialExecutor(Executor):
    """Does what it is given at once, in this process."""

    def submit(self, function, /, *arguments, **options) -> Future:
        """Call the function; the future is done when this returns."""
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _executor(workers: int, dask: str | None) -> Iterator[tuple]:
    """How to start an executor, and how many runs it takes at a time."""
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
            yield (lambda: client.get_executor(pure=False)), n_workers
    elif workers == 1:
        yield SerialExecutor, 1
    else:
        threads = max(1, (os.cpu_count() or 1) // workers)
        pools: list[ProcessPoolExecutor] = []

        def start() -> ProcessPoolExecutor:
            context = multiprocessing.get_context("spawn")  # a forked PyTorch hangs
            pools.append(ProcessPoolExecutor(workers, context, initializer=_be_a_worker, initargs=(threads,)))
            return pools[-1]

        try:
            yield start, workers
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            for pool in pools:
                pool.shutdown()


def _be_a_worker(threads: int) -> None:
    """Settle in a process of the pool: its share of the cores, and no life after the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(threads)
    processes.keep_freed_memory()
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _resolved(configs: list[TrainingConfig]) -> list[TrainingConfig]:
    for config in configs:
        data.check_name(config.dataset)
    return [training.resolve(config) for config in configs]


_one_at_a_time = threading.Lock()  # trainings in threads of one process would share the random generator


def _run(
    config: TrainingConfig, checkpoint: Path, data_root: Path | None, checkpoint_minutes: float, end: float
) -> dict[str, Any] | None:
    if checkpoint.with_suffix(".json").exists():
        return None  # a cluster that loses a worker repeats even a run whose record was written already
    with _one_at_a_time:
        return training.train(
            config,
            dataset=_dataset(config.dataset, data_root, config.time_steps),
            quiet=True,
            checkpoint=checkpoint,
            resume=True,
            checkpoint_minutes=checkpoint_minutes,
            time_budget=max(0.0, end - time.time()),
        )


@lru_cache(maxsize=1)
def _dataset(name: str, root: Path | None, time_steps: int) -> data.DataSet:
    """The runs of a sweep come in an order in which the data set seldom changes."""
    return data.load(name, root, time_steps)


def _is_loss(error: Exception) -> bool:
    """Whether a run ended because its worker did."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"
