"""The surrogates that libraries take by default, as those of :mod:`tsbp.surrogate`; ``tests/peers`` compares them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tsbp.surrogate import SURROGATES

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Default:
    """What a neuron of a library has if nothing is said; its threshold is 1."""

    library: str
    call: str
    """The surrogate in the library's own words."""
    surrogate: str
    """Its shape, a name in :data:`tsbp.SURROGATES`."""
    temperature: float
    scale: str
    """``area`` or ``peak``."""
    reset: str
    """What it does with the reset: ``kept`` or ``detached``."""

    @property
    def width(self) -> float:
        """Temperature of the sigmoid that is as wide at half its maximum."""
        return self.temperature * half_width(self.surrogate) / half_width("sigmoid")

    @property
    def weight(self) -> float:
        """c of the reset term for an area of 1, if the reset is kept."""
        return 1.0 if self.scale == "area" else self.temperature / SURROGATES[self.surrogate].peak


DEFAULTS = (
    Default("SpikingJelly", "Sigmoid(alpha=4.0)", "sigmoid", 0.25, "area", "kept"),
    Default("snnTorch", "atan(alpha=2.0)", "arctan", 1 / math.pi, "area", "detached"),
    # The backward pass of Norse 1.1.0 computes 1 / (1 + |x|)² whatever alpha is.
    Default("Norse", 'method="super"', "fast-sigmoid", 1.0, "peak", "kept"),
)


def half_width(surrogate: str) -> float:
    """How far from the threshold a surrogate of temperature 1 has half its maximum."""
    from scipy.optimize import brentq

    kernel, peak = SURROGATES[surrogate].kernel, SURROGATES[surrogate].peak
    return float(brentq(lambda x: kernel(torch.tensor(x, dtype=torch.float64)).item() - peak / 2, 0.0, 10.0))


def table() -> "pandas.DataFrame":
    """A row for each library."""
    import pandas as pd

    rows = [
        {
            "library": one.library,
            "surrogate by default": one.call,
            "as wide as Θ =": f"{one.width:.2g}",
            "scale": f"{one.scale} 1",
            "c, if kept": f"{one.weight:.2g}",
            "reset by default": one.reset,
        }
        for one in DEFAULTS
    ]
    return pd.DataFrame(rows)
