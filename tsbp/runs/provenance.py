"""When and where something ran, and with what."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tsbp.runs.files import PROJECT


def provenance(device: torch.device) -> dict[str, Any]:
    """When and where something ran: date, device, threads, platform, versions of the packages, commit of the code."""
    packages = ("tsbp", "torch", "torchvision", "numpy", "scikit-learn")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/results")  # of the code
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "device_name": _device_name(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if changes is None else changes != "",
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says of the repository that holds the package; None where there is none."""
    if not (PROJECT / ".git").exists():
        return None
    try:
        run = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
