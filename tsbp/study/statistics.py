"""Intervals for means and paired differences over repeats, tests of equality, and many comparisons at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

MARGIN = 0.1
"""Percentage points of accuracy below which a difference is called none: ten of ten thousand test images."""


def margin_for(n_test: int) -> float:
    """:data:`MARGIN` for a test set of ten thousand, larger for a smaller one as the error of an accuracy is.

    Args:
        n_test: number of examples that are tested.
    """
    return MARGIN * np.sqrt(10_000 / n_test)


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


def bootstrap_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile bootstrap interval of the mean over the last axis; for skewed values such as losses.

    Args:
        values: ``[..., repeats]``; a difference of paired values gives the paired interval.
        confidence: probability that the interval holds the mean.

    Returns:
        Lower and upper end, each ``[...]``, NaN for a single repeat. The resampling is seeded: the same values give
        the same interval.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan), np.full(values.shape[:-1], np.nan)
    found = stats.bootstrap(
        (values,), np.mean, axis=-1, confidence_level=confidence, method="percentile", batch=500, rng=0
    )
    return found.confidence_interval.low, found.confidence_interval.high


def crossover(rates: Sequence[float], differences: np.ndarray, resamples: int = 2000) -> tuple[float, float, float]:
    """Learning rate at which the mean difference first turns from above zero to below, with its 95 % interval.

    The mean is interpolated linearly over the logarithm of the rate; the interval comes from resampling whole repeats,
    so that the draws of a repeat stay together over all rates. A mean that does not turn within the rates turns outside
    them: below the smallest if it is at or below zero there, else above the largest.

    Args:
        rates: learning rates, increasing.
        differences: ``[rates, repeats]``.
        resamples: number of bootstrap samples.

    Returns:
        Estimate, lower and upper end. 0 stands for a turn below the smallest rate, infinity for one above the largest:
        an interval whose lower end is 0 is open below, one whose upper end is infinite is open above.
    """
    differences = np.asarray(differences, dtype=np.float64)
    random = np.random.default_rng(0)
    repeats = differences.shape[1]
    samples = [differences[:, random.integers(0, repeats, repeats)].mean(1) for _ in range(resamples)]
    falls = np.sort([_first_fall(np.log(rates), sample) for sample in samples])
    low, high = (falls[round(q * (resamples - 1))] for q in (0.025, 0.975))
    found = np.exp([_first_fall(np.log(rates), differences.mean(1)), low, high])
    return float(found[0]), float(found[1]), float(found[2])


def _first_fall(x: np.ndarray, y: np.ndarray) -> float:
    """Where the broken line through the points first crosses zero downwards; infinite where it does so outside them."""
    for i in range(len(x) - 1):
        if y[i] > 0 >= y[i + 1]:
            return x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1])
    return np.inf if y[0] > 0 else -np.inf


def equivalence(differences: np.ndarray, margin: float = MARGIN) -> float:
    """Two one-sided t tests (TOST) that the mean of paired differences lies within ``± margin``.

    That no difference is found does not show that there is none; this test can.

    Args:
        differences: ``[repeats]``.
        margin: half the width of what counts as equal, chosen before looking.

    Returns:
        The larger of both p values: below 0.05, the differences count as none. NaN for a single repeat.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if len(differences) < 2:
        return np.nan
    above = stats.ttest_1samp(differences, -margin, alternative="greater")
    below = stats.ttest_1samp(differences, margin, alternative="less")
    return float(max(above.pvalue, below.pvalue))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values of a family of comparisons, corrected for their number by Holm's method; NaN stays, uncounted."""
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(p)
    corrected = np.full(p.shape, np.nan)
    if known.any():
        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


def corrected_words(means: Sequence[float], apart: Sequence[float], equal: Sequence[float]) -> list[str]:
    """What a family of comparisons shows, each a difference, an equality, both, or nothing sure.

    Args:
        means: of the differences.
        apart: p values that they are zero, which are corrected together by :func:`holm`.
        equal: p values that they lie outside their margins, which are corrected together too.

    Returns:
        ``higher`` or ``lower``, ``equal``, both, as in ``higher, equal``, or ``open``.
    """
    words = []
    for mean, p, q in zip(means, holm(apart), holm(equal), strict=True):
        said = (["higher" if mean > 0 else "lower"] if p < 0.05 else []) + (["equal"] if q < 0.05 else [])
        words.append(", ".join(said) or "open")
    return words


@dataclass(frozen=True)
class Crossed:
    """Mean of a table of repeats x examples, and how sure it is, from :func:`crossed`."""

    mean: float
    error: float
    """Standard error of the mean, for other repeats and other examples."""
    df: float
    """Degrees of freedom of Student's t distribution."""

    @property
    def half_width(self) -> float:
        """Of the 95 % interval."""
        return float(stats.t.ppf(0.975, self.df) * self.error)

    @property
    def p_value(self) -> float:
        """That the mean is zero, two-sided."""
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.df)) if self.error else float(self.mean == 0)

    def equivalence(self, margin: float) -> float:
        """p value of two one-sided t tests that the mean lies within ``± margin``, as :func:`equivalence`."""
        if not self.error:
            return float(abs(self.mean) >= margin)
        return float(stats.t.sf((margin - abs(self.mean)) / self.error, self.df))

    def not_above(self, margin: float) -> float:
        """p value of a one-sided t test that the mean lies below the margin."""
        if not self.error:
            return float(self.mean >= margin)
        return float(stats.t.sf((margin - self.mean) / self.error, self.df))

    def power(self, margin: float) -> float:
        """Probability that :meth:`equivalence` is below 0.05 if the mean is zero, with the error that it has."""
        if not self.error:
            return float(margin > 0)
        reach = margin / self.error - stats.t.ppf(0.95, self.df)
        return float(max(0.0, 2 * stats.t.cdf(reach, self.df) - 1))

    def __neg__(self) -> "Crossed":
        """The same of the values with the other sign."""
        return replace(self, mean=-self.mean)

    def __format__(self, form: str) -> str:
        """Mean and half-width, as ``4.8 ± 1.3`` for ``.1f``; a sign that is asked for is that of the mean."""
        form = form or "+.2f"
        return f"{self.mean:{form}} ± {self.half_width:{form.lstrip('+')}}"

    def __str__(self) -> str:
        """``+0.12 ± 0.30``."""
        return format(self)


