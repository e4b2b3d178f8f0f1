"""Training: repeatable to the last digit, honest about what it measures, and clear when it cannot go on."""

import json
import math
import re

import fastjsonschema
import pytest
import torch
from command import without_times
from torch.nn import functional

from tsbp.gradients import GRADIENTS, STUDIED
from tsbp.kernels import library
from tsbp.networks import TABLE_3
from tsbp.runs import memory, records, training
from tsbp.runs.data import DataSet
from tsbp.runs.evaluation import (
    build_network,
    check_memory,
    compare_averages,
    compare_gradients,
    evaluate,
    loss_of,
    output,
    scores,
    target_of,
)
from tsbp.runs.settings import PRESETS, TrainingConfig
from tsbp.runs.training import Run, train
from tsbp.study import schema

TINY = TrainingConfig.for_dataset("digits", network="4C3-P2-20", epochs=1, examples=300)
SMALL = TrainingConfig.for_dataset("digits", network="8C3-P2-40", epochs=4)


@pytest.mark.parametrize("gradient", STUDIED)
def test_every_gradient_learns_the_digits(gradient):
    record = train(SMALL.but(gradient=gradient), quiet=True)
    assert record["test_accuracy"] > 80
    assert record["epoch_metrics"][-1]["loss"] < record["epoch_metrics"][0]["loss"]


def test_the_same_command_gives_the_same_numbers():
    first, second = (train(TINY.but(epochs=2), quiet=True) for _ in range(2))
    assert without_times(first) == without_times(second)
    assert (
        first["epoch_metrics"][0]["loss"] != train(TINY.but(epochs=2, seed=1), quiet=True)["epoch_metrics"][0]["loss"]
    )


def test_gradients_differ_in_nothing_but_the_gradient(digits):
    """Same weights, same examples, same first loss; different weights after the first update."""
    networks = [build_network(TINY.but(gradient=name), digits) for name in STUDIED]
    for network in networks[1:]:
        for one, other in zip(networks[0].parameters(), network.parameters(), strict=True):
            assert torch.equal(one, other)
    images = (digits.train_images[:20] - digits.normalisation[0]) / digits.normalisation[1]
    outputs = [network(images) for network in networks]
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


def test_record_says_what_was_run(digits):
    record = train(TINY.but(seed=5, examples=0), quiet=True)
    assert record["dataset"] == "digits" and record["seed"] == 5 and record["gradient"] == "full"
    assert record["data_fingerprint"] == digits.fingerprint()
    assert record["n_train"] == 1437 and record["n_test"] == 360
    assert record["device"] == "cpu" and record["precision"] == "float32"
    assert "--seed 5" in record["command"] and "--network 4C3-P2-20" in record["command"]
    assert record["best_epoch_test_accuracy"] >= record["test_accuracy"]
    right = records.unpacked(record["right"], record["n_test"])
    assert 100 * right.mean() == pytest.approx(record["test_accuracy"]) and 0 < right.mean() < 1
    fastjsonschema.compile(schema.of("train"))(json.loads(json.dumps(record)))


def test_validation_never_looks_at_the_test_set():
    record = train(TINY.but(validation=200, examples=0), quiet=True)
    assert record["n_validation"] == 200 and record["n_train"] == 1237
    assert not any("test" in key for key in record)
    assert not any("test" in key for epoch in record["epoch_metrics"] for key in epoch)


def test_part_of_the_examples(digits):
    """The first of an order that is always the same, after what is held out; the test set stays whole."""
    record = train(TINY.but(validation=200, examples=300), quiet=True)
    assert record["n_train"] == 300 and record["n_validation"] == 200
    assert record["data_note"] == "300 of 1,237 training examples"
    part = digits.first(40)
    assert torch.equal(part.train_images, digits.first(300).train_images[:40])
    assert torch.equal(part.test_images, digits.test_images)
    assert len(part.train_labels.unique()) == 10


def test_compared_gradients(digits):
    """A record has cosine and length of every layer; over one step there is no time for gradients to differ in."""
    config = TINY.but(compare_gradients=True)
    record = train(config, quiet=True)
    without = train(config.but(compare_gradients=False), quiet=True)
    measured = record["epoch_metrics"][0]
    for name in ("cosine_leak", "cosine_spatial"):
        assert len(measured[name]) == 3 and all(0 < cosine < 1 for cosine in measured[name])
    assert min(measured["length_leak"]) > 1 > max(measured["length_spatial"]) > 0
    assert record["test_accuracy"] == without["test_accuracy"]
    assert measured["loss"] == without["epoch_metrics"][0]["loss"]
    config = config.but(time_steps=1, weight_gain=7.0)
    found = compare_gradients(build_network(config, digits), digits, config)
    assert found == {f"{what}_{name}": [1.0] * 3 for name in ("leak", "spatial") for what in ("cosine", "length")}
    config = config.but(weight_gain=1e-3)  # silence reaches no weight but the first
    assert compare_gradients(build_network(config, digits), digits, config)["cosine_leak"][1:] == [None, None]


