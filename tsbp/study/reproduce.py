"""How every record can be made again: the shortest command for each, and what the runs took."""

import itertools
import math
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tsbp.networks import TABLE_3
from tsbp.runs import records
from tsbp.runs.data import DATA_SETS
from tsbp.runs.settings import PRESETS, CellConfig, TrainingConfig
from tsbp.study.comparison import MAY_DIFFER, static, training_label, trainings
from tsbp.study.schema import CONFIGURATIONS

if TYPE_CHECKING:
    import pandas


def short_command(record: Mapping[str, Any]) -> str:
    """The command that repeats a run: that of its record without the options that only repeat a default."""
    config = CONFIGURATIONS[record["kind"]].restored(record)
    if isinstance(config, TrainingConfig):
        names = [config.dataset, *(name for name, preset in PRESETS.items() if preset["dataset"] == config.dataset)]
        ways = (records.words(config, TrainingConfig.for_dataset(name).model_dump(), argument=name) for name in names)
        return shlex.join(min(ways, key=lambda words: len(shlex.join(words))))
    default = {name: field.default for name, field in type(config).model_fields.items()}
    if isinstance(config, CellConfig):  # the data set's own network may be none for a cell
        default = CellConfig.for_dataset(config.dataset, network=config.network).model_dump() | {"network": None}
    return records.command(config, default | ({"device": "auto"} if "device" in default else {}))


def missing_table() -> "pandas.DataFrame":
    """The rows of :func:`tsbp.study.comparison.table_2` without a run on the whole and original data.

    Returns:
        For each the command of one run and the time that it should take on two cores, from runs on a part of the data
        or else from the training step in the records of ``tsbp bench``, in proportion to examples and time steps; and
        on a GPU, where that step was timed on one.
    """
    import pandas as pd

    runs, bench = records.load("train"), records.load("bench")
    rows = []
    for dataset, title in static().items():
        for config, preset in trainings(dataset):
            found = records.select(runs, config, but=MAY_DIFFER)
            if len(found) and (found["data_note"] == "").any():
                continue
            examples = config.examples or DATA_SETS[dataset].n_train or math.nan  # of a plugin it may not be known
            on_cuda = _step_seconds(bench, config, "cuda") * examples * config.epochs / 3600
            found = found[found["device"] == "cpu"] if len(found) else found
            if len(found):
                hours = (found["wall_time"] * found["threads"] / found["n_train"]).mean() * examples / 2 / 3600
            else:
                hours = _step_seconds(bench, config, "cpu") * examples * config.epochs / 3600
            row = {"data set": title, "T": config.time_steps, "training": training_label(config, preset)}
            row |= {"command": f"tsbp train {preset or dataset}"}
            rows.append(row | {"two cores": _rounded(hours), "GPU": _rounded(on_cuda)})
    return pd.DataFrame(rows)


def _rounded(hours: float) -> str:
    if math.isnan(hours):
        return ""
    if hours < 1.5:
        return f"{60 * hours:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _step_seconds(bench: "pandas.DataFrame", config: TrainingConfig, device: str) -> float:
    """Time of an example in a training step: on two cores in float32, on a GPU in bfloat16; NaN if it was not timed.

    Timed are the networks of Table 3.
    """
    steps = bench[(bench["benchmark"] == config.dataset) & (bench["device"] == device)]
    if device == "cpu":
        steps = steps[(steps["threads"] == 2) & (steps["precision"] == "float32")]
    if not len(steps) or config.network != TABLE_3.get(config.dataset):
        return math.nan
    closest = steps.loc[(steps["time_steps"] - config.time_steps).abs().idxmin()]
    seconds = median(closest["seconds"]["tsbp full"]) * config.time_steps / closest["time_steps"]
    return seconds / closest["batch_size"]


def effort_table() -> "pandas.DataFrame":
    """What the published records took, a row for each folder and each kind of device."""
    import pandas as pd

    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for (folder, what), group in _groups().items():
        for record in group:
            place = found.setdefault((folder, record.get("device", "cpu")), {})
            place.setdefault(what.removeprefix("tsbp "), []).append(record)
    rows = []
    for (folder, _), kinds in found.items():
        runs = list(itertools.chain(*kinds.values()))
        hours = sum(map(records.hours, runs))
        row = {"records": f"results/{folder}", "hours": f"{hours:.1f}" if hours else "not recorded", "runs": len(runs)}
        row |= {"of": ", ".join(kinds), "on": ", ".join(sorted({record["device_name"] for record in runs}))}
        rows.append(row)
    return pd.DataFrame(rows)


def totals() -> dict[str, float]:
    """How many records there are, and the core-hours and GPU hours that they took, as in :func:`effort_table`."""
    total: dict[str, float] = {"records": 0, "core_hours": 0.0, "gpu_hours": 0.0}
    for _, record in records.every():
        total["records"] += 1
        total["core_hours" if record.get("device", "cpu") == "cpu" else "gpu_hours"] += records.hours(record)
    return total


def command_list() -> str:
    """All published records with the command that repeats each, as HTML: a folded table for each folder and kind.

    pandas gives cells no names of one's own, by which the claims link to a record.
    """
    parts = []
    for (folder, what), group in _groups().items():
        head = "<tr><th>record</th><th>result</th><th>commit</th><th>command</th></tr>"
        title = f"{escape(f'results/{folder}: {what}')}, {len(group)} {'record' if len(group) == 1 else 'records'}"
        table = f"<table class='tsbp-records'><thead>{head}</thead><tbody>{''.join(map(_row, group))}</tbody></table>"
        parts.append(f"<details><summary>{title}</summary>{table}</details>")
    return "\n".join(parts)


def _groups() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The published records by folder and what ran."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path, read in records.every():
        record = {"path": path, **read}
        folder = path.parent.relative_to(records.results_folder()).as_posix()
        what = f"tsbp {record['kind']}" + (f" {record['dataset']}" if "dataset" in record else "")
        groups.setdefault((folder, what), []).append(record)
    return dict(sorted(groups.items()))


def _row(record: Mapping[str, Any]) -> str:
    name = Path(record["path"]).stem
    commit = str(record["git_commit"])[:7] + (" with changes" if record["git_dirty"] else "")
    options = escape(short_command(record)).replace(" --", "</span> <span>--")  # no line ends within one
    cells = "".join(f"<td>{escape(text)}</td>" for text in (_result(record), commit))
    return f"<tr><td id='{escape(name)}'>{escape(name)}</td>{cells}<td><code><span>{options}</span></code></td></tr>"


def _result(record: Mapping[str, Any]) -> str:
    """Accuracy of a training; the others have more than a number."""
    if record["kind"] != "train":
        return ""
    if record["validation"]:
        return f"{record['validation_accuracy']:.2f} % of held-out examples"
    return f"{record['test_accuracy']:.2f} %"
