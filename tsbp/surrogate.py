"""The spike and its surrogate derivative: equations 3, 9 and 10 of the paper.

A neuron fires when its potential exceeds the threshold. This step has no useful derivative, so the backward pass uses
that of a smooth function: a kernel k around the threshold, Θ wide. The paper takes the logistic function; Θ is its
sigmoid temperature. To add a surrogate, add an entry to :data:`SURROGATES`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Surrogate(NamedTuple):
    """A kernel k of area 1, symmetric around 0, and its integral from -∞."""

    kernel: Callable[[Tensor], Tensor]
    integral: Callable[[Tensor], Tensor]
    peak: float
    """k(0)."""


def _sigmoid_kernel(x: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1 - sigmoid)


def _triangle_integral(x: Tensor) -> Tensor:
    x = x.clamp(-1, 1)
    return 0.5 + x - x * x.abs() / 2


SURROGATES: dict[str, Surrogate] = {
    "sigmoid": Surrogate(_sigmoid_kernel, torch.sigmoid, 1 / 4),
    "fast-sigmoid": Surrogate(lambda x: 0.5 / (1 + x.abs()) ** 2, lambda x: 0.5 + 0.5 * x / (1 + x.abs()), 1 / 2),
    "arctan": Surrogate(lambda x: 1 / (math.pi * (1 + x * x)), lambda x: 0.5 + torch.atan(x) / math.pi, 1 / math.pi),
    "triangle": Surrogate(lambda x: (1 - x.abs()).clamp(min=0), _triangle_integral, 1.0),
    "rectangle": Surrogate(lambda x: 0.5 * (x.abs() < 1).to(x.dtype), lambda x: 0.5 + x.clamp(-1, 1) / 2, 1 / 2),
    "gaussian": Surrogate(
        lambda x: torch.exp(-x * x / 2) / math.sqrt(2 * math.pi),
        lambda x: 0.5 + torch.erf(x / math.sqrt(2)) / 2,
        1 / math.sqrt(2 * math.pi),
    ),
}
"""The surrogates by name: ``sigmoid`` is the paper's, ``fast-sigmoid`` SuperSpike's, ``rectangle`` STBP's.

:meta hide-value:
"""

BUILT_IN = dict(SURROGATES)
"""Those that the kernels know.

:meta hide-value:
"""

SCALES = ("area", "peak")
"""``area``: the derivative has area 1, so that it is high where it is narrow. ``peak``: it is 1 at the threshold."""


def heaviside(overdrive: Tensor) -> Tensor:
    """Spike where the potential exceeds the threshold (eq. 3).

    Args:
        overdrive: potential minus threshold, any shape.

    Returns:
        1 where ``overdrive > 0`` and 0 elsewhere, in the dtype of ``overdrive``. The paper leaves H(0) open; here
        a neuron exactly at threshold stays silent.
    """
    return (overdrive > 0).to(overdrive.dtype)


def relaxed_spike(overdrive: Tensor, temperature: float | Tensor, surrogate: str = "sigmoid") -> Tensor:
    """The smooth function in place of the step, from 0 to 1: ``σ(overdrive / Θ)`` for the sigmoid (eq. 9).

    Args:
        overdrive: potential minus threshold, any shape.
        temperature: Θ > 0, in units of the potential; a tensor must broadcast against ``overdrive``.
        surrogate: a name in :data:`SURROGATES`.
    """
    return SURROGATES[surrogate].integral(overdrive / temperature)


def surrogate_derivative(
    overdrive: Tensor, temperature: float | Tensor, surrogate: str = "sigmoid", scale: str = "area"
) -> Tensor:
    """The surrogate h of dS/dU (eq. 10): ``k(overdrive / Θ) / Θ``, the derivative of :func:`relaxed_spike`.

    Args:
        overdrive: potential minus threshold, any shape.
        temperature: Θ > 0, in units of the potential; a tensor must broadcast against ``overdrive``.
        surrogate: a name in :data:`SURROGATES`.
        scale: ``area``, or ``peak`` for ``k(overdrive / Θ) / k(0)``.
    """
    kernel = SURROGATES[surrogate].kernel(overdrive / temperature)
    return kernel / (temperature if scale == "area" else SURROGATES[surrogate].peak)


def surrogate_spike(
    overdrive: Tensor, temperature: float | Tensor, surrogate: str = "sigmoid", scale: str = "area"
) -> Tensor:
    """:func:`heaviside` forward, :func:`surrogate_derivative` backward, which can be differentiated in turn.

    The arguments are those of :func:`surrogate_derivative`. A temperature that is learned gets the derivative of the
    relaxed spike, ``dS/dΘ = -(overdrive / Θ) · h``.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # their graphs hold operations alone
        smooth = relaxed_spike(overdrive, temperature, surrogate)
        if scale == "peak":
            smooth = smooth * (temperature / SURROGATES[surrogate].peak)
        return heaviside(overdrive) + (smooth - smooth.detach())
    return _SurrogateSpike.apply(overdrive, temperature, surrogate, scale)


class _SurrogateSpike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(overdrive: Tensor, temperature: float | Tensor, surrogate: str, scale: str) -> Tensor:
        return heaviside(overdrive)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        overdrive, ctx.temperature, ctx.surrogate, ctx.scale = inputs
        tensors = [overdrive, ctx.temperature] if isinstance(ctx.temperature, Tensor) else [overdrive]
        ctx.temperature = None if len(tensors) > 1 else ctx.temperature
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def _slopes(ctx) -> tuple[Tensor, Tensor, Tensor | float]:
        """Derivatives with respect to the overdrive and the temperature, and the temperature."""
        overdrive, temperature = ctx.saved_tensors if ctx.temperature is None else (*ctx.saved_tensors, ctx.temperature)
        h = surrogate_derivative(overdrive, temperature, ctx.surrogate, ctx.scale)
        return h, -overdrive / temperature * h, temperature

    @staticmethod
    def backward(ctx, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        h, of_temperature, temperature = _SurrogateSpike._slopes(ctx)
        grad_temperature = None
        if isinstance(temperature, Tensor) and ctx.needs_input_grad[1]:
            grad_temperature = (grad_spikes * of_temperature).sum_to_size(temperature.shape)
        return grad_spikes * h, grad_temperature, None, None

    @staticmethod
    def jvp(ctx, overdrive_tangent: Tensor, temperature_tangent: Tensor | None, *others) -> Tensor:
        h, of_temperature, _ = _SurrogateSpike._slopes(ctx)
        tangent = h * overdrive_tangent
        return tangent if temperature_tangent is None else tangent + of_temperature * temperature_tangent
