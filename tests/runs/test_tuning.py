"""Learning rates that held-out examples choose: from made-up records whose outcome is known."""

import pytest

from tsbp.gradients import STUDIED
from tsbp.runs import experiments, records, tuning
from tsbp.runs.settings import CellConfig, TrainingConfig

RATES = (0.01, 0.02)
ACCURACY = {"full": (90.0, 80.0), "leak": (80.0, 95.0), "spatial": (70.0, 70.0)}
"""On held-out examples at these rates."""
CHOSEN = {"common": 0.02, "full": 0.01, "leak": 0.02, "spatial": 0.01}


def held_out(fold: int = 0, **settings) -> list[TrainingConfig]:
    return [
        TrainingConfig.for_dataset(
            "digits", gradient=gradient, seed=seed, lr=lr, folds=2, fold=fold, validation=100, **settings
        )
        for gradient in STUDIED
        for seed in (0, 1)
        for lr in RATES
    ]


def recorded(config: TrainingConfig) -> dict:
    accuracy = ACCURACY[config.gradient][RATES.index(config.lr)]
    return config.strict() | {"kind": "train", "validation_accuracy": accuracy - config.fold + config.seed}


def test_means_over_seeds_choose_and_the_smallest_of_equal_rates():
    configs = held_out() + held_out(1)
    found = tuning.chosen(configs, [recorded(config) for config in configs])
    assert list(found.values()) == [CHOSEN, CHOSEN]
    assert tuning.choice(TrainingConfig.for_dataset("digits", folds=2, fold=1, seed=7, device="cpu")) in found


def test_a_choice_with_a_run_missing_is_not_made():
    configs = held_out() + held_out(1)
    found = tuning.chosen(configs, [recorded(config) for config in configs[:-1]])
    assert list(found) == [tuning.choice(configs[0])]
    assert tuning.chosen(configs, []) == {}


def test_other_runs_choose_nothing():
    """Those of other settings, those on test examples, and rates that the experiment does not have."""
    configs = held_out()
    others = [recorded(config.but(batch_size=7)) | {"validation_accuracy": 100.0} for config in configs]
    others += [config.but(validation=0).strict() | {"kind": "train", "test_accuracy": 100.0} for config in configs]
    others += [recorded(config) | {"lr": 0.5, "validation_accuracy": 100.0} for config in configs]
    found = tuning.chosen(configs, others + [recorded(config) for config in configs])
    assert found == {tuning.choice(configs[0]): CHOSEN}


def test_networks_of_a_cell_choose_for_themselves_and_a_broken_one_gets_nothing_right():
    cell = CellConfig.for_dataset(
        "randman", gradients=STUDIED, learning_rates=RATES, seeds=(0, 1), network="8", validation=100
    )
    accuracies = [[[best, best] for best in ACCURACY[gradient]] for gradient in STUDIED]
    accuracies[0][0][1] = None
    record = cell.strict() | {"kind": "cell", "validation_accuracies": accuracies}
    (rates,) = tuning.chosen([cell], [record]).values()
    assert rates == CHOSEN | {"full": 0.02}
    fresh = cell.but(seeds=(10, 11, 12), validation=0, learning_rates=(0.5,))
    assert tuning.choice(fresh) == tuning.choice(cell)
    found = [(one.gradients, one.learning_rates, one.seeds) for one in tuning.at_rates(fresh, rates)]
    assert found == [(STUDIED, (0.02,), (10, 11, 12)), (("spatial",), (0.01,), (10, 11, 12))]


@pytest.fixture
def two_stages(tmp_path, monkeypatch):
    """What chooses, and what is run at the rates chosen."""
    monkeypatch.setenv("TSBP_RESULTS", str(tmp_path / "results"))
    shared = "dataset: digits, folds: 2, gradient: [full, leak, spatial], fold: [0, 1], device: cpu"
    for name, text in {
        "held-out/few": f"runs: {{{shared}, lr: [0.01, 0.02], seed: [0, 1], validation: 100}}",
        "fresh/few": f"chosen_by: held-out/few\nruns: {{{shared}, lr: chosen, seed: [10, 11]}}",
    }.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir()
        path.write_text(text)
    return lambda: experiments.read(tmp_path / "fresh" / "few.yaml", tmp_path)


def test_an_experiment_waits_until_its_rates_are_chosen(two_stages, tmp_path):
    before = two_stages()
    assert before.configs == () and len(before.waiting) == 12 and before.config.dataset == "digits"
    for config in held_out():
        record = {"schema": "train-5", **recorded(config), "data_fingerprint": ""}
        records.write(record | {"identity": config.identity()}, tmp_path / "results" / "held-out")
    after = two_stages()
    assert {config.fold for config in after.waiting} == {1} and len(after.waiting) == 6
    found = {(config.gradient, config.lr) for config in after.configs}
    assert found == {("full", 0.01), ("full", 0.02), ("leak", 0.02), ("spatial", 0.01), ("spatial", 0.02)}
    assert {config.seed for config in after.configs} == {10, 11} and len(after.configs) == 10


def test_rates_that_nothing_chooses_are_refused(tmp_path):
    path = tmp_path / "alone.yaml"
    path.write_text("{dataset: digits, lr: chosen}")
    with pytest.raises(ValueError, match=r"alone\.yaml: learning rates that are chosen need the key chosen_by"):
        experiments.read(path)
    path.write_text("{chosen_by: alone, runs: {dataset: digits, lr: chosen}}")
    with pytest.raises(ValueError, match="must name an experiment that has its own learning rates, got alone"):
        experiments.read(path, tmp_path)
    path.write_text("{chosen_by: held-out/nowhere, runs: {dataset: digits, lr: chosen}}")
    with pytest.raises(FileNotFoundError, match="there is no experiment held-out/nowhere"):
        experiments.read(path)
