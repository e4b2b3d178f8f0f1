"""The loops over time as one pass through memory each: in C++ on the CPU, in Triton on CUDA.

``kernel.cpp`` and ``kernel_cuda.py`` hold the loops; they are compiled for the machine at hand when they are first
needed, which takes about a second and serves every shape. What they compute is defined by the plain loops of
:mod:`tsbp.neuron`, which go on wherever a compiler is missing.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

NAMES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
"""Types of current that the kernels read and write as they are."""

FLAGS = "-std=c++17 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -shared -fPIC"
TUNED = "-march=native -fopenmp"
"""What not every compiler knows; without them the kernel runs on one core."""

LINE = 16
"""Neurons in a cache line: the fewest that the kernel takes."""

CONSTANTS = ("leak_m", "leak_s", "gain_s", "threshold", "temperature", "reset_gradient", "temporal_gradient")
"""In this order the kernels read them; ``Settings`` in kernel.cpp has them as fields."""


@functools.cache
def kernel() -> ctypes.CDLL | None:
    """The compiled kernel; None, after a warning, where it cannot be compiled."""
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    reason = "there is no C++ compiler (c++, g++ or clang++)"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernel.so"
        for tuned in (TUNED, "") if compiler else ():
            command = [*compiler.split(), *FLAGS.split(), *tuned.split(), "-o", str(library)]
            try:
                run = subprocess.run(
                    [*command, str(Path(__file__).with_name("kernel.cpp"))], capture_output=True, text=True
                )
                if run.returncode == 0:
                    return ctypes.CDLL(str(library))
                reason = run.stderr.strip().partition("\n")[0]
            except OSError as error:
                reason = str(error)
    warnings.warn(f"the neurons' kernel could not be compiled, going on without it: {reason}", stacklevel=2)
    return None


@functools.cache
def kernel_cuda() -> ModuleType | None:
    """The kernels for CUDA; None, after a warning, where Triton is missing."""
    try:
        from tsbp import kernel_cuda
    except ImportError as error:
        warnings.warn(f"the neurons' kernel for CUDA is not to be had, going on without it: {error}", stacklevel=2)
        return None
    return kernel_cuda


def usable(x: Tensor) -> bool:
    """Whether there is a kernel for tensors of this type on this device."""
    if x.dtype not in NAMES or x.device.type not in ("cpu", "cuda"):
        return False
    return (kernel() if _in_c(x) else kernel_cuda()) is not None


def _in_c(x: Tensor) -> bool:
    return x.device.type == "cpu"


def forward(current: Tensor, time_steps: int, constants: dict[str, float]) -> tuple[Tensor, Tensor]:
    """psc in the type of the current, and the potential in float32 at least; both ``[T, ...]``.

    Args:
        current: ``[T, ...]``, or ``[1, ...]`` for a constant one.
        time_steps: number of time steps T.
        constants: by the names in CONSTANTS.
    """
    rows = _rows(current)
    shape = (time_steps, rows.shape[1])
    psc = rows.new_empty(shape)
    potential = rows.new_empty(shape, dtype=torch.promote_types(current.dtype, torch.float32))
    if _in_c(current):
        step = rows.shape[1] if rows.shape[0] > 1 else 0
        _call("forward", current.dtype, rows, step, psc, potential, *shape, constants)
    else:
        kernel_cuda().forward(rows, psc, potential, _values(constants))
    return tuple(_shaped(x, current.shape[1:]) for x in (psc, potential))


def backward(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    constant: bool,
    dtype: torch.dtype,
    constants: dict[str, float],
) -> Tensor:
    """Gradient of the current: ``[T, ...]``, or ``[1, ...]``, summed over time, if the current is constant."""
    rows = _rows(potential)
    grad_psc, grad_spikes = (None if x is None else _rows(x.to(dtype)) for x in (grad_psc, grad_spikes))
    if grad_psc is None:
        grad_psc = torch.zeros_like(grad_spikes)
    grad_current = grad_psc.new_empty((1 if constant else rows.shape[0], rows.shape[1]))
    arguments = rows, grad_psc, grad_spikes, grad_current
    if _in_c(potential):
        step = 0 if constant else rows.shape[1]
        _call("backward", dtype, *arguments, step, *rows.shape, constants)
    else:
        kernel_cuda().backward(*arguments, _values(constants))
    return _shaped(grad_current, potential.shape[1:])


def _call(direction: str, dtype: torch.dtype, *arguments: Tensor | int | dict[str, float] | None) -> None:
    """Call the kernel in C++; tensors go as addresses, None as the null pointer."""
    converted = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            converted.append(ctypes.c_void_p(argument.data_ptr()))
        elif isinstance(argument, dict):
            converted.append((ctypes.c_double * len(CONSTANTS))(*_values(argument)))
        else:
            converted.append(argument if argument is None else ctypes.c_int64(argument))
    getattr(kernel(), f"{direction}_{NAMES[dtype]}")(*converted, torch.get_num_threads())


def _values(constants: dict[str, float]) -> tuple[float, ...]:
    return tuple(constants[name] for name in CONSTANTS)


def _rows(x: Tensor) -> Tensor:
    """``[T, ...]`` → ``[T, N]``, with N filled up to one cache line."""
    rows = _flat(x)
    missing = LINE - rows.shape[1]
    return torch.nn.functional.pad(rows, (0, missing)) if missing > 0 else rows


def _flat(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1).contiguous()


def _shaped(rows: Tensor, shape: torch.Size) -> Tensor:
    """``[T, N]`` → ``[T, ...]``, without what filled up the row."""
    return rows[:, : shape.numel()].reshape(rows.shape[0], *shape)
