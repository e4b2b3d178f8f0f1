"""From pixels to currents: augmentation, the encodings, and the target trains."""

import torch

from tsbp.encoding import augment


def test_augmentation_moves_and_mirrors():
    images = torch.zeros(300, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 1] = 9
    random = torch.Generator().manual_seed(0)
    moved = augment(images, 1, False, random)
    assert (moved.sum((1, 2, 3)) == 9).all()
    rows, columns = moved.sum((0, 1)).bool().nonzero(as_tuple=True)
    assert rows.unique().tolist() == [1, 2, 3] and columns.unique().tolist() == [0, 1, 2]
    mirrored = augment(images, 0, True, random)[:, 0, 2]
    assert set(mirrored.argmax(1).tolist()) == {1, 3}
    frames = torch.arange(25, dtype=torch.uint8).view(1, 1, 1, 5, 5).expand(4, 3, 1, 5, 5)
    together = augment(frames, 2, False, random)
    assert torch.equal(together[:, 0], together[:, 1]) and together.shape == frames.shape
