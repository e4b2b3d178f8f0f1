"""The leaky integrate-and-fire neuron and its gradient: equations 1-5, 7 and 8 of the paper.

:func:`tsbp.lif` is the neuron with its backward pass written by hand, as the recursion of equations 7 and 8.
:func:`tsbp.reference_lif` is the same neuron left to autograd; it is slow, and what :func:`tsbp.lif` is checked
against.

Every array has time first, ``[T, ...]``; the neurons' state before the first step is zero. Time constants are in
time steps.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tsbp import fused
from tsbp.surrogate import SurrogateSpike, heaviside, sigmoid_spike, surrogate_derivative

GRADIENTS: dict[str, dict[str, bool]] = {
    "full": {"reset_gradient": True, "temporal_gradient": True},
    "leak": {"reset_gradient": False, "temporal_gradient": True},
    "spatial": {"reset_gradient": False, "temporal_gradient": False},
}
"""The three gradients that the study compares, as keyword arguments of :func:`tsbp.lif`."""

HALF = (torch.float16, torch.bfloat16)
"""Types whose neurons are simulated in float32."""


class LIFOutput(NamedTuple):
    """What a layer of neurons returns, each of the shape of its input current, ``[T, ...]``."""

    psc: Tensor
    """Postsynaptic current a (eq. 5); differentiable."""
    spikes: Tensor | None
    """Spikes S, 0 or 1 (eq. 3); differentiable."""
    potential: Tensor
    """Membrane potential U before the reset (eq. 4), in float32 at least; a record without gradient."""


def lif(
    current: Tensor,
    *,
    tau_m: float = 6.0,
    tau_s: float = 2.0,
    threshold: float = 1.0,
    temperature: float | Tensor = 0.3,
    reset_gradient: bool | float | Tensor = True,
    temporal_gradient: bool | Tensor = True,
    soft_reset: bool = False,
    relaxed: bool = False,
    time_steps: int | None = None,
    spikes: bool = True,
    compiled: bool = False,
) -> LIFOutput:
    """Simulate leaky integrate-and-fire neurons with a hard reset (eq. 3-5)::

        U[t] = (1 - 1/τm) · U[t-1] · (1 - S[t-1]) + I[t]
        S[t] = H(U[t] - ϑ)
        a[t] = (1 - 1/τs) · a[t-1] + S[t] / τs

    The backward pass runs the adjoint recursion of eq. 7 and 8 from the last step to the first, with h the surrogate
    derivative of eq. 10, gA and gS the gradients that arrive at psc and spikes::

        α[t] = gA[t] + (1 - 1/τs) · α[t+1]
        δ[t] = (α[t]/τs + gS[t]) · h[t] + δ[t+1] · (1 - 1/τm) · (1 - S[t] - U[t] · h[t])
        dL/dI[t] = δ[t]

    ``U · h`` is the reset term. Only the potential is kept for the backward pass.

    Args:
        current: total input current I that reaches the membranes, ``[T, ...]`` with T ≥ 1, floating. Half precision
            is simulated in float32 and returned in its own type.
        tau_m: membrane time constant in steps, ≥ 1 (1 forgets at once, ``math.inf`` never leaks).
        tau_s: synaptic time constant in steps, ≥ 1 and finite.
        threshold: ϑ; a neuron fires when its potential is strictly greater.
        temperature: Θ > 0, the width of the surrogate (eq. 9). Number or tensor that broadcasts against one time step.
        reset_gradient: scales the reset term: True (1) keeps it, False (0) drops it, as detaching the reset does.
            Number or tensor that broadcasts against one time step.
        temporal_gradient: False lets no gradient through time along the membrane (the synaptic filter keeps its own).
            Boolean, or a tensor of zeros and ones that broadcasts against one time step.
        soft_reset: a spike takes the threshold from the potential instead of all of it: ``U[t-1] - ϑ · S[t-1]`` in the
            place of ``U[t-1] · (1 - S[t-1])``, and ``1 - ϑ · h`` in that of ``1 - S - U · h``. Not in the paper.
        relaxed: fire σ (eq. 9) instead of H. The model is then differentiable, and ``full`` is its exact gradient: the
            setting in which the gradient can be checked by finite differences.
        time_steps: T of a constant current, which is then given as one step, ``[1, ...]``.
        spikes: False returns None in their place and saves the time to write them.
        compiled: one pass through memory instead of one for every operation, with the same forward pass to the last
            bit. The first call compiles, for about a second. The variants ``soft_reset`` and ``relaxed``, and float16,
            go uncompiled.

    Returns:
        psc, spikes and potential, each ``[T, ...]``.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """
    _check(current, tau_m, tau_s, threshold, temperature, reset_gradient)
    if compiled and any(isinstance(x, Tensor) for x in (temperature, reset_gradient, temporal_gradient)):
        raise ValueError("compiled=True takes numbers, not tensors, for temperature and the gradients' settings")
    settings = _Settings(
        leak_m=1 - 1 / tau_m,
        leak_s=1 - 1 / tau_s,
        gain_s=1 / tau_s,
        threshold=float(threshold),
        temperature=temperature,
        reset_gradient=reset_gradient if isinstance(reset_gradient, Tensor) else float(reset_gradient),
        temporal_gradient=temporal_gradient,
        soft_reset=soft_reset,
        relaxed=relaxed,
    )
    steps = _check_time_steps(current, time_steps)
    return LIFOutput(*_LIFFunction.apply(current, settings, steps, spikes, compiled))


class LIF(nn.Module):
    """A layer of :func:`tsbp.lif` neurons without parameters of its own: ``forward(current [T, ...]) → psc [T, ...]``.

    A constant current may be given as one step, ``[1, ...]``, with ``time_steps``. Takes the keyword arguments of
    :func:`tsbp.lif` and raises its errors.
    """

    def __init__(self, **settings) -> None:
        super().__init__()
        lif(torch.zeros(1), **{**settings, "compiled": False})  # a bad setting is reported here, not in the first call
        self.settings = settings

    def forward(self, current: Tensor, time_steps: int | None = None) -> Tensor:
        return lif(current, **self.settings, time_steps=time_steps, spikes=False).psc

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


def reference_lif(
    current: Tensor,
    *,
    tau_m: float = 6.0,
    tau_s: float = 2.0,
    threshold: float = 1.0,
    temperature: float | Tensor = 0.3,
    reset_gradient: bool | float | Tensor = True,
    temporal_gradient: bool = True,
    soft_reset: bool = False,
    relaxed: bool = False,
) -> LIFOutput:
    """Equations 3-5 as the paper writes them, differentiated by autograd alone.

    The arguments are those of :func:`tsbp.lif`. What differs is how a gradient is chosen: here by detaching a node of
    the compute graph, in :func:`tsbp.lif` by a factor in the recursion. The two must agree.
    """
    _check(current, tau_m, tau_s, threshold, temperature, reset_gradient)
    fire = sigmoid_spike if relaxed else SurrogateSpike.apply
    u = s = a = torch.zeros_like(current[0])
    psc, spikes, potential = [], [], []
    for current_now in current:
        reset = s.detach() + reset_gradient * (s - s.detach())  # the value of s, a share of its gradient
        carried = (1 - 1 / tau_m) * (u - threshold * reset if soft_reset else u * (1 - reset))
        u = (carried if temporal_gradient else carried.detach()) + current_now
        s = fire(u - threshold, temperature)
        a = (1 - 1 / tau_s) * a + s / tau_s
        psc.append(a), spikes.append(s), potential.append(u)
    return LIFOutput(torch.stack(psc), torch.stack(spikes), torch.stack(potential).detach())


def filter_spikes(spikes: Tensor, tau_s: float = 2.0) -> Tensor:
    """Turn a spike train into a postsynaptic current (eq. 2): ``a[t] = (1 - 1/τs) · a[t-1] + S[t] / τs``.

    Args:
        spikes: ``[T, ...]`` with T ≥ 1, floating.
        tau_s: synaptic time constant in steps, ≥ 1 and finite.

    Returns:
        The postsynaptic current, ``[T, ...]``.

    Raises:
        ValueError: an argument is out of its range.
    """
    _check_sequence("spikes", spikes)
    _check_tau_s(tau_s)
    a = torch.zeros_like(spikes[0])
    psc = []
    for spikes_now in spikes:
        a = (1 - 1 / tau_s) * a + spikes_now / tau_s
        psc.append(a)
    return torch.stack(psc)


# --- the two loops over time, and the autograd.Function around them ---------------------------------------------------


class _Settings(NamedTuple):
    """The neuron's constants as the loops use them."""

    leak_m: float
    leak_s: float
    gain_s: float
    threshold: float
    temperature: float | Tensor
    reset_gradient: float | Tensor
    temporal_gradient: bool | Tensor
    soft_reset: bool
    relaxed: bool

    def fire(self, potential: Tensor) -> Tensor:
        overdrive = potential - self.threshold
        return sigmoid_spike(overdrive, self.temperature) if self.relaxed else heaviside(overdrive)


