"""Rockpool: ``LIFTorch``, whose only reset is subtractive and differentiated.

Its current always lasts longer than a step. The share that is left of it is made so small that rounding loses it, and
the input is enlarged by as much. Its spikes are float32, and so is the gradient that arrives at them.
"""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from tsbp.peers.libraries.peer import Library, Peer, Simulate
from tsbp.surrogate import surrogate_spike

LEFT = 2.0**-60


def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
    """The neuron with a subtractive reset; at most one spike falls in a step."""
    from rockpool.nn.modules import LIFTorch

    def fire(v: Tensor, threshold: Tensor, *_: Tensor) -> Tensor:
        return surrogate_spike(v - threshold, temperature)

    def simulate(current: Tensor) -> Tensor:
        size = current[0].numel()
        node = LIFTorch(size, leak_mode="decays", threshold=threshold, spike_generation_fn=SimpleNamespace(apply=fire))
        node = node.to(current)
        for name, value in (("alpha", 1 - 1 / tau_m), ("beta", LEFT)):
            setattr(node, name, nn.Parameter(torch.full_like(getattr(node, name), value)))
        spikes, *_ = node(current.reshape(1, len(current), size) / LEFT)
        return spikes.reshape(current.shape).to(current.dtype)

    return simulate


LIBRARY = Library(
    "Rockpool",
    "rockpool",
    "`LIFTorch` with a current that fades at once",
    {"Rockpool, subtractive": Peer("rockpool", "full", build, 1e-5, soft_reset=True)},
    float64=False,
)
