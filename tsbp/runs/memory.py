"""What a run takes of memory at least, estimated before anything is allocated.

The estimates leave out much: what they refuse could not have worked.
"""

import contextlib
import math
import os
from pathlib import Path

import torch

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much a container may use."""


def check(what: str, needed: float, device: torch.device) -> None:
    """Refuse what does not fit into memory.

    Args:
        what: for the message: what is to be made, with the settings that decide its size.
        needed: bytes.
        device: where.

    Raises:
        ValueError: there is less memory.
    """
    there = total(device)
    if needed > there:
        raise ValueError(f"{what} would take {shown(needed)} of memory; there are {shown(there)}")


def total(device: torch.device) -> float:
    """Bytes of memory that there are in all, of a GPU or for this process; infinite where that is not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    found = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(file).read_text()))
    return min(found)


def exhausted(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, of this machine or a GPU."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def shown(size: float) -> str:
    """``1.5 GB``."""
    if math.isinf(size):
        return "more bytes than can be counted"
    power = min(6, max(0, int(math.log10(max(size, 1)) // 3)))
    return f"{size / 1000**power:,.3g} {('bytes', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[power]}"
