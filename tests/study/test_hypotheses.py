"""The rules of the plan: made-up cells that lead to each verdict."""

import pytest
from made_up_cells import made_up

from tsbp.study import hypotheses
from tsbp.study.hypotheses import NOT_RUN, REFUTED, SUPPORTED, UNDECIDED

DEEP = {"network": "128-128-128-128"}


def steep(shallow: float, deep: float, noise: float = 0.0):
    return [
        made_up(
            {"full": 70 + difference, "leak": 70},
            temperature=0.02,
            noise=noise,
            examples=100 if noise else 400,
            **network,
        )
        for difference, network in ((shallow, {}), (deep, DEEP))
    ]


@pytest.mark.parametrize(
    "cells, verdict",
    [
        (steep(-5, -20), SUPPORTED),
        (steep(0, -20), SUPPORTED),
        (steep(-20, -5), UNDECIDED),
        (steep(0, 0), REFUTED),
        (steep(10, 20), REFUTED),
        (steep(-1, -1, noise=0.9), UNDECIDED),
        (steep(-5, -20)[:1], NOT_RUN),
    ],
)
def test_steep_harms(cells, verdict):
    assert hypotheses.steep_harms(cells).verdict == verdict


def peaked(*differences: float, noise: float = 0.0):
    return [
        made_up(
            {"full": 70 + one, "leak": 70},
            surrogate_scale="peak",
            network=network,
            temperature=t,
            noise=noise,
            examples=100 if noise else 400,
        )
        for network in ("128R", "128-128-128-128")
        for one, t in zip(differences, (0.02, 0.2), strict=False)
    ]


@pytest.mark.parametrize(
    "cells, verdict",
    [
        (peaked(0, 1), SUPPORTED),
        (peaked(0, 10), REFUTED),
        (peaked(-10, 0), REFUTED),
        (peaked(1, 1, noise=0.9), UNDECIDED),
        (steep(0, 0), NOT_RUN),
        (peaked(0, 1)[1:], NOT_RUN),
    ],
)
def test_peak_is_neutral(cells, verdict):
    assert hypotheses.peak_is_neutral(cells).verdict == verdict


def over_rates(full: int, leak: int):
    return [
        made_up({"full": 70, "leak": 70}, {"full": full, "leak": leak}, temperature=temperature, **network)
        for temperature in (0.2, 2.0)
        for network in ({}, DEEP)
    ]


@pytest.mark.parametrize(
    "cells, verdict",
    [
        (over_rates(2, 1), SUPPORTED),
        (over_rates(2, 1)[:1] + over_rates(1, 2)[1:], SUPPORTED),
        (over_rates(1, 2), REFUTED),
        (over_rates(2, 2), UNDECIDED),
        (over_rates(4, 4), UNDECIDED),
        (over_rates(2, 1)[:3], NOT_RUN),
    ],
)
def test_reset_widens(cells, verdict):
    assert hypotheses.reset_widens(cells).verdict == verdict


def tasks(*spatial: float, noise: float = 0.0):
    return [
        made_up({"full": 60, "leak": 70, "spatial": one}, dataset=task, noise=noise, examples=100 if noise else 400)
        for one, (task, n) in zip(spatial, hypotheses.TASKS.items(), strict=False)
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    "cells, verdict",
    [
        (tasks(60, 40, 20), SUPPORTED),
        (tasks(70, 40, 20), REFUTED),
        (tasks(80, 40, 20), UNDECIDED),
        (tasks(68, 68, 68, noise=0.9), UNDECIDED),
        (tasks(60, 40), NOT_RUN),
        (tasks(60, 40, 20)[1:], NOT_RUN),
    ],
)
def test_time_is_needed(cells, verdict):
    assert hypotheses.time_is_needed(cells).verdict == verdict


def test_cells_of_other_trainings_do_not_count():
    others = [made_up({"full": 10, "leak": 70}, temperature=0.02, optimizer="sgd", **network) for network in ({}, DEEP)]
    assert hypotheses.steep_harms(others).verdict == NOT_RUN
    assert hypotheses.steep_harms(steep(0, 0) + others).verdict == REFUTED


def test_the_table_has_all_of_them():
    table = hypotheses.hypothesis_table(hypotheses.findings(steep(-5, -20)))
    assert table["verdict"].tolist() == [SUPPORTED, NOT_RUN, NOT_RUN, NOT_RUN]
    assert "-5.00" in table["found"][0] and "-20.00" in table["found"][0]
