"""The gradients compared by the accuracy of networks, from records: Table 2, and whether two are equally good."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsbp.gradients import STUDIED, ordered
from tsbp.runs import data, records
from tsbp.runs.settings import PRESETS, TABLE_2, TrainingConfig
from tsbp.study.statistics import (
    MARGIN,
    corrected_words,
    equal_within,
    equivalence,
    margin_for,
    p_values,
    with_interval,
)

if TYPE_CHECKING:
    import pandas


MAY_DIFFER = ("gradient", "seed", "device", "precision", "plugin")


def titles() -> dict[str, str]:
    """Name of a data set → what tables call it, those of plugins too."""
    return {name: source.title for name, source in data.DATA_SETS.items()}


def static() -> dict[str, str]:
    """Those of :func:`titles` that stand beside the paper's Table 2: data sets that are no tasks of time."""
    return {name: title for name, title in titles().items() if not data.DATA_SETS[name].temporal}


def accuracy_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Test accuracy in per cent, a row for runs that differ in gradient and seed alone.

    Args:
        runs: records of ``tsbp train``, as :func:`tsbp.runs.records.load` gives them.

    Returns:
        Mean over seeds of every gradient, and the difference of ``full`` and ``leak`` paired by seed, with intervals.
    """
    import pandas as pd

    rows = []
    settings = runs["command"].str.replace(r" --(gradient|seed|plugin) \S+", "", regex=True)
    for _, group in runs.groupby(settings, sort=False):
        first = group.iloc[0]
        rows.append({"network": first["network"], "T": first["time_steps"], "epochs": first["epochs"]})
        rows[-1] |= accuracy_cells(group)
    return pd.DataFrame(rows).fillna("")


def table_2(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """The paper's Table 2 and what was measured here: test accuracy in per cent after the last epoch.

    Args:
        runs: records of ``tsbp train``. Those count that have the default settings of their data set, or a preset's.

    Returns:
        For every data set but the tasks that need time: what the paper reports, then a row for each training that was
        measured: mean over seeds of every gradient, and the difference of ``full`` and ``leak`` paired by seed, with
        intervals. :func:`tsbp.study.reproduce.missing_table` has the others.
    """
    import pandas as pd

    rows = []
    for dataset, title in static().items():
        if dataset in TABLE_2:
            reported = TABLE_2[dataset]
            rows.append(
                {"data set": title, "T": reported["time_steps"], "training": "the paper", "seeds": "not stated"}
            )
            rows[-1] |= {name: f"{reported[name]:.2f}" for name in ("full", "leak")}
            rows[-1] |= {"full - leak": f"{reported['full'] - reported['leak']:+.2f}"}
        for config, preset, group in groups(runs, dataset):
            if len(group):
                rows.append(_what(config, preset, group) | accuracy_cells(group))
    recorded = runs["gradient"].unique() if len(runs) else ()
    order = ["data set", "T", "training", "seeds", *ordered([*STUDIED, *recorded]), "full - leak"]
    return pd.DataFrame(rows, columns=order, dtype=object).fillna("")


def accuracies(runs: "pandas.DataFrame", dataset: str, device: str = "cpu") -> "pandas.DataFrame":
    """Test accuracy of the runs of a training on one device: a row for each seed, a column for each gradient.

    Args:
        runs: records of ``tsbp train``.
        dataset: a data set, for its default settings, or a preset.
        device: ``cpu`` or ``cuda``.
    """
    return by_seed(records.select(runs[runs["device"] == device], TrainingConfig.for_dataset(dataset), but=MAY_DIFFER))


def difference_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Whether two gradients are as good as each other, from the rows of :func:`table_2` that were measured.

    Args:
        runs: records of ``tsbp train``.

    Returns:
        Mean difference paired by seed with its 95 % interval, the smallest margin within which the gradients are equal
        (5 % level), the :func:`margin <tsbp.study.statistics.margin_for>` of the test set, and the verdict: p values of
        all differences are corrected together by Holm's method, and so are those of all tests of equality.
    """
    import pandas as pd

    rows, means, apart, equal = [], [], [], []
    for dataset in static():
        for config, preset, group in groups(runs, dataset):
            accuracy = by_seed(group)
            margin = margin_for(int(group["n_test"].iloc[0])) if len(group) else MARGIN
            for other in ("leak", "spatial"):
                difference = paired_difference(accuracy, other)
                if len(difference):
                    row = _what(config, preset, group)
                    row |= {"difference": f"full - {other}", "seeds": len(difference)}
                    row |= {"mean": with_interval(difference, "+.2f")}
                    if len(difference) > 1:
                        row |= {"equal within": f"±{equal_within(difference):.2f}", "margin": f"±{margin:.2f}"}
                    rows.append(row)
                    means.append(difference.mean())
                    apart.append(p_values(difference[None])[0])
                    equal.append(equivalence(difference, margin))
    for row, word in zip(rows, corrected_words(means, apart, equal), strict=True):
        row["verdict"] = word if int(str(row["seeds"])) > 1 else "one seed"
    return pd.DataFrame(rows).fillna("")


