"""Compiles ``cpu.cpp`` for the machine at hand, and keeps the result between processes.

A library holds the loops for one type of numbers, one surrogate and one reset; it is compiled when it is first needed,
in about a second, and serves every shape. It is kept for other processes in ``$TSBP_CACHE/kernels``, or where that is
not set in ``$XDG_CACHE_HOME/tsbp/kernels`` or ``~/.cache/tsbp/kernels``, under a name made from all that it depends on.
The folder may be deleted at any time. Where it cannot be written, every process compiles for itself.

``$CXX`` names the compiler: an executable, or a command with arguments.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import torch

from tsbp.kernels.constants import NAMES

SOURCE = Path(__file__).with_name("cpu.cpp")
SOURCES = SOURCE, SOURCE.with_name("recurrent.h")
"""The file that is compiled, and what it includes."""

FLAGS = "-std=c++17 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -shared -fPIC -w"
TUNED = "-march=native -fopenmp"
"""What not every compiler knows; without them the kernel runs on one core."""

TIME_LIMIT = 60.0
"""Seconds for the compiler."""

MACROS = {torch.float32: ("float", "float"), torch.float64: ("double", "double"), torch.bfloat16: ("float", "bfloat16")}
"""Real and Stored of cpu.cpp."""

_lock = threading.RLock()


def library(dtype: torch.dtype, surrogate: str, subtract: bool) -> ctypes.CDLL | None:
    """The compiled loops; None where they cannot be compiled, which one warning tells in each process."""
    with _lock:
        return _library(dtype, surrogate, subtract)


@functools.cache
def _library(dtype: torch.dtype, surrogate: str, subtract: bool) -> ctypes.CDLL | None:
    if _failures:
        return None  # the compiler is the same for all
    try:
        return _load_or_compile(dtype, surrogate, subtract)
    except (OSError, ValueError) as error:
        _failures.append(str(error))
    warnings.warn(f"C++ kernel unavailable; continuing with the slower loop: {_failures[0]}", stacklevel=2)
    return None


_failures: list[str] = []


def forget() -> None:
    """Start anew, as a new process does."""
    with _lock:
        _library.cache_clear()
        _failures.clear()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # in a forked process, the thread that holds the old one is gone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _load_or_compile(dtype: torch.dtype, surrogate: str, subtract: bool) -> ctypes.CDLL:
    """Raises OSError or ValueError, with the reason, where that fails."""
    compiler = _compiler()
    real, stored = MACROS[dtype]
    macros = [f"-DREAL={real}", f"-DSTORED={stored}", f"-DSURROGATE={surrogate.upper().replace('-', '_')}"]
    macros += [f"-DSUBTRACT={str(subtract).lower()}"]
    name = f"{NAMES[dtype]}-{surrogate}-{'subtract' if subtract else 'zero'}-{_key(compiler, macros)}"
    folder = _folder()
    if kept := _kept(folder, name):
        return kept
    with tempfile.TemporaryDirectory(prefix="tsbp-") as scratch:
        return _compile(compiler, macros, Path(scratch) / "kernel.so", folder, name)


def _kept(folder: Path | None, name: str) -> ctypes.CDLL | None:
    """The library that another process has put into the folder, if it is whole and can be loaded here."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{name}-*.so") if folder else ():
            with contextlib.suppress(OSError):
                ours = path.stat().st_uid in (0, os.getuid()) if hasattr(os, "getuid") else True
                if ours and path.name == _file_name(name, path.read_bytes()):
                    return ctypes.CDLL(str(path))
    return None


def _file_name(name: str, content: bytes) -> str:
    """Says what is in the file: loading one that was cut off could end the process."""
    return f"{name}-{_digest(content)}.so"


def _compile(compiler: list[str], macros: list[str], built: Path, folder: Path | None, name: str) -> ctypes.CDLL:
    reason = ""
    for tuned in (TUNED, ""):
        command = [*compiler, *FLAGS.split(), *tuned.split(), *macros, "-o", str(built), str(SOURCE)]
        try:
            reason = _run(command)
            if not reason:
                loaded = ctypes.CDLL(str(built))
                break
        except subprocess.TimeoutExpired:
            raise OSError(f"{shlex.join(compiler)} did not end within {TIME_LIMIT:g} seconds") from None
        except OSError as error:  # no such compiler; or the library needs what is not there
            reason = str(error)
    else:
        raise OSError(reason)
    if folder:
        with contextlib.suppress(OSError):
            _keep(built, folder, name)
    return loaded


def _run(command: list[str]) -> str:
    """Run the compiler; what it has to say if it fails. It is killed, with all that it started, after TIME_LIMIT."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
        try:
            failed = process.wait(TIME_LIMIT)
        except BaseException:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if not failed:
        return ""
    error = next((line for line in lines if "error" in line), None)
    return error or next(iter(lines), f"{command[0]} ended with {failed}")


def _keep(built: Path, folder: Path, name: str) -> None:
    """Put the library where the next process finds it, whole or not at all."""
    content = built.read_bytes()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".so")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, folder / _file_name(name, content))
    except BaseException:
        os.unlink(temporary)
        raise


def _compiler() -> list[str]:
    """The command that compiles C++."""
    given = os.environ.get("CXX", "").strip()
    if given:
        return [given] if shutil.which(given) else shlex.split(given)
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found is None:
        raise FileNotFoundError("there is no C++ compiler (c++, g++ or clang++)")
    return [found]


def _folder() -> Path | None:
    """Where libraries are kept; None for a user without a home."""
    given = os.environ.get("TSBP_CACHE")
    if given:
        return Path(os.path.expanduser(given)).absolute() / "kernels"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache")
    return cache / "tsbp" / "kernels" if cache.is_absolute() else None


def _key(compiler: list[str], macros: list[str]) -> str:
    """Of all that a library depends on."""
    parts = [
        *(path.read_text() for path in SOURCES),
        FLAGS,
        TUNED,
        *macros,
        *map(_identity, compiler),
        sys.platform,
        *_processor(),
    ]
    return _digest("\0".join(parts).encode(errors="surrogateescape"))  # a path need not be text


def _identity(word: str) -> str:
    """A word of the command; of a program also its place, size and time of change, which its version comes with."""
    found = shutil.which(word)
    if found is None:
        return word
    path = os.path.realpath(found)
    about = os.stat(path)
    return f"{word} {path} {about.st_size} {about.st_mtime_ns}"


@functools.cache
def _processor() -> tuple[str, ...]:
    """What ``-march=native`` looks at."""
    names = ("model name", "flags", "CPU implementer", "CPU part", "Features", "isa")  # x86, Arm, RISC-V
    lines = []
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if not line.strip():
                break  # the first processor speaks for all
            if line.partition(":")[0].strip() in names:
                lines.append(line.strip())
    return platform.machine(), *(lines or [platform.processor()])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
