"""Accuracy over one setting, all else equal: the studies of ``sweeps/settings.yaml``, from records."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tsbp.gradients import STUDIED, ordered
from tsbp.networks import depth
from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig
from tsbp.study.comparison import MAY_DIFFER, accuracy_cells, by_seed
from tsbp.study.statistics import UsableRange, student_interval, usable_range, verdicts

if TYPE_CHECKING:
    import pandas

BROKEN = 50.0
"""Accuracy in per cent below which a training counts as broken down."""

USABLE_LOSS = 0.2
"""Mean final loss up to which a learning rate of the single neuron counts as usable."""
USABLE_MARGIN = 2.0
"""Percentage points that a usable rate of a network may lie below the best mean accuracy of any of the three."""

DIGITS = TrainingConfig.for_dataset("digits", compare_gradients=True)
MNIST = TrainingConfig.for_dataset("mnist", examples=20_000, epochs=5, compare_gradients=True)
_PLAIN = {"optimizer": "sgd", "schedule": "constant", "clip_norm": math.inf}
STUDIES: dict[str, tuple[TrainingConfig, str]] = {
    "MNIST, AdamW": (MNIST, "lr"),
    "MNIST, plain descent": (replace(MNIST, **_PLAIN), "lr"),
    "digits, AdamW": (DIGITS, "lr"),
    "digits, plain descent": (replace(DIGITS, **_PLAIN), "lr"),
    "temperature": (DIGITS, "temperature"),
    "time steps": (DIGITS, "time_steps"),
    "depth": (replace(DIGITS, weight_gain=4.0, lr=0.005), "network"),
}
"""Title → what all runs of a study have in common, and the setting in which they differ.

:meta hide-value:
"""


def studies(runs: "pandas.DataFrame") -> dict[str, "pandas.DataFrame"]:
    """The runs of every study in ``STUDIES``, as :func:`study` gives them."""
    return {title: study(runs, config, setting) for title, (config, setting) in STUDIES.items()}


def study(runs: "pandas.DataFrame", config: TrainingConfig, setting: str) -> "pandas.DataFrame":
    """Those runs that differ from a configuration in one setting (and in gradient and seed), ordered by it.

    Args:
        runs: records of ``tsbp train``.
        config: all other settings.
        setting: the one that may differ; it becomes the column ``value``, of a network its depth.
    """
    found = records.select(runs, config, but=(setting, *MAY_DIFFER))
    values = found[setting].map(depth) if setting == "network" else found[setting]
    return found.assign(value=values).sort_values(["value", "seed"])


def by_value(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Accuracy of the runs of a study: a row for each value, a column for each gradient and seed."""
    return runs.pivot(index="value", columns=["gradient", "seed"], values="test_accuracy")


def usable_ranges(runs: "pandas.DataFrame") -> dict[str, dict[str, UsableRange]]:
    """The range of usable learning rates of every gradient, for the single neuron and the studies of networks.

    Args:
        runs: records of ``tsbp train``.

    Returns:
        Title → gradient → range.
    """
    record = records.recorded("toy", ToyConfig())
    found = {"single neuron, gradient descent": neuron_ranges(record["learning_rates"], records.final_losses(record))}
    for title, (config, setting) in STUDIES.items():
        if setting == "lr":
            accuracy = by_value(study(runs, config, setting)).T.groupby("gradient").mean().T
            found[title] = accuracy_ranges(accuracy)
    return found


def neuron_ranges(rates: Sequence[float], losses: Mapping[str, np.ndarray]) -> dict[str, UsableRange]:
    """The range of usable learning rates of the single neuron: those whose mean loss is at most ``USABLE_LOSS``.

    Args:
        rates: learning rates.
        losses: gradient → final loss ``[learning rates, repeats]``.
    """
    return {name: usable_range(rates, loss.mean(-1), USABLE_LOSS) for name, loss in losses.items()}


def accuracy_ranges(accuracy: "pandas.DataFrame", margin: float = USABLE_MARGIN) -> dict[str, UsableRange]:
    """The range of usable learning rates of a network: those whose mean accuracy is near the best of all.

    Args:
        accuracy: mean accuracy in per cent, a row for each learning rate, a column for each gradient.
        margin: percentage points that a usable rate may lie below the best accuracy of any of the three gradients.
    """
    limit = 100 - accuracy[list(STUDIED)].max(axis=None) + margin
    return {name: usable_range(accuracy.index, 100 - accuracy[name], limit) for name in accuracy}


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


def study_verdict(runs: "pandas.DataFrame", other: str = "leak") -> str:
    """For which values of a study the accuracy of ``full`` is lower or higher than another's, in words.

    Args:
        runs: as :func:`study` gives them.
        other: the gradient that is compared with ``full``.
    """
    found = by_value(runs)
    differences = (found["full"] - found[other]).to_numpy()
    return verdicts([f"{value:g}" for value in found.index], differences, student_interval)
