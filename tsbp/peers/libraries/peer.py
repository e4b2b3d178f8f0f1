"""What an adapter says of a library: its neurons, which gradient each computes, or why it has none to compare."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TEMPERATURE = 0.25
"""The only sigmoid temperature at which Norse's ``tanh`` surrogate is eq. 10, and not a multiple of it."""

Simulate = Callable[[Tensor], Tensor]
"""From current ``[T, ...]`` to spikes ``[T, ...]``, or to the psc."""


@dataclass(frozen=True)
class Peer:
    """A neuron of another library: a function from current ``[T, ...]`` to spikes ``[T, ...]``."""

    package: str
    """What must be installed."""
    gradient: str | None
    """Which of the study's gradients it computes, if any."""
    build: Callable[[float, float, float], Simulate]
    """From tau_m, threshold and temperature. The library is imported here and not before."""
    tolerance: float = 1e-10
    """For its gradient in float64; where the library keeps a number in float32, the error of that."""
    soft_reset: bool = False
    """Whether a spike takes the threshold from the potential instead of all of it."""
    setting: str = ""
    """The setting that decides what becomes of the reset's gradient; empty where the library has none."""
    timed: bool = False
    """Whether benchmarks time it."""
    layer: Callable[..., Callable[[], object]] | None = None
    """How a layer is timed that PyTorch does not run; see :func:`tsbp.peers.libraries.jax_scan.layer`."""

    @property
    def installed(self) -> bool:
        """Whether its package is here."""
        return importlib.util.find_spec(self.package) is not None


@dataclass(frozen=True)
class Library:
    """All that is compared of one library."""

    title: str
    """Names of its peers start with it."""
    package: str
    """As it is imported."""
    neuron: str
    """How its neuron is made the one of eq. 3 and 4."""
    peers: Mapping[str, Peer] = field(default_factory=dict)
    """By the names under which they are shown."""
    reason: str = ""
    """Why it has no peers."""
    float64: bool = True
    """Whether it computes in float64 throughout."""


def step_by_step(step: Callable, current: Tensor, state: Any) -> Tensor:
    """Spikes ``[T, ...]`` of a neuron that takes one time step and its own state at a call."""
    spikes = []
    for current_now in current:
        spikes_now, state = step(current_now, state)
        spikes.append(spikes_now)
    return torch.stack(spikes)
