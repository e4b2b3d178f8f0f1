"""The two loops over time of neuron.py for a GPU, in Triton: what kernel.cpp is on the CPU, with the same names.

A program takes a block of neurons through all time steps with their state in registers: memory sees every number once.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512
"""Neurons."""


def forward(current: Tensor, psc: Tensor, potential: Tensor, constants: tuple[float, ...]) -> None:
    """Fill psc and potential, ``[T, N]``, from the current, ``[T, N]``, or ``[1, N]`` for a constant one."""
    time_steps, n = psc.shape
    step = n if len(current) > 1 else 0
    with torch.cuda.device_of(current):
        _forward[_grid(n)](
            current, step, psc, potential, time_steps, n, _on_device(constants, potential.dtype, current.device),
            BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip


def backward(
    potential: Tensor,
    grad_psc: Tensor,
    grad_spikes: Tensor | None,
    grad_current: Tensor,
    constants: tuple[float, ...],
) -> None:
    """Fill the gradient of the current, ``[T, N]``, or ``[1, N]`` for the sum over time of a constant one."""
    time_steps, n = potential.shape
    *_, reset_gradient, temporal_gradient = constants
    with torch.cuda.device_of(potential):
        _backward[_grid(n)](
            potential, grad_psc, grad_spikes, grad_current, time_steps, n, (time_steps - 1) * n,
            _on_device(constants, potential.dtype, potential.device),
            SPIKES=grad_spikes is not None, CONSTANT=len(grad_current) < time_steps,
            TEMPORAL=temporal_gradient != 0, RESET=temporal_gradient != 0 and reset_gradient != 0, BLOCK=BLOCK,
        )  # fmt: skip


def _grid(n: int) -> tuple[int]:
    return (triton.cdiv(n, BLOCK),)


@functools.cache
def _on_device(constants: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As arguments of a kernel they would lose the digits of float64."""
    return torch.tensor(constants, dtype=dtype, device=device)


# Equations 3-5. `step` is N, or 0 where the current is the same at every time.
@triton.jit
def _forward(current, step, psc, potential, T, N, constants, BLOCK: tl.constexpr):
    real: tl.constexpr = potential.dtype.element_ty
    leak_m, leak_s, gain_s = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    threshold = tl.load(constants + 3)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = n < N
    now, now_current = n, n
    remaining = tl.zeros([BLOCK], real)
    decayed = tl.zeros([BLOCK], real)
    for _ in range(T):
        u = remaining + tl.load(current + now_current, mask=inside, other=0).to(real)
        fires = u > threshold
        a = decayed + tl.where(fires, gain_s, 0.0)
        remaining = leak_m * tl.where(fires, 0.0, u)
        decayed = leak_s * a
        tl.store(potential + now, u, mask=inside)
        tl.store(psc + now, a.to(psc.dtype.element_ty), mask=inside)
        now += N
        now_current += step


# Equations 7 and 8. `last` is where the last row begins.
@triton.jit
def _backward(
    potential, grad_psc, grad_spikes, grad_current, T, N, last, constants,
    SPIKES: tl.constexpr, CONSTANT: tl.constexpr, TEMPORAL: tl.constexpr, RESET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    real: tl.constexpr = potential.dtype.element_ty
    stored: tl.constexpr = grad_current.dtype.element_ty
    leak_m, leak_s, gain_s = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    threshold, temperature, reset = tl.load(constants + 3), tl.load(constants + 4), tl.load(constants + 5)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = n < N
    now = n + last
    alphas = tl.zeros([BLOCK], real)
    carried = tl.zeros([BLOCK], real)
    total = tl.zeros([BLOCK], real)
    for _ in range(T):
        u = tl.load(potential + now, mask=inside, other=0)
        overdrive = u - threshold
        e = tl.exp(-tl.abs(overdrive) / temperature)
        h = e / (temperature * (1 + e) * (1 + e))  # eq. 10
        alpha = tl.load(grad_psc + now, mask=inside, other=0).to(real) + alphas
        grad_s = gain_s * alpha
        if SPIKES:
            grad_s += tl.load(grad_spikes + now, mask=inside, other=0).to(real)
        if RESET:
            grad_s -= reset * u * carried
        delta = grad_s * h
        if TEMPORAL:
            delta += tl.where(overdrive > 0, 0.0, carried)
            carried = leak_m * delta
        alphas = leak_s * alpha
        if CONSTANT:
            total += delta
        else:
            tl.store(grad_current + now, delta.to(stored), mask=inside)
        now -= N
    if CONSTANT:
        tl.store(grad_current + n, total.to(stored), mask=inside)
