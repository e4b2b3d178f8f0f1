"""Robustness to the learning rate as a number: how many decades of learning rates work, with an interval.

A rate is usable if the mean result there is within a stated distance of the best mean of any of the three gradients at
any rate. The usable rates around a gradient's own best one are its range; its width is in factors of ten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tsbp.gradients import STUDIED, ordered
from tsbp.runs import experiments
from tsbp.runs.toy import ToyConfig
from tsbp.study.studies import by_value, loss_study, study

if TYPE_CHECKING:
    import pandas
    import torch

LOSS_DISTANCE = 0.2
"""Mean final loss of the single neuron by which a usable rate may be above the best; its initial loss is about 1."""
ACCURACY_DISTANCE = 2.0
"""Percentage points by which a usable rate of a network may be below the best mean accuracy."""
FACTORS = (0.5, 1.0, 1.5)
"""Of these distances, for which conclusions are to hold."""
RESAMPLES = 10_000
_FAILED = 1e9
"""What a run that failed counts as; an infinity would spoil the means of samples that leave it out."""
FOLDERS = ("widths", "settings")
"""Of the experiments over learning rates."""
NEURON = "widths/neuron-sgd"
"""That of the paper's claim: the single neuron under SGD."""


@dataclass(frozen=True)
class RateStudy:
    """What was reached over learning rates, the smaller the better."""

    title: str
    rates: np.ndarray
    """Increasing, ``[rates]``."""
    results: Mapping[str, np.ndarray]
    """Gradient → final loss of the single neuron, or test error of a network in per cent, ``[rates, repeats]``; the
    repeats are paired: the same draws or seeds for every gradient and rate."""
    distance: float
    """From the best mean, up to which a mean is usable."""
    best_of: tuple[str, ...] = STUDIED
    """Gradients whose best mean counts."""


@dataclass(frozen=True)
class Widths:
    """Widths of the usable ranges of one study in decades, from :func:`widths`; brackets are 95 % intervals."""

    ranges: Mapping[str, tuple[float, float]]
    """Gradient → smallest and largest usable rate; NaN where none is."""
    open_below: Mapping[str, bool]
    """Whether the range reaches the smallest rate tried, or may begin below it, so that its lower end is not known."""
    open_above: Mapping[str, bool]
    """The same of the largest."""
    widths: Mapping[str, tuple[float, float, float]]
    """Gradient → width, lower and upper end of its interval; the upper end is infinite where rates that were not tried
    may be usable."""
    differences: Mapping[str, tuple[float, float, float]]
    """Other gradient → width of ``full`` minus its width, with the paired interval."""


def rate_studies(runs: "pandas.DataFrame") -> Iterator[RateStudy]:
    """All experiments over learning rates in ``FOLDERS`` that have records for two or more seeds at each rate.

    Those whose best mean lies at the smallest or the largest rate recorded are left out, unfinished ones above all:
    what is usable depends on the best, which may lie beyond.

    Args:
        runs: records of ``tsbp train``.
    """
    for experiment in (one for folder in FOLDERS for one in experiments.named(folder)):
        if isinstance(experiment.config, ToyConfig):
            with suppress(FileNotFoundError):  # of the record
                rates, losses = loss_study(experiment)
                yield RateStudy(experiment.title, np.array(rates), losses, LOSS_DISTANCE)
        elif experiment.axis == "lr" and len(found := study(runs, experiment)):
            accuracy = by_value(found[found["gradient"].isin(STUDIED)])
            seeds = [seed for seed, rows in accuracy.T.groupby("seed") if rows.notna().all(axis=None)]
            if len(seeds) > 1:
                errors = {name: 100 - accuracy[name][seeds].to_numpy() for name in STUDIED}
                best = np.min([error.mean(1) for error in errors.values()], axis=0).argmin()
                if 0 < best < len(accuracy) - 1:
                    yield RateStudy(experiment.title, accuracy.index.to_numpy(), errors, ACCURACY_DISTANCE)


