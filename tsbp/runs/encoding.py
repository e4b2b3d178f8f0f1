"""From pixels to the input of a network: augmentation, normalisation, and how an image becomes a sequence."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tsbp.neuron import filter_spikes
from tsbp.runs.data import DataSet

ENCODINGS = ("direct", "filtered", "poisson", "rows")


def input_shape(dataset: DataSet, encoding: str, time_steps: int) -> tuple[int, int, int]:
    """``(C, H, W)`` of what a network sees in one step: an image, a frame, or one row of an image.

    Args:
        dataset: the data.
        encoding: one of ``ENCODINGS``.
        time_steps: number of time steps T.

    Raises:
        ValueError: the encoding is for images and these are frames, or there are fewer steps than rows.
    """
    channels, height, width = dataset.in_shape
    if encoding == "poisson" and dataset.has_frames:
        raise ValueError("encoding poisson is for images; the frames of events are spikes already")
    if encoding != "rows":
        return channels, height, width
    if dataset.has_frames:
        raise ValueError("encoding rows is for images; the frames of events are a sequence already")
    if time_steps < height:
        raise ValueError(
            f"time_steps must be at least {height}, the rows of an image, to encode rows, got {time_steps}"
        )
    return channels, 1, width


def encode(images: Tensor, dataset: DataSet, encoding: str, time_steps: int, tau_s: float) -> Tensor:
    """Make the input of a network from a batch of a data set.

    ``direct``: normalised pixels, a constant current, or the events of each step, a current too. ``filtered``: the same
    through a synapse (eq. 2), which is how TSSL-BP (Zhang & Li 2020) feeds its networks. ``poisson``: at every step
    a spike with the pixel's brightness for probability, through a synapse; drawn from the global generator of the
    images' device. ``rows``: one row of the normalised pixels a step, from the top, then nothing.

    Args:
        images: uint8, ``[B, C, H, W]``, or frames ``[B, T, C, H, W]``.
        dataset: where they come from.
        encoding: one of ``ENCODINGS``.
        time_steps: number of time steps T.
        tau_s: synaptic time constant in steps.

    Returns:
        ``[T, B, C, H, W]``; images ``direct`` stay ``[B, C, H, W]``, and of ``rows`` H is 1.

    Raises:
        ValueError: see :func:`input_shape`.
    """
    input_shape(dataset, encoding, time_steps)
    if encoding == "poisson":
        brightness = (images.float() / 255).expand(time_steps, *images.shape)
        return filter_spikes(torch.bernoulli(brightness), tau_s)
    if dataset.has_frames:
        x = images.movedim(1, 0).float()
    else:
        mean, std = dataset.normalisation
        x = (images - mean) / std
    if encoding == "direct":
        return x
    if encoding == "rows":
        rows = x.movedim(2, 0)[:, :, :, None]  # [H, B, C, 1, W]
        return torch.cat([rows, rows.new_zeros(time_steps - len(rows), *rows.shape[1:])])
    return filter_spikes(x if dataset.has_frames else x.expand(time_steps, *x.shape), tau_s)


def augment(images: Tensor, shift: int, flip: bool, rotation: float, generator: torch.Generator) -> Tensor:
    """Move, mirror and turn each example of a batch by itself; all frames of one example together.

    Args:
        images: uint8, ``[B, ..., H, W]``.
        shift: largest move in pixels; zeros come in at the edges.
        flip: mirror half of the examples.
        rotation: largest turn in degrees about the middle, bilinear; zeros come in at the corners.
        generator: on the CPU, so that every device sees the same draws.
    """
    n, (height, width) = len(images), images.shape[-2:]
    if shift:
        padded = functional.pad(images, (shift,) * 4)
        down, right = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=generator)
        rows = (torch.arange(height) + down).to(images.device)
        columns = (torch.arange(width) + right).to(images.device)
        example = torch.arange(n, device=images.device)[:, None, None]
        moved = padded.movedim((-2, -1), (1, 2))[example, rows[:, :, None], columns[:, None, :]]
        images = moved.movedim((1, 2), (-2, -1))
    if flip:
        mirrored = torch.rand(n, generator=generator) < 0.5
        images = torch.where(mirrored.to(images.device).view(-1, *[1] * (images.dim() - 1)), images.flip(-1), images)
    if rotation:
        angle = (2 * torch.rand(n, generator=generator) - 1) * math.radians(rotation)
        images = _turned(images, angle.to(images.device))
    return images


def _turned(images: Tensor, angle: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Positions run from -1 to 1 along both sides, whatever their lengths.
    matrix = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1).view(-1, 2, 3)
    x = images.flatten(1, -3).float()
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False).round().to(images.dtype).view_as(images)


def target_spikes(labels: Tensor, n_classes: int, pattern: str, time_steps: int) -> Tensor:
    """Spike trains wanted of the output layer, ``[T, B, n_classes]``: a pattern for the true class, silence elsewhere.

    Args:
        labels: ``[B]``.
        n_classes: number of output neurons.
        pattern: a string of 0 and 1, repeated up to T.
        time_steps: number of time steps T.
    """
    wanted = torch.tensor([float(pattern[t % len(pattern)]) for t in range(time_steps)], device=labels.device)
    return wanted[:, None, None] * functional.one_hot(labels, n_classes)
