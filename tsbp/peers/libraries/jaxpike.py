"""jaxpike: ``LIF`` on JAX, which computes in float32 whatever it is given, and differentiates both resets."""

from collections.abc import Callable
from typing import Any

from tsbp.peers.libraries import jax_functions
from tsbp.peers.libraries.peer import Library, Peer, Simulate


def jaxpike(reset: str) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron; its leak is exp(-1/tau), and it weighs the input by one less that."""

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        import jax
        import jax.numpy as jnp
        from jaxpike import neurons, surrogate

        class Logistic(surrogate.Surrogate):
            def relaxation(self, v: Any) -> Any:
                return jax.nn.sigmoid(v / temperature)

        def simulate(current: Any) -> Any:
            tau = -1 / jnp.log(1 - 1 / tau_m)
            node = neurons.LIF(tau, threshold=threshold, reset=reset, surrogate=Logistic())

            def step(current_now: Any, state: Any) -> tuple:
                state, spikes = node(state, current_now)
                return spikes, state

            spikes = jax_functions.over_time(step, current / (1 - node.alpha), node.init_state(current.shape[1:]))
            return spikes.astype(current.dtype)

        return jax_functions.as_torch(simulate)

    return build


FLOAT32 = 1e-4
LIBRARY = Library(
    "jaxpike",
    "jaxpike",
    "`LIF`, the input over one less its leak",
    {
        "jaxpike": Peer("jaxpike", "full", jaxpike("zero"), FLOAT32),
        "jaxpike, subtractive": Peer("jaxpike", "full", jaxpike("subtract"), FLOAT32, soft_reset=True),
    },
    float64=False,
)
