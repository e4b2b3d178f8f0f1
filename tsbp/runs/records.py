"""Records of runs: one small JSON file a run, written whole or not at all, and all of them as a data frame.

A record holds the whole configuration under flat keys, what was measured, and where: enough to run it again. Its name
ends with the identity of the run, a hash of configuration and data.
"""

import base64
import json
import os
import re
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tsbp.runs.config import KINDS, Config, name_of_data
from tsbp.runs.files import PROJECT, write_text
from tsbp.runs.provenance import provenance

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 5


def results_folder() -> Path:
    """The folder of published records: ``$TSBP_RESULTS``, else ``results/`` beside the package."""
    return Path(os.environ.get("TSBP_RESULTS") or PROJECT / "results")


def new(config: Config, results: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Make a record; it carries the command line that repeats the run.

    Args:
        config: what was run; its settings become flat keys.
        results: what was measured, under keys of their own. ``data_fingerprint`` is part of the run's identity.
        device: where it ran.

    Raises:
        ValueError: a result has the key of a setting.
    """
    settings = config.strict()
    clash = settings.keys() & results.keys()
    if clash:
        raise ValueError(f"results repeat keys of the configuration: {', '.join(sorted(clash))}")
    return {
        "schema": f"{config.kind}-{SCHEMA_VERSION}",
        "kind": config.kind,
        "identity": config.identity(results.get("data_fingerprint", "")),
        "command": command(config),
        **provenance(device),  # of the threads, the configuration's number counts
        **settings,
        **results,
    }


def write(record: Mapping[str, Any], folder: str | Path) -> Path:
    """Write a record into a folder, under the name of its run, and return the path.

    The file appears complete or not at all. A run of the same identity replaces its earlier record.

    Raises:
        OSError: the folder cannot be written.
        ValueError: a number is not finite, which JSON cannot say.
    """
    path = Path(folder) / f"{name_of_record(record)}.json"
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in record.items())
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return path


def name_of(config: Config, data: str = "") -> str:
    """Name of a run's record, without ``.json``, such as ``train-mnist-full-T5-seed0-0123456789``; of several seeds it
    has the first.

    Args:
        config: the run.
        data: fingerprint of its data set.
    """
    return name_of_record({"kind": config.kind, "identity": config.identity(data), **config.model_dump()})


def name_of_record(record: Mapping[str, Any]) -> str:
    """The same of a record."""
    what = record.get("dataset") or record.get("benchmark") or ""
    parts = [record["kind"], name_of_data(what), record.get("gradient"), f"T{record['time_steps']}"]
    seed = record["seed"] if "seed" in record else record["seeds"][0]
    name = "-".join([*(part for part in parts if part), f"seed{seed}", record["identity"]])
    return re.sub(r"[/\\\x00-\x1f]", "_", name)  # of a plugin's gradient: a record stays in its folder


def read(path: str | Path) -> dict[str, Any]:
    """Read one record. A setting that is younger than the record has the value with which it was run.

    Raises:
        ValueError: the file is not a record, or of a schema that this version does not know, or of a kind that no
            imported module defines.
    """
    return _restored(path, *_parsed(path))


def _parsed(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The kind of a record, and the record as the file has it."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refused, object_pairs_hook=_once)
        kind, version = record["schema"].rsplit("-", 1)
        version = int(version)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(f"{path} is not a record of a run") from None
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {version}; this version of tsbp reads {SCHEMA_VERSION}")
    return kind, record


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _restored(path: str | Path, kind: str, record: dict[str, Any]) -> dict[str, Any]:
    if kind not in KINDS:
        raise ValueError(f"{path} has kind {kind!r}; imported modules define {', '.join(KINDS)}")
    for name, types in _TYPES.items():
        if not isinstance(record.get(name), types | None):
            raise ValueError(f"{path} is not a record of a run: {name} is {record[name]!r}")
    try:
        if any(record.get(name, "") is None for name in KINDS[kind].model_fields):  # which pydantic would let through
            raise ValueError
        return record | KINDS[kind].restored(record).model_dump(warnings="error")
    except ValueError:
        raise ValueError(f"{path} is not a record of a run: a setting is of another type") from None


_TEXTS = ("identity", "device_name", "data_note", "data_fingerprint", "git_commit", "finished", "right")
_NUMBERS = ("threads", "n_train", "wall_time", "test_accuracy", "validation_accuracy")
_TYPES: dict[str, Any] = dict.fromkeys(_TEXTS, str) | dict.fromkeys(_NUMBERS, int | float)
"""What tables take for granted of the results of a run."""


def every(
    folder: str | Path | None = None, kinds: Sequence[str] | None = None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The records below a folder (default: :func:`results_folder`) with their paths, in order of their names.

    Args:
        folder: where to look.
        kinds: those of interest; None: all.

    Raises:
        ValueError: a file is no record, see :func:`read`, or the same run as another one; the message names them.
    """
    paths: dict[str, Path] = {}
    for path in files(Path(folder) if folder else results_folder()):
        kind, record = _parsed(path)
        if kinds is None or kind in kinds:
            restored = _restored(path, kind, record)
            other = paths.setdefault(str(record.get("identity", path)), path)
            if other != path:
                raise ValueError(f"{other} and {path} are records of the same run; remove one of them")
            yield path, restored


def load(kind: str, folder: str | Path | None = None) -> "pandas.DataFrame":
    """All records of a kind below a folder (default: :func:`results_folder`), one row each, in order of their names.

    The column ``path`` says where a row came from. No record gives an empty frame.
    """
    import pandas as pd

    return pd.DataFrame([{"path": path, **record} for path, record in every(folder, [kind])])


def files(folder: Path) -> list[Path]:
    """The records below a folder; none where there is nothing of that name.

    Raises:
        NotADirectoryError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder of records")
    return [path for path in sorted(folder.rglob("*.json")) if path.parent.name != "schema"]


def hours(record: Mapping[str, Any]) -> float:
    """Core-hours that a run took, or hours on a GPU; 0 where its time was not recorded."""
    cores = record["threads"] if record.get("device", "cpu") == "cpu" else 1
    return record.get("wall_time", 0) * cores / 3600


def select(runs: "pandas.DataFrame", config: Config, but: Sequence[str] = ()) -> "pandas.DataFrame":
    """Those rows of :func:`load` that have the settings of a configuration, some excepted."""
    for name, value in config.model_dump().items():
        if len(runs) and name not in but:
            runs = runs[runs[name].astype(str) == str(value)]
    return runs


def recorded(config: Config) -> dict[str, Any]:
    """The published record of a run without a data set, found by its whole configuration.

    Raises:
        FileNotFoundError: there is none; the message has the command that makes it.
    """
    for path in results_folder().rglob(f"{name_of(config)}.json"):
        return read(path)
    raise FileNotFoundError(f"no record of this run below {results_folder()}: {command(config)}")


def command(config: Config, but: Mapping[str, Any] | None = None) -> str:
    """``tsbp train mnist --gradient full ...``: every setting of a configuration as an option.

    Args:
        config: the run.
        but: settings that need not be said, because they have this value without.
    """
    return shlex.join(words(config, but))


def words(config: Config, but: Mapping[str, Any] | None = None, argument: str = "") -> list[str]:
    """The words of :func:`command`; the argument may be another than the configuration's, such as a preset."""
    settings = config.model_dump()
    said = settings.pop(config.argument, "")
    said = f"./{said}" if said.startswith("-") else said  # a folder, not an option
    found = ["tsbp", config.kind, *([argument or said] if config.argument else [])]
    for name, value in settings.items():
        if value == "" or (but is not None and name in but and but[name] == value):
            continue
        option = config.option(name)
        if isinstance(value, bool):
            found.append(option if value else option.replace("--", "--no-", 1))
        else:
            for item in value if isinstance(value, tuple) else (value,):
                found += [option, str(item)]
    return found


def packed(right: torch.Tensor) -> str:
    """Which examples were classified correctly, ``[N]`` of bool, as a short text."""
    return base64.b64encode(zlib.compress(np.packbits(right.cpu().numpy()).tobytes(), 9)).decode()


def unpacked(text: str, n: int) -> np.ndarray:
    """Which of ``n`` examples were classified correctly, in the order of the data set: ``[n]`` of bool.

    Raises:
        ValueError: the text is none of :func:`packed`.
    """
    try:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8))
    except (ValueError, zlib.error):
        raise ValueError("the examples that were right cannot be read") from None
    if not 0 <= len(bits) - n < 8:
        raise ValueError(f"there are {len(bits)} bits for {n} examples")
    return bits[:n].astype(bool)