def test_gradients_that_overflow_are_not_compared(digits):
    """Weights that are far too large: the record can be written nevertheless."""
    config = training.resolve(TINY.but(compare_gradients=True, device="cpu"))
    network = build_network(config, digits)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1e30
    found = compare_gradients(network, digits, config)
    assert all(None in values for values in found.values())
    json.dumps(found, allow_nan=False)


def test_gradients_of_averages(digits):
    """The mean over examples is what the network sees: of all of them, its cosine is that of the whole batch."""
    config = TINY.but(compare_gradients=True)
    network = build_network(config, digits)
    dataset = digits.first(10)
    found = compare_averages(network, dataset, config)
    assert all(found[f"averaged_cosine_{name}"].keys() == {"1", "10"} for name in ("leak", "spatial"))
    full, leak = (
        torch.cat([x.grad.flatten() for x in trained_on(dataset, config.but(gradient=name)).parameters()])
        for name in ("full", "leak")
    )
    by_hand = functional.cosine_similarity(full, leak, dim=0).item()
    assert found["averaged_cosine_leak"]["10"] == pytest.approx(by_hand, abs=1e-4)
    record = train(TINY.but(epochs=3, compare_gradients=True), quiet=True)
    assert ["averaged_cosine_leak" in epoch for epoch in record["epoch_metrics"]] == [True, False, True]


def trained_on(dataset: DataSet, config: TrainingConfig) -> torch.nn.Module:
    """The network of a run after one backward pass over all training examples."""
    network = build_network(config, dataset)
    target = target_of(dataset.train_labels, dataset, config)
    loss_of(network, dataset.train_images, target, dataset, config).mean().backward()
    return network


INTEGRATOR = TINY.but(network="8C3-P2-40", readout="integrator", examples=0, optimizer="adam", shift=0)


@pytest.mark.parametrize("gradient", STUDIED)
def test_every_gradient_learns_the_digits_with_integrators_at_the_output(gradient):
    record = train(INTEGRATOR.but(gradient=gradient, epochs=2), quiet=True)
    assert record["test_accuracy"] > 80 and record["readout"] == "integrator"


def test_the_loss_of_integrators_by_hand(digits):
    config = INTEGRATOR.but(time_steps=6, read_steps=2)
    network = build_network(config, digits)
    images, labels = digits.train_images[:4], digits.train_labels[:4]
    potential = network((images - digits.normalisation[0]) / digits.normalisation[1])
    assert torch.equal(output(network, images, digits, config), potential[-2:])
    target = target_of(labels, digits, config)
    found = loss_of(network, images, target, digits, config)
    expected = functional.cross_entropy(potential[-2:].amax(0), labels, reduction="none")
    torch.testing.assert_close(found, expected)
    assert torch.equal(scores(potential[-2:], config), potential[-2:].amax(0))
    assert torch.equal(scores(potential, config.but(readout="van-rossum", read_steps=0)), potential.sum(0))


