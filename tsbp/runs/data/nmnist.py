"""N-MNIST (Orchard et al. 2015): MNIST seen by a moving event camera, two polarities of 34x34 pixels, about 300 ms."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsbp.networks import TABLE_3
from tsbp.runs import memory
from tsbp.runs.data.dataset import DataSet, Source

WINDOW = 90_000
"""Microseconds of a recording that are used; TSSL-BP (Zhang & Li 2020) takes 30 bins of 3 ms."""
N_TRAIN, N_TEST = 60_000, 10_000


def load(root: Path, time_steps: int) -> DataSet:
    """Load the recordings that are there, as frames ``[N, T, 2, 34, 34]``; a note says if they are not all.

    Args:
        root: folder that holds ``NMNIST/Train/<digit>/NNNNN.bin`` and the same of ``Test``.
        time_steps: number of frames T that a recording is binned into.

    Raises:
        FileNotFoundError: there are no recordings.
        ValueError: a recording is damaged, or so many frames do not fit into memory.
    """
    train_images, train_labels, train_subset = _part(root / "NMNIST" / "Train", time_steps, N_TRAIN, "training")
    test_images, test_labels, test_subset = _part(root / "NMNIST" / "Test", time_steps, N_TEST, "test")
    subset = " and ".join(filter(None, [train_subset, test_subset]))
    note = f"subset: {subset}" if subset else ""
    return DataSet("nmnist", train_images, train_labels, test_images, test_labels, n_classes=10, note=note)


def _part(folder: Path, time_steps: int, complete: int, part: str) -> tuple[Tensor, Tensor, str]:
    """Frames and labels of one part, and how many of its recordings they are, if not all."""
    files = sorted(file for file in folder.glob("[0-9]/*.bin") if not file.name.startswith("."))
    if not files:
        raise FileNotFoundError(
            f"nmnist: expected recordings in {folder}/<digit>/NNNNN.bin, found none. Unpack the Train and "
            "Test archives of N-MNIST there, or name another folder with --data-root or TSBP_DATA"
        )
    needed = 2 * len(files) * time_steps * 2 * 34 * 34
    memory.check(f"nmnist: {len(files):,} recordings as {time_steps} frames each", needed, torch.device("cpu"))
    frames = torch.stack([read_frames(file, time_steps) for file in files])
    labels = torch.tensor([int(file.parent.name) for file in files])
    return frames, labels, "" if len(files) == complete else f"{len(files):,} of {complete:,} {part} recordings"


def read_frames(file: Path, time_steps: int) -> Tensor:
    """Bin one recording into frames ``[T, 2, 34, 34]``, 1 where a pixel had any event.

    An event is 40 bits, big-endian: x (8), y (8), polarity (1), time in microseconds (23).

    Args:
        file: the recording.
        time_steps: number of frames T.

    Raises:
        ValueError: it is damaged; the message names the file.
    """
    data = np.fromfile(file, dtype=np.uint8)
    events = data[: len(data) // 5 * 5].reshape(-1, 5).astype(np.int64)
    x, y, polarity = events[:, 0], events[:, 1], events[:, 2] >> 7
    time = (events[:, 2] & 127) << 16 | events[:, 3] << 8 | events[:, 4]
    if len(data) == 0 or len(data) % 5 or max(x.max(), y.max()) >= 34:
        raise ValueError(f"nmnist: {file} is damaged: expected five bytes an event and coordinates below 34")
    step = time * time_steps // WINDOW
    inside = step < time_steps
    frames = np.zeros((time_steps, 2, 34, 34), dtype=np.uint8)
    frames[step[inside], polarity[inside], y[inside], x[inside]] = 1
    return torch.from_numpy(frames)


SOURCE = Source(
    title="N-MNIST",
    load=load,
    n_train=N_TRAIN,
    # Time constants and steps are TSSL-BP's. Learning rate and epochs are chosen by the mean accuracy of all three
    # gradients on held-out training examples.
    defaults={
        "network": TABLE_3["nmnist"],
        "padding": "1,0",
        "time_steps": 30,
        "tau_m": 8.0,
        "tau_s": 4.0,
        "epochs": 20,
        "batch_size": 20,
        "lr": 0.01,
        "shift": 1,
    },
)
