"""The figures of the study of time: its tasks, its cells, and how errors travel in its networks."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from tsbp.runs.data import DataSet
from tsbp.study.cells import DETACHED, KEPT, PROTOCOLS, Cell
from tsbp.study.figures import COLOURS, GREY, legend_above, shades
from tsbp.study.mechanism import Travel

WEIGHTS = {"leak": 0.0, "0.5": 0.5, "full": 1.0, "2": 2.0}
"""Gradient → weight c of the reset term."""


def rasters(dataset: DataSet, labels: Sequence[int] = (0, 1), each: int = 3) -> Figure:
    """Spikes of some examples of some classes: a row of panels for each class.

    Args:
        dataset: frames.
        labels: the classes.
        each: examples of a class.
    """
    figure, axes = plt.subplots(len(labels), each, figsize=(8, 1.2 + 1.3 * len(labels)), sharex=True, sharey=True)
    for row, label in zip(np.atleast_2d(axes), labels, strict=True):
        numbers = np.flatnonzero(dataset.train_labels == label)[:each]
        for axis, number in zip(row, numbers, strict=True):
            step, neuron = np.nonzero(dataset.train_images[number].flatten(1).numpy())
            axis.scatter(step, neuron, s=5, color="black", linewidths=0)
        row[0].set_ylabel(f"class {label}\ninput")
    for axis in np.atleast_2d(axes)[-1]:
        axis.set_xlabel("time step")
    return figure


def differences(cells: Sequence[Cell]) -> Figure:
    """Accuracy of ``full`` minus that of the other two, a row for each cell, with intervals over seeds and examples.

    Filled dots: each gradient at its own learning rate; hollow: all at the common one.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 1.1 + 0.28 * len(cells)), sharey=True)
    for axis, other in zip(axes, (DETACHED, "spatial"), strict=True):
        axis.axvline(0, color=GREY, linewidth=0.8)
        for place, cell in enumerate(cells):
            for protocol, shift in zip(PROTOCOLS, (-0.15, 0.15), strict=True):
                if other not in cell.right[protocol]:
                    continue
                found = cell.difference(other, protocol=protocol)
                inside = COLOURS[other] if protocol == "own" else "white"
                axis.errorbar(
                    found.mean, place + shift, xerr=found.half_width, color=COLOURS[other], marker="o", markersize=4,
                    markerfacecolor=inside, linewidth=1,
                )  # fmt: skip
        axis.set(title=f"full − {other}", xlabel="percentage points")
    axes[0].set_yticks(range(len(cells)), [cell.title for cell in cells])
    axes[0].invert_yaxis()
    return figure


def over_weights(cells: Sequence[Cell], protocol: str = "own") -> Figure:
    """Test accuracy over the weight c of the reset term, a line for each cell, with intervals.

    Args:
        cells: they differ in their temperature.
        protocol: ``own`` or ``common``.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    ordered = sorted(cells, key=lambda cell: cell.config.temperature)
    for number, (cell, shade) in enumerate(zip(ordered, shades(len(cells)), strict=True)):
        there = {c: cell.accuracy(name, protocol) for name, c in WEIGHTS.items() if name in cell.right[protocol]}
        shift = 0.02 * (number - (len(cells) - 1) / 2)
        means, widths = zip(*((one.mean, one.half_width) for one in there.values()), strict=True)
        axis.errorbar(
            np.array(list(there)) + shift, means, yerr=widths, color=shade, marker="o", markersize=4, linewidth=1.2,
            label=f"Θ = {cell.config.temperature:g}",
        )  # fmt: skip
    axis.set(xlabel="weight c of the reset term", ylabel="test accuracy in %")
    axis.set_xticks(list(WEIGHTS.values()), ["0\nleak", "½", "1\nfull", "2"])
    axis.legend(ncols=2)
    return figure


def over_rates(cells: Sequence[Cell]) -> Figure:
    """Accuracy of the tuning runs over the learning rate, a panel for each cell: a row a network, a column a width."""
    networks = list(dict.fromkeys(cell.network for cell in cells))
    temperatures = sorted({cell.config.temperature for cell in cells})
    size = (8, 0.9 + 1.35 * len(networks))
    figure, axes = plt.subplots(
        len(networks), len(temperatures), figsize=size, sharex="row", sharey=True, squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for cell in cells:
        axis = axes[networks.index(cell.network), temperatures.index(cell.config.temperature)]
        axis.set_axis_on()
        for name, colour in COLOURS.items():
            if name in cell.held_out:
                accuracy = cell.held_out[name]
                axis.plot(cell.learning_rates, accuracy.mean(1), color=colour, label=name)
                axis.plot(cell.learning_rates, accuracy, ".", color=colour, markersize=3, alpha=0.5)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
    for axis, temperature in zip(axes[0], temperatures, strict=True):
        axis.set_title(f"Θ = {temperature:g}")
    for row, network in zip(axes, networks, strict=True):
        row[0].set_ylabel(network.replace(" recurrent", "\nrecurrent").replace(", ", ",\n"), fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("learning rate")
    legend_above(figure, axes)
    return figure


def errors_back_in_time(travels: Mapping[tuple[str, float], Mapping[str, Travel]]) -> Figure:
    """Size of the error that arrives at each time step: a row a network, a column a temperature, a line a gradient.

    Args:
        travels: network and temperature → gradient → what becomes of the error in the first hidden layer.
    """
    networks = list(dict.fromkeys(network for network, _ in travels))
    temperatures = sorted({temperature for _, temperature in travels})
    size = (8, 0.9 + 1.5 * len(networks))
    figure, axes = plt.subplots(
        len(networks), len(temperatures), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    for (network, temperature), by_gradient in travels.items():
        axis = axes[networks.index(network), temperatures.index(temperature)]
        for name, one in by_gradient.items():
            axis.plot(np.where(one.error > 0, one.error, np.nan), color=COLOURS[name], label=name)
        axis.set_yscale("log")
    for axis, temperature in zip(axes[0], temperatures, strict=True):
        axis.set_title(f"Θ = {temperature:g}")
    for row, network in zip(axes, networks, strict=True):
        row[0].set_ylabel(f"{network}\nerror")
    for axis in axes[-1]:
        axis.set_xlabel("time step")
    legend_above(figure, axes)
    return figure


def predicted(cells: Sequence[Cell], ratios: Sequence[float], protocol: str = "own") -> Figure:
    """Accuracy of ``full`` minus that of ``leak`` against how much larger the errors of ``full`` are, a dot a cell.

    Args:
        cells: what was measured.
        ratios: of each, largest error of ``full`` over that of ``leak`` before training.
        protocol: ``own`` or ``common``.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.axvline(1, color=GREY, linewidth=0.8)
    temperatures = sorted({cell.config.temperature for cell in cells})
    colours = dict(zip(temperatures, shades(len(temperatures)), strict=True))
    labelled = set()
    for cell, ratio in zip(cells, ratios, strict=True):
        found = cell.difference(DETACHED, KEPT, protocol)
        temperature = cell.config.temperature
        label = None if temperature in labelled else f"Θ = {temperature:g}"
        labelled.add(temperature)
        axis.errorbar(
            ratio, found.mean, yerr=found.half_width, color=colours[temperature], label=label,
            marker="s" if cell.recurrent else "o", markersize=5, linewidth=1, linestyle="none",
        )  # fmt: skip
    axis.set(
        xscale="log", xlabel="largest error before training, full / leak", ylabel="full − leak\nin percentage points"
    )
    if max(ratios) < 100 * min(ratios):  # powers of ten alone would be too few to read it
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.legend(ncols=2)
    return figure
