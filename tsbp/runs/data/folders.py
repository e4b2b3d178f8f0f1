"""A folder of class folders, ``train/<class>/<image>`` and ``test/<class>/<image>``, all images of one size.

The classes are the folders in ``train/``, in alphabetical order. Hidden files and folders are passed over. The folder
may have a NOTE.txt: what a reader of a result must know of these images.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsbp.networks import TABLE_3
from tsbp.runs.data.dataset import DataSet, Source
from tsbp.runs.data.download import reason

JPEG_NOTE = "images stored as JPEG: a lossy re-encoding unless the originals are JPEG too"
"""What the record of a training on such images says of them."""
_JPEG = {".jpg", ".jpeg"}
_SUFFIXES = _JPEG | {".png", ".bmp", ".webp"}
_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
"""Pillow's modes that become RGB without loss of range; the others have 16 or 32 bits a channel."""


def load(root: Path, time_steps: int) -> DataSet:
    """Load the class folders in ``root``; the data set is called after that folder.

    Args:
        root: the folder with ``train/`` and ``test/``.
        time_steps: unused.

    Raises:
        FileNotFoundError, ValueError: see :func:`read`.
    """
    return read(root, root.resolve().name)


def read(folder: Path, name: str) -> DataSet:
    """Read class folders as RGB images ``[N, 3, H, W]``; grey ones get three equal channels.

    Args:
        folder: has ``train/`` and ``test/``. Classes may be missing in ``test/``, not in ``train/``.
        name: of the data set.

    Raises:
        FileNotFoundError: a part has no images.
        ValueError: a class is without training images, an image cannot be read, has transparent pixels, more than
            eight bits a channel or another size, or NOTE.txt is not text. The message names the file or folder.
    """
    classes = sorted(path.name for path in (folder / "train").glob("*/") if not path.name.startswith("."))
    if not classes:
        raise FileNotFoundError(f"{name}: expected class folders in {folder / 'train'}, found none")
    train, test = _files(folder / "train", classes), _files(folder / "test", classes)
    if empty := sorted(set(classes) - {file.parent.name for file in train}):
        raise ValueError(f"{name}: class folders without an image in {folder / 'train'}: {', '.join(empty)}")
    train_images, test_images = _decode(train), _decode(test)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(f"{name}: training and test images of {folder} differ in size")
    number = {label: i for i, label in enumerate(classes)}
    train_labels, test_labels = (torch.tensor([number[file.parent.name] for file in part]) for part in (train, test))
    jpeg = any(file.suffix.lower() in _JPEG for file in train)
    note = _note(folder / "NOTE.txt", JPEG_NOTE if jpeg else "")
    return DataSet(name, train_images, train_labels, test_images, test_labels, n_classes=len(classes), note=note)


def _files(part: Path, classes: list[str]) -> list[Path]:
    """The images of one part, class by class."""
    files = sorted(
        path
        for path in part.glob("*/*")
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and not path.parent.name.startswith(".")
    )
    if not files:
        raise FileNotFoundError(f"expected images in {part}/<class>/, found none")
    for file in files:
        if file.parent.name not in classes:
            raise ValueError(f"{file.parent} has no counterpart in the training folder")
    return files


def _decode(files: list[Path]) -> Tensor:
    """All images in the order given, ``[N, 3, H, W]``; Pillow lets threads decode at the same time."""
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_rgb, files))
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(f"{file} has the size {image.shape[:2]}, the others have {images[0].shape[:2]}")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def _rgb(file: Path) -> np.ndarray:
    """One image, ``[H, W, 3]``."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
    except Exception as error:  # a damaged file raises anything from OSError to SyntaxError
        raise ValueError(f"{file} is not a readable image: {reason(error)}") from None
    if image.mode not in _EIGHT_BITS:
        raise ValueError(f"{file} must have eight bits a channel, got an image of Pillow's mode {image.mode}")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError(f"{file} must be opaque, got transparent pixels: put it on a background first")
    return np.asarray(image.convert("RGB"))


def _note(file: Path, otherwise: str) -> str:
    if not file.is_file():
        return otherwise
    try:
        return " ".join(file.read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be text in UTF-8, got the byte {error.object[error.start]:#04x}") from None


DEEP: dict[str, Any] = {"weight_gain": 7.0, "lr": 0.001}
"""Settings for the network of eight spiking layers on any data set. PyTorch's weights leave the upper half of its
layers silent, and untrainable. These are the best of six pairs by the mean accuracy of all three gradients on held-out
digits."""

DEFAULTS: dict[str, Any] = DEEP | {
    "network": TABLE_3["cifar10"],
    "padding": "same",
    "lr": 0.005,  # likewise on held-out images
    "epochs": 50,
    "shift": 4,
    "flip": True,
}

CLASS_FOLDERS = Source(title="class folders", load=load, n_train=None, defaults=DEFAULTS)
"""What every folder of class folders shares. Its ``load`` takes the folder itself as ``root``."""
