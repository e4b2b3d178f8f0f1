"""A recurrent layer's whole loop over time on the CPU: calls what is in ``recurrent.h``.

The products with the weights are part of the loop. Forward they are sums over the spikes: the weights of a neuron that
fires are added, filtered in time, and those of the others are not looked at. The gradient of the weights is found in
the same way, backwards in time, and what goes back through them is a product of matrices.

Arrays are ``[T, ..., N]`` for weights ``[N, N]`` and ``[T, ..., M, N]`` for those of M layers side by side.
"""

import struct

import torch
from torch import Tensor

from tsbp.kernels import cpu, memory
from tsbp.kernels.constants import Constants
from tsbp.kernels.rows import between, matrices, readable, rows

_FORWARD = struct.Struct("@8P8q")
_BACKWARD = struct.Struct("@12P9q")
"""``RecurrentForward`` and ``RecurrentBackward`` of recurrent.h."""


def forward(
    current: Tensor,
    time_steps: int,
    weights: Tensor,
    remaining: Tensor | None,
    before: Tensor | None,
    constants: Constants,
    keep: bool = True,
) -> tuple[Tensor, Tensor]:
    """psc and potential, ``[T, ...]`` each.

    Args:
        current: ``[T, ...]``, or ``[1, ...]`` for a constant one.
        time_steps: number of time steps T.
        weights: of the layer, of the type of the current.
        remaining: what the step before t = 0 left of the potential, ``[...]``; None for neurons at rest.
        before: the psc of that step.
        constants: of the neuron.
        keep: False: the potential of the last step alone, ``[1, ...]``.
    """
    dtype, row = current.dtype, current.shape[1:]
    psc, potential = (
        memory.empty((steps, *row), dtype, current.device) for steps in (time_steps, time_steps if keep else 1)
    )
    n = potential[0].numel()
    if n:
        read, step = rows(current, current.shape, dtype)
        decayed, product = (None, None) if before is None else (constants.leak_s * before, between(before, weights))
        state = [readable(row, n, dtype) for row in (remaining, decayed, product)]  # alive until the call is over
        across = weights.mT.contiguous()
        kernel = cpu.kernel(dtype, constants)
        kernel.recurrent_forward(
            _FORWARD.pack(
                *map(cpu._address, (read, across, psc, potential, *state)), kernel.settings,
                step if len(current) == time_steps else 0, n if keep else 0, *_layer(psc, weights),
            )
        )  # fmt: skip
    return psc, potential


def backward(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    weights: Tensor,
    before: Tensor | None,
    detached: bool,
    constant: bool,
    constants: Constants,
    of_weights: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the current and of the weights, and what is left for the step before t = 0.

    Args:
        potential: from :func:`forward`, ``[T, ...]``.
        grad_psc: gradient that arrives at psc, ``[T, ...]``, of any strides; None stands for zeros, here and below.
        grad_spikes: the same at the spikes.
        grad_last: gradient that arrives at the last potential itself, ``[...]``.
        grad_alpha: gradient that arrives at the last psc from the steps after it, ``[...]``.
        weights: of the layer.
        before: the psc of the step before t = 0; None for neurons at rest.
        detached: no error goes back through the weights.
        constant: the current is the same at every step: its gradient is the sum over time, ``[1, ...]``.
        constants: of the neuron.
        of_weights: whether their gradient is wanted.

    Returns:
        The gradient of the current, ``[T, ...]`` or ``[1, ...]``, and that of the weights; carried, ``(1 - 1/τm) ·
        δ[0]``, and what reaches the psc of the step before t = 0, ``[...]`` each. Without such a step both are None,
        carried also where there is no temporal gradient.
    """
    shape, dtype, state = potential.shape, potential.dtype, before is not None
    n = potential[0].numel()
    current = potential.new_zeros(1, *shape[1:]) if constant else memory.empty(shape, dtype, potential.device)
    carried = torch.zeros_like(potential[0]) if state and constants.temporal else None
    later, heard = (torch.zeros_like(potential[0]) if state else None for _ in range(2))
    *layer, shares, threads = _layer(potential, weights)
    found = potential.new_zeros(shares, *weights.shape) if of_weights else None
    if n:
        psc, psc_step = rows(grad_psc, shape, dtype)
        spikes, spikes_step = rows(grad_spikes, shape, dtype)
        last, alpha = readable(grad_last, n, dtype), readable(grad_alpha, n, dtype)
        back = None if detached else weights.contiguous()
        kernel = cpu.kernel(dtype, constants)
        arrays = potential.contiguous(), psc, spikes, last, alpha, back, current, found, carried, later, heard
        kernel.recurrent_backward(
            _BACKWARD.pack(
                *map(cpu._address, arrays), kernel.settings, psc_step, spikes_step, 0 if constant else n,
                *layer, shares, threads,
            )
        )  # fmt: skip
    if found is None:
        return current, None, carried, later
    summed = (found.sum(0) if shares > 1 else found[0]).mT.contiguous()
    if before is not None and heard is not None:
        summed += matrices(heard, weights).mT @ matrices(before, weights)
    return current, summed, carried, later


def _layer(potential: Tensor, weights: Tensor) -> tuple[int, ...]:
    """``Layer`` of recurrent.h. Every thread gets a job if there are enough examples."""
    networks, n = (1, len(weights)) if weights.dim() == 2 else weights.shape[:2]
    examples = potential[0].numel() // max(networks * n, 1)
    threads = cpu._number_of_threads()
    return len(potential), examples, networks, n, max(1, min(examples, -(-threads // max(networks, 1)))), threads
