"""Rates chosen on held-out examples, tested on fresh seeds: from made-up records whose outcome is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_comparison import run

from tsbp.gradients import STUDIED
from tsbp.runs import experiments, records, tuning
from tsbp.runs.experiments import Experiment
from tsbp.runs.settings import TrainingConfig
from tsbp.study.protocols import Comparison, comparisons, outcomes, protocol_table

N = 60
RATES = {fold: {"common": 0.02, "full": 0.01, "leak": 0.02, "spatial": 0.01} for fold in (0, 1)}


def experiment(**settings) -> Experiment:
    """Over seeds, rates and gradients."""
    configs = tuple(
        TrainingConfig.for_dataset("digits", gradient=gradient, seed=seed, lr=lr, **settings)
        for gradient in STUDIED
        for seed in (0, 1)
        for lr in (0.01, 0.02)
    )
    return Experiment("made/up", "made up", "lr", configs)


def one_run(gradient: str = "full", seed: int = 0, fold: int = 0, folds: int = 2, lr: float = 0.01, right=None) -> dict:
    """A record of one fold: of N examples every other one is tested, from the fold's number on."""
    tested_here = torch.zeros(N, dtype=torch.bool)
    tested_here[fold % 2 :: 2] = True
    right = torch.ones(N // 2, dtype=torch.bool) if right is None else torch.as_tensor(right)
    row = run("digits", gradient, seed, 100.0 * float(right.double().mean()), lr=lr, folds=folds, fold=fold)
    return row | {
        "path": f"{gradient}-{seed}-{fold}-{lr}.json",
        "right": records.packed(right),
        "tested": records.packed(tested_here),
        "n_train": N // 2,
        "n_test": N // 2,
    }


def test_folds_are_put_together():
    """Gradient full is wrong on example 0 of fold 0, which is the first of all, and of fold 1, which is the second."""
    wrong_first = np.arange(N // 2) > 0
    runs = pd.DataFrame(
        [
            one_run(gradient, seed, fold, right=wrong_first if gradient == "full" else None)
            for gradient in STUDIED
            for seed in (0, 1)
            for fold in (0, 1)
        ]
    )
    found = outcomes(runs, experiment(folds=2))
    assert found.repeats == 2 and found.n_test == N and len(found.names) == len(runs)
    assert (~found.right["full"]).nonzero()[1].tolist() == [0, 1] * 2 and found.right["leak"].all()
    assert found.difference("leak").mean == pytest.approx(-100 * 2 / N)
    assert found.difference("leak").error > 0, "other examples might have been as right as these"
    assert outcomes(runs.iloc[:-1], experiment(folds=2)) is None, "one repeat is no repeat"
    assert outcomes(pd.DataFrame(), experiment(folds=2)) is None


def test_each_gradient_at_its_own_rate():
    """All are right at the rate that is theirs and wrong at the other."""
    rows = [
        one_run(gradient, seed, fold, lr=lr, right=np.full(N // 2, lr == RATES[fold][gradient]))
        for gradient in STUDIED
        for seed in (0, 1)
        for fold in (0, 1)
        for lr in (0.01, 0.02)
    ]
    own = outcomes(pd.DataFrame(rows), experiment(folds=2), RATES)
    assert all(right.all() for right in own.right.values())
    common = outcomes(pd.DataFrame(rows), experiment(folds=2))
    assert common.right["full"].all() and not common.right["leak"].any()
    table = protocol_table([Comparison("digits", "own", own), Comparison("digits", "common", common)])
    assert table["verdict"].tolist() == ["equal", "equal", "higher", "equal"]
    assert table["points"].tolist()[2] == "+100.00 ± 0.00"


def test_without_folds_the_test_set_is_that_of_the_data():
    rows = [one_run(gradient, seed, folds=0) for gradient in STUDIED for seed in (0, 1)]
    found = outcomes(pd.DataFrame(rows), experiment())
    assert found.repeats == 2 and found.n_test == N // 2 and found.right["full"].all()


def test_what_is_recorded_is_compared():
    """Each experiment on fresh seeds chooses nothing by them: they are not among those that chose the rates."""
    for experiment in experiments.named("fresh-seeds"):
        planned = (*experiment.configs, *experiment.waiting)
        seeds = {config.seed for config in planned}
        assert len(seeds) >= 3 and all(config.validation == 0 for config in planned)
        if experiment.chosen_by:
            held_out = experiments.load(experiment.chosen_by)
            assert not seeds & {config.seed for config in held_out.configs}
            assert all(config.validation > 0 for config in held_out.configs)
            assert {tuning.choice(config) for config in held_out.configs} <= set(map(tuning.choice, planned))
    found = comparisons(records.load("train"))
    assert all(one.outcomes.n_test in (1100, 1797, 10_000) for one in found)
