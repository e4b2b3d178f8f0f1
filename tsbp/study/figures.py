"""The book's style; figures of the neuron, the surrogate and the benchmarks. Each returns a matplotlib figure."""

import itertools
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from tsbp.gradients import GRADIENTS, STUDIED
from tsbp.neuron import LIFOutput
from tsbp.study.display import html, latex
from tsbp.study.statistics import ratio_intervals, whole_neurons
from tsbp.surrogate import SCALES, SURROGATES, heaviside, relaxed_spike, surrogate_derivative

if TYPE_CHECKING:
    import pandas

# Okabe and Ito's palette: distinct for colour-blind readers, and legible on white.
COLOURS = {"full": "#0072B2", "leak": "#D55E00", "spatial": "#009E73"}
RESET_COLOUR = "#C2185B"
GREY = "#8a8a8a"
KINDS = (RESET_COLOUR, "#A87000", "#2B87BD", "black", "#785EF0", GREY)
"""Of things that are no gradients, surrogates for instance."""
_DARK_TO_BRIGHT = ("#170D4D", "#532B9D", "#257281", "#D53F45", "#B27D02")
LABELS = {"full": "full: with the reset term", "leak": "leak: without it", "spatial": "spatial: none through time"}


def use_style() -> None:
    """Set the book's style; in a notebook figures become vector graphics, and tables have forms for web and paper."""
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
        for form, shown in (("text/html", html), ("text/latex", latex)):
            shell.display_formatter.formatters[form].for_type_by_name("pandas.io.formats.style", "Styler", shown)


def show(name: str, shown: Any) -> None:
    """Display a figure or a table in a notebook and keep it under a name, by which the page sets it with its caption.

    Args:
        name: for the directive ``glue:figure`` or ``glue:table`` on the page.
        shown: a figure of matplotlib, a table as :func:`tsbp.study.tables.show` makes them, or other HTML.
    """
    from myst_nb import glue

    if isinstance(shown, Figure):
        plt.close(shown)
    glue(name, shown)


def note(name: str, value: str | float | np.generic | Tensor) -> None:
    """Keep a value under a name, by which the text of the page quotes it."""
    from myst_nb import glue

    glue(name, value.item() if isinstance(value, np.generic | Tensor) else value, display=False)


def shades(n: int) -> np.ndarray:
    """Colours for a quantity that grows, from dark to bright, ``[n, RGB]``.

    Each has a contrast of 3:1 or more, on white as on the dark page with its exchanged light and dark, and up to five
    can be told apart on both, by colour-blind readers too.

    Args:
        n: how many.
    """
    light = np.array([to_rgb(colour) for colour in _DARK_TO_BRIGHT]) ** 2.2
    places = np.linspace(0, len(light) - 1, n)
    return np.stack([np.interp(places, range(len(light)), part) for part in light.T], axis=1) ** (1 / 2.2)


def label_edges(axes: np.ndarray, used: int, x: str, y: str) -> None:
    """Hide the panels that are not used, and label the last row and the first column of the grid."""
    for axis in axes.flat[used:]:
        axis.axis("off")
    for axis in axes[-1]:
        axis.set_xlabel(x)
    for axis in axes[:, 0]:
        axis.set_ylabel(y)


def legend_above(figure: Figure, axes: np.ndarray) -> None:
    """One legend for all panels, where it hides none of them."""
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)


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
    assert output.spikes is not None and output.potential is not None, "lif was called with spikes or potential False"
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7.5, 4.4), height_ratios=(1, 2, 1))
    steps = np.arange(len(current))
    axes[0].vlines(steps, 0, current, color=GREY)
    axes[0].set_ylabel("$I$")
    axes[1].plot(steps, output.potential, color="black", marker=".", markersize=3, linewidth=1)
    axes[1].axhline(threshold, color=RESET_COLOUR, linestyle="--", linewidth=1)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes[1].annotate("$\\vartheta$", (1, threshold), (4, -3), **place)
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
    lines = ("-", (0, (6, 2)), (0, (4, 1, 1, 1)), "-", (0, (2, 1)), (0, (1, 1)))
    for axis, scale in zip(axes, SCALES, strict=True):
        for name, colour, line in zip(SURROGATES, itertools.cycle(KINDS), itertools.cycle(lines), strict=False):
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


def speed(runs: "pandas.DataFrame") -> Figure:
    """Time of a layer relative to ``tsbp full``, a colour for each record of ``tsbp bench lif``; left is better."""
    runs = runs[runs["benchmark"] == "lif"].sort_values("time_steps")
    figure, axis = plt.subplots(figsize=(6, 3.8))
    for number, (_, run) in enumerate(runs.iterrows()):
        shown = whole_neurons(ratio_intervals(run["seconds"]))
        places = np.arange(len(shown)) + 0.25 * (number - (len(runs) - 1) / 2)
        median, low, high = np.array(list(shown.values())).T
        size = f"{run['batch_size'] * run['neurons']:,}".replace(",", "\u2009")
        axis.hlines(places, low, high, color=_LAYERS[number % len(_LAYERS)])
        axis.plot(median, places, "os^"[number % 3], color=_LAYERS[number % len(_LAYERS)], markersize=4)
        axis.lines[-1].set_label(f"T = {run['time_steps']}, {size} neurons")
        axis.set_yticks(range(len(shown)), list(shown), parse_math=False)
    axis.axvline(1, color=GREY, linewidth=0.8, zorder=0)
    axis.set(xscale="log", xlabel="times as long as tsbp full", xticks=(1, 2, 5, 10, 20, 50))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.invert_yaxis()
    figure.legend(loc="outside upper left", ncols=1)
    return figure


_LAYERS = ("#0072B2", "#D55E00", "black")
