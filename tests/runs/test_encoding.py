"""From pixels to currents: augmentation, the encodings, and the target trains."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsbp.runs.data import DataSet
from tsbp.runs.encoding import augment, encode, input_shape, target_spikes


def events(n: int = 4, time_steps: int = 6) -> DataSet:
    frames = (torch.rand(n, time_steps, 2, 5, 5) < 0.2).to(torch.uint8)
    labels = torch.arange(n) % 2
    return DataSet("events", frames, labels, frames, labels, n_classes=2)


def test_augmentation_moves_and_mirrors():
    images = torch.zeros(300, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 1] = 9
    random = torch.Generator().manual_seed(0)
    moved = augment(images, 1, False, 0.0, random)
    assert (moved.sum((1, 2, 3)) == 9).all()
    rows, columns = moved.sum((0, 1)).bool().nonzero(as_tuple=True)
    assert rows.unique().tolist() == [1, 2, 3] and columns.unique().tolist() == [0, 1, 2]
    mirrored = augment(images, 0, True, 0.0, random)[:, 0, 2]
    assert set(mirrored.argmax(1).tolist()) == {1, 3}
    frames = torch.arange(25, dtype=torch.uint8).view(1, 1, 1, 5, 5).expand(4, 3, 1, 5, 5)
    together = augment(frames, 2, False, 0.0, random)
    assert torch.equal(together[:, 0], together[:, 1]) and together.shape == frames.shape


def test_augmentation_turns_about_the_middle():
    images = torch.zeros(400, 2, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 0, 4, 1:8] = 200  # a bar
    generator = torch.Generator().manual_seed(0)
    turned = augment(images, 0, False, 90.0, generator)
    assert turned.shape == images.shape and turned.dtype == torch.uint8
    assert torch.equal(turned[:, 0], turned[:, 1]), "frames of one example turn together"
    assert (turned[:, 0, 0, 4, 4] >= 195).all()
    y, x = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
    weights = turned[:, 0, 0].float()
    angle = 0.5 * torch.atan2((2 * x * y * weights).sum((1, 2)), ((x**2 - y**2) * weights).sum((1, 2)))
    drawn = 2 * torch.rand(400, generator=torch.Generator().manual_seed(0)) - 1
    folded = torch.atan(torch.tan(angle.abs() - (drawn * torch.pi / 2).abs())).abs()  # a bar has no direction
    assert folded.max() < 0.06
    wide = torch.zeros(50, 1, 5, 21, dtype=torch.uint8)
    wide[:, 0, 2, 8:13] = 200  # as long as the image is high: nothing of it leaves, however it turns
    mass = augment(wide, 0, False, 180.0, generator).float().sum((1, 2, 3))
    assert (mass / 1000 - 1).abs().max() < 0.25


def test_direct_is_the_normalised_image_or_the_events(digits):
    x = encode(digits.train_images, digits, "direct", 5, 3.0)
    assert x.shape == digits.train_images.shape
    assert x.mean().item() == pytest.approx(0, abs=1e-5) and x.std().item() == pytest.approx(1, abs=1e-3)
    recordings = events()
    x = encode(recordings.train_images, recordings, "direct", 6, 3.0)
    assert x.shape == (6, 4, 2, 5, 5) and torch.equal(x.movedim(0, 1).byte(), recordings.train_images)


def test_a_filtered_image_charges_the_synapse(digits):
    """A constant x through eq. 2 is x · (1 - (1 - 1/tau_s)^(t + 1)) at step t."""
    images = digits.train_images[:3]
    constant = encode(images, digits, "direct", 4, 2.0)
    x = encode(images, digits, "filtered", 4, 2.0)
    for t, charge in enumerate((0.5, 0.75, 0.875, 0.9375)):
        torch.testing.assert_close(x[t], charge * constant)


def test_filtered_events_decay():
    recordings = events()
    frames = torch.zeros_like(recordings.train_images[:1])
    frames[0, 1, 0, 2, 3] = 1
    x = encode(frames, recordings, "filtered", 6, 4.0)[:, 0, 0, 2, 3]
    torch.testing.assert_close(x, torch.tensor([0, 0.25, 0.25 * 0.75, 0.25 * 0.75**2, 0.25 * 0.75**3, 0.25 * 0.75**4]))


def test_poisson_spikes_come_as_often_as_the_pixel_is_bright(digits):
    """With tau_s = 1 the synapse passes spikes on as they are."""
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    x = encode(images, digits, "poisson", 20_000, 1.0)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert x.mean((0, 1, 2, 3)).tolist() == pytest.approx([0, 0.2, 1], abs=0.01)
    torch.manual_seed(3)
    first = encode(images, digits, "poisson", 50, 2.0)
    second = encode(images, digits, "poisson", 50, 2.0)
    torch.manual_seed(3)
    assert torch.equal(first, encode(images, digits, "poisson", 50, 2.0)) and not torch.equal(first, second)


def test_events_are_no_brightness():
    recordings = events()
    with pytest.raises(ValueError, match="poisson"):
        encode(recordings.train_images, recordings, "poisson", 6, 2.0)


def test_rows_come_one_a_step_from_the_top_then_nothing(digits):
    images = digits.train_images[:3]
    pixels = encode(images, digits, "direct", 10, 2.0)
    x = encode(images, digits, "rows", 10, 2.0)
    assert x.shape == (10, 3, 1, 1, 8) and input_shape(digits, "rows", 10) == (1, 1, 8)
    for t in range(8):
        assert torch.equal(x[t, :, :, 0], pixels[:, :, t])
    assert not x[8:].any()
    assert encode(images, digits, "rows", 8, 2.0).shape == (8, 3, 1, 1, 8)


def test_rows_of_colours():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    labels = torch.tensor([0, 1])
    colours = DataSet("colours", images, labels, images, labels, n_classes=2)
    x = encode(images, colours, "rows", 4, 2.0)
    assert x.shape == (4, 2, 3, 1, 5) and input_shape(colours, "rows", 4) == (3, 1, 5)
    mean, std = colours.normalisation
    torch.testing.assert_close(x[2, 1, 0, 0], (images[1, 0, 2] - mean[0, 0]) / std[0, 0])


def test_what_has_no_rows(digits):
    with pytest.raises(
        ValueError, match=r"^time_steps must be at least 8, the rows of an image, to encode rows, got 7$"
    ):
        encode(digits.train_images, digits, "rows", 7, 2.0)
    recordings = events()
    with pytest.raises(ValueError, match=r"^encoding rows is for images; the frames of events are a sequence already$"):
        input_shape(recordings, "rows", 6)


def test_an_image_of_one_colour_is_no_division_by_zero(digits):
    grey = replace(digits, train_images=torch.full_like(digits.train_images, 7))
    assert not encode(grey.train_images[:2], grey, "direct", 5, 3.0).any()


@given(st.text("01", min_size=1, max_size=9), st.integers(1, 20))
def test_the_target_repeats_its_pattern(pattern, time_steps):
    labels = torch.tensor([2, 0])
    spikes = target_spikes(labels, 3, pattern, time_steps)
    expected = [float(c) for c in (pattern * time_steps)[:time_steps]]
    assert spikes.shape == (time_steps, 2, 3)
    assert spikes[:, 0, 2].tolist() == spikes[:, 1, 0].tolist() == expected
    assert spikes.sum().item() == 2 * sum(expected)
