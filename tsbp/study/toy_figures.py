"""Figures of the single neuron's study: its gradient, loss and convergence. Each returns a matplotlib figure."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tsbp.study.figures import COLOURS, GREY, LABELS, RESET_COLOUR, label_edges, legend_above, shades
from tsbp.study.statistics import mean_interval

if TYPE_CHECKING:
    from tsbp.runs.toy import Draws


def phases(phases: Mapping[str, np.ndarray], spikes: np.ndarray, target: np.ndarray) -> Figure:
    """The paper's Fig. 2: four phases of the gradient, all iterations overlaid, beside the raster of output spikes.

    Args:
        phases: title → ``[iterations, T]``.
        spikes: output spikes, ``[iterations, T]``.
        target: target spikes, ``[T]``.
    """
    figure = plt.figure(figsize=(8, 5.6))
    grid = figure.add_gridspec(len(phases), 2)
    colours = shades(len(spikes))[::-1]
    axis = None
    for row, (title, values) in enumerate(phases.items()):
        axis = figure.add_subplot(grid[row, 0], sharex=axis)
        for value, shade in zip(values, colours, strict=True):
            axis.plot(value, color=shade, linewidth=0.5, rasterized=True)
        axis.set_title(title)
        axis.tick_params(labelbottom=row == len(phases) - 1)
        if row == len(phases) - 1:
            axis.set_xlabel("time step")
    raster = figure.add_subplot(grid[:, 1])
    for hit in np.flatnonzero(target).tolist():
        raster.axvline(hit, color=RESET_COLOUR, linewidth=4, alpha=0.25)
    iteration, step = np.nonzero(spikes)
    raster.scatter(step, iteration, s=3, c=colours[iteration], marker="s", rasterized=True)
    raster.set(title="output spikes; target in pink", xlabel="time step", ylabel="iteration", xlim=(0, len(target)))
    raster.invert_yaxis()
    return figure


def loss_curves(curves: Mapping[float, Mapping[str, np.ndarray]]) -> Figure:
    """The paper's Fig. 3: mean loss over repeats, with one standard deviation either way, up to twice the initial loss.

    Args:
        curves: learning rate → gradient → loss ``[iterations, repeats]``.
    """
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure, axes = plt.subplots(rows, columns, sharex=True, sharey=True, figsize=(8, 2.3 * rows), squeeze=False)
    for axis, (rate, by_gradient) in zip(axes.flat, curves.items(), strict=False):
        for name, loss in by_gradient.items():
            mean, std = loss.mean(1), loss.std(1)
            axis.plot(mean, color=COLOURS[name], label=name)
            for edge in (mean - std, mean + std):
                axis.plot(edge, color=COLOURS[name], linewidth=0.7, linestyle="--")
        axis.set_title(f"learning rate {rate:g}")
    label_edges(axes, len(curves), "iteration", "loss")
    start = max(loss[0].mean() for by_gradient in curves.values() for loss in by_gradient.values())
    axes[0, 0].set_ylim(0, 2 * start)
    legend_above(figure, axes)
    return figure


def loss_by_learning_rate(rates: Sequence[float], losses: Mapping[str, np.ndarray]) -> Figure:
    """Final loss over the learning rate: mean over repeats with its 95 % interval.

    Args:
        rates: learning rates.
        losses: gradient → final loss ``[learning rates, repeats]``.
    """
    figure, axis = plt.subplots()
    _losses_over_rates(axis, rates, losses, LABELS)
    axis.axvline(0.005, color=GREY, linewidth=0.8, linestyle=":")
    place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    axis.annotate("paper's rate", (0.005, 1), (4, -10), **place, color=GREY)
    axis.set(xlabel="learning rate", ylabel="mean loss at the end")
    axis.set_ylim(0, None)
    axis.legend()
    return figure


def collapse(
    rates: Sequence[float] | np.ndarray, losses: Mapping[str, np.ndarray], lengths: Mapping[str, np.ndarray]
) -> Figure:
    """Final loss over the learning rate, and over the learning rate times the length of the gradient.

    Args:
        rates: learning rates.
        losses: gradient → final loss ``[learning rates, repeats]``.
        lengths: gradient → its relative length, ``[repeats]``.
    """
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(8, 2.9))
    labels = {name: name for name in losses}
    _losses_over_rates(axes[0], rates, losses, labels)
    for name, loss in losses.items():
        scaled = np.asarray(rates) * np.exp(np.nanmean(np.log(lengths[name])))
        _losses_over_rates(axes[1], scaled, {name: loss}, labels)
    axes[0].set(xlabel="learning rate", ylabel="mean loss at the end", ylim=(0, 1.25))
    axes[1].set(xlabel="learning rate × relative length of the gradient")
    legend_above(figure, axes[None])
    return figure


def loss_panels(studies: Mapping[str, tuple[Sequence[float], Mapping[str, np.ndarray]]]) -> Figure:
    """Final loss over the learning rate, a panel for each study.

    Args:
        studies: title → learning rates, and gradient → final loss ``[learning rates, repeats]``.
    """
    columns = min(3, len(studies))
    rows = -(-len(studies) // columns)
    figure, axes = plt.subplots(rows, columns, sharey=True, figsize=(8, 2.4 * rows), squeeze=False)
    for axis, (title, (rates, losses)) in zip(axes.flat, studies.items(), strict=False):
        _losses_over_rates(axis, rates, losses, {name: name for name in losses})
        axis.set_title(title)
        axis.set_ylim(0, 1.25)
    label_edges(axes, len(studies), "learning rate", "loss at the end")
    legend_above(figure, axes)
    return figure


def _losses_over_rates(
    axis: plt.Axes, rates: Sequence[float] | np.ndarray, losses: Mapping[str, np.ndarray], labels: Mapping[str, str]
) -> None:
    """Mean over repeats with its 95 % interval, a line for each gradient."""
    for name, loss in losses.items():
        mean, error = mean_interval(loss)
        axis.plot(rates, mean, "o-", color=COLOURS[name], label=labels[name], markersize=3.5)
        axis.fill_between(rates, mean - error, mean + error, color=COLOURS[name], alpha=0.2, linewidth=0)
    axis.set_xscale("log")


def advantage(rates: Sequence[float], temperatures: Sequence[float], difference: np.ndarray) -> Figure:
    """Heat map of the mean loss of ``full`` minus that of ``leak``, ``[temperatures, learning rates]``."""
    figure, axis = plt.subplots(figsize=(7.5, 3.6))
    limit = np.abs(difference).max()
    image = axis.imshow(difference, cmap="PuOr_r", vmin=-limit, vmax=limit, origin="lower", aspect="auto")
    for row, column in np.ndindex(difference.shape):
        value = difference[row, column]
        colour = "white" if abs(value) > 0.7 * limit else "black"
        axis.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axis.set_yticks(range(len(temperatures)), [f"{temperature:g}" for temperature in temperatures])
    axis.set(xlabel="learning rate", ylabel="temperature $\\Theta$")
    axis.spines[:].set_visible(False)
    figure.colorbar(image, label="loss of full - loss of leak")
    return figure


def converged_share(converged: Mapping[str, Mapping[float, np.ndarray]], iterations: int) -> Figure:
    """Share of neurons that reproduce their target for good, over the iteration; a panel for each gradient.

    Args:
        converged: gradient → learning rate → iteration of convergence of every repeat, -1 for never.
        iterations: number of iterations.
    """
    figure, axes = plt.subplots(1, len(converged), sharey=True, figsize=(8, 2.8), squeeze=False)
    steps = np.arange(iterations + 1)
    for axis, (name, by_rate) in zip(axes[0], converged.items(), strict=True):
        for shade, (rate, when) in zip(shades(len(by_rate))[::-1], by_rate.items(), strict=True):
            share = ((when >= 0) & (when <= steps[:, None])).mean(1)
            axis.plot(steps, 100 * share, color=shade, label=f"{rate:g}")
        axis.axvline(30, color=GREY, linewidth=0.8, linestyle=":")
        axis.set(title=name, xlabel="iteration")
    axes[0, 0].set_ylabel("converged neurons in %")
    axes[0, len(converged) // 2].legend(title="learning rate", fontsize=8, loc="upper left")
    return figure


def along_the_way(cosines: Mapping[str, np.ndarray], norms: Mapping[str, np.ndarray]) -> Figure:
    """Angle to ``full`` and length of the gradients at the same weights, over the iterations of one training.

    Args:
        cosines: gradient → cosine to ``full`` ``[iterations, repeats]``.
        norms: gradient → norm ``[iterations, repeats]``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.9))
    for axis, curves in ((left, cosines), (right, norms)):
        for name, values in curves.items():
            low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=1)
            axis.plot(middle, color=COLOURS[name], label=name)
            axis.fill_between(np.arange(len(values)), low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
        axis.set_xlabel("iteration")
    left.set(title="cosine to full", ylim=(-1, 1.05))
    right.set(title="length of the gradient", ylim=(0, None))
    left.legend(loc="lower left")
    right.legend()
    return figure


def explorable(draws: "Draws", learning_rate: float | None = None) -> str:
    """The single neuron as HTML: ``neuron.js`` trains it in the reader's browser, at first from these draws.

    Args:
        draws: those of the first repeat are shown.
        learning_rate: show the result at this rate, without the phases and with no other slider; None: show the whole
            figure, and the training from its start. Rates are twenty to a factor of ten, and the nearest is taken.
    """
    first = {
        "inputSpikes": draws.input_spikes[0].int().tolist(),
        "targetSpikes": draws.target_spikes[:, 0].int().tolist(),
        "weights": draws.weights[0].tolist(),
    }
    colours = "; ".join(f"--{name}: {colour}" for name, colour in {**COLOURS, "target": RESET_COLOUR}.items())
    kind = f'class="tsbp-neuron compact" data-rate="{learning_rate:g}"' if learning_rate else 'class="tsbp-neuron"'
    return (
        f'<div {kind} style="{colours}"><noscript>This figure trains a neuron in your browser, '
        "for which it needs JavaScript.</noscript>"
        f'<script type="application/json">{json.dumps(first, separators=(",", ":"))}</script></div>'
    )
