"""Experiments: one YAML file each in ``experiments/``, which says what varies, what stays and how it is shown.

The command line runs an experiment by its name, the notebooks show it by its name, and the tests check it. Its records
are in the folder of ``results/`` that is called as the file's own folder is.
"""

import itertools
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsbp.runs import records, tuning, yaml_file
from tsbp.runs.config import KINDS, Config
from tsbp.runs.data import DATA_SETS
from tsbp.runs.files import PROJECT
from tsbp.runs.settings import CellConfig, NetworkConfig, TrainingConfig
from tsbp.runs.toy import ToyConfig

if TYPE_CHECKING:
    import pandas

FOLDER = PROJECT / "experiments"
MOST_RUNS = 20_000
"""That a block of settings may stand for."""
_KEYS = ("title", "about", "order", "command", "axis", "data", "chosen_by", "runs")


@dataclass(frozen=True)
class Experiment:
    """Runs that belong together, in the order in which they are to be done."""

    name: str
    """``settings/temperature``: folder and file."""
    title: str
    """What tables and figures call it."""
    axis: str
    """The setting whose effect it shows; empty if it varies none."""
    configs: tuple[Config, ...]
    order: int = 0
    """Its place among those of its folder, wherever they are shown together."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Data set → fingerprint, where the records must be those of certain data."""
    chosen_by: str = ""
    """The experiment that chooses learning rates for some of its runs."""
    rates: Mapping[str, tuning.Rates] = field(default_factory=dict)
    """What that one has chosen, by :func:`.tuning.choice`."""
    waiting: tuple[Config, ...] = ()
    """Runs whose learning rates are not chosen yet, at another rate; they are not among ``configs``."""

    @property
    def config(self) -> Any:
        """The first run; what all have in common, but for axis, gradient and seed."""
        return (*self.configs, *self.waiting)[0]

    @property
    def folder(self) -> Path:
        """Where its records are published."""
        return records.results_folder() / Path(self.name).parent

    @cached_property
    def keys(self) -> list[str]:
        """Of each run, its settings as :func:`key` has them."""
        return [key(config, self.data.get(getattr(config, "dataset", ""), "")) for config in self.configs]


def key(config: Config, data: str = "") -> str:
    """What tells whether a run is recorded without reading its data: settings, and a fingerprint if one is known."""
    return (_usual(config) if isinstance(config, TrainingConfig) else config).identity(data)


def _usual(config: TrainingConfig) -> TrainingConfig:
    """The configuration with ``auto`` replaced by what its records have, without asking this machine."""
    device = "cpu" if config.device == "auto" else config.device
    usual = "bfloat16" if device == "cuda" else "float32"
    precision = usual if config.precision == "auto" else config.precision
    return config.model_copy(update={"device": device, "precision": precision})


def load(name: str, folder: Path | None = None) -> Experiment:
    """An experiment by its name, or by the path of a file.

    Raises:
        FileNotFoundError: there is none; the message names those that there are.
        ValueError: the file is not of that form, or a setting in it is wrong.
    """
    folder = folder or FOLDER
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        if path.suffix and path == Path(name):
            raise FileNotFoundError(f"there is no file {name}")
        raise FileNotFoundError(f"there is no experiment {name}; there are {', '.join(names(folder))}")
    return read(path, folder)