def learning_rate_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Accuracy in per cent on held-out training examples, by which the learning rates of the defaults were chosen.

    Args:
        runs: records of ``tsbp train``. Those with ``--validation`` count, if nothing else is unusual.

    Returns:
        :func:`held_out_table` of each training of :func:`trainings` with several learning rates; what its rows have in
        common stands in the first.
    """
    import pandas as pd

    parts = []
    for dataset, title in titles().items():
        for config, preset in trainings(dataset):
            found = held_out(runs, config, "lr", "epochs")
            if not len(found) or found["lr"].nunique() == 1:
                continue
            table = held_out_table(found, ["lr"]).rename(columns={"lr": "learning rate"})
            first = found.iloc[0]
            name = ", ".join(filter(None, [title, preset, short(first["data_note"])]))
            common = {"data set": name, "held out": str(first["validation"]), "epochs": str(first["epochs"])}
            for place, (column, value) in enumerate(common.items()):
                table.insert(place, column, [value] + [""] * (len(table) - 1))
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def held_out(runs: "pandas.DataFrame", config: TrainingConfig, *settings: str) -> "pandas.DataFrame":
    """The runs of a configuration that were measured on held-out examples, some settings left open.

    Args:
        runs: records of ``tsbp train``.
        config: all other settings.
        *settings: those that may differ, beside gradient, seed and number of held-out examples.
    """
    runs = runs[runs["validation"] > 0] if len(runs) else runs
    return records.select(runs, config, but=(*settings, "validation", *MAY_DIFFER))


def best_held_out(runs: "pandas.DataFrame", config: TrainingConfig) -> "pandas.DataFrame":
    """The learning rate at which each gradient is most accurate on held-out examples.

    Args:
        runs: records of ``tsbp train``.
        config: all other settings.

    Returns:
        A row for each gradient: ``lr``, the ``accuracy`` there in per cent (mean over seeds), and ``test_runs``, the
        number of test runs of that gradient at that rate. Of rates that are equally good, the configuration's is taken.
    """
    import pandas as pd

    found = held_out(runs, config, "lr", "epochs")
    rows = {}
    for gradient, tried in found.groupby("gradient") if len(found) else ():
        means = tried.groupby("lr")["validation_accuracy"].mean()
        chosen = config.lr if means.get(config.lr) == means.max() else means.idxmax()
        tested = records.select(runs, config.but(lr=chosen), but=("compare_gradients", *MAY_DIFFER))
        rows[gradient] = {
            "lr": chosen,
            "accuracy": means.max(),
            "test_runs": (tested["gradient"] == gradient).sum(),
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["lr", "accuracy", "test_runs"])


def held_out_table(runs: "pandas.DataFrame", settings: Sequence[str]) -> "pandas.DataFrame":
    """Accuracy in per cent on held-out training examples, a row for each choice of some settings.

    Args:
        runs: records of ``tsbp train --validation`` that differ in these settings, gradient and seed alone.
        settings: what was to be chosen.

    Returns:
        Mean over seeds of each gradient and over all gradients, the choice with the highest mean marked.
    """
    import pandas as pd

    means = runs.pivot_table(index=list(settings), columns="gradient", values="validation_accuracy")
    best = means.mean(axis=1).idxmax()
    rows = []
    for choice, row in means.iterrows():
        values = choice if isinstance(choice, tuple) else (choice,)
        cells = {name: f"{value:g}" for name, value in zip(settings, values, strict=True)}
        cells |= {name: f"{row[name]:.2f}" for name in ordered(means)}
        rows.append(cells | {"mean": f"{row.mean():.2f}", "": "chosen" if choice == best else ""})
    return pd.DataFrame(rows)


def settings_table(configs: Mapping[str, TrainingConfig]) -> "pandas.DataFrame":
    """The settings in which configurations differ, a column for each configuration.

    Args:
        configs: title → configuration.
    """
    import pandas as pd

    rows = []
    for name, setting in TrainingConfig.model_fields.items():
        values = {title: getattr(config, name) for title, config in configs.items()}
        if len(set(map(str, values.values()))) > 1:
            rows.append({"setting": name} | {title: str(value) for title, value in values.items()})
            rows[-1]["meaning"] = setting.description or ""
    return pd.DataFrame(rows)


def trainings(dataset: str) -> Iterator[tuple[TrainingConfig, str]]:
    """The trainings of a data set that Table 2 shows: its defaults, called "", then the presets by name."""
    yield TrainingConfig.for_dataset(dataset), ""
    for preset, settings in PRESETS.items():
        if settings["dataset"] == dataset:
            yield TrainingConfig.for_dataset(preset), preset


def training_label(config: TrainingConfig, preset: str) -> str:
    """``20 epochs``, and the preset, if it is one."""
    return ", ".join(filter(None, [f"{config.epochs} epochs", preset]))


def groups(runs: "pandas.DataFrame", dataset: str) -> Iterator[tuple[TrainingConfig, str, "pandas.DataFrame"]]:
    """Configuration, preset and runs for each row that a data set has in Table 2.

    The runs of one training that differ in device, precision or data are rows of their own; without any there is one
    row, with an empty frame.
    """
    for config, preset in trainings(dataset):
        found = records.select(runs, config, but=MAY_DIFFER)
        if not len(found):
            yield config, preset, found
            continue
        for _, group in found.groupby(["device", "precision", "data_note"], sort=False):
            yield config, preset, group


def _what(config: TrainingConfig, preset: str, group: "pandas.DataFrame") -> dict[str, object]:
    """What the tables say that the row of such a group is."""
    title, training = titles()[config.dataset], training_label(config, preset)
    if len(group):
        first = group.iloc[0]
        title += f" ({short(first['data_note'])})" if first["data_note"] else ""
        training += f", {first['precision']}" + (" on CUDA" if first["device"] == "cuda" else "")
    return {"data set": title, "T": config.time_steps, "training": training}


def short(note: str) -> str:
    """What a record says of its data, without details in brackets; the originals of named data sets are no JPEGs."""
    return re.sub(r" \([^)]*\)[^;]*", "", note.replace(data.JPEG_NOTE, "re-encoded as JPEG"))


def by_seed(group: "pandas.DataFrame") -> "pandas.DataFrame":
    """Accuracy with a row for each seed and a column for each gradient; without runs it has neither.

    Raises:
        ValueError: see :func:`once`.
    """
    if not len(group):
        return group
    return once(group, "seed", "gradient").pivot(index="seed", columns="gradient", values="test_accuracy")


def once(runs: "pandas.DataFrame", *settings: str) -> "pandas.DataFrame":
    """One row for each choice of some settings, where all others are the same or make no difference, as a plugin does.

    Raises:
        ValueError: some have several results, of several devices, for instance; the message names the records.
    """
    different = runs.drop_duplicates([*settings, "test_accuracy"])
    twice = different[different.duplicated(list(settings), keep=False)]
    if len(twice):
        names = ", ".join(map(str, twice.get("path", twice.index)))
        raise ValueError(f"records of one {' and '.join(settings)} with several results: {names}")
    return different


def paired_difference(accuracy: "pandas.DataFrame", other: str) -> np.ndarray:
    """Accuracy of ``full`` minus that of another gradient, for each seed that has both; empty where none has.

    Args:
        accuracy: as :func:`by_seed` gives it.
        other: the gradient.
    """
    if not {"full", other} <= set(accuracy):
        return np.array([])
    return (accuracy["full"] - accuracy[other]).dropna().to_numpy()


def accuracy_cells(group: "pandas.DataFrame") -> dict[str, str]:
    """Numbers of seeds, means with intervals, and the paired difference."""
    found = by_seed(group)
    counts = [str(found[name].count()) for name in ordered(found)]
    cells = {"seeds": counts[0] if len(set(counts)) == 1 else " / ".join(counts)}
    cells |= {name: with_interval(found[name].dropna()) for name in ordered(found)}
    difference = paired_difference(found, "leak")
    if len(difference):
        cells["full - leak"] = with_interval(difference, "+.2f")
    return cells
