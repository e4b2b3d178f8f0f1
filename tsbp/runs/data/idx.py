"""Data sets in the IDX format of MNIST: four files, of training and test images and labels."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsbp.runs.data.dataset import DataSet
from tsbp.runs.data.download import download

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load(
    name: str, root: Path, folder: Path, sizes: tuple[int, int], md5: Sequence[str], fetch: Callable[[Path], None]
) -> DataSet:
    """Load four files, or fetch them first if none is there: images ``[N, 1, H, W]`` of 10 classes.

    Args:
        name: of the data set.
        root: folder that holds the data.
        folder: where the files are, relative to it.
        sizes: numbers of training and of test images.
        md5: of each file as it was published; a note says if a file is another.
        fetch: puts the files there, relative to the empty folder that it is given.

    Raises:
        FileNotFoundError: a file is missing, or none is there and they could not be fetched.
        ValueError: a file is damaged.
    """
    folder = root / folder
    expected = f"the four files {', '.join(FILES[:3])} and {FILES[3]} in {folder}"
    missing = [file for file in FILES if not (folder / file).is_file()]
    if len(missing) == len(FILES):
        download(name, root, expected, fetch)
    elif missing:
        raise FileNotFoundError(f"{name}: expected {expected}; missing: {', '.join(missing)}")
    n_train, n_test = sizes
    shapes = zip((n_train, n_train, n_test, n_test), (3, 1, 3, 1), strict=True)
    parts = [_read(name, folder / file, n, dims) for file, (n, dims) in zip(FILES, shapes, strict=True)]
    for file, labels in zip(FILES[1::2], parts[1::2], strict=True):
        if labels.max() > 9:
            raise ValueError(f"{name}: {folder / file} is damaged: expected labels from 0 to 9, got {labels.max()}")
    found = [hashlib.md5((folder / file).read_bytes(), usedforsecurity=False).hexdigest() for file in FILES]
    train_images, train_labels, test_images, test_labels = parts
    return DataSet(
        name,
        train_images[:, None],
        train_labels.long(),
        test_images[:, None],
        test_labels.long(),
        n_classes=10,
        note="" if found == list(md5) else other_note(name),
    )


def other_note(name: str) -> str:
    """What a record says of data in the same format, and of files with a damaged byte."""
    return f"not the published files of {name}"


def _read(name: str, file: Path, n: int, dims: int) -> Tensor:
    """Read an IDX file: two zeros, the type (8: uint8), the number of dimensions, four bytes a size, the entries.

    Args:
        name: of the data set, for messages.
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
        raise ValueError(f"{name}: {file} is damaged: expected an IDX file of bytes with {dims} dimensions")
    shape = content[4:header].view(">u4").tolist()
    if shape[0] != n:
        raise ValueError(f"{name}: {file} is damaged: expected {n:,} entries, got {shape[0]:,}")
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"{name}: {file} is damaged: expected {math.prod(shape):,} bytes after the header of {header}, "
            f"got {len(content) - header:,}"
        )
    return torch.from_numpy(content[header:].reshape(shape))
