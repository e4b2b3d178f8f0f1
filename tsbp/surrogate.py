"""The spike and its surrogate derivative: equations 3, 9 and 10 of the paper.

A neuron fires when its potential exceeds the threshold. That step has no useful derivative, so the backward
pass borrows the one of a logistic function; the sigmoid temperature says how wide that function is.
"""

import torch
from torch import Tensor


def heaviside(overdrive: Tensor) -> Tensor:
    """Spike where the potential exceeds the threshold (eq. 3).

    Args:
        overdrive: potential minus threshold, any shape.

    Returns:
        1 where ``overdrive > 0`` and 0 elsewhere, in the dtype of ``overdrive``. The paper leaves H(0) open; here
        a neuron exactly at threshold stays silent.
    """
    return (overdrive > 0).to(overdrive.dtype)


def sigmoid_spike(overdrive: Tensor, temperature: float | Tensor) -> Tensor:
    """The smooth stand-in for the step, ``σ(overdrive / Θ)`` (eq. 9).

    Args:
        overdrive: potential minus threshold, any shape.
        temperature: Θ > 0, in units of the potential; a tensor must broadcast against ``overdrive``.
    """
    return torch.sigmoid(overdrive / temperature)


def surrogate_derivative(overdrive: Tensor, temperature: float | Tensor) -> Tensor:
    """Derivative of :func:`sigmoid_spike`, ``h = σ(1 - σ) / Θ`` (eq. 10): at most ``1 / (4 Θ)``, at threshold.

    Args:
        overdrive: potential minus threshold, any shape.
        temperature: Θ > 0, in units of the potential; a tensor must broadcast against ``overdrive``.
    """
    sigmoid = sigmoid_spike(overdrive, temperature)
    return sigmoid * (1 - sigmoid) / temperature


class SurrogateSpike(torch.autograd.Function):
    """:func:`heaviside` forward, :func:`surrogate_derivative` backward: the textbook surrogate gradient."""

    @staticmethod
    def forward(ctx, overdrive: Tensor, temperature: float | Tensor) -> Tensor:
        ctx.save_for_backward(overdrive)
        ctx.temperature = temperature
        return heaviside(overdrive)

    @staticmethod
    def backward(ctx, grad_spikes: Tensor) -> tuple[Tensor, None]:
        (overdrive,) = ctx.saved_tensors
        return grad_spikes * surrogate_derivative(overdrive, ctx.temperature), None