def _forward(
    current: Tensor, time_steps: int, spikes: bool, settings: _Settings
) -> tuple[Tensor, Tensor | None, Tensor]:
    u = s = a = torch.zeros_like(current[0], dtype=_state_dtype(current))
    psc, fired, potential = [], [], []
    for current_now in current.expand(time_steps, *current.shape[1:]):
        remaining = u - settings.threshold * s if settings.soft_reset else u * (1 - s)
        u = settings.leak_m * remaining + current_now
        s = settings.fire(u)
        a = settings.leak_s * a + settings.gain_s * s
        psc.append(a.to(current.dtype)), fired.append(s.to(current.dtype)), potential.append(u)
    return torch.stack(psc), torch.stack(fired) if spikes else None, torch.stack(potential)


def _backward(
    potential: Tensor, grad_psc: Tensor | None, grad_spikes: Tensor | None, constant: bool, settings: _Settings
) -> Tensor:
    alpha = delta = torch.zeros_like(potential[0])
    grad_current = []
    for t in reversed(range(potential.shape[0])):
        u = potential[t]
        h = surrogate_derivative(u - settings.threshold, settings.temperature)
        grad_s = torch.zeros_like(u) if grad_spikes is None else grad_spikes[t]
        if grad_psc is not None:
            alpha = grad_psc[t] + settings.leak_s * alpha
            grad_s = grad_s + settings.gain_s * alpha
        temporal = 0.0
        if settings.temporal_gradient is not False:
            if settings.soft_reset:
                factor = 1 - settings.reset_gradient * settings.threshold * h
            else:
                factor = 1 - settings.fire(u) - settings.reset_gradient * u * h
            temporal = settings.temporal_gradient * settings.leak_m * factor * delta
        delta = grad_s * h + temporal
        grad_current.append(delta)
    stacked = torch.stack(grad_current[::-1])
    return stacked.sum(0, keepdim=True) if constant else stacked


