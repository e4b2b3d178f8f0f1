"""The same neuron in other libraries, for comparison: SpikingJelly, snnTorch, Norse, and plain autograd.

The package needs none of them; ``pip install "tsbp[bench]"`` brings them. Each is set to eq. 3 and 4 and the surrogate
of eq. 10; :func:`check` finds out whether spikes and gradients are then those of :func:`tsbp.lif`. None of them has the
synaptic filter of eq. 5, which is added in plain PyTorch.
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

from tsbp.gradients import STUDIED
from tsbp.layers import Pooling, SpikingLayer, over_time
from tsbp.networks import SpikingNetwork
from tsbp.neuron import filter_spikes, lif, reference_lif
from tsbp.surrogate import surrogate_spike

TEMPERATURE = 0.25
"""The only sigmoid temperature at which Norse's ``tanh`` surrogate is eq. 10, and not a multiple of it."""


@dataclass(frozen=True)
class Peer:
    """A neuron of another library: a function from current ``[T, ...]`` to spikes ``[T, ...]``."""

    package: str
    """What must be installed."""
    gradient: str | None
    """Which of the study's gradients it computes, if any."""
    build: Callable[[float, float, float], Callable[[Tensor], Tensor]]
    """From tau_m, threshold and temperature."""
    tolerance: float = 1e-10
    """For its gradient in float64."""
    soft_reset: bool = False
    """Whether a spike takes the threshold from the potential instead of all of it."""

    @property
    def installed(self) -> bool:
        """Whether it can be built here."""
        return importlib.util.find_spec(self.package) is not None


def autograd(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
    """The paper's equations through plain autograd."""

    def simulate(current: Tensor) -> Tensor:
        spikes = reference_lif(current, tau_m=tau_m, threshold=threshold, temperature=temperature).spikes
        assert spikes is not None
        return spikes

    return simulate


def ignoring(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
    """A neuron that is reset, and a backward pass that ignores it: all it has is the leak, as in SLAYER."""

    def simulate(current: Tensor) -> Tensor:
        u = s = torch.zeros_like(current[0])
        spikes = []
        for current_now in current:
            u = (1 - 1 / tau_m) * (u - (u * s).detach()) + current_now
            s = surrogate_spike(u - threshold, temperature)
            spikes.append(s)
        return torch.stack(spikes)

    return simulate


def spikingjelly(detach_reset: bool, soft_reset: bool = False) -> Callable:
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
            v_reset=None if soft_reset else 0.0,
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


def norse(kind: str, soft_reset: bool = False) -> Callable:
    """Norse's neurons: ``box`` without a current of its own, ``current`` and ``recurrent`` with one that lasts a step.

    They weigh the input by 1/tau_m, so that goes in times tau_m. The recurrent weights are zero.
    """

    def build(tau_m: float, threshold: float, temperature: float) -> Callable[[Tensor], Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions of PyTorch that go out of use
            from norse.torch.functional import lif, lif_box, reset

        def simulate(current: Tensor) -> Tensor:
            zero = torch.zeros_like(current[0])
            number = functools.partial(torch.tensor, dtype=current.dtype, device=current.device)
            constants: dict[str, Any] = dict(tau_mem_inv=number(1 / tau_m), v_leak=number(0.0), v_th=number(threshold))
            constants |= dict(v_reset=number(0.0), method="tanh", alpha=1 / (2 * temperature))
            if kind == "box":
                method = reset.reset_subtract if soft_reset else reset.reset_value
                parameters = lif_box.LIFBoxParameters(**constants, reset_method=method)
                step, state = lif_box.lif_box_feed_forward_step, lif_box.LIFBoxFeedForwardState(v=zero)
            else:
                parameters = lif.LIFParameters(**constants, tau_syn_inv=number(1.0))
                step, state = lif.lif_feed_forward_step, lif.LIFFeedForwardState(v=zero, i=zero)
            if kind == "recurrent":
                identity = torch.eye(zero.shape[-1], dtype=zero.dtype, device=zero.device)
                weights = dict(input_weights=identity, recurrent_weights=0 * identity)
                step, state = functools.partial(lif.lif_step, **weights), lif.LIFState(z=zero, v=zero, i=zero)
            return _step_by_step(functools.partial(step, p=parameters, dt=1.0), tau_m * current, state)

        return simulate

    return build


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
    "Norse": Peer("norse", "full", norse("box")),
}
"""By the name under which they are shown, in benchmarks too."""

MORE = {
    "SpikingJelly, subtractive": Peer("spikingjelly", "full", spikingjelly(False, soft_reset=True), soft_reset=True),
    "SpikingJelly, subtractive, detached": Peer(
        "spikingjelly", "leak", spikingjelly(True, soft_reset=True), soft_reset=True
    ),
    "Norse, subtractive": Peer("norse", "full", norse("box", soft_reset=True), soft_reset=True),
    "Norse, with a current": Peer("norse", "full", norse("current")),
    "Norse, recurrent": Peer("norse", "leak", norse("recurrent")),
    "reset ignored, as in SLAYER": Peer("torch", None, ignoring),
}
"""Other settings and other neurons, whose gradients alone are compared."""


def with_filter(simulate: Callable[[Tensor], Tensor], tau_s: float) -> Callable[[Tensor], Tensor]:
    """Current to psc: a peer's spikes through eq. 5."""
    return lambda current: filter_spikes(simulate(current), tau_s)


def gradients(
    peer: Peer, time_steps: int = 25, neurons: int = 200, seed: int = 0, device: torch.device | str = "cpu"
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a random gradient at the spikes becomes at a random input current, in float64.

    Returns:
        The peer's, and those of :func:`tsbp.lif` for each of the study's gradients.

    Raises:
        ValueError: it is another neuron: its spikes are not those of :func:`tsbp.lif`.
    """
    random = torch.Generator().manual_seed(seed)
    current, grad = torch.randn(2, time_steps, neurons, dtype=torch.float64, generator=random).to(device)
    current = (0.7 * current + 0.4).requires_grad_()
    spikes = peer.build(6.0, 1.0, TEMPERATURE)(current)
    ours = {}
    reset = "subtract" if peer.soft_reset else "zero"
    for name in STUDIED:
        mine = lif(current, gradient=name, tau_m=6.0, temperature=TEMPERATURE, reset=reset).spikes
        if mine is None or not torch.equal(spikes, mine):
            raise ValueError(f"the neuron of {peer.package} is not the one compared with: it fires at other times")
        ours[name] = torch.autograd.grad(mine, current, grad)[0]
    return torch.autograd.grad(spikes, current, grad)[0], ours


def check(peer: Peer, device: torch.device | str = "cpu") -> float:
    """Make sure that a peer computes the gradient that it is compared as.

    Returns:
        The largest difference of the gradients, of values around 1.

    Raises:
        ValueError: it computes another one, or is another neuron.
    """
    if peer.gradient is None:
        raise ValueError(f"the neuron of {peer.package} computes none of the gradients that are compared")
    theirs, ours = gradients(peer, device=device)
    difference = (theirs - ours[peer.gradient]).abs().max().item()
    if difference > peer.tolerance:
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
            if isinstance(layer, SpikingLayer) and not layer.recurrent:
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
