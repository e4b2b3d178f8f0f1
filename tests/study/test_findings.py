"""What the chapters rest on, held against the records and fresh runs; ``test_prose.py`` has what they compare."""

import pytest
import torch

from tsbp import lif
from tsbp.gradients import STUDIED
from tsbp.networks import TABLE_3, SpikingNetwork, depth
from tsbp.peers import agreement, libraries, survey
from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.bench import BenchConfig
from tsbp.runs import experiments, records
from tsbp.runs.settings import TABLE_2, TrainingConfig
from tsbp.study import studies
from tsbp.study.comparison import (
    MAY_DIFFER,
    held_out,
    learning_rate_table,
    titles,
    trainings,
)
from tsbp.study.statistics import (
    crossover,
    ratio_interval,
)
from tsbp.study.tables import SAME, equal
from tsbp.surrogate import relaxed_spike, surrogate_derivative


@pytest.mark.parametrize("name", ["toy/momentum", "toy/length-one", "toy/adam"])
def test_where_the_curves_cross_at_the_smallest_rates_the_interval_is_open_below(name):
    tried, found = studies.loss_study(experiments.load(name))
    estimate, low, high = crossover(tried, found["full"] - found["leak"])
    assert low == 0 < tried[0] < estimate <= high < tried[-1]


@pytest.fixture(scope="module")
def runs():
    """All published trainings."""
    return records.load("train")


def test_the_rate_of_the_reduced_cifar10_was_a_close_choice(runs):
    chosen = TrainingConfig.for_dataset("cifar10-reduced")
    tried = held_out(runs, chosen, "lr")
    means = tried.groupby("lr")["validation_accuracy"].mean().nlargest(2)
    assert means.index[0] == chosen.lr and means.iloc[0] - means.iloc[1] < 0.5


def test_learning_rates_are_those_that_held_out_examples_prefer(runs):
    tried = 0
    for config, _ in (training for dataset in titles() for training in trainings(dataset)):
        table = learning_rate_table(records.select(runs, config, but=("lr", "validation", "epochs", *MAY_DIFFER)))
        if len(table):
            chosen = table.loc[table[""] == "chosen", "learning rate"].item()
            assert float(chosen) == config.lr
            assert chosen not in (table["learning rate"].iloc[0], table["learning rate"].iloc[-1])  # not at the edge
            tried += 1
    assert tried >= 3


# --- one setting at a time --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(runs) -> dict:
    return studies.studies(runs)


def test_every_study_has_the_same_seeds_for_every_gradient(found):
    for runs in found.values():
        for _, at_value in runs[runs["gradient"].isin(STUDIED)].groupby("value"):
            seeds = at_value.groupby("gradient")["seed"].agg(lambda seeds: tuple(sorted(seeds)))
            assert set(seeds.index) == set(STUDIED)
            assert len(set(seeds)) == 1 and len(seeds.iloc[0]) >= 5
    assert all(found[title]["value"].nunique() >= 5 for title in list(found)[:4])


# --- what the term costs ----------------------------------------------------------------------------------------------


def benchmark(name: str, time_steps: int, precision: str = "float32") -> dict:
    runs = records.load(BenchConfig.kind)
    here = (runs["benchmark"] == name) & (runs["time_steps"] == time_steps) & (runs["precision"] == precision)
    return runs[here & (runs["device"] == "cpu")].sort_values("finished").iloc[-1].to_dict()


def price(record: dict, full: str = "tsbp full", leak: str = "tsbp leak") -> tuple[float, float, float]:
    return ratio_interval(record["seconds"][full], record["seconds"][leak])


@pytest.mark.parametrize(("name", "time_steps"), [("lif", 5), ("lif", 30), ("mnist", 30)])
def test_in_one_pass_the_overhead_is_less_than_a_tenth(name, time_steps):
    _, low, high = price(benchmark(name, time_steps))
    assert low < 1.03 and high < 1.1


@pytest.mark.parametrize("time_steps", [5, 30])
def test_through_automatic_differentiation_there_is_one_and_half_as_much_memory_again(time_steps):
    record = benchmark("lif", time_steps)
    assert price(record, "SpikingJelly", "SpikingJelly, detached")[1] > 1.03
    assert record["kept_bytes"]["SpikingJelly"] == pytest.approx(
        1.5 * record["kept_bytes"]["SpikingJelly, detached"], rel=0.02
    )


def test_the_potential_is_all_that_is_kept_whatever_the_gradient():
    record = benchmark("lif", 30)
    size = record["time_steps"] * record["batch_size"] * record["neurons"]
    assert {record["kept_bytes"][f"tsbp {gradient}"] for gradient in ("full", "leak", "spatial")} == {4 * size}


