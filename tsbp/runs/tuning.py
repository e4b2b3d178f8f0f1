"""The learning rates that held-out examples prefer: an experiment on fresh seeds may leave its rates to them.

Runs that differ in gradient, learning rate and seed alone are one choice: each gradient gets the rate with the best
mean over the seeds, from the same rates for all, and *common* is the rate with the best mean over the gradients.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tsbp.runs.config import KINDS, Config
from tsbp.runs.settings import CellConfig, NetworkConfig, TrainingConfig

COMMON = "common"
CHOSEN = "chosen"
"""In an experiment's file, what stands for the learning rates that another experiment chooses."""

Rates = Mapping[str, float]
"""Gradient, or ``COMMON`` → learning rate."""
Network = tuple[str, float, int]
"""Gradient, learning rate and seed."""


def choice(config: NetworkConfig) -> str:
    """What all runs of one choice have in common, held out or not."""
    same = {"validation": 0, "plugin": ""}
    if isinstance(config, CellConfig):
        same |= {"gradients": (), "learning_rates": (), "seeds": ()}
    else:
        same |= {"gradient": "", "lr": 0.0, "seed": 0, "device": "", "precision": ""}
    return config.model_copy(update=same).identity()


def chosen(held_out: Sequence[Config], recorded: Iterable[Mapping[str, Any]]) -> dict[str, Rates]:
    """What held-out examples prefer, for every choice whose runs are all recorded.

    Args:
        held_out: runs with ``validation``.
        recorded: records, those of other runs too.

    Returns:
        :func:`choice` → rates. Of rates that are equally good the smallest is taken; a network that broke down counts
        as one that gets nothing right.
    """
    wanted: dict[str, set[Network]] = {}
    for config in held_out:
        if isinstance(config, NetworkConfig):
            wanted.setdefault(choice(config), set()).update(_networks(config))
    found: dict[str, dict[Network, float]] = {}
    for record in recorded:
        config = KINDS[record["kind"]].restored(record)
        if isinstance(config, NetworkConfig) and config.validation and (key := choice(config)) in wanted:
            found.setdefault(key, {}).update(zip(_networks(config), _accuracies(record), strict=True))
    complete = {key: found[key] for key, networks in wanted.items() if networks <= found.get(key, {}).keys()}
    return {key: _best({network: scores[network] for network in wanted[key]}) for key, scores in complete.items()}


def at_rates(config: NetworkConfig, rates: Rates) -> list[NetworkConfig]:
    """The runs of a configuration at the rate of its gradient, or of each of them, and at the common one."""
    if isinstance(config, TrainingConfig):
        return [config.but(lr=rate) for rate in dict.fromkeys((rates[COMMON], rates[config.gradient]))]
    if not isinstance(config, CellConfig):
        raise TypeError(f"there are no rates for tsbp {config.kind}")
    by_rate = {rates[COMMON]: config.gradients}
    for gradient in config.gradients:
        if rates[gradient] != rates[COMMON]:
            by_rate[rates[gradient]] = (*by_rate.get(rates[gradient], ()), gradient)
    return [config.but(gradients=those, learning_rates=(rate,)) for rate, those in by_rate.items()]


def _networks(config: NetworkConfig) -> Iterator[Network]:
    """Each of them, in the order of a cell's arrays."""
    if isinstance(config, CellConfig):
        yield from itertools.product(config.gradients, config.learning_rates, config.seeds)
    elif isinstance(config, TrainingConfig):
        yield config.gradient, config.lr, config.seed


def _accuracies(record: Mapping[str, Any]) -> list[float]:
    found = record.get("validation_accuracies", record.get("validation_accuracy"))
    return [accuracy or 0.0 for accuracy in np.array(found, dtype=object).ravel()]


def _best(scores: Mapping[Network, float]) -> dict[str, float]:
    of: dict[str, dict[float, list[float]]] = {}
    for (gradient, rate, _), score in scores.items():
        of.setdefault(gradient, {}).setdefault(rate, []).append(score)
    means = {gradient: {rate: float(np.mean(found)) for rate, found in by.items()} for gradient, by in of.items()}
    rates = sorted({rate for _, rate, _ in scores})
    means[COMMON] = {rate: float(np.mean([mean[rate] for mean in means.values()])) for rate in rates}
    return {name: max(rates, key=mean.__getitem__) for name, mean in means.items()}  # the first of equal ones