def widths(studied: RateStudy, distance: float | None = None) -> Widths:
    """Widths of the usable ranges, and paired differences to ``full``, with bootstrap intervals over repeats.

    Whole repeats are drawn, for all gradients and rates alike. The percentiles are widened for few repeats as Student's
    t distribution is (Hesterberg 2015), without which an interval over five seeds would be too short.

    Args:
        studied: results over learning rates.
        distance: from the best mean; None: that of the study.
    """
    distance = studied.distance if distance is None else distance
    results = {name: np.where(np.isfinite(values), values, _FAILED) for name, values in studied.results.items()}
    repeats = next(iter(results.values())).shape[1]
    random = np.random.default_rng(0)
    shares = random.multinomial(repeats, np.full(repeats, 1 / repeats), RESAMPLES).T / repeats
    shares = np.concatenate([np.full((repeats, 1), 1 / repeats), shares], axis=1)  # the first sample is what was found
    means = {name: values @ shares for name, values in results.items()}
    limit = np.min([means[name].min(0) for name in means if name in studied.best_of], axis=0) + distance
    found = {name: _usable(np.log10(studied.rates), values, limit) for name, values in means.items()}
    decades = {name: one.high - one.low for name, one in found.items()}
    most = {name: np.where(one.open_below | one.open_above, np.inf, decades[name]) for name, one in found.items()}
    ranges = {
        name: (10 ** one.low[0], 10 ** one.high[0]) if one.any[0] else (np.nan, np.nan) for name, one in found.items()
    }
    return Widths(
        ranges,
        {name: bool(one.open_below[0]) for name, one in found.items()},
        {name: bool(one.open_above[0]) for name, one in found.items()},
        {name: _interval(decades[name], most[name], repeats) for name in found},
        {
            name: _interval(
                decades["full"] - most[name],
                most["full"] - decades[name],
                repeats,
                decades["full"][0] - decades[name][0],
            )
            for name in found
            if name != "full" and "full" in found
        },
    )


@dataclass(frozen=True)
class _Usable:
    """Ends of usable ranges, as powers of ten, for each sample ``[samples]``."""

    low: np.ndarray
    high: np.ndarray
    open_below: np.ndarray
    open_above: np.ndarray
    any: np.ndarray


def _usable(x: np.ndarray, means: np.ndarray, limit: np.ndarray) -> _Usable:
    """The range around the best rate in which a mean stays at or below the limit, interpolated linearly over x.

    Args:
        x: logarithms of the rates, ``[rates]``.
        means: ``[rates, samples]``.
        limit: ``[samples]``.
    """
    samples = np.arange(means.shape[1])
    inside = means <= limit
    best = means.argmin(0)
    ends = []
    for step, last in ((-1, 0), (1, len(x) - 1)):
        place = best.copy()
        for _ in range(len(x) - 1):
            beyond = np.clip(place + step, 0, len(x) - 1)
            place = np.where(inside[beyond, samples] & inside[place, samples], beyond, place)
        beyond = np.clip(place + step, 0, len(x) - 1)
        here, there = means[place, samples], means[beyond, samples]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(place == last, 0.0, (limit - here) / (there - here))
        ends.append((x[place] + share * (x[beyond] - x[place]), place == last))
    usable = inside[best, samples]
    (low, open_below), (high, open_above) = ends
    low, high = np.where(usable, low, 0.0), np.where(usable, high, 0.0)
    # Where no rate is usable and the best is at an end, one beyond it may be.
    return _Usable(low, high, open_below & (usable | (best == 0)), open_above & (usable | (best == len(x) - 1)), usable)


def _interval(
    least: np.ndarray, most: np.ndarray, repeats: int, estimate: float | None = None
) -> tuple[float, float, float]:
    """Estimate and ends of the interval of a quantity that is only known to lie between two values in each sample.

    The first sample is what was found, the others are drawn.
    """
    alpha = stats.norm.cdf(-np.sqrt(repeats / (repeats - 1)) * stats.t.ppf(0.975, repeats - 1))
    low = np.quantile(least[1:], alpha, method="lower")
    high = np.quantile(most[1:], 1 - alpha, method="higher")
    return float(least[0] if estimate is None else estimate), float(low), float(high)


