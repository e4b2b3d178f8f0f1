"""snnTorch: ``Leaky`` with its reset to zero.

Its subtractive reset, the default, takes the threshold away after the leak instead of before it: another neuron.
"""

from collections.abc import Callable

from torch import Tensor

from tsbp.peers.libraries.peer import Library, Peer, Simulate, step_by_step


def snntorch(reset_delay: bool, cut: bool = False) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron; its reset is detached with ``reset_delay``, and in the graph without.

    If it is cut, there is no gradient along the membrane.
    """

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        from snntorch import Leaky, surrogate

        node = Leaky(
            beta=1 - 1 / tau_m,
            threshold=threshold,
            reset_mechanism="zero",
            spike_grad=surrogate.sigmoid(slope=1 / temperature),
            reset_delay=reset_delay,
        )

        def step(current_now: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
            return node(current_now, potential.detach() if cut else potential)

        return lambda current: step_by_step(step, current, node.reset_mem().to(current.device))

    return build


FLOAT32 = 1e-5  # its beta is float32
LIBRARY = Library(
    "snnTorch",
    "snntorch",
    "`Leaky` with `reset_mechanism='zero'`",
    {
        "snnTorch": Peer(
            "snntorch", "leak", snntorch(True), FLOAT32, setting="reset_delay=True, the default", timed=True
        ),
        "snnTorch, no delay": Peer(
            "snntorch", "full", snntorch(False), FLOAT32, setting="reset_delay=False", timed=True
        ),
        "snnTorch, cut": Peer(
            "snntorch", "spatial", snntorch(True, cut=True), FLOAT32, setting="lif(current, mem.detach())"
        ),
    },
    float64=False,
)
