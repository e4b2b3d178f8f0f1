"""PyTorch alone: the paper's equations through autograd, and a neuron whose backward pass ignores its reset."""

import torch
from torch import Tensor

from tsbp.neuron import reference_lif
from tsbp.peers.libraries.peer import Library, Peer, Simulate
from tsbp.surrogate import surrogate_spike


def autograd(tau_m: float, threshold: float, temperature: float) -> Simulate:
    """The paper's equations through plain autograd."""

    def simulate(current: Tensor) -> Tensor:
        spikes = reference_lif(current, tau_m=tau_m, threshold=threshold, temperature=temperature).spikes
        assert spikes is not None
        return spikes

    return simulate


def ignoring(tau_m: float, threshold: float, temperature: float) -> Simulate:
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


LIBRARY = Library(
    "plain autograd",
    "torch",
    "the equations as they are written",
    {
        "plain autograd": Peer("torch", "full", autograd, timed=True),
        "reset ignored, as in SLAYER": Peer("torch", None, ignoring),
    },
)
