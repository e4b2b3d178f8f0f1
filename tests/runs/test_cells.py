"""Many networks at once: each ends where it would end alone, and one that breaks down disturbs no other."""

import itertools
import json
import math
import shlex

import fastjsonschema
import pytest
import torch
import yaml
from command import assert_one_clear_line, here
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tsbp.networks import SpikingNetwork
from tsbp.runs import cells, data, evaluation, experiments, records, sweep, training
from tsbp.runs.batched import BatchedNetwork
from tsbp.runs.cells import Group
from tsbp.runs.data import randman, recall
from tsbp.runs.optimizers import OPTIMIZERS
from tsbp.runs.settings import CellConfig
from tsbp.study import reproduce, schema

SMALL = dict(network="12", time_steps=20, batch_size=10, epochs=2, examples=100)
CELL = CellConfig.for_dataset("randman", **SMALL, gradients=("full", "0.5"), learning_rates=(0.02, 0.3), seeds=(3, 0))
PAIRS = [(0.02, 3), (0.3, 0), (0.3, 3)]
COMMAND = ["cell", "recall", "--network", "8R", "--epochs", "1", "--examples", "60", "--gradient", "leak"]
COMMAND += ["--gradient", "0.5", "--lr", "0.01", "--lr", "0.1", "--seed", "1", "--seed", "0"]


@pytest.fixture(scope="module")
def small_data(tmp_path_factory, digits) -> dict[str, data.DataSet]:
    folder = tmp_path_factory.mktemp("nothing")
    made = randman.source(classes=4, inputs=8, n_train=200, n_test=60).load(folder, 20)
    kept = recall.source(classes=3, n_train=200, n_test=60).load(folder, 20)
    return {"randman": made, "recall": kept, "digits": digits}


