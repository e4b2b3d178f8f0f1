"""Timings that need a process of their own: the first call, and a layer as programs of different kinds run it."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

import torch

_FIRST_CALL = """
import time, torch, tsbp
current = torch.randn({time_steps}, 1000, device={device!r}, requires_grad=True)
started = time.perf_counter()
tsbp.lif(current, compiled=True).psc.sum().backward()
print(time.perf_counter() - started)
"""
_LAYER = """
import json, sys
from tsbp.peers import bench
config, others, kept = json.loads(sys.argv[1])
print(json.dumps(bench.seconds_here(bench.BenchConfig(**config), others, kept)))
"""
CORES = (1, 2)


def first_call(time_steps: int, device: torch.device) -> float:
    """Seconds of the first call of the compiled neuron, forward and backward, in a process with empty caches."""
    code = _FIRST_CALL.format(time_steps=time_steps, device=device.type)
    with tempfile.TemporaryDirectory() as folder:
        return float(_printed(code, os.environ | {"TRITON_CACHE_DIR": folder, "TSBP_CACHE": folder}))


def in_processes(config: dict[str, Any], others: list[str]) -> dict[str, dict[str, list[float]]]:
    """Seconds of every candidate of a layer in other processes, one after the other.

    Args:
        config: the settings of a :class:`.bench.BenchConfig`, which was measured in a process that keeps freed memory.
        others: which libraries to compare with.

    Returns:
        ``1 core, plain`` and so on → candidate → seconds. A plain process is one as a user starts it; others keep freed
        memory.
    """
    found = {}
    for cores, kept in itertools.product(CORES, (False, True)):
        if (cores, kept) != (config["threads"], True):
            asked = json.dumps([config | {"threads": cores}, others, kept])
            found[kind(cores, kept)] = json.loads(_printed(_LAYER, dict(os.environ), asked))
    return found


def kind(cores: int, kept: bool) -> str:
    """Of process: ``2 cores, memory kept``."""
    return f"{cores} core{'s' * (cores > 1)}, {'memory kept' if kept else 'plain'}"


def _printed(code: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
