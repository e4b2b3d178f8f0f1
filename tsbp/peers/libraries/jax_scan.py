"""JAX without a library: the equations in one ``lax.scan``, which XLA compiles."""

import functools
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from tsbp.peers.libraries.jax_functions import as_torch, spike
from tsbp.peers.libraries.peer import Library, Peer, Simulate

UNROLLED = (1, 2, 5)
"""Time steps that one turn of the compiled loop may take; the fastest is timed. With ten and more it is slower."""


def scan(
    tau_m: float,
    threshold: float,
    temperature: float,
    tau_s: float | None = None,
    detach_reset: bool = False,
    unroll: int = 1,
) -> Callable[..., Any]:
    """From current ``[T, ...]`` to spikes or, where tau_s is given, through eq. 5 to the psc: arrays of JAX.

    Weights ``[N, N]`` as a second argument add the psc of the step before to the current ``[T, B, N]``.
    """
    import jax
    import jax.numpy as jnp

    fire = spike(temperature)

    def step(weights: Any, state: tuple, current_now: Any) -> tuple:
        u, s, a = state
        if weights is not None:
            current_now = current_now + a @ weights.T
        u = (1 - 1 / tau_m) * u * (1 - (jax.lax.stop_gradient(s) if detach_reset else s)) + current_now
        s = fire(u - threshold)
        if tau_s is None:
            return (u, s, a), s
        a = (1 - 1 / tau_s) * a + s / tau_s
        return (u, s, a), a

    def simulate(current: Any, weights: Any = None) -> Any:
        zero = jnp.zeros_like(current[0])
        return jax.lax.scan(functools.partial(step, weights), (zero, zero, zero), current, unroll=unroll)[1]

    return simulate


def layer(
    current: Tensor,
    grad: Tensor,
    tau_m: float,
    threshold: float,
    temperature: float,
    tau_s: float | None,
    recurrent: Tensor | None = None,
) -> Callable[[], object]:
    """A layer's forward and backward pass, compiled as one, by the fastest of :data:`UNROLLED`.

    Args:
        current: ``[T, ...]``.
        grad: the gradient at the layer's output, of the same shape.
        tau_m: as in :func:`scan`, with the settings that follow.
        threshold: see there.
        temperature: see there.
        tau_s: see there.
        recurrent: weights ``[N, N]`` between the neurons of a layer ``[T, B, N]``; with them tau_s must be given.
    """
    import jax
    import jax.numpy as jnp

    inputs = (current,) if recurrent is None else (current, recurrent)
    dtype = str(current.dtype).removeprefix("torch.")
    given = tuple(jnp.asarray(one.detach().float().numpy()).astype(dtype) for one in (*inputs, grad))

    def compiled(unroll: int) -> Callable[[], object]:
        simulate = scan(tau_m, threshold, temperature, tau_s, unroll=unroll)

        @jax.jit
        def both(*given: Any) -> tuple:
            out, pullback = jax.vjp(simulate, *given[:-1])
            return out, *pullback(given[-1])  # with the output, or XLA would not compute it

        return lambda: jax.block_until_ready(both(*given))

    candidates = [compiled(unroll) for unroll in UNROLLED if unroll <= len(current)]
    return min(candidates, key=_seconds)


def _seconds(candidate: Callable[[], object]) -> float:
    candidate()  # compiles
    found = []
    for _ in range(3):
        started = time.perf_counter()
        candidate()
        found.append(time.perf_counter() - started)
    return min(found)


def _build(detach_reset: bool) -> Callable[[float, float, float], Simulate]:
    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        return as_torch(scan(tau_m, threshold, temperature, detach_reset=detach_reset))

    return build


LIBRARY = Library(
    "JAX scan",
    "jax",
    "the equations as they are written",
    {
        "JAX scan": Peer("jax", "full", _build(False), timed=True, layer=layer),
        "JAX scan, detached": Peer("jax", "leak", _build(True), setting="stop_gradient"),
    },
)
