"""What the adapters of JAX's libraries share: the spike, a loop over time, and the way from JAX to PyTorch."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsbp.peers.libraries.peer import Simulate


def use_threads(number: int) -> None:
    """Have XLA compute on so many cores. It reads this when it first computes in a process, and not again."""
    os.environ["NPROC"] = str(number)
    flag = "--xla_cpu_multi_thread_eigen=false"
    flags = os.environ.get("XLA_FLAGS", "").replace(flag, "").strip()
    os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip() if number == 1 else flags


def derivative(temperature: float) -> Callable[[Any], Any]:
    """The surrogate derivative of eq. 10."""
    import jax

    def h(x: Any) -> Any:
        return jax.nn.sigmoid(x / temperature) * jax.nn.sigmoid(-x / temperature) / temperature

    return h


def spike(temperature: float) -> Callable[[Any], Any]:
    """Eq. 3, with the derivative of eq. 10."""
    import jax
    import jax.numpy as jnp

    h = derivative(temperature)

    @jax.custom_jvp
    def fire(x: Any) -> Any:
        return jnp.where(x > 0, 1, 0).astype(x.dtype)

    @fire.defjvp
    def tangent(primals: tuple, tangents: tuple) -> tuple:
        (x,), (direction,) = primals, tangents
        return fire(x), h(x) * direction

    return fire


def over_time(step: Callable, current: Any, state: Any) -> Any:
    """Spikes of a neuron that takes one time step and its own state at a call, and returns spikes and state."""
    import jax

    def swapped(state: Any, current_now: Any) -> tuple:
        spikes, state = step(current_now, state)
        return state, spikes

    return jax.lax.scan(swapped, state, current)[1]


def as_torch(simulate: Callable[[Any], Any]) -> Simulate:
    """A function of JAX as one of PyTorch that autograd goes through; float64 stays float64."""
    import jax
    import jax.numpy as jnp

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, current: Tensor) -> Tensor:
            with jax.enable_x64(True):
                spikes, ctx.pullback = jax.vjp(simulate, jnp.asarray(current.detach().cpu().numpy()))
            return torch.from_numpy(np.array(spikes)).to(current)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            (grad,) = grads
            with jax.enable_x64(True):
                (found,) = ctx.pullback(jnp.asarray(grad.cpu().numpy()))
            return torch.from_numpy(np.array(found)).to(grad)

    return Bridge.apply
