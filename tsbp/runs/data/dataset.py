"""A data set in memory, and an entry of the registry of data sets."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TEMPORAL: dict[str, Any] = {
    "readout": "integrator",
    "tau_s": 2.0,
    "optimizer": "adam",
    "epochs": 20,
    "batch_size": 50,
}
"""Settings of a training that the tasks that need time have in common."""

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
    groups: Tensor | None = None
    """What must not be split, such as the speaker of every example: those to train on, then those to test on, ``[N]``
    as int64. Cross-validation and validation then hold out whole groups."""

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
        if self.groups is not None:
            self._check_groups(self.groups)

    def _check_groups(self, groups: Tensor) -> None:
        n = len(self.train_labels) + len(self.test_labels)
        if not isinstance(groups, Tensor) or groups.dtype != torch.int64 or groups.shape != (n,):
            is_tensor = isinstance(groups, Tensor)
            got = f"{groups.dtype} {list(groups.shape)}" if is_tensor else type(groups).__name__
            raise ValueError(f"{self.name}: groups must be a tensor of torch.int64, one for each of {n}, got {got}")

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

    def noted(self, remark: str) -> str:
        """The note with one more remark."""
        return f"{self.note}; {remark}" if self.note else remark

    def fold(self, n: int, k: int) -> "DataSet":
        """Cross-validation: part ``k`` of all examples, of ``n`` equal and balanced ones, becomes the test set.

        All examples are those to train on, followed by those to test on; they keep their order. Parts ``n`` to
        ``2n - 1`` are those of another cut, and so on. A data set with groups is cut into whole groups: with as many
        parts as groups, part ``k`` is the k-th group, and there is no other cut.

        Raises:
            ValueError: there are fewer than ``n`` examples, the groups do not divide into ``n`` parts, or there is no
                such cut.
        """
        images = torch.cat([self.train_images, self.test_images])
        labels = torch.cat([self.train_labels, self.test_labels])
        if not 2 <= n <= len(labels):
            raise ValueError(f"folds must be from 2 to the number of examples, {len(labels):,}, got {n}")
        generator = torch.Generator().manual_seed(k // n)
        if self.groups is None:
            order = torch.randperm(len(labels), generator=generator)
            by_class = order[labels[order].argsort(stable=True)]
            tested = torch.zeros(len(labels), dtype=torch.bool)
            tested[by_class[k % n :: n]] = True
        else:
            tested = torch.isin(self.groups, self._groups_of_fold(self.groups.unique(), n, k, generator))
        note = f"{n}-fold cross-validation over {len(labels):,} examples"
        if self.groups is not None:
            note += f" in {len(self.groups.unique())} whole groups"
        return replace(
            self,
            train_images=images[~tested],
            train_labels=labels[~tested],
            test_images=images[tested],
            test_labels=labels[tested],
            tested=tested,
            groups=None if self.groups is None else torch.cat([self.groups[~tested], self.groups[tested]]),
            note=self.noted(note),
        )

    def _groups_of_fold(self, groups: Tensor, n: int, k: int, generator: torch.Generator) -> Tensor:
        if len(groups) % n:
            raise ValueError(f"folds must divide the number of groups of {self.name}, {len(groups)}, got {n}")
        if n < len(groups):
            groups = groups[torch.randperm(len(groups), generator=generator)]
        elif k >= n:
            raise ValueError(f"fold must be less than {n}, the number of groups, each of which is a part, got {k}")
        return groups[k % n :: n]

    def hold_out(self, n: int) -> "DataSet":
        """Replace the test set by ``n`` training examples, always the same: for choosing settings.

        Of a data set with groups, as many whole groups as it takes are held out, and the ``n`` examples are from them:
        settings are then chosen for groups that were not trained on, as those of the test set are not.

        Raises:
            ValueError: ``n`` leaves one of the two parts empty.
        """
        order = self._shuffled()
        if self.groups is None:
            most, held_out, train = len(order) - 1, order[:n], order[n:]
        else:
            groups = self.groups[order]
            names = groups.unique()
            names = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(0))]
            sizes = torch.stack([(groups == name).sum() for name in names]).cumsum(0)  # of the first group, of two, ...
            most = 0 if len(names) == 1 else int(sizes[-2])
            held = torch.isin(groups, names[: int((sizes < n).sum()) + 1])
            held_out, train = order[held][:n], order[~held]
        if not 0 < n <= most:
            whole = "" if self.groups is None else ", so that a whole group is left to train on"
            raise ValueError(f"validation must be from 1 to {most} examples{whole}, got {n}")
        return replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            test_images=self.train_images[held_out],
            test_labels=self.train_labels[held_out],
            groups=None if self.groups is None else self.groups[torch.cat([train, held_out])],
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
            groups=None
            if self.groups is None
            else torch.cat([self.groups[part], self.groups[len(self.train_images) :]]),
            note=self.noted(note),
        )

    def shuffle_time(self) -> "DataSet":
        """A control: put the frames of each example into an order of its own, always the same; the note says so.

        What an input carries by when its spikes come is lost; how many there are stays. Of images the rows are put into
        another order, for the encoding ``rows`` shows one a step.
        """
        generator = torch.Generator().manual_seed(0)
        note = f"{'frames' if self.has_frames else 'rows'} of each example in random order"
        return replace(
            self,
            train_images=_shuffle_each(self.train_images, generator),
            test_images=_shuffle_each(self.test_images, generator),
            note=self.noted(note),
        )

    def _shuffled(self) -> Tensor:
        return torch.randperm(len(self.train_images), generator=torch.Generator().manual_seed(0))

    def to(self, device: str | torch.device) -> "DataSet":
        """The data set with all its tensors on a device."""
        return replace(self, **{field: getattr(self, field).to(device) for field in PARTS})


def _shuffle_each(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle every example by itself: the steps of frames ``[N, T, C, H, W]``, the rows of images ``[N, C, H, W]``."""
    axis = 1 if images.dim() == 5 else 2
    steps = images.movedim(axis, 1)
    order = torch.rand(steps.shape[:2], generator=generator).argsort(1).to(images.device)
    return steps[torch.arange(len(steps), device=images.device)[:, None], order].movedim(1, axis).contiguous()


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
    temporal: bool = False
    """Whether it stands for tasks that need time, which the tables of the paper's own data sets leave out."""

    def __post_init__(self) -> None:
        if "network" not in self.defaults:
            raise ValueError(f"defaults of {self.title} must name a network, got {self.defaults!r}")
