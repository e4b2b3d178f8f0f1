"""Accuracy over one setting, all else equal: ``experiments/settings``. Final losses of the single neuron."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tsbp.gradients import ordered
from tsbp.networks import depth
from tsbp.runs import experiments, records
from tsbp.runs.experiments import Experiment
from tsbp.study.comparison import MAY_DIFFER, accuracy_cells, by_seed, once
from tsbp.study.statistics import mean_interval, p_values

if TYPE_CHECKING:
    import pandas

BROKEN = 50.0
"""Accuracy in per cent below which a training counts as broken down."""

STUDIES = "settings"
"""The folder in ``experiments/`` of those that vary one setting of a network."""


def studies(runs: "pandas.DataFrame") -> dict[str, "pandas.DataFrame"]:
    """Title → runs of every experiment in ``experiments/settings``, as :func:`study` gives them."""
    return {title: study(runs, experiment) for title, experiment in experiments.of(STUDIES).items()}


def study(runs: "pandas.DataFrame", experiment: Experiment) -> "pandas.DataFrame":
    """The runs of an experiment that varies one setting (and gradient and seed), ordered by it.

    Args:
        runs: records of ``tsbp train``.
        experiment: its axis becomes the column ``value``, of a network its depth.

    Returns:
        The rows, none where nothing is recorded.
    """
    setting = experiment.axis
    found = records.select(runs, experiment.config, but=(setting, *MAY_DIFFER))
    if not len(found):
        return found
    values = found[setting].map(depth) if setting == "network" else found[setting]
    return found.assign(value=values).sort_values(["value", "seed"])


def by_value(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Accuracy of the runs of a study: a row for each value, a column for each gradient and seed.

    Raises:
        ValueError: see :func:`tsbp.study.comparison.once`.
    """
    runs = once(runs, "value", "gradient", "seed")
    return runs.pivot(index="value", columns=["gradient", "seed"], values="test_accuracy")


def loss_study(experiment: Experiment) -> tuple[list[float], dict[str, np.ndarray]]:
    """Learning rates of an experiment with the single neuron, and final losses: gradient → ``[rates, repeats]``.

    Raises:
        FileNotFoundError: it has no record.
    """
    return _losses(records.recorded(experiment.config))


def loss_studies(*names: str) -> dict[str, tuple[list[float], dict[str, np.ndarray]]]:
    """Title → :func:`loss_study` of experiments, by their names."""
    found = map(experiments.load, names)
    return {experiment.title: loss_study(experiment) for experiment in found}


def loss_studies_over(name: str) -> dict[Any, tuple[list[float], dict[str, np.ndarray]]]:
    """The same over the axis of one experiment: value → learning rates and losses."""
    experiment = experiments.load(name)
    return {getattr(one, experiment.axis): _losses(records.recorded(one)) for one in experiment.configs}


def _losses(record: Mapping[str, Any]) -> tuple[list[float], dict[str, np.ndarray]]:
    losses = zip(record["gradients"], record["final_loss"], strict=True)
    return list(record["learning_rates"]), {name: np.array(loss) for name, loss in losses}


def mostly_silent_from(experiment: Experiment) -> dict[str, float]:
    """The learning rate from which on most of the single neurons end up silent, for each gradient.

    Shares are interpolated over the logarithm of the rate.

    Returns:
        Gradient → rate; infinite where fewer than half are silent at the largest.
    """
    record = records.recorded(experiment.config)
    x = np.log(record["learning_rates"])
    found = {}
    for name, share in zip(record["gradients"], np.array(record["silent_fraction"]), strict=True):
        below = np.flatnonzero(share < 0.5)[-1]  # what comes after it is silent for good
        last = below == len(x) - 1
        found[name] = np.inf if last else float(np.exp(np.interp(0.5, share[below : below + 2], x[below : below + 2])))
    return found


def angles_to_full(runs: "pandas.DataFrame", other: str) -> np.ndarray:
    """Angle of a gradient to ``full`` at the same weights, in degrees.

    Args:
        runs: records of trainings with ``--compare-gradients``, of one network and as many epochs.
        other: the gradient.

    Returns:
        ``[runs, epochs, layers]``, NaN where no gradient arrives.
    """
    cosines = [[epoch[f"cosine_{other}"] for epoch in metrics] for metrics in runs["epoch_metrics"]]
    return np.degrees(np.arccos(np.array(cosines, dtype=float)))


def study_table(studies: Mapping[str, "pandas.DataFrame"]) -> "pandas.DataFrame":
    """Test accuracy in per cent over one setting.

    Args:
        studies: title → runs, as :func:`study` gives them.

    Returns:
        A row for each value of each study: mean over seeds of every gradient, the difference of ``full`` and
        ``leak`` paired by seed, with intervals, and how many trainings of each gradient ended below ``BROKEN``.
    """
    import pandas as pd

    rows = []
    for title, runs in studies.items():
        for value, group in runs.groupby("value"):
            broken = (by_seed(group) < BROKEN).sum()
            counts = " / ".join(str(broken[name]) for name in ordered(broken.index))
            rows.append({"study": title, "value": f"{value:g}"} | accuracy_cells(group))
            rows[-1]["broke down"] = counts if broken.any() else ""
    return pd.DataFrame(rows)


def differences(runs: "pandas.DataFrame", other: str = "leak") -> "pandas.DataFrame":
    """The accuracy of ``full`` minus another's at every value of a study, paired by seed.

    Args:
        runs: as :func:`study` gives them.
        other: the gradient that is compared with ``full``.

    Returns:
        A row for each value: ``mean``; ``half_width`` of its 95 % interval, NaN for a single seed; and ``sure``, the
        sign of the mean where :func:`p_values <tsbp.study.statistics.p_values>`, corrected for the number of rows, is
        below 0.05, else 0.
    """
    import pandas as pd

    paired = _paired(runs, other)
    mean, half_width = mean_interval(paired.to_numpy())
    sure = np.where(p_values(paired.to_numpy()) < 0.05, np.sign(mean), 0).astype(int)
    return pd.DataFrame({"mean": mean, "half_width": half_width, "sure": sure}, index=paired.index)


def _paired(runs: "pandas.DataFrame", other: str = "leak") -> "pandas.DataFrame":
    """The accuracy of ``full`` minus another's: a row for each value of a study, a column for each seed that has all.

    Args:
        runs: as :func:`study` gives them.
        other: the gradient that is compared with ``full``.
    """
    found = by_value(runs)
    return (found["full"] - found[other]).dropna(axis="columns")


def over_all_values(runs: "pandas.DataFrame", other: str = "leak") -> dict[str, np.ndarray]:
    """The accuracy of ``full`` minus another's over all values of a study, for each seed.

    Args:
        runs: as :func:`study` gives them.
        other: the gradient that is compared with ``full``.

    Returns:
        ``average``: over the values; ``trend``: by how much it changes with each doubling of the value.
    """
    difference = _paired(runs, other)
    doublings = np.log2(difference.index.to_numpy(dtype=float))
    slope, _ = np.polyfit(doublings, difference.to_numpy(), 1)
    return {"average": difference.mean(axis="index").to_numpy(), "trend": slope}
