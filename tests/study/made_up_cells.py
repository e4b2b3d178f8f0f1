"""Cells whose outcome is known, for tests."""

import numpy as np

from tsbp.runs.settings import CellConfig
from tsbp.study.cells import Cell

RATES = (0.001, 0.01, 0.1, 1.0)


def made_up(
    accuracies: dict[str, float],
    usable: dict[str, int] | None = None,
    seeds: int = 10,
    examples: int = 400,
    noise: float = 0.0,
    **settings,
) -> Cell:
    """A cell in which each gradient is right on a share of the test examples, the same for every seed.

    Args:
        accuracies: gradient → test accuracy in per cent, under both protocols.
        usable: gradient → how many of the middle rates work in the tuning runs, of 4; without, 2.
        seeds: of the test runs.
        examples: in the test set.
        noise: probability that an answer is a coin's instead.
        **settings: of the cell, on Randman by default.
    """
    settings = {"network": "128", "temperature": 0.2, "clip_norm": np.inf} | settings
    config = CellConfig.for_dataset(settings.pop("dataset", "randman"), **settings)
    random = np.random.default_rng(1)
    right = {}
    for name, accuracy in accuracies.items():
        row = np.arange(examples) < accuracy / 100 * examples
        coin = random.random((seeds, examples)) < 0.5
        right[name] = np.where(random.random((seeds, examples)) < noise, coin, row)
    held_out = {}
    for name, accuracy in accuracies.items():
        n = (usable or {}).get(name, 2)
        works = np.isin(np.arange(4), {0: [], 1: [1], 2: [1, 2], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[n])
        held_out[name] = np.where(works, accuracy, 10.0)[:, None].repeat(2, 1)
    rates = dict.fromkeys([*accuracies, "common"], 0.01)
    return Cell(config, RATES, held_out, (rates,), {"own": right, "common": right}, ("made-up",))
