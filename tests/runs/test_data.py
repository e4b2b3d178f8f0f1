"""Data sets: real ones where they are at hand, files made by hand for the formats, and what happens to damaged ones."""

import gzip
import hashlib
import pickle
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import tsbp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tsbp.networks import TABLE_3
from tsbp.runs import data, memory, records
from tsbp.runs.data import download, fashion_mnist, folders, idx, mnist
from tsbp.runs.plugins import load_plugin
from tsbp.runs.settings import TrainingConfig


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


@given(n=st.integers(2, 12), cut=st.integers(0, 3))
@settings(max_examples=10)
def test_folds_test_every_example_once_and_are_balanced(digits, n, cut):
    labels = torch.cat([digits.train_labels, digits.test_labels])
    parts = [digits.fold(n, cut * n + k) for k in range(n)]
    assert torch.stack([part.tested for part in parts]).sum(0).eq(1).all()
    for part in parts:
        assert torch.equal(part.test_labels, labels[part.tested])
        assert torch.equal(part.train_labels, labels[~part.tested])
        assert (part.test_labels.bincount() - labels.bincount() / n).abs().max() < 1 + 1e-6
        assert f"{n}-fold" in part.note


def test_another_cut_has_other_folds_and_the_same_one_the_same(digits):
    assert torch.equal(digits.fold(5, 3).tested, digits.fold(5, 3).tested)
    assert not torch.equal(digits.fold(5, 3).tested, digits.fold(5, 8).tested)


@pytest.mark.parametrize("n", [1, 1798])
def test_folds_that_cannot_be(digits, n):
    with pytest.raises(ValueError, match=rf"folds must be from 2 to .*1,797, got {n}"):
        digits.fold(n, 0)


def test_fingerprint_sees_a_single_pixel_and_label(digits):
    assert digits.fingerprint() == data.load("digits").fingerprint()
    for part in ("test_images", "train_labels"):
        changed = getattr(digits, part).clone()
        changed.view(-1)[7] += 1
        assert replace(digits, **{part: changed}).fingerprint() != digits.fingerprint()


def made_up(**changes: Any) -> data.DataSet:
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    fields = {"train_images": images, "train_labels": torch.tensor([0, 1, 1])}
    fields |= {"test_images": images[:2], "test_labels": torch.tensor([1, 0]), "n_classes": 2}
    return data.DataSet("made up", **fields | changes)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("train_labels", torch.tensor([0, 1, 2]), "train_labels must be from 0 to 1, got 2"),
        ("test_labels", torch.tensor([0, -1]), "test_labels must be from 0 to 1, got -1"),
        (
            "train_labels",
            torch.tensor([0, 1]),
            "train_labels must be one label for each of the 3 images, got the shape",
        ),
        ("test_labels", torch.tensor([[0], [1]]), "test_labels must be one label for each of the 2 images"),
        ("test_labels", torch.tensor([0.0, 1.0]), "test_labels must be a tensor of torch.int64, got torch.float32"),
        ("train_labels", [0, 1, 1], "train_labels must be a tensor of torch.int64, got list"),
        ("train_images", torch.zeros(3, 1, 4, 4), "train_images must be a tensor of torch.uint8, got torch.float32"),
        (
            "train_images",
            torch.zeros(3, 4, 4, dtype=torch.uint8),
            "train_images must be [N, C, H, W] or [N, T, C, H, W]",
        ),
        ("test_images", torch.zeros(0, 1, 4, 4, dtype=torch.uint8), "test_images must not be empty"),
        ("test_images", torch.zeros(2, 1, 4, 5, dtype=torch.uint8), "test_images must have the size of train_images"),
        ("n_classes", 0, "n_classes must be an integer of at least 1, got 0"),
    ],
)
def test_a_field_that_is_wrong_is_named(field, value, said):
    with pytest.raises(ValueError, match=rf"^made up: {re.escape(said)}[^\n]*$"):
        made_up(**{field: value})


