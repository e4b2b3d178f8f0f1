"""The neuron's loops for a GPU, in Triton: what cpu.cpp is on the CPU, with the same names.

A program takes a block of neurons through all time steps with their state in registers: memory sees every number once.
The functions are those of :mod:`tsbp.kernels.cpu`.
"""

import functools
import math
import struct

import torch
import triton
import triton.language as tl
from torch import Tensor

from tsbp.kernels.constants import Constants, real
from tsbp.kernels.rows import readable, writable

BLOCK = 512
"""Neurons."""

_FACTORS = {"fast-sigmoid": 1 / 2, "arctan": 1 / math.pi, "rectangle": 1 / 2, "gaussian": 1 / math.sqrt(2 * math.pi)}
"""What stands before the variable part of a surrogate's kernel k, where that is not 1."""


def check() -> None:
    """Raise an error where Triton cannot compile for this machine; it needs a C compiler and a driver."""
    if torch.cuda.is_available():
        triton.runtime.driver.active.get_current_target()


def forward(
    current: Tensor,
    current_step: int,
    psc: Tensor,
    potential: Tensor,
    time_steps: int,
    n: int,
    remaining: Tensor | None,
    decayed: Tensor | None,
    constants: Constants,
) -> None:
    """Fill psc and potential, ``[T, ...]``, from the current and from what the step before left, ``[...]`` each."""
    _launch_forward(current, current_step, psc, potential, time_steps, n, remaining, decayed, None, None, constants)


def backward(
    potential: Tensor,
    grad_psc: Tensor | None,
    psc_step: int,
    grad_spikes: Tensor | None,
    spikes_step: int,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    grad_current: Tensor,
    current_step: int,
    time_steps: int,
    n: int,
    carried: Tensor | None,
    alphas: Tensor | None,
    constants: Constants,
) -> None:
    """Fill grad_current, ``[T, ...]`` or the sum over time ``[1, ...]``, and what is left for the step before t = 0."""
    _launch_backward(
        potential, grad_psc, psc_step, grad_spikes, spikes_step, grad_last, grad_current, current_step == 0,
        time_steps, n, None, grad_alpha, carried, alphas, constants,
    )  # fmt: skip


class Stepper:
    """One time step at a time.

    All rows have the shape ``[...]`` of one time step. Those that are written must be contiguous and of the right type:
    psc and the gradient of the current of ``dtype``, potential and state in float32 at least.
    """

    def __init__(self, dtype: torch.dtype, constants: Constants) -> None:
        self._stored, self._real, self._constants = dtype, real(dtype), constants

    def forward(self, current: Tensor, psc: Tensor, potential: Tensor, remaining: Tensor, decayed: Tensor) -> None:
        """Fill psc and potential; bring remaining and decayed up to date in place."""
        n = potential.numel()
        if not n:
            return
        for row in (potential, remaining, decayed):
            writable(row, n, self._real)
        _launch_forward(
            readable(current, n, self._stored), n, writable(psc, n, self._stored), potential, 1, n,
            remaining, decayed, remaining, decayed, self._constants,
        )  # fmt: skip

    def backward(
        self,
        potential: Tensor,
        grad_psc: Tensor | None,
        grad_spikes: Tensor | None,
        grad_last: Tensor | None,
        grad_current: Tensor,
        carried: Tensor | None,
        alphas: Tensor,
    ) -> None:
        """Fill grad_current; bring carried and alphas up to date in place.

        ``grad_last`` arrives at this potential itself. Without a temporal gradient carried is left alone, and may be
        None.
        """
        n = potential.numel()
        if not n:
            return
        carried = writable(carried, n, self._real) if self._constants.temporal else None
        writable(alphas, n, self._real)
        _launch_backward(
            readable(potential, n, self._real), readable(grad_psc, n, self._stored), n,
            readable(grad_spikes, n, self._stored), n, readable(grad_last, n, self._real),
            writable(grad_current, n, self._stored), False, 1, n, carried, alphas, carried, alphas, self._constants,
        )  # fmt: skip


