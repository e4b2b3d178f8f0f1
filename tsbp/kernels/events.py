"""Products of weights with the psc of neurons of which few fire in a time step, in C++ on the CPU.

A postsynaptic current is its spikes through a filter, and so is a sum of several of them. To find ``a[t] @ W.T`` the
weights of the neurons that have just fired are therefore added to what the earlier spikes have left, and to find the
gradient of W what arrives is filtered backwards in time and added to the weights of each neuron that fires. At a firing
rate of a few per cent this is a tenth of the work of a matrix product. What it computes is the same but for rounding.
"""

import functools
import struct

import torch
from torch import Tensor

from tsbp.kernels import cpu
from tsbp.kernels.library import library

_CALL = struct.Struct("@4P3d12q")
"""``Events`` of cpu.cpp."""


def usable(*tensors: Tensor) -> bool:
    """Whether there is a kernel for tensors of this type on this device; compiles it."""
    return all(
        x.device.type == "cpu" and x.dtype is tensors[0].dtype and x.dtype in (torch.float32, torch.float64)
        for x in tensors
    ) and (_functions(tensors[0].dtype) is not None)


@functools.cache
def _functions(dtype: torch.dtype):
    """Both functions of cpu.cpp, which are the same for all surrogates; None without a compiler."""
    compiled = library(dtype, "sigmoid", False)
    if compiled is None:
        return None
    compiled.tsbp_events_forward.restype = compiled.tsbp_events_backward.restype = None
    return compiled.tsbp_events_forward, compiled.tsbp_events_backward


def forward(potential: Tensor, weights: Tensor, out: Tensor, threshold: float, tau_s: float) -> None:
    """Fill ``out`` with ``a[t] @ weights``, where a are the spikes of these potentials through the filter.

    Args:
        potential: ``[T, B, M, K]`` of M networks side by side; contiguous in K at least.
        weights: transposed, ``[M, K, N]`` and contiguous.
        out: ``[T, B, M, N]``; contiguous in N at least.
        threshold: above which a neuron fires.
        tau_s: synaptic time constant.
    """
    _call(0, potential, weights, out, None, threshold, tau_s)


def backward(potential: Tensor, grad: Tensor, threshold: float, tau_s: float) -> Tensor:
    """The gradient of the transposed weights, ``[M, K, N]``, from what arrives at the products, ``[T, B, M, N]``."""
    found = potential.new_zeros(potential.shape[2], potential.shape[3], grad.shape[3])
    _call(1, potential, None, grad, found, threshold, tau_s)
    return found


def _call(
    which: int,
    potential: Tensor,
    weights: Tensor | None,
    out: Tensor,
    gradient: Tensor | None,
    threshold: float,
    tau_s: float,
) -> None:
    if potential.stride(3) != 1 or out.stride(3) != 1:
        raise ValueError("the last dimension must be contiguous")
    functions = _functions(potential.dtype)
    assert functions is not None, "usable() says so beforehand"
    addresses = (0 if x is None else x.data_ptr() for x in (potential, weights, out, gradient))
    sizes = (*potential.shape, out.shape[3], cpu._number_of_threads())
    steps = (*potential.stride()[:3], *out.stride()[:3])
    functions[which](_CALL.pack(*addresses, threshold, 1 - 1 / tau_s, 1 / tau_s, *sizes, *steps))
