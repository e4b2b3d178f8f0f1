"""What the kernels ask of a tensor: time first, and every row, the neurons of one time step, in one piece."""

import math
from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from tsbp.kernels import memory


def rows(x: Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor | None, int]:
    """x in a form that the kernels read, and the number of elements from one row to the next; for None, None and 0.

    Rows that lie apart are read where they are. A tensor that was expanded over time, as the gradient of a sum or of a
    mean is, comes back as its one row, with 0.

    Args:
        x: ``[T, ...]``, not empty.
        shape: the shape that x must have.
        dtype: the type to read.
    """
    if x is None:
        return None, 0
    if x.shape != shape:
        raise ValueError(f"expected a tensor of the shape {list(shape)}, got {list(x.shape)}")
    step = math.prod(shape[1:])
    as_it_is = x.dtype is dtype and not x.is_neg()  # else its memory holds other numbers
    if as_it_is and x.is_contiguous():
        return x, step
    if x.stride(0) == 0:
        return memory.copy(x[0], dtype), 0
    if as_it_is and x[0].is_contiguous():
        return x, x.stride(0)
    return memory.copy(x, dtype), step


@overload
def readable(row: Tensor, n: int, dtype: torch.dtype) -> Tensor: ...
@overload
def readable(row: Tensor | None, n: int, dtype: torch.dtype) -> Tensor | None: ...
def readable(row: Tensor | None, n: int, dtype: torch.dtype) -> Tensor | None:
    """One row of n neurons, ``[...]``, in a form that the kernels read."""
    if row is None:
        return None
    if row.numel() != n:
        raise ValueError(f"expected a row of {n} neurons, got the shape {list(row.shape)}")
    return row if row.dtype is dtype and row.is_contiguous() and not row.is_neg() else memory.copy(row, dtype)


def writable(row: Tensor | None, n: int, dtype: torch.dtype) -> Tensor:
    """The row itself, if a kernel can write to it."""
    if row is None:
        raise ValueError(f"expected a contiguous row of {n} neurons and type {dtype}, got none")
    if row.numel() != n or row.dtype is not dtype or not row.is_contiguous():
        raise ValueError(
            f"expected a contiguous row of {n} neurons and type {dtype}, got the shape {list(row.shape)}, type "
            f"{row.dtype} and strides {list(row.stride())}"
        )
    return row


def between(a: Tensor, weights: Tensor) -> Tensor:
    """``a @ weights.T``, for ``[..., N]`` and weights ``[N, N]``, or ``[..., M, N]`` and ``[M, N, N]``."""
    return a @ weights.T if weights.dim() == 2 else torch.einsum("...mk,mnk->...mn", a, weights)


def matrices(x: Tensor, weights: Tensor) -> Tensor:
    """What square weights are multiplied with, as a view of x if it is contiguous.

    Args:
        x: ``[..., N]`` for weights ``[N, N]``; ``[..., M, N]`` for those of M layers side by side, ``[M, N, N]``.
        weights: of a recurrent layer.

    Returns:
        ``[R, N]`` or ``[M, R, N]``.
    """
    flat = x.reshape(-1, *weights.shape[:-1])
    return flat if weights.dim() == 2 else flat.transpose(0, 1)
