"""The same neuron in other libraries, for comparison: SpikingJelly, snnTorch, Norse, and plain autograd.

The package needs none of them; ``pip install "tsbp[bench]"`` brings them. Each is set to eq. 3 and 4 with a hard
reset and the surrogate of eq. 10, and :func:`check` finds out whether spikes and gradients are then those of
:func:`tsbp.lif`. None of them has the synaptic filter of eq. 5, which is added in plain PyTorch.
"""

import copy
import functools
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tsbp.networks import Pooling, SpikingLayer, SpikingNetwork, over_time
from tsbp.neuron import GRADIENTS, filter_spikes, lif, reference_lif

TEMPERATURE = 0.25
"""The only sigmoid temperature at which Norse's ``tanh`` surrogate is eq. 10, and not a multiple of it."""


@dataclass(frozen=True)
class Peer:
    """A neuron of another library: a function from current ``[T, ...]`` to spikes ``[T, ...]``."""

    package: str
    """What must be installed."""
    gradient: str
    """Which of :data:`tsbp.GRADIENTS` it computes."""
    build: Callable[[float, float, float], Callable[[Tensor], Tensor]]
    """From tau_m, threshold and temperature."""
    tolerance: float = 1e-10
    """For its gradient in float64."""

    @property
    def installed(self) -> bool:
        """Whether it can be built here."""
        return importlib.util.find_spec(self.package) is not None


def autograd(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
    """The paper's equations through plain autograd."""
    settings = dict(tau_m=tau_m, threshold=threshold, temperature=temperature)
    return lambda current: reference_lif(current, **settings).spikes


def spikingjelly(detach_reset: bool) -> Callable:
    """SpikingJelly's neuron in multi-step mode; it keeps the reset's gradient unless told to detach it.

    Version 2 chooses its implementation by the device: plain PyTorch on the CPU, kernels of its own on CUDA.
    """

    def build(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
        from spikingjelly.activation_based import functional as spikingjelly_functional
        from spikingjelly.activation_based import neuron, surrogate

        node = neuron.LIFNode(
            tau=tau_m,
            decay_input=False,
            v_threshold=threshold,
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(alpha=1 / temperature),
            detach_reset=detach_reset,
            step_mode="m",
        )

        def simulate(current: Tensor) -> Tensor:
            spikingjelly_functional.reset_net(node)
            return node(current)

        return simulate

    return build


def snntorch(reset_delay: bool) -> Callable:
    """snnTorch's neuron; its reset is detached with ``reset_delay``, its default, and in the graph without."""

    def build(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
        from snntorch import Leaky, surrogate

        node = Leaky(
            beta=1 - 1 / tau_m,
            threshold=threshold,
            reset_mechanism="zero",
            spike_grad=surrogate.sigmoid(slope=1 / temperature),
            reset_delay=reset_delay,
        )

        return lambda current: _step_by_step(node, current, node.reset_mem().to(current.device))

    return build


def norse(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
    """Norse's neuron without a current of its own; it weighs the input by 1/tau_m, so that goes in times tau_m."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of functions of PyTorch that go out of use
        from norse.torch.functional import lif_box

    def simulate(current: Tensor) -> Tensor:
        def number(x: float) -> Tensor:
            return torch.tensor(x, dtype=current.dtype, device=current.device)

        parameters = lif_box.LIFBoxParameters(
            tau_mem_inv=number(1 / tau_m),
            v_leak=number(0.0),
            v_th=number(threshold),
            v_reset=number(0.0),
            method="tanh",
            alpha=1 / (2 * temperature),
        )
        state = lif_box.LIFBoxFeedForwardState(v=torch.zeros_like(current[0]))
        step = functools.partial(lif_box.lif_box_feed_forward_step, p=parameters, dt=1.0)
        return _step_by_step(step, tau_m * current, state)

    return simulate


def _step_by_step(step: Callable, current: Tensor, state: Any) -> Tensor:
    """Spikes ``[T, ...]`` of a neuron that takes one time step and its own state at a call."""
    spikes = []
    for current_now in current:
        spikes_now, state = step(current_now, state)
        spikes.append(spikes_now)
    return torch.stack(spikes)


PEERS = {
    "plain autograd": Peer("torch", "full", autograd),
    "SpikingJelly": Peer("spikingjelly", "full", spikingjelly(detach_reset=False)),
    "SpikingJelly, detached": Peer("spikingjelly", "leak", spikingjelly(detach_reset=True)),
    "snnTorch": Peer("snntorch", "leak", snntorch(reset_delay=True), 1e-5),  # its beta is float32
    "snnTorch, no delay": Peer("snntorch", "full", snntorch(reset_delay=False), 1e-5),
    "Norse": Peer("norse", "full", norse),
}
"""By the name under which they are shown."""


def with_filter(simulate: Callable[[Tensor], Tensor], tau_s: float) -> Callable[[Tensor], Tensor]:
    """Current to psc: a peer's spikes through eq. 5."""
    return lambda current: filter_spikes(simulate(current), tau_s)


def check(peer: Peer, device: torch.device | str = "cpu") -> float:
    """Compare a peer with :func:`tsbp.lif` in float64: the same spikes, and its gradient.

    Returns:
        The largest difference of the gradients, of values around 1.

    Raises:
        ValueError: it is another neuron.
    """
    random = torch.Generator().manual_seed(0)
    current, grad = torch.randn(2, 25, 200, dtype=torch.float64, generator=random).to(device)
    current = (0.7 * current + 0.4).requires_grad_()
    spikes = peer.build(6.0, 1.0, TEMPERATURE)(current)
    mine = lif(current, tau_m=6.0, temperature=TEMPERATURE, **GRADIENTS[peer.gradient]).spikes
    theirs, ours = (torch.autograd.grad(x, current, grad)[0] for x in (spikes, mine))
    difference = (theirs - ours).abs().max().item()
    if not torch.equal(spikes, mine) or difference > peer.tolerance:
        raise ValueError(f"the neuron of {peer.package} is not the one compared with: gradients differ by {difference}")
    return difference


class ConventionalNetwork(nn.Module):
    """A :class:`tsbp.SpikingNetwork` as a library's tutorial would write it, around a neuron of its own.

    Images are repeated for every time step, feature maps lie channel by channel, pooling is PyTorch's.

    Args:
        network: gives layers and weights, which are copied.
        neuron: current ``[T, ...]`` to psc ``[T, ...]``.
    """

    def __init__(self, network: SpikingNetwork, neuron: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.time_steps = network.time_steps
        self.neuron = neuron
        self.layers = nn.ModuleList()
        for layer in network.layers:
            if isinstance(layer, SpikingLayer):
                self.layers.append(copy.deepcopy(layer.weights).to(memory_format=torch.contiguous_format))
            elif isinstance(layer, Pooling) and layer.kind == "average":
                self.layers.append(nn.AvgPool2d(layer.size))
            else:
                raise ValueError(f"no conventional form of {layer}")

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`tsbp.SpikingNetwork.forward`."""
        psc = x if x.dim() == 5 else x.repeat(self.time_steps, 1, 1, 1, 1)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                psc = self.neuron(layer(psc.flatten(2)))
            else:
                psc = over_time(layer, psc)
                psc = psc if isinstance(layer, nn.AvgPool2d) else self.neuron(psc)
        return psc
