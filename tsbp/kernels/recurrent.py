"""A recurrent layer: a step of the kernel, a matrix product with the recurrent weights, and so on through time."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsbp.kernels import dispatch, events, memory
from tsbp.kernels.fused import first_order
from tsbp.kernels.rows import matrices
from tsbp.kernels.tensors import ordinary, state_dtype

if TYPE_CHECKING:
    from tsbp.equations import Neuron


def usable(current: Tensor, state: tuple[Tensor, ...] | None, recurrent: Tensor) -> bool:
    """Whether the steps can be called one by one; the plain loop does what this cannot."""
    return ordinary(current, recurrent, *(state or ())) and current.dtype == recurrent.dtype == state_dtype(current)


class RecurrentFunction(torch.autograd.Function):
    """The function of the plain loop, :class:`tsbp.equations.LIFFunction`, with its arguments and results."""

    @staticmethod
    def forward(
        ctx, current, u, s, a, recurrent, neuron: "Neuron", steps: int, spikes: bool
    ) -> tuple[Tensor | None, ...]:
        row = current[0].shape
        psc, potential = (memory.empty((steps, *row), current.dtype, current.device) for _ in range(2))
        if u is None:
            remaining, decayed = torch.zeros_like(current[0]), torch.zeros_like(current[0])
        else:
            remaining = (neuron.leak_m * neuron.after_reset(u, s)).contiguous()
            decayed = (neuron.leak_s * a).contiguous()
        step = dispatch.stepper(current.dtype, current.device, neuron.constants)
        total = torch.empty_like(potential[0])
        _, add_product = _products(recurrent)
        before, flat, weights = a, matrices(total, recurrent), recurrent.mT
        by_events = recurrent.dim() == 3 and events.usable(current, recurrent)
        if by_events:
            weights, carried = weights.contiguous(), torch.zeros_like(total)
        for t, (now, psc_now, potential_now) in enumerate(zip(current.expand_as(psc), psc, potential, strict=True)):
            if by_events and t:
                events.forward(
                    _entries(potential[t - 1]),
                    weights,
                    _entries(total),
                    float(neuron.threshold),
                    float(neuron.tau_s),
                    carried,
                )
                total += now
                now = total
            elif before is not None:
                add_product(matrices(now, recurrent), matrices(before, recurrent), weights, out=flat)
                if by_events:
                    torch.sub(total, now, out=carried)
                now = total
            step.forward(now, psc_now, potential_now, remaining, decayed)
            before = psc_now
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
        if first_order(grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a):
            deltas, later = _step_by_step(potential, *grads, recurrent, neuron)
        else:
            deltas, later = neuron.backward(potential, *grads, grad_potential, recurrent)
        grad_current = deltas.sum(0, keepdim=True) if ctx.constant else deltas
        of_state = neuron.into_state(state, neuron.leak_m * deltas[0], later)
        if recurrent.dim() == 3 and state[2] is None and events.usable(potential, recurrent) and len(psc) > 1:
            at = potential[:-1].flatten(1, -3), deltas[1:].flatten(1, -3)
            of_recurrent = events.backward(*at, float(neuron.threshold), float(neuron.tau_s)).mT
        else:
            of_recurrent = neuron.into_recurrent(state[2], psc, deltas, recurrent)
        return grad_current, *of_state, of_recurrent, None, None, None


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


def _entries(row: Tensor) -> Tensor:
    """One time step of networks side by side, ``[..., M, N]``, as the kernel of events has it, ``[1, B, M, N]``."""
    return row.reshape(1, -1, *row.shape[-2:])


def _products(recurrent: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Product of matrices, and its sum with another, for one layer or several side by side."""
    return (torch.mm, torch.addmm) if recurrent.dim() == 2 else (torch.bmm, torch.baddbmm)
