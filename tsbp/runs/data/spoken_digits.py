"""Spoken digits as events: the 3,000 recordings of the Free Spoken Digit Dataset (``FSDD/recordings/``).

Six speakers said each digit fifty times (Jakobovski et al., 8 kHz, mono, CC BY-SA 4.0). A recording becomes events in
three steps. It is centred in a window of T steps of 10 ms each, cut or filled up with silence. In each step the power
spectrum of 25 ms of sound is summed in 40 bands, equally wide on the mel scale; their levels in decibels end 60 dB
below the highest. And each band sends an event whenever its level has moved by more than 5 dB since its last event:
``on`` if it went up, ``off`` if it went down, at most one a step (send-on-delta coding).

The test examples are those of one speaker, whom the training set lacks. ``folds 6`` tests the speakers one by one
(leave one speaker out): ``fold 5`` is the split above.
"""

import hashlib
import re
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsbp.runs import memory
from tsbp.runs.data.dataset import TEMPORAL, DataSet, Source
from tsbp.runs.data.download import download

RATE = 8000
"""Samples a second."""
HOP = 80
"""Samples of a time step: 10 ms."""
WINDOW = 200
"""Samples of a spectrum: 25 ms, seen through Hann's window."""
BINS = 512
"""Length of the Fourier transform, so that the narrowest band holds several frequencies."""
BANDS = 40
RANGE = 60.0
"""Decibels from the highest level of a recording to what counts as silence."""
DELTA = 5.0
"""Decibels by which a level must have moved for an event."""
N_RECORDINGS = 3_000
N_TRAIN = 2_500
OTHER_NOTE = "not the published recordings of the Free Spoken Digit Dataset"
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.tar.gz"
PUBLISHED = "2ffba266065e6fa108440d3e4e023fe4d611a86278b318c7ec9520081223fdb7"
"""SHA-256 of the names and contents of all recordings of that commit, in the order of their names."""


def load(root: Path, time_steps: int) -> DataSet:
    """Load the recordings that are there as frames ``[N, T, 2, 40, 1]``: on and off events of every band.

    The last speaker in the order of the alphabet is the test set. A note says if the files are not the published ones.

    Args:
        root: folder that holds ``FSDD/recordings/<digit>_<speaker>_<index>.wav``.
        time_steps: number T of steps of 10 ms; longer recordings lose both ends.

    Raises:
        FileNotFoundError: there are no recordings, and the download failed.
        ValueError: a recording is damaged, there are fewer than two speakers, or so many frames do not fit into memory.
    """
    folder = root / "FSDD" / "recordings"
    if not folder.is_dir():
        expected = f"the 3,000 recordings <digit>_<speaker>_<index>.wav (16 MB) in {folder}"
        download("spoken-digits", root, expected, _from_github)
    files = recordings(folder)
    speakers = sorted({file.name.split("_")[1] for file in files})
    if len(speakers) < 2:
        raise ValueError(
            f"spoken-digits: expected recordings <digit>_<speaker>_<index>.wav of at least two speakers in {folder}, "
            f"got {len(files)} of {', '.join(speakers) or 'nobody'}"
        )
    needed = 2 * len(files) * time_steps * 2 * BANDS
    memory.check(f"spoken-digits: {len(files):,} recordings of {time_steps} steps", needed, torch.device("cpu"))
    levels = np.stack([mel_levels(read(file), time_steps) for file in files])
    events = torch.from_numpy(send_on_delta(levels, DELTA))[..., None]
    labels = torch.tensor([int(file.name[0]) for file in files])
    groups = torch.tensor([speakers.index(file.name.split("_")[1]) for file in files])
    order = groups.argsort(stable=True)
    n_train = int((groups < len(speakers) - 1).sum())
    train, test = order[:n_train], order[n_train:]
    note = "" if fingerprint(files) == PUBLISHED else OTHER_NOTE
    return DataSet(
        "spoken-digits", events[train], labels[train], events[test], labels[test], 10, note, groups=groups[order]
    )


