"""One CUDA graph instead of the hundreds of kernels of an update: launching those one by one takes a small network
longer than they run.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the recording, in which the kernels are compiled and chosen."""


class Graph:
    """Calls a function on tensors, records on CUDA what it does, and replays that from then on.

    The function must be the same at every call, launch the same kernels whatever the values, and copy nothing from or
    to the CPU. The tensors must keep their shapes.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.recorded: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.outputs: tuple[Tensor | None, ...] = ()

    def __call__(
        self, function: Callable[..., tuple[Tensor | None, ...]], *inputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        """The function's outputs; the next call may overwrite them."""
        recorded = self.recorded
        if recorded is None:
            self.calls += 1
            if self.calls <= WARM_UP:
                return self._on_another_stream(function, *inputs)
            recorded = self._record(function, *inputs)
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        recorded.replay()
        return self.outputs

    def _on_another_stream(self, function: Callable, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        """As PyTorch asks of what is to be recorded later."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return outputs

    def _record(self, function: Callable, *inputs: Tensor) -> torch.cuda.CUDAGraph:
        self.inputs = tuple(x.clone() for x in inputs)
        self.recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.recorded):
            self.outputs = function(*self.inputs)
        return self.recorded
