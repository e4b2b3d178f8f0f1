"""Records of runs: one small JSON file a run, written whole or not at all, and all of them as a data frame.

A record holds the whole configuration under flat keys, what was measured, and where: enough to run it again.
"""

import dataclasses
import glob
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 4
# What each version added to a training, with the value that stands for what was done before.
_ADDED: dict[int, dict[str, Any]] = {
    2: {
        "dropout": 0.0,
        "initialisation": "pytorch",
        "encoding": "direct",
        "target": "1",
        "schedule": "one-cycle",
        "evaluate_every": 1,
        "processes": 1,
    },
    3: {"rotation": 0.0, "examples": 0, "compare_gradients": False},
    4: {"surrogate": "sigmoid", "surrogate_scale": "area", "reset": "zero", "plugin": ""},
}
_LEFT_OUT = _ADDED[3] | _ADDED[4]
"""Settings that a command does not mention where they change nothing: a run keeps the name that it had before them."""
PROJECT = Path(__file__).resolve().parents[2]
_OPTIONS = {"gradients": "gradient", "learning_rates": "lr"}  # given several times on the command line


def results_folder() -> Path:
    """The folder of published records: ``$TSBP_RESULTS``, else ``results/`` beside the package."""
    return Path(os.environ.get("TSBP_RESULTS") or PROJECT / "results")


def new(kind: str, config: Any, results: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Make a record; it carries the command line that repeats the run.

    Args:
        kind: ``train``, ``toy``, ``bench`` or ``agreement``, the command of that name.
        config: the dataclass that configured the run; its fields become flat keys.
        results: what was measured, under keys of their own.
        device: where it ran.
    """
    settings = dataclasses.asdict(config)
    clash = settings.keys() & results.keys()
    if clash:
        raise ValueError(f"results repeat keys of the configuration: {', '.join(sorted(clash))}")
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "command": command(kind, settings),
        **settings,
        **results,
        **provenance(device),
    }


def write(record: dict[str, Any], folder: str | Path) -> Path:
    """Write a record into a folder, under a name made from its configuration, and return the path.

    The file appears complete or not at all. A run of the same configuration replaces its earlier record.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    path = folder / f"{_name(record)}.json"
    write_text(path, "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in record.items()) + "\n}\n")
    return path


def name_of(kind: str, config: Any) -> str:
    """Name of a run's record, without ``.json``: its end is a hash of the whole configuration."""
    settings = dataclasses.asdict(config)
    return _name({"kind": kind, "command": command(kind, settings), **settings})


def check_folder(folder: str | Path) -> None:
    """Find out before a long run whether a record can be written into a folder, without making it.

    Raises:
        OSError: it cannot.
    """
    existing = next(path for path in [Path(folder).absolute(), *Path(folder).absolute().parents] if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"records cannot be written to {folder}: {existing} is not a folder")
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"records cannot be written to {folder}: no permission for {existing}")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, so that a reader of ``path`` finds either all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while :func:`replacing` a file has left beside it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def read(path: str | Path) -> dict[str, Any]:
    """Read one record; one of an earlier schema version gets the settings that it was run with.

    Raises:
        ValueError: the file is not a record, or of a schema that this version does not know.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        version = record["schema_version"]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{path} is not a record of a run") from None
    if version > SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {version}; this version of tsbp reads up to {SCHEMA_VERSION}")
    if record["kind"] == "train":
        for added_by, settings in _ADDED.items():
            record = settings | record if version < added_by else record
    elif record["kind"] == "toy":
        record = {"plugin": ""} | record
    return record


def load(kind: str, folder: str | Path | None = None) -> "pandas.DataFrame":
    """All records of a kind below a folder (default: :func:`results_folder`), one row each, in order of their names.

    The column ``path`` says where a row came from. No record gives an empty frame.
    """
    import pandas as pd

    folder = Path(folder) if folder else results_folder()
    rows = [{"path": path, **read(path)} for path in sorted(folder.rglob("*.json"))]
    return pd.DataFrame([row for row in rows if row["kind"] == kind])


def select(runs: "pandas.DataFrame", config: Any, but: Sequence[str] = ()) -> "pandas.DataFrame":
    """Those rows of :func:`load` that have the settings of a configuration, some excepted."""
    for name, value in dataclasses.asdict(config).items():
        if len(runs) and name not in but:
            value = list(value) if isinstance(value, tuple) else value  # JSON has no tuples
            runs = runs[runs[name].astype(str) == str(value)]
    return runs


def recorded(kind: str, config: Any) -> dict[str, Any]:
    """The published record of a run, found by its whole configuration.

    Raises:
        FileNotFoundError: there is none; the message has the command that makes it.
    """
    for path in results_folder().rglob(f"{name_of(kind, config)}.json"):
        return read(path)
    repeat = command(kind, dataclasses.asdict(config))
    raise FileNotFoundError(f"no record of this run below {results_folder()}: {repeat}")


def final_losses(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Final loss of every repeat in a record of ``tsbp toy``: gradient → ``[learning rates, repeats]``."""
    return {name: np.array(loss) for name, loss in zip(record["gradients"], record["final_loss"], strict=True)}


def loss_studies(studies: Mapping[Any, Any]) -> dict[Any, tuple[list[float], dict[str, np.ndarray]]]:
    """Title → configuration of ``tsbp toy`` becomes title → learning rates and :func:`final_losses` of its record."""
    found = {title: recorded("toy", config) for title, config in studies.items()}
    return {title: (record["learning_rates"], final_losses(record)) for title, record in found.items()}


def command(kind: str, settings: dict[str, Any]) -> str:
    """``tsbp train mnist --gradient full ...``: every field of the configuration as an option."""
    words = ["tsbp", kind]
    for name, value in settings.items():
        if kind in ("train", "toy") and name in _LEFT_OUT and value == _LEFT_OUT[name]:
            continue
        option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
        if name in ("dataset", "benchmark"):
            words.append(value)
        elif isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            for item in value if isinstance(value, tuple) else (value,):
                words += [option, str(item)]
    return shlex.join(words)


def _name(record: dict[str, Any]) -> str:
    """``train-mnist-full-T5-seed0-1a2b3c4d``: the tail is a hash of the command, and so of the whole configuration."""
    digest = hashlib.sha256(record["command"].encode()).hexdigest()[:8]
    what = record.get("dataset") or record.get("benchmark") or ""
    parts = [record["kind"], Path(what).name, record.get("gradient"), f"T{record['time_steps']}"]
    return "-".join([*(part for part in parts if part), f"seed{record['seed']}", digest])


def provenance(device: torch.device) -> dict[str, Any]:
    """When and where something ran: date, device, threads, platform, versions of the packages, commit of the code."""
    packages = ("tsbp", "torch", "torchvision", "numpy", "scikit-learn")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "device_name": _device_name(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if changes is None else changes != "",
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says of the repository that holds the package; None where there is none."""
    if not (PROJECT / ".git").exists():
        return None
    try:
        run = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
