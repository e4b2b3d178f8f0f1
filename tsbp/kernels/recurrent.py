"""A recurrent layer with its derivatives.

On the CPU the loop over time is one call, see :mod:`tsbp.kernels.recurrent_cpu`. On CUDA it is a step of the kernel, a
matrix product with the recurrent weights, and so on.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsbp.kernels import dispatch, memory, recurrent_cpu
from tsbp.kernels.constants import Constants
from tsbp.kernels.fused import first_order
from tsbp.kernels.rows import matrices
from tsbp.kernels.tensors import ordinary, state_dtype

if TYPE_CHECKING:
    from tsbp.equations import Neuron


def usable(current: Tensor, state: tuple[Tensor, ...] | None, recurrent: Tensor) -> bool:
    """Whether the loops in compiled code can be given these tensors; the plain loop does what they cannot."""
    return ordinary(current, recurrent, *(state or ())) and current.dtype == recurrent.dtype == state_dtype(current)


class RecurrentFunction(torch.autograd.Function):
    """The function of the plain loop, :class:`tsbp.equations.LIFFunction`, with its arguments and results."""

    @staticmethod
    def forward(
        ctx, current, u, s, a, recurrent, neuron: "Neuron", steps: int, spikes: bool
    ) -> tuple[Tensor | None, ...]:
        remaining = None if u is None else neuron.remaining(u, s)
        loop = recurrent_cpu.forward if dispatch.in_c(current.device) else _step_by_step
        psc, potential = loop(current, steps, recurrent, remaining, a, neuron.constants)
        ctx.neuron, ctx.constant = neuron, len(current) < steps
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(potential, psc, u, s, a, recurrent)
        last = potential[-1].clone()
        fired = (potential > neuron.threshold).to(psc.dtype) if spikes else None
        return psc, fired, potential, last, neuron.fire(last), psc[-1].clone()

    @staticmethod
    def backward(ctx, grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a) -> tuple[Tensor | None, ...]:
        potential, psc, *state, recurrent = ctx.saved_tensors
        neuron: Neuron = ctx.neuron
        grad_u = neuron.into_last(potential, grad_u, grad_s)
        grads = grad_psc, grad_spikes, grad_u, grad_a
        by_kernel = first_order(grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a)
        if by_kernel and dispatch.in_c(potential.device):
            settings = neuron.detach_recurrence, ctx.constant, neuron.constants, ctx.needs_input_grad[4]
            grad_current, of_recurrent, carried, later = recurrent_cpu.backward(
                potential, *grads, recurrent, state[2], *settings
            )
        else:
            if by_kernel:
                deltas, later = _step_by_step_back(potential, *grads, recurrent, neuron)
            else:
                deltas, later = neuron.backward(potential, *grads, grad_potential, recurrent)
            grad_current = deltas.sum(0, keepdim=True) if ctx.constant else deltas
            of_recurrent = neuron.into_recurrent(state[2], psc, deltas, recurrent)
            carried = neuron.leak_m * deltas[0]
        return grad_current, *neuron.into_state(state, carried, later), of_recurrent, None, None, None


def evaluate(
    current: Tensor, state: tuple[Tensor, ...] | None, recurrent: Tensor, steps: int, neuron: "Neuron"
) -> tuple[Tensor, ...]:
    """psc, ``[T, ...]``, and the last step's potential, spikes and psc, if :func:`.fused.evaluates`."""
    remaining = a = None
    if state:
        u, s, a = state
        remaining = neuron.remaining(u, s)
    psc, potential = recurrent_cpu.forward(current, steps, recurrent, remaining, a, neuron.constants, keep=False)
    last = potential.squeeze_(0)
    return psc, last, (last > neuron.threshold).to(psc.dtype), psc[-1].clone()


def _step_by_step(
    current: Tensor,
    steps: int,
    recurrent: Tensor,
    remaining: Tensor | None,
    before: Tensor | None,
    constants: Constants,
) -> tuple[Tensor, Tensor]:
    """:func:`tsbp.kernels.recurrent_cpu.forward` with the kernel's steps."""
    row = current[0]
    psc, potential = (memory.empty((steps, *row.shape), row.dtype, row.device) for _ in range(2))
    remaining = torch.zeros_like(row) if remaining is None else remaining.contiguous()
    decayed = torch.zeros_like(row) if before is None else (constants.leak_s * before).contiguous()
    step = dispatch.stepper(row.dtype, constants)
    total = torch.empty_like(potential[0])
    flat, (_, add_product) = matrices(total, recurrent), _products(recurrent)
    for now, psc_now, potential_now in zip(current.expand_as(psc), psc, potential, strict=True):
        if before is not None:
            add_product(matrices(now, recurrent), matrices(before, recurrent), recurrent.mT, out=flat)
            now = total
        step.forward(now, psc_now, potential_now, remaining, decayed)
        before = psc_now
    return psc, potential


def _step_by_step_back(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    recurrent: Tensor,
    neuron: "Neuron",
) -> tuple[Tensor, Tensor]:
    """What ``Neuron.backward`` returns, with the kernel's steps."""
    deltas = memory.empty(potential.shape, potential.dtype, potential.device)
    carried = torch.zeros_like(potential[0])
    alphas = torch.zeros_like(carried)
    if grad_alpha is not None:
        alphas.copy_(grad_alpha)
    step = dispatch.stepper(potential.dtype, neuron.constants)
    arriving = torch.empty_like(carried)
    product, add_product = _products(recurrent)
    flat, later = matrices(arriving, recurrent), None
    for t in range(len(potential) - 1, -1, -1):
        grad_now = None if grad_psc is None else grad_psc[t]
        if later is not None:  # what the next step's current owes to this step's psc
            if grad_now is None:
                product(later, recurrent, out=flat)
            else:
                add_product(matrices(grad_now, recurrent), later, recurrent, out=flat)
            grad_now = arriving
        spikes_now = None if grad_spikes is None else grad_spikes[t]
        step.backward(potential[t], grad_now, spikes_now, grad_last, deltas[t], carried, alphas)
        later, grad_last = None if neuron.detach_recurrence else matrices(deltas[t], recurrent), None
    if later is not None:
        product(later, recurrent, out=flat)
        alphas += arriving
    return deltas, alphas


def _products(recurrent: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Product of matrices, and its sum with another, for one layer or several side by side."""
    return (torch.mm, torch.addmm) if recurrent.dim() == 2 else (torch.bmm, torch.baddbmm)
