"""Fashion-MNIST (Xiao et al. 2017): photographs of clothes in the format of MNIST (``FashionMNIST/raw/``).

The files come from Debian's package ``dataset-fashion-mnist`` where it is installed, else from torchvision's download.
"""

import gzip
from pathlib import Path

from tsbp.runs.data import idx, mnist
from tsbp.runs.data.dataset import DataSet, Source

N_TRAIN, N_TEST = 60_000, 10_000
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where the package has its files, compressed."""
_PUBLISHED = (
    "f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9",
    "8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965",
)  # fmt: skip
"""MD5 of each file."""
_FOLDER = Path("FashionMNIST", "raw")


def load(root: Path, time_steps: int) -> DataSet:
    """Load Fashion-MNIST, ``[N, 1, 28, 28]``, with the errors of :func:`tsbp.runs.data.idx.load`.

    Args:
        root: folder that holds ``FashionMNIST/raw``.
        time_steps: unused.
    """
    return idx.load("fashion-mnist", root, _FOLDER, (N_TRAIN, N_TEST), _PUBLISHED, _fetch)


def _fetch(folder: Path) -> None:
    if not DEBIAN.is_dir():
        from torchvision.datasets import FashionMNIST

        FashionMNIST(folder, train=True, download=True)
        return
    (folder / _FOLDER).mkdir(parents=True)
    for file in idx.FILES:
        content = gzip.decompress((DEBIAN / f"{file}.gz").read_bytes())
        (folder / _FOLDER / file).write_bytes(content)


SOURCE = Source(
    title="Fashion-MNIST",
    load=load,
    n_train=N_TRAIN,
    defaults=mnist.SOURCE.defaults,  # the same network; learning rates of its own are chosen on held-out examples
)