def recordings(folder: Path) -> list[Path]:
    """The recordings in a folder, in the order of their names."""
    return sorted(file for file in folder.glob("*.wav") if re.fullmatch(r"[0-9]_[^_]+_[0-9]+\.wav", file.name))


def fingerprint(files: list[Path]) -> str:
    """SHA-256 of names and contents, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size} ".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read(file: Path) -> np.ndarray:
    """Read a recording: samples ``[n]`` between -1 and 1.

    Raises:
        ValueError: it is damaged, or of another format than 16 bits, 8 kHz and mono; the message names the file.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)
            rate, samples = wavfile.read(file)
    except Exception as error:  # whatever SciPy meets in a damaged file
        raise ValueError(f"spoken-digits: {file} is damaged: {' '.join(str(error).split())}") from None
    if rate != RATE or samples.dtype != np.int16 or samples.ndim != 1 or not len(samples):
        got = f"{samples.dtype} {list(samples.shape)} at {rate} Hz"
        raise ValueError(f"spoken-digits: {file} is damaged: expected 16 bits, 8 kHz and mono, got {got}")
    return samples / 2**15


def mel_levels(samples: np.ndarray, time_steps: int) -> np.ndarray:
    """Levels of a recording in mel bands, in decibels below the highest: samples ``[n]`` → ``[T, 40]``.

    Args:
        samples: at 8 kHz; they are centred in a window of T steps of 10 ms.
        time_steps: number of steps T.
    """
    total = time_steps * HOP + WINDOW - HOP
    missing = total - len(samples)
    before = abs(missing) // 2
    whole = np.pad(samples, (before, missing - before)) if missing >= 0 else samples[before : before + total]
    pieces = np.lib.stride_tricks.sliding_window_view(whole, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(pieces * np.hanning(WINDOW), BINS)) ** 2 @ _MEL_BANDS
    highest = power.max()
    if not highest:
        return np.zeros((time_steps, BANDS))
    return 10 * np.log10(np.maximum(power / highest, 10 ** (-RANGE / 10)))


def send_on_delta(levels: np.ndarray, delta: float) -> np.ndarray:
    """Events of levels ``[..., T, bands]`` → uint8 ``[..., T, 2, bands]``: up, then down.

    A level sends an event when it has moved by more than ``delta`` since its last event, at first since step 0.
    """
    levels = np.moveaxis(levels, -2, 0)
    last = levels[0].copy()
    events = np.zeros((len(levels), 2, *last.shape), dtype=np.uint8)
    for now, event in zip(levels, events, strict=True):
        event[0], event[1] = now - last > delta, last - now > delta
        last = np.where(event.any(0), now, last)
    return np.moveaxis(events, (0, 1), (-3, -2))


def _mel_bands() -> np.ndarray:
    """Weights of the frequencies in the bands, ``[257, 40]``: triangles that are equally wide on the mel scale."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    frequency = np.fft.rfftfreq(BINS, 1 / RATE)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling))


_MEL_BANDS = _mel_bands()


def _from_github(folder: Path) -> None:
    """Download the archive of the commit with a progress bar, and unpack its recordings."""
    from torchvision.datasets.utils import download_url

    target = folder / "FSDD" / "recordings"
    target.mkdir(parents=True)
    download_url(URL, str(folder), "archive.tar.gz")
    archive = folder / "archive.tar.gz"
    with tarfile.open(archive) as content:
        for member in content:
            name = Path(member.name)
            if member.isfile() and name.parent.name == "recordings" and name.suffix == ".wav":
                file = content.extractfile(member)
                assert file is not None  # it is a file
                (target / name.name).write_bytes(file.read())
    archive.unlink()
    if fingerprint(recordings(target)) != PUBLISHED:
        raise ValueError(f"the recordings in {URL} are not those that were published")


DEFAULTS: dict[str, Any] = TEMPORAL | {
    "network": "128-128",
    "time_steps": 100,
    "tau_m": 20.0,
    "lr": 0.005,
}
"""Settings of a training that suit it."""

SOURCE = Source(title="spoken digits", load=load, n_train=N_TRAIN, defaults=DEFAULTS, temporal=True)
