"""The file that a training goes on from: written whole or not at all, and read only if no byte of it is damaged."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tsbp.runs import files

PLAIN: dict[str, Any] = {"fingerprint": str, "epoch_metrics": list, "order": Tensor, "position": int}
PLAIN |= dict.fromkeys(("loss", "seconds", "wall_time"), float)
"""What a training counts, and of which type."""
MODULES = ("network", "optimizer", "schedule")
"""What has a state of its own."""
_TYPES = PLAIN | dict.fromkeys(("config", *MODULES), dict) | {"generator": Tensor, "random": Tensor}


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Raises:
        OSError: it cannot be written; an earlier one stays as it was.
    """
    try:
        with files.replacing(path) as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:  # PyTorch turns a full disk into a RuntimeError
        reason = getattr(error, "strerror", None) or "is the disk full?"
        before = "; the one before is whole" if path.exists() else ""
        raise OSError(f"the checkpoint {path} could not be written ({reason}){before}") from None


def read(path: Path) -> dict[str, Any]:
    """The state in a checkpoint.

    Raises:
        ValueError: a byte is damaged, or a part is missing or of another type.
        PermissionError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load looks at no checksum
        state = torch.load(path, map_location="cpu", weights_only=True)
        whole = damaged is None and all(isinstance(state[name], kind) for name, kind in _TYPES.items())
        whole = whole and all(isinstance(epoch, dict) for epoch in state["epoch_metrics"])
        order = state["order"].sort().values
        whole = whole and torch.equal(order, torch.arange(len(order))) and 0 <= state["position"] <= len(order)
    except Exception as error:  # whatever the unpickler meets in a damaged file
        if isinstance(error, PermissionError):
            raise
        whole = False
    if not whole:
        raise not_whole(path)
    return state


def not_whole(path: Path) -> ValueError:
    """The error of a checkpoint that cannot be used."""
    return ValueError(f"{path} is not a whole checkpoint; delete it to start from the beginning")
