"""A recurrent layer: a step of the kernel, a matrix product with the recurrent weights, and so on through time."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsbp.kernels import dispatch, memory
from tsbp.kernels.fused import first_order
from tsbp.kernels.tensors import ordinary, state_dtype

if TYPE_CHECKING:
    from tsbp.equations import Neuron


def usable(current: Tensor, state: tuple[Tensor, ...] | None, recurrent: Tensor) -> bool:
    """Whether the steps can be called one by one; the plain loop does what this cannot."""
    return ordinary(current, recurrent, *(state or ())) and current.dtype == recurrent.dtype == state_dtype(current)


class RecurrentFunction(torch.autograd.Function):
    """The function of the plain loop, :class:`tsbp.equations.LIFFunction`, with its arguments and results."""

    @staticmethod
    def forward(ctx, current, u, s, a, recurrent, neuron: "Neuron", steps: int) -> tuple[Tensor, ...]:
        row = current[0].shape
        psc, potential = (memory.empty((steps, *row), current.dtype, current.device) for _ in range(2))
        if u is None:
            remaining, decayed = torch.zeros_like(current[0]), torch.zeros_like(current[0])
        else:
            remaining = (neuron.leak_m * neuron.after_reset(u, s)).contiguous()
            decayed = (neuron.leak_s * a).contiguous()
        step = dispatch.stepper(current.dtype, current.device, neuron.constants)
        total = torch.empty_like(potential[0])
        before, flat, weights = a, total.view(-1, row[-1]), recurrent.T
        for now, psc_now, potential_now in zip(current.expand_as(psc), psc, potential, strict=True):
            if before is not None:
                torch.addmm(now.reshape_as(flat), before.reshape_as(flat), weights, out=flat)
                now = total
            step.forward(now, psc_now, potential_now, remaining, decayed)
            before = psc_now
        ctx.neuron, ctx.constant = neuron, len(current) < steps
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(potential, psc, u, s, a, recurrent)
        last = potential[-1].clone()
        return psc, (potential > neuron.threshold).to(psc.dtype), potential, last, neuron.fire(last), psc[-1].clone()

    @staticmethod
    def backward(ctx, grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a) -> tuple[Tensor | None, ...]:
        potential, psc, *state, recurrent = ctx.saved_tensors
        neuron: Neuron = ctx.neuron
        grad_u = neuron.into_last(potential, grad_u, grad_s)
        grads = grad_psc, grad_spikes, grad_u, grad_a
        if first_order(grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a):
            deltas, later = _step_by_step(potential, *grads, recurrent, neuron)
        else:
            deltas, later = neuron.backward(potential, *grads, grad_potential, recurrent)
        grad_current = deltas.sum(0, keepdim=True) if ctx.constant else deltas
        of_state = neuron.into_state(state, neuron.leak_m * deltas[0], later)
        return grad_current, *of_state, neuron.into_recurrent(state[2], psc, deltas), None, None


def _step_by_step(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    recurrent: Tensor,
    neuron: "Neuron",
) -> tuple[Tensor, Tensor]:
    """Equations 7 and 8 with the kernel's steps: what ``Neuron.backward`` returns."""
    deltas = memory.empty(potential.shape, potential.dtype, potential.device)
    carried = torch.zeros_like(potential[0])
    alphas = torch.zeros_like(carried)
    if grad_alpha is not None:
        alphas.copy_(grad_alpha)
    step = dispatch.stepper(potential.dtype, potential.device, neuron.constants)
    arriving = torch.empty_like(carried)
    flat = arriving.view(-1, carried.shape[-1])
    later = None
    for t in range(len(potential) - 1, -1, -1):
        grad_now = None if grad_psc is None else grad_psc[t]
        if later is not None:  # what the next step's current owes to this step's psc
            if grad_now is None:
                torch.mm(later, recurrent, out=flat)
            else:
                torch.addmm(grad_now.reshape_as(flat), later, recurrent, out=flat)
            grad_now = arriving
        spikes_now = None if grad_spikes is None else grad_spikes[t]
        step.backward(potential[t], grad_now, spikes_now, grad_last, deltas[t], carried, alphas)
        later, grad_last = deltas[t].view_as(flat), None
    return deltas, alphas + (deltas[0].view_as(flat) @ recurrent).view_as(alphas)
