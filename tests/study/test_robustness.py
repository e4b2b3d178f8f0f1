"""Widths of usable ranges by hand and by simulation; how much the lengths of gradients explain."""

import numpy as np
import pandas as pd
import pytest

from tsbp.runs import experiments, records
from tsbp.study.robustness import RateStudy, collapse, in_decades, rate_studies, width_table, widths


def studied(rates, distance=1.0, **results) -> RateStudy:
    """Results that are the same in each of four repeats, or an array of them."""
    shaped = {name: np.array(values, dtype=float) for name, values in results.items()}
    shaped = {name: np.repeat(x[:, None], 4, axis=1) if x.ndim == 1 else x for name, x in shaped.items()}
    return RateStudy("made up", np.array(rates, dtype=float), shaped, distance)


def test_a_width_by_hand():
    """The best mean is 1, so that up to 2 is usable: halfway from 3 to 1, and a third of the way from 1 to 4."""
    found = widths(studied([1, 10, 100, 1000], full=[3, 1, 1, 4], leak=[3, 1, 3, 3]))
    assert found.ranges["full"] == pytest.approx((10**0.5, 10 ** (2 + 1 / 3)))
    width = 1.5 + 1 / 3
    assert found.widths["full"] == pytest.approx((width,) * 3)
    assert found.widths["leak"] == pytest.approx((1.0,) * 3)
    assert found.differences["leak"] == pytest.approx((width - 1,) * 3)
    assert not (found.open_below["full"] or found.open_above["full"])


def test_a_range_that_reaches_the_end_of_the_rates_is_open_there():
    """It is at least as wide as what was tried, and a difference is known on one side alone."""
    found = widths(studied([1, 10, 100], full=[3, 1, 1], leak=[3, 1, 3], spatial=[1, 1, 3]))
    assert found.open_above["full"] and found.open_below["spatial"] and not found.open_above["leak"]
    assert found.widths["full"] == pytest.approx((1.5, 1.5, np.inf))
    assert found.differences["leak"] == pytest.approx((0.5, 0.5, np.inf))
    assert found.differences["spatial"] == pytest.approx((0.0, -np.inf, np.inf))
    assert in_decades(*found.differences["leak"], "+") == "+0.50 [+0.50, ...)"
    assert in_decades(*found.differences["spatial"], "+") == "+0.00 (..., ...)"


def test_the_range_is_the_piece_around_the_best_rate_and_a_failed_run_is_not_usable():
    found = widths(studied([1, 10, 100, 1000], 0.5, full=[1.2, np.nan, 1, np.nan], leak=[9, 9, 8, 9]))
    assert found.ranges["full"] == pytest.approx((100, 100)) and found.widths["full"][0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(found.ranges["leak"]).all() and found.widths["leak"] == (0, 0, 0)


def test_what_is_not_usable_yet_may_be_beyond_the_rates_tried():
    found = widths(studied([1, 10, 100, 1000], full=[3, 1, 1, 3], leak=[5, 6, 7, 8], spatial=[5, 4, 5, 6]))
    assert found.open_below["leak"] and not found.open_above["leak"] and not found.open_below["spatial"]
    assert found.widths["leak"] == (0, 0, np.inf) and found.widths["spatial"] == (0, 0, 0)
    assert found.differences["leak"][1] == -np.inf


def test_the_best_is_that_of_the_three_gradients():
    """A fourth one, however good, does not make theirs unusable."""
    three = {"full": [3, 1, 3], "leak": [3, 1.5, 3]}
    assert widths(studied([1, 10, 100], **three)).ranges == {
        name: values
        for name, values in widths(studied([1, 10, 100], half=[0, 0, 0], **three)).ranges.items()
        if name != "half"
    }


@pytest.mark.parametrize("repeats", [5, 40])
def test_the_interval_holds_the_width_as_often_as_it_says(repeats):
    """Curves 2|x - shift| that scatter from repeat to repeat: the width of their mean is known."""
    rates = 10.0 ** np.arange(-3, 4)
    x = np.log10(rates)[:, None]
    random = np.random.default_rng(repeats)
    true = widths(studied(rates, full=2 * np.abs(x[:, 0]), leak=4 * np.abs(x[:, 0]))).differences["leak"][0]
    held = 0
    for _ in range(100):
        shared = random.normal(0, 0.3, repeats)
        full, leak = (slope * np.abs(x) + shared + random.normal(0, 0.3, (len(rates), repeats)) for slope in (2, 4))
        _, low, high = widths(studied(rates, full=full, leak=leak)).differences["leak"]
        held += low <= true <= high
    assert held >= 88


def test_curves_that_differ_by_a_shift_collapse():
    """One curve is the other at rates three times as large; its gradient is a third as long."""
    rates = 10.0 ** np.linspace(-4, 4, 33)
    curve = np.abs(np.log10(rates))[:, None] + np.zeros(6)
    shifted = np.abs(np.log10(rates / 3))[:, None] + np.zeros(6)
    losses = {"full": np.minimum(shifted, 1), "leak": np.minimum(curve, 1)}
    share, low, high = collapse(rates, losses, {"full": np.full(6, 1.0), "leak": np.full(6, 3.0)})
    assert low <= share <= high and share > 0.97
    assert collapse(rates, losses, {"full": np.ones(6), "leak": np.ones(6)}) == pytest.approx((0, 0, 0))
    assert collapse(rates, losses, {"full": np.full(6, 3.0), "leak": np.ones(6)})[0] < -0.5


def test_the_studies_are_those_with_records():
    runs = records.load("train")
    found = {one.title: one for one in rate_studies(runs)}
    expected = {one.title for folder in ("widths", "settings") for one in experiments.named(folder)}
    assert found and found.keys() <= expected
    for one in found.values():
        assert (np.diff(one.rates) > 0).all() and len({x.shape for x in one.results.values()}) == 1
        assert next(iter(one.results.values())).shape[0] == len(one.rates)
    cut = runs[~runs["optimizer"].eq("adamw") | (runs["lr"] <= 0.002)]
    left = {one.title for one in rate_studies(cut)}
    assert not any("AdamW" in title for title in left), "the best rate is the largest that is recorded"
    few = runs[runs["seed"] == 0]
    assert all("neuron" in one.title for one in rate_studies(few)), "one seed has no interval"
    assert all("neuron" in one.title for one in rate_studies(pd.DataFrame()))
    table = width_table({title: widths(one) for title, one in found.items()})
    assert list(table["study"]) == list(found) and "full - leak" in table
