"""The loops over time as one pass through memory each: in C++ on the CPU, through ``torch.compile`` on CUDA.

``kernel.cpp`` holds the loops for the CPU; they are compiled for the machine at hand when they are first needed, which
takes about a second and serves every shape. What they compute is defined by the plain loops of
:mod:`tsbp.neuron`, which go on wherever a compiler is missing.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

NAMES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
"""Types of current that the kernel reads and writes as they are."""

FLAGS = "-std=c++17 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -shared -fPIC"
TUNED = "-march=native -fopenmp"
"""What not every compiler knows; without them the kernel runs on one core."""

LINE = 16
"""Neurons in a cache line: the fewest that the kernel takes."""

COMPILED_SETTINGS = 64
"""How many combinations of T, dtype and constants one process compiles for CUDA; later ones run uncompiled."""

CONSTANTS = ("leak_m", "leak_s", "gain_s", "threshold", "temperature", "reset_gradient", "temporal_gradient")
"""Fields of ``Settings`` in kernel.cpp."""


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
    step = rows.shape[1] if rows.shape[0] > 1 else 0
    _call("forward", current.dtype, rows, step, psc, potential, *shape, constants)
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
    step = 0 if constant else rows.shape[1]
    _call("backward", dtype, rows, grad_psc, grad_spikes, grad_current, step, *rows.shape, constants)
    return _shaped(grad_current, potential.shape[1:])


def _call(direction: str, dtype: torch.dtype, *arguments: Tensor | int | dict[str, float] | None) -> None:
    """Call the kernel; tensors go as addresses, None as the null pointer."""
    converted = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            converted.append(ctypes.c_void_p(argument.data_ptr()))
        elif isinstance(argument, dict):
            converted.append((ctypes.c_double * len(CONSTANTS))(*(argument[name] for name in CONSTANTS)))
        else:
            converted.append(argument if argument is None else ctypes.c_int64(argument))
    getattr(kernel(), f"{direction}_{NAMES[dtype]}")(*converted, torch.get_num_threads())


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


# --- CUDA -------------------------------------------------------------------------------------------------------------


def loop(function: Callable, *arguments) -> Tensor | tuple[Tensor | None, ...]:
    """Call a loop over time compiled by ``torch.compile``, which makes one kernel of it."""
    return _compiled(function)(*arguments)


class _Compiled:
    """A loop compiled over neurons laid out in one row, ``[T, N]``: one compilation then serves every N."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.run = torch.compile(function, fullgraph=True)

    def __call__(self, *arguments) -> Tensor | tuple[Tensor | None, ...]:
        shape = arguments[0].shape[1:]
        rows = [_of_any_size(x) if isinstance(x, Tensor) else x for x in arguments]
        dynamo = torch._dynamo
        try:
            # PyTorch's own limit, 8 settings a process, is too low for a sweep.
            with dynamo.config.patch(recompile_limit=COMPILED_SETTINGS):
                out = self.run(*rows)
        except (dynamo.exc.TorchDynamoException, dynamo.exc.FailOnRecompileLimitHit) as error:
            # Too many settings, or no working compiler on this machine: slower from here on, never wrong.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            warnings.warn(f"torch.compile failed, going on without it: {reason}", stacklevel=2)
            self.run = self.function
            out = self.function(*rows)
        if isinstance(out, Tensor):
            return _shaped(out, shape)
        return tuple(None if x is None else _shaped(x, shape) for x in out)


_compiled = functools.cache(_Compiled)


def _of_any_size(x: Tensor) -> Tensor:
    rows = _flat(x)
    if rows.shape[1] > 1:
        torch._dynamo.mark_dynamic(rows, 1)
    return rows