def relative_lengths(along: Mapping[str, "torch.Tensor"]) -> dict[str, np.ndarray]:
    """Length of every gradient in multiples of that of ``spatial``, the median over a training, ``[repeats]``.

    Args:
        along: gradients at the same weights, ``[iterations, repeats, inputs]``, as :func:`.compare_along` gives them.
    """
    lengths = {name: gradient.norm(dim=2) for name, gradient in along.items()}
    return {name: (length / lengths["spatial"]).nanmedian(0).values.numpy() for name, length in lengths.items()}


def collapse(
    rates: Sequence[float] | np.ndarray, losses: Mapping[str, np.ndarray], lengths: Mapping[str, np.ndarray]
) -> tuple[float, float, float]:
    """How much of the difference between two loss curves goes if each rate is multiplied by the gradient's length.

    The difference is the area between the mean curves over the logarithm of the rate, in which they are linear between
    two rates and constant beyond the last ones.

    Args:
        rates: learning rates, increasing.
        losses: the two gradients → final loss ``[rates, repeats]``.
        lengths: the same two → length of the gradient, for as many of these repeats as it was measured, the first ones.

    Returns:
        Share, lower and upper end of its 95 % bootstrap interval over repeats. 1: the curves become one; 0: nothing
        goes; negative: they move apart.
    """
    x = np.log(np.asarray(rates, dtype=np.float64))
    first, second = losses
    ratio = np.log(lengths[first]) - np.log(lengths[second])
    repeats = len(ratio)
    pair = [np.asarray(losses[name])[:, :repeats] for name in (first, second)]
    random = np.random.default_rng(0)
    found = []
    for sample in [np.arange(repeats), *random.integers(0, repeats, (2000, repeats))]:
        one, other = (values[:, sample].mean(1) for values in pair)
        shift = np.nanmean(ratio[sample])
        found.append(1 - _between(x + shift, one, x, other) / _between(x, one, x, other))
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return float(found[0]), float(low), float(high)


def _between(x: np.ndarray, y: np.ndarray, other_x: np.ndarray, other_y: np.ndarray) -> float:
    """Area between two broken lines."""
    grid = np.linspace(min(x[0], other_x[0]), max(x[-1], other_x[-1]), 500)
    return float(np.trapezoid(np.abs(np.interp(grid, x, y) - np.interp(grid, other_x, other_y)), grid))


def width_table(found: Mapping[str, Widths]) -> "pandas.DataFrame":
    """Width of the range of usable learning rates in decades, and paired differences to ``full``, a row for each study.

    Args:
        found: title → widths.
    """
    import pandas as pd

    rows = []
    for title, one in found.items():
        row = {"study": title} | {f"full - {name}": in_decades(*ends, "+") for name, ends in one.differences.items()}
        rows.append(row | {name: in_decades(*one.widths[name]) for name in ordered(one.widths)})
    return pd.DataFrame(rows).fillna("")


def sensitivity_table(studies: Iterable[RateStudy]) -> "pandas.DataFrame":
    """The paired differences of :func:`width_table` for other distances from the best that count as usable.

    Args:
        studies: results over learning rates.
    """
    import pandas as pd

    rows = []
    for one in studies:
        found = {factor: widths(one, factor * one.distance) for factor in FACTORS}
        for other in found[1.0].differences:
            row = {"study": one.title, "difference": f"full - {other}"}
            rows.append(row | {f"× {f:g}": in_decades(*found[f].differences[other], "+") for f in FACTORS})
    return pd.DataFrame(rows)


def in_decades(width: float, low: float, high: float, sign: str = "") -> str:
    """``1.07 [1.01, 1.12]``; an end that depends on rates that were not tried is open: ``0.90 [0.81, ...)``."""
    ends = (f"{low:{sign}.2f}" if np.isfinite(low) else "...", f"{high:{sign}.2f}" if np.isfinite(high) else "...")
    left, right = "[" if np.isfinite(low) else "(", "]" if np.isfinite(high) else ")"
    return f"{width:{sign}.2f} {left}{', '.join(ends)}{right}"
