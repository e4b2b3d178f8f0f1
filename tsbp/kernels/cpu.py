"""The neuron's loops on the CPU: calls what :mod:`tsbp.kernels.library` has compiled from ``cpu.cpp``.

The functions are also those of :mod:`tsbp.kernels.cuda`. They take tensors whose rows are contiguous, and where rows
may lie apart or be one row for all time steps, the number of elements from one row to the next. None stands for zeros,
and for a result that nobody asked for.
"""

import ctypes
import functools
import os
import struct

import torch
from torch import Tensor

from tsbp.kernels.constants import Constants
from tsbp.kernels.library import library

_FORWARD = struct.Struct("@8P4q")
_BACKWARD = struct.Struct("@9P6q")
"""``Forward`` and ``Backward`` of cpu.cpp. A call that takes one packed argument costs a third of one with many."""


class _Settings(ctypes.Structure):
    """``Settings`` of cpu.cpp: the numbers among the constants."""

    _fields_ = [*((name, ctypes.c_double) for name in Constants._fields[:7]), ("temporal", ctypes.c_int64)]


class Kernel:
    """The functions of cpu.cpp for one type of numbers, and the constants that they are called with."""

    def __init__(self, dtype: torch.dtype, constants: Constants) -> None:
        compiled = library(dtype, constants.surrogate, constants.subtract)
        if compiled is None:
            raise RuntimeError("C++ kernel unavailable; usable() says so beforehand")
        self.forward, self.backward = compiled.tsbp_forward, compiled.tsbp_backward
        self.recurrent_forward, self.recurrent_backward = (
            compiled.tsbp_recurrent_forward, compiled.tsbp_recurrent_backward
        )  # fmt: skip
        for function in (self.forward, self.backward, self.recurrent_forward, self.recurrent_backward):
            function.restype = None
        self._settings = _Settings(*constants[:8])  # lives as long as its address is used
        self.settings = ctypes.addressof(self._settings)


kernel = functools.lru_cache(maxsize=256)(Kernel)


def usable(dtype: torch.dtype, surrogate: str, subtract: bool) -> bool:
    """Whether there is a compiled kernel; compiles it."""
    return library(dtype, surrogate, subtract) is not None


def forward(
    current: Tensor,
    current_step: int,
    psc: Tensor,
    potential: Tensor | None,
    time_steps: int,
    n: int,
    remaining: Tensor | None,
    decayed: Tensor | None,
    constants: Constants,
    last: tuple[Tensor | None, Tensor | None] = (None, None),
) -> None:
    """Fill psc and potential, ``[T, ...]``, from the current and from what earlier steps left, ``[...]`` each.

    Without a potential, fill what it is in the last step and what the psc is there, ``[...]`` each, in ``last``.
    """
    called = kernel(current.dtype, constants)
    called.forward(
        _FORWARD.pack(
            *map(_address, (current, psc, potential, remaining, decayed, *last)),
            called.settings, current_step, time_steps, n, _number_of_threads(),
        )
    )  # fmt: skip


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
    called = kernel(grad_current.dtype, constants)
    called.backward(
        _BACKWARD.pack(
            _address(potential), _address(grad_psc), _address(grad_spikes), _address(grad_last),
            _address(grad_current), _address(grad_alpha), _address(carried), _address(alphas), called.settings,
            psc_step, spikes_step, current_step, time_steps, n, _number_of_threads(),
        )
    )  # fmt: skip


def _address(x: Tensor | None) -> int:
    if x is None:
        return 0
    address = x.data_ptr()
    if not address or not x.is_cpu:  # a fake tensor, or one on another device
        raise ValueError(
            f"the C++ kernel takes tensors in the memory of the CPU, got a {type(x).__name__} on {x.device}"
        )
    return address


def _number_of_threads() -> int:
    return 1 if _forked else torch.get_num_threads()


_forked = False


def _after_fork_in_child() -> None:
    # GNU's OpenMP waits forever for the threads that the parent had and a forked child has not.
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
