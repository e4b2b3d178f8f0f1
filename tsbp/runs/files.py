"""Files that are written whole or not at all."""

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PROJECT = Path(__file__).resolve().parents[2]
"""The checkout that holds the package, if it is one."""


def check_folder(folder: str | Path, name: str = "") -> None:
    """Find out before long work whether a record can be written into a folder, without making it.

    Args:
        folder: it need not exist.
        name: of the record's file, where it is known.

    Raises:
        OSError: it cannot.
    """
    folder = Path(folder).absolute()
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"records cannot be written to {folder}: {existing} is not a folder")
    if name and (folder / name).is_dir():
        raise IsADirectoryError(f"a record cannot be written to {folder / name}, which is a folder")
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=f".{name}."):
            pass
    except OSError as error:
        raise type(error)(f"records cannot be written to {folder}: {error.strerror}: {existing / name}") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, so that a reader of ``path`` finds either all of it or what was there before.

    Raises:
        OSError: it cannot be written; the message names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.errno:  # a full disk names no file, or the temporary one
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while :func:`replacing` a file has left beside it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())
