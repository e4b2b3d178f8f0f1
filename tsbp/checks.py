"""Checks of the neuron's arguments: a ValueError names the argument, what is allowed, and its value."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tsbp.kernels.tensors import ordinary, state_dtype
from tsbp.surrogate import SCALES, SURROGATES

if TYPE_CHECKING:
    from tsbp.equations import Neuron, State
    from tsbp.neuron import LIFState

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
RESETS = ("zero", "subtract")
_REAL = (float, int, np.floating, np.integer)
"""Numbers that tensors can be multiplied by."""


def neuron(neuron: "Neuron") -> None:
    """Check the settings of a neuron."""
    number("tau_m", neuron.tau_m, "at least 1 time step", lambda x: x >= 1)
    tau_s(neuron.tau_s)
    number("threshold", neuron.threshold, "a finite number", math.isfinite)
    number("temperature", neuron.temperature, "finite and greater than 0", lambda x: 0 < x < math.inf)
    name("surrogate", neuron.surrogate, SURROGATES)
    name("surrogate_scale", neuron.scale, SCALES)
    name("reset", neuron.reset, RESETS)
    flags(relaxed=neuron.relaxed, detach_recurrence=neuron.detach_recurrence)
    if neuron.relaxed and neuron.scale == "peak":
        raise ValueError("relaxed needs surrogate_scale area: the integral of a surrogate of scale peak is no spike")


def flags(**values: bool) -> None:
    """Texts and numbers are no truth values."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")


def tau_s(value: float | Tensor) -> None:
    number("tau_s", value, "finite and at least 1 time step", lambda x: 1 <= x < math.inf)


def sequence(
    current: Tensor, time_steps: int | None, state: "LIFState | None", recurrent: Tensor | None
) -> "tuple[int, State | None]":
    """T, and the state in the type in which the neurons are simulated."""
    floating("current", current)
    steps = current.shape[0]
    if time_steps is not None and time_steps != steps:
        if not isinstance(time_steps, int) or time_steps < 1 or steps != 1:
            raise ValueError(
                f"time_steps must be an integer, the length of current, {steps}, or any for one step; got {time_steps}"
            )
        steps = time_steps
    before = None if state is None else _state(state, current)
    if recurrent is not None:
        _recurrent(recurrent, current)
    return steps, before


def _state(state: "LIFState", current: Tensor) -> "State":
    parts: tuple[Any, ...] = tuple(state) if isinstance(state, tuple | list) else (state,)
    wanted = current.shape[1:]
    if len(parts) != 3 or any(not _dense(x) or x.shape != wanted or x.device != current.device for x in parts):
        raise ValueError(
            f"state must be potential, spikes and psc of one step, dense floating-point tensors {list(wanted)} on "
            f"{current.device}, got {', '.join(map(_described, parts)) or 'none'}"
        )
    u, s, a = (x.to(state_dtype(current)) for x in parts)
    return u, s, a


def _recurrent(recurrent: Tensor, current: Tensor) -> None:
    n = current.shape[-1] if current.dim() > 1 else 0
    shapes = [[n, n], *([m, n, n] for m in current.shape[1:][-2:-1] if m)]
    types = current.dtype, state_dtype(current)
    if not n or not _dense(recurrent) or list(recurrent.shape) not in shapes or recurrent.dtype not in types:
        allowed = " or ".join(dict.fromkeys(str(x).removeprefix("torch.") for x in types))
        raise ValueError(
            f"recurrent must be a dense tensor {' or '.join(map(str, shapes))} of {allowed} for this current, "
            f"got {_described(recurrent)}"
        )


def _dense(x: object) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.layout == torch.strided


def _described(x: object) -> str:
    if not isinstance(x, Tensor):
        return type(x).__name__
    layout = "" if x.layout == torch.strided else f" {str(x.layout).removeprefix('torch.')}"
    return f"{str(x.dtype).removeprefix('torch.')}{layout} {list(x.shape)} on {x.device}"


SETTINGS = ("tau_m", "tau_s", "threshold", "temperature")
"""Those that may be tensors."""


def fitted(neuron: "Neuron", current: Tensor) -> "Neuron":
    """The neuron with its tensors in the type in which neurons of this current are simulated."""
    tensors = {name: x for name in SETTINGS if isinstance(x := getattr(neuron, name), Tensor)}
    weight = neuron.form.weight if neuron.form else None
    if not tensors and not isinstance(weight, Tensor):
        return neuron
    wanted = current.shape[1:]
    for name, x in (tensors | ({"gradient": weight} if isinstance(weight, Tensor) else {})).items():
        if x.dim() > len(wanted) or any(n not in (1, m) for n, m in zip(x.shape[::-1], wanted[::-1], strict=False)):
            raise ValueError(
                f"{name} must be a number or broadcast against one time step, {list(wanted)}, got {_described(x)}"
            )
    settings: dict[str, Any] = {name: x.to(state_dtype(current)) for name, x in tensors.items()}
    return dataclasses.replace(neuron, **settings)


def learns(neuron: "Neuron") -> bool:
    """Whether a setting is learned, or is a tensor that one of PyTorch's transforms must see."""
    tensors = [x for name in SETTINGS if isinstance(x := getattr(neuron, name), Tensor)]
    return bool(tensors) and (not ordinary(*tensors) or any(x.requires_grad for x in tensors))


def numbers(neuron: "Neuron") -> None:
    """The kernels take numbers alone."""
    weight = neuron.form.weight if neuron.form else None
    settings = {name: getattr(neuron, name) for name in SETTINGS}
    for name, value in (settings | {"gradient": weight}).items():
        if isinstance(value, Tensor):
            raise ValueError(f"compiled=True takes a number, not a tensor, for {name}")


def factor(value: object, h: Tensor) -> None:
    """Check what a user's own gradient returned."""
    if not isinstance(value, Tensor | float | int):
        raise ValueError(f"gradient: factor(U, S, h) must return a tensor or a number, got {type(value).__name__}")
    if isinstance(value, Tensor) and value.dim() and value.shape != h.shape:
        raise ValueError(
            f"gradient: factor(U, S, h) must return the shape of h, {list(h.shape)}, got {list(value.shape)}"
        )


def floating(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor) or x.dtype not in FLOATING:
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name} must be a floating-point tensor of 16, 32 or 64 bits, got {kind}")
    if x.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor, got {x.layout}")
    if x.dim() == 0 or x.shape[0] == 0:
        raise ValueError(f"{name} must have the shape [T, ...] with T at least 1, got {list(x.shape)}")


def number(name: str, value: float | Tensor, allowed: str, holds) -> None:
    if isinstance(value, Tensor):
        if value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name} must be {allowed}, got a tensor of {value.dtype}")
        if not ordinary(value):
            return  # its numbers cannot be looked at
        ends = value.detach().aminmax() if value.numel() else ()
        values = [x.item() for x in ends]
    else:
        values = [value]
    for x in values:
        if not isinstance(x, _REAL) or isinstance(x, bool) or not _holds(holds, x):
            raise ValueError(f"{name} must be {allowed}, got {' '.join(repr(x).split())}")


def _holds(condition, x: object) -> bool:
    try:
        return bool(condition(x))
    except (TypeError, OverflowError):
        return False


def name(argument: str, value: str, allowed) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}, got {value!r}")
