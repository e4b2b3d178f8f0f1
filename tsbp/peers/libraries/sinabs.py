"""sinabs: ``LIF``, whose subtractive reset is differentiated and whose reset to zero is not.

That is decided by how each is written: the latter compares the spike with a number, which has no derivative. Its spikes
are float32, and so is the gradient that arrives at them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tsbp.peers.libraries.peer import Library, Peer, Simulate
from tsbp.surrogate import surrogate_derivative


def sinabs(reset: str) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron, by the class of its reset; at most one spike falls in a step."""

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        from sinabs import activation, layers

        leak = 1 - 1 / tau_m

        def surrogate(v_mem: Tensor, spike_threshold: Tensor) -> Tensor:
            return surrogate_derivative(v_mem - spike_threshold, temperature)

        def simulate(current: Tensor) -> Tensor:
            node = layers.LIF(
                -1 / math.log(leak),
                spike_threshold=torch.tensor(threshold),
                spike_fn=activation.SingleSpike,
                reset_fn=getattr(activation, reset)(),
                surrogate_grad_fn=surrogate,
                train_alphas=True,
                norm_input=False,
            ).to(current)
            node.alpha_mem.data.fill_(leak)  # it was made in float32
            return node(current[None])[0].to(current.dtype)

        return simulate

    return build


FLOAT32 = 1e-5
LIBRARY = Library(
    "sinabs",
    "sinabs",
    "`LIF` with `norm_input=False` and single spikes",
    {
        "sinabs": Peer("sinabs", "leak", sinabs("MembraneReset"), FLOAT32, setting="MembraneReset"),
        "sinabs, subtractive": Peer(
            "sinabs",
            "full",
            sinabs("MembraneSubtract"),
            FLOAT32,
            soft_reset=True,
            setting="MembraneSubtract, the default",
        ),
    },
    float64=False,
)
