"""Data sets as tensors: the 8x8 digits of scikit-learn, MNIST, N-MNIST, CIFAR-10, or a folder of class folders.

A data set is held whole, as uint8, on the device where it is used. Its fingerprint, a hash of every pixel and label,
goes into the record of each run on it.
"""

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

NAMES = ("digits", "mnist", "nmnist", "cifar10")
NMNIST_WINDOW = 90_000
"""Microseconds of a recording that are used; TSSL-BP (Zhang & Li 2020) takes 30 bins of 3 ms."""
JPEG_NOTE = "images stored as JPEG: a lossy re-encoding unless the originals are JPEG too"
"""What the record of a training on such images says of them."""
_NMNIST_SIZES = {"Train": 60_000, "Test": 10_000}
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


@dataclass(frozen=True)
class DataSet:
    """Images ``[N, C, H, W]`` or, for events, frames ``[N, T, C, H, W]``, as uint8, with labels ``[N]`` as int64."""

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    n_classes: int
    note: str = ""
    """What a reader of a result must know: that the data are a subset, or re-encoded."""

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of one image or frame."""
        return tuple(self.train_images.shape[-3:])

    @property
    def has_frames(self) -> bool:
        """Whether an example is a sequence of frames, one a time step, instead of one image."""
        return self.train_images.dim() == 5

    def fingerprint(self) -> str:
        """Hash of all images and labels."""
        digest = hashlib.sha256()
        for x in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str(list(x.shape)).encode())
            digest.update(x.cpu().contiguous().numpy())
        return digest.hexdigest()[:16]

    @cached_property
    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training pixels of each channel, ``[C, 1, 1]`` (images, not frames)."""
        channels = self.in_shape[0]
        histogram = [torch.bincount(self.train_images[:, c].flatten(), minlength=256).double() for c in range(channels)]
        weights = torch.stack(histogram) / self.train_images[:, 0].numel()
        levels = torch.arange(256, dtype=torch.float64, device=weights.device)
        mean = weights @ levels
        std = (weights @ levels**2 - mean**2).clamp(min=0).sqrt()
        std = torch.where(std > 0, std, 1.0)  # a channel that never changes
        return mean.float()[:, None, None], std.float()[:, None, None]

    def hold_out(self, n: int) -> "DataSet":
        """Put ``n`` training examples, always the same, in the place of the test set: for choosing settings."""
        if not 0 < n < len(self.train_images):
            raise ValueError(f"validation must be from 1 to {len(self.train_images) - 1} examples, got {n}")
        order = self._shuffled()
        train, held_out = order[n:], order[:n]
        return replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            test_images=self.train_images[held_out],
            test_labels=self.train_labels[held_out],
        )

    def first(self, n: int) -> "DataSet":
        """With ``n`` of the training examples, always the same; the note says so."""
        if not 0 < n <= len(self.train_images):
            raise ValueError(f"examples must be from 1 to {len(self.train_images)}, or 0 for all, got {n}")
        part = self._shuffled()[:n]
        note = f"{n:,} of {len(self.train_images):,} training examples"
        return replace(
            self,
            train_images=self.train_images[part],
            train_labels=self.train_labels[part],
            note=f"{self.note}; {note}" if self.note else note,
        )

    def _shuffled(self) -> Tensor:
        return torch.randperm(len(self.train_images), generator=torch.Generator().manual_seed(0))

    def to(self, device: str | torch.device) -> "DataSet":
        """The data set with all its tensors on a device."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data: ``root``, else ``$TSBP_DATA``, else the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(root or os.environ.get("TSBP_DATA") or cache / "tsbp").expanduser()


def load(name: str, root: str | Path | None = None, time_steps: int = 5) -> DataSet:
    """Load a data set.

    Args:
        name: ``digits``, ``mnist``, ``nmnist``, ``cifar10``, or the path of a folder with ``train/<class>/<image>`` and
            ``test/<class>/<image>``.
        root: see :func:`data_root`.
        time_steps: number of frames into which the events of N-MNIST are binned.

    Raises:
        ValueError: the name is unknown, or a file is damaged.
        FileNotFoundError: the data are not there and could not be downloaded; the message says what belongs where.
    """
    check_name(name)
    if name == "digits":
        return _digits()
    if name == "mnist":
        return _mnist(data_root(root))
    if name == "nmnist":
        return _nmnist(data_root(root), time_steps)
    if name == "cifar10":
        return _cifar10(data_root(root))
    return _class_folders(Path(name), Path(name).resolve().name)


def check_name(name: str) -> None:
    """Find out before long work whether there is such a data set.

    Raises:
        ValueError: there is not; the message names those that there are.
    """
    if name not in NAMES and not Path(name).is_dir():
        raise ValueError(f"unknown data set {name!r}: expected {', '.join(NAMES)}, or the path of an existing folder")


def _digits() -> DataSet:
    """1,797 real 8x8 digits; 360 of them, the same at every call and balanced over classes, are the test set."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    parts = train_test_split(images, labels.astype(np.int64), test_size=360, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = map(torch.from_numpy, parts)
    return DataSet("digits", train_images, train_labels, test_images, test_labels, n_classes=10)