def test_frames_without_time_steps_are_empty():
    with pytest.raises(ValueError, match=r"train_images must not be empty, got the shape \[3, 0, 1, 4, 4\]"):
        made_up(train_images=torch.zeros(3, 0, 1, 4, 4, dtype=torch.uint8))


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
    assert loaded.note.endswith("; no training examples of class 0, 1, 2, 3, 4, 5, 6, 8, 9")


def test_hidden_files_are_no_recordings(tmp_path):
    for split in ("Train", "Test"):
        write_recording(tmp_path / "NMNIST" / split / "7" / "00001.bin", [(1, 2, 0, 0)])
        write_recording(tmp_path / "NMNIST" / split / "7" / "._00001.bin", [(3, 3, 0, 0)])
    assert len(data.load("nmnist", tmp_path).train_images) == 1


def test_frames_beyond_memory_are_refused(tmp_path):
    for split in ("Train", "Test"):
        write_recording(tmp_path / "NMNIST" / split / "7" / "00001.bin", [(1, 2, 0, 0)])
    with pytest.raises(ValueError, match=r"nmnist: 1 recordings as 100000000000000 frames each would take 462 PB"):
        data.load("nmnist", tmp_path, time_steps=10**14)


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


def test_jpeg_is_noted_in_capitals_too(class_folders):
    write_image(class_folders / "train" / "apple" / "2.JPG", (250, 0, 0))
    loaded = data.load(str(class_folders))
    assert loaded.train_labels.tolist() == [0, 0, 1, 1] and loaded.note == data.JPEG_NOTE


def test_suffixes_in_capitals_are_read(class_folders):
    (class_folders / "train" / "pear" / "2.png").rename(class_folders / "train" / "pear" / "2.PNG")
    assert data.load(str(class_folders)).train_labels.tolist() == [0, 1, 1]


def test_hidden_files_and_folders_are_passed_over(class_folders):
    fingerprint = data.load(str(class_folders)).fingerprint()
    for split in ("train", "test"):
        write_image(class_folders / split / ".ipynb_checkpoints" / "1-checkpoint.png", (1, 1, 1), size=(9, 9))
        (class_folders / split / "apple" / "._1.png").write_bytes(b"not an image")
    loaded = data.load(str(class_folders))
    assert loaded.n_classes == 2 and loaded.fingerprint() == fingerprint


def test_a_class_without_training_images_is_named(class_folders):
    (class_folders / "train" / "fig").mkdir()
    (class_folders / "train" / "kiwi").mkdir()
    (class_folders / "train" / "kiwi" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"^fruit: class folders without an image in .*train: fig, kiwi$"):
        data.load(str(class_folders))


