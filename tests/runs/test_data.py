"""Data sets: real ones where they are at hand, files made by hand for the formats, and what happens to damaged ones."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tsbp.runs import data


def write_recording(file: Path, events: list[tuple[int, int, int, int]]) -> None:
    """N-MNIST's format, written with another tool than the reader's: a 40-bit big-endian word an event."""
    file.parent.mkdir(parents=True, exist_ok=True)
    words = [x << 32 | y << 24 | polarity << 23 | time for x, y, polarity, time in events]
    file.write_bytes(b"".join(struct.pack(">Q", word)[3:] for word in words))


def write_image(file: Path, colour: tuple[int, int, int], size: tuple[int, int] = (4, 6)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file)


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    folder = tmp_path / "fruit"
    for split in ("train", "test"):
        write_image(folder / split / "apple" / "1.png", (255, 0, 0))
        write_image(folder / split / "pear" / "1.png", (0, 200, 0))
    write_image(folder / "train" / "pear" / "2.png", (0, 100, 0))
    return folder


def test_digits(digits):
    assert digits.in_shape == (1, 8, 8) and not digits.has_frames
    assert len(digits.train_images) == len(digits.train_labels) == 1437
    assert len(digits.test_images) == len(digits.test_labels) == 360
    assert digits.train_images.dtype == torch.uint8 and digits.train_images.max() == 255
    counts = torch.bincount(digits.test_labels)
    assert len(counts) == 10 and counts.min() >= 34


def test_normalisation(digits):
    mean, std = digits.normalisation
    normalised = (digits.train_images - mean) / std
    assert abs(normalised.mean()) < 1e-5
    assert normalised.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_hold_out_takes_training_examples_only(digits):
    held = digits.hold_out(300)
    assert len(held.test_images) == 300 and len(held.train_images) == 1137
    together = torch.cat([held.train_images, held.test_images]).flatten(1)
    assert torch.equal(together.sort(0).values, digits.train_images.flatten(1).sort(0).values)
    assert torch.equal(held.test_images, digits.hold_out(300).test_images)
    for n in (0, 1437):
        with pytest.raises(ValueError, match="validation must be from 1 to 1436"):
            digits.hold_out(n)


def test_fingerprint_sees_a_single_pixel_and_label(digits):
    assert digits.fingerprint() == data.load("digits").fingerprint()
    for part in ("test_images", "train_labels"):
        changed = getattr(digits, part).clone()
        changed.view(-1)[7] += 1
        assert replace(digits, **{part: changed}).fingerprint() != digits.fingerprint()


def test_nmnist_events_by_hand(tmp_path):
    """x, y, polarity and time land in frames[t, polarity, y, x]; what comes after the window is left out."""
    for split in ("Train", "Test"):
        file = tmp_path / "NMNIST" / split / "7" / "00001.bin"
        write_recording(
            file, [(1, 2, 0, 0), (33, 30, 1, 44_999), (33, 30, 1, 44_998), (5, 6, 1, 45_000), (0, 0, 0, 90_000)]
        )
    loaded = data.load("nmnist", tmp_path, time_steps=2)
    expected = torch.zeros(1, 2, 2, 34, 34, dtype=torch.uint8)
    expected[0, 0, 0, 2, 1] = expected[0, 0, 1, 30, 33] = expected[0, 1, 1, 6, 5] = 1
    assert torch.equal(loaded.train_images, expected)
    assert loaded.train_labels.tolist() == [7] and loaded.has_frames
    assert "1 of 60,000 training recordings" in loaded.note


@pytest.mark.parametrize("content", [b"", b"\x01\x02\x00\x00", bytes([200, 0, 0, 0, 0])])
def test_damaged_recordings_are_named(tmp_path, content):
    for split in ("Train", "Test"):
        write_recording(tmp_path / "NMNIST" / split / "0" / "00001.bin", [(1, 1, 0, 5)])
    bad = tmp_path / "NMNIST" / "Test" / "0" / "00002.bin"
    bad.write_bytes(content)
    with pytest.raises(ValueError, match=r"00002\.bin is damaged"):
        data.load("nmnist", tmp_path)


def test_class_folders(class_folders):
    loaded = data.load(str(class_folders))
    assert loaded.name == "fruit" and loaded.n_classes == 2 and loaded.in_shape == (3, 6, 4)
    assert loaded.train_labels.tolist() == [0, 1, 1]
    assert loaded.train_images[1].unique().tolist() == [0, 200]
    assert loaded.note == ""
    _, std = loaded.normalisation
    assert std[2].item() == 1  # blue never changes: no division by zero


def test_jpeg_is_noted(class_folders):
    write_image(class_folders / "train" / "apple" / "2.jpg", (250, 0, 0))
    assert "JPEG" in data.load(str(class_folders)).note


def test_class_folders_that_are_wrong(class_folders):
    odd = class_folders / "train" / "apple" / "9.png"
    write_image(odd, (1, 1, 1), size=(5, 5))
    with pytest.raises(ValueError, match=r"9\.png has the size"):
        data.load(str(class_folders))
    odd.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"9\.png is not a readable image"):
        data.load(str(class_folders))
    odd.unlink()
    write_image(class_folders / "test" / "plum" / "1.png", (1, 1, 1))
    with pytest.raises(ValueError, match="plum has no counterpart"):
        data.load(str(class_folders))


def test_unknown_and_missing_data_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"unknown data set 'minst'.*mnist"):
        data.load("minst")
    with pytest.raises(FileNotFoundError, match=r"nmnist.*Train.*--data-root"):
        data.load("nmnist", tmp_path)

    def offline(dataset, root):
        raise OSError("no route to host")

    monkeypatch.setattr(data, "_download", offline)
    for name, expected in (("mnist", "train-images-idx3-ubyte"), ("cifar10", "cifar-10-batches-py")):
        with pytest.raises(FileNotFoundError, match=rf"{name}: expected.*{expected}.*no route to host"):
            data.load(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_nothing(tmp_path):
    def breaks(root, train, download):
        (Path(root) / "half.bin").write_bytes(b"x")
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        data._download(breaks, tmp_path / "new" / "root")
    assert list(tmp_path.iterdir()) == []


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("TSBP_DATA", "/from/environment")
    assert data.data_root() == Path("/from/environment")
    assert data.data_root(tmp_path) == tmp_path
    monkeypatch.delenv("TSBP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.data_root() == tmp_path / "tsbp"


def test_mnist(real_data):
    loaded = data.load("mnist", real_data("MNIST"))
    assert loaded.train_images.shape == (60_000, 1, 28, 28) and loaded.test_images.shape == (10_000, 1, 28, 28)
    # Published statistics of MNIST's training pixels.
    mean, std = loaded.normalisation
    assert mean.item() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert std.item() / 255 == pytest.approx(0.3081, abs=1e-4)
    assert loaded.train_labels[:5].tolist() == [5, 0, 4, 1, 9]


def test_a_damaged_mnist_is_named(real_data, tmp_path):
    source = real_data("MNIST") / "MNIST" / "raw"
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in source.iterdir():
        (raw / file.name).write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="mnist"):
        data.load("mnist", tmp_path)


def test_nmnist(real_data):
    root = real_data("NMNIST")
    loaded = data.load("nmnist", root, time_steps=30)
    assert loaded.train_images.shape[1:] == (30, 2, 34, 34)
    # The same events into fewer bins: a pixel of a coarse frame is the union of its fine frames.
    coarse = data.load("nmnist", root, time_steps=5)
    fine = loaded.test_images.unflatten(1, (5, 6)).amax(2)
    assert torch.equal(coarse.test_images, fine)
    assert np.unique(loaded.train_labels.numpy()).tolist() == list(range(10))
