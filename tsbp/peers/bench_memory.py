"""How much memory a call allocates, and how much of it autograd keeps."""

import os
from collections.abc import Callable

import torch
from torch import Tensor

from tsbp.kernels import memory as pool


def peak_and_kept(candidate: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Bytes: the most that are allocated at a time during a call, and those that autograd keeps for its backward.

    On CUDA these are among the first calls of a training step, before it is recorded as a graph.
    """
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        candidate()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        candidate()
        return torch.cuda.max_memory_allocated() - before, sum(kept.values())
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler reports its comings and goings
    pool.release()
    in_use = pool.POOL.in_use
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        candidate()
    # The kernels' own pool is not seen by the profiler: its peak is added, though the two need not coincide.
    peak_of_pool = pool.POOL.most_in_use - in_use
    now = peak = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak + peak_of_pool, sum(kept.values())
