"""The output of a network without spikes: leaky integrators, and the cross-entropy of what they reach over time."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsbp import checks
from tsbp.kernels.tensors import state_dtype
from tsbp.neuron import LIFOutput, LIFState

READOUTS = ("spiking", "integrator")
"""What the output layer of a network may be made of."""


def leaky_integrator(current: Tensor, tau_m: float, potential: Tensor | None = None) -> Tensor:
    """Membrane of eq. 4 without threshold, spike and reset::

        U[t] = (1 - 1/τm) · U[t-1] + I[t]

    It is linear: its gradient is exact, and no setting ``gradient`` has a say in it. All steps are computed at once, as
    a product with the matrix of the powers of the leak.

    Args:
        current: I, ``[T, ...]`` with T ≥ 1, floating.
        tau_m: membrane time constant in steps, ≥ 1; infinite for no leak.
        potential: U before the first step, ``[...]``; None: zero.

    Returns:
        Membrane potential U, ``[T, ...]``, in float32 at least.

    Raises:
        ValueError: an argument is out of its range.
    """
    checks.floating("current", current)
    _check_tau_m(tau_m)
    if potential is not None and potential.shape != current.shape[1:]:
        raise ValueError(
            f"potential must have the shape of one step, {list(current.shape[1:])}, got {list(potential.shape)}"
        )
    current = current.to(state_dtype(current))
    step = torch.arange(len(current), device=current.device, dtype=current.dtype)
    passed = step[:, None] - step
    leak = torch.full_like(passed, 1 - 1 / tau_m)
    kernel = torch.where(passed >= 0, leak ** passed.clamp(min=0), 0.0)
    with torch.autocast(current.device.type, enabled=False):
        reached = (kernel @ current.flatten(1)).view_as(current) if current.dim() > 1 else kernel @ current
    if potential is None:
        return reached
    return reached + (leak[:, 0] ** (step + 1)).view(-1, *[1] * potential.dim()) * potential


def max_over_time_cross_entropy(potential: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the classes, whose scores are the largest potentials over time (Zenke & Vogels 2021)::

        L = -Σ_c target_c · log softmax(max_t U[t])_c

    Args:
        potential: of the output layer, ``[T, B, n_classes]``.
        target: probability of every class, ``[B, n_classes]``; one for the true class, say.

    Returns:
        One value per batch element, ``[B]``.

    Raises:
        ValueError: the shapes do not fit.
    """
    if potential.dim() != 3 or target.shape != potential.shape[1:]:
        raise ValueError(
            "potential must be [T, B, n_classes] and target the same without T, "
            f"got {list(potential.shape)} and {list(target.shape)}"
        )
    return functional.cross_entropy(potential.amax(0), target.to(potential.dtype), reduction="none")


class Integrator(nn.Module):
    """A layer of :func:`leaky_integrator` instead of :class:`tsbp.LIF`: its psc is the membrane potential."""

    def __init__(self, tau_m: float = 6.0) -> None:
        super().__init__()
        _check_tau_m(tau_m)
        self.tau_m = tau_m

    def forward(self, current: Tensor, time_steps: int | None = None) -> Tensor:
        """``[T or 1, ...]`` → ``[T, ...]``."""
        return self.simulate(current, time_steps=time_steps).psc

    def simulate(
        self,
        current: Tensor,
        state: Any = None,
        *,
        recurrent: Tensor | None = None,
        time_steps: int | None = None,
        spikes: bool = False,
        potential: bool = False,
    ) -> LIFOutput:
        """The layer over a part of a sequence; of the state only the potential is not zero.

        Raises:
            ValueError: an argument does not fit; there are no recurrent weights here.
        """
        if recurrent is not None:
            raise ValueError("recurrent weights belong to a layer of spiking neurons, not to an integrator")
        steps, before = checks.sequence(current, time_steps, state, None)
        current = current.expand(steps, *current.shape[1:])
        u = leaky_integrator(current, self.tau_m, None if before is None else before[0])
        after = LIFState(u[-1].clone(), torch.zeros_like(u[-1]), torch.zeros_like(u[-1]))
        fired, record = torch.zeros_like(u) if spikes else None, u.detach().clone() if potential else None
        return LIFOutput(u, fired, record, after)

    def extra_repr(self) -> str:
        return f"tau_m={self.tau_m}"


def _check_tau_m(tau_m: float) -> None:
    if isinstance(tau_m, Tensor):
        raise ValueError(f"tau_m must be a number for an integrator, got a tensor {list(tau_m.shape)}")
    checks.number("tau_m", tau_m, "at least 1 time step", lambda x: x >= 1)