def _mnist(root: Path) -> DataSet:
    from torchvision.datasets import MNIST

    expected = (
        f"the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        f"t10k-labels-idx1-ubyte in {root / 'MNIST' / 'raw'}"
    )
    train, test = _torchvision(MNIST, "mnist", root, root / "MNIST" / "raw" / "train-images-idx3-ubyte", expected)
    _check_count(
        "mnist", root, (train.data, 60_000), (train.targets, 60_000), (test.data, 10_000), (test.targets, 10_000)
    )
    return DataSet("mnist", train.data[:, None], train.targets, test.data[:, None], test.targets, n_classes=10)


def _cifar10(root: Path) -> DataSet:
    from torchvision.datasets import CIFAR10

    folders = root / "cifar10"
    if folders.is_dir():
        return _class_folders(folders, "cifar10")
    expected = f"the folder cifar-10-batches-py (170 MB) or class folders cifar10/train and cifar10/test in {root}"
    train, test = _torchvision(CIFAR10, "cifar10", root, root / "cifar-10-batches-py", expected)

    def images(part: CIFAR10) -> Tensor:
        return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()

    return DataSet(
        "cifar10", images(train), torch.tensor(train.targets), images(test), torch.tensor(test.targets), n_classes=10
    )


def _torchvision(dataset: Callable, name: str, root: Path, marker: Path, expected: str) -> tuple:
    """Training and test part of a torchvision data set, downloaded when it is not there."""
    if not marker.exists():
        try:
            _download(dataset, root)
        except Exception as error:  # torchvision lets through whatever the network or the disk raises
            raise FileNotFoundError(
                f"{name}: expected {expected}; they are not there and the download failed ({_reason(error)}). "
                "Put them there, or name another folder with --data-root or TSBP_DATA"
            ) from None
    try:
        return dataset(root, train=True), dataset(root, train=False)
    except Exception as error:  # a damaged file raises anything from AssertionError to UnpicklingError
        raise ValueError(
            f"{name}: the files in {root} cannot be read ({_reason(error)}); expected {expected}"
        ) from None


def _download(dataset: Callable, root: Path) -> None:
    """Download into a folder beside ``root``, which stays as it was if anything fails."""
    existing = next(folder for folder in [root, *root.absolute().parents] if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=existing) as folder:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)  # torchvision sets none
        try:
            dataset(folder, train=True, download=True)
        finally:
            socket.setdefaulttimeout(before)
        shutil.copytree(folder, root, dirs_exist_ok=True)


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(":") or type(error).__name__


