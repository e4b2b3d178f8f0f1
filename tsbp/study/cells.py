"""The study of time: cells of a factorial design, from the records of ``experiments/time``.

In each cell, held-out examples choose the learning rates; fresh seeds are tested at each gradient's own rate and at the
common one. What the plan of the study, ``book/plan.md``, asks of a cell is a method here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsbp.gradients import ordered
from tsbp.runs import experiments, records, tuning
from tsbp.runs.data import recall
from tsbp.runs.experiments import Experiment
from tsbp.runs.settings import CellConfig
from tsbp.study.robustness import RateStudy, Widths, widths
from tsbp.study.statistics import Crossed, crossed

STUDY = "time"
"""Folder in ``experiments/``."""
USABLE = 5.0
"""Percentage points below the best mean accuracy of the tuning runs, down to which a learning rate is usable."""
PROTOCOLS = ("own", "common")
KEPT, DETACHED = "full", "leak"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One setting of everything but gradient, learning rate and seed."""

    config: CellConfig
    """Its test runs, whatever their gradients and rates."""
    learning_rates: tuple[float, ...]
    """Of the tuning runs, increasing."""
    held_out: Mapping[str, np.ndarray]
    """Gradient → accuracy in per cent on held-out examples, ``[rates, seeds]``, or seeds and folds; 0 where training
    broke down."""
    rates: tuple[tuning.Rates, ...]
    """What they choose, in each fold, or at all."""
    right: Mapping[str, Mapping[str, np.ndarray]]
    """Protocol → gradient → which test examples were right, ``[seeds, examples]`` of bool; none where training broke
    down."""
    names: tuple[str, ...]
    """Of the test records."""

    @property
    def hidden(self) -> int:
        """Number of hidden layers."""
        return self.config.network.count("-") + 1

    @property
    def recurrent(self) -> bool:
        return "R" in self.config.network

    @property
    def network(self) -> str:
        """As the tables call it: ``128``, ``4 x 128``, ``128 recurrent``, ``128 recurrent, no recurrent error``;
        and a delay."""
        width = self.config.network.partition("-")[0].removesuffix("R")
        name = width if self.hidden == 1 else f"{self.hidden} x {width}"
        name += " recurrent" if self.recurrent else ""
        name += ", no recurrent error" if self.recurrent and self.config.detach_recurrence else ""
        delay = self.config.time_steps - recall.CUE - recall.GO
        return name + (f", delay {delay}" if self.config.dataset == "recall" else "")

    @property
    def title(self) -> str:
        """Network and temperature."""
        return f"{self.network}, Θ = {self.config.temperature:g}"

    def accuracy(self, gradient: str, protocol: str = "own") -> Crossed:
        """On test examples, in per cent."""
        return crossed(100.0 * self.right[protocol][gradient])

    def difference(self, other: str = DETACHED, one: str = KEPT, protocol: str = "own") -> Crossed:
        """Accuracy of a gradient minus another's in percentage points, paired by seed and example."""
        right = self.right[protocol]
        return crossed(100.0 * (right[one].astype(float) - right[other]))

    def usable(self, distance: float = USABLE) -> Widths:
        """Ranges of learning rates that work with each gradient, from the tuning runs."""
        errors = {name: 100.0 - accuracy for name, accuracy in self.held_out.items()}
        return widths(RateStudy("", np.array(self.learning_rates), errors, distance, tuple(errors)))


def cells(folder: str = STUDY) -> list[Cell]:
    """All that are recorded whole, tuning and test at both protocols: experiment by experiment, then by network and
    temperature.

    Args:
        folder: in ``experiments/``, or one experiment in it.
    """
    recorded: dict[str, Record] = {}
    for _, record in records.every(kinds=(CellConfig.kind,)):
        recorded[CellConfig.restored(record).identity()] = record
    found: list[Cell] = []
    for experiment in experiments.named(folder):
        found += sorted(_of(experiment, recorded), key=_place)
    return found


def _place(cell: Cell) -> tuple[Any, ...]:
    """In tables and figures: feed-forward before recurrent, shallow before deep, steep before wide."""
    config = cell.config
    return cell.recurrent, config.detach_recurrence, cell.hidden, config.time_steps, config.temperature


def _preferred(cells: Sequence[Cell], gradient: str) -> Cell:
    """The cell with the highest accuracy on held-out examples, with that gradient at its best rate."""
    return max(cells, key=lambda cell: cell.held_out[gradient].mean(1).max())


