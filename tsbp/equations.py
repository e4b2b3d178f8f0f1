"""The equations of the neuron and of its gradient: 1-5, 7 and 8 of the paper.

:meth:`Neuron.step` and :meth:`Neuron.step_back` are one time step, forward and backward; the backward one is derived by
hand, and its factor (eq. 8) comes from :mod:`tsbp.gradients`. :meth:`Neuron.forward` and :meth:`Neuron.backward` are
the loops over time. :func:`through_autograd` is the forward loop left to autograd. The kernels of :mod:`tsbp.kernels`
compute what the loops define.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tsbp import checks, gradients
from tsbp.gradients import Factor
from tsbp.kernels.dispatch import Constants
from tsbp.kernels.rows import between, matrices
from tsbp.kernels.tensors import state_dtype
from tsbp.surrogate import BUILT_IN, SURROGATES, heaviside, relaxed_spike, surrogate_derivative, surrogate_spike

State = tuple[Tensor, Tensor, Tensor]
"""Potential, spikes and psc of one time step."""

Arriving = Tensor | None
"""A gradient; None where nothing arrives."""


@dataclass(frozen=True, eq=False)
class Neuron:
    """The settings of :func:`tsbp.lif`, and the neuron's equations."""

    factor: Factor
    tau_m: float | Tensor
    tau_s: float | Tensor
    threshold: float | Tensor
    surrogate: str
    temperature: float | Tensor
    scale: str
    reset: str
    relaxed: bool
    detach_recurrence: bool = False

    form: gradients.Form | None = field(init=False)
    """Of the factor; None for a function of one's own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", gradients.form(self.factor))

    @property
    def leak_m(self) -> float | Tensor:
        return 1 - 1 / self.tau_m

    @property
    def leak_s(self) -> float | Tensor:
        return 1 - 1 / self.tau_s

    @property
    def gain_s(self) -> float | Tensor:
        return 1 / self.tau_s

    @property
    def known_surrogate(self) -> bool:
        """Whether the surrogate is one of the package's own, which the kernels compute."""
        return SURROGATES[self.surrogate] is BUILT_IN.get(self.surrogate)

    @property
    def constants(self) -> Constants:
        """The settings as the kernels take them."""
        assert self.form is not None, "the kernels know forms alone"
        return Constants(
            leak_m=float(self.leak_m),
            leak_s=float(self.leak_s),
            gain_s=float(self.gain_s),
            threshold=float(self.threshold),
            inverse=float(1 / self.temperature),
            height=float(1 / self.temperature if self.scale == "area" else 1 / SURROGATES[self.surrogate].peak),
            weight=float(self.form.weight),
            temporal=self.form.temporal,
            surrogate=self.surrogate,
            subtract=self.reset == "subtract",
        )

    def fire(self, potential: Tensor) -> Tensor:
        """S (eq. 3), whose derivative is h; σ (eq. 9) if relaxed."""
        overdrive = potential - self.threshold
        if self.relaxed:
            return relaxed_spike(overdrive, self.temperature, self.surrogate)
        if not torch.is_grad_enabled() and not torch.jit.is_tracing():
            return heaviside(overdrive)
        return surrogate_spike(overdrive, self.temperature, self.surrogate, self.scale)

    def derivative(self, potential: Tensor) -> Tensor:
        """h (eq. 10)."""
        return surrogate_derivative(potential - self.threshold, self.temperature, self.surrogate, self.scale)

    def remaining(self, potential: Tensor, spikes: Tensor) -> Tensor:
        """What spikes and the leak leave of the potential to the next step."""
        kept = potential - self.threshold * spikes if self.reset == "subtract" else potential * (1 - spikes)
        return self.leak_m * kept

    def factor_at(self, potential: Tensor, spikes: Tensor, h: Tensor) -> Tensor | float:
        """The factor of eq. 8 at one time step: ``∂U[t+1]/∂U[t]`` without the factor ``1 - 1/τm``."""
        if self.reset == "subtract":
            factor = self.factor(self.threshold, 0, h)  # type: ignore[arg-type]  # numbers of one value everywhere
        else:
            if self.form:  # for second derivatives: S depends on U as far as the reset is not detached
                spikes = spikes.detach() + self.form.weight * (spikes - spikes.detach())
            factor = self.factor(potential, spikes, h)
        if not self.form:
            checks.factor(factor, h)
        if not self.form and isinstance(factor, Tensor) and torch.is_grad_enabled():
            factor = _FirstDerivativeOnly.apply(factor, self.factor)
        return factor

    def step(self, current: Tensor, u: Tensor, s: Tensor, a: Tensor) -> State:
        """One time step forward: U[t], S[t] and a[t] from I[t] and those of t-1."""
        u = self.remaining(u, s) + current  # eq. 4
        s = self.fire(u)  # eq. 3
        a = self.leak_s * a + self.gain_s * s  # eq. 5
        return u, s, a

    def step_back(
        self, u: Tensor, grad_a: Arriving, grad_s: Arriving, later: Tensor, delta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One time step backward: δ[t], and what a[t-1] receives through a[t].

        Args:
            u: U[t].
            grad_a: what arrives at a[t] from outside.
            grad_s: what arrives at S[t] from outside.
            later: what a[t] receives through a[t+1].
            delta: δ[t+1].
        """
        s, h = self.fire(u), self.derivative(u)
        alpha = later if grad_a is None else grad_a + later
        grad_s = self.gain_s * alpha if grad_s is None else grad_s + self.gain_s * alpha
        delta = grad_s * h + self.leak_m * self.factor_at(u, s, h) * delta  # eq. 7, 8
        return delta, self.leak_s * alpha

    def forward(self, current: Tensor, state: State | None, recurrent: Tensor | None, steps: int) -> list[Tensor]:
        """Equations 3-5: psc, spikes and potential, ``[T, ...]``, and potential, spikes and psc of the last step."""
        u, s, a = state or at_rest(current)
        psc, spikes, potential = [], [], []
        for total in current.expand(steps, *current.shape[1:]):
            if recurrent is not None:
                total = total + between(a, recurrent.to(a.dtype))
            u, s, a = self.step(total, u, s, a)
            psc.append(a.to(current.dtype))
            spikes.append(s.to(current.dtype))
            potential.append(u)
        return [*map(torch.stack, (psc, spikes, potential)), u, s, a]

    def backward(
        self,
        potential: Tensor,
        grad_psc: Tensor | None,
        grad_spikes: Tensor | None,
        grad_last_u: Tensor | None,
        grad_last_a: Tensor | None,
        grad_potential: Tensor | None = None,
        recurrent: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Equations 7 and 8, from the last step to the first.

        Args:
            potential: U, ``[T, ...]``.
            grad_psc: what arrives at psc, ``[T, ...]``; like all gradients here None where nothing arrives.
            grad_spikes: what arrives at the spikes.
            grad_last_u: what arrives at the potential of the last step, from the state.
            grad_last_a: what arrives at the psc of the last step, from the state.
            grad_potential: what arrives at the potential, ``[T, ...]``; it arises in second derivatives alone.
            recurrent: weights of a recurrent layer.

        Returns:
            δ, ``[T, ...]``, and what reaches the psc before the first step.
        """
        last = len(potential) - 1
        delta = torch.zeros_like(potential[0])
        later = delta if grad_last_a is None else grad_last_a  # what reaches a[t] from the steps after t
        deltas = []
        for t in range(last, -1, -1):
            grad_a, grad_s = (None if grad is None else grad[t] for grad in (grad_psc, grad_spikes))
            delta, later = self.step_back(potential[t], grad_a, grad_s, later, delta)
            if grad_potential is not None:
                delta = delta + grad_potential[t]
            if t == last and grad_last_u is not None:
                delta = delta + grad_last_u
            if recurrent is not None and not self.detach_recurrence:
                later = later + between(delta, recurrent.to(delta.dtype).mT)
            deltas.append(delta)
        return torch.stack(deltas[::-1]), later

    def into_last(self, potential: Tensor, grad_u: Tensor | None, grad_s: Tensor | None) -> Tensor | None:
        """What arrives at the last potential, by itself (``grad_u``) and through its spikes (``grad_s``)."""
        if grad_s is None:
            return grad_u
        of_spikes = self.derivative(potential[-1]) * grad_s
        return of_spikes if grad_u is None else grad_u + of_spikes

    def into_state(
        self, state: Sequence[Tensor | None], carried: Tensor | None, later: Tensor | None
    ) -> tuple[Tensor | None, None, Tensor | None]:
        """Gradients of the initial potential, spikes and psc.

        The spikes are taken as those of this potential: what reaches them is part of the potential's gradient.

        Args:
            state: these three; None without a state.
            carried: δ of the first step times ``1 - 1/τm``; None where the membrane carries nothing.
            later: what reaches the psc before the first step.
        """
        u, s, _ = state
        if u is None or s is None:
            return None, None, None
        grad_u = torch.zeros_like(u) if carried is None else self.factor_at(u, s, self.derivative(u)) * carried
        return grad_u, None, later

    def into_recurrent(self, a: Tensor | None, psc: Tensor, deltas: Tensor, recurrent: Tensor) -> Tensor:
        """Gradient of the recurrent weights, the sum over steps of δ[t] and a[t-1]; a is the psc before the first."""
        if self.detach_recurrence:
            a, psc = None if a is None else a.detach(), psc.detach()
        found = matrices(deltas[1:], recurrent).mT @ matrices(psc[:-1].to(deltas.dtype), recurrent)
        return found if a is None else found + matrices(deltas[0], recurrent).mT @ matrices(a, recurrent)


def at_rest(current: Tensor) -> State:
    """Potential, spikes and psc before the first step."""
    return (torch.zeros_like(current[0], dtype=state_dtype(current)),) * 3


class LIFFunction(torch.autograd.Function):
    """The two loops as one node of the compute graph; its backward pass can be differentiated in turn."""

    generate_vmap_rule = True

    @staticmethod
    def forward(current, u, s, a, recurrent, neuron: Neuron, steps: int) -> tuple[Tensor, ...]:
        return tuple(neuron.forward(current, None if u is None else (u, s, a), recurrent, steps))

    @staticmethod
    def setup_context(ctx, inputs: tuple, outputs: tuple) -> None:
        current, *state, recurrent, ctx.neuron, steps = inputs
        psc, _, potential, *_ = outputs
        ctx.dtype, ctx.constant = current.dtype, len(current) < steps
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(potential, None if recurrent is None else psc, *state, recurrent)

    @staticmethod
    def backward(ctx, grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a) -> tuple[Tensor | None, ...]:
        potential, psc, *state, recurrent = ctx.saved_tensors
        neuron: Neuron = ctx.neuron
        grad_u = neuron.into_last(potential, grad_u, grad_s)
        deltas, later = neuron.backward(potential, grad_psc, grad_spikes, grad_u, grad_a, grad_potential, recurrent)
        grad_current = (deltas.sum(0, keepdim=True) if ctx.constant else deltas).to(ctx.dtype)
        grad_recurrent = None if recurrent is None else neuron.into_recurrent(state[2], psc, deltas, recurrent)
        if grad_recurrent is not None:
            grad_recurrent = grad_recurrent.to(recurrent.dtype)
        return grad_current, *neuron.into_state(state, neuron.leak_m * deltas[0], later), grad_recurrent, None, None


def through_autograd(
    current: Tensor, state: State | None, recurrent: Tensor | None, steps: int, neuron: Neuron
) -> list[Tensor]:
    """Equations 3-5 as a compute graph; a gradient is chosen by detaching what it does not pass through.

    Returns and arguments are those of :meth:`Neuron.forward`.
    """
    if neuron.form is None:
        raise ValueError(
            "gradient must be full, leak, spatial or scaled(c) where autograd differentiates the neuron: in "
            f"reference_lif, with learned settings and in forward mode; got {neuron.factor!r}"
        )
    temporal, weight = neuron.form
    u, s, a = state or at_rest(current)
    psc, spikes, potential = [], [], []
    for total in current.expand(steps, *current.shape[1:]):
        if recurrent is not None:
            total = total + between(a.detach() if neuron.detach_recurrence else a, recurrent.to(a.dtype))
        reset = s.detach() + weight * (s - s.detach())  # the value of s, a share of its gradient
        if not temporal:
            u, reset = u.detach(), reset.detach()
        u = neuron.remaining(u, reset) + total
        s = neuron.fire(u)
        a = neuron.leak_s * a + s / neuron.tau_s
        psc.append(a.to(current.dtype))
        spikes.append(s.to(current.dtype))
        potential.append(u)
    return [*map(torch.stack, (psc, spikes, potential)), u, s, a]


class _FirstDerivativeOnly(torch.autograd.Function):
    """Refuses second derivatives of a user's own factor: nothing says how its spikes depend on the potential."""

    generate_vmap_rule = True

    @staticmethod
    def forward(factor_now: Tensor, factor: Factor) -> Tensor:
        return factor_now.clone()

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, grad: Tensor) -> None:
        raise RuntimeError(
            f"second derivatives exist for the gradients full, leak, spatial and scaled(c), not for {ctx.factor!r}"
        )