def _nmnist(root: Path, time_steps: int) -> DataSet:
    folder = root / "NMNIST"
    parts, counts = [], []
    for split, complete in _NMNIST_SIZES.items():
        files = sorted((folder / split).glob("[0-9]/*.bin"))
        if not files:
            raise FileNotFoundError(
                f"nmnist: expected recordings in {folder / split}/<digit>/NNNNN.bin, found none. Unpack the Train and "
                "Test archives of N-MNIST there, or name another folder with --data-root or TSBP_DATA"
            )
        parts.append(torch.stack([_frames(file, time_steps) for file in files]))
        parts.append(torch.tensor([int(file.parent.name) for file in files]))
        if len(files) != complete:
            counts.append(f"{len(files):,} of {complete:,} {split.lower()}ing recordings".replace("testing", "test"))
    note = f"subset: {' and '.join(counts)}" if counts else ""
    return DataSet("nmnist", *parts, n_classes=10, note=note)


def _frames(file: Path, time_steps: int) -> Tensor:
    """Bin one recording into frames ``[T, 2, 34, 34]``, 1 where a pixel had any event.

    An event is 40 bits, big-endian: x (8), y (8), polarity (1), time in microseconds (23).
    """
    data = np.fromfile(file, dtype=np.uint8)
    events = data[: len(data) // 5 * 5].reshape(-1, 5).astype(np.int64)
    x, y, polarity = events[:, 0], events[:, 1], events[:, 2] >> 7
    time = (events[:, 2] & 127) << 16 | events[:, 3] << 8 | events[:, 4]
    if len(data) == 0 or len(data) % 5 or max(x.max(), y.max()) >= 34:
        raise ValueError(f"nmnist: {file} is damaged: expected five bytes an event and coordinates below 34")
    step = time * time_steps // NMNIST_WINDOW
    inside = step < time_steps
    frames = np.zeros((time_steps, 2, 34, 34), dtype=np.uint8)
    frames[step[inside], polarity[inside], y[inside], x[inside]] = 1
    return torch.from_numpy(frames)


def _class_folders(folder: Path, name: str) -> DataSet:
    classes = sorted(path.name for path in (folder / "train").glob("*/"))
    if not classes:
        raise FileNotFoundError(f"{name}: expected class folders in {folder / 'train'}, found none")
    parts = [part for split in ("train", "test") for part in _images(folder / split, classes)]
    if parts[0].shape[1:] != parts[2].shape[1:]:
        raise ValueError(f"{name}: training and test images of {folder} differ in size")
    said = folder / "NOTE.txt"
    if said.is_file():
        note = " ".join(said.read_text(encoding="utf-8").split())
    else:
        note = JPEG_NOTE if any(folder.glob("train/*/*.jp*g")) else ""
    return DataSet(name, *parts, n_classes=len(classes), note=note)


def _images(folder: Path, classes: list[str]) -> tuple[Tensor, Tensor]:
    from PIL import Image, UnidentifiedImageError

    images, labels = [], []
    for file in sorted(path for path in folder.glob("*/*") if path.suffix.lower() in _IMAGE_SUFFIXES):
        if file.parent.name not in classes:
            raise ValueError(f"{file.parent} has no counterpart in the training folder")
        try:
            with Image.open(file) as image:
                images.append(np.asarray(image.convert("RGB")))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{file} is not a readable image: {error}") from None
        if images[-1].shape != images[0].shape:
            raise ValueError(f"{file} has the size {images[-1].shape[:2]}, the others have {images[0].shape[:2]}")
        labels.append(classes.index(file.parent.name))
    if not images:
        raise FileNotFoundError(f"expected images in {folder}/<class>/, found none")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def _check_count(name: str, root: Path, *parts: tuple[Tensor, int]) -> None:
    for tensor, expected in parts:
        if len(tensor) != expected:
            raise ValueError(f"{name}: a file in {root} is damaged: {len(tensor)} entries where {expected} belong")
