"""What the chapters say in words, held against the published records and fresh runs."""

import re

import numpy as np
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
from tsbp.runs.toy import ToyConfig, compare_along
from tsbp.study import studies
from tsbp.study.comparison import (
    MAY_DIFFER,
    accuracies,
    best_held_out,
    by_seed,
    held_out,
    learning_rate_table,
    titles,
    trainings,
)
from tsbp.study.robustness import FACTORS, rate_studies, widths
from tsbp.study.statistics import (
    bootstrap_interval,
    crossover,
    equivalence,
    mean_interval,
    ratio_interval,
)
from tsbp.study.tables import SAME, equal
from tsbp.surrogate import relaxed_spike, surrogate_derivative

TABLE_1, NORMALISED, ADAM = "toy/table-1", "toy/length-one", "toy/adam"
VARIANTS = [TABLE_1, "toy/momentum", "toy/uniform", "toy/positive", "toy/no-delay", "toy/subtractive-reset"]


def losses(experiment: str) -> dict[str, np.ndarray]:
    return studies.loss_study(experiments.load(experiment))[1]


def rates(experiment: str) -> list[float]:
    return studies.loss_study(experiments.load(experiment))[0]


def difference(experiment: str, rate: float, other: str = "leak") -> tuple[float, float]:
    """Ends of the interval of ``full`` minus another at one learning rate."""
    return interval(losses(experiment), rates(experiment).index(rate), other)


def interval(found: dict[str, np.ndarray], row: int, other: str = "leak") -> tuple[float, float]:
    low, high = bootstrap_interval(found["full"][row] - found[other][row])
    return float(low), float(high)


def test_at_the_papers_learning_rate_the_term_makes_no_difference():
    low, high = difference(TABLE_1, 0.005)
    assert low < 0 < high


def test_at_ten_times_it_the_term_halves_the_loss():
    found = losses(TABLE_1)
    row = rates(TABLE_1).index(0.05)
    assert found["full"][row].mean() <= found["leak"][row].mean() / 2


@pytest.mark.parametrize("rate", [0.0005, 0.001, 0.002])
def test_below_it_the_term_costs(rate):
    assert difference(TABLE_1, rate)[0] > 0


def test_the_curves_cross_near_the_papers_rate():
    found = losses(TABLE_1)
    _, low, high = crossover(rates(TABLE_1), found["full"] - found["leak"])
    assert low < 0.005 < high


@pytest.mark.parametrize("name", ["toy/momentum", NORMALISED, ADAM])
def test_where_the_curves_cross_at_the_smallest_rates_the_interval_is_open_below(name):
    found, tried = losses(name), rates(name)
    estimate, low, high = crossover(tried, found["full"] - found["leak"])
    assert low == 0 < tried[0] < estimate <= high < tried[-1]


@pytest.mark.parametrize("name", VARIANTS)
def test_leak_breaks_down_first_under_every_variant(name):
    assert difference(name, 0.05)[1] < 0 and difference(name, 0.1)[1] < 0


def test_with_equal_lengths_and_under_adam_the_term_helps():
    for name in (NORMALISED, ADAM):
        ends = [difference(name, rate) for rate in rates(name)]
        assert sum(high < 0 for _, high in ends) >= 7 and not any(low > 0 for low, _ in ends)


def test_at_the_largest_rate_spatial_has_the_lowest_loss_under_gradient_descent_and_not_under_adam():
    """With its own length and with length one."""
    assert difference(TABLE_1, 0.1, "spatial")[0] > 0
    assert difference(NORMALISED, 0.5, "spatial")[0] > 0
    assert difference(ADAM, 0.1, "spatial")[1] < 0


@pytest.mark.parametrize("factor", FACTORS)
def test_the_single_neuron_has_the_widest_range_of_rates_with_full(runs, factor):
    """Under SGD, however far a usable loss may be from the best."""
    neuron = next(one for one in rate_studies(runs) if one.title == "single neuron, SGD")
    found = widths(neuron, factor * neuron.distance)
    assert not any(found.open_below.values()) and not any(found.open_above.values())
    assert found.differences["leak"][1] > 0 and found.differences["spatial"][1] > 0


def test_leak_fails_by_falling_silent():
    record = records.recorded(experiments.load(TABLE_1).config)
    silent = dict(zip(record["gradients"], record["silent_fraction"], strict=True))
    assert silent["leak"][-1] > 0.7 > 0.2 > max(silent["full"][-1], silent["spatial"][-1])


def test_a_steep_surrogate_turns_the_term_against_learning():
    over = studies.loss_studies_over("toy/temperature")
    tried, found = over[0.05]
    assert (found["full"].mean(1) > found["leak"].mean(1)).all()
    assert interval(over[0.15][1], tried.index(0.05))[1] < 0  # below 0.208, and still a help


