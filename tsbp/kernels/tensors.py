"""What kind of tensors a call was given: plain ones with memory, or what PyTorch's transforms put in their place."""

import torch
from torch import Tensor

from tsbp.kernels.constants import real

HALF = (torch.float16, torch.bfloat16)
"""Types whose neurons are simulated in float32."""


def state_dtype(current: Tensor) -> torch.dtype:
    """The type in which neurons of this current are simulated."""
    return real(current.dtype)


def needs_graph() -> bool:
    """Whether under forward-mode differentiation or ``torch.jit.trace``, which need a graph of single operations."""
    return torch.jit.is_tracing() or torch.autograd.forward_ad._current_level >= 0


def ordinary(*tensors: Tensor) -> bool:
    """Whether these are plain dense tensors with memory of their own, outside PyTorch's transforms and tracers."""
    if torch.compiler.is_compiling() or needs_graph():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None or torch._C._len_torch_dispatch_stack():
        return False
    return all(
        type(x) in (Tensor, torch.nn.Parameter)
        and x.layout == torch.strided
        and x.device.type in ("cpu", "cuda")
        and torch._C._has_storage(x)  # the batched gradients of is_grads_batched have none
        and not x.is_neg()
        for x in tensors
    )
