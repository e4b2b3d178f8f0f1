"""The adapters: each neuron against the plain equations, and the registry that holds them."""

import os
import re

import pytest
import torch

from tsbp import reference_lif
from tsbp.gradients import STUDIED
from tsbp.peers import bench, libraries
from tsbp.peers.bench import BenchConfig
from tsbp.peers.libraries import jax_functions, jax_scan

ALL = libraries.PEERS | libraries.MORE


@pytest.mark.parametrize("name", ALL)
def test_it_is_the_neuron_of_the_equations_and_has_the_gradient_that_is_said(name):
    peer = ALL[name]
    if not peer.installed:
        pytest.skip(f"{peer.package} is not installed")
    random = torch.Generator().manual_seed(3)
    current, grad = torch.randn(2, 10, 50, dtype=torch.float64, generator=random)
    current = (0.7 * current + 0.4).requires_grad_()
    spikes = peer.build(5.0, 0.9, libraries.TEMPERATURE)(current)
    assert spikes.sum() > 20
    found = torch.autograd.grad(spikes, current, grad)[0]
    near = set()
    for gradient in STUDIED:
        settings = dict(gradient=gradient, reset="subtract" if peer.soft_reset else "zero")
        mine = reference_lif(current, tau_m=5.0, threshold=0.9, temperature=libraries.TEMPERATURE, **settings).spikes
        assert torch.equal(spikes.double(), mine)
        if (found - torch.autograd.grad(mine, current, grad)[0]).abs().max() < peer.tolerance:
            near.add(gradient)
    assert near == ({peer.gradient} if peer.gradient else set())


def test_the_registry_has_every_adapter_once():
    folder = jax_scan.__file__.rpartition(os.sep)[0]
    adapters = {name for name in os.listdir(folder) if name.endswith(".py")}
    adapters -= {"__init__.py", "peer.py", "jax_functions.py"}
    assert len(libraries.LIBRARIES) == len(adapters)
    assert len({library.title for library in libraries.LIBRARIES}) == len(libraries.LIBRARIES)
    assert len(ALL) == sum(len(library.peers) for library in libraries.LIBRARIES)


@pytest.mark.parametrize("library", libraries.LIBRARIES, ids=lambda library: library.title)
def test_a_library_has_peers_or_says_why_not(library):
    assert bool(library.peers) != bool(library.reason) and library.neuron
    for name, peer in library.peers.items():
        assert peer.package == library.package and peer.gradient in (*STUDIED, None)
        assert name.startswith(library.title) or library.package == "torch"
        assert (peer.tolerance < 1e-9) == library.float64
    assert sum("default" in peer.setting for peer in library.peers.values() if not peer.soft_reset) <= 2


def test_xla_is_told_how_many_cores_to_use(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--other=1")
    monkeypatch.setenv("NPROC", "7")
    jax_functions.use_threads(1)
    assert os.environ["NPROC"] == "1" and os.environ["XLA_FLAGS"] == "--other=1 --xla_cpu_multi_thread_eigen=false"
    jax_functions.use_threads(2)
    assert os.environ["NPROC"] == "2" and os.environ["XLA_FLAGS"] == "--other=1"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_layer_in_jax_is_timed_beside_the_others(precision):
    pytest.importorskip("jax")
    config = BenchConfig(benchmark="lif", time_steps=4, batch_size=2, neurons=30, repeats=2, precision=precision)
    record = bench.run(config, others=["plain autograd", "JAX scan"])
    timed = {"JAX scan", "JAX scan (spikes alone)"}
    assert timed <= record["seconds"].keys() and not timed & record["kept_bytes"].keys()
    assert record["agreement"]["JAX scan"] < 1e-10 and re.match(r"\d", record["peer_versions"]["jax"])


@pytest.mark.parametrize("tau_s", [None, 2.0])
def test_what_is_timed_in_jax_is_the_gradient(tau_s):
    pytest.importorskip("jax")
    current, grad = torch.randn(2, 6, 20, generator=torch.Generator().manual_seed(0)) + 0.3
    out, found = jax_scan.layer(current, grad, 6.0, 1.0, 0.25, tau_s)()
    current.requires_grad_()
    mine = reference_lif(current, tau_m=6.0, tau_s=tau_s or 1.0, temperature=0.25)
    mine = mine.psc if tau_s else mine.spikes
    torch.testing.assert_close(torch.tensor(out.tolist()), mine.detach())
    expected = torch.autograd.grad(mine, current, grad)[0]
    torch.testing.assert_close(torch.tensor(found.tolist()), expected, rtol=1e-4, atol=1e-5)


def test_what_is_timed_in_jax_of_a_recurrent_layer_is_the_gradient():
    pytest.importorskip("jax")
    random = torch.Generator().manual_seed(0)
    current, grad = 0.7 * torch.randn(2, 6, 3, 20, generator=random) + 0.3
    weights = torch.randn(20, 20, generator=random) / 20**0.5
    out, *found = jax_scan.layer(current, grad, 6.0, 1.0, 0.25, 2.0, recurrent=weights)()
    inputs = current.requires_grad_(), weights.requires_grad_()
    mine = reference_lif(current, recurrent=weights, temperature=0.25).psc
    torch.testing.assert_close(torch.tensor(out.tolist()), mine.detach())
    for theirs, expected in zip(found, torch.autograd.grad(mine, inputs, grad), strict=True):
        torch.testing.assert_close(torch.tensor(theirs.tolist()), expected, rtol=1e-4, atol=1e-5)


def test_a_recurrent_layer_in_jax_is_timed_beside_ours():
    pytest.importorskip("jax")
    config = BenchConfig(benchmark="recurrent", time_steps=4, batch_size=2, neurons=30, repeats=2)
    record = bench.run(config, others=["plain autograd", "JAX scan"])
    assert {"JAX scan", "plain autograd", "tsbp full"} <= record["seconds"].keys()
