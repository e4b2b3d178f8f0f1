"""Each gradient at its own best learning rate, and all at one: both chosen on held-out examples, tested on fresh seeds.

Intervals cover other seeds and other test examples, which is possible where records say which examples were right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsbp.gradients import STUDIED
from tsbp.runs import records
from tsbp.runs.experiments import Experiment
from tsbp.runs.settings import TrainingConfig
from tsbp.study.comparison import MAY_DIFFER
from tsbp.study.statistics import Crossed, crossed, holm

if TYPE_CHECKING:
    import pandas

PROTOCOLS = ("common", "own")


def tuned(runs: "pandas.DataFrame", tuning: Experiment) -> "pandas.DataFrame":
    """The learning rates that held-out examples prefer.

    Args:
        runs: records of ``tsbp train``.
        tuning: an experiment with ``--validation`` over learning rates; under cross-validation over folds too.

    Returns:
        A row for each fold, a column for each of the three gradients with its own best rate, and ``common``, the rate
        with the best mean over them. Means are over seeds; of rates that are equally good, the smallest is taken. Folds
        count whose runs are all recorded.
    """
    import pandas as pd

    found = records.select(runs, tuning.config, but=("lr", "fold", *MAY_DIFFER)) if len(runs) else runs
    rows = {}
    wanted = len({(one.lr, one.seed, one.gradient) for one in tuning.configs if isinstance(one, TrainingConfig)})
    for fold, group in found.groupby("fold") if len(found) else ():
        if len(group.drop_duplicates(["lr", "seed", "gradient"])) < wanted:
            continue
        means = group.pivot_table(index="lr", columns="gradient", values="validation_accuracy")[list(STUDIED)]
        rows[fold] = {"common": means.mean(axis=1).idxmax(), **means.idxmax()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["common", *STUDIED])


@dataclass(frozen=True)
class Outcomes:
    """Which examples each gradient gets right, under one protocol."""

    right: dict[str, np.ndarray]
    """Gradient → ``[repeats, examples]`` of bool; the repeats, seeds and cuts into folds, are paired."""

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
    runs: "pandas.DataFrame", experiment: Experiment, rates: "pandas.DataFrame | None" = None
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
    found = records.select(runs, config, but=("lr", "fold", *MAY_DIFFER)) if len(runs) else runs
    seeds = {one.seed for one in experiment.configs if isinstance(one, TrainingConfig)}
    repeats: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for (seed, cut), group in _repeats(found, seeds, max(config.folds, 1)):
        rows = {}
        for gradient in STUDIED:
            folds = group[group["gradient"] == gradient]
            if rates is None:
                folds = folds[folds["lr"] == config.lr]
            else:
                chosen = folds["fold"].map(rates[gradient])  # NaN, and so no run, for a fold that has none
                folds = folds[folds["lr"] == chosen]
            if (row := _row(folds, max(config.folds, 1))) is not None:
                rows[gradient] = row
        if len(rows) == len(STUDIED):
            repeats[seed, cut] = rows
    if len(repeats) < 2:
        return None
    return Outcomes({name: np.stack([rows[name] for rows in repeats.values()]) for name in STUDIED})


def _repeats(found: "pandas.DataFrame", seeds: set[int], folds: int) -> Any:
    """Pairs of (seed, cut) and their runs."""
    if not len(found):
        return ()
    found = found[found["seed"].isin(seeds)]
    return found.groupby(["seed", found["fold"] // folds])


def _row(runs: "pandas.DataFrame", folds: int) -> np.ndarray | None:
    """Which examples were right, from the runs of all folds; None if one is missing."""
    runs = runs.drop_duplicates("fold")
    if len(runs) < folds:
        return None
    if folds == 1:
        run = runs.iloc[0]
        return records.unpacked(run["right"], int(run["n_test"]))
    n = int(runs.iloc[0]["n_train"] + runs.iloc[0]["n_test"])
    row = np.zeros(n, dtype=bool)
    for run in runs.to_dict("records"):
        row[records.unpacked(run["tested"], n)] = records.unpacked(run["right"], int(run["n_test"]))
    return row


def protocol_table(found: Sequence[tuple[str, str, Outcomes, float]]) -> "pandas.DataFrame":
    """What each protocol finds, a row for each comparison of a data set; p values corrected over all of them by Holm.

    Args:
        found: data set, protocol, runs, and the margin within which a difference counts as none.
    """
    import pandas as pd

    rows: list[dict] = []
    for title, protocol, runs, margin in found:
        means = {name: f"{runs.accuracy(name).mean:.2f} ± {runs.accuracy(name).half_width:.2f}" for name in STUDIED}
        for other in STUDIED[1:]:
            difference = runs.difference(other)
            rows.append({"data set": title, "rates": protocol, "repeats": runs.repeats} | means)
            rows[-1] |= {"difference": f"full - {other}", "points": str(difference), "p": difference.p_value}
            rows[-1] |= {"equal": difference.equivalence(margin), "margin": margin, "mean": difference.mean}
    corrected, equal = (holm([row[name] for row in rows]) for name in ("p", "equal"))
    for row, p, q in zip(rows, corrected, equal, strict=True):
        word = "open" if p >= 0.05 else "higher" if row["mean"] > 0 else "lower"
        word = ("equal" if word == "open" else f"{word}, equal") if q < 0.05 else word
        row |= {"p": f"{p:.3f}", "equal": f"{q:.3f}", "margin": f"±{row['margin']:.2f}", "verdict": word}
        del row["mean"]
    return pd.DataFrame(rows)