def crossed(values: np.ndarray) -> Crossed:
    """Mean over repeats and examples with an error that covers both: another seed, and other test examples.

    An analysis of variance with two crossed random effects (Searle, Casella and McCulloch 1992): the mean squares of
    repeats and of examples, less that of what is left, which both contain. Degrees of freedom by Satterthwaite's rule.

    Args:
        values: ``[repeats, examples]``, two or more of each; for instance a paired difference of right and wrong.
    """
    values = np.asarray(values, dtype=np.float64)
    repeats, examples = values.shape
    mean = values.mean()
    rows, columns = values.mean(1), values.mean(0)
    rest = values - rows[:, None] - columns + mean
    squares = (
        examples * rows.var(ddof=1),
        repeats * columns.var(ddof=1),
        (rest**2).sum() / ((repeats - 1) * (examples - 1)),
    )
    freedom = (repeats - 1, examples - 1, (repeats - 1) * (examples - 1))
    total = squares[0] + squares[1] - squares[2]
    if total < max(squares[:2]):  # an effect that is not there is estimated below zero; then the other one is all
        which = int(squares[1] > squares[0])
        total, squares, freedom = squares[which], squares[which : which + 1], freedom[which : which + 1]
    df = total**2 / sum(square**2 / free for square, free in zip(squares, freedom, strict=True)) if total else 1.0
    return Crossed(float(mean), float(np.sqrt(total / (repeats * examples))), float(df))


def equal_within(differences: np.ndarray) -> float:
    """The smallest margin for which :func:`equivalence` stays at or below 0.05: no margin need be agreed on."""
    mean, half_width = mean_interval(differences, confidence=0.9)
    return float(np.abs(mean) + half_width)


def with_interval(values: np.ndarray, form: str = ".2f") -> str:
    """``97.61 ± 0.24``: the mean with its 95 % interval; the value alone where there is one."""
    mean, half_width = mean_interval(values)
    return f"{mean:{form}}" if np.isnan(half_width) else f"{mean:{form}} ± {half_width:{form.lstrip('+')}}"


def p_values(differences: np.ndarray) -> np.ndarray:
    """Paired t test of every row that its mean is zero, corrected for the number of rows by Holm's method.

    Args:
        differences: ``[rows, repeats]``.

    Returns:
        ``[rows]``; NaN for rows of a single repeat.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.shape[-1] < 2:
        return np.full(len(differences), np.nan)
    mean, error = differences.mean(1), stats.sem(differences, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # repeats that are all alike
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    return holm(2 * stats.t.sf(t, differences.shape[1] - 1))


def verdicts(labels: Sequence[str], differences: np.ndarray) -> str:
    """Say in words where paired differences are below, above, or not distinguishable from zero.

    The rows are one family: a difference is one whose :func:`p_values` is below 0.05.

    Args:
        labels: what each row is called.
        differences: ``[rows, repeats]``.

    Returns:
        For instance ``lower at 0.05, 0.1; not distinguishable at 0.01``.
    """
    found: dict[str, list[str]] = {"lower": [], "higher": [], "not distinguishable": []}
    for label, mean, p in zip(labels, np.mean(differences, axis=-1), p_values(differences), strict=True):
        word = ("higher" if mean > 0 else "lower") if p < 0.05 else "not distinguishable"
        found[word].append(label)
    return "; ".join(f"{word} at {', '.join(where)}" for word, where in found.items() if where) or "not measured"


def ratio_interval(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Median of paired ratios with its 95 % bootstrap interval: how many times as long, round by round.

    Args:
        values: one a round.
        reference: of the same rounds, two or more.

    Returns:
        Median, lower and upper end.
    """
    ratios = np.asarray(values, dtype=np.float64) / np.asarray(reference, dtype=np.float64)
    found = stats.bootstrap((ratios,), np.median, axis=-1, method="percentile", n_resamples=5000, rng=0)
    ends = found.confidence_interval
    return float(np.median(ratios)), float(ends.low), float(ends.high)


def ratio_intervals(
    seconds: Mapping[str, Sequence[float]], reference: str = "tsbp full"
) -> dict[str, tuple[float, float, float]]:
    """:func:`ratio_interval` of every candidate of a benchmark to one of them.

    Args:
        seconds: candidate → time of each round.
        reference: the candidate that the others are compared with.
    """
    return {name: ratio_interval(times, seconds[reference]) for name, times in seconds.items()}


def whole_neurons(measured: Mapping[str, Any]) -> dict[str, Any]:
    """What a record of ``tsbp bench`` has of the same neuron: without copying, and without *spikes alone*."""
    return {name: value for name, value in measured.items() if name != "copy" and "(" not in name}
