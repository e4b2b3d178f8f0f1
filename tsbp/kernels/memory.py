"""Large arrays of our own on the CPU, from memory that is kept between calls.

The C library gives a large block that is freed back to the system. The next call gets it as fresh pages, which the
system fills with zeros one by one when they are first touched; that takes longer than all of the neuron's arithmetic.
So :func:`empty` takes large arrays from a pool of mapped memory, to which a block returns when the last tensor that
lives in it dies. The process's own allocator is left as it is.

What the pool holds free is bounded by the most that was in use at one time, so that the pool holds at most twice what
the neurons once needed; the blocks that were free for longest go first. :func:`release` gives all of it back.
"""

import contextlib
import math
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1 << 20
"""Bytes: smaller arrays come from PyTorch's allocator, which keeps their memory as it is."""


class Pool:
    """Blocks of memory, each in use by one array or free. Any thread may take and return them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.in_use = 0
        """Bytes of the blocks that arrays live in."""
        self.most_in_use = 0
        """The highest value of ``in_use``, since the start or the last release."""
        self._free: list[mmap.mmap] = []  # the one that returned first comes first
        self._returning: deque[mmap.mmap] = deque()  # freed, and not yet counted

    @property
    def free(self) -> int:
        """Bytes that wait for the next array."""
        return sum(map(len, self._free))

    def take(self, size: int) -> memoryview:
        """At least ``size`` bytes, which return to the pool when nothing refers to the view any more.

        Raises:
            OSError: the system has no memory left.
        """
        self._settle()
        with self.lock:
            # A block of more than twice the size is left to an array that fills it.
            fitting = min((block for block in self._free if size <= len(block) <= 2 * size), key=len, default=None)
            if fitting is None:
                fitting = self._map(size)
            else:
                self._free.remove(fitting)
            self.in_use += len(fitting)
            self.most_in_use = max(self.most_in_use, self.in_use)
        self._settle()
        view = memoryview(fitting)
        weakref.finalize(view, self._give_back, fitting).atexit = False
        return view

    def release(self) -> None:
        """Give all free blocks back to the system, and forget how much was once in use."""
        self._settle()
        with self.lock:
            self._free.clear()
            self.most_in_use = self.in_use

    def _map(self, size: int) -> mmap.mmap:
        step = max(1 << 18, 1 << (size.bit_length() - 4))  # by at most an eighth too large: near sizes share a block
        size = -(-size // step) * step
        try:
            return _mapped(size)
        except OSError:
            self._free.clear()
            return _mapped(size)

    def _give_back(self, block: mmap.mmap) -> None:
        # The garbage collector may call this at any place, also where this thread holds the lock: no waiting here.
        self._returning.append(block)
        self._settle()

    def _settle(self) -> None:
        """Count what came back. Whoever holds the lock does it for the others when they leave."""
        while self._returning and self.lock.acquire(blocking=False):
            try:
                while self._returning:
                    block = self._returning.popleft()
                    self.in_use -= len(block)
                    self._free.append(block)
                while self.free > self.most_in_use:
                    self._free.pop(0)
            finally:
                self.lock.release()


def _mapped(size: int) -> mmap.mmap:
    # Private: a forked process gets its own copy of what it changes.
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # The loops go through many rows at once; on large pages they are 5 to 10 % faster.
    with contextlib.suppress(AttributeError, OSError):  # where there are none
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


POOL = Pool()


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A new tensor with whatever its memory held before; contiguous, and no view of another."""
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST or device.type != "cpu" or not hasattr(mmap, "MAP_ANONYMOUS"):
        return torch.empty(shape, dtype=dtype, device=device)
    try:
        memory = POOL.take(size)
    except OSError:
        return torch.empty(shape, dtype=dtype, device=device)  # has a message of its own for this
    # Resized in place to the size it has, for reshape() would make a view.
    return torch.frombuffer(memory, dtype=dtype, count=size // dtype.itemsize).resize_(shape)


def copy(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers of x, contiguous."""
    return empty(x.shape, dtype, x.device).copy_(x.detach())


def release() -> None:
    """Give the memory that is kept for the next call back to the system."""
    POOL.release()


def _after_fork_in_child() -> None:
    POOL.lock.release()
    POOL.release()  # what the parent keeps for itself


if hasattr(os, "register_at_fork"):  # a thread that is gone in the child must not hold the lock there
    os.register_at_fork(
        before=POOL.lock.acquire, after_in_parent=POOL.lock.release, after_in_child=_after_fork_in_child
    )