def test_the_class_of_integrators_is_that_of_the_largest_potential(digits):
    class Rises(torch.nn.Module):
        """The sum over time is largest for 0, the largest potential is that of 3, and at the end that of 5."""

        def forward(self, x):
            potential = torch.zeros(4, len(x), 10)
            potential[:, :, 0], potential[1, :, 3], potential[3, :, 5] = 1.0, 3.0, 2.0
            return potential

    for settings, label in (({}, 0), ({"readout": "integrator"}, 3), ({"readout": "integrator", "read_steps": 2}, 5)):
        assert torch.equal(evaluate(Rises(), digits, TINY.but(**settings)), digits.test_labels == label)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"read_steps": 3}, "read_steps must be 0 for readout van-rossum, whose target says when to fire, got 3"),
        ({"readout": "integrator", "read_steps": 6}, "read_steps must be at most 5, the time steps, got 6"),
        ({"readout": "softmax"}, "readout must be one of van-rossum, integrator, got 'softmax'"),
        ({"read_steps": -1}, "read_steps must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_read(settings, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        TINY.but(**settings)


def test_integrators_beyond_memory_are_refused(digits, monkeypatch):
    monkeypatch.setattr(memory, "total", lambda device: 1e9)
    check_memory(TINY.but(network="20", time_steps=10_000, batch_size=1, device="cpu"), digits)
    with pytest.raises(ValueError, match=r"^integrators over 10000 time steps would take 1\.6 GB of memory"):
        check_memory(INTEGRATOR.but(network="20", time_steps=10_000, batch_size=1, device="cpu"), digits)


def test_gradients_of_integrators_are_compared():
    record = train(INTEGRATOR.but(examples=100, compare_gradients=True), quiet=True)
    assert record["epoch_metrics"][0]["cosine_spatial"][-1] == pytest.approx(1), "the output has no reset and no spike"
    assert record["epoch_metrics"][0]["cosine_spatial"][0] < 1


def test_digits_by_rows():
    config = TINY.but(network="40", encoding="rows", time_steps=8, shift=0, epochs=3, examples=0, readout="integrator")
    record = train(config, quiet=True)
    assert record["test_accuracy"] > 60 and record["n_parameters"] == 8 * 40 + 40 * 10
    with pytest.raises(ValueError, match=r"^time_steps must be at least 8, the rows of an image"):
        train(config.but(time_steps=5), quiet=True)
    with pytest.raises(ValueError, match="does not fit its input of 1x1x8"):
        train(config.but(network="P2"), quiet=True)


def test_cross_validation_is_recorded():
    """Which of all examples were tested, and which of those were right."""
    record = train(TINY.but(folds=6, fold=2), quiet=True)
    tested = records.unpacked(record["tested"], 1797)
    assert tested.sum() == record["n_test"] == pytest.approx(1797 / 6, abs=10)
    assert records.unpacked(record["right"], record["n_test"]).mean() * 100 == pytest.approx(record["test_accuracy"])
    assert "6-fold cross-validation over 1,797 examples" in record["data_note"]
    schema_of_records = fastjsonschema.compile(schema.of("train"))
    schema_of_records(json.loads(json.dumps(records.new(TINY.but(folds=6, fold=2), {}, torch.device("cpu")) | record)))
    with pytest.raises(ValueError, match="folds must be at least 2"):
        TINY.but(fold=3)
    with pytest.raises(ValueError, match="folds must be at least 2"):
        TINY.but(folds=1)


def test_accuracy_counts_right_answers(digits):
    """A network whose output is fixed by hand: all say 0, and the digits 0 are counted."""

    class Says0(torch.nn.Module):
        def forward(self, x):
            return functional.one_hot(torch.zeros(5, len(x), dtype=torch.int64), 10).float()

    zeros = (digits.test_labels == 0).double().mean().item()
    right = evaluate(Says0(), digits, TINY)
    assert right.double().mean().item() == pytest.approx(zeros)
    assert torch.equal(right, digits.test_labels == 0)


def test_a_gradient_that_is_not_finite_ends_the_run(monkeypatch):
    """NaN weights make silent neurons and a finite loss: the gradient has to be looked at too."""

    def broken(config, dataset, compiled=False):
        network = build_network(config, dataset, compiled)
        with torch.no_grad():
            next(iter(network.parameters())).fill_(math.nan)
        return network

    monkeypatch.setattr(training, "build_network", broken)
    with pytest.raises(FloatingPointError, match="epoch 1/1"):
        train(TINY, quiet=True)


def test_more_examples_than_there_are_is_named():
    with pytest.raises(ValueError, match="examples"):
        train(TINY.but(examples=1438), quiet=True)


def test_defaults_follow_the_network():
    """Eight spiking layers need larger weights than four; what is given explicitly wins."""
    deep = TrainingConfig.for_dataset("digits", network=TABLE_3["cifar10"])
    assert deep.weight_gain > TrainingConfig.for_dataset("digits").weight_gain
    assert TrainingConfig.for_dataset("cifar10", weight_gain=1.0).weight_gain == 1.0


def test_the_deep_network_is_awake_at_the_start(digits):
    """Every layer but the output fires on real images; gradients reach the first weights."""
    config = TrainingConfig.for_dataset("digits", network=TABLE_3["cifar10"])
    network = build_network(config, digits)
    rates = []
    for layer in network.layers[:-1]:
        layer.register_forward_hook(lambda module, inputs, psc: rates.append(psc.mean().item()))
    network((digits.train_images[:20] - digits.normalisation[0]) / digits.normalisation[1])
    assert min(rates) > 1e-3


def test_bfloat16_learns_too():
    record = train(SMALL.but(epochs=3, precision="bfloat16"), quiet=True)
    assert record["test_accuracy"] > 70 and record["precision"] == "bfloat16"


def test_compiled_training_learns_the_same():
    compiled = train(TINY.but(epochs=2), compiled=True, quiet=True)
    eager = train(TINY.but(epochs=2), compiled=False, quiet=True)
    assert compiled["compiled"] and not eager["compiled"]
    assert compiled["epoch_metrics"][0]["loss"] == pytest.approx(eager["epoch_metrics"][0]["loss"], rel=1e-2)


@pytest.mark.filterwarnings("ignore:C\\+\\+ kernel unavailable")
def test_a_record_says_whether_there_was_a_kernel(tmp_path, monkeypatch):
    """None for a function of one's own, and none for anything where there is no compiler."""
    config = TINY.but(examples=40)
    monkeypatch.setitem(GRADIENTS, "mine", lambda U, S, h: 1 - S - 0.5 * U * h)
    assert [train(config.but(gradient=name), compiled=True, quiet=True)["compiled"] for name in ("0.5", "mine")] == [
        True,
        False,
    ]
    for name, value in {"PATH": tmp_path, "TSBP_CACHE": tmp_path / "kernels"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    library.forget()
    try:
        assert not train(config, compiled=True, quiet=True)["compiled"]
    finally:
        monkeypatch.undo()
        library.forget()


def test_measured_at_intervals_and_at_the_end():
    record = train(TINY.but(epochs=5, evaluate_every=2, examples=60), quiet=True)
    measured = [number for number, epoch in enumerate(record["epoch_metrics"], 1) if "test_accuracy" in epoch]
    assert measured == [2, 4, 5]
    assert record["test_accuracy"] == record["epoch_metrics"][-1]["test_accuracy"]


@pytest.mark.parametrize(("schedule", "last"), [("constant", 0.01), ("one-cycle", 0.0)])
def test_schedules(digits, schedule, last):
    run = Run(training.resolve(TINY.but(schedule=schedule, lr=0.01, batch_size=100)), digits, compiled=False)
    rates = [run.optimizer.param_groups[0]["lr"] for _ in run.batches()][:-1]  # each is that of the next update
    assert rates[-1] == pytest.approx(last, abs=1e-6)
    assert max(rates) == pytest.approx(0.01, rel=0.05)


SLOW = ("paper-cifar10",)


@pytest.mark.parametrize("preset", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PRESETS])
def test_presets_learn_a_batch_by_heart(preset):
    """A few updates of each network of Table 2; the events of five long steps are few, and wake theirs up late."""
    n = 2
    config = TrainingConfig.for_dataset(preset, batch_size=n, epochs=200)
    if config.dataset == "nmnist":
        images = (torch.rand(n, config.time_steps, 2, 34, 34) < 0.5).to(torch.uint8)
    else:
        size = (3, 32, 32) if config.dataset == "cifar10" else (1, 28, 28)
        images = torch.randint(0, 256, (n, *size), dtype=torch.uint8)
    labels = torch.arange(n)
    run = Run(training.resolve(config), DataSet("made up", images, labels, images, labels, 10), compiled=False)
    before = [weight.clone() for weight in run.network.parameters()]
    losses = []
    while run.epoch <= config.epochs and not (losses and losses[-1] < 0.8 * losses[0]):
        losses += [run.loss for _ in run.batches()]
        run.finish_epoch()
    assert losses[-1] < 0.8 * losses[0]
    for old, new in zip(before, run.network.parameters(), strict=True):
        assert new.isfinite().all() and not torch.equal(old, new)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", STUDIED)
def test_one_epoch_of_mnist_passes_95_per_cent(gradient, real_data):
    """The network and the settings of the paper's MNIST, on the real images."""
    config = TrainingConfig.for_dataset("mnist", gradient=gradient, epochs=1)
    record = train(config, data_root=real_data("MNIST"), quiet=True)
    assert record["test_accuracy"] > 95 and record["n_train"] == 60_000 and record["n_test"] == 10_000


def test_events_of_nmnist_train(real_data):
    config = TrainingConfig.for_dataset(
        "nmnist", epochs=2, examples=600, time_steps=5, network="6C5-P4", padding="1", lr=0.01
    )
    record = train(config, data_root=real_data("NMNIST"), quiet=True)
    assert record["test_accuracy"] > 30 and record["data_note"].startswith("subset: 1,000 of 60,000")
    assert record["data_note"].endswith("600 of 1,000 training examples")
