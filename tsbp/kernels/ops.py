"""The kernels as operators of PyTorch, ``torch.ops.tsbp.lif_forward`` and ``lif_backward``.

Through them ``torch.compile``, ``torch.export``, fake tensors and ``torch.func`` see a call of a kernel as one node:
the fake implementations say which tensors come out, the vmap rules how a further dimension goes in. Derivatives are
defined in :mod:`tsbp.kernels.fused`. Outside the transforms the kernels are called directly, which is faster.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tsbp.kernels import dispatch
from tsbp.kernels.dispatch import Constants
from tsbp.kernels.tensors import state_dtype


def forward(
    current: Tensor, steps: int, remaining: Tensor | None, decayed: Tensor | None, constants: Constants
) -> tuple[Tensor, Tensor]:
    """:func:`tsbp.kernels.dispatch.forward` as an operator."""
    return lif_forward(current, remaining, decayed, steps, *_plain(constants))


def backward(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    constants: Constants,
) -> tuple[Tensor, Tensor]:
    """:func:`tsbp.kernels.dispatch.backward` as an operator: δ at every step, and what reaches a before step 0."""
    return lif_backward(potential, grad_psc, grad_spikes, grad_last, grad_alpha, *_plain(constants))


def _plain(constants: Constants) -> tuple[list[float], bool, str, bool]:
    """A schema has no named tuples."""
    *numbers, temporal, surrogate, subtract = constants
    return numbers, temporal, surrogate, subtract


@torch.library.custom_op("tsbp::lif_forward", mutates_args=())
def lif_forward(
    current: Tensor,
    remaining: Tensor | None,
    decayed: Tensor | None,
    steps: int,
    numbers: Sequence[float],
    temporal: bool,
    surrogate: str,
    subtract: bool,
) -> tuple[Tensor, Tensor]:
    """Equations 3-5: psc and potential, ``[T, ...]``. The last four arguments are :class:`.dispatch.Constants`."""
    return dispatch.forward(
        current, steps, remaining, decayed, Constants._make([*numbers, temporal, surrogate, subtract])
    )


@lif_forward.register_fake
def _(current, remaining, decayed, steps, numbers, temporal, surrogate, subtract):
    shape = (steps, *current.shape[1:])
    return current.new_empty(shape), current.new_empty(shape, dtype=state_dtype(current))


@lif_forward.register_vmap
def _(info, in_dims, current, remaining, decayed, *rest):
    current = _with_batch(info, in_dims[0], current, 1)
    rows = (_with_batch(info, dim, x, 0) for dim, x in zip(in_dims[1:3], (remaining, decayed), strict=True))
    return lif_forward(current, *rows, *rest), (1, 1)


@torch.library.custom_op("tsbp::lif_backward", mutates_args=())
def lif_backward(
    potential: Tensor,
    grad_psc: Tensor | None,
    grad_spikes: Tensor | None,
    grad_last: Tensor | None,
    grad_alpha: Tensor | None,
    numbers: Sequence[float],
    temporal: bool,
    surrogate: str,
    subtract: bool,
) -> tuple[Tensor, Tensor]:
    """Equations 7 and 8: δ, ``[T, ...]``, and what reaches a before step 0, ``[...]``, in the type of the potential."""
    of_psc, of_spikes = (x if x is None else x.to(potential.dtype) for x in (grad_psc, grad_spikes))
    constants = Constants._make([*numbers, temporal, surrogate, subtract])
    deltas, _, alphas = dispatch.backward(
        potential, of_psc, of_spikes, grad_last, grad_alpha, False, potential.dtype, constants, state=True
    )
    assert alphas is not None, "asked for with state=True"
    return deltas, alphas


@lif_backward.register_fake
def _(potential, grad_psc, grad_spikes, grad_last, grad_alpha, numbers, temporal, surrogate, subtract):
    return potential.new_empty(potential.shape), potential.new_empty(potential.shape[1:])


@lif_backward.register_vmap
def _(info, in_dims, potential, grad_psc, grad_spikes, grad_last, grad_alpha, *rest):
    sequences = (
        _with_batch(info, dim, x, 1) for dim, x in zip(in_dims[:3], (potential, grad_psc, grad_spikes), strict=True)
    )
    rows = (_with_batch(info, dim, x, 0) for dim, x in zip(in_dims[3:5], (grad_last, grad_alpha), strict=True))
    return lif_backward(*sequences, *rows, *rest), (1, 0)


def _with_batch(info, dim: int | None, x: Tensor | None, place: int) -> Tensor | None:
    """A tensor with vmap's dimension at a place; one without it is repeated."""
    if x is None:
        return None
    if dim is None:
        return x.unsqueeze(place).expand(*x.shape[:place], info.batch_size, *x.shape[place:])
    return x.movedim(dim, place)