def names(folder: Path | None = None) -> list[str]:
    """All experiments, in alphabetical order."""
    folder = folder or FOLDER
    return [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.yaml"))]


def named(name: str, **given: Any) -> list[Experiment]:
    """The experiment of a name, or all in the folder of that name, in their order; empty if there are none.

    Args:
        name: such as ``settings/temperature`` or ``settings``.
        **given: settings that replace those of every run.
    """
    paths = [FOLDER / f"{one}.yaml" for one in names() if name in (one, Path(one).parent.as_posix())]
    return sorted((read(path, FOLDER, **given) for path in paths), key=lambda one: one.order)


def of(folder: str) -> dict[str, Experiment]:
    """Title → experiment, of one folder in ``experiments/``, in their order."""
    return {experiment.title: experiment for experiment in named(folder)}


def read(path: Path, folder: Path | None = None, **given: Any) -> Experiment:
    """The experiment in a file.

    The file holds ``title``, ``about``, ``order``, ``axis``, ``command`` (train, cell or toy), ``data`` (data set →
    fingerprint, where only certain data count), and ``runs``, a mapping of settings or a list of such mappings, in
    which a list of values stands for each of them; or such a mapping or list alone. ``{dataset: [digits, mnist], seed:
    [0, 1], gradient: [full, leak]}`` are eight runs. ``lr: chosen`` (of cells, ``learning_rates: chosen``) stands for
    the rates that the experiment named by ``chosen_by`` prefers, each gradient's own and the common one, see
    :mod:`tsbp.runs.tuning`.

    Args:
        path: the file.
        folder: the names of experiments are relative to it.
        **given: settings that replace those of every run.

    Raises:
        ValueError: the file is not of that form, or a setting in it is wrong; the message names file and setting.
    """
    content = yaml_file.read(path)
    head = content if isinstance(content, dict) and "runs" in content else {"runs": content}
    unknown = [str(name) for name in head if name not in _KEYS]
    if unknown:
        raise ValueError(f"{path}: unknown key {', '.join(unknown)}; there are {', '.join(_KEYS)}")
    command = head.get("command", "train")
    blocks = head["runs"] if isinstance(head["runs"], list) else [head["runs"]]
    if not isinstance(command, str) or command not in _KINDS:
        raise ValueError(f"{path}: command must be train, cell or toy, got {command!r}")
    if not all(isinstance(block, dict) and (block.get("dataset") or command == "toy") for block in blocks):
        raise ValueError(f"{path} must hold a mapping with the key dataset, or a list of such mappings")
    chosen_by = str(head.get("chosen_by") or "")
    configs: list[Config] = []
    waiting: list[Config] = []
    rates: dict[str, tuning.Rates] = {}
    try:
        for block in blocks:
            settings = block | given
            left_open = [name for name in ("lr", "learning_rates") if settings.get(name) == tuning.CHOSEN]
            runs = _KINDS[command](**{name: value for name, value in settings.items() if name not in left_open})
            if not left_open:
                configs += runs
                continue
            rates = rates or _chosen_rates(chosen_by, folder)
            for run in runs:
                if isinstance(run, NetworkConfig) and (own := rates.get(tuning.choice(run))):
                    configs += tuning.at_rates(run, own)
                else:
                    waiting.append(run)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    within = folder and path.is_relative_to(folder)
    name = (path.relative_to(folder) if within and folder else path).with_suffix("").as_posix()
    title, axis, order = str(head.get("title") or name), str(head.get("axis") or ""), head.get("order") or 0
    if not isinstance(order, int) or isinstance(order, bool):
        raise ValueError(f"{path}: order must be an integer, got {order!r}")
    kind = KINDS[command]
    if axis and axis not in kind.model_fields and f"--{axis}" not in map(kind.option, kind.model_fields):
        raise ValueError(f"{path}: axis must be a setting of tsbp {command}, got {axis!r}")
    data = head.get("data") or {}
    if not isinstance(data, dict) or not all(isinstance(text, str) for pair in data.items() for text in pair):
        raise ValueError(f"{path}: data must have a fingerprint, as text, for the names of data sets, got {data!r}")
    configs = list(dict.fromkeys(configs))  # a rate that was chosen may be said as well
    return Experiment(name, title, axis, tuple(configs), order, data, chosen_by, rates, tuple(waiting))


def _chosen_rates(chosen_by: str, folder: Path | None) -> dict[str, tuning.Rates]:
    """What the records of an experiment choose."""
    if not chosen_by:
        raise ValueError(f"learning rates that are {tuning.CHOSEN} need the key chosen_by, an experiment")
    path = (folder or FOLDER) / f"{chosen_by}.yaml"
    if path.is_file() and isinstance(head := yaml_file.read(path), dict) and "chosen_by" in head:
        raise ValueError(f"chosen_by must name an experiment that has its own learning rates, got {chosen_by}")
    by = load(chosen_by, folder)
    return tuning.chosen(by.configs, (record for _, record in records.every(by.folder, ("train", "cell"))))


def trainings(dataset: str | Sequence[str], **settings: Any) -> list[TrainingConfig]:
    """All combinations: for every data set or preset, with the last setting changing fastest.

    Args:
        dataset: a name that :meth:`.NetworkConfig.for_dataset` knows, or several.
        **settings: of a configuration; a list stands for each of its values.

    Raises:
        ValueError: a setting is wrong, a list is empty, or there are more than ``MOST_RUNS`` combinations.
    """
    return [
        TrainingConfig.for_dataset(name, **chosen) for name in _named(dataset) for chosen in _combinations(settings)
    ]


def cells(dataset: str | Sequence[str], **settings: Any) -> list[CellConfig]:
    """The same of cells. Gradients, learning rates and seeds are lists within one cell."""
    within = ("gradients", "learning_rates", "seeds")
    several = _combinations(settings, but=within)
    return [CellConfig.for_dataset(name, **chosen) for name in _named(dataset) for chosen in several]


def studies(**settings: Any) -> list[ToyConfig]:
    """The same of the single neuron. Gradients and learning rates are lists within one study."""
    return [ToyConfig(**chosen) for chosen in _combinations(settings, but=("gradients", "learning_rates"))]


_KINDS: dict[str, Callable[..., Sequence[Config]]] = {"train": trainings, "cell": cells, "toy": studies}
"""Command of an experiment → what makes its runs."""


def _named(dataset: Any) -> Sequence[str]:
    """One data set or several, as a list."""
    found = [dataset] if isinstance(dataset, str) else dataset
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"dataset must be a name, or a list of names, got {reprlib.repr(dataset)}")
    return found