def better(cell: Cell) -> str:
    """Of ``full`` and ``leak`` the one with the higher accuracy on held-out examples, each at its best rate."""
    return max((KEPT, DETACHED), key=lambda name: cell.held_out[name].mean(1).max())


def each_at_its_best(cells: Sequence[Cell]) -> tuple[Cell, Cell, Crossed]:
    """``full`` and ``leak``, each in the cell that held-out examples prefer for it.

    Args:
        cells: they differ in their temperature, and share seeds and test examples.

    Returns:
        Both cells, and the accuracy of ``full`` minus that of ``leak`` in percentage points, each at its own rate.
    """
    kept, detached = (_preferred(cells, name) for name in (KEPT, DETACHED))
    difference = kept.right["own"][KEPT].astype(float) - detached.right["own"][DETACHED]
    return kept, detached, crossed(100.0 * difference)


def _of(experiment: Experiment, recorded: Mapping[str, Record]) -> Iterator[Cell]:
    """The cells of an experiment, from records by the identity of their settings."""
    tests = _by_choice(experiment, recorded)
    tunings = _by_choice(experiments.load(experiment.chosen_by), recorded)
    folds: dict[str, list[Cell]] = {}
    for choice, (config, tested) in tests.items():
        one = _cell(config, tunings[choice][1], experiment.rates[choice], tested)
        folds.setdefault(config.but(fold=0, learning_rates=(1.0,)).identity(), []).append(one)
    for parts in folds.values():
        if len(parts) == max(parts[0].config.folds, 1) and all(set(PROTOCOLS) == one.right.keys() for one in parts):
            yield _together(parts)


def _by_choice(experiment: Experiment, recorded: Mapping[str, Record]) -> dict[str, tuple[CellConfig, list[Record]]]:
    """Choice → the first of its runs, and the records of all."""
    found: dict[str, tuple[CellConfig, list[Record]]] = {}
    for config in experiment.configs:
        if isinstance(config, CellConfig):
            _, those = found.setdefault(tuning.choice(config), (config, []))
            if config.identity() in recorded:
                those.append(recorded[config.identity()])
    return found


def _cell(config: CellConfig, tuned: Iterable[Record], rates: tuning.Rates, tested: Iterable[Record]) -> Cell:
    """Of one fold, if there are several."""
    held_out: dict[str, np.ndarray] = {}
    learning_rates: tuple[float, ...] = ()
    for record in tuned:
        order = np.argsort(record["learning_rates"])
        learning_rates = tuple(np.array(record["learning_rates"])[order].tolist())
        accuracy = np.array(record["validation_accuracies"], dtype=float)[:, order]
        held_out |= dict(zip(record["gradients"], np.nan_to_num(accuracy), strict=True))
    at: dict[tuple[str, float], np.ndarray] = {}
    names = []
    for record in tested:
        names.append(records.name_of_record(record))
        for gradient, of_rates in zip(record["gradients"], record["right_answers"], strict=True):
            for rate, of_seeds in zip(record["learning_rates"], of_rates, strict=True):
                n = record["n_test"]
                rows = [np.zeros(n, dtype=bool) if one is None else records.unpacked(one, n) for one in of_seeds]
                at[gradient, rate] = np.stack(rows)
    right = {}
    for protocol in PROTOCOLS:
        chosen = {name: rates[name if protocol == "own" else tuning.COMMON] for name in ordered(held_out)}
        if all(pair in at for pair in chosen.items()):
            right[protocol] = {name: at[name, rate] for name, rate in chosen.items()}
    return Cell(config, learning_rates, held_out, (rates,), right, tuple(names))


def _together(folds: Sequence[Cell]) -> Cell:
    """One cell of all folds, whose test examples stand side by side.

    Intervals then cover other examples of the same groups: of the same speakers, not other speakers.
    """
    first = folds[0]
    held_out = {name: np.concatenate([fold.held_out[name] for fold in folds], axis=1) for name in first.held_out}
    right = {
        protocol: {
            name: np.concatenate([fold.right[protocol][name] for fold in folds], axis=1)
            for name in first.right[protocol]
        }
        for protocol in PROTOCOLS
    }
    rates = tuple(rates for fold in folds for rates in fold.rates)
    names = tuple(name for fold in folds for name in fold.names)
    return replace(first, held_out=held_out, rates=rates, right=right, names=names)
