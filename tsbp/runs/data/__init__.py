"""Data sets as tensors: the 8x8 digits of scikit-learn, MNIST, Fashion-MNIST, N-MNIST, CIFAR-10, or a folder of class
folders; and tasks that need time: Randman, spoken digits, and store and recall.

A data set is held whole, as uint8, on the device where it is used. Its fingerprint, a hash of every pixel and label,
goes into the record of each run on it.

Each data set is one file of this package. The file defines a loader and a :class:`Source`: the title, the loader, the
size of the whole training set, and the training settings that suit the data. :data:`DATA_SETS` lists them by name. To
add a data set, write such a file and add its line to the dictionary; or add the entry from a module of your own, here
``mine.py``::

    from tsbp.runs.data import DATA_SETS, DataSet, Source

    def load(root: Path, time_steps: int) -> DataSet:
        ...
        return DataSet("shapes", train_images, train_labels, test_images, test_labels, n_classes=4)

    DATA_SETS["shapes"] = Source("shapes", load, n_train=5_000, defaults={"network": "12C5-P2-64", "lr": 0.01})

``tsbp train shapes --plugin mine`` trains on it.
"""

import os
from dataclasses import replace
from pathlib import Path

from tsbp.runs.data import cifar10, digits, fashion_mnist, mnist, nmnist, randman, recall, spoken_digits
from tsbp.runs.data.dataset import DataSet, Source
from tsbp.runs.data.folders import CLASS_FOLDERS, JPEG_NOTE

__all__ = [
    "BUILT_IN", "CLASS_FOLDERS", "DATA_SETS", "JPEG_NOTE", "DataSet", "Source", "check_name", "data_root", "load",
]  # fmt: skip

DATA_SETS: dict[str, Source] = {
    "nmnist": nmnist.SOURCE,
    "mnist": mnist.SOURCE,
    "cifar10": cifar10.SOURCE,
    "digits": digits.SOURCE,
    "fashion-mnist": fashion_mnist.SOURCE,
    "randman": randman.SOURCE,
    "spoken-digits": spoken_digits.SOURCE,
    "recall": recall.SOURCE,
}
"""The data sets by name, in the order of the tables: first those of the paper's Table 2.

:meta hide-value:
"""

BUILT_IN = dict(DATA_SETS)
"""Those that a plugin must not change.

:meta hide-value:
"""


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data: ``root``, else ``$TSBP_DATA``, else the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = str(root or os.environ.get("TSBP_DATA") or f"{cache}/tsbp")
    return Path(os.path.expanduser(folder))  # which leaves what it does not know, where Path.expanduser raises


def load(name: str, root: str | Path | None = None, time_steps: int = 5) -> DataSet:
    """Load a data set.

    Args:
        name: a name in :data:`DATA_SETS`, or the path of a folder with ``train/<class>/<image>`` and
            ``test/<class>/<image>``.
        root: see :func:`data_root`.
        time_steps: number of frames T of data that are events.

    Returns:
        The data; a note names the classes without training examples, as a subset may have.

    Raises:
        ValueError: the name is unknown, or a file is damaged; the message names it.
        FileNotFoundError: the data are not there and could not be downloaded; the message says what belongs where.
    """
    check_name(name)
    source, folder = (DATA_SETS[name], data_root(root)) if name in DATA_SETS else (CLASS_FOLDERS, Path(name))
    loaded = source.load(folder, time_steps)
    present = set(loaded.train_labels.unique().tolist())
    if missing := [str(label) for label in range(loaded.n_classes) if label not in present]:
        note = f"no training examples of class {', '.join(missing)}"
        loaded = replace(loaded, note=loaded.noted(note))
    return loaded


def check_name(name: str) -> None:
    """Find out before long work whether there is such a data set.

    Raises:
        ValueError: there is not; the message names those that there are.
    """
    if name not in DATA_SETS and not Path(name).is_dir():
        known = ", ".join(DATA_SETS)
        raise ValueError(f"unknown data set {name!r}: expected {known}, or the path of an existing folder")
