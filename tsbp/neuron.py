"""The leaky integrate-and-fire neuron: :func:`tsbp.lif`, the state that it keeps, and what it is checked against.

The equations stand in :mod:`tsbp.equations`, the gradients in :mod:`tsbp.gradients`. Every array has time first,
``[T, ...]``. Time constants are in time steps.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from tsbp import checks, gradients
from tsbp.equations import LIFFunction, Neuron, through_autograd
from tsbp.gradients import Factor
from tsbp.kernels import fused
from tsbp.kernels import recurrent as recurrent_kernel
from tsbp.kernels.tensors import needs_graph


class LIFState(NamedTuple):
    """What one call leaves for the next; each of the shape of one time step, in float32 at least."""

    potential: Tensor
    """Membrane potential U of the last step, before its reset."""
    spikes: Tensor
    """Spikes S of the last step."""
    psc: Tensor
    """Postsynaptic current a of the last step."""

    def detach(self) -> "LIFState":
        """The same values without their history: the gradient stops here (truncated back-propagation)."""
        return LIFState(*(x.detach() for x in self))


class LIFOutput(NamedTuple):
    """What a layer of neurons returns."""

    psc: Tensor
    """Postsynaptic current a (eq. 5), ``[T, ...]``; differentiable."""
    spikes: Tensor | None
    """Spikes S, 0 or 1 (eq. 3), ``[T, ...]``; differentiable. None if not asked for."""
    potential: Tensor | None
    """Membrane potential U before the reset (eq. 4), ``[T, ...]``, in float32 at least; a record without gradient. None
    if not asked for."""
    state: LIFState
    """Where the neurons are after the last step; differentiable."""


class _LaterOutput(LIFOutput):
    """An output whose state is made when it is first looked at, or when the potential, from which it is made, is."""

    rows: Callable[[], Sequence[Tensor]] | None = None
    made: LIFState | None = None

    @classmethod
    def of(cls, psc: Tensor, spikes: Tensor | None, potential: Tensor | None, rows: Callable) -> "_LaterOutput":
        self = tuple.__new__(cls, (psc, spikes, potential, None))
        self.rows = rows
        return self

    @property
    def state(self) -> LIFState:
        if self.rows:
            self.made, self.rows = LIFState(*self.rows()), None
        return self.made or cast(LIFState, super().__getitem__(3))

    @property
    def potential(self) -> Tensor | None:
        if self.rows:
            self.state  # noqa: B018 - before the potential can be changed
        return cast(Tensor | None, super().__getitem__(2))

    def __iter__(self) -> Iterator:
        return iter((self.psc, self.spikes, self.potential, self.state))

    def __getitem__(self, index):
        return tuple(iter(self))[index]

    def __reduce__(self):
        return LIFOutput, tuple(iter(self))

    def __repr__(self) -> str:
        return repr(LIFOutput(*self))


def lif(
    current: Tensor,
    *,
    gradient: str | Factor = "full",
    state: LIFState | None = None,
    tau_m: float | Tensor = 6.0,
    tau_s: float | Tensor = 2.0,
    threshold: float | Tensor = 1.0,
    surrogate: str = "sigmoid",
    temperature: float | Tensor = 0.3,
    surrogate_scale: str = "area",
    reset: str = "zero",
    recurrent: Tensor | None = None,
    detach_recurrence: bool = False,
    relaxed: bool = False,
    time_steps: int | None = None,
    spikes: bool = True,
    potential: bool = True,
    compiled: bool = False,
) -> LIFOutput:
    """Simulate leaky integrate-and-fire neurons (eq. 3-5)::

        U[t] = (1 - 1/τm) · U[t-1] · (1 - S[t-1]) + I[t]
        S[t] = H(U[t] - ϑ)
        a[t] = (1 - 1/τs) · a[t-1] + S[t] / τs

    The backward pass runs the adjoint recursion of eq. 7 and 8 from the last step to the first, with h the surrogate
    derivative of eq. 10, gA and gS the gradients that arrive at psc and spikes::

        α[t] = gA[t] + (1 - 1/τs) · α[t+1]
        δ[t] = (α[t]/τs + gS[t]) · h[t] + δ[t+1] · (1 - 1/τm) · factor(U[t], S[t], h[t])
        dL/dI[t] = δ[t]

    The gradient is the choice of the factor: ``1 - S - U · h`` is ``full``, where ``U · h`` is the reset term. Only
    the potential is kept for the backward pass. Second derivatives are those of :func:`tsbp.reference_lif`; with a
    function of one's own they are refused.

    Args:
        current: total input current I that reaches the membranes, ``[T, ...]`` with T ≥ 1, floating. Half precision
            is simulated in float32 and returned in its own type.
        gradient: a name in :data:`tsbp.GRADIENTS`, :func:`tsbp.scaled`, or a function ``factor(U, S, h)``.
        state: where an earlier call of the same neuron has left it; None: at rest, all zeros. Its gradient takes the
            spikes as those of its potential.
        tau_m: membrane time constant in steps, ≥ 1 (1 forgets at once, ``math.inf`` never leaks).
        tau_s: synaptic time constant in steps, ≥ 1 and finite.
        threshold: ϑ; a neuron fires when its potential is strictly greater.
        surrogate: shape of h, a name in :data:`tsbp.SURROGATES`.
        temperature: Θ > 0, the width of the surrogate (eq. 9).
        surrogate_scale: ``area``: h has area 1 (eq. 10). ``peak``: h is 1 at the threshold, at any width.
        reset: ``zero``, or ``subtract``: a spike takes the threshold from the potential, ``U[t-1] - ϑ · S[t-1]`` in
            place of ``U[t-1] · (1 - S[t-1])``. Not in the paper.
        recurrent: weights ``[N, N]`` from the layer's own psc of the step before: ``a[t-1] @ recurrent.T`` is added to
            a current ``[T, ..., N]``. Weights ``[M, N, N]`` are those of M layers side by side in ``[T, ..., M, N]``.
        detach_recurrence: no error goes back in time through the recurrent weights, which get their gradient
            nevertheless.
        relaxed: fire σ (eq. 9) instead of H. The model is then differentiable, and ``full`` is its exact gradient: the
            setting in which the gradient can be checked by finite differences.
        time_steps: T of a constant current, which is then given as one step, ``[1, ...]``.
        spikes: False returns None in their place and saves the time to write them.
        potential: False returns None in its place. With ``spikes=False`` and ``compiled=True`` the CPU then keeps none
            where nobody wants a gradient.
        compiled: one pass through memory instead of one for every operation, with the same forward pass to the last
            bit, or with recurrent weights but for rounding. The first call compiles, for about a second. A relaxed
            neuron, a gradient or surrogate of one's own, and float16 go uncompiled.

    tau_m, tau_s, threshold and temperature may be tensors that broadcast against one time step. One that requires a
    gradient gets it, through autograd, which is slower.

    Returns:
        psc, spikes and potential, each ``[T, ...]`` or None if not asked for, and the state after the last step.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """
    checks.flags(spikes=spikes, potential=potential, compiled=compiled)
    factor = gradients.resolve(gradient)
    neuron = _neuron(
        factor, tau_m, tau_s, threshold, surrogate, temperature, surrogate_scale, reset, relaxed, detach_recurrence
    )
    steps, before = checks.sequence(current, time_steps, state, recurrent)
    neuron = checks.fitted(neuron, current)
    if compiled:
        checks.numbers(neuron)
    fast, alone = compiled and not needs_graph() and fused.usable(current, neuron), not (spikes or potential)
    if fast and recurrent is None:
        if alone and fused.evaluates(current, *(before or ())):
            psc, rows = fused.evaluate(current, before, steps, neuron)
            return _LaterOutput.of(psc, None, None, rows)
        psc, fired, u, rows, later = fused.lif(current, before, steps, spikes, neuron)
        given = psc, fired if spikes else None, u if potential else None
        return _LaterOutput.of(*given, rows) if later else LIFOutput(*given, LIFState(*rows()))
    with _in_full_precision(current, recurrent):
        if checks.learns(neuron) or needs_graph():
            psc, fired, u, *last = through_autograd(current, before, recurrent, steps, neuron)
        else:
            fast = fast and recurrent is not None and recurrent_kernel.usable(current, before, recurrent)
            if fast and alone and recurrent is not None and fused.evaluates(current, recurrent, *(before or ())):
                psc, *last = recurrent_kernel.evaluate(current, before, recurrent, steps, neuron)
                return LIFOutput(psc, None, None, LIFState(*last))
            inputs = (current, *(before or (None,) * 3), recurrent, neuron, steps)
            outputs = recurrent_kernel.RecurrentFunction.apply(*inputs, spikes) if fast else LIFFunction.apply(*inputs)
            psc, fired, u, *last = outputs
    return LIFOutput(psc, fired if spikes else None, u.detach() if potential else None, LIFState(*last))


def reference_lif(
    current: Tensor,
    *,
    gradient: str | Factor = "full",
    state: LIFState | None = None,
    tau_m: float | Tensor = 6.0,
    tau_s: float | Tensor = 2.0,
    threshold: float | Tensor = 1.0,
    surrogate: str = "sigmoid",
    temperature: float | Tensor = 0.3,
    surrogate_scale: str = "area",
    reset: str = "zero",
    recurrent: Tensor | None = None,
    detach_recurrence: bool = False,
    relaxed: bool = False,
) -> LIFOutput:
    """Equations 3-5 as the paper writes them, differentiated by autograd alone.

    The arguments are those of :func:`tsbp.lif`. What differs is how a gradient is chosen: here by detaching a node of
    the compute graph, in :func:`tsbp.lif` by the factor in the recursion. The two must agree.

    Raises:
        ValueError: an argument is out of its range, or the gradient is not ``full``, ``leak``, ``spatial`` or
            ``scaled(c)``, which detaching can make.
    """
    factor = gradients.resolve(gradient)
    neuron = _neuron(
        factor, tau_m, tau_s, threshold, surrogate, temperature, surrogate_scale, reset, relaxed, detach_recurrence
    )
    steps, before = checks.sequence(current, None, state, recurrent)
    neuron = checks.fitted(neuron, current)
    psc, fired, potential, *last = through_autograd(current, before, recurrent, steps, neuron)
    return LIFOutput(psc, fired, potential.detach(), LIFState(*last))


def _in_full_precision(current: Tensor, recurrent: Tensor | None) -> contextlib.AbstractContextManager:
    """Autocast would round the psc that goes round in a recurrent layer."""
    if recurrent is None or current.device.type not in ("cpu", "cuda"):
        return contextlib.nullcontext()
    return torch.autocast(current.device.type, enabled=False)


def _neuron(*settings) -> Neuron:
    """The neuron of these settings, checked; the same one for the same numbers, which saves short sequences time."""
    if not torch.compiler.is_compiling() and not any(isinstance(x, Tensor) for x in settings):
        with contextlib.suppress(TypeError):  # not hashable
            return _checked_once(*settings)
    return _checked(*settings)


def _checked(*settings) -> Neuron:
    neuron = Neuron(*settings)
    checks.neuron(neuron)
    return neuron


_checked_once = functools.lru_cache(maxsize=256, typed=True)(_checked)


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
    checks.floating("spikes", spikes)
    checks.tau_s(tau_s)
    a = torch.zeros_like(spikes[0])
    psc = []
    for spikes_now in spikes:
        a = (1 - 1 / tau_s) * a + spikes_now / tau_s
        psc.append(a)
    return torch.stack(psc)
