"""The gradients: what carries the error from one time step to the one before (eq. 8 of the paper).

After the hard reset, ``U[t+1] = (1 - 1/τm) · U[t] · (1 - S[t]) + I[t+1]``. The product rule, with the surrogate h for
dS/dU, gives::

    ∂U[t+1]/∂U[t] = (1 - 1/τm) · factor(U[t], S[t], h[t]),     factor = 1 - S - U · h

``U · h`` is the reset term, the subject of the paper. A gradient is the choice of this factor, nothing else: the
forward pass is the same for all of them. To add one, add a function to :data:`GRADIENTS`.
"""

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

Factor = Callable[[Tensor, Tensor, Tensor], Tensor | float]
"""``factor(U, S, h)``: potential, spikes and surrogate derivative of one time step, of one shape, to the factor.

After a reset by subtraction it is called as ``factor(ϑ, 0, h)``, since there ``∂(U - ϑ · S)/∂U = 1 - ϑ · h``.
"""

GRADIENTS: dict[str, Factor] = {
    "full": lambda U, S, h: 1 - S - U * h,
    "leak": lambda U, S, h: 1 - S,
    "spatial": lambda U, S, h: 0 * h,
}
"""The gradients by name. ``full`` keeps the reset term, ``leak`` drops it as detaching the reset does, and ``spatial``
passes nothing back in time along the membrane.

:meta hide-value:
"""

STUDIED = ("full", "leak", "spatial")
"""The three gradients that the study compares and its verdicts speak of."""


@dataclass(frozen=True, eq=False)
class scaled:
    """``scaled(c)``: the reset term times c, ``1 - S - c · U · h``. 1 is ``full``, 0 is ``leak``.

    With c = Θ it is the gradient of a published precursor of the author's code, whose reset term lacks the factor 1/Θ.
    """

    c: float | Tensor
    """A number, or a tensor that broadcasts against one time step."""

    def __post_init__(self) -> None:
        if self.c is None or isinstance(self.c, bool | str | complex):  # a symbol of SymPy is welcome
            raise ValueError(f"gradient: the c of scaled(c) must be a number or a tensor, got {self.c!r}")
        if isinstance(self.c, Tensor) and self.c.requires_grad:
            raise ValueError("gradient: the c of scaled(c) changes no output, so that it gets no gradient; detach it")

    def __call__(self, U: Tensor | float, S: Tensor | float, h: Tensor) -> Tensor:
        return 1 - S - self.c * U * h


class Form(NamedTuple):
    """A factor of the family ``temporal · (1 - S - weight · U · h)``, which autograd and the kernels know."""

    temporal: bool
    weight: float | Tensor


BUILT_IN = dict(GRADIENTS)
_FORMS = {"full": Form(True, 1.0), "leak": Form(True, 0.0), "spatial": Form(False, 0.0)}


def ordered(names: Iterable[str]) -> list[str]:
    """Names of gradients in the order of every table: the study's first, then the others."""
    names = list(dict.fromkeys(names))
    return [name for name in STUDIED if name in names] + [name for name in names if name not in STUDIED]


def form(factor: Factor) -> Form | None:
    """The form of a factor; None for any other function."""
    if isinstance(factor, scaled):
        return Form(True, factor.c)
    return next((_FORMS.get(name) for name, known in BUILT_IN.items() if known is factor), None)


def resolve(gradient: str | float | Factor) -> Factor:
    """The factor of a name; of a number, also in text, :class:`scaled`; a function is its own factor.

    Raises:
        ValueError: there is no such gradient.
    """
    if isinstance(gradient, str):
        if gradient in GRADIENTS:
            return GRADIENTS[gradient]
        with contextlib.suppress(ValueError):
            gradient = scaled(float(gradient))
    elif isinstance(gradient, int | float) and not isinstance(gradient, bool):
        gradient = scaled(gradient)
    weight = gradient.c if isinstance(gradient, scaled) else 0.0
    if (
        not callable(gradient)
        or isinstance(gradient, type)
        or not (isinstance(weight, Tensor) or math.isfinite(weight))
    ):
        raise ValueError(
            f"gradient must be one of {', '.join(GRADIENTS)}, a finite number that scales the reset term, "
            f"or a function factor(U, S, h), got {gradient!r}"
        )
    return gradient
