"""Intervals for means and paired differences over repeats, and the tables that show them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tsbp.neuron import GRADIENTS

if TYPE_CHECKING:
    import pandas


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the last axis and half the width of its interval, from Student's t distribution.

    Args:
        values: ``[..., repeats]``; a difference of paired values gives the paired interval.
        confidence: probability that the interval holds the mean.

    Returns:
        Mean and half-width, each ``[...]``; the half-width of a single repeat is NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    repeats = values.shape[-1]
    if repeats < 2:
        return values.mean(-1), np.full(values.shape[:-1], np.nan)
    error = values.std(-1, ddof=1) / np.sqrt(repeats)
    return values.mean(-1), stats.t.ppf((1 + confidence) / 2, repeats - 1) * error


def with_interval(values: np.ndarray, form: str = ".2f") -> str:
    """``97.61 ± 0.24``: the mean with its 95 % interval; the value alone where there is one."""
    mean, half_width = mean_interval(values)
    return f"{mean:{form}}" if np.isnan(half_width) else f"{mean:{form}} ± {half_width:{form.lstrip('+')}}"


def accuracy_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Test accuracy in per cent, a row for runs that differ in gradient and seed alone.

    Args:
        runs: records of ``tsbp train``, as :func:`tsbp.records.load` gives them.

    Returns:
        Mean over seeds of every gradient, and the difference of ``full`` and ``leak`` paired by seed, with intervals.
    """
    import pandas as pd

    rows = []
    settings = runs["command"].str.replace(r" --(gradient|seed) \S+", "", regex=True)
    for _, group in runs.groupby(settings, sort=False):
        first = group.iloc[0]
        by_seed = group.pivot(index="seed", columns="gradient", values="test_accuracy")
        row = {"network": first["network"], "T": first["time_steps"], "epochs": first["epochs"], "seeds": len(by_seed)}
        row |= {name: with_interval(by_seed[name].dropna()) for name in GRADIENTS if name in by_seed}
        if {"full", "leak"} <= set(by_seed):
            row["full - leak"] = with_interval((by_seed["full"] - by_seed["leak"]).dropna(), "+.2f")
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def loss_table(learning_rates: Sequence[float], losses: Mapping[str, np.ndarray]) -> "pandas.DataFrame":
    """Final loss of the single neuron, a row for each learning rate.

    Args:
        learning_rates: one for each row.
        losses: gradient → final loss ``[learning rates, repeats]``.

    Returns:
        Mean over repeats of every gradient, and the difference of ``full`` and ``leak`` paired by repeat.
    """
    import pandas as pd

    rows = []
    for row, rate in enumerate(learning_rates):
        cells = {"learning rate": f"{rate:g}"}
        cells |= {name: with_interval(loss[row], ".3f") for name, loss in losses.items()}
        if {"full", "leak"} <= losses.keys():
            cells["full - leak"] = with_interval(losses["full"][row] - losses["leak"][row], "+.3f")
        rows.append(cells)
    return pd.DataFrame(rows)


def verdicts(labels: Sequence[str], differences: np.ndarray) -> str:
    """Say in words where paired differences are below, above, or not distinguishable from zero.

    Args:
        labels: what each row is called.
        differences: ``[rows, repeats]``.

    Returns:
        For instance ``lower at 0.05, 0.1; not distinguishable at 0.01``.
    """
    found: dict[str, list[str]] = {"lower": [], "higher": [], "not distinguishable": []}
    for label, mean, half_width in zip(labels, *mean_interval(differences), strict=True):
        clear = abs(mean) > half_width
        found["not distinguishable" if not clear else "lower" if mean < 0 else "higher"].append(label)
    return "; ".join(f"{word} at {', '.join(where)}" for word, where in found.items() if where) or "not measured"
