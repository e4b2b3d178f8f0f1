"""The neuron's two loops as one pass through memory each, with their derivatives.

The forward pass is the kernel's, and so is the backward pass. Second derivatives are those of the plain loop, which
defines what the kernels compute: ``Neuron.backward`` of :mod:`tsbp.equations`.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsbp.kernels import dispatch, ops
from tsbp.kernels.tensors import ordinary

if TYPE_CHECKING:
    from tsbp.equations import Neuron

Rows = Callable[[], tuple[Tensor, ...]]
"""Makes potential, spikes and psc of the last step."""


def usable(current: Tensor, neuron: "Neuron") -> bool:
    """Whether there is a kernel for this neuron and tensors of this type on this device."""
    if neuron.relaxed or neuron.form is None or not neuron.known_surrogate:
        return False
    kernel = neuron.surrogate, neuron.reset == "subtract"
    if torch.compiler.is_compiling():
        return _known_kernel(current.dtype, current.device.type, *kernel)
    return dispatch.usable(current, *kernel)


def _known_kernel(dtype: torch.dtype, device: str, surrogate: str, subtract: bool) -> bool:
    return dispatch.usable(torch.empty(0, dtype=dtype, device=device), surrogate, subtract)


# The compiler need not look into how a kernel is made. This is what torch.compiler.assume_constant_result does, which
# would import the compiler with every import of this package.
_known_kernel._dynamo_marked_constant = True  # type: ignore[attr-defined]  # of PyTorch's own


def lif(
    current: Tensor, state: tuple[Tensor, ...] | None, steps: int, spikes: bool, neuron: "Neuron"
) -> tuple[Tensor, Tensor | None, Tensor, Rows, bool]:
    """psc, spikes and potential, ``[T, ...]``, how to make the last step's state, and whether it can be made later."""
    inputs = (current, *(state or (None,) * 3), neuron, steps)
    direct = ordinary(current, *(state or ()))
    outputs = _Direct.apply(*inputs, spikes) if direct else _Transformed.apply(*inputs)
    psc, fired, potential, *carriers = outputs
    later = direct and not psc.is_inference()
    unchanged = psc._version if later else None

    first = state[2].detach().clone() if state else None  # its owner may change it before the rows are made

    def rows() -> tuple[Tensor, ...]:
        u = potential.detach()[-1]
        s = (u > neuron.threshold).to(u.dtype)
        whole = psc.dtype == u.dtype and (not later or psc._version == unchanged)
        a = psc.detach()[-1] if whole else _last_psc(potential.detach(), first, neuron)
        return tuple(_value_and_gradient(*pair) for pair in zip((u, s, a), carriers, strict=True))

    def rows_later() -> tuple[Tensor, ...]:
        with torch.inference_mode(False), torch.enable_grad():  # wherever the state is first looked at
            return rows()

    return psc, fired, potential.detach(), rows_later if later else rows, later


def _value_and_gradient(value: Tensor, gradient: Tensor) -> Tensor:
    """A tensor with the value of one and the derivatives of another."""
    return value + (gradient - gradient.detach())


def _last_psc(potential: Tensor, first: Tensor | None, neuron: "Neuron") -> Tensor:
    """a of the last step from the spikes: in half precision psc has lost digits, and its owner may have changed it."""
    a = torch.zeros_like(potential[0]) if first is None else first.detach()
    for u in potential:
        a = neuron.leak_s * a + neuron.gain_s * (u > neuron.threshold).to(u.dtype)
    return a


def evaluates(*tensors: Tensor) -> bool:
    """Whether nobody can want a gradient of a call with these, and the kernel need not keep the potential for it."""
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return not wanted and dispatch.in_c(tensors[0].device) and ordinary(*tensors)


def evaluate(current: Tensor, state: tuple[Tensor, ...] | None, steps: int, neuron: "Neuron") -> tuple[Tensor, Rows]:
    """psc, ``[T, ...]``, and how to make the last step's state, if :func:`evaluates`."""
    psc, u, a = dispatch.evaluate(current, steps, *_left(state, neuron), neuron.constants)
    inference = psc.is_inference()

    def rows() -> tuple[Tensor, ...]:
        with torch.inference_mode(inference), torch.no_grad():  # wherever the state is first looked at
            return u, (u > neuron.threshold).to(u.dtype), a

    return psc, rows


