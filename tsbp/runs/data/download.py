"""Downloads, all or nothing."""

import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path


def download(name: str, root: Path, expected: str, fetch: Callable[[Path], None]) -> None:
    """Download a data set into ``root``, which stays as it was if anything fails.

    Args:
        name: of the data set.
        root: folder that holds the data; made if it is not there.
        expected: the files that belong there, for the message.
        fetch: downloads into an empty folder.

    Raises:
        FileNotFoundError: the download failed; the message says why, and which files are expected.
    """
    try:
        into(root, fetch)
    except Exception as error:  # torchvision lets through whatever the network or the disk raises
        raise FileNotFoundError(
            f"{name}: expected {expected}; they are not there and the download failed ({reason(error)}). "
            "Put them there, or name another folder with --data-root or TSBP_DATA"
        ) from None


def into(root: Path, fetch: Callable[[Path], None]) -> None:
    """Fetch into a temporary folder beside ``root``, then copy all of it to ``root``."""
    existing = next(folder for folder in [root, *root.absolute().parents] if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=existing) as folder:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)  # torchvision sets none
        try:
            fetch(Path(folder))
        finally:
            socket.setdefaulttimeout(before)
        shutil.copytree(folder, root, dirs_exist_ok=True)


def reason(error: Exception) -> str:
    """The first line of an error's message, or its type if it has none."""
    return str(error).strip().partition("\n")[0].rstrip(":") or type(error).__name__