def _combinations(settings: Mapping[str, Any], but: Sequence[str] = ()) -> list[dict[str, Any]]:
    several: dict[str, Sequence[Any]] = {
        name: value if isinstance(value, list | tuple | range) and name not in but else [value]
        for name, value in settings.items()
    }
    if empty := [name for name, values in several.items() if not values]:
        raise ValueError(f"{', '.join(empty)} must have at least one value, got none")
    if (runs := math.prod(map(len, several.values()))) > MOST_RUNS:
        raise ValueError(f"these settings make {runs:,} runs; at most {MOST_RUNS:,} are done at a time")
    return [dict(zip(several, chosen, strict=True)) for chosen in itertools.product(*several.values())]


def progress_table() -> "pandas.DataFrame":
    """Which experiments are complete, and how long the rest takes.

    Returns:
        A row for each: its runs, how many are recorded, ``complete``, ``partial`` or ``missing``, and the core-hours
        (on CUDA: GPU hours) of the rest, from the recorded runs of the same data set, network, time steps and device
        in proportion to epochs, examples and networks of a cell; a question mark where there are none; and the
        experiment whose records are to choose the learning rates of some of its runs.
    """
    import pandas as pd

    done: set[str] = set()
    recorded: dict[str, tuple[Config, dict[str, Any]]] = {}
    for _, record in records.every(kinds=("train", "cell", "toy")):
        config = KINDS[record["kind"]].restored(record)
        done |= {key(config), key(config, record.get("data_fingerprint", ""))}
        recorded[record["identity"]] = config, record
    rates: dict[tuple[Any, ...], list[float]] = {}
    for config, record in recorded.values():
        if isinstance(config, NetworkConfig) and {"threads", "wall_time", "n_train"} <= record.keys():
            share = records.hours(record) / config.epochs / record["n_train"] / config.n_networks
            rates.setdefault(_cost_group(config), []).append(share)
    rows = []
    for name in names():
        experiment = load(name)
        missing = [config for config, own in zip(experiment.configs, experiment.keys, strict=True) if own not in done]
        all_of_them = (*experiment.configs, *experiment.waiting)
        missing += experiment.waiting
        state = "complete" if not missing else "partial" if len(missing) < len(all_of_them) else "missing"
        hours = [_hours(config, rates) for config in missing]
        row = {"experiment": name, "runs": len(all_of_them), "recorded": len(all_of_them) - len(missing)}
        known = [hour for hour in hours if hour is not None]
        rest = "" if not missing else f"{sum(known):.1f}" + ("" if len(known) == len(hours) else " + ?")
        row |= {"state": state, "core-hours of the rest": rest.removeprefix("0.0 + ")}
        rows.append(row | {"waits for": experiment.chosen_by if experiment.waiting else ""})
    return pd.DataFrame(rows)


def _cost_group(config: NetworkConfig) -> tuple[Any, ...]:
    names = ("dataset", "network", "time_steps", "device", "precision")
    usual = _usual(config) if isinstance(config, TrainingConfig) else config
    return config.kind, *(getattr(usual, name, None) for name in names)


def _hours(config: Config, rates: Mapping[tuple[Any, ...], Sequence[float]]) -> float | None:
    """What a run should take; None where nothing like it is recorded."""
    if not isinstance(config, NetworkConfig):
        return None
    found = rates.get(_cost_group(config))
    source = DATA_SETS.get(config.dataset)
    examples = config.examples or (source.n_train if source else 0)
    return sum(found) / len(found) * config.epochs * examples * config.n_networks if found and examples else None
