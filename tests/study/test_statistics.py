"""Intervals and tests against SciPy, simulation, and values worked by hand."""

import numpy as np
import pytest
from scipy import stats

from tsbp.study.statistics import (
    Crossed,
    bootstrap_interval,
    crossed,
    crossover,
    equal_within,
    equivalence,
    holm,
    margin_for,
    mean_interval,
    p_values,
    verdicts,
    with_interval,
)


def test_mean_interval_equals_the_t_test_of_scipy():
    values = np.random.default_rng(0).normal(2, 3, (4, 12))
    mean, half_width = mean_interval(values)
    for row in range(4):
        expected = stats.ttest_1samp(values[row], 0).confidence_interval(0.95)
        assert mean[row] - half_width[row] == pytest.approx(expected.low)
        assert mean[row] + half_width[row] == pytest.approx(expected.high)
    assert np.isnan(mean_interval([5.0])[1])


def test_bootstrap_interval_holds_the_mean_as_often_as_it_says():
    """200 studies of 40 skewed values: about 95 % of the intervals hold the true mean (1)."""
    values = np.random.default_rng(1).exponential(1.0, (200, 40))
    low, high = bootstrap_interval(values)
    assert 0.88 < ((low < 1) & (high > 1)).mean() < 0.98
    assert np.array_equal(low, bootstrap_interval(values)[0])
    assert np.isnan(bootstrap_interval(values[:, :1])).all()


