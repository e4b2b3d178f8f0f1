"""What the tables of losses and of speed show, from records made up for the purpose."""

import numpy as np
import pandas as pd
import torch

from tsbp.study.tables import (
    copy_speed_table,
    crossover_table,
    error_table,
    lead_table,
    loss_table,
    memory_table,
    price_table,
    speed_table,
)


def test_errors_of_a_gradient_are_those_of_its_length_and_of_its_direction():
    true = torch.tensor([3.0, 4.0])
    found = {"zero": 0 * true, "longer": 2 * true, "turned": torch.tensor([-4.0, 3.0])}
    table = error_table(found, true)
    assert table["relative error"].round(6).tolist() == [1, 1, 1.414214]
    assert table["relative length"].tolist() == [0, 2, 1] and table["cosine"]["turned"] == 0


def test_loss_table():
    losses = {"full": np.array([[1.0, 2.0], [3.0, 4.0]]), "leak": np.array([[2.0, 3.0], [3.0, 4.0]])}
    table = loss_table([0.01, 0.1], losses)
    assert table["full"].tolist() == ["1.500", "3.500"] and table["learning rate"].tolist() == ["0.01", "0.1"]
    assert table["full - leak"].tolist() == ["-1.000 [-1.000, -1.000]", "+0.000 [+0.000, +0.000]"]


def test_crossover_table_says_on_which_side_of_the_rates_the_curves_cross():
    level = np.full((2, 3), 1.0)
    step = np.array([[2.0], [0.0]])
    studies = {
        title: ([0.01, 1.0], {"full": level * full, "leak": level})
        for title, full in (("between", step), ("below", step * 0), ("above", 2 + step * 0))
    }
    shown = crossover_table(studies)["full overtakes leak at"].tolist()
    assert shown == ["0.1 [0.1, 0.1]", "below 0.01 [below 0.01, below 0.01]", "above 1 [above 1, above 1]"]


def bench(benchmark: str, time_steps: int, **changes) -> dict:
    seconds = {
        "tsbp full": [1.0, 2.0, 4.0],
        "tsbp leak": [0.5, 1.0, 2.0],
        "SpikingJelly (spikes alone)": [9.0, 9.0, 9.0],
    }
    seconds |= {"SpikingJelly": [12.0, 24.0, 48.0], "copy": [1.0, 1.0, 1.0]}
    record = {"benchmark": benchmark, "time_steps": time_steps, "precision": "float32", "batch_size": 2, "neurons": 5}
    record |= {"seconds": seconds}
    record |= {"kept_bytes": {"tsbp full": 400, "SpikingJelly": 1200, "SpikingJelly (spikes alone)": 1}}
    record |= {"peak_bytes": {"tsbp full": 1200, "SpikingJelly": 2400, "SpikingJelly (spikes alone)": 1}}
    return record | {"floor_fraction": {"tsbp full": 0.8, "SpikingJelly": 0.07}} | changes


def test_speed_table_has_a_column_for_each_benchmark_in_order():
    runs = [bench("mnist", 30), bench("lif", 30), bench("lif", 5), bench("mnist", 30, precision="bfloat16")]
    table = speed_table(pd.DataFrame(runs))
    assert list(table)[1:] == ["layer, T = 5", "layer, T = 30", "MNIST step, T = 30", "MNIST step, T = 30, bfloat16"]
    assert table[""].tolist() == ["tsbp full", "tsbp leak", "SpikingJelly (spikes alone)", "SpikingJelly"]
    assert table["layer, T = 5"].tolist()[::3] == ["1.00 [1.00, 1.00]", "12.0 [12.0, 12.0]"]


def test_a_candidate_that_was_left_out_leaves_an_empty_place():
    table = speed_table(pd.DataFrame([bench("lif", 5), bench("mnist", 5, seconds={"tsbp full": [2.0, 2.0]})]))
    assert table["MNIST step, T = 5"].tolist() == ["1.00 [1.00, 1.00]", "", "", ""]


def test_price_table_pairs_the_rounds():
    table = price_table(pd.DataFrame([bench("lif", 5)]))
    assert table.to_dict("records") == [{"benchmark": "layer, T = 5", "tsbp, one pass": "2.0 [2.0, 2.0]"}]


def test_memory_table_counts_by_neuron_and_step():
    table = memory_table(pd.DataFrame([bench("lif", 10), bench("mnist", 5)])).set_index("")
    assert table.loc["tsbp full"].tolist() == ["4.0", "12.0"]
    assert table.loc["SpikingJelly"].tolist() == ["12.0", "24.0"] and len(table) == 2


def test_copy_speed_table_has_a_column_for_each_layer():
    table = copy_speed_table(pd.DataFrame([bench("lif", 10), bench("lif", 5), bench("mnist", 5)])).set_index("")
    assert list(table) == ["T = 5", "T = 10"] and table.loc["SpikingJelly"].tolist() == ["0.070", "0.070"]


def test_lead_table_names_the_fastest_other_library_in_each_kind_of_process():
    times = bench("lif", 5)["seconds"]
    measured = {"2 cores, plain": times | {"JAX": [3.0, 6.0, 12.0], "JAX (spikes alone)": [1.0, 1.0, 1.0]}}
    runs = pd.DataFrame([bench("lif", 30, processes=measured, threads=1), bench("lif", 5, threads=1)])
    ours, theirs = "12.0 [12.0, 12.0], SpikingJelly", "3.0 [3.0, 3.0], JAX"
    row = {"layer": "T = 30", "1 core, memory kept": ours, "2 cores, plain": theirs}
    assert lead_table(runs).to_dict("records") == [row]