def test_leak_is_long_and_full_flips_where_the_surrogate_is_steep():
    """At the paper's temperature ``leak`` is the longest, and ``full`` not opposed to it; at 0.05 it can be."""
    opposed, longer = {}, {}
    for temperature in (0.3, 0.05):
        config = ToyConfig(
            gradients=("full",), learning_rates=(0.005,), repeats=40, iterations=20, temperature=temperature
        )
        along = compare_along(config)
        length = {name: gradient.norm(dim=2) for name, gradient in along.items()}
        longer[temperature] = (length["leak"] / length["full"]).nanmedian()
        opposed[temperature] = (torch.cosine_similarity(along["full"], along["leak"], dim=2) < 0).double().mean()
    assert longer[0.3] > 1.5 and opposed[0.3] < 0.02 and opposed[0.05] > 0.08


@pytest.fixture(scope="module")
def runs():
    """All published trainings."""
    return records.load("train")


def difference_of_accuracy(runs, dataset: str, other: str) -> np.ndarray:
    """``full`` minus another gradient, paired by seed, of the published runs with a data set's default settings."""
    found = accuracies(runs, dataset)
    return (found["full"] - found[other]).dropna().to_numpy()


def test_on_mnist_the_term_makes_no_difference(runs):
    difference = difference_of_accuracy(runs, "mnist", "leak")
    assert len(difference) >= 5 and equivalence(difference) < 0.05
    assert accuracies(runs, "mnist").mean().min() > 99.4


def test_on_the_digits_the_term_costs(runs):
    difference = difference_of_accuracy(runs, "digits", "leak")
    mean, half_width = mean_interval(difference)
    assert len(difference) >= 10 and mean + half_width < 0
    table = learning_rate_table(runs[runs["dataset"] == "digits"])
    assert (table["full"].astype(float) < table[["leak", "spatial"]].astype(float).min(axis=1)).all()


@pytest.mark.parametrize("preset", ["nmnist", "nmnist-5"])
@pytest.mark.parametrize("other", ["leak", "spatial"])
def test_the_subset_of_nmnist_decides_nothing(runs, preset, other):
    difference = difference_of_accuracy(runs, preset, other)
    mean, half_width = mean_interval(difference)
    assert len(difference) >= 10 and abs(mean) < half_width and equivalence(difference) > 0.05


def test_on_the_reduced_cifar10_it_depends_on_the_learning_rate(runs):
    chosen = TrainingConfig.for_dataset("cifar10-reduced")
    slow = records.select(runs, chosen.but(lr=0.001), but=MAY_DIFFER)
    slow = by_seed(slow)
    cost = (slow["full"] - slow["leak"]).to_numpy()
    mean, half_width = mean_interval(cost)
    assert len(cost) >= 3 and mean + half_width < 0 and slow["full"].mean() < slow["spatial"].mean()
    assert chosen.lr > 0.001
    for other in ("leak", "spatial"):
        difference = difference_of_accuracy(runs, "cifar10-reduced", other)
        for some in (difference, difference[3:]):  # all of them, and those that were added to the first three
            mean, half_width = mean_interval(some)
            assert mean - half_width > 0
    table = learning_rate_table(records.select(runs, chosen, but=("lr", "validation", *MAY_DIFFER)))
    assert table["full"].iloc[-1] > max(table["leak"].iloc[-1], table["spatial"].iloc[-1])
    best = accuracies(runs, "cifar10-reduced")
    assert best.to_numpy().mean() > slow.to_numpy().mean() + 5


def test_the_reduced_cifar10_was_tested_at_the_best_rate_of_full_alone(runs):
    """And the choice was close."""
    chosen = TrainingConfig.for_dataset("cifar10-reduced")
    best = best_held_out(runs, chosen)
    assert best.loc["full", "lr"] == chosen.lr
    for other in ("leak", "spatial"):
        assert best.loc[other, "lr"] != chosen.lr
    assert best.loc[list(STUDIED), "accuracy"].idxmin() == "full"
    tried = held_out(runs, chosen, "lr")
    means = tried.groupby("lr")["validation_accuracy"].mean().nlargest(2)
    assert means.index[0] == chosen.lr and means.iloc[0] - means.iloc[1] < 0.5


def test_on_the_whole_cifar10_it_is_open(runs):
    found = accuracies(runs, "cifar10", "cuda")
    difference = (found["full"] - found["leak"]).dropna().to_numpy()
    mean, half_width = mean_interval(difference)
    assert 0 < mean < half_width and equivalence(difference) > 0.05
    assert found["full"].mean() < TABLE_2["cifar10"]["full"]


def test_on_mnist_the_longer_training_is_better_and_its_gradients_are_equal(runs):
    longer, shorter = (accuracies(runs, preset) for preset in ("mnist-long", "mnist"))
    assert longer.notna().all(axis=None) and len(longer) >= 10
    assert (longer.mean() >= shorter.mean()).all()
    for other in ("leak", "spatial"):
        difference = difference_of_accuracy(runs, "mnist-long", other)
        mean, half_width = mean_interval(difference)
        assert abs(mean) < half_width and equivalence(difference) < 0.05