def _launch_forward(
    current, current_step, psc, potential, steps, n, remaining, decayed, remaining_after, decayed_after, constants
) -> None:
    with torch.cuda.device_of(current):
        _forward[_grid(n)](
            current, current_step, psc, potential, steps, n, remaining, decayed, remaining_after, decayed_after,
            *_bits(constants)[:4], SUBTRACT=constants.subtract, HAS_REMAINING=remaining is not None,
            HAS_DECAYED=decayed is not None, STATE=remaining_after is not None, BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip


def _launch_backward(
    potential, grad_psc, psc_step, grad_spikes, spikes_step, grad_last, grad_current, constant, steps, n,
    carried, alphas, carried_after, alphas_after, constants,
) -> None:  # fmt: skip
    temporal = bool(constants.temporal)
    with torch.cuda.device_of(potential):
        _backward[_grid(n)](
            potential, grad_psc, psc_step, grad_spikes, spikes_step, grad_last, grad_current, steps, n,
            (steps - 1) * n, (steps - 1) * psc_step, (steps - 1) * spikes_step,
            carried, alphas, carried_after, alphas_after, *_bits(constants),
            SURROGATE=constants.surrogate, SUBTRACT=constants.subtract, TEMPORAL=temporal,
            RESET=temporal and constants.weight != 0, PSC=grad_psc is not None, SPIKES=grad_spikes is not None,
            LAST=grad_last is not None, HAS_CARRIED=carried is not None, HAS_ALPHAS=alphas is not None,
            KEEPS_CARRIED=carried_after is not None, KEEPS_ALPHAS=alphas_after is not None, CONSTANT=constant,
            BLOCK=BLOCK,
        )  # fmt: skip


def _grid(n: int) -> tuple[int]:
    return (triton.cdiv(n, BLOCK),)


@functools.lru_cache(maxsize=256)
def _bits(constants: Constants) -> tuple[int, ...]:
    """The numbers among the constants, as integers of the same bits: as numbers they would lose digits of float64."""
    numbers = constants._replace(height=constants.height * _FACTORS.get(constants.surrogate, 1))[:7]
    return struct.unpack("7q", struct.pack("7d", *numbers))


NUMBERS = ["leak_m", "leak_s", "gain_s", "threshold", "inverse", "height", "weight"]


@triton.jit
def _number(bits, real: tl.constexpr):
    return bits.to(tl.int64).to(tl.float64, bitcast=True).to(real)


# Equations 3-5. A step is from one row to the next: N, or 0 where the same row serves at every time.
@triton.jit(do_not_specialize=NUMBERS[:4])
def _forward(
    current, current_step, psc, potential, T, N, remaining_before, decayed_before, remaining_after, decayed_after,
    leak_m: tl.int64, leak_s: tl.int64, gain_s: tl.int64, threshold: tl.int64,
    SUBTRACT: tl.constexpr, HAS_REMAINING: tl.constexpr, HAS_DECAYED: tl.constexpr, STATE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    real: tl.constexpr = potential.dtype.element_ty
    leak_m, leak_s = _number(leak_m, real), _number(leak_s, real)
    gain_s, threshold = _number(gain_s, real), _number(threshold, real)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = n < N
    now, now_current = n, n
    remaining = tl.zeros([BLOCK], real)
    decayed = tl.zeros([BLOCK], real)
    if HAS_REMAINING:
        remaining = tl.load(remaining_before + n, mask=inside, other=0)
    if HAS_DECAYED:
        decayed = tl.load(decayed_before + n, mask=inside, other=0)
    for _ in range(T):
        u = remaining + tl.load(current + now_current, mask=inside, other=0).to(real)
        fires = u > threshold
        a = decayed + tl.where(fires, gain_s, 0.0)
        remaining = leak_m * (u - tl.where(fires, threshold, 0.0) if SUBTRACT else u * tl.where(fires, 0.0, 1.0))
        decayed = leak_s * a
        tl.store(potential + now, u, mask=inside)
        tl.store(psc + now, a.to(psc.dtype.element_ty), mask=inside)
        now += N
        now_current += current_step
    if STATE:
        tl.store(remaining_after + n, remaining, mask=inside)
        tl.store(decayed_after + n, decayed, mask=inside)


# The surrogate's kernel k at x = (U - threshold)/temperature, times height.
@triton.jit
def _derivative(x, height, SURROGATE: tl.constexpr):
    if SURROGATE == "sigmoid":
        e = tl.exp(-tl.abs(x))
        h = height * e / ((1 + e) * (1 + e))  # eq. 10
    elif SURROGATE == "fast-sigmoid":
        h = height / ((1 + tl.abs(x)) * (1 + tl.abs(x)))
    elif SURROGATE == "arctan":
        h = height / (1 + x * x)
    elif SURROGATE == "triangle":
        h = tl.where(tl.abs(x) > 1, 0.0, height * (1 - tl.abs(x)))
    elif SURROGATE == "rectangle":
        h = tl.where(tl.abs(x) < 1, height, 0.0)
    else:
        tl.static_assert(SURROGATE == "gaussian")
        h = height * tl.exp(-0.5 * x * x)
    return h


# Equations 7 and 8, from the last step to the first; `last...` is where the last row begins.
@triton.jit(do_not_specialize=NUMBERS)
def _backward(
    potential, grad_psc, psc_step, grad_spikes, spikes_step, grad_last, grad_current, T, N,
    last, last_psc, last_spikes, carried_before, alphas_before, carried_after, alphas_after,
    leak_m: tl.int64, leak_s: tl.int64, gain_s: tl.int64, threshold: tl.int64, inverse: tl.int64, height: tl.int64,
    weight: tl.int64,
    SURROGATE: tl.constexpr, SUBTRACT: tl.constexpr, TEMPORAL: tl.constexpr, RESET: tl.constexpr, PSC: tl.constexpr,
    SPIKES: tl.constexpr, LAST: tl.constexpr, HAS_CARRIED: tl.constexpr, HAS_ALPHAS: tl.constexpr,
    KEEPS_CARRIED: tl.constexpr, KEEPS_ALPHAS: tl.constexpr, CONSTANT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    real: tl.constexpr = potential.dtype.element_ty
    stored: tl.constexpr = grad_current.dtype.element_ty
    leak_m, leak_s, gain_s = _number(leak_m, real), _number(leak_s, real), _number(gain_s, real)
    threshold, inverse = _number(threshold, real), _number(inverse, real)
    height, weight = _number(height, real), _number(weight, real)
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = n < N
    now, now_psc, now_spikes = n + last, n + last_psc, n + last_spikes
    carried = tl.zeros([BLOCK], real)
    alphas = tl.zeros([BLOCK], real)
    total = tl.zeros([BLOCK], real)
    if HAS_CARRIED:
        carried = tl.load(carried_before + n, mask=inside, other=0)
    if HAS_ALPHAS:
        alphas = tl.load(alphas_before + n, mask=inside, other=0)
    if LAST:
        arriving = tl.load(grad_last + n, mask=inside, other=0)
    for _ in range(T):
        u = tl.load(potential + now, mask=inside, other=0)
        overdrive = u - threshold
        h = _derivative(overdrive * inverse, height, SURROGATE)
        alpha = alphas
        if PSC:
            alpha += tl.load(grad_psc + now_psc, mask=inside, other=0).to(real)
        grad_s = gain_s * alpha
        if SPIKES:
            grad_s += tl.load(grad_spikes + now_spikes, mask=inside, other=0).to(real)
        if RESET:
            if SUBTRACT:
                grad_s -= weight * threshold * carried
            else:
                grad_s -= weight * u * carried
        delta = grad_s * h
        if TEMPORAL:
            if SUBTRACT:
                delta += carried
            else:
                delta += carried * tl.where(overdrive > 0, 0.0, 1.0)
        if LAST:
            delta += arriving
            arriving = tl.zeros([BLOCK], real)
        if TEMPORAL:
            carried = leak_m * delta
        alphas = leak_s * alpha
        if CONSTANT:
            total += delta
        else:
            tl.store(grad_current + now, delta.to(stored), mask=inside)
        now -= N
        now_psc -= psc_step
        now_spikes -= spikes_step
    if CONSTANT:
        tl.store(grad_current + n, total.to(stored), mask=inside)
    if KEEPS_CARRIED:
        tl.store(carried_after + n, carried, mask=inside)
    if KEEPS_ALPHAS:
        tl.store(alphas_after + n, alphas, mask=inside)
