"""MNIST, from its four original files in the IDX format (``MNIST/raw/``); torchvision downloads them."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsbp.networks import TABLE_3
from tsbp.runs.data.dataset import DataSet, Source
from tsbp.runs.data.download import download

N_TRAIN, N_TEST = 60_000, 10_000
OTHER_NOTE = "not the published files of MNIST"
"""What a record says of data in the same format, such as Fashion-MNIST, and of files with a damaged byte."""
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_PUBLISHED = (
    "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637",
)  # fmt: skip
"""MD5 of each."""


def load(root: Path, time_steps: int) -> DataSet:
    """Load MNIST, ``[N, 1, 28, 28]``; a note says if the files are not the published ones.

    Args:
        root: folder that holds ``MNIST/raw``.
        time_steps: unused.

    Raises:
        FileNotFoundError: a file is missing, or none is there and the download failed.
        ValueError: a file is damaged.
    """
    folder = root / "MNIST" / "raw"
    expected = f"the four files {', '.join(FILES[:3])} and {FILES[3]} in {folder}"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if len(missing) == len(FILES):
        download("mnist", root, expected, _from_torchvision)
    elif missing:
        raise FileNotFoundError(f"mnist: expected {expected}; missing: {', '.join(missing)}")
    sizes = (N_TRAIN, N_TRAIN, N_TEST, N_TEST)
    parts = [read_idx(folder / name, n, dims) for name, n, dims in zip(FILES, sizes, (3, 1, 3, 1), strict=True)]
    for name, labels in zip(FILES[1::2], parts[1::2], strict=True):
        if labels.max() > 9:
            raise ValueError(f"mnist: {folder / name} is damaged: expected labels from 0 to 9, got {labels.max()}")
    found = tuple(hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() for name in FILES)
    note = "" if found == _PUBLISHED else OTHER_NOTE
    train_images, train_labels, test_images, test_labels = parts
    return DataSet(
        "mnist",
        train_images[:, None],
        train_labels.long(),
        test_images[:, None],
        test_labels.long(),
        n_classes=10,
        note=note,
    )


def read_idx(file: Path, n: int, dims: int) -> Tensor:
    """Read an IDX file: two zeros, the type (8: uint8), the number of dimensions, four bytes a size, the entries.

    Args:
        file: the file, not compressed.
        n: entries that it must have.
        dims: dimensions that it must have.

    Returns:
        ``[n, ...]`` as uint8.

    Raises:
        ValueError: it is something else; the message names the file.
    """
    content = np.fromfile(file, dtype=np.uint8)
    header = 4 + 4 * dims
    if len(content) < header or content[:4].tolist() != [0, 0, 8, dims]:
        raise ValueError(f"mnist: {file} is damaged: expected an IDX file of bytes with {dims} dimensions")
    shape = content[4:header].view(">u4").tolist()
    if shape[0] != n:
        raise ValueError(f"mnist: {file} is damaged: expected {n:,} entries, got {shape[0]:,}")
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"mnist: {file} is damaged: expected {math.prod(shape):,} bytes after the header of {header}, "
            f"got {len(content) - header:,}"
        )
    return torch.from_numpy(content[header:].reshape(shape))


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