class InDouble(torch.nn.Module):
    """A network in float64, whose inputs are in float32."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.double())


def ended_alone(config: training.TrainingConfig, dataset: data.DataSet) -> training.Run:
    """The whole of a training in float64, through the plain loop."""
    network = InDouble(evaluation.build_network(config, dataset))
    alone = training.Run(config, dataset, compiled=False, network=network)
    while alone.epoch <= config.epochs:
        for _ in alone.batches():
            pass
        alone.finish_epoch()
    return alone


def ended_together(config: CellConfig, dataset: data.DataSet, gradient: str, pairs: list) -> Group:
    group = Group(config, dataset, gradient, pairs, compiled=True)
    group.networks.double()
    for _ in range(config.epochs):
        group.train_epoch()
    return group


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"network": "12-10"},
        {"network": "12R"},
        {"network": "8R-8-6R", "synaptic_delay": 1},
        {"network": "12R", "detach_recurrence": True},
        {"dataset": "recall", "network": "10R", "read_steps": 5},
        {"readout": "van-rossum", "target": "01", "surrogate": "arctan", "surrogate_scale": "peak"},
        {"dataset": "digits", "encoding": "rows", "time_steps": 9, "shift": 1, "rotation": 5.0},
        {"dataset": "digits", "readout": "van-rossum", "time_steps": 5, "synaptic_delay": 1},
        {"clip_norm": 0.01},
        {"clip_norm": math.inf, "schedule": "constant"},
        {"reset": "subtract", "initialisation": "tssl-bp"},
        *({"optimizer": name} for name in OPTIMIZERS if name != "adam"),
    ],
    ids=lambda settings: ",".join(f"{name}={value}" for name, value in settings.items()),
)
def test_each_network_ends_where_it_ends_alone(small_data, settings):
    """Twenty updates, two epochs of ten, in float64: losses, weights and answers."""
    config = CELL.but(**settings)
    dataset = evaluation.prepare(config, small_data[config.dataset])
    group = ended_together(config, dataset, "0.5", PAIRS)
    right, _ = group.evaluate()
    for place, pair in enumerate(PAIRS):
        alone = ended_alone(config.alone("0.5", *pair), dataset)
        assert group.loss[place].item() == pytest.approx(alone.epoch_metrics[-1]["loss"], rel=1e-9)
        for together, own in zip(group.parameters, alone.network.parameters(), strict=True):
            torch.testing.assert_close(together[place].detach(), own.detach(), rtol=1e-8, atol=1e-10)
        assert torch.equal(right[place], alone.right)


def broken(parameters) -> None:
    """Numbers so large that a step from them is none."""
    with torch.no_grad():
        parameters[-1].fill_(3e38)


def test_one_that_breaks_down_disturbs_no_other(small_data, monkeypatch):
    """Alone it would end in an error."""
    dataset = evaluation.prepare(CELL, small_data["randman"])
    pairs = [(0.02, 3), (0.3, 3), (0.3, 0)]
    group, without = (Group(CELL, dataset, "full", some, compiled=True) for some in (pairs, pairs[::2]))
    for some in (group, without):
        some.train_epoch()
    broken([parameter[1] for parameter in group.parameters])
    for some in (group, without):
        some.train_epoch()
    assert group.broke_down.tolist() == [0, 2, 0] and without.broke_down.tolist() == [0, 0]
    for one, other in zip(group.parameters, without.parameters, strict=True):
        assert not one[1].isfinite().all()
        torch.testing.assert_close(one[[0, 2]], other)
    alone = training.Run(CELL.alone("full", 0.3, 3), dataset)
    broken(list(alone.network.parameters()))
    with pytest.raises(FloatingPointError, match="a smaller --lr may help"):
        list(alone.batches())

    build = evaluation.build_network

    def built(config, *arguments):
        network = build(config, *arguments)
        if config.lr == 0.3:
            broken(list(network.parameters()))
        return network

    monkeypatch.setattr(evaluation, "build_network", built)
    found = cells.run(CELL, dataset=small_data["randman"])
    assert found["broke_down"] == [[[0, 0], [1, 1]]] * 2
    for name in ("test_accuracies", "losses", "firing_rates", "right_answers"):
        for of_gradient in found[name]:
            assert None not in of_gradient[0] and of_gradient[1] == [None, None]
    json.dumps(found, allow_nan=False)


def test_lists_of_a_cell_are_its_networks(small_data, monkeypatch):
    """In the places of gradient, rate and seed, whatever trains side by side."""
    config = CELL.but(network="6-8R", epochs=1)
    together = cells.run(config, dataset=small_data["randman"])
    monkeypatch.setattr(cells, "AT_ONCE", 1)
    one_by_one = cells.run(config, dataset=small_data["randman"], compiled=False)
    for found in (together, one_by_one):
        assert torch.tensor(found["firing_rates"]).shape == (2, 2, 2, 2)
    for places in itertools.product(range(2), repeat=3):
        g, r, s = places
        alone = training.train(
            config.alone(config.gradients[g], config.learning_rates[r], config.seeds[s]),
            dataset=small_data["randman"],
            quiet=True,
        )
        for found in (together, one_by_one):
            assert found["losses"][g][r][s] == pytest.approx(alone["epoch_metrics"][-1]["loss"], rel=1e-3)
            assert found["test_accuracies"][g][r][s] == pytest.approx(alone["test_accuracy"], abs=5)
            right = records.unpacked(found["right_answers"][g][r][s], 60)
            assert 100 * right.mean() == pytest.approx(found["test_accuracies"][g][r][s])
    assert alone["n_parameters"] == together["n_parameters"]
    assert alone["data_fingerprint"] == together["data_fingerprint"]


def test_firing_rates_are_counted_spikes(small_data):
    config = CELL.but(network="6-8R", readout="van-rossum", threshold=0.3)
    dataset = evaluation.prepare(config, small_data["randman"])
    group = Group(config, dataset, "leak", PAIRS, compiled=False)
    _, rates = group.evaluate()
    assert rates.shape == (3, 3), "the output layer spikes too"
    psc = evaluation.build_network(config.alone("leak", *PAIRS[1]), dataset).layers[0](
        dataset.test_images.movedim(1, 0).float()
    )
    spikes = config.tau_s * (psc - (1 - 1 / config.tau_s) * torch.cat([torch.zeros_like(psc[:1]), psc[:-1]]))
    assert rates[1, 0].item() == pytest.approx(spikes.mean().item(), rel=1e-5) and spikes.any()


@profile(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    recurrent=st.booleans(),
    which=st.lists(st.integers(0, 1), min_size=1, max_size=4),
    batch=st.integers(1, 3),
    constant=st.booleans(),
    delay=st.integers(0, 2),
    readout=st.sampled_from(["spiking", "integrator"]),
    compiled=st.booleans(),
)
def test_side_by_side_is_one_after_another(sizes, recurrent, which, batch, constant, delay, readout, compiled):
    """Any shape: outputs, gradients of all weights and spikes counted."""
    spec = "-".join(f"{size}R" if recurrent else str(size) for size in sizes)
    built = [
        SpikingNetwork.from_spec(
            spec, (2, 1, 3), 4, 5, weight_gain=4.0, synaptic_delay=delay, readout=readout, compiled=compiled
        ).double()
        for _ in which
    ]
    together = BatchedNetwork(built, compiled)
    x = torch.rand(2, 1 if constant else 5, batch, 6, dtype=torch.float64)
    out = together(x, which)
    assert out.shape == (5, batch, len(which), 4)
    out.square().sum().backward()
    psc, rates = together.activity(x, which)
    assert torch.equal(psc, out) and rates.shape == (len(which), len(sizes) + (readout == "spiking"))
    for place, (one, number) in enumerate(zip(built, which, strict=True)):
        seen = x[number].unflatten(2, (2, 1, 3))
        alone = one(seen)
        alone.square().sum().backward()
        torch.testing.assert_close(out[:, :, place], alone)
        for stacked, own in zip(together.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(stacked.grad[place], own.grad)


# --- records and the command line -------------------------------------------------------------------------------------


def test_cell_leaves_a_record_that_repeats_it(tmp_path):
    first = here(*COMMAND, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    path = tmp_path / first.stdout.splitlines()[-1]
    record = json.loads(path.read_text())
    fastjsonschema.compile(schema.of("cell"))(record)
    assert (record["gradients"], record["learning_rates"], record["seeds"]) == (["leak", "0.5"], [0.01, 0.1], [1, 0])
    assert torch.tensor(record["test_accuracies"]).shape == (2, 2, 2)
    again = here(*shlex.split(record["command"])[1:], "--out", "again", cwd=tmp_path)
    repeated = json.loads((tmp_path / again.stdout.splitlines()[-1]).read_text())
    for name in ("test_accuracies", "losses", "firing_rates", "right_answers", "identity"):
        assert repeated[name] == record[name]
    read = records.read(path)
    assert CellConfig.restored(read) == CellConfig(**{name: record[name] for name in CellConfig.model_fields})
    assert read["learning_rates"] == (0.01, 0.1)
    assert len(records.load("cell", tmp_path / "again")) == 1


def test_held_out_examples_choose(tmp_path):
    found = here(*COMMAND, "--validation", "50", cwd=tmp_path)
    assert found.returncode == 0 and "validation accuracy" in found.stdout
    record = json.loads((tmp_path / found.stdout.splitlines()[-1]).read_text())
    assert record["n_validation"] == 50 and "right_answers" not in record and "test_accuracies" not in record
    fastjsonschema.compile(schema.of("cell"))(record)


BLOCK = dict(network="8R", epochs=1, examples=60, learning_rates=[0.01, 0.1], seeds=[0, 1], gradients=["leak", 0.5])


def test_an_experiment_of_cells(tmp_path):
    """Lists within a cell stay lists; every other one stands for its values."""
    file = tmp_path / "mine.yaml"
    content = {"command": "cell", "axis": "network", "runs": {"dataset": "recall", **BLOCK, "network": ["8R", "8-8"]}}
    file.write_text(yaml.safe_dump(content))
    configs = experiments.read(file).configs
    assert [config.network for config in configs] == ["8R", "8-8"] and configs[0].gradients == ("leak", "0.5")
    assert configs[0] == CellConfig.for_dataset("recall", **BLOCK) and configs[0].read_steps == recall.GO
    outcome = sweep.sweep(configs, tmp_path / "out")
    assert len(outcome.recorded) == 2 and not outcome.failed
    assert sweep.sweep(configs, tmp_path / "out").skipped == outcome.recorded
    assert all(name.startswith("cell-recall-T20-seed0-") for name in outcome.recorded)
    elsewhere = sweep.sweep(configs[:1], tmp_path / "elsewhere", workers=2)
    assert elsewhere.recorded == outcome.recorded[:1], elsewhere.failed


def test_a_cell_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Group, "train_epoch", interrupted)
    assert here(*COMMAND, cwd=tmp_path).returncode == 130
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cell", "digits"], ["network must be fully connected", "128R", "15C5-P2-40C5-P2-300"]),
        (["cell", "recal"], ["unknown data set 'recal'", "recall"]),
        (["cell", "mnist", "--network", "20"], ["train-images-idx3-ubyte", "--data-root"]),
        ([*COMMAND, "--network", "12C5-3"], ["network must be fully connected", "12C5-3"]),
        ([*COMMAND, "--network", "0"], ["network token '0'"]),
        ([*COMMAND, "--network", ""], ["network"]),
        ([*COMMAND, "--lr", "0"], ["learning_rates", "greater than 0", "0"]),
        ([*COMMAND, "--lr", "0.010"], ["learning_rates must differ from one another", "0.01"]),
        ([*COMMAND, "--seed", "1"], ["seeds must differ from one another"]),
        ([*COMMAND, "--seed", "-1"], ["seeds", "at least 0", "-1"]),
        ([*COMMAND, "--gradient", "nothing"], ["gradient", "nothing"]),
        ([*COMMAND, "--gradient", "0.50"], ["gradients must differ from one another"]),
        ([*COMMAND, "--encoding", "poisson"], ["encoding", "poisson"]),
        ([*COMMAND, "--read-steps", "30"], ["read_steps", "30"]),
        ([*COMMAND, "--dropout", "0.1"], ["--dropout"]),
        ([*COMMAND, "--device", "tpu"], ["device", "tpu"]),
        ([*COMMAND, "--network", "999999999999"], ["the network 999999999999 would take", "of memory; there are"]),
        ([*COMMAND, "--examples", "99999"], ["examples must be from 1 to 2000", "99999"]),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, arguments, words):
    assert_one_clear_line(here(*arguments, cwd=tmp_path), *words)
    assert not (tmp_path / "runs").exists()


def test_networks_that_do_not_fit_side_by_side():
    def network(spec: str, **settings) -> SpikingNetwork:
        return SpikingNetwork.from_spec(spec, (1, 8, 8), 4, 5, **settings)

    with pytest.raises(ValueError, match="must be fully connected"):
        BatchedNetwork([network("4C3-8")])
    with pytest.raises(ValueError, match="must be fully connected"):
        BatchedNetwork([network("8", dropout=0.5)])


def test_a_record_names_the_shortest_command(tmp_path):
    """It means the same cell, and says the network always."""
    cell = CellConfig.for_dataset("digits", network="20", encoding="rows", time_steps=8, learning_rates=(0.1, 0.2))
    said = reproduce.short_command(records.new(cell, {}, torch.device("cpu")))
    assert said == "tsbp cell digits --network 20 --time-steps 8 --encoding rows --lr 0.1 --lr 0.2"
