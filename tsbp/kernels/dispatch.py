"""The functions that the rest of the package calls: the neuron's loops, on the device that the tensors are on.

Forward, from t = 0 to T - 1, with what the step before left of the potential and of the postsynaptic current::

    U[t] = remaining + I[t];  S = U[t] > ϑ;  a[t] = decayed + S/τs
    remaining = (1 - 1/τm) · (0 if S else U[t])           a spike resets to zero, or
    remaining = (1 - 1/τm) · (U[t] - ϑ·S)                 subtracts the threshold
    decayed = (1 - 1/τs) · a[t]

Backward, from t = T - 1 to 0, with the gradients that arrive at psc and spikes, and the surrogate derivative h::

    α = grad_psc[t] + alphas
    δ = (α/τs + grad_spikes[t] - c·U[t]·carried) · h + (0 if S else carried)      a spike resets to zero, or
    δ = (α/τs + grad_spikes[t] - c·ϑ·carried) · h + carried                       subtracts the threshold
    carried = (1 - 1/τm) · δ;  alphas = (1 - 1/τs) · α;  dL/dI[t] = δ

A gradient that arrives at the last potential itself is added to δ[T-1]. Without a temporal gradient (`spatial`) there
is no ``carried``. Results are new, contiguous and no views.
"""

import functools
import math
import threading
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsbp.kernels import cpu, memory
from tsbp.kernels.constants import NAMES, SURROGATES, Constants, real
from tsbp.kernels.rows import readable, rows

if TYPE_CHECKING:
    from tsbp.kernels import cuda

__all__ = [
    "NAMES", "SURROGATES", "Constants", "backward", "evaluate", "forward", "stepper", "usable",
]  # fmt: skip


def usable(x: Tensor, surrogate: str = "sigmoid", subtract: bool = False) -> bool:
    """Whether there is a kernel for tensors of this type, on this device, and for this neuron.

    On the CPU the first call for a neuron compiles, for about a second, unless an earlier process has. Where there can
    be no kernel, one warning says why.
    """
    if x.dtype not in NAMES or surrogate not in SURROGATES or x.device.type not in ("cpu", "cuda"):
        return False
    return cpu.usable(x.dtype, surrogate, subtract) if in_c(x.device) else _cuda() is not None


def forward(
    current: Tensor, time_steps: int, remaining: Tensor | None, decayed: Tensor | None, constants: Constants
) -> tuple[Tensor, Tensor]:
    """psc in the type of the current, and the potential in float32 at least; both ``[T, ...]``.

    Args:
        current: ``[T, ...]``, or ``[1, ...]`` for a constant one.
        time_steps: number of time steps T.
        remaining: what the step before t = 0 left of the potential, ``[...]``; None for neurons at rest.
        decayed: the same of the postsynaptic current.
        constants: of the neuron.
    """
    _check(current, time_steps)
    potential = memory.empty((time_steps, *current.shape[1:]), real(current.dtype), current.device)
    return _forward(current, time_steps, remaining, decayed, constants, potential), potential


def evaluate(
    current: Tensor, time_steps: int, remaining: Tensor | None, decayed: Tensor | None, constants: Constants
) -> tuple[Tensor, Tensor, Tensor]:
    """psc, ``[T, ...]``, and the last step's potential and psc, ``[...]`` each, where no backward pass will follow.

    Only on the CPU. The potential of the other steps is not written, which is a third of all memory traffic.
    """
    _check(current, time_steps)
    u, a = (memory.empty(current.shape[1:], real(current.dtype), current.device) for _ in range(2))
    return _forward(current, time_steps, remaining, decayed, constants, None, last=(u, a)), u, a


def _check(current: Tensor, time_steps: int) -> None:
    if time_steps < 1 or len(current) not in (1, time_steps):
        raise ValueError(f"current must have {time_steps} time steps, or 1 if it is constant, got {len(current)}")


