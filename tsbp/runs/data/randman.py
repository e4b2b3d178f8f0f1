"""Randman (Zenke & Vogels 2021): classes are smooth random manifolds of spike times, and every input fires once.

A class has a random function for each input, defined on the unit cube of D dimensions: a product over the dimensions of
random Fourier series whose amplitudes fall as 1/k^α, so that a larger α makes a smoother function::

    f(x) = Π_d Σ_k k^-α · a_dk · sin(2π (k · b_dk · x_d + c_dk)),    a, b, c uniform in [0, 1), k = 1 … K

An example is a point x, drawn uniformly from the cube: input i fires once, at the time f_i(x), where the values of each
input within a class are stretched to the unit interval. Since each input fires exactly once, spike counts say nothing
about the class. The distribution of a single input's time does say something, for it differs between classes: a linear
classifier that is given all times reaches about 70 %. With the marginal ``uniform``, times are the ranks of the values
within the class instead. Then every input's time is distributed uniformly in every class, the same classifier is at
chance, and only the times of several inputs together carry the class.

The data are made from a fixed seed of their own, whatever the seed of a run, in double precision, so that they are the
same on every machine. T changes the resolution alone.
Other sizes are another entry of the registry, from a module named with ``--plugin``::

    from tsbp.runs.data import DATA_SETS, randman

    DATA_SETS["randman-uniform"] = randman.source(marginal="uniform", smoothness=2.0)
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsbp.runs import memory
from tsbp.runs.data.dataset import TEMPORAL, DataSet, Source

SEED = 2011_09964
CUTOFF = 1000
"""Largest number of terms of a series."""
PRECISION = 1e-3
"""Amplitude, beside that of the first term, below which a series ends; the published code has the same two limits."""
MARGINALS = ("range", "uniform")


def source(
    classes: int = 10,
    inputs: int = 20,
    dimension: int = 2,
    smoothness: float = 1.0,
    n_train: int = 2000,
    n_test: int = 1000,
    marginal: str = "range",
) -> Source:
    """An entry of :data:`tsbp.runs.data.DATA_SETS`.

    Args:
        classes: number of manifolds.
        inputs: number of inputs, each of which fires once.
        dimension: D of the manifolds.
        smoothness: the exponent α.
        n_train: training examples, spread evenly over the classes.
        n_test: test examples, likewise.
        marginal: how the values of an input become times in [0, 1): ``range`` stretches them between the smallest and
            the largest of the class, as Zenke & Vogels do, ``uniform`` takes their ranks.

    Raises:
        ValueError: an argument is out of its range.
    """
    counts = {"classes": (classes, 1), "inputs": (inputs, 1), "dimension": (dimension, 1)}
    counts |= {"n_train": (n_train, classes), "n_test": (n_test, classes)}
    for name, (value, least) in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    for name, value in {"n_train": n_train, "n_test": n_test}.items():
        if value % classes:
            raise ValueError(f"{name} must be a multiple of the {classes} classes, got {value}")
    if isinstance(smoothness, bool) or not isinstance(smoothness, int | float) or not 0 < smoothness < math.inf:
        raise ValueError(f"smoothness must be finite and greater than 0, got {smoothness!r}")
    if marginal not in MARGINALS:
        raise ValueError(f"marginal must be one of {', '.join(MARGINALS)}, got {marginal!r}")

    def load(root: Path, time_steps: int) -> DataSet:
        """Make the data, frames ``[N, T, inputs, 1, 1]``."""
        n = n_train + n_test
        memory.check(f"randman: {n:,} examples of {time_steps} steps", 2 * n * time_steps * inputs, torch.device("cpu"))
        random = np.random.default_rng(SEED)
        n_each = n // classes
        times = []
        for _ in range(classes):
            values = manifold(inputs, dimension, smoothness, random)
            times.append(_normalised(values(random.random((n_each, dimension))), marginal))
        spikes = torch.from_numpy(frames(np.concatenate(times), time_steps))
        labels = torch.arange(classes).repeat_interleave(n_each)
        is_train = np.arange(n) % n_each < n_train // classes
        train, test = (torch.from_numpy(random.permutation(np.flatnonzero(part))) for part in (is_train, ~is_train))
        return DataSet("randman", spikes[train], labels[train], spikes[test], labels[test], n_classes=classes)

    return Source(title="Randman", load=load, n_train=n_train, defaults=dict(DEFAULTS), temporal=True)


def manifold(
    inputs: int, dimension: int, smoothness: float, random: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """A random smooth function from points ``[N, D]`` of the unit cube to values ``[N, inputs]``, not normalised."""
    terms = min(CUTOFF, math.ceil(PRECISION ** (-1 / smoothness)))
    k = np.arange(1, terms + 1)
    amplitude, frequency, phase = random.random((3, inputs, dimension, terms))
    amplitude = amplitude * k**-smoothness
    frequency = frequency * k

    def values(x: np.ndarray) -> np.ndarray:
        found = np.ones((len(x), inputs))
        for i in range(inputs):
            for d in range(dimension):
                angle = 2 * np.pi * (x[:, d, None] * frequency[i, d] + phase[i, d])
                found[:, i] *= np.sin(angle) @ amplitude[i, d]
        return found

    return values


def frames(times: np.ndarray, time_steps: int) -> np.ndarray:
    """One spike an input: times ``[N, inputs]`` in [0, 1) → uint8 ``[N, T, inputs, 1, 1]``."""
    step = np.floor(times * time_steps).astype(np.int64)
    spikes = np.arange(time_steps)[None, :, None] == step[:, None, :]
    return spikes.astype(np.uint8)[..., None, None]


def _normalised(values: np.ndarray, marginal: str) -> np.ndarray:
    """Values ``[N, inputs]`` of a class → times in [0, 1)."""
    if marginal == "uniform":
        return (values.argsort(0).argsort(0) + 0.5) / len(values)
    low, high = values.min(0), values.max(0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum((values - low) / width, np.nextafter(1.0, 0.0))


DEFAULTS: dict[str, Any] = TEMPORAL | {
    "network": "128",
    "time_steps": 100,
    "tau_m": 20.0,
    "lr": 0.02,
}
"""Settings of a training that suit it."""

SOURCE = source()