def test_only_snntorch_was_left_out_and_only_where_its_gradient_is_nan():
    for record in records.load(BenchConfig.kind).to_dict("records"):
        for name, reason in record["left_out"].items():
            assert name.startswith("snnTorch") and "gradient norm nan" in reason


# --- other methods ----------------------------------------------------------------------------------------------------

COMPARED = records.recorded(AgreementConfig())["distances"]


def test_every_library_computes_one_of_the_three_beyond_doubt():
    for name, distances in COMPARED.items():
        expected = (libraries.PEERS | libraries.MORE)[name].gradient
        assert equal(distances) == ([expected] if expected else []), name
        assert min(distance for distance in distances.values() if distance >= SAME) > 0.4


def test_the_comparison_comes_out_the_same_here():
    """With whatever versions of the libraries are installed."""
    for name, distances in agreement.run(AgreementConfig())["distances"].items():
        for gradient, distance in distances.items():
            assert distance == pytest.approx(COMPARED[name][gradient], rel=1e-5, abs=SAME), (name, gradient)


def test_what_was_read_is_what_runs():
    """The survey's rows of the libraries that install, and the settings that change them."""
    treated = {"kept": ["full"], "detached": ["leak"], "ignored": []}
    runs = {
        "SpikingJelly": "SpikingJelly",
        "snnTorch": "snnTorch",
        "Norse (feed-forward)": "Norse",
        "Norse (recurrent)": "Norse, recurrent",
        "SLAYER": "reset ignored, as in SLAYER",
        "Rockpool": "Rockpool, subtractive",
        "sinabs": "sinabs, subtractive",
        "BrainPy": "BrainPy, subtractive",
        "Spyx": "Spyx, subtractive",
        "snnax": "snnax",
    }
    for method in survey.METHODS:
        if method.name in runs:
            assert equal(COMPARED[runs[method.name]]) == treated[method.treatment], method.name
    assert equal(COMPARED["SpikingJelly, detached"]) == ["leak"] and equal(COMPARED["snnTorch, no delay"]) == ["full"]
    assert equal(COMPARED["Norse, with a current"]) == ["full"], "its other feed-forward neuron"
    assert equal(COMPARED["sinabs"]) == ["leak"], "to zero, where the spike is compared with a number"
    assert COMPARED["snnax"] == pytest.approx(COMPARED["reset ignored, as in SLAYER"], rel=1e-12)
    assert set(COMPARED["BrainPy, detached"].values()) == {1.0}, "there is no gradient at all"


def test_of_the_methods_that_the_paper_names_one_keeps_the_term():
    named = {method.name: method.treatment for method in survey.METHODS}
    four = {name: named[name] for name in ("SLAYER", "STBP", "SuperSpike", "ANTLR")}
    assert four == {"SLAYER": "ignored", "STBP": "kept", "SuperSpike": "ignored", "ANTLR": "detached"}


# --- errata -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.8, 1.0])
@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
def test_equation_8_holds_with_the_potential_for_its_quotient_and_not_with_one(temperature, threshold):
    u = torch.linspace(-1, 3, 81, dtype=torch.float64)
    neuron = dict(tau_m=6.0, threshold=threshold, temperature=temperature)
    step = 1e-5
    ends = [lif(torch.stack([u + x, 0 * u]), relaxed=True, **neuron).potential[1] for x in (step, -step)]
    measured = (ends[0] - ends[1]) / (2 * step)
    stays = 1 - relaxed_spike(u - threshold, temperature)
    h = surrogate_derivative(u - threshold, temperature)
    torch.testing.assert_close(5 / 6 * (stays - u * h), measured, rtol=0, atol=1e-6)
    assert (5 / 6 * (stays - h) - measured).abs().max() > 0.1


@pytest.mark.parametrize("name", TABLE_3)
def test_with_the_delay_of_equation_1_only_the_deep_network_stays_silent(name):
    shape = {"nmnist": (2, 34, 34), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}[name]
    steps = TABLE_2[name]["time_steps"]
    network = SpikingNetwork.from_spec(TABLE_3[name], shape, 10, steps, synaptic_delay=1, padding="same")
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1.0)
        answered = torch.nonzero(network(torch.ones(1, *shape)).sum((1, 2))).flatten().tolist()
    expected = depth(TABLE_3[name])
    assert answered[:1] == ([expected] if expected < steps else [])
    assert (name == "cifar10") == (not answered)
