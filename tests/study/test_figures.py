"""What figures show, read from their axes, and whether it can be seen on a light and on a dark page."""

import re
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up_cells import made_up
from matplotlib.colors import to_rgb

from tsbp.runs.files import PROJECT
from tsbp.study import figures, time_figures, training_figures

WHITE = np.ones(3)
LEAST = 3.0
"""Contrast of a line with its ground, by the guidelines for accessible pages (WCAG 2, 1.4.11)."""


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def on_a_dark_page(colour: np.ndarray) -> np.ndarray:
    """What the filter of the book's style makes of a colour."""
    style = (PROJECT / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    share = float(re.search(r"filter: invert\(([\d.]+)\) hue-rotate\(180deg\)", style)[1])
    luma = np.array([0.213, 0.715, 0.072])
    inverted = share + (1 - 2 * share) * colour
    return np.clip(2 * luma @ inverted - inverted, 0, 1)


def light(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def luminance(colour: np.ndarray) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ light(colour))


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    dark, light = sorted((luminance(one) + 0.05, luminance(other) + 0.05))
    return light / dark


def contrasts(colour: object) -> tuple[float, float]:
    """On a light and on a dark page."""
    shown = np.array(to_rgb(colour))
    return contrast(shown, WHITE), contrast(on_a_dark_page(shown), on_a_dark_page(WHITE))


def test_contrast_is_that_of_the_guidelines():
    assert contrast(np.zeros(3), WHITE) == pytest.approx(21)
    assert contrasts("#777777")[0] == pytest.approx(4.48, abs=0.01)
    assert min(contrasts("yellow")) < LEAST


SEEN = {
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
"""Linear light as readers with one kind of cone missing see it (Machado, Oliveira and Fernandes 2009)."""


def lab(linear: np.ndarray) -> np.ndarray:
    """Linear light in the space in which distances are about those that are seen (CIE 1976)."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ linear / [0.9505, 1, 1.089], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_few_shades_can_be_told_apart(n, seen):
    """On both grounds; ten times the smallest distance that is seen side by side."""
    shown = [shade[:3] for shade in figures.shades(n)]
    for ground in (shown, [on_a_dark_page(colour) for colour in shown]):
        places = [lab(np.clip(np.array(SEEN[seen]) @ light(colour), 0, 1)) for colour in ground]
        assert min(np.linalg.norm(one - other) for one, other in combinations(places, 2)) > 20


@pytest.mark.parametrize("n", [1, 2, 5, 9, 200])
def test_every_shade_can_be_seen_on_both_grounds(n):
    found = figures.shades(n)
    assert len(found) == n and min(min(contrasts(shade)) for shade in found) >= LEAST
    brightness = [luminance(shade[:3]) for shade in found]
    assert brightness == sorted(brightness), "from dark to bright"


def test_every_colour_with_a_meaning_can_be_seen_on_both_grounds():
    meant = (*figures.COLOURS.values(), figures.RESET_COLOUR, figures.GREY, *figures.KINDS)
    assert min(min(contrasts(colour)) for colour in meant) >= LEAST


def test_lines_for_each_temperature_can_be_seen_on_both_grounds():
    cells = [
        made_up({"full": 80, "leak": 70, "spatial": 60, "0.5": 75, "2": 50}, temperature=temperature)
        for temperature in (0.02, 0.06, 0.2, 0.6, 2.0)
    ]
    for figure in (time_figures.over_weights(cells), time_figures.predicted(cells, [1, 2, 3, 4, 5])):
        (axis,) = figure.axes
        colours = [container.lines[0].get_color() for container in axis.containers]
        assert len({tuple(colour) for colour in colours}) == 5
        assert min(min(contrasts(colour)) for colour in colours) >= LEAST


def test_what_is_sure_is_filled_and_what_is_not_is_hollow():
    """``full`` is ahead of ``leak`` by about 3 at the larger value; ``spatial`` is as good as it, but for chance."""
    rows = [
        {"value": value, "gradient": gradient, "seed": seed, "test_accuracy": 90 + change}
        for value in (1.0, 2.0)
        for seed in range(5)
        for gradient, change in (
            ("full", 0.1 * seed),
            ("leak", -3 * (value == 2) + 0.2 * (seed % 2)),
            ("spatial", 0.1 * ((seed + 2) % 5)),
        )
    ]
    figure = training_figures.accuracy_against({"one": pd.DataFrame(rows)}, {"one": "log value"})
    _, leak, spatial = figure.axes
    (hollow, filled), (all_hollow, none) = ([one.lines[0] for one in axis.containers] for axis in (leak, spatial))
    assert hollow.get_markerfacecolor() == "white" and hollow.get_xydata().tolist() == [pytest.approx([1, 0.12])]
    assert filled.get_markerfacecolor() == figures.COLOURS["leak"]
    assert filled.get_xydata().tolist() == [pytest.approx([2, 3.12])]
    assert all_hollow.get_xydata().tolist() == [pytest.approx([1, 0]), pytest.approx([2, 0])]
    assert not len(none.get_xydata())
    assert leak.get_ylabel().startswith("full − leak") and spatial.get_ylabel().startswith("full − spatial")
