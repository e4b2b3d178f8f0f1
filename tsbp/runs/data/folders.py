"""A folder of class folders, ``train/<class>/<image>`` and ``test/<class>/<image>``, all images of one size.

The classes are the folders in ``train/``, in alphabetical order. Hidden files and folders are passed over, and so is
what is no image. The folder may have a NOTE.txt: what a reader of a result must know of these images.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsbp.networks import TABLE_3
from tsbp.runs import memory
from tsbp.runs.data.dataset import DataSet, Source
from tsbp.runs.data.download import reason

JPEG_NOTE = "images stored as JPEG: a lossy re-encoding unless the originals are JPEG too"
"""What the record of a training on such images says of them."""
WEBP_NOTE = "images stored as lossy WebP"
"""The same of WebP, which has a lossless form too."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
"""Pillow's modes that become RGB without loss; the others have more bits a channel, or other colours."""


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
        ValueError: a class is without training images, an image lies elsewhere than in a class folder, cannot be read,
            has transparent pixels, several frames, more than eight bits a channel, other colours or another size, all
            of them are more than fits into memory, or NOTE.txt is not text. The message names the file or folder.
    """
    classes = sorted(path.name for path in (folder / "train").glob("*/") if not path.name.startswith("."))
    if not classes:
        raise FileNotFoundError(f"{name}: expected class folders in {folder / 'train'}, found none")
    train, test = _files(folder / "train", classes), _files(folder / "test", classes)
    if empty := sorted(set(classes) - {file.parent.name for file in train}):
        raise ValueError(f"{name}: class folders without an image in {folder / 'train'}: {', '.join(empty)}")
    (train_images, notes), (test_images, more_notes) = _decode(train), _decode(test)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(f"{name}: training and test images of {folder} differ in size")
    number = {label: i for i, label in enumerate(classes)}
    train_labels, test_labels = (torch.tensor([number[file.parent.name] for file in part]) for part in (train, test))
    note = _note(folder / "NOTE.txt", "; ".join(sorted(notes | more_notes)))
    return DataSet(name, train_images, train_labels, test_images, test_labels, n_classes=len(classes), note=note)


def _files(part: Path, classes: list[str]) -> list[Path]:
    """The images of one part, class by class."""
    from PIL import Image

    known = Image.registered_extensions()
    files = []
    for path in sorted(path for path in [*part.glob("*"), *part.glob("*/*")] if not _hidden(path.relative_to(part))):
        image, in_a_class = path.suffix.lower() in known, path.parent != part
        if in_a_class and path.is_dir():
            raise ValueError(f"{path} is a folder in a class folder: images belong into the class folder itself")
        if image and path.is_file() and not in_a_class:
            raise ValueError(f"{path} belongs into the folder of its class")
        if image and in_a_class and path.suffix.lower() not in _SUFFIXES:
            raise ValueError(f"{path} must be of one of the kinds {', '.join(sorted(_SUFFIXES))}")
        if image and in_a_class:
            files.append(path)
    if not files:
        raise FileNotFoundError(f"expected images in {part}/<class>/, found none")
    for file in files:
        if file.parent.name not in classes:
            raise ValueError(f"{file.parent} has no counterpart in the training folder")
    return files


def _hidden(path: Path) -> bool:
    return any(name.startswith(".") for name in path.parts)


def _decode(files: list[Path]) -> tuple[Tensor, set[str]]:
    """All images in the order given, ``[N, 3, H, W]``, and what is to be noted of how they were stored."""
    first, _ = _rgb(files[0])
    needed = 2 * len(files) * first.nbytes
    memory.check(f"{len(files):,} images of the size of {files[0]}, {first.shape[:2]},", needed, torch.device("cpu"))
    with ThreadPoolExecutor() as pool:  # Pillow lets threads decode at the same time
        images, notes = zip(*pool.map(partial(_rgb, like=first), files), strict=True)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), set(notes) - {""}


def _rgb(file: Path, like: np.ndarray | None = None) -> tuple[np.ndarray, str]:
    """One image, ``[H, W, 3]``, of the size of another, and what is to be noted of how it was stored."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=_FORMATS) as image:
            stored = str(image.tile[0][3]) if image.format == "PNG" else image.mode
            fits = like is None or 3 * image.width * image.height == like.size  # or it is not worth the memory
            if fits:
                image.load()
    except Exception as error:  # a damaged file raises anything from OSError to SyntaxError
        raise ValueError(f"{file} is not a readable image: {reason(error)}") from None
    upright = ImageOps.exif_transpose(image) if fits else image
    if like is not None and (upright.height, upright.width) != like.shape[:2]:
        raise ValueError(f"{file} has the size {(upright.height, upright.width)}, the others have {like.shape[:2]}")
    if image.mode[0] in "IF" or "16" in stored:
        raise ValueError(f"{file} must have eight bits a channel, got an image of Pillow's mode {stored}")
    if image.mode not in _MODES:
        raise ValueError(f"{file} must be grey or RGB, got an image of Pillow's mode {image.mode}")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"{file} must be one image, got a sequence of {getattr(image, 'n_frames', 1)}")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError(f"{file} must be opaque, got transparent pixels: put it on a background first")
    note = JPEG_NOTE if image.format in ("JPEG", "MPO") else ""
    if image.format == "WEBP" and _is_lossy(file):
        note = WEBP_NOTE
    return np.asarray(upright.convert("RGB")), note


def _is_lossy(file: Path) -> bool:
    """Whether a WebP file has a chunk ``VP8 ``; the lossless form has ``VP8L``. Pillow does not tell."""
    with file.open("rb") as content:
        content.seek(12)
        while len(head := content.read(8)) == 8:
            if head[:4] == b"VP8 ":
                return True
            size = int.from_bytes(head[4:], "little")
            content.seek(size + size % 2, 1)
    return False


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
