"""The command line as a process, and what its tests ask of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

SMALL = ["train", "digits", "--network", "4C3-P2-20", "--epochs", "1"]


def tsbp(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tsbp", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "TSBP_DATA"}
    environment |= {"XDG_CACHE_HOME": str(cwd / "cache"), "https_proxy": "http://127.0.0.1:9"}  # no way out
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, **options)


def assert_one_clear_line(run: subprocess.CompletedProcess, *words: str) -> None:
    assert run.returncode not in (0, -signal.SIGKILL)
    lines = run.stderr.strip().splitlines()
    assert lines and lines[-1].startswith("error: "), run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in lines[-1]


def without_times(record: dict) -> dict:
    """A record less what the clock said: all of it that must be the same again."""
    epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record["epoch_metrics"]]
    return {k: v for k, v in record.items() if k not in ("wall_time", "finished")} | {"epoch_metrics": epochs}
