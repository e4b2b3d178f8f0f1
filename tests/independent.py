"""The neuron once more, in NumPy and float64, from the equations and not from the package: what `lif` is held to."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.special import expit, ndtr

from tsbp import SURROGATES, LIFState, lif, scaled

plain_and_compiled = pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])

KERNELS: dict[str, Callable] = {
    "sigmoid": lambda x: 0.25 / np.cosh(x / 2) ** 2,
    "fast-sigmoid": lambda x: 0.5 / (1 + abs(x)) ** 2,
    "arctan": lambda x: 1 / (np.pi * (1 + x**2)),
    "triangle": lambda x: np.maximum(0, 1 - abs(x)),
    "rectangle": lambda x: np.where(abs(x) < 1, 0.5, 0.0),
    "gaussian": lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
}
INTEGRALS: dict[str, Callable] = {
    "sigmoid": expit,
    "fast-sigmoid": lambda x: np.where(x < 0, 0.5 / (1 + abs(x)), 1 - 0.5 / (1 + abs(x))),
    "arctan": lambda x: 0.5 + np.arctan2(x, 1) / np.pi,
    "triangle": lambda x: np.where(x < 0, np.maximum(0, 1 + x) ** 2 / 2, 1 - np.maximum(0, 1 - x) ** 2 / 2),
    "rectangle": lambda x: np.clip((x + 1) / 2, 0, 1),
    "gaussian": ndtr,
}
PEAKS = {"sigmoid": 0.25, "fast-sigmoid": 0.5, "arctan": 1 / np.pi, "triangle": 1.0, "rectangle": 0.5}
PEAKS["gaussian"] = 1 / np.sqrt(2 * np.pi)
INDEPENDENT = tuple(KERNELS)
"""The surrogates that are written here once more. Another one is taken from the package, where test_surrogate.py checks
its kernel, integral and height against each other."""
for _name in [name for name in SURROGATES if name not in INDEPENDENT]:
    KERNELS[_name], INTEGRALS[_name] = (
        lambda x, function=function: function(torch.as_tensor(x, dtype=torch.float64)).numpy()
        for function in SURROGATES[_name][:2]
    )
    PEAKS[_name] = SURROGATES[_name].peak


def label(gradient) -> str:
    """Of a gradient in the name of a test: without its address, which differs between processes."""
    return getattr(gradient, "__name__", str(gradient))


def custom(U, S, h):
    """A gradient that no name stands for."""
    return (1 - S) / (1 + U * U) - 0.3 * h


def share_of_the_reset(c: float) -> Callable:
    return lambda U, S, h: (1 - S) - c * (U * h)


FACTORS = {
    "full": ("full", share_of_the_reset(1.0)),
    "leak": ("leak", share_of_the_reset(0.0)),
    "spatial": ("spatial", lambda U, S, h: np.zeros_like(h)),
    "scaled(0.3)": (scaled(0.3), share_of_the_reset(0.3)),
    "own": (custom, custom),
}
"""Name → what `lif` is given, and the factor in NumPy."""

RESET_SHARE = {"full": 1.0, "leak": 0.0, "spatial": 0.0, "scaled(0.3)": 0.3}
"""How much of the error at U[t+1] reaches S[t] through the reset; that of `spatial` is cut with the membrane."""


@dataclass
class Found:
    """What a simulation gave, and the gradients of its arguments."""

    psc: np.ndarray
    spikes: np.ndarray
    potential: np.ndarray
    current: np.ndarray
    of_potential: np.ndarray
    """Gradient of the initial potential."""
    of_psc: np.ndarray
    """Gradient of the initial psc."""
    recurrent: np.ndarray | None
    settings: dict[str, np.ndarray]
    """Gradients of tau_m, tau_s, threshold and temperature, one for every neuron of a time step."""


def simulate(
    current,
    arriving,
    gradient: str,
    *,
    tau_m=6.0,
    tau_s=2.0,
    threshold=1.0,
    temperature=0.3,
    surrogate="sigmoid",
    surrogate_scale="area",
    reset="zero",
    relaxed=False,
    state=None,
    recurrent=None,
    at_last=(0.0, 0.0, 0.0),
) -> Found:
    """Equations 3-5 forwards, 7 and 8 backwards.

    `arriving` are the gradients at psc and spikes, `at_last` those at the state that is left.
    """
    current, *arriving = (np.asarray(x, dtype=np.float64) for x in (current, *arriving))
    at_last = [np.asarray(x, dtype=np.float64) for x in at_last]
    V = None if recurrent is None else np.asarray(recurrent, dtype=np.float64)
    T = len(current)
    keep_m, keep_s = (tau_m - 1) / tau_m if math.isfinite(tau_m) else 1.0, (tau_s - 1) / tau_s

    U_of, S_of, a_of = (np.zeros_like(current) for _ in range(3))
    u, s, a = (np.asarray(x, dtype=np.float64) for x in state) if state else np.zeros((3, *current.shape[1:]))
    start = u, s, a
    for t in range(T):
        total = current[t] if V is None else current[t] + np.einsum("...j,ij->...i", a, V)
        u = (u - threshold * s if reset == "subtract" else u * (1 - s)) * keep_m + total
        x = (u - threshold) / temperature
        s = INTEGRALS[surrogate](x) if relaxed else np.where(u > threshold, 1.0, 0.0)
        a = keep_s * a + s / tau_s
        U_of[t], S_of[t], a_of[t] = u, s, a

    def h_at(potential):
        k = KERNELS[surrogate]((potential - threshold) / temperature)
        return k / temperature if surrogate_scale == "area" else k / PEAKS[surrogate]

    def factor(U, S):
        h = h_at(U)
        if reset == "subtract":
            return FACTORS[gradient][1](threshold * np.ones_like(h), np.zeros_like(h), h)
        return FACTORS[gradient][1](U, S, h)

    delta = np.zeros_like(current)
    settings = {name: np.zeros(current.shape[1:]) for name in ("tau_m", "tau_s", "threshold", "temperature")}
    of_weights = None if V is None else np.zeros_like(V)
    at_a, at_u = at_last[2], at_last[0]  # what comes from later steps
    at_s = at_last[1]
    for t in reversed(range(T)):
        before = (U_of[t - 1], S_of[t - 1], a_of[t - 1]) if t else start
        alpha = arriving[0][t] + at_a
        h = h_at(U_of[t])
        direct = alpha / tau_s + arriving[1][t] + (at_s if t == T - 1 else 0)
        delta[t] = direct * h + at_u
        if V is not None:
            rows = delta[t].reshape(-1, len(V)), before[2].reshape(-1, len(V))
            of_weights += np.einsum("bi,bj->ij", *rows)
        at_a = keep_s * alpha + (0 if V is None else np.einsum("...i,ij->...j", delta[t], V))
        at_u = keep_m * factor(before[0], before[1]) * delta[t]
        if gradient in RESET_SHARE:
            lost = threshold if reset == "subtract" else U_of[t]
            through_reset = RESET_SHARE[gradient] * keep_m * lost * (delta[t + 1] if t < T - 1 else 0)
            at_spike = direct - through_reset
            left = before[0] - threshold * before[1] if reset == "subtract" else before[0] * (1 - before[1])
            settings["threshold"] -= h * at_spike
            if reset == "subtract":
                settings["threshold"] -= keep_m * before[1] * delta[t]
            settings["temperature"] -= (U_of[t] - threshold) / temperature * h * at_spike
            settings["tau_m"] += delta[t] * left / tau_m**2
            settings["tau_s"] += alpha * (before[2] - S_of[t]) / tau_s**2
    return Found(a_of, S_of, U_of, delta, at_u, at_a, of_weights, settings)


# --- comparisons ------------------------------------------------------------------------------------------------------


def case(*shape: int, seed: int = 0, state: bool = False) -> tuple[torch.Tensor, ...]:
    """A current under which a quarter of all steps spike, and what arrives at psc and spikes; with a state before."""
    random = torch.Generator().manual_seed(seed)
    current, *arriving = torch.randn(3, *shape, dtype=torch.float64, generator=random)
    parts = (0.7 * current + 0.4, *arriving)
    if not state:
        return parts
    u, _, a = torch.rand(3, *shape[1:], dtype=torch.float64, generator=random)
    return *parts, LIFState(1.5 * u, (u > 1 / 1.5).double(), a)


def near(found, expected, tolerance: float = 1e-10) -> bool:
    """To a share of the largest value, or of 1."""
    found, expected = (np.asarray(torch.as_tensor(x).detach(), dtype=np.float64) for x in (found, expected))
    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return False
    scale = max(1.0, np.nanmax(np.abs(expected), initial=0))
    return np.nanmax(np.abs(found - expected), initial=0) <= tolerance * scale


def in_chunks(current: torch.Tensor, lengths, neuron=lif, state=None, **settings):
    """psc and spikes of calls over parts of a sequence, each from the state that the last one left, and that state."""
    parts = []
    for part in current.split(list(lengths)):
        out = neuron(part, state=state, **settings)
        state = out.state
        parts.append(out)
    return torch.cat([out.psc for out in parts]), torch.cat([out.spikes for out in parts]), state


def random_lengths(total: int, seed: int) -> list[int]:
    """A sequence cut in two to five parts, at least."""
    random = np.random.default_rng(seed)
    cuts = random.choice(np.arange(1, total), size=min(total - 1, random.integers(1, 5)), replace=False)
    ends = [0, *sorted(cuts.tolist()), total]
    return [b - a for a, b in itertools.pairwise(ends)]


def gradient_at(function, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of a loss with curvature, the sum of squares of all that a function returns."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*inputs)
    outs = [out] if isinstance(out, torch.Tensor) else list(out)
    return list(torch.autograd.grad(sum(x.square().sum() for x in outs), inputs))


def all_near(found, expected, tolerance: float = 1e-10) -> bool:
    return all(near(x, y, tolerance) for x, y in zip(found, expected, strict=True))
