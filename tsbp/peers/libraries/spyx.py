"""Spyx: ``LIF`` on JAX, whose only reset is subtractive and differentiated.

It takes the threshold away after the leak, so the threshold that it is given is smaller by the leak, and its
activation makes up for that. It fires before it adds the input: one step later than eq. 3.
"""

from typing import Any

from tsbp.peers.libraries import jax_functions
from tsbp.peers.libraries.peer import Library, Peer, Simulate


def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
    """The neuron with a subtractive reset."""
    import jax.numpy as jnp
    from flax import nnx
    from spyx import axn, nn

    leak = 1 - 1 / tau_m
    h = jax_functions.derivative(temperature)
    shift = threshold - leak * threshold

    def simulate(current: Any) -> Any:
        activation = axn.custom(lambda x: h(x - shift), lambda x: axn.heaviside(x - shift))
        node = nn.LIF(current.shape[1:], leak, leak * threshold, activation, rngs=nnx.Rngs(0))
        longer = jnp.concatenate([current, jnp.zeros_like(current[:1])])
        return jax_functions.over_time(node, longer, jnp.zeros_like(current[0]))[1:]

    return jax_functions.as_torch(simulate)


LIBRARY = Library(
    "Spyx",
    "spyx",
    "`LIF` with the threshold times the leak, and an activation shifted by the rest",
    {"Spyx, subtractive": Peer("spyx", "full", build, soft_reset=True)},
)
