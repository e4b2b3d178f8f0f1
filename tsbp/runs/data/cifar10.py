"""CIFAR-10, from torchvision's ``cifar-10-batches-py`` or from class folders ``cifar10/train`` and ``cifar10/test``."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsbp.runs.data import folders
from tsbp.runs.data.dataset import DataSet, Source
from tsbp.runs.data.download import download, reason

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


def load(root: Path, time_steps: int) -> DataSet:
    """Load CIFAR-10, ``[N, 3, 32, 32]``; class folders come first where both forms are there.

    Args:
        root: folder that holds either form.
        time_steps: unused.

    Raises:
        FileNotFoundError: the data are missing and the download failed.
        ValueError: a file is damaged.
    """
    if (root / "cifar10").is_dir():
        return folders.read(root / "cifar10", "cifar10")
    batches = root / "cifar-10-batches-py"
    expected = f"the folder cifar-10-batches-py (170 MB) or class folders cifar10/train and cifar10/test in {root}"
    if not batches.exists():
        download("cifar10", root, expected, _from_torchvision)
    from torchvision.datasets import CIFAR10

    try:
        train, test = CIFAR10(root, train=True), CIFAR10(root, train=False)
    except Exception as error:  # a damaged file raises anything from RuntimeError to UnpicklingError
        damaged = ", ".join(_damaged(batches)) or reason(error)
        raise ValueError(f"cifar10: damaged or missing in {batches}: {damaged}; expected {expected}") from None
    labels = torch.tensor(train.targets), torch.tensor(test.targets)
    return DataSet("cifar10", _images(train), labels[0], _images(test), labels[1], n_classes=10)


def _images(part: "CIFAR10") -> Tensor:
    return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()


def _damaged(batches: Path) -> list[str]:
    """Names of the files whose MD5 is not the published one."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    files = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    return [name for name, md5 in files if not check_integrity(batches / name, md5)]


def _from_torchvision(folder: Path) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(folder, train=True, download=True)


SOURCE = Source(
    title="CIFAR-10",
    load=load,
    n_train=50_000,
    defaults=folders.DEFAULTS | {"epochs": 24, "evaluate_every": 4},  # what a GPU did in the time there was
)
