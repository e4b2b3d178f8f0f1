"""MNIST, from its four original files in the IDX format (``MNIST/raw/``); torchvision downloads them."""

from pathlib import Path

from tsbp.networks import TABLE_3
from tsbp.runs.data import idx
from tsbp.runs.data.dataset import DataSet, Source

N_TRAIN, N_TEST = 60_000, 10_000
_PUBLISHED = (
    "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637",
)  # fmt: skip
"""MD5 of each file."""


def load(root: Path, time_steps: int) -> DataSet:
    """Load MNIST, ``[N, 1, 28, 28]``, with the errors of :func:`tsbp.runs.data.idx.load`.

    Args:
        root: folder that holds ``MNIST/raw``.
        time_steps: unused.
    """
    return idx.load("mnist", root, Path("MNIST", "raw"), (N_TRAIN, N_TEST), _PUBLISHED, _from_torchvision)


def _from_torchvision(folder: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(folder, train=True, download=True)


SOURCE = Source(
    title="MNIST",
    load=load,
    n_train=N_TRAIN,
    # Learning rate and epochs are chosen by the mean accuracy of all three gradients on held-out training examples.
    defaults={"network": TABLE_3["mnist"], "epochs": 20, "lr": 0.01, "shift": 2},
)
