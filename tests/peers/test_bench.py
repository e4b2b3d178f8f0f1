"""Benchmarks: that they compare the same neuron, measure what they say, and leave a record."""

import json
import shlex
import time

import pytest
import torch
from command import assert_one_clear_line, here, tsbp

from tsbp.gradients import STUDIED
from tsbp.networks import SpikingNetwork
from tsbp.peers import bench, bench_memory, comparison, conventional, libraries
from tsbp.peers.bench import BenchConfig
from tsbp.peers.libraries import plain
from tsbp.runs import records
from tsbp.study.statistics import ratio_interval

LIF = BenchConfig(benchmark="lif", time_steps=4, batch_size=3, neurons=50, repeats=3)


@pytest.mark.parametrize("gradient", ["leak", "spatial"])
def test_another_gradient_is_found_out(gradient):
    with pytest.raises(ValueError, match="not the one compared with"):
        comparison.check(libraries.Peer("torch", gradient, plain.autograd))


def test_another_neuron_is_found_out():
    with pytest.raises(ValueError, match="not the one compared with"):
        comparison.check(libraries.Peer("torch", "full", lambda tau_m, *rest: plain.autograd(tau_m + 1e-3, *rest)))


def test_the_conventional_network_is_the_network():
    network = SpikingNetwork.from_spec("4C3-P2-12", (2, 8, 8), 3, 5).double()
    copied = conventional.ConventionalNetwork(network, comparison.with_filter(plain.autograd(6.0, 1.0, 0.3), 2.0))
    for x in (torch.rand(6, 2, 8, 8, dtype=torch.float64), torch.rand(5, 6, 2, 8, 8, dtype=torch.float64)):
        results = []
        for model in (network, copied):
            model.zero_grad()
            psc = model(x)
            psc.square().sum().backward()
            results.append([psc, *(weight.grad for weight in model.parameters())])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_there_is_no_conventional_form_of_sum_pooling():
    network = SpikingNetwork.from_spec("4C3-P2", (1, 8, 8), 3, 5, pooling="sum")
    with pytest.raises(ValueError, match="conventional"):
        conventional.ConventionalNetwork(network, plain.autograd(6.0, 1.0, 0.3))


def test_every_candidate_runs_once_a_round_in_random_order():
    calls: list[str] = []
    candidates = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = bench.measure(candidates, 20, torch.device("cpu"))
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == bench.WARM_UP + 20 and all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len({tuple(r) for r in rounds}) == 6
    assert all(len(times) == 20 for times in seconds.values())


def test_what_diverges_is_left_out_and_named():
    def diverging():
        raise FloatingPointError("gradient norm nan")

    candidates = {"one": lambda: 1.0, "other": diverging}
    assert bench._leave_out(candidates) == {"other": "gradient norm nan"}
    assert list(candidates) == ["one"]


def test_seconds_are_seconds():
    seconds = bench.measure({"nap": lambda: time.sleep(0.02)}, 2, torch.device("cpu"))
    assert all(0.02 <= x < 0.5 for x in seconds["nap"])


def test_ratios_are_paired():
    reference = [1.0, 2.0, 10.0, 3.0, 1.5]
    median, low, high = ratio_interval([1.1 * x for x in reference], reference)
    assert median == pytest.approx(1.1) and low == pytest.approx(1.1) and high == pytest.approx(1.1)
    median, low, high = ratio_interval([1, 2, 3, 4, 5, 6, 7], [1] * 7)
    assert low <= median == 4 <= high and low < high


def test_memory_is_that_of_the_tensors():
    x = torch.zeros(1000, requires_grad=True)
    peak, kept = bench_memory.peak_and_kept(lambda: torch.autograd.grad(x.exp().sum(), x), torch.device("cpu"))
    assert kept == 4000, "exp keeps its result"
    assert 8000 <= peak < 20_000


@pytest.mark.parametrize("benchmark", ["lif", "mnist", "nmnist"])
def test_a_record_says_what_was_measured(benchmark):
    config = LIF if benchmark == "lif" else BenchConfig(benchmark=benchmark, time_steps=2, batch_size=2, repeats=2)
    threads = torch.get_num_threads()
    record = bench.run(config)
    assert torch.get_num_threads() == threads
    names = {f"tsbp {gradient}" for gradient in STUDIED} | {"tsbp full, uncompiled", "plain autograd", "copy"}
    assert names <= record["seconds"].keys()
    assert all(len(times) == config.repeats and min(times) > 0 for times in record["seconds"].values())
    assert record["kept_bytes"]["tsbp full"] < record["kept_bytes"]["plain autograd"]
    assert 0 < record["first_call_seconds"] < 120 and record["copy_bandwidth"] > 1e8
    assert ("floor_fraction" in record) == (benchmark == "lif")
    if benchmark == "lif":
        assert record["kept_bytes"]["tsbp full"] == 4 * 4 * 3 * 50, "the potential alone"


def test_a_long_benchmark_of_a_layer_is_repeated_in_other_processes():
    record = bench.run(LIF.but(repeats=bench.WITH_PROCESSES), others=["plain autograd"])
    assert list(record["processes"]) == ["1 core, plain", "2 cores, plain", "2 cores, memory kept"]
    for seconds in record["processes"].values():
        assert seconds.keys() == record["seconds"].keys()
        assert all(len(times) == bench.WITH_PROCESSES // 2 and min(times) > 0 for times in seconds.values())


@pytest.mark.slow
def test_the_network_of_cifar10_is_measured():
    record = bench.run(BenchConfig(benchmark="cifar10", time_steps=2, batch_size=1, repeats=2))
    assert record["seconds"].keys() >= {"tsbp full", "plain autograd"}


def test_the_command_leaves_a_record_that_repeats_it(tmp_path):
    arguments = ["bench", "lif", "--time-steps", "2", "--batch-size", "2", "--neurons", "9", "--repeats", "2"]
    run = tsbp(*arguments, "--device", "cpu", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "95 % interval" in run.stdout and "plain autograd" in run.stdout
    (path,) = (tmp_path / "runs").iterdir()
    assert run.stdout.splitlines()[-1] == f"runs/{path.name}" and path.name.startswith("bench-lif-T2-")
    record = json.loads(path.read_text())
    again = here(*shlex.split(record["command"])[1:], cwd=tmp_path)
    assert again.returncode == 0 and list((tmp_path / "runs").iterdir()) == [path]
    assert len(records.load("bench", tmp_path / "runs")) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lid"], ["benchmark", "lif", "lid"]),
        (["lif", "--time-steps", "0"], ["time_steps"]),
        (["lif", "--repeats", "1"], ["repeats"]),
        (["mnist", "--batch-size", "501"], ["batch_size", "500"]),
        pytest.param(
            ["lif", "--device", "cuda"],
            ["cuda", "no CUDA device"],
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, words, tmp_path):
    assert_one_clear_line(here("bench", *arguments, cwd=tmp_path), *words)
    assert not (tmp_path / "runs").exists()