@functools.lru_cache(maxsize=16)
def _zero(dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.zeros((), dtype=dtype, device=device)


def _left(state: tuple | None, neuron: "Neuron") -> tuple[Tensor | None, Tensor | None]:
    """What the step before the first leaves of potential and psc."""
    if state is None or state[0] is None:
        return None, None
    u, s, a = state
    return neuron.remaining(u, s), neuron.leak_s * a


def _run(forward: Callable, current, u, s, a, neuron: "Neuron", steps: int, spikes: bool) -> tuple:
    psc, potential = forward(current, steps, *_left((u, s, a), neuron), neuron.constants)
    fired = (potential > neuron.threshold).to(current.dtype) if spikes else None
    return psc, fired, potential


def _remember(ctx, inputs: tuple, output: tuple) -> None:
    current, *state, ctx.neuron, steps = inputs[:6]
    ctx.dtype, ctx.constant = current.dtype, len(current) < steps
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[2], *state)


def first_order(*grads: Tensor | None) -> bool:
    """Whether nothing but a first derivative is wanted, and from ordinary tensors: what the kernels can do."""
    return not torch.is_grad_enabled() and grads[2] is None and ordinary(*(x for x in grads if x is not None))


def _differentiably(ctx, grad_psc, grad_spikes, grad_potential, grad_u, grad_s, grad_a) -> tuple[Tensor | None, ...]:
    """Gradients of the current and of the initial potential, spikes and psc, which can be differentiated in turn."""
    potential, *state = ctx.saved_tensors
    neuron = ctx.neuron
    arriving = grad_psc, grad_spikes, neuron.into_last(potential, grad_u, grad_s), grad_a
    if grad_potential is None:
        deltas, later = _Adjoint.apply(potential, *arriving, neuron)
    else:  # of a second derivative
        deltas, later = neuron.backward(potential, *arriving, grad_potential)
    grad_current = (deltas.sum(0, keepdim=True) if ctx.constant else deltas).to(ctx.dtype)
    return grad_current, *neuron.into_state(state, neuron.leak_m * deltas[0], later)


class _Direct(torch.autograd.Function):
    """Calls the kernels. Its last three outputs have no values, but take the gradients of the last step's state.

    Most calls have no use for the last step, and to copy it would cost a short sequence a tenth of its time.
    """

    @staticmethod
    def forward(ctx, *inputs) -> tuple[Tensor | None, ...]:
        outputs = _run(dispatch.forward, *inputs)
        _remember(ctx, inputs, outputs)
        potential = outputs[2]
        carrier = _zero(potential.dtype, potential.device).expand(potential.shape[1:])
        return *outputs, carrier, carrier.detach(), carrier.detach()

    @staticmethod
    def backward(ctx, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_psc, grad_spikes, _, grad_u, grad_s, grad_a = grads
        if not first_order(*grads):
            return *_differentiably(ctx, *grads), None, None, None
        potential, *state = ctx.saved_tensors
        neuron: Neuron = ctx.neuron
        grad_u = neuron.into_last(potential, grad_u, grad_s)
        stateful = state[0] is not None
        grad_current, carried, later = dispatch.backward(
            potential, grad_psc, grad_spikes, grad_u, grad_a, ctx.constant, ctx.dtype, neuron.constants, stateful
        )
        return grad_current, *neuron.into_state(state, carried, later), None, None, None


class _Transformed(torch.autograd.Function):
    """The same through PyTorch's operators, for transforms, compilers and tracers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(current, u, s, a, neuron: "Neuron", steps: int) -> tuple[Tensor, ...]:
        outputs = _run(ops.forward, current, u, s, a, neuron, steps, True)
        return *outputs, *(outputs[2].new_zeros(outputs[2].shape[1:]) for _ in range(3))

    setup_context = staticmethod(_remember)

    @staticmethod
    def backward(ctx, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return *_differentiably(ctx, *grads), None, None


class _Adjoint(torch.autograd.Function):
    """Equations 7 and 8 by the kernel; differentiated, they are the plain loop."""

    generate_vmap_rule = True

    @staticmethod
    def forward(potential, grad_psc, grad_spikes, grad_u, grad_a, neuron: "Neuron") -> tuple[Tensor, Tensor]:
        return ops.backward(potential, grad_psc, grad_spikes, grad_u, grad_a, neuron.constants)

    @staticmethod
    def setup_context(ctx, inputs: tuple, outputs: tuple) -> None:
        *tensors, ctx.neuron = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        given = [x for x in tensors if x is not None]

        def plain(*given: Tensor) -> tuple[Tensor, Tensor]:
            rest = iter(given)
            return ctx.neuron.backward(*(None if x is None else next(rest) for x in tensors))

        with torch.enable_grad():
            found = iter(torch.func.vjp(plain, *given)[1](grads))
        return *(None if x is None else next(found) for x in tensors), None
