"""Each gradient at its own best learning rate, and all at one: both chosen on held-out examples, tested on fresh seeds.

Intervals cover other seeds and other test examples, which is possible where records say which examples were right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsbp.gradients import STUDIED
from tsbp.runs import experiments, records, tuning
from tsbp.runs.experiments import Experiment
from tsbp.runs.settings import TrainingConfig
from tsbp.study.comparison import MAY_DIFFER
from tsbp.study.statistics import Crossed, corrected_words, crossed, margin_for

if TYPE_CHECKING:
    import pandas

FRESH_SEEDS = "fresh-seeds"
"""Folder in ``experiments/``: what is tested at rates that held-out examples choose."""


@dataclass(frozen=True)
class Comparison:
    """One data set under one protocol."""

    title: str
    protocol: str
    """``common``: the rate that held-out examples prefer for all gradients together; ``own``: that which they prefer
    for the gradient; ``default``: that of the data set's defaults, where the others are not chosen or tested yet."""
    outcomes: "Outcomes"

    @property
    def margin(self) -> float:
        """Percentage points within which a difference counts as none; fixed by the number of test examples."""
        return margin_for(self.outcomes.n_test)


def comparisons(runs: "pandas.DataFrame") -> list[Comparison]:
    """All that the records have, in the order of the experiments.

    Args:
        runs: records of ``tsbp train``.
    """
    found = []
    for experiment in experiments.named(FRESH_SEEDS):
        rates = chosen_rates(experiment)
        common = {fold: dict.fromkeys(STUDIED, own[tuning.COMMON]) for fold, own in rates.items()}
        tested = {"common": outcomes(runs, experiment, common), "own": outcomes(runs, experiment, rates)}
        if not any(tested.values()):
            tested = {"default": outcomes(runs, experiment)}
        found += [Comparison(experiment.title, protocol, those) for protocol, those in tested.items() if those]
    return found


def chosen_rates(experiment: Experiment) -> dict[int, tuning.Rates]:
    """Fold → rates that held-out examples prefer; folds whose held-out runs are not all recorded are left out.

    Args:
        experiment: on fresh seeds.
    """
    planned = (*experiment.configs, *experiment.waiting)
    found = {run.fold: experiment.rates.get(tuning.choice(run)) for run in planned if isinstance(run, TrainingConfig)}
    return {fold: rates for fold, rates in found.items() if rates}


@dataclass(frozen=True)
class Outcomes:
    """Which examples each gradient gets right, under one protocol."""

    right: dict[str, np.ndarray]
    """Gradient → ``[repeats, examples]`` of bool; the repeats, seeds and cuts into folds, are paired."""
    names: tuple[str, ...]
    """Of the records."""

    @property
    def repeats(self) -> int:
        """Number of seeds and cuts."""
        return len(next(iter(self.right.values())))

    @property
    def n_test(self) -> int:
        """Number of examples, each of them tested once a repeat."""
        return next(iter(self.right.values())).shape[1]

    def accuracy(self, gradient: str) -> Crossed:
        """In per cent."""
        return crossed(100.0 * self.right[gradient])

    def difference(self, other: str) -> Crossed:
        """Accuracy of ``full`` minus another's in percentage points, paired by repeat and example."""
        return crossed(100.0 * (self.right["full"].astype(float) - self.right[other]))


