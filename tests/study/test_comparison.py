"""What is compared in tables and figures, from records made up for the purpose."""

import numpy as np
import pandas as pd
import pytest

from tsbp.runs import data
from tsbp.runs.experiments import Experiment
from tsbp.runs.settings import TrainingConfig
from tsbp.study.claims import favoured
from tsbp.study.comparison import (
    accuracy_table,
    best_held_out,
    by_seed,
    difference_table,
    held_out_table,
    learning_rate_table,
    table_2,
    titles,
)
from tsbp.study.reproduce import missing_table
from tsbp.study.studies import by_value, differences, study, study_table
from tsbp.study.training_figures import accuracy_differences


def run(dataset: str, gradient: str, seed: int, accuracy: float, note: str = "", **settings) -> dict:
    config = TrainingConfig.for_dataset(dataset, gradient=gradient, seed=seed, device="cpu", **settings).model_dump()
    config |= {"precision": "bfloat16"}
    command = " ".join(f"--{name} {value}" for name, value in config.items())
    key = "validation_accuracy" if config["validation"] else "test_accuracy"
    return {"command": command, **config, key: accuracy, "data_note": note, "n_test": 10_000}


def test_accuracy_table_pairs_by_seed_and_keeps_settings_apart():
    runs = [run("mnist", "full", 0, 90.0), run("mnist", "full", 1, 94.0)]
    runs += [run("mnist", "leak", 0, 89.0), run("mnist", "leak", 1, 93.0), run("mnist", "full", 0, 50.0, lr=0.2)]
    table = accuracy_table(pd.DataFrame(runs))
    assert table["seeds"].tolist() == ["2", "1"]
    assert table["full - leak"].tolist() == ["+1.00 ± 0.00", ""]
    assert table["full"].iloc[1] == "50.00"


def test_best_held_out_is_by_the_mean_over_seeds_and_counts_test_runs():
    held_out = {("full", 0.01): (50.0, 70.0), ("full", 0.02): (61.0, 61.0), ("leak", 0.01): (60.0, 60.0)}
    held_out |= {("leak", 0.02): (60.0, 60.0), ("spatial", 0.01): (62.0, 62.0), ("spatial", 0.02): (61.0, 61.0)}
    runs = [
        run("cifar10-reduced", gradient, seed, accuracy, lr=lr, validation=100)
        for (gradient, lr), accuracies in held_out.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    runs += [run("cifar10-reduced", gradient, 0, 60.0) for gradient in ("full", "leak")]
    config = TrainingConfig.for_dataset("cifar10-reduced")  # a rate of 0.02
    best = best_held_out(pd.DataFrame(runs), config)
    assert best["lr"].to_dict() == {"full": 0.02, "leak": 0.02, "spatial": 0.01}  # leak is as good at either
    assert best["accuracy"].to_dict() == {"full": 61.0, "leak": 60.0, "spatial": 62.0}
    assert best["test_runs"].to_dict() == {"full": 1, "leak": 1, "spatial": 0}
    assert favoured(pd.DataFrame(runs), config) == (
        "On held-out examples, the learning rate 0.02 is the best one for full and leak; for spatial it is 0.01, where "
        "there are no test runs. The comparison at each gradient's own best rate is open."
    )
    runs.append(run("cifar10-reduced", "spatial", 0, 60.0, lr=0.01))
    assert favoured(pd.DataFrame(runs), config).endswith("for spatial it is 0.01.")
    nothing = pd.DataFrame(runs[-1:])
    assert not len(best_held_out(nothing, config)) and favoured(nothing, config) == ""


def test_table_2_without_records_is_the_papers():
    table = table_2(pd.DataFrame())
    assert table["training"].tolist() == ["the paper"] * 3
    paper = table[(table["data set"] == "MNIST") & (table["training"] == "the paper")].iloc[0]
    assert (paper["full"], paper["leak"], paper["full - leak"]) == ("99.49", "99.50", "-0.01")


def test_table_2_shows_what_is_recorded_and_labels_subsets():
    runs = [run("nmnist", "full", 0, 97.0, "subset: few"), run("nmnist", "leak", 0, 96.0, "subset: few")]
    runs += [run("nmnist", "full", 1, 95.0, "subset: few"), run("paper-mnist", "spatial", 3, 99.0)]
    runs += [run("mnist", "full", 0, 11.0, lr=0.3), run("mnist", "full", 0, 12.0, validation=100)]
    table = table_2(pd.DataFrame(runs))
    row = table[table["data set"] == "N-MNIST (subset: few)"].iloc[0]
    assert (row["seeds"], row["leak"], row["full - leak"]) == ("2 / 1", "96.00", "+1.00")
    assert row["full"].startswith("96.00 ± ")
    row = table[table["training"].str.endswith("paper-mnist, bfloat16")].iloc[0]
    assert (row["seeds"], row["T"], row["spatial"]) == ("1", 30, "99.00")
    others = table[(table["data set"] == "MNIST") & (table["T"] == 5) & (table["training"] != "the paper")]
    assert not len(others), "other settings, and validation, do not count"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.01, -0.01, 0.0, 0.02], "equal"),
        ([0.5, -0.5, 0.3, -0.2], "open"),
        ([0.5, 0.6, 0.55, 0.5], "higher"),
        ([-0.5, -0.6, -0.55, -0.5], "lower"),
        ([0.05, 0.06, 0.05, 0.04], "higher, equal"),
        ([0.5], "one seed"),
    ],
)
def test_verdicts_on_differences(differences, verdict):
    runs = [run("mnist", "leak", seed, 90.0) for seed in range(len(differences))]
    runs += [run("mnist", "full", seed, 90.0 + difference) for seed, difference in enumerate(differences)]
    table = difference_table(pd.DataFrame(runs))
    assert table["difference"].tolist() == ["full - leak"] and table["seeds"].tolist() == [len(differences)]
    assert table["verdict"].tolist() == [verdict]


