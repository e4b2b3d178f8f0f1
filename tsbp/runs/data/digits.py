"""The 1,797 real digits of 8x8 pixels inside scikit-learn, from the UCI repository. They need no download."""

from pathlib import Path

import numpy as np
import torch

from tsbp.networks import TABLE_3
from tsbp.runs.data.dataset import DataSet, Source

N_TEST = 360


def load(root: Path, time_steps: int) -> DataSet:
    """Load the digits, ``[N, 1, 8, 8]``; the test set is the same at every call and balanced over classes.

    Args:
        root: unused.
        time_steps: unused.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    parts = train_test_split(images, labels.astype(np.int64), test_size=N_TEST, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = map(torch.from_numpy, parts)
    return DataSet("digits", train_images, train_labels, test_images, test_labels, n_classes=10)


SOURCE = Source(
    title="digits, 8×8 pixels",
    load=load,
    n_train=1_437,
    # Chosen by the mean accuracy of all three gradients on held-out training examples.
    defaults={"network": TABLE_3["mnist"], "padding": "same", "epochs": 20, "batch_size": 20, "lr": 0.01, "shift": 1},
)