def test_a_test_folder_may_lack_classes(class_folders):
    (class_folders / "test" / "apple" / "1.png").unlink()
    loaded = data.load(str(class_folders))
    assert loaded.n_classes == 2 and loaded.test_labels.tolist() == [1]
    (class_folders / "test" / "apple").rmdir()
    assert data.load(str(class_folders)).fingerprint() == loaded.fingerprint()


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_truncated_images_are_named(class_folders, suffix):
    file = class_folders / "train" / "apple" / f"8.{suffix}"
    write_image(file, (1, 2, 3))
    file.write_bytes(file.read_bytes()[: -file.stat().st_size // 3])
    with pytest.raises(ValueError, match=rf"8\.{suffix} is not a readable image: [^\n]+$"):
        data.load(str(class_folders))


def test_a_damaged_byte_of_a_png_is_noticed(class_folders):
    file = class_folders / "train" / "apple" / "8.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)).save(file)
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 255
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"8\.png is not a readable image"):
        data.load(str(class_folders))


def test_grey_images_become_rgb(class_folders):
    for i, mode in enumerate(("L", "1", "P", "LA", "RGBA")):  # the last two opaque
        Image.new("L", (4, 6), 255).convert(mode).save(class_folders / "train" / "apple" / f"a{i}.png")
    loaded = data.load(str(class_folders))
    grey = loaded.train_images[1:6]
    assert loaded.train_labels.tolist() == [0] * 6 + [1] * 2 and (grey == 255).all()


def transparent(mode: str) -> Image.Image:
    if mode in ("L", "P"):
        return Image.new(mode, (4, 6), 0)
    image = Image.new(mode, (4, 6))
    image.putalpha(200)
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P"])
def test_transparent_images_are_refused(class_folders, mode):
    options = {"transparency": 0} if mode in ("L", "P") else {}
    transparent(mode).save(class_folders / "train" / "apple" / "8.png", **options)
    with pytest.raises(ValueError, match=r"8\.png must be opaque, got transparent pixels"):
        data.load(str(class_folders))


def test_sixteen_bits_are_refused(class_folders):
    """Pillow would clip them at 255."""
    grey = Image.fromarray(np.full((6, 4), 300, dtype=np.uint16))
    grey.save(class_folders / "train" / "apple" / "8.png")
    with pytest.raises(ValueError, match=r"8\.png must have eight bits a channel, got an image of Pillow's mode I"):
        data.load(str(class_folders))


@pytest.mark.parametrize(("colour", "channels", "mode"), [(2, 3, "RGB"), (6, 4, "RGBA"), (4, 2, "LA")])
def test_sixteen_bits_of_several_channels_are_refused(class_folders, colour, channels, mode):
    """Pillow opens them as eight bits, and drops the lower half of each number."""
    row = b"\0" + struct.pack(">H", 0xFFFE) * 4 * channels
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 6, 16, colour, 0, 0, 0)), (b"IDAT", zlib.compress(6 * row))]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in [*chunks, (b"IEND", b"")]:
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (class_folders / "train" / "apple" / "8.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"8\.png must have eight bits a channel, got .* mode {mode};16B"):
        data.load(str(class_folders))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_a_sequence_of_images_is_refused(class_folders, suffix):
    """Pillow would show the first."""
    images = [Image.new("RGB", (4, 6), (grey, grey, grey)) for grey in (10, 200)]
    file = class_folders / "train" / "apple" / f"8.{suffix}"
    images[0].save(file, save_all=True, append_images=images[1:])
    with pytest.raises(ValueError, match=rf"8\.{suffix} must be one image, got a sequence of 2"):
        data.load(str(class_folders))


def test_other_colours_are_refused(class_folders):
    Image.new("CMYK", (4, 6), (200, 10, 30, 0)).save(class_folders / "train" / "apple" / "8.jpg")
    with pytest.raises(ValueError, match=r"8\.jpg must be grey or RGB, got an image of Pillow's mode CMYK"):
        data.load(str(class_folders))


def test_what_is_stored_with_loss_is_noted_whatever_its_name(class_folders):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8))
    file = class_folders / "train" / "apple" / "8.webp"
    noise.save(file, lossless=True)
    assert data.load(str(class_folders)).note == ""
    for profile in (None, b"odd"):  # a chunk more, and a byte that fills it up
        noise.save(file, icc_profile=profile)
        assert data.load(str(class_folders)).note == folders.WEBP_NOTE
    noise.save(class_folders / "test" / "pear" / "8.png", "JPEG")
    assert data.load(str(class_folders)).note == f"{data.JPEG_NOTE}; {folders.WEBP_NOTE}"


def test_a_turned_photograph_is_put_upright(class_folders):
    """As its camera noted: the left column is the upper row."""
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:, 0] = 255
    Image.fromarray(pixels).save(class_folders / "train" / "apple" / "8.png", exif=turned)
    image = data.load(str(class_folders)).train_images[1]
    assert image.shape == (3, 6, 4) and image[0].tolist() == [[255] * 4] + [[0] * 4] * 5


@pytest.mark.parametrize("name", ["8.gif", "8.TIFF", "8.ppm"])
def test_an_image_that_would_be_left_out_is_named(class_folders, name):
    Image.new("RGB", (4, 6)).save(class_folders / "train" / "apple" / name)
    with pytest.raises(ValueError, match=rf"{re.escape(name)} must be of one of the kinds \.bmp, \.jpeg"):
        data.load(str(class_folders))


