"""snnTorch: ``Leaky`` with its reset to zero.

Its subtractive reset, the default, takes the threshold away after the leak instead of before it: another neuron.
"""

from collections.abc import Callable

from tsbp.peers.libraries.peer import Library, Peer, Simulate, step_by_step


def snntorch(reset_delay: bool) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron; its reset is detached with ``reset_delay``, and in the graph without."""

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        from snntorch import Leaky, surrogate

        node = Leaky(
            beta=1 - 1 / tau_m,
            threshold=threshold,
            reset_mechanism="zero",
            spike_grad=surrogate.sigmoid(slope=1 / temperature),
            reset_delay=reset_delay,
        )

        return lambda current: step_by_step(node, current, node.reset_mem().to(current.device))

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
    },
    float64=False,
)
