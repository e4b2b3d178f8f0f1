"""The command line, as a process or in this one, and what its tests ask of it."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from tsbp import __main__ as command_line
from tsbp.runs import processes

SMALL = ["train", "digits", "--network", "4C3-P2-20", "--epochs", "1", "--examples", "300"]


def environment(cwd: Path) -> dict[str, str]:
    """No data but those of the package, and no way out."""
    kept = {name: value for name, value in os.environ.items() if name != "TSBP_DATA"}
    return kept | {"XDG_CACHE_HOME": str(cwd / "cache"), "https_proxy": "http://127.0.0.1:9"}


def tsbp(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "tsbp", *map(str, arguments)]
    pipes = {"capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(command, cwd=cwd, env=environment(cwd), **pipes, **options)


def here(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """The same in this process, which spares the seconds of its start."""
    command = ["tsbp", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.dict(os.environ, environment(cwd), clear=True),
        mock.patch.object(processes, "keep_freed_memory"),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            command_line.main()
        except SystemExit as end:
            return subprocess.CompletedProcess(command, end.code or 0, out.getvalue(), err.getvalue())
    raise AssertionError("main() returned")


def started(*arguments: str, cwd: Path, **options) -> subprocess.Popen:
    """A command under way in a process of its own."""
    command = [sys.executable, "-m", "tsbp", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment(cwd), **pipes | options)


def until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait for a condition, while a process is under way."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "this never happened"
        assert process is None or process.poll() is None, f"it ended: {process.stderr and process.stderr.read()}"
        time.sleep(0.02)


def assert_one_clear_line(run: subprocess.CompletedProcess, *words: str) -> None:
    assert run.returncode not in (0, -signal.SIGKILL)
    lines = run.stderr.strip().splitlines()
    assert lines and lines[-1].startswith("error: "), run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in lines[-1], lines[-1]


def without_times(record: dict) -> dict:
    """A record less what the clock said: all of it that must be the same again."""
    epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record["epoch_metrics"]]
    return {k: v for k, v in record.items() if k not in ("wall_time", "finished")} | {"epoch_metrics": epochs}
