"""A data set in memory, and an entry of the registry of data sets."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PARTS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class DataSet:
    """Images ``[N, C, H, W]`` or, for events, frames ``[N, T, C, H, W]``, as uint8, with labels ``[N]`` as int64.

    Labels run from 0 to ``n_classes - 1``.

    Raises:
        ValueError: a field has another type, shape or range; the message names it.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    n_classes: int
    note: str = ""
    """What a reader of a result must know: that the data are a subset, or re-encoded."""
    tested: Tensor | None = None
    """Under cross-validation, which of all examples are the test examples, ``[N]`` of bool."""

    def __post_init__(self) -> None:
        if not isinstance(self.n_classes, int) or isinstance(self.n_classes, bool) or self.n_classes < 1:
            raise ValueError(f"{self.name}: n_classes must be an integer of at least 1, got {self.n_classes!r}")
        for field, dtype in zip(PARTS, 2 * (torch.uint8, torch.int64), strict=True):
            tensor = getattr(self, field)
            if not isinstance(tensor, Tensor) or tensor.dtype != dtype:
                got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
                raise ValueError(f"{self.name}: {field} must be a tensor of {dtype}, got {got}")
            if not tensor.numel():
                raise ValueError(f"{self.name}: {field} must not be empty, got the shape {list(tensor.shape)}")
        for part in ("train", "test"):
            self._check_part(f"{part}_images", f"{part}_labels")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            sizes = list(self.train_images.shape[1:]), list(self.test_images.shape[1:])
            raise ValueError(f"{self.name}: test_images must have the size of train_images, {sizes[0]}, got {sizes[1]}")

    def _check_part(self, images_field: str, labels_field: str) -> None:
        images, labels = getattr(self, images_field), getattr(self, labels_field)
        if images.dim() not in (4, 5):
            allowed = "[N, C, H, W] or [N, T, C, H, W]"
            raise ValueError(f"{self.name}: {images_field} must be {allowed}, got the shape {list(images.shape)}")
        if labels.shape != images.shape[:1]:
            allowed = f"one label for each of the {len(images)} images"
            raise ValueError(f"{self.name}: {labels_field} must be {allowed}, got the shape {list(labels.shape)}")
        low, high = (int(end) for end in labels.aminmax())
        if low < 0 or high >= self.n_classes:
            wrong = low if low < 0 else high
            raise ValueError(f"{self.name}: {labels_field} must be from 0 to {self.n_classes - 1}, got {wrong}")

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of one image or frame."""
        channels, height, width = self.train_images.shape[-3:]
        return channels, height, width

    @property
    def has_frames(self) -> bool:
        """Whether an example is a sequence of frames, one a time step, instead of one image."""
        return self.train_images.dim() == 5

    def fingerprint(self) -> str:
        """Hash of all images and labels, 16 hexadecimal digits; computed once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for field in PARTS:
            x = getattr(self, field)
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

    def fold(self, n: int, k: int) -> "DataSet":
        """Cross-validation: part ``k`` of all examples, of ``n`` equal and balanced ones, becomes the test set.

        All examples are those to train on, followed by those to test on; they keep their order. Parts ``n`` to
        ``2n - 1`` are those of another cut, and so on.

        Raises:
            ValueError: there are fewer than ``n`` examples.
        """
        images = torch.cat([self.train_images, self.test_images])
        labels = torch.cat([self.train_labels, self.test_labels])
        if not 2 <= n <= len(labels):
            raise ValueError(f"folds must be from 2 to the number of examples, {len(labels):,}, got {n}")
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(k // n))
        by_class = order[labels[order].argsort(stable=True)]
        tested = torch.zeros(len(labels), dtype=torch.bool)
        tested[by_class[k % n :: n]] = True
        note = f"{n}-fold cross-validation over {len(labels):,} examples"
        return replace(
            self,
            train_images=images[~tested],
            train_labels=labels[~tested],
            test_images=images[tested],
            test_labels=labels[tested],
            tested=tested,
            note=f"{self.note}; {note}" if self.note else note,
        )

    def hold_out(self, n: int) -> "DataSet":
        """Replace the test set by ``n`` training examples, always the same: for choosing settings.

        Raises:
            ValueError: ``n`` leaves one of the two parts empty.
        """
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
        """With ``n`` of the training examples, always the same; the note says so.

        Raises:
            ValueError: there are fewer than ``n``.
        """
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
        return replace(self, **{field: getattr(self, field).to(device) for field in PARTS})


@dataclass(frozen=True)
class Source:
    """An entry of :data:`tsbp.runs.data.DATA_SETS`: where a data set comes from, and how to train on it.

    Raises:
        ValueError: ``defaults`` names no network.
    """

    title: str
    """What tables call the data set."""
    load: Callable[[Path, int], DataSet]
    """``load(root, time_steps)`` gets the folder that holds the data, and the number of frames for events."""
    n_train: int | None
    """Number of training examples in the whole data set; None where that depends on the folder."""
    defaults: dict[str, Any]
    """Fields of :class:`tsbp.runs.settings.TrainingConfig` that differ for this data set; ``network`` always does."""

    def __post_init__(self) -> None:
        if "network" not in self.defaults:
            raise ValueError(f"defaults of {self.title} must name a network, got {self.defaults!r}")
