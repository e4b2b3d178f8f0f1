"""The figures of the book that show trainings of networks, from their records."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from tsbp.study.comparison import by_seed, groups, paired_difference, static, titles
from tsbp.study.figures import COLOURS, GREY, legend_above, shades
from tsbp.study.statistics import margin_for, mean_interval
from tsbp.study.studies import angles_to_full, by_value, differences

if TYPE_CHECKING:
    import pandas


def accuracy_curves(runs: "pandas.DataFrame", panel: str = "network", zoom: bool = False) -> Figure:
    """Test accuracy over epochs from the rows of records: a thin line per run, a thick one for each gradient's mean.

    Args:
        runs: records of trainings.
        panel: column whose values get a panel each.
        zoom: let each panel show the range of its accuracies after the first quarter of the epochs.
    """
    names = list(dict.fromkeys(runs[panel]))
    figure, axes = plt.subplots(1, len(names), sharey=not zoom, figsize=(8, 2.9), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        lows, highs = [], []
        for gradient, group in runs[runs[panel] == name].groupby("gradient"):
            metrics = list(group["epoch_metrics"])
            epochs = [number for number, epoch in enumerate(metrics[0], 1) if "test_accuracy" in epoch]
            curves = np.array([[run[number - 1]["test_accuracy"] for number in epochs] for run in metrics])
            axis.plot(epochs, curves.T, color=COLOURS[gradient], linewidth=0.6, alpha=0.5)
            axis.plot(epochs, curves.mean(0), color=COLOURS[gradient], label=gradient)
            lows.append(curves[:, curves.shape[1] // 4 :].min())
            highs.append(curves.max())
        axis.set_title(name if len(name) < 30 else name[:27] + "...", parse_math=False)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if zoom:
            room = 0.05 * (max(highs) - min(lows))
            axis.set_ylim(min(lows) - room, max(highs) + room)
    axes[0, 0].set_ylabel("test accuracy in %")
    axes[0, -1].legend(loc="lower right")
    return figure


def accuracy_differences(runs: "pandas.DataFrame") -> Figure:
    """Accuracy of ``full`` minus that of each other gradient, for the rows of Table 2 that have both.

    Dots are means with their 95 % intervals, paired by seed, hollow for a single seed; the bands are the margins within
    which they count as equal. An asterisk marks rows on a part of the data, or on another encoding of it.

    Args:
        runs: records of ``tsbp train``.
    """
    rows = {}
    for config, preset, group in (row for dataset in static() for row in groups(runs, dataset)):
        accuracy = by_seed(group)
        if "full" in accuracy and len(accuracy.columns) > 1:
            mark = "*" if group["data_note"].iloc[0] else ""
            name = f"{titles()[config.dataset].partition(',')[0]}{mark}, T = {config.time_steps}"
            rows[f"{name}, {preset or f'{config.epochs} epochs'}"] = accuracy, margin_for(int(group["n_test"].iloc[0]))
    figure, axes = plt.subplots(1, 2, figsize=(8, 1 + 0.3 * len(rows)), sharex=True, sharey=True)
    for axis, other in zip(axes, ("leak", "spatial"), strict=True):
        axis.axvline(0, color=GREY, linewidth=0.8)
        for place, (accuracy, margin) in enumerate(rows.values()):
            axis.fill_betweenx([place - 0.5, place + 0.5], -margin, margin, color=GREY, alpha=0.3, linewidth=0)
            difference = paired_difference(accuracy, other)
            if len(difference):
                mean, half_width = mean_interval(difference)
                inside = "white" if np.isnan(half_width) else COLOURS[other]
                axis.errorbar(
                    mean, place, xerr=half_width, color=COLOURS[other], marker="o", markersize=4, markerfacecolor=inside
                )
        axis.set(title=f"full − {other}", xlabel="percentage points")
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xticks([-1, -0.5, 0, 0.5, 1, 5], ["−1", "−0.5", "0", "0.5", "1", "5"])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_yticks(range(len(rows)), list(rows), parse_math=False)
    axes[0].invert_yaxis()
    return figure


def accuracy_against(studies: Mapping[str, "pandas.DataFrame"], labels: Mapping[str, str]) -> Figure:
    """Test error over one setting, and below it the accuracy of ``full`` minus that of the other two; a column a study.

    Above, dots are single trainings and lines their means. Below, dots are means paired by seed with their 95 %
    intervals, filled where :func:`tsbp.study.studies.differences` is sure, hollow where it is not.

    Args:
        studies: title → runs, as :func:`tsbp.study.studies.study` gives them.
        labels: title → name of the setting; one that begins with ``log`` is shown on a logarithmic scale without it.
    """
    figure, axes = plt.subplots(
        3, len(studies), figsize=(8, 6.2), sharex="col", sharey="row", squeeze=False, height_ratios=(5, 4, 4)
    )
    dots = {"marker": ".", "markersize": 3, "linestyle": "none", "alpha": 0.5}
    for column, (title, runs) in zip(axes.T, studies.items(), strict=True):
        above, below = column[0], column[-1]
        accuracy = by_value(runs)
        for name in COLOURS:
            error = 100 - accuracy[name]
            above.plot(np.repeat(error.index, error.shape[1]), error.to_numpy().ravel(), color=COLOURS[name], **dots)
            above.plot(error.index, error.mean(axis=1), color=COLOURS[name], label=name)
        above.set(title=title, yscale="log")
        for axis, other in zip(column[1:], ("leak", "spatial"), strict=True):
            axis.axhline(0, color=GREY, linewidth=0.8)
            found = differences(runs, other)
            for rows, inside in ((found[found["sure"] == 0], "white"), (found[found["sure"] != 0], COLOURS[other])):
                axis.errorbar(
                    rows.index, rows["mean"], yerr=rows["half_width"], color=COLOURS[other], marker="o", markersize=5,
                    markerfacecolor=inside, linestyle="none", elinewidth=1,
                )  # fmt: skip
            axis.set_yscale("symlog", linthresh=1)
        below.set_xlabel(labels[title].removeprefix("log "))
        if labels[title].startswith("log "):
            below.set_xscale("log")
        values = accuracy.index
        if values.max() < 50 * values.min():  # within one power of ten or two, the values themselves mark the axis
            below.set_xticks(values, [f"{value:g}" for value in values])
            below.xaxis.set_minor_locator(NullLocator())
    shown = ("test error in %", "full − leak\nin points", "full − spatial\nin points")
    for row, label in zip(axes, shown, strict=True):
        row[0].set_ylabel(label)
        row[0].yaxis.set_major_formatter("{x:g}")
    for axis in axes.flat:  # where nothing is labelled, small marks only make the page heavier
        axis.tick_params(which="minor", left=axis in axes[:, 0], bottom=axis in axes[-1])
    figure.align_ylabels(axes)
    legend_above(figure, axes)
    return figure


def angles(studies: Mapping[str, "pandas.DataFrame"]) -> Figure:
    """Angle of the other gradients to ``full`` at the same weights, layer by layer, over the epochs; means over runs.

    Args:
        studies: title → records of trainings with ``--compare-gradients``, of one network each.
    """
    figure, axes = plt.subplots(2, len(studies), figsize=(8, 4.4), sharex="col", sharey=True, squeeze=False)
    for row, other in zip(axes, ("leak", "spatial"), strict=True):
        for axis, runs in zip(row, studies.values(), strict=True):
            mean = np.ma.masked_invalid(angles_to_full(runs, other)).mean(axis=0).filled(np.nan)
            names = ["first layer", *[None] * (mean.shape[1] - 2), "output layer"]
            for name, angle, shade in zip(names, mean.T, shades(mean.shape[1]), strict=True):
                axis.plot(range(1, len(angle) + 1), angle, color=shade, label=name)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        row[0].set_ylabel(f"angle of {other} to full, °")
    for top, bottom, title in zip(*axes, studies, strict=True):
        top.set_title(title)
        bottom.set_xlabel("epoch")
    axes[0, 0].legend()
    axes[0, 0].set_ylim(0, None)
    return figure
