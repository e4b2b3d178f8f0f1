"""The figures of the book, one function a figure, in one style. Each returns a matplotlib figure."""

import itertools
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from tsbp.gradients import GRADIENTS, STUDIED
from tsbp.neuron import LIFOutput
from tsbp.study.display import latex
from tsbp.study.statistics import mean_interval, ratio_intervals
from tsbp.study.tables import whole_neurons
from tsbp.surrogate import SCALES, SURROGATES, heaviside, relaxed_spike, surrogate_derivative

if TYPE_CHECKING:
    import pandas

# Okabe and Ito's palette: distinct for colour-blind readers, and legible on white.
COLOURS = {"full": "#0072B2", "leak": "#D55E00", "spatial": "#009E73"}
RESET_COLOUR = "#C2185B"
GREY = "#8a8a8a"
LABELS = {"full": "full: with the reset term", "leak": "leak: without it", "spatial": "spatial: none through time"}


def use_style() -> None:
    """Set the book's style; in a notebook figures become vector graphics, and tables have a form for paper."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.5, 3.2),
            "figure.facecolor": "white",
            "savefig.dpi": 200,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "lines.linewidth": 1.5,
            "svg.hashsalt": "tsbp",
        }
    )
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ModuleNotFoundError:
        return
    shell = get_ipython()
    if shell is not None:
        set_matplotlib_formats("svg", "pdf")  # for the web and for paper
        shell.display_formatter.formatters["text/latex"].for_type_by_name("pandas.io.formats.style", "Styler", latex)


def show(name: str, figure: Figure) -> None:
    """Display a figure in a notebook and keep it under a name, by which the page sets it with number and caption."""
    from myst_nb import glue

    plt.close(figure)
    glue(name, figure)


def note(name: str, value: str | float | np.generic | Tensor) -> None:
    """Keep a value under a name, by which the text of the page quotes it."""
    from myst_nb import glue

    glue(name, value.item() if isinstance(value, np.generic | Tensor) else value, display=False)


def compute_graphs() -> Figure:
    """The paper's Fig. 1: what depends on what over two time steps, with S as a node and with S substituted."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4))
    for axis, with_spikes in zip(axes, (True, False), strict=True):
        nodes = {}
        for step, x in (("t", 0.0), ("t+1", 2.2)):
            rows = [("a", 2.4), ("S", 1.2), ("U", 0.0)] if with_spikes else [("a", 2.0), ("U", 0.0)]
            for name, y in rows:
                nodes[name, step] = (x, y)
                circle = plt.Circle((x, y), 0.38, facecolor="white", edgecolor="black", zorder=3)
                axis.add_patch(circle)
                axis.text(x, y, f"${name}[{step}]$", ha="center", va="center", zorder=4, fontsize=9)
            _arrow(axis, (x, -1.1), nodes["U", step], GREY)
            axis.text(x + 0.12, -1.0, f"$I[{step}]$", color=GREY, va="center", fontsize=9)
        for step in ("t", "t+1"):
            path = ["U", "S", "a"] if with_spikes else ["U", "a"]
            for lower, upper in pairwise(path):
                _arrow(axis, nodes[lower, step], nodes[upper, step], "black")
        _arrow(axis, nodes["a", "t"], nodes["a", "t+1"], "black")
        _arrow(axis, nodes["U", "t"], nodes["U", "t+1"], "black")
        reset_from = nodes["S", "t"] if with_spikes else nodes["U", "t"]
        _arrow(axis, reset_from, nodes["U", "t+1"], RESET_COLOUR, bend=0.0 if with_spikes else -0.45)
        axis.text(1.1, 0.9 if with_spikes else 0.75, "reset", color=RESET_COLOUR, ha="center", fontsize=9)
        axis.text(1.1, -0.22 if with_spikes else 0.1, "leak", ha="center", va="center", fontsize=9)
        axis.set_title("spikes as nodes (eq. 1-3)" if with_spikes else "spikes substituted (eq. 4, 5)")
        axis.set(xlim=(-0.7, 3.0), ylim=(-1.3, 3.0), aspect="equal")
        axis.axis("off")
    return figure


def _arrow(axis: plt.Axes, start: tuple, end: tuple, colour: str, bend: float = 0.0) -> None:
    style = f"arc3,rad={bend}"
    arrow = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=11, shrinkA=17, shrinkB=17, color=colour, connectionstyle=style
    )
    axis.add_patch(arrow)