def _forward(
    current: Tensor,
    time_steps: int,
    remaining: Tensor | None,
    decayed: Tensor | None,
    constants: Constants,
    potential: Tensor | None,
    **last: tuple[Tensor, ...],
) -> Tensor:
    shape, dtype = current.shape, current.dtype
    n, state = math.prod(shape[1:]), real(dtype)
    psc = memory.empty((time_steps, *shape[1:]), dtype, current.device)
    if n:
        read, step = rows(current, shape, dtype)
        _on(current.device).forward(
            read, step if shape[0] == time_steps else 0, psc, potential, time_steps, n,
            readable(remaining, n, state), readable(decayed, n, state), constants, **last,
        )  # fmt: skip
    return psc


def backward(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    constant: bool,
    dtype: torch.dtype,
    constants: Constants,
    state: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradient of the current, and what is left for the step before t = 0.

    Args:
        potential: from :func:`forward`, ``[T, ...]``.
        grad_psc: gradient that arrives at psc, ``[T, ...]``, of any strides; None stands for zeros, here and below.
        grad_spikes: the same at the spikes.
        grad_last: gradient that arrives at the last potential itself, ``[...]``.
        grad_alpha: gradient that arrives at the last psc from the steps after it, ``[...]``.
        constant: the current is the same at every step: its gradient is the sum over time, ``[1, ...]``.
        dtype: type of the current.
        constants: of the neuron.
        state: whether the two rows of state are wanted; writing them takes time.

    Returns:
        The gradient of the current, ``[T, ...]`` or ``[1, ...]``; carried, ``(1 - 1/τm) · δ[0]``, and alphas,
        ``(1 - 1/τs) · α[0]``, ``[...]`` each and of the potential's type. The two are None if they are not wanted,
        carried also where there is no temporal gradient.
    """
    shape, state_dtype, device = potential.shape, potential.dtype, potential.device
    time_steps, *row = shape
    n = math.prod(row)
    if time_steps < 1:
        raise ValueError("potential must have at least 1 time step, got none")
    grad_current = memory.empty((1, *row) if constant else shape, dtype, device)
    carried = memory.empty(row, state_dtype, device) if state and constants.temporal else None
    alphas = memory.empty(row, state_dtype, device) if state else None
    if n:
        if not potential.is_contiguous():
            potential = memory.copy(potential, state_dtype)
        read_psc, psc_step = rows(grad_psc, shape, dtype)
        read_spikes, spikes_step = rows(grad_spikes, shape, dtype)
        _on(device).backward(
            potential, read_psc, psc_step, read_spikes, spikes_step,
            readable(grad_last, n, state_dtype), readable(grad_alpha, n, state_dtype),
            grad_current, 0 if constant else n, time_steps, n, carried, alphas, constants,
        )  # fmt: skip
    return grad_current, carried, alphas


def stepper(dtype: torch.dtype, constants: Constants) -> "cuda.Stepper":
    """The loops on CUDA one time step at a time, for a layer that does something else between the steps.

    Args:
        dtype: type of the current.
        constants: of the neuron.
    """
    module = _cuda()
    assert module is not None, "usable() says so beforehand"
    return module.Stepper(dtype, constants)


_import_lock = threading.Lock()


def _on(device: torch.device) -> ModuleType:
    module = cpu if in_c(device) else _cuda()
    if module is None:
        raise RuntimeError(f"there is no kernel for {device}")
    return module


def in_c(device: torch.device) -> bool:
    """Whether the loops on this device are those in C++."""
    return device.type == "cpu"


def _cuda() -> ModuleType | None:
    """The kernels in Triton; None, after a warning, where Triton is missing or does not work."""
    with _import_lock:
        return _import_cuda()


@functools.cache
def _import_cuda() -> ModuleType | None:
    try:
        from tsbp.kernels import cuda

        cuda.check()
    except Exception as error:  # Triton has as many ways to fail as a compiler and a driver have together
        warnings.warn(f"CUDA kernel unavailable; continuing with the slower loop: {error}", stacklevel=3)
        return None
    return cuda