@pytest.mark.parametrize("dataset", ["mnist", "mnist-long", "nmnist", "nmnist-5", "digits"])
def test_spatial_is_nowhere_behind(runs, dataset):
    mean, half_width = mean_interval(difference_of_accuracy(runs, dataset, "spatial"))
    assert mean - half_width < 0


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


def accuracy(runs, value: float, gradient: str) -> np.ndarray:
    """Test accuracies of one gradient at one value of a study, by seed."""
    chosen = runs[(runs["value"] == value) & (runs["gradient"] == gradient)]
    return chosen.sort_values("seed")["test_accuracy"].to_numpy()


def test_every_study_has_the_same_seeds_for_every_gradient(found):
    for runs in found.values():
        for _, at_value in runs[runs["gradient"].isin(STUDIED)].groupby("value"):
            seeds = at_value.groupby("gradient")["seed"].agg(lambda seeds: tuple(sorted(seeds)))
            assert set(seeds.index) == set(STUDIED)
            assert len(set(seeds)) == 1 and len(seeds.iloc[0]) >= 5
    assert all(found[title]["value"].nunique() >= 5 for title in list(found)[:4])


@pytest.mark.parametrize("title", ["MNIST, momentum", "digits, momentum"])
def test_plain_descent_of_networks_repeats_the_single_neuron(found, title):
    """Leak learns fastest at the smallest rate; at 1 it has fallen behind; at the largest only spatial still learns."""
    runs = found[title]
    smallest, largest = runs["value"].min(), runs["value"].max()
    slow = {name: accuracy(runs, smallest, name).mean() for name in ("full", "leak", "spatial")}
    assert slow["leak"] > slow["full"] > slow["spatial"]
    fast = {name: accuracy(runs, 1.0, name).mean() for name in ("full", "leak", "spatial")}
    assert fast["leak"] + 10 < fast["full"] < fast["spatial"]
    broken = {name: (accuracy(runs, largest, name) < studies.BROKEN).mean() for name in ("full", "leak", "spatial")}
    assert broken["full"] == broken["leak"] == 1 > broken["spatial"]


def test_no_network_is_shown_to_have_a_narrower_range_with_full(runs):
    for one in rate_studies(runs):
        assert widths(one).differences["leak"][2] > 0, one.title


def test_under_adamw_spatial_is_not_ahead_at_the_largest_rate(found):
    """On MNIST its mean is the lowest for runs that broke down; the medians are alike."""
    for title in ("MNIST, AdamW", "digits, AdamW"):
        fast = {name: accuracy(found[title], found[title]["value"].max(), name) for name in STUDIED}
        assert fast["spatial"].mean() < min(fast["full"].mean(), fast["leak"].mean())
    fast = {name: accuracy(found["MNIST, AdamW"], 0.1, name) for name in STUDIED}
    assert fast["spatial"].min() < studies.BROKEN
    medians = [np.median(values) for values in fast.values()]
    assert max(medians) - min(medians) < 1 < fast["full"].mean() - fast["leak"].mean()


@pytest.mark.parametrize("title", ["MNIST, momentum", "digits, momentum"])
def test_under_plain_descent_spatial_has_the_highest_mean_at_the_largest_rate(found, title):
    fast = {name: accuracy(found[title], found[title]["value"].max(), name).mean() for name in STUDIED}
    assert fast["spatial"] > max(fast["full"], fast["leak"]) + 10


@pytest.mark.parametrize("title", ["MNIST, AdamW", "digits, AdamW"])
def test_adamw_leaves_little_of_it(found, title):
    """Between the ends of the range the gradients are within a percentage point."""
    runs = found[title]
    for value in sorted(runs["value"].unique())[1:-2]:
        means = [accuracy(runs, value, name).mean() for name in ("full", "leak", "spatial")]
        assert max(means) - min(means) < 1


@pytest.mark.parametrize("title", ["temperature", "time steps", "depth"])
def test_nothing_else_sets_full_and_leak_apart(found, title):
    verdict = studies.study_verdict(found[title])
    assert verdict.startswith("not distinguishable") and "; " not in verdict
    if title == "temperature":
        higher = re.match(r"higher at ([^;]+);", studies.study_verdict(found[title], "spatial"))
        assert "2" in higher[1].split(", ")


def test_gradients_of_networks_are_closer_than_those_of_the_single_neuron(found):
    config = ToyConfig(gradients=("full",), learning_rates=(0.005,), repeats=20)
    along = compare_along(config)
    single = torch.cosine_similarity(along["full"], along["leak"], dim=2).arccos().rad2deg().nanmedian()
    networks = (
        found["MNIST, AdamW"].query("lr == 0.01"),
        found["digits, AdamW"].query("lr == 0.01"),
        found["depth"].query("value == 8"),
        found["time steps"].query("time_steps == 40"),
    )
    for runs in networks:
        later = np.nanmean(studies.angles_to_full(runs, "leak")[:, -2:], axis=(0, 1))
        assert later.max() < single / 1.8
    late = {
        value: np.nanmedian(studies.angles_to_full(runs, "spatial"))
        for value, runs in found["time steps"].groupby("value")
    }
    assert late[40] > 1.5 * late[5]


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