def test_an_image_outside_its_class_is_named(class_folders):
    (class_folders / "train" / "notes.txt").write_text("passed over")
    write_image(class_folders / "train" / "9.png", (1, 1, 1))
    with pytest.raises(ValueError, match=r"9\.png belongs into the folder of its class"):
        data.load(str(class_folders))
    (class_folders / "train" / "9.png").unlink()
    write_image(class_folders / "test" / "pear" / "more" / "9.png", (1, 1, 1))
    with pytest.raises(ValueError, match="more is a folder in a class folder"):
        data.load(str(class_folders))


def test_images_beyond_memory_are_refused_before_they_are_read(class_folders, monkeypatch):
    monkeypatch.setattr(memory, "total", lambda device: 400.0)
    said = r"3 images of the size of .*1\.png, \(6, 4\), would take 432 bytes of memory; there are 400 bytes$"
    with pytest.raises(ValueError, match=said):
        data.load(str(class_folders))


def test_a_large_image_among_small_ones_is_not_decoded(class_folders):
    """Else its missing end would be noticed."""
    file = class_folders / "train" / "apple" / "8.png"
    Image.new("1", (5000, 5000)).save(file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"8\.png has the size \(5000, 5000\), the others have \(6, 4\)"):
        data.load(str(class_folders))


def test_a_note_is_read_and_one_that_is_no_text_is_named(class_folders):
    note = class_folders / "NOTE.txt"
    note.write_text("half\n  of the  pears\n")
    assert data.load(str(class_folders)).note == "half of the pears"
    note.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"NOTE\.txt must be text in UTF-8, got the byte 0xe9$"):
        data.load(str(class_folders))


