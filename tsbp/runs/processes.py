"""Several processes that share each batch of one training, as torchrun starts them; a single one needs none of this."""

import contextlib
import ctypes
import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed


def join(device: str) -> None:
    """Work together with the other processes where torchrun started several; else do nothing."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")


def leave() -> None:
    """Undo :func:`join`."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0; the first one prints and writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def add_up(value: Tensor, parameters: Iterable[Tensor] = ()) -> Tensor:
    """Sum a value of any shape over all processes, and the gradients of parameters, those in place."""
    if count() == 1:
        return value
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:  # this process had no example of the batch
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    together = torch.cat([value.flatten(), *(gradient.flatten() for gradient in gradients)])
    distributed.all_reduce(together)
    parts = together[value.numel() :].split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return together[: value.numel()].view_as(value)


def first_says(answer: bool, device: torch.device) -> bool:
    """The first process's answer to a question, in all of them."""
    if count() == 1:
        return answer
    shared = torch.tensor([answer], device=device, dtype=torch.uint8)
    distributed.broadcast(shared, 0)
    return bool(shared.item())


def keep_freed_memory() -> None:
    """Have the C library keep the memory that a batch frees for the next one, in this whole process and for good.

    glibc gives large blocks back to the system, which fills them with zeros, page by page, before the next batch gets
    them: a third of the time of a training step. The command line calls this; a program that imports the package may.
    Other C libraries are left as they are.
    """
    trim_threshold, mmap_max = -1, -4  # of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