def outcomes(
    runs: "pandas.DataFrame", experiment: Experiment, rates: Mapping[int, tuning.Rates] | None = None
) -> Outcomes | None:
    """The test runs of an experiment in which each gradient has the rate that was chosen for it.

    Args:
        runs: records of ``tsbp train``.
        experiment: its first run has all settings but learning rate, fold, gradient and seed.
        rates: fold → gradient → learning rate; None: that of the first run, for all.

    Returns:
        The repeats that are complete: all folds of a cut, with all three gradients; None if fewer than two are.
    """
    config = experiment.config
    found = records.select(runs, config, but=("lr", "fold", *MAY_DIFFER))
    planned = (*experiment.configs, *experiment.waiting)
    seeds = {one.seed for one in planned if isinstance(one, TrainingConfig)}
    found = found[found["gradient"].isin(STUDIED) & found["seed"].isin(seeds)] if len(found) else found
    if not len(found):
        return None
    if rates is None:
        wanted = found["lr"] == config.lr
    else:
        wanted = [rates.get(run.fold, {}).get(run.gradient) == run.lr for run in found.itertuples()]
    folds = max(config.folds, 1)
    used = found[wanted].drop_duplicates(["seed", "fold", "gradient"])
    used = used.assign(cut=used["fold"] // folds).sort_values(["seed", "fold"])
    used = used[used.groupby(["seed", "cut"])["lr"].transform("size") == folds * len(STUDIED)]
    right = {
        gradient: np.stack([_row(repeat) for _, repeat in group.groupby(["seed", "cut"])])
        for gradient, group in used.groupby("gradient")
    }
    if not right or len(right["full"]) < 2:
        return None
    return Outcomes(right, tuple(Path(path).stem for path in used["path"]))


def _row(runs: "pandas.DataFrame") -> np.ndarray:
    """Which of all examples were right, from the runs of all folds of a cut; of the test examples, if there is one."""
    if len(runs) == 1:
        run = runs.iloc[0]
        return records.unpacked(run["right"], int(run["n_test"]))
    n = int(runs.iloc[0]["n_train"] + runs.iloc[0]["n_test"])
    row = np.zeros(n, dtype=bool)
    for run in runs.to_dict("records"):
        row[records.unpacked(run["tested"], n)] = records.unpacked(run["right"], int(run["n_test"]))
    return row


def protocol_table(found: Sequence[Comparison]) -> "pandas.DataFrame":
    """What each protocol finds, a row for each comparison, with the verdict of :func:`verdicts`.

    Args:
        found: the comparisons, as one family.
    """
    import pandas as pd

    rows: list[dict] = []
    for one in found:
        means = {name: one.outcomes.accuracy(name) for name in STUDIED}
        for other in STUDIED[1:]:
            difference = one.outcomes.difference(other)
            row: dict = {"data set": one.title, "rates": one.protocol, "difference": f"full - {other}"}
            row |= {"points": str(difference), "verdict": "", "margin": f"±{one.margin:.2f}"}
            row |= {"power": f"{100 * difference.power(one.margin):.0f} %", "repeats": one.outcomes.repeats}
            rows.append(row | {name: f"{mean:.2f}" for name, mean in means.items()})
    for row, verdict in zip(rows, (word for pair in verdicts(found) for word in pair), strict=True):
        row["verdict"] = verdict
    return pd.DataFrame(rows)


def costs(found: Sequence[Comparison], title: str) -> dict[str, str]:
    """By how many percentage points ``full`` is below ``leak``, with its interval, for each protocol.

    Args:
        found: comparisons.
        title: how the title of those that are wanted begins.
    """
    lost = {one.protocol: one.outcomes.difference("leak") for one in found if one.title.startswith(title)}
    return {protocol: f"{-one:.2f}" for protocol, one in lost.items()}


def verdicts(found: Sequence[Comparison]) -> list[tuple[str, str]]:
    """Whether ``full`` is higher or lower than ``leak`` and than ``spatial``, or equal to it within the margin.

    The p values of all differences are corrected together by Holm's method, and so are those of all tests of equality.

    Returns:
        For each comparison two words: ``higher``, ``lower``, ``equal`` or ``open``; both of ``higher, equal``, where a
        difference is sure and small.
    """
    differences = [(one.outcomes.difference(other), one.margin) for one in found for other in STUDIED[1:]]
    words = corrected_words(
        [difference.mean for difference, _ in differences],
        [difference.p_value for difference, _ in differences],
        [difference.equivalence(margin) for difference, margin in differences],
    )
    return list(zip(words[::2], words[1::2], strict=True))