def test_images_keep_their_order_whatever_the_threads_do(tmp_path):
    """Each image carries its own number as its colour."""
    for split, n in (("train", 300), ("test", 2)):
        for i in range(n):
            write_image(tmp_path / split / f"class {i % 2}" / f"{i:03d}.png", (i // 256, i % 256, 0))
    loaded = data.load(str(tmp_path))
    red, green = loaded.train_images[:, 0, 0, 0].int(), loaded.train_images[:, 1, 0, 0].int()
    assert (256 * red + green).tolist() == [*range(0, 300, 2), *range(1, 300, 2)]
    assert loaded.train_labels.tolist() == [0] * 150 + [1] * 150


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

    def offline(root: Path, fetch: Callable[[Path], None]) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "into", offline)
    for name, expected in (("mnist", "train-images-idx3-ubyte"), ("cifar10", "cifar-10-batches-py")):
        with pytest.raises(FileNotFoundError, match=rf"{name}: expected.*{expected}.*no route to host"):
            data.load(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_nothing(tmp_path):
    def breaks(folder: Path) -> None:
        (folder / "half.bin").write_bytes(b"x")
        raise OSError("connection lost")

    with pytest.raises(FileNotFoundError, match=r"mine: expected half\.bin.*connection lost"):
        download.download("mine", tmp_path / "new" / "root", "half.bin", breaks)
    assert list(tmp_path.iterdir()) == []


def test_a_download_ends_in_the_root_beside_what_is_there(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "other.bin").write_bytes(b"y")
    download.download("mine", root, "whole.bin", lambda folder: (folder / "whole.bin").write_bytes(b"x"))
    assert {file.name: file.read_bytes() for file in root.iterdir()} == {"other.bin": b"y", "whole.bin": b"x"}
    assert list(tmp_path.iterdir()) == [root]


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("TSBP_DATA", "/from/environment")
    assert data.data_root() == Path("/from/environment")
    assert data.data_root(tmp_path) == tmp_path
    monkeypatch.delenv("TSBP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.data_root() == tmp_path / "tsbp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data.data_root() == tmp_path / "home" / ".cache" / "tsbp"
    assert data.data_root("~no-such-user/data") == Path("~no-such-user/data"), "a message will name it"


def test_mnist(real_data):
    loaded = data.load("mnist", real_data("MNIST"))
    assert loaded.train_images.shape == (60_000, 1, 28, 28) and loaded.test_images.shape == (10_000, 1, 28, 28)
    # Published statistics of MNIST's training pixels.
    mean, std = loaded.normalisation
    assert mean.item() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert std.item() / 255 == pytest.approx(0.3081, abs=1e-4)
    assert loaded.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert loaded.note == ""


def test_a_byte_of_mnist_that_is_not_the_published_one_is_noted(real_data, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(real_data("MNIST") / "MNIST" / "raw", raw)
    content = bytearray((raw / idx.FILES[2]).read_bytes())
    content[5000] ^= 1
    (raw / idx.FILES[2]).write_bytes(content)
    assert data.load("mnist", tmp_path).note == "not the published files of mnist"


def test_fashion_mnist(tmp_path):
    """From Debian's package, where it is installed."""
    if not fashion_mnist.DEBIAN.is_dir():
        pytest.skip("dataset-fashion-mnist is not installed")
    loaded = data.load("fashion-mnist", tmp_path)
    assert loaded.note == "" and loaded.train_images.shape == (60_000, 1, 28, 28)
    assert (
        loaded.train_labels.bincount().tolist() == [6000] * 10 and loaded.test_labels.bincount().tolist() == [1000] * 10
    )
    assert loaded.train_labels[:5].tolist() == [9, 0, 0, 3, 0]
    # Published statistics of its training pixels.
    mean, std = loaded.normalisation
    assert (mean.item() / 255, std.item() / 255) == pytest.approx((0.2860, 0.3530), abs=1e-4)
    assert sorted(file.name for file in (tmp_path / "FashionMNIST" / "raw").iterdir()) == sorted(idx.FILES)


def test_fashion_mnist_is_unpacked_from_a_package(tmp_path, monkeypatch):
    """Made-up files in the package's place; a byte of them that was not published is noted."""
    monkeypatch.setattr(fashion_mnist, "N_TRAIN", 5)
    monkeypatch.setattr(fashion_mnist, "N_TEST", 3)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "package")
    for part, n in (("train", 5), ("t10k", 3)):
        write_idx(tmp_path / "package" / f"{part}-images-idx3-ubyte", np.arange(n * 6).reshape(n, 2, 3))
        write_idx(tmp_path / "package" / f"{part}-labels-idx1-ubyte", np.arange(n))
    for file in (tmp_path / "package").iterdir():
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    loaded = data.load("fashion-mnist", tmp_path / "data")
    assert loaded.train_images.flatten().tolist() == list(range(30)) and loaded.test_labels.tolist() == [0, 1, 2]
    assert loaded.note.startswith("not the published files of fashion-mnist; ")
    (tmp_path / "package" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"^fashion-mnist: expected the four files [^\n]+$"):
        data.load("fashion-mnist", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def write_idx(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    file.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def small_mnist(tmp_path, monkeypatch) -> Path:
    """Files in the format of MNIST with five and three images; returns the folder that holds them."""
    monkeypatch.setattr(mnist, "N_TRAIN", 5)
    monkeypatch.setattr(mnist, "N_TEST", 3)
    raw = tmp_path / "MNIST" / "raw"
    for part, n in (("train", 5), ("t10k", 3)):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.arange(n * 6).reshape(n, 2, 3))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(n) + 5)
    return raw


def test_idx_files_by_hand(small_mnist, tmp_path):
    loaded = data.load("mnist", tmp_path)
    assert loaded.train_images.flatten().tolist() == list(range(30)) and loaded.in_shape == (1, 2, 3)
    assert loaded.train_labels.tolist() == [5, 6, 7, 8, 9] and loaded.test_labels.tolist() == [5, 6, 7]


@pytest.mark.parametrize("name", idx.FILES)
@pytest.mark.parametrize("damage", ["empty", "short", "long", "of floats"])
def test_a_damaged_idx_file_is_named(small_mnist, tmp_path, name, damage):
    file = small_mnist / name
    content = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "short": content[:-1],
            "long": content + b"\0",
            "of floats": content[:2] + b"\x0d" + content[3:],
        }[damage]
    )
    with pytest.raises(ValueError, match=rf"^mnist: .*{name} is damaged: [^\n]+$"):
        data.load("mnist", tmp_path)


def test_what_else_may_be_wrong_with_idx_files(small_mnist, tmp_path):
    write_idx(small_mnist / idx.FILES[3], np.array([1, 2, 11]))
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte is damaged: expected labels from 0 to 9, got 11"):
        data.load("mnist", tmp_path)
    write_idx(small_mnist / idx.FILES[3], np.array([1, 2]))
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte is damaged: expected 3 entries, got 2"):
        data.load("mnist", tmp_path)
    (small_mnist / idx.FILES[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist: expected the four files.*; missing: t10k-labels-idx1-ubyte$"):
        data.load("mnist", tmp_path)


@pytest.fixture
def batches(tmp_path, monkeypatch) -> Path:
    """Files in the format of CIFAR-10 with three images each; torchvision is told of their hashes."""
    cifar = pytest.importorskip("torchvision.datasets").CIFAR10
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name: str, start: int) -> tuple[str, str]:
        pixels = np.full((3, 3072), start, dtype=np.uint8)
        pixels[:, :1024] += np.arange(3, dtype=np.uint8)[:, None]  # red
        return name, write(name, {"data": pixels, "labels": [start, 1, 2]})

    monkeypatch.setattr(cifar, "train_list", [batch("data_batch_1", 7), batch("data_batch_2", 9)])
    monkeypatch.setattr(cifar, "test_list", [batch("test_batch", 3)])
    md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": md5})
    return folder


def test_cifar10_batches_by_hand(batches, tmp_path):
    loaded = data.load("cifar10", tmp_path)
    assert loaded.in_shape == (3, 32, 32) and loaded.name == "cifar10" and loaded.n_classes == 10
    assert loaded.train_images[:, :, 5, 6].tolist() == [
        [7, 7, 7],
        [8, 7, 7],
        [9, 7, 7],
        [9, 9, 9],
        [10, 9, 9],
        [11, 9, 9],
    ]
    assert loaded.train_labels.tolist() == [7, 1, 2, 9, 1, 2] and loaded.test_labels.tolist() == [3, 1, 2]


def test_damaged_cifar10_batches_are_named(batches, tmp_path):
    for name in ("data_batch_2", "test_batch"):
        (batches / name).write_bytes((batches / name).read_bytes()[:-10])
    said = rf"^cifar10: damaged or missing in {re.escape(str(batches))}: data_batch_2, test_batch; expected [^\n]+$"
    with pytest.raises(ValueError, match=said):
        data.load("cifar10", tmp_path)


def test_cifar10_as_class_folders(class_folders):
    class_folders.rename(class_folders.with_name("cifar10"))
    loaded = data.load("cifar10", class_folders.parent)
    assert loaded.name == "cifar10" and loaded.train_labels.tolist() == [0, 1, 1]


def test_nmnist(real_data):
    root = real_data("NMNIST")
    loaded = data.load("nmnist", root, time_steps=30)
    assert loaded.train_images.shape[1:] == (30, 2, 34, 34)
    # The same events into fewer bins: a pixel of a coarse frame is the union of its fine frames.
    coarse = data.load("nmnist", root, time_steps=5)
    fine = loaded.test_images.unflatten(1, (5, 6)).amax(2)
    assert torch.equal(coarse.test_images, fine)
    assert np.unique(loaded.train_labels.numpy()).tolist() == list(range(10))


# --- the registry -----------------------------------------------------------------------------------------------------


def test_the_registry_has_the_order_of_the_tables():
    from tsbp.study.comparison import titles

    static, temporal = ["nmnist", "mnist", "cifar10", "digits", "fashion-mnist"], ["randman", "spoken-digits", "recall"]
    assert list(data.DATA_SETS)[:8] == [*static, *temporal]
    assert [name for name, source in data.DATA_SETS.items() if source.temporal][:3] == temporal
    known = ["N-MNIST", "MNIST", "CIFAR-10", "digits, 8×8 pixels", "Fashion-MNIST"]
    assert list(titles().values())[:8] == [*known, "Randman", "spoken digits", "store and recall"]
    sizes = [source.n_train for source in data.DATA_SETS.values()][:8]
    assert sizes == [60_000, 60_000, 50_000, 1_437, 60_000, 2_000, 2_500, 2_000]


def test_the_size_of_the_digits(digits):
    assert len(digits.train_images) == data.DATA_SETS["digits"].n_train


@pytest.mark.parametrize("name", list(data.DATA_SETS))
def test_defaults_become_the_settings_of_a_training(name):
    config = TrainingConfig.for_dataset(name)
    assert config == TrainingConfig(dataset=name, **data.DATA_SETS[name].defaults)


def test_a_folder_has_the_defaults_of_class_folders():
    config = TrainingConfig.for_dataset("some/folder")
    assert config == TrainingConfig(dataset="some/folder", **data.CLASS_FOLDERS.defaults)
    deep = TrainingConfig.for_dataset("mnist", network=TABLE_3["cifar10"])
    assert deep.weight_gain == folders.DEEP["weight_gain"] and deep.lr == folders.DEEP["lr"]


def test_a_data_set_is_one_entry(monkeypatch, tmp_path):
    def load(root: Path, time_steps: int) -> data.DataSet:
        assert (root, time_steps) == (tmp_path, 7)
        return made_up()

    source = data.Source("shapes", load, n_train=3, defaults={"network": "4C3-P2", "time_steps": 7})
    monkeypatch.setitem(data.DATA_SETS, "shapes", source)
    config = TrainingConfig.for_dataset("shapes")
    assert (config.dataset, config.network, config.time_steps) == ("shapes", "4C3-P2", 7)
    assert data.load(config.dataset, tmp_path, config.time_steps).name == "made up"
    with pytest.raises(ValueError, match=r"unknown data set 'shape'.*shapes"):
        data.check_name("shape")


def test_defaults_need_a_network():
    with pytest.raises(ValueError, match="defaults of shapes must name a network"):
        data.Source("shapes", lambda root, time_steps: made_up(), n_train=None, defaults={"lr": 0.1})


SHAPES = """
import torch
from tsbp.runs.data import DATA_SETS, DataSet, Source


def load(root, time_steps):
    labels = torch.arange(20) % 2
    images = (200 * labels[:, None, None, None]).expand(20, 1, 4, 4).to(torch.uint8)
    return DataSet("shapes", images, labels, images[:6], labels[:6], n_classes=2)


DATA_SETS["shapes"] = Source("shapes", load, n_train=20, defaults={"network": "8", "epochs": 2, "batch_size": 5})
"""


def test_a_data_set_of_a_plugin_trains_by_name_with_its_own_defaults(tmp_path):
    (tmp_path / "mine.py").write_text(SHAPES)
    done = tsbp("train", "shapes", "--plugin", "mine", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "runs").glob("*.json")
    record = records.read(file)
    assert (record["dataset"], record["network"], record["epochs"], record["n_train"]) == ("shapes", "8", 2, 20)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('DATA_SETS["mnist"] = DATA_SETS["digits"]', "changes mnist"),
        ('DATA_SETS["shapes"] = print', "shapes must be a tsbp.runs.data.Source, got <built-in function print>"),
    ],
)
def test_a_plugin_adds_data_sets_and_does_not_change_them(tmp_path, monkeypatch, content, words):
    (tmp_path / "odd_data.py").write_text(f"from tsbp.runs.data import DATA_SETS\n{content}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_data", raising=False)
    kept = dict(data.DATA_SETS)
    try:
        with pytest.raises(ValueError, match=rf"^plugin odd_data[^\n]*{words}"):
            load_plugin("odd_data")
    finally:
        data.DATA_SETS.clear()
        data.DATA_SETS.update(kept)
        sys.modules.pop("odd_data", None)