def test_crossover_by_hand():
    """Differences 1, 1, -1 at 1, 10, 100: zero halfway between 10 and 100 on the logarithmic axis."""
    differences = np.array([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    assert crossover([1, 10, 100], differences) == pytest.approx((10**1.5,) * 3)


@pytest.mark.parametrize(("sign", "outside"), [(1.0, np.inf), (-1.0, 0.0)])
def test_a_crossing_outside_the_rates_is_on_the_side_where_it_must_be(sign, outside):
    """Above zero at every rate, it turns above the largest; below zero at every rate, it has turned already."""
    differences = sign * np.array([[1.0, 1.1], [2.0, 2.1], [1.0, 1.1]])
    assert crossover([1, 10, 100], differences) == (outside,) * 3


def test_a_difference_that_only_rises_has_turned_below_the_rates():
    assert crossover([1, 10, 100], np.array([[-1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]])) == (0.0,) * 3


REPEATS = np.array([1.0, -1.0] * 8)
"""A spread with mean zero; resampled, its mean is as often above zero as below."""


@pytest.mark.parametrize(
    ("first", "last", "open_below", "open_above"),
    [
        (0.1 + REPEATS, -1 + 0 * REPEATS, True, False),
        (1 + 0 * REPEATS, -0.1 + REPEATS, False, True),
        (0.1 + REPEATS, -0.1 + REPEATS, True, True),
        (1 + 0 * REPEATS, -1 + 0.1 * REPEATS, False, False),
    ],
    ids=["open below", "open above", "open on both sides", "closed"],
)
def test_the_interval_of_a_crossing_is_open_on_the_side_where_samples_leave_the_rates(
    first, last, open_below, open_above
):
    """The mean turns between 1 and 10; whether a sample does depends on its first or last difference."""
    estimate, low, high = crossover([1, 10], np.array([first, last]))
    assert 1 < estimate < 10
    assert (low == 0) == open_below and (high == np.inf) == open_above
    assert open_below or 1 <= low <= estimate
    assert open_above or estimate <= high <= 10


def test_crossover_interval_holds_the_truth():
    random = np.random.default_rng(2)
    truth = np.array([1.0, 0.4, -0.2, -1.0])  # crosses at 10^(1 + 2/3)
    estimate, low, high = crossover([1, 10, 100, 1000], truth[:, None] + random.normal(0, 1, (4, 400)))
    assert low < 10 ** (1 + 2 / 3) < high
    assert low <= estimate <= high < 300


def test_with_interval():
    assert with_interval([1.0, 3.0]) == f"2.00 ± {stats.t.ppf(0.975, 1):.2f}"
    assert with_interval([1.0]) == "1.00"
    assert with_interval([-1.0], "+.1f") == "-1.0"


def test_verdicts():
    differences = np.array([[-1.0, -1.1, -0.9, -1.0], [2.0, 2.1, 1.9, 2.0], [-1.0, 1.0, -1.1, 1.1]])
    assert verdicts(["a", "b", "c"], differences) == "lower at a; higher at b; not distinguishable at c"
    assert verdicts([], differences[:0]) == "not measured"


def test_verdicts_are_corrected_for_the_number_of_rows():
    """A difference that is sure by itself (p = 0.03) is not one of three that might have been."""
    unsure = np.array([-0.35, -0.2, -0.9, -0.7])
    assert stats.ttest_1samp(unsure, 0).pvalue == pytest.approx(0.04, abs=0.015)
    nothing = np.array([1.0, -1.0, 1.0, -1.0])
    assert verdicts(["a"], unsure[None]) == "lower at a"
    assert verdicts(["a", "b", "c"], np.stack([unsure, nothing, -nothing])) == "not distinguishable at a, b, c"
    assert p_values(np.stack([unsure, nothing])) == pytest.approx([2 * stats.ttest_1samp(unsure, 0).pvalue, 1.0])
    assert np.isnan(p_values(np.ones((2, 1)))).all()


def test_equivalence_by_hand():
    """Mean 0.1 and standard error 0.1 of four: t = 2 at a margin of 0.3, either one-sided test of it."""
    differences = 0.1 + 0.2 * np.array([-1.0, -1.0, 1.0, 1.0]) * np.sqrt(3) / 2
    assert equivalence(differences, 0.3) == pytest.approx(stats.t.sf(2, 3))
    assert equivalence(-differences, 0.3) == pytest.approx(stats.t.sf(2, 3))
    assert equivalence(differences, 0.05) > 0.5
    assert np.isnan(equivalence([1.0], 0.3))


def test_equal_within_is_the_margin_at_which_equivalence_turns():
    differences = np.random.default_rng(0).normal(0.02, 0.1, 7)
    margin = equal_within(differences)
    assert equivalence(differences, margin) == pytest.approx(0.05)


def test_equivalence_errs_as_often_as_it_says():
    """At the edge of what counts as equal, it wrongly says equal in one case of twenty."""
    samples = np.random.default_rng(1).normal(1.0, 1.0, (2000, 30))
    wrong = np.mean([equivalence(sample, 1.0) < 0.05 for sample in samples])
    assert 0.035 < wrong < 0.065


def test_crossed_effects_by_hand():
    """Rows 0, 0 and 2, 4: row means 0 and 3, column means 1 and 2, what is left ±1/2."""
    found = crossed(np.array([[0.0, 0.0], [2.0, 4.0]]))
    rows, columns, rest = 2 * 4.5, 2 * 0.5, 4 * 0.25
    total = rows + columns - rest
    assert found.mean == 1.5 and found.error == pytest.approx((total / 4) ** 0.5)
    assert found.df == pytest.approx(total**2 / (rows**2 + columns**2 + rest**2))


def test_without_an_effect_of_examples_it_is_the_t_test_over_repeats():
    rows = np.random.default_rng(0).normal(1, 2, 6)
    found = crossed(np.repeat(rows[:, None], 50, axis=1))
    expected = stats.ttest_1samp(rows, 0)
    assert found.half_width == pytest.approx(mean_interval(rows)[1])
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.equivalence(2.0) == pytest.approx(equivalence(rows, 2.0))
    assert str(found) == f"{rows.mean():+.2f} ± {found.half_width:.2f}"


@pytest.mark.parametrize(("seeds", "examples", "rest"), [(0.5, 0.0, 3.0), (0.0, 1.0, 3.0), (0.3, 1.0, 2.0)])
def test_crossed_intervals_cover_other_seeds_and_other_examples(seeds, examples, rest):
    random = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        values = random.normal(0, seeds, (6, 1)) + random.normal(0, examples, (1, 80)) + random.normal(0, rest, (6, 80))
        found = crossed(values)
        held += abs(found.mean) <= found.half_width
    assert held >= 0.93 * 300


def test_nothing_differs():
    found = crossed(np.zeros((3, 4)))
    assert (found.mean, found.error, found.p_value, found.equivalence(0.1)) == (0, 0, 1, 0)


def test_holm_by_hand():
    """0.01, 0.02 and 0.03 times 3, 2 and 1, none below the one before; a comparison without p value does not count."""
    assert holm([0.02, 0.01, np.nan, 0.03]) == pytest.approx([0.04, 0.03, np.nan, 0.04], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


def test_the_margin_grows_as_the_error_of_an_accuracy():
    assert margin_for(10_000) == 0.1 and margin_for(2_500) == pytest.approx(0.2)


def test_power_is_how_often_equality_is_shown_if_there_is_no_difference():
    random = np.random.default_rng(4)
    shown = np.mean([equivalence(random.normal(0, 0.1, 10), 0.1) < 0.05 for _ in range(1000)])
    assert Crossed(0.03, 0.1 / np.sqrt(10), 9).power(0.1) == pytest.approx(shown, abs=0.06)
    assert Crossed(0.0, 1.0, 9).power(0.1) == 0
    assert Crossed(0.0, 0.0, 9).power(0.1) == 1


def test_a_one_sided_test_by_hand():
    """Equality is the harder of both sides; what is far below zero is surely not above."""
    found = crossed(np.random.default_rng(3).normal(-1, 4, (12, 50)))
    assert found.not_above(0.5) == pytest.approx(stats.t.sf((0.5 - found.mean) / found.error, found.df))
    assert found.equivalence(0.5) == pytest.approx(max(found.not_above(0.5), (-found).not_above(0.5)))
    assert crossed(np.zeros((3, 4))).not_above(0.1) == 0 and crossed(np.ones((3, 4))).not_above(0.1) == 1
