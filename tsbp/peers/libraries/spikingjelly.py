"""SpikingJelly: ``LIFNode`` in multi-step mode; it keeps the reset's gradient unless told to detach it.

Version 2 chooses its implementation by the device: plain PyTorch on the CPU, kernels of its own on CUDA.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tsbp.peers.libraries.peer import Library, Peer, Simulate, step_by_step


def spikingjelly(
    detach_reset: bool, soft_reset: bool = False, cut: bool = False
) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron, by its switch and its reset; without any gradient along the membrane if it is cut."""

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        from spikingjelly.activation_based import functional as spikingjelly_functional
        from spikingjelly.activation_based import neuron, surrogate

        node = neuron.LIFNode(
            tau=tau_m,
            decay_input=False,
            v_threshold=threshold,
            v_reset=None if soft_reset else 0.0,
            surrogate_function=surrogate.Sigmoid(alpha=1 / temperature),
            detach_reset=detach_reset,
            step_mode="s" if cut else "m",
        )

        def simulate(current: Tensor) -> Tensor:
            spikingjelly_functional.reset_net(node)
            return node(current)

        def step(current_now: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
            node.v = potential.detach()
            return node(current_now), node.v

        return (lambda current: step_by_step(step, current, torch.zeros_like(current[0]))) if cut else simulate

    return build


KEPT, DETACHED = "detach_reset=False, the default", "detach_reset=True"
LIBRARY = Library(
    "SpikingJelly",
    "spikingjelly",
    "`LIFNode` with `decay_input=False`",
    {
        "SpikingJelly": Peer("spikingjelly", "full", spikingjelly(False), setting=KEPT, timed=True),
        "SpikingJelly, detached": Peer("spikingjelly", "leak", spikingjelly(True), setting=DETACHED, timed=True),
        "SpikingJelly, cut": Peer(
            "spikingjelly", "spatial", spikingjelly(False, cut=True), setting="node.v = node.v.detach() between steps"
        ),
        "SpikingJelly, subtractive": Peer(
            "spikingjelly", "full", spikingjelly(False, soft_reset=True), soft_reset=True, setting=KEPT
        ),
        "SpikingJelly, subtractive, detached": Peer(
            "spikingjelly", "leak", spikingjelly(True, soft_reset=True), soft_reset=True, setting=DETACHED
        ),
    },
)