def test_verdicts_are_corrected_for_the_number_of_rows_and_margins_follow_the_test_set():
    """Differences that decide by themselves (p = 0.03) and do no longer as two of four."""
    apart, equal = (0.2, 0.3, 0.7, 0.5), (0.06, -0.05, 0.05, -0.02)
    rows = [
        run(name, gradient, seed, 90.0 + (difference if gradient == "full" else 0.0)) | {"n_test": n}
        for name, n, differences in (("mnist", 10_000, apart), ("digits", 2_500, equal))
        for seed, difference in enumerate(differences)
        for gradient in ("full", "leak")
    ]
    table = difference_table(pd.DataFrame(rows))
    assert table["margin"].tolist() == ["±0.10", "±0.20"]
    assert table["verdict"].tolist() == ["open", "equal"]
    alone = difference_table(pd.DataFrame(rows[: len(rows) // 2]))
    assert alone["verdict"].tolist() == ["higher"]


def test_the_figure_of_differences_has_the_rows_of_the_table():
    runs = [
        run("mnist", gradient, seed, 90.0 + seed + (0.1 * seed if gradient == "full" else 0.0))
        for seed in range(3)
        for gradient in ("full", "leak")
    ]
    runs += [run("nmnist", "full", 0, 97.0, note="a part"), run("nmnist", "spatial", 0, 96.5, note="a part")]
    left, right = accuracy_differences(pd.DataFrame([*runs, run("mnist-30", "full", 0, 99.0)])).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "N-MNIST*, T = 30, 20 epochs",
        "MNIST, T = 5, 20 epochs",
    ]
    ((dot, _, (interval,)),) = left.containers
    assert dot.get_xdata() == pytest.approx([0.1]) and dot.get_ydata() == [1]
    (low, _), (high, _) = interval.get_segments()[0]
    assert (high - low) / 2 == pytest.approx(0.1 * 4.303 / np.sqrt(3), rel=1e-3)  # Student's t of two degrees
    ((dot, _, _),) = right.containers
    assert dot.get_xdata() == [0.5] and dot.get_ydata() == [0] and dot.get_markerfacecolor() == "white"


def test_learning_rate_table_marks_the_best_mean_of_all_gradients():
    measured = {0.01: (90.0, 95.0, 91.0), 0.1: (96.0, 85.0, 94.0)}
    runs = [
        run("mnist", gradient, 0, accuracy, lr=rate, validation=100)
        for rate, accuracies in measured.items()
        for gradient, accuracy in zip(("full", "leak", "spatial"), accuracies, strict=True)
    ]
    others = [run("mnist", "full", 0, 99.9, lr=0.5), run("mnist", "full", 0, 99.9, validation=100, rotation=9.0)]
    table = learning_rate_table(pd.DataFrame([*runs, *others]))
    assert table["learning rate"].tolist() == ["0.01", "0.1"]
    assert table["mean"].tolist() == ["92.00", "91.67"] and table[""].tolist() == ["chosen", ""]
    assert len(learning_rate_table(pd.DataFrame())) == 0


def test_a_choice_of_two_settings_has_one_row_each():
    runs = [
        run("mnist", gradient, 0, accuracy + rotation, validation=100, rotation=rotation, dropout=dropout)
        for gradient, accuracy in (("full", 80.0), ("leak", 82.0))
        for rotation, dropout in ((0.0, 0.0), (0.0, 0.5), (9.0, 0.5))
    ]
    table = held_out_table(pd.DataFrame(runs), ["rotation", "dropout"])
    assert table[["rotation", "dropout"]].to_numpy().tolist() == [["0", "0"], ["0", "0.5"], ["9", "0.5"]]
    assert table["mean"].tolist() == ["81.00", "81.00", "90.00"] and table[""].tolist() == ["", "", "chosen"]


def test_a_study_changes_one_setting():
    runs = [run("mnist", gradient, seed, 90.0 + seed, lr=rate) for gradient in ("full", "leak") for seed in (0, 1)
            for rate in (0.1, 0.02)]  # fmt: skip
    runs += [run("mnist", "full", 0, 10.0, lr=0.1, epochs=3), run("digits", "full", 0, 11.0, lr=0.1)]
    runs += [run("mnist", "full", 0, 95.0, network=network, lr=0.1) for network in ("4C3-P2-9", "4C3-4C3-P2-9")]
    frame = pd.DataFrame(runs)
    rates = study(frame, Experiment("rate", "rate", "lr", (TrainingConfig.for_dataset("mnist"),)))
    assert rates["value"].tolist() == [0.02] * 4 + [0.1] * 4
    depths = study(frame, Experiment("depth", "depth", "network", (TrainingConfig.for_dataset("mnist", lr=0.1),)))
    assert depths["value"].unique().tolist() == [3, 4] and len(depths) == 4 + 2
    assert differences(rates).to_dict("list") == {"mean": [0, 0], "half_width": [0, 0], "sure": [0, 0]}
    worse = rates.assign(test_accuracy=rates["test_accuracy"] - (rates["gradient"] == "leak") * (rates["value"] == 0.1))
    assert differences(worse)["sure"].to_dict() == {0.02: 0, 0.1: 1} and differences(worse)["mean"][0.1] == 1
    alone = differences(worse[worse["seed"] == 0])
    assert not alone["sure"].any() and alone["half_width"].isna().all(), "one seed decides nothing"
    table = study_table({"rate": rates})
    assert table["value"].tolist() == ["0.02", "0.1"] and table["seeds"].tolist() == ["2", "2"]
    assert table["broke down"].tolist() == ["", ""]
    fallen = rates.assign(test_accuracy=rates["test_accuracy"] - 60 * (rates["gradient"] == "leak"))
    assert study_table({"rate": fallen})["broke down"].tolist() == ["0 / 2", "0 / 2"]
    assert table["full"].str.startswith("90.50 ± ").all() and table["full - leak"].tolist() == ["+0.00 ± 0.00"] * 2


def test_records_that_contradict_each_other_are_named():
    """Of one seed and gradient, on two devices, say: a table has room for one of them."""
    row = {"seed": 0, "gradient": "full", "value": 1.0, "test_accuracy": 90.0}
    runs = pd.DataFrame(
        [row | {"path": "a.json"}, row | {"path": "b.json", "gradient": "leak"}, row | {"path": "c.json"}]
    )
    assert by_seed(runs).loc[0, "full"] == 90.0, "the same result twice is no contradiction"
    runs.loc[2, "test_accuracy"] = 91.0
    for pivot in (by_seed, by_value):
        with pytest.raises(ValueError, match=r"with several results: a\.json, c\.json$"):
            pivot(runs)


def test_the_title_of_a_plugins_data_set_is_known(monkeypatch):
    """However late it was imported."""
    source = data.Source("Shapes & forms", lambda root, steps: None, n_train=None, defaults={"network": "8"})
    monkeypatch.setitem(data.DATA_SETS, "shapes", source)
    assert titles()["shapes"] == "Shapes & forms" and list(titles()) == list(data.DATA_SETS)
    measured = pd.DataFrame([run("shapes", "full", 0, 50.0)])
    assert "Shapes & forms" in table_2(measured)["data set"].tolist()
    assert "Shapes & forms" in missing_table()["data set"].tolist()
    assert "Randman" not in [*table_2(pd.DataFrame())["data set"], *missing_table()["data set"]], "a task of time"