def neuron(current: Tensor, output: LIFOutput, threshold: float) -> Figure:
    """One neuron over time: input current, potential with spikes, postsynaptic current, each ``[T]``."""
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7.5, 4.4), height_ratios=(1, 2, 1))
    steps = np.arange(len(current))
    axes[0].vlines(steps, 0, current, color=GREY)
    axes[0].set_ylabel("$I$")
    axes[1].plot(steps, output.potential, color="black", marker=".", markersize=3, linewidth=1)
    axes[1].axhline(threshold, color=RESET_COLOUR, linestyle="--", linewidth=1)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes[1].annotate("$\\vartheta$", (1, threshold), (4, -3), **place)
    assert output.spikes is not None, "lif was called with spikes=False"
    fired = output.spikes > 0
    axes[1].plot(steps[fired], output.potential[fired], "o", color=RESET_COLOUR, markersize=5)
    axes[1].set_ylabel("$U$")
    axes[2].plot(steps, output.psc, color=COLOURS["full"])
    axes[2].set(ylabel="$a$", xlabel="time step")
    figure.align_ylabels(axes)
    return figure


def surrogate(threshold: float, temperature: float, tau_m: float) -> Figure:
    """The spike and its surrogate derivative; the factor between time steps, each over the potential."""
    u = torch.linspace(-1, 3, 801, dtype=torch.float64)
    h = surrogate_derivative(u - threshold, temperature)
    spikes = heaviside(u - threshold)
    figure, (left, right) = plt.subplots(1, 2)
    left.plot(u, spikes, color="black", label="$H$ (eq. 3)")
    left.plot(u, relaxed_spike(u - threshold, temperature), color=GREY, label="$\\sigma$ (eq. 9)")
    left.plot(u, h, color=RESET_COLOUR, label="$h$ (eq. 10)")
    left.set(title="the spike and its surrogate", xlabel="potential $U$")
    left.legend(loc="upper left")
    leak = 1 - 1 / tau_m
    factors = {name: leak * GRADIENTS[name](u, spikes, h) for name in STUDIED}
    for name, factor in factors.items():
        right.plot(u, factor, color=COLOURS[name], label=name)
    right.set(title="factor from $U[t]$ to $U[t+1]$ (eq. 8)", xlabel="potential $U$")
    right.legend(loc="upper right")
    for axis in (left, right):
        axis.axvline(threshold, color=GREY, linewidth=0.8, linestyle=":")
    return figure


def surrogates(threshold: float, temperature: float) -> Figure:
    """Every surrogate derivative at one temperature over the potential, a panel for each scale."""
    u = torch.linspace(threshold - 4 * temperature, threshold + 4 * temperature, 801, dtype=torch.float64)
    figure, axes = plt.subplots(1, len(SCALES))
    colours = (RESET_COLOUR, "#E69F00", "#56B4E9", "black", "#785EF0", GREY)
    lines = ("-", (0, (6, 2)), (0, (4, 1, 1, 1)), "-", (0, (2, 1)), (0, (1, 1)))
    for axis, scale in zip(axes, SCALES, strict=True):
        for name, colour, line in zip(SURROGATES, itertools.cycle(colours), itertools.cycle(lines), strict=False):
            h = surrogate_derivative(u - threshold, temperature, name, scale)
            axis.plot(u, h, color=colour, linestyle=line, label=name)
        axis.axvline(threshold, color=GREY, linewidth=0.8, linestyle=":")
        axis.set(title=f"scale {scale}", xlabel="potential $U$", ylim=(0, None))
    axes[0].set_ylabel("$h$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def against_differences(differences: Tensor, gradients: Mapping[str, Tensor]) -> Figure:
    """Each gradient, component by component, against central finite differences."""
    figure, axes = plt.subplots(1, len(gradients), sharex=True, sharey=True, figsize=(7.5, 2.9))
    limit = 1.1 * differences.abs().max()
    for axis, (name, gradient) in zip(axes, gradients.items(), strict=True):
        axis.plot((-limit, limit), (-limit, limit), color=GREY, linewidth=0.8)
        axis.plot(differences.flatten(), gradient.flatten(), ".", color=COLOURS[name], markersize=4)
        axis.set(title=name, xlabel="finite difference", aspect="equal")
    axes[0].set_ylabel("hand-written gradient")
    return figure


def phases(phases: Mapping[str, np.ndarray], spikes: np.ndarray, target: np.ndarray) -> Figure:
    """The paper's Fig. 2: four phases of the gradient, all iterations overlaid, beside the raster of output spikes.

    Args:
        phases: title → ``[iterations, T]``.
        spikes: output spikes, ``[iterations, T]``.
        target: target spikes, ``[T]``.
    """
    figure = plt.figure(figsize=(8, 5.6))
    grid = figure.add_gridspec(len(phases), 2)
    shades = plt.get_cmap("viridis_r")(np.linspace(0.05, 1, len(spikes)))
    axis = None
    for row, (title, values) in enumerate(phases.items()):
        axis = figure.add_subplot(grid[row, 0], sharex=axis)
        for value, shade in zip(values, shades, strict=True):
            axis.plot(value, color=shade, linewidth=0.5, rasterized=True)
        axis.set_title(title)
        axis.tick_params(labelbottom=row == len(phases) - 1)
        if row == len(phases) - 1:
            axis.set_xlabel("time step")
    raster = figure.add_subplot(grid[:, 1])
    for hit in np.flatnonzero(target).tolist():
        raster.axvline(hit, color=RESET_COLOUR, linewidth=4, alpha=0.25)
    iteration, step = np.nonzero(spikes)
    raster.scatter(step, iteration, s=3, c=shades[iteration], marker="s", rasterized=True)
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
    _label_edges(axes, len(curves), "iteration", "loss")
    start = max(loss[0].mean() for by_gradient in curves.values() for loss in by_gradient.values())
    axes[0, 0].set_ylim(0, 2 * start)
    legend_above(figure, axes)
    return figure


def _label_edges(axes: np.ndarray, used: int, x: str, y: str) -> None:
    """Hide the panels that are not used, and label the last row and the first column of the grid."""
    for axis in axes.flat[used:]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set_xlabel(x)
    for axis in axes[:, 0]:
        axis.set_ylabel(y)


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
    axis.annotate("Table 1", (0.005, 1), (4, -10), **place, color=GREY)
    axis.set(xlabel="learning rate", ylabel="mean loss at the end")
    axis.set_ylim(0, None)
    axis.legend()
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
    _label_edges(axes, len(studies), "learning rate", "loss at the end")
    legend_above(figure, axes)
    return figure


def legend_above(figure: Figure, axes: np.ndarray) -> None:
    """One legend for all panels, where it hides none of them."""
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)