class _LIFFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, current: Tensor, settings: _Settings, time_steps: int, spikes: bool, compiled: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        ctx.settings, ctx.dtype, ctx.constant = settings, current.dtype, len(current) < time_steps
        ctx.kernel = compiled and not (settings.soft_reset or settings.relaxed) and fused.usable(current)
        if ctx.kernel:
            psc, potential = fused.forward(current, time_steps, _constants(settings))
            fired = heaviside(potential - settings.threshold).to(current.dtype) if spikes else None
        else:
            psc, fired, potential = _forward(current, time_steps, spikes, settings)
        ctx.mark_non_differentiable(potential)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(potential)
        return psc, fired, potential

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_psc: Tensor | None, grad_spikes: Tensor | None, _) -> tuple[Tensor | None, ...]:
        if grad_psc is None and grad_spikes is None:
            return None, None, None, None, None
        (potential,) = ctx.saved_tensors
        arguments = potential, grad_psc, grad_spikes, ctx.constant
        if ctx.kernel:
            grad_current = fused.backward(*arguments, ctx.dtype, _constants(ctx.settings))
        else:
            grad_current = _backward(*arguments, ctx.settings).to(ctx.dtype)
        return grad_current, None, None, None, None


def _constants(settings: _Settings) -> dict[str, float]:
    return {name: float(getattr(settings, name)) for name in fused.CONSTANTS}


def _state_dtype(current: Tensor) -> torch.dtype:
    return torch.float32 if current.dtype in HALF else current.dtype


# --- checks of arguments ----------------------------------------------------------------------------------------------


def _check(
    current: Tensor,
    tau_m: float,
    tau_s: float,
    threshold: float,
    temperature: float | Tensor,
    reset_gradient: float | Tensor,
) -> None:
    _check_sequence("current", current)
    if not tau_m >= 1:
        raise ValueError(f"tau_m must be at least 1 time step, got {tau_m}")
    _check_tau_s(tau_s)
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number, got {threshold}")
    lowest = temperature.min().item() if isinstance(temperature, Tensor) else temperature
    if not 0 < lowest < math.inf:
        raise ValueError(f"temperature must be finite and greater than 0, got {lowest}")
    if not isinstance(reset_gradient, Tensor) and not math.isfinite(reset_gradient):
        raise ValueError(f"reset_gradient must be a boolean or a finite number, got {reset_gradient}")


def _check_time_steps(current: Tensor, time_steps: int | None) -> int:
    """T."""
    steps = current.shape[0]
    if time_steps is None or time_steps == steps:
        return steps
    if time_steps < 1 or steps != 1:
        raise ValueError(f"time_steps must be the length of current, {steps}, or repeat one step, got {time_steps}")
    return time_steps


def _check_sequence(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name} must be a floating-point tensor, got {kind}")
    if x.dim() == 0 or x.shape[0] == 0:
        raise ValueError(f"{name} must have the shape [T, ...] with T at least 1, got {list(x.shape)}")


def _check_tau_s(tau_s: float) -> None:
    if not 1 <= tau_s < math.inf:
        raise ValueError(f"tau_s must be finite and at least 1 time step, got {tau_s}")
