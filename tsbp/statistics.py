"""Intervals for means and paired differences over repeats."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


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
