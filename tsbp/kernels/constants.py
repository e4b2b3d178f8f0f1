"""The neuron's constants as every kernel takes them."""

from typing import NamedTuple

import torch

SURROGATES = ("sigmoid", "fast-sigmoid", "arctan", "triangle", "rectangle", "gaussian")
"""The kernels k of area 1 that the loops know by name."""


class Constants(NamedTuple):
    """One neuron and one gradient; time constants are in time steps, the potential is in units of its own.

    The surrogate derivative is ``h = height · k(inverse · (U - ϑ))`` with the kernel k of area 1 that ``surrogate``
    names: ``height`` is 1/Θ for the scale `area` and 1/k(0) for `peak`.
    """

    leak_m: float
    """1 - 1/τm, what one step leaves of the potential."""
    leak_s: float
    """1 - 1/τs, what one step leaves of the postsynaptic current."""
    gain_s: float
    """1/τs, what a spike adds to the postsynaptic current."""
    threshold: float
    """ϑ; a neuron fires when its potential is strictly greater."""
    inverse: float
    """1/Θ."""
    height: float
    """Factor of the surrogate's kernel."""
    weight: float
    """c, the weight of the reset term: 1 in the gradient `full`, 0 in `leak`."""
    temporal: bool
    """False: no gradient goes through time along the membrane (`spatial`), and ``weight`` says nothing."""
    surrogate: str
    """A name in SURROGATES."""
    subtract: bool
    """A spike takes the threshold from the potential (soft reset) instead of all of it (hard reset)."""


NAMES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
"""Types of current that the kernels read and write as they are."""


def real(dtype: torch.dtype) -> torch.dtype:
    """Type of the potential and of all state: float32 at least."""
    return torch.float64 if dtype == torch.float64 else torch.float32