def _losses_over_rates(
    axis: plt.Axes, rates: Sequence[float], losses: Mapping[str, np.ndarray], labels: Mapping[str, str]
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
        shades = plt.get_cmap("viridis_r")(np.linspace(0.1, 1, len(by_rate)))
        for shade, (rate, when) in zip(shades, by_rate.items(), strict=True):
            share = ((when >= 0) & (when <= steps[:, None])).mean(1)
            axis.plot(steps, 100 * share, color=shade, label=f"{rate:g}")
        axis.axvline(30, color=GREY, linewidth=0.8, linestyle=":")
        axis.set(title=name, xlabel="iteration")
    axes[0, 0].set_ylabel("converged neurons in %")
    axes[0, len(converged) // 2].legend(title="learning rate", fontsize=8, loc="upper left")
    return figure


def explorable(input_spikes: np.ndarray, target_spikes: np.ndarray, weights: np.ndarray) -> str:
    """The single neuron as HTML: ``neuron.js`` trains it in the reader's browser, at first from these draws.

    Args:
        input_spikes: ``[T, n_inputs]``.
        target_spikes: ``[T]``.
        weights: initial weights, ``[n_inputs]``.
    """
    draws = {
        "inputSpikes": input_spikes.astype(int).tolist(),
        "targetSpikes": target_spikes.astype(int).tolist(),
        "weights": weights.tolist(),
    }
    colours = "; ".join(f"--{name}: {colour}" for name, colour in {**COLOURS, "target": RESET_COLOUR}.items())
    return (
        f'<div class="tsbp-neuron" style="{colours}"><noscript>This figure trains a neuron in your browser, '
        "for which it needs JavaScript.</noscript>"
        f'<script type="application/json">{json.dumps(draws, separators=(",", ":"))}</script></div>'
    )


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


def speed(runs: "pandas.DataFrame") -> Figure:
    """Time of a layer relative to ``tsbp full``, a panel for each record of ``tsbp bench lif``; shorter is better."""
    runs = runs[runs["benchmark"] == "lif"].sort_values("time_steps")
    figure, axes = plt.subplots(1, len(runs), figsize=(8, 3.4), sharey=True, squeeze=False)
    for axis, (_, run) in zip(axes[0], runs.iterrows(), strict=True):
        shown = whole_neurons(ratio_intervals(run["seconds"]))
        for place, (name, (median, low, high)) in enumerate(shown.items()):
            own = name.startswith("tsbp") and "uncompiled" not in name
            axis.barh(place, median, color=COLOURS["full"] if own else GREY, height=0.7)
            axis.plot([low, high], [place, place], color="black", linewidth=1)
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_yticks(range(len(shown)), list(shown))
        size = f"{run['batch_size'] * run['neurons']:,}".replace(",", "\u2009")
        axis.set(title=f"T = {run['time_steps']}, {size} neurons", xlabel="times as long as tsbp full")
    axes[0, 0].invert_yaxis()
    return figure
