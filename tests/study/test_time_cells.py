"""Cells of the study of time from records: rates, protocols, folds and broken networks, from made-up records."""

import numpy as np
import pytest
import torch
from made_up_cells import made_up

from tsbp.runs import experiments, records
from tsbp.runs.settings import CellConfig
from tsbp.study.cells import cells, each_at_its_best

SHARED = "dataset: randman, network: 8-8, folds: 2, fold: [0, 1], gradients: [full, leak, spatial]"
HELD_OUT = {"full": [50.0, 60.0], "leak": [40.0, 30.0], "spatial": [20.0, 30.0]}
"""Of every seed and fold, at the rates 0.1 and 0.01; together they prefer 0.01."""
N = 4
"""Test examples of a fold."""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """An experiment with its tuning, both without records."""
    monkeypatch.setenv("TSBP_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(experiments, "FOLDER", tmp_path)
    held_out = f"command: cell\nruns: {{{SHARED}, learning_rates: [0.1, 0.01], seeds: [0, 1], validation: 2}}"
    test = f"command: cell\nchosen_by: held-out/few\nruns: {{{SHARED}, learning_rates: chosen, seeds: [10, 11]}}"
    for name, text in {"held-out/few": held_out, "time/few": test}.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir()
        path.write_text(text)


def write(config: CellConfig, found: dict) -> None:
    record = {"schema": "cell-5", **config.strict(), "kind": "cell", "identity": config.identity(), **found}
    records.write(record, records.results_folder() / ("held-out" if config.validation else "time"))


def tune() -> None:
    for config in experiments.load("held-out/few").configs:
        write(config, {"validation_accuracies": [[[one] * 2 for one in HELD_OUT[name]] for name in config.gradients]})


def test(config: CellConfig, wrong: int | None = None) -> None:
    """Every network is right on as many examples as its number among the gradients and seeds says."""
    right = [
        [[records.packed(torch.arange(N) <= gradient + seed) for seed in range(2)] for _ in config.learning_rates]
        for gradient in range(len(config.gradients))
    ]
    if wrong is not None:
        right[wrong][0][0] = None
    write(config, {"right_answers": right, "n_test": N})


test.__test__ = False


def test_nothing_recorded_is_no_cell(study):
    assert cells() == []
    tune()
    assert cells() == []


def test_folds_stand_side_by_side_and_a_broken_network_gets_nothing_right(study):
    tune()
    configs = experiments.load("time/few").configs
    assert [(one.fold, one.learning_rates, one.gradients) for one in configs] == [
        (0, (0.01,), ("full", "leak", "spatial")),
        (0, (0.1,), ("leak",)),
        (1, (0.01,), ("full", "leak", "spatial")),
        (1, (0.1,), ("leak",)),
    ]
    for config in configs[:3]:
        test(config)
    assert cells() == [], "the rate of leak is not tested in the second fold"
    test(configs[3], wrong=0)
    (cell,) = cells("time/few")
    leak = cell.right["own"]["leak"]
    assert leak.shape == (2, 2 * N)
    assert leak[:, :N].sum(1).tolist() == [1, 2] and leak[:, N:].sum(1).tolist() == [0, 2]
    assert cell.right["common"]["leak"].sum(1).tolist() == [4, 6]
    assert cell.learning_rates == (0.01, 0.1) and cell.held_out["full"].tolist() == [[60.0] * 4, [50.0] * 4]
    assert len(cell.names) == 4 and len(cell.rates) == 2 and cell.rates[0]["common"] == 0.01
    assert cell.network == "2 x 8" and cell.hidden == 2 and not cell.recurrent


def test_differences_are_paired():
    cell = made_up({"full": 80, "leak": 70, "spatial": 90})
    assert cell.difference().mean == pytest.approx(10) and cell.difference("spatial").mean == pytest.approx(-10)
    assert cell.difference("spatial", "leak").mean == pytest.approx(-20)
    assert cell.accuracy("leak").mean == pytest.approx(70)


def test_the_best_of_any_gradient_says_what_is_usable():
    """Also of one that the rest of the book does not speak of: ``2`` here leaves nothing usable to the others."""
    found = made_up({"full": 70, "leak": 70, "2": 80}, {"full": 2, "leak": 1, "2": 1}).usable()
    assert found.widths["full"][0] == found.widths["leak"][0] == 0
    found = made_up({"full": 70, "leak": 70}, {"full": 2, "leak": 1}).usable()
    assert 1 < found.widths["full"][0] < 1.5 and np.isfinite(found.widths["full"][2])
    assert found.differences["leak"][1] > 0


def test_networks_have_names():
    assert made_up({"full": 1}, network="128R").network == "128 recurrent"
    assert made_up({"full": 1}, network="128R", detach_recurrence=True).network == "128 recurrent, no recurrent error"
    assert made_up({"full": 1}, dataset="recall", time_steps=30, network="128R").network == "128 recurrent, delay 20"
    assert made_up({"full": 1}, temperature=0.02).title == "128, Θ = 0.02"


def test_each_gradient_at_its_own_temperature():
    narrow = made_up({"full": 80, "leak": 70}, temperature=0.2)
    wide = made_up({"full": 60, "leak": 75}, temperature=2.0)
    kept, detached, difference = each_at_its_best([narrow, wide])
    assert kept is narrow and detached is wide and difference.mean == pytest.approx(5)
