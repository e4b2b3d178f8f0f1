"""Timings that need a process of their own: the first call, and whether the measured speed is the user's."""

import os
import subprocess
import sys
import tempfile

import torch

_FIRST_CALL = """
import time, torch, tsbp
current = torch.randn({time_steps}, 1000, device={device!r}, requires_grad=True)
started = time.perf_counter()
tsbp.lif(current, compiled=True).psc.sum().backward()
print(time.perf_counter() - started)
"""

_IN_A_PROCESS = """
import statistics, sys, time, torch, tsbp
if sys.argv[1] == "kept":
    from tsbp.runs.processes import keep_freed_memory
    keep_freed_memory()
torch.set_num_threads({threads})
torch.manual_seed(0)
current = (0.7 * torch.randn({shape}) + 0.4).requires_grad_()
grad = torch.randn(current.shape)
seconds = []
for _ in range({repeats}):
    started = time.perf_counter()
    torch.autograd.grad(tsbp.lif(current, spikes=False, compiled=True).psc, current, grad)
    seconds.append(time.perf_counter() - started)
print(statistics.median(seconds[len(seconds) // 4 :]))
"""
PAIRS = 11
"""The most pairs of processes, one as a user starts it and one that keeps freed memory."""


def first_call(time_steps: int, device: torch.device) -> float:
    """Seconds of the first call of the compiled neuron, forward and backward, in a process with empty caches."""
    code = _FIRST_CALL.format(time_steps=time_steps, device=device.type)
    with tempfile.TemporaryDirectory() as folder:
        return _seconds_printed(code, os.environ | {"TRITON_CACHE_DIR": folder, "TSBP_CACHE": folder})


def plain_and_kept(shape: tuple[int, int, int], threads: int, pairs: int, repeats: int = 40) -> dict[str, list[float]]:
    """Seconds of a layer ``[T, B, N]`` in processes of its own: ``plain`` ones, and ones with freed memory ``kept``."""
    code = _IN_A_PROCESS.format(threads=threads, shape=shape, repeats=repeats)
    seconds: dict[str, list[float]] = {"plain": [], "kept": []}
    for _ in range(pairs):
        for name, times in seconds.items():
            times.append(_seconds_printed(code, dict(os.environ), name))
    return seconds


def _seconds_printed(code: str, environment: dict[str, str], *arguments: str) -> float:
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
