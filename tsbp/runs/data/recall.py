"""Store and recall: a cue, a delay with nothing but noise, a go signal; the label is the cue.

The inputs are one population of neurons for each class and one for the go signal. During the first ``CUE`` steps the
population of the cue fires often, during the last ``GO`` steps the go population does; all other neurons fire at a
low rate. The delay in between has D = T - CUE - GO steps: so long must the network keep the cue, and so far back in
time must credit travel. The output is read during the go signal only (setting ``read_steps``). By then the traces of
the cue in membranes and synapses have decayed, if D is several times their time constants. Spike counts do tell the
classes apart: the task is hard not because the cue is hidden, but because it is gone when the answer is due.

The data are made from a fixed seed of their own, whatever the seed of a run. Other sizes are another entry of the
registry, from a module named with ``--plugin``::

    from tsbp.runs.data import DATA_SETS, recall

    DATA_SETS["recall-10"] = recall.source(classes=10)
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsbp.runs import memory
from tsbp.runs.data.dataset import TEMPORAL, DataSet, Source

SEED = 2011_09964
CUE = 5
"""Time steps of the cue."""
GO = 5
"""Time steps of the go signal."""
POPULATION = 10
"""Neurons of each population."""
SIGNAL = 0.5
"""Probability of a spike in a step, of a neuron whose population is active."""


def source(classes: int = 4, n_train: int = 2000, n_test: int = 1000, noise: float = 0.02) -> Source:
    """An entry of :data:`tsbp.runs.data.DATA_SETS`.

    Args:
        classes: number of cues.
        n_train: training examples, spread evenly over the cues.
        n_test: test examples, likewise.
        noise: probability of a spike in a step, of a neuron whose population is not active.

    Raises:
        ValueError: an argument is out of its range.
    """
    for name, value, least in (("classes", classes, 2), ("n_train", n_train, classes), ("n_test", n_test, classes)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < SIGNAL:
        raise ValueError(f"noise must be a probability from 0 to below {SIGNAL}, got {noise!r}")

    def load(root: Path, time_steps: int) -> DataSet:
        """Make the data, frames ``[N, T, 10 · (classes + 1), 1, 1]``; the go population comes last.

        Raises:
            ValueError: T is too short for cue and go signal.
        """
        if time_steps < CUE + GO:
            raise ValueError(
                f"time_steps must be at least {CUE + GO} for recall: {CUE} of the cue, the delay, {GO} of the go "
                f"signal; got {time_steps}"
            )
        n, neurons = n_train + n_test, POPULATION * (classes + 1)
        needed = 10 * n * time_steps * neurons
        memory.check(f"recall: {n:,} examples of {time_steps} steps", needed, torch.device("cpu"))
        random = np.random.default_rng(SEED)
        parts: list[np.ndarray] = []
        for size in (n_train, n_test):
            labels = random.permutation(np.arange(size) % classes)
            active = np.zeros((size, time_steps, classes + 1), dtype=bool)
            active[:, :CUE] = (labels[:, None] == np.arange(classes + 1))[:, None]
            active[:, -GO:, classes] = True
            probability = np.where(active, SIGNAL, noise).repeat(POPULATION, axis=2)
            parts += [
                (random.random(probability.shape, dtype=np.float32) < probability).astype(np.uint8)[..., None, None],
                labels,
            ]
        train_frames, train_labels, test_frames, test_labels = map(torch.from_numpy, parts)
        return DataSet("recall", train_frames, train_labels, test_frames, test_labels, n_classes=classes)

    return Source(title="store and recall", load=load, n_train=n_train, defaults=dict(DEFAULTS), temporal=True)


DEFAULTS: dict[str, Any] = TEMPORAL | {
    "network": "128R",
    "read_steps": GO,
    "time_steps": 20,
    "tau_m": 5.0,
    "lr": 0.005,
}
"""Settings of a training that suit it."""

SOURCE = source()
