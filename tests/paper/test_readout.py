"""Leaky integrators at the output, and the cross-entropy of what they reach."""

import math
import re

import pytest
import torch
from torch.nn import functional

from tsbp import SpikingNetwork
from tsbp.layers import LayerState
from tsbp.readout import Integrator, leaky_integrator, max_over_time_cross_entropy


def by_steps(current: torch.Tensor, tau_m: float, u: torch.Tensor | float = 0.0) -> torch.Tensor:
    """The equation as it is written."""
    reached = []
    for now in current:
        u = (1 - 1 / tau_m) * u + now
        reached.append(u)
    return torch.stack(reached)


def test_an_integrator_by_hand():
    reached = leaky_integrator(torch.tensor([1.0, 0.0, 0.0, 2.0]), 2.0)
    assert reached.tolist() == [1.0, 0.5, 0.25, 2.125]
    assert leaky_integrator(torch.tensor([1.0, 2.0, 3.0]), 1.0).tolist() == [1, 2, 3], "no memory"
    assert leaky_integrator(torch.tensor([1.0, 2.0, 3.0]), math.inf).tolist() == [1, 3, 6], "no leak"


@pytest.mark.parametrize("tau_m", [1.0, 1.5, 20.0, 1e6])
def test_all_steps_at_once_are_the_steps_one_by_one(tau_m):
    current, before = torch.randn(200, 3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(leaky_integrator(current, tau_m), by_steps(current, tau_m), rtol=1e-12, atol=1e-12)
    continued = leaky_integrator(current, tau_m, before)
    torch.testing.assert_close(continued, by_steps(current, tau_m, before), rtol=1e-12, atol=1e-12)


def test_the_gradient_of_an_integrator():
    """Linear, so that dL/dI[t] = gU[t] + (1 - 1/τm) dL/dI[t+1]; finite differences agree."""
    current = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    before = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, u: leaky_integrator(i, 4.0, u), (current, before))
    assert torch.autograd.gradgradcheck(lambda i: leaky_integrator(i, 4.0).square(), (current,))
    arriving = torch.randn(6, 2, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad(leaky_integrator(current, 4.0), current, arriving)
    torch.testing.assert_close(found, by_steps(arriving.flip(0), 4.0).flip(0))


def test_cross_entropy_of_the_largest_potential_by_hand():
    potential = torch.tensor([[[0.0, 1.0], [5.0, -1.0]], [[2.0, -3.0], [0.0, 4.0]]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = max_over_time_cross_entropy(potential, target)
    expected = [math.log(1 + math.exp(1.0 - 2.0)), math.log(1 + math.exp(5.0 - 4.0))]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)
    loss = max_over_time_cross_entropy(potential.requires_grad_(), target).sum()
    (gradient,) = torch.autograd.grad(loss, potential)
    p = potential.amax(0).softmax(1) - target
    assert gradient[1, 0, 0] == pytest.approx(p[0, 0].item()) and gradient[0, 0, 1] == pytest.approx(p[0, 1].item())
    assert (gradient != 0).sum() == 4, "the largest step of each class alone"
    mixed = torch.rand(3, 5, dtype=torch.float64).softmax(1)
    given = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: max_over_time_cross_entropy(u, mixed), (given,))


def test_a_network_with_integrators_by_hand():
    network = SpikingNetwork.from_spec("7", (1, 1, 5), 3, 12, tau_m=4.0, readout="integrator").double()
    frames = torch.randn(12, 2, 1, 1, 5, dtype=torch.float64)
    hidden = network.layers[0](frames)
    current = functional.linear(hidden, network.layers[1].weights.weight)
    torch.testing.assert_close(network(frames), by_steps(current, 4.0))
    assert (network(frames) < 0).any(), "no psc is"


def test_integrators_have_the_weights_of_a_spiking_output():
    networks = []
    for readout in ("spiking", "integrator"):
        torch.manual_seed(3)
        networks.append(SpikingNetwork.from_spec("6-7", (1, 1, 5), 3, 12, readout=readout))
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("delay", [0, 2])
def test_a_network_with_integrators_over_halves_of_a_sequence(delay):
    network = SpikingNetwork.from_spec("7R", (1, 1, 5), 3, 12, readout="integrator", synaptic_delay=delay).double()
    frames = torch.randn(12, 2, 1, 1, 5, dtype=torch.float64)
    first, state = network.simulate(frames[:5])
    second, state = network.simulate(frames[5:], state)
    whole, after = network.simulate(frames)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)
    assert isinstance(after[-1], LayerState) and not after[-1].neurons.spikes.any()
    torch.testing.assert_close(state[-1].neurons.potential, whole[-1])


def test_integrators_keep_float32_under_autocast():
    network = SpikingNetwork.from_spec("7", (1, 1, 5), 3, 4, readout="integrator")
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.randn(4, 2, 1, 1, 5)).dtype == torch.float32
    current = torch.randn(9, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(leaky_integrator(current, 5.0), by_steps(current, 5.0))
    assert leaky_integrator(current.bfloat16(), 5.0).dtype == torch.float32


def test_a_layer_of_integrators():
    layer = Integrator(5.0)
    assert torch.equal(layer(torch.ones(1, 2), time_steps=3), layer(torch.ones(3, 2)))
    out = layer.simulate(torch.ones(3, 2), spikes=True, potential=True)
    assert not out.spikes.any() and torch.equal(out.potential, out.psc) and "tau_m=5.0" in repr(layer)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Integrator(0.5), "tau_m must be at least 1 time step, got 0.5"),
        (lambda: Integrator(torch.ones(3)), "tau_m must be a number for an integrator, got a tensor [3]"),
        (lambda: leaky_integrator(torch.ones(3), math.nan), "tau_m must be at least 1 time step, got nan"),
        (lambda: leaky_integrator(torch.ones(3, dtype=torch.int64), 2.0), "current must be a floating-point tensor"),
        (lambda: leaky_integrator(torch.ones(0, 2), 2.0), "current must have the shape [T, ...] with T at least 1"),
        (
            lambda: leaky_integrator(torch.ones(3, 2), 2.0, torch.ones(3)),
            "potential must have the shape of one step, [2], got [3]",
        ),
        (
            lambda: Integrator().simulate(torch.ones(3, 2), recurrent=torch.ones(2, 2)),
            "recurrent weights belong to a layer of spiking neurons",
        ),
        (lambda: Integrator()(torch.ones(3, 2), time_steps=4), "time_steps must be an integer, the length of current"),
        (
            lambda: max_over_time_cross_entropy(torch.ones(3, 2, 4), torch.ones(2, 3)),
            "potential must be [T, B, n_classes] and target the same without T, got [3, 2, 4] and [2, 3]",
        ),
        (
            lambda: SpikingNetwork.from_spec("7", (1, 1, 5), 3, 12, readout="softmax"),
            "readout must be one of spiking, integrator, got 'softmax'",
        ),
    ],
)
def test_what_a_readout_cannot_be(call, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        call()
