"""The other tables of the book and of the README, made from records: losses, speed, agreement; and how one is shown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsbp.peers import bench_processes
from tsbp.study.display import Table
from tsbp.study.statistics import bootstrap_interval, crossover, ratio_interval, ratio_intervals, whole_neurons

if TYPE_CHECKING:
    import pandas
    import torch

NARROWEST = 18
"""Characters to a line of a column of words, at least."""


def show(table: "pandas.DataFrame", *words: str) -> Table:
    """A table as a page shows it: without its index, columns of words aligned left and free to break their lines.

    Its texts are shown as they are, whatever markup they may hold.

    Args:
        table: what to show.
        *words: the columns that hold words instead of numbers.
    """
    present = [name for name in words if name in table]
    style = Table(table).hide().set_properties(present, **{"white-space": "normal", "text-align": "left"})
    for name in present:  # on a telephone the table is moved sideways instead of a word to the line
        longest = table[name].astype(str).str.len().max()
        style.set_properties([name], **{"min-width": f"{min(longest, NARROWEST)}ch"})
    left = [{"selector": "", "props": [("text-align", "left")]}]
    return style.set_table_styles({name: left for name in present})


def error_table(found: Mapping[str, "torch.Tensor"], true: "torch.Tensor") -> "pandas.DataFrame":
    """How far gradients are from the true one, a row for each.

    Args:
        found: name → gradient in one row.
        true: the gradient to compare with.

    Returns:
        Relative error, cosine and relative length; the error of a gradient of zeros is 1.
    """
    import pandas as pd

    rows = {}
    for name, gradient in found.items():
        error, length = ((x.norm() / true.norm()).item() for x in (gradient - true, gradient))
        cosine = (gradient @ true / (gradient.norm() * true.norm())).item()
        rows[name] = {"relative error": error, "cosine": cosine, "relative length": length}
    return pd.DataFrame.from_dict(rows, orient="index")


def loss_table(learning_rates: Sequence[float], losses: Mapping[str, np.ndarray]) -> "pandas.DataFrame":
    """Final loss of the single neuron, a row for each learning rate.

    Args:
        learning_rates: one for each row.
        losses: gradient → final loss ``[learning rates, repeats]``.

    Returns:
        Mean over repeats of every gradient, and the differences to ``full`` paired by repeat, with bootstrap intervals.
    """
    import pandas as pd

    table = pd.DataFrame({"learning rate": [f"{rate:g}" for rate in learning_rates]})
    for name, loss in losses.items():
        table[name] = [f"{mean:.3f}" for mean in loss.mean(-1)]
    for other in ("leak", "spatial"):
        if {"full", other} <= losses.keys():
            difference = losses["full"] - losses[other]
            ends = zip(difference.mean(-1), *bootstrap_interval(difference), strict=True)
            table[f"full - {other}"] = [f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" for mean, low, high in ends]
    return table


def crossover_table(studies: Mapping[str, tuple[Sequence[float], Mapping[str, np.ndarray]]]) -> "pandas.DataFrame":
    """Where ``full`` overtakes ``leak``, and how low each gradient gets, a row for each study.

    Args:
        studies: title → learning rates, and gradient → final loss ``[learning rates, repeats]``.
    """
    import pandas as pd

    rows = []
    for title, (rates, losses) in studies.items():
        estimate, low, high = crossing(rates, losses["full"] - losses["leak"])
        row = {"study": title, "full overtakes leak at": f"{estimate} [{low}, {high}]"}
        rows.append(row | {f"lowest, {name}": f"{loss.mean(-1).min():.3f}" for name, loss in losses.items()})
    return pd.DataFrame(rows)


def crossing(rates: Sequence[float], differences: np.ndarray) -> tuple[str, str, str]:
    """Estimate, lower and upper end of :func:`.crossover` in words, for instance ``below 0.0005``."""

    def shown(rate: float) -> str:
        if rate == 0:
            return f"below {rates[0]:g}"
        return f"above {rates[-1]:g}" if np.isinf(rate) else f"{rate:.2g}"

    estimate, low, high = map(shown, crossover(rates, differences))
    return estimate, low, high


_SIZES = {
    "lif": "layer",
    "recurrent": "recurrent layer",
    "mnist": "MNIST step",
    "nmnist": "N-MNIST step",
    "cifar10": "CIFAR-10 step",
}
_WITH_AND_WITHOUT = {
    "tsbp, one pass": ("tsbp full", "tsbp leak"),
    "SpikingJelly": ("SpikingJelly", "SpikingJelly, detached"),
    "snnTorch": ("snnTorch, no delay", "snnTorch"),
}


def speed_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """How many times as long as ``tsbp full`` each candidate of ``tsbp bench`` takes, a column for each benchmark.

    Args:
        runs: records of ``tsbp bench`` from one device.

    Returns:
        Medians with 95 % intervals, in the order of the records' candidates.
    """
    import pandas as pd

    columns = {}
    for row in _rows(runs):
        ratios = ratio_intervals(row["seconds"])
        columns[_benchmark(row)] = {name: _ratio(interval) for name, interval in ratios.items() if name != "copy"}
    table = pd.DataFrame(columns)
    return table.rename_axis("").reset_index().fillna("")


def price_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Time with the reset term over time without it, a row for each benchmark, a column for each implementation."""
    import pandas as pd

    rows = []
    for row in _rows(runs):
        seconds = row["seconds"]
        rows.append({"benchmark": _benchmark(row)})
        for name, (full, leak) in _WITH_AND_WITHOUT.items():
            if full in seconds and leak in seconds:
                rows[-1][name] = _ratio(ratio_interval(seconds[full], seconds[leak]))
    return pd.DataFrame(rows).fillna("")


def memory_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Bytes per neuron and step of a layer: kept for the backward pass, and at the peak of both."""
    import pandas as pd

    rows: dict[str, dict[str, str]] = {}
    for row in _rows(runs):
        if row["benchmark"] == "lif":
            size = row["time_steps"] * row["batch_size"] * row["neurons"]
            for name, kept in whole_neurons(row["kept_bytes"]).items():
                found = rows.setdefault(name, {})
                found.setdefault("kept bytes", f"{kept / size:.1f}")
                found.setdefault("peak bytes", f"{row['peak_bytes'][name] / size:.1f}")
    return pd.DataFrame(rows).T.rename_axis("").reset_index()


def copy_speed_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """How close a layer is to the speed at which the machine copies an array, a column for each layer."""
    import pandas as pd

    shares = {
        _benchmark(row).removeprefix("layer, "): whole_neurons(row["floor_fraction"])
        for row in _rows(runs)
        if row["benchmark"] == "lif"
    }
    return pd.DataFrame(shares).map("{:#.2g}".format).rename_axis("").reset_index()


def lead_table(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """How many times as long as ``tsbp full`` the fastest other library takes, in each kind of process.

    Args:
        runs: records of ``tsbp bench lif``.

    Returns:
        A row for each layer, a column for each kind of process: median with 95 % interval, and the library.
    """
    import pandas as pd

    rows = []
    for row in _rows(runs):
        if isinstance(row.get("processes"), dict):
            cells = {kind: f"{_ratio(ratio)}, {name}" for kind, (name, ratio) in leads(row).items()}
            rows.append({"layer": _benchmark(row).removeprefix("layer, ")} | cells)
    return pd.DataFrame(rows)


def leads(row: Mapping) -> dict[str, tuple[str, tuple[float, float, float]]]:
    """The fastest other library for the whole neuron, and its time as a multiple of ``tsbp full``: median and interval.

    Args:
        row: a record of ``tsbp bench lif`` that has other processes.

    Returns:
        A pair for each kind of process.
    """
    timed = row["processes"] | {bench_processes.kind(row["threads"], kept=True): row["seconds"]}
    found = {}
    for kind in sorted(timed):
        ratios = whole_neurons(ratio_intervals(timed[kind]))
        peers = {name: ratio for name, ratio in ratios.items() if not name.startswith("tsbp")}
        found[kind] = min(peers.items(), key=lambda item: item[1][0])
    return found


def _rows(runs: "pandas.DataFrame") -> list[dict]:
    """Records as dictionaries, layers first, then by data set, time steps and precision."""
    rows = runs.to_dict("records")
    order = list(_SIZES)
    return sorted(
        rows, key=lambda row: (order.index(row["benchmark"]), row["time_steps"], row["precision"] != "float32")
    )


def _benchmark(row: Mapping) -> str:
    """``layer, T = 5``."""
    half = ", bfloat16" if row["precision"] == "bfloat16" else ""
    return f"{_SIZES[row['benchmark']]}, T = {row['time_steps']}{half}"


def _ratio(interval: Sequence[float]) -> str:
    median, low, high = interval
    digits = 1 if median >= 1.995 else 2
    return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def agreement_table(record: Mapping[str, Any]) -> "pandas.DataFrame":
    """Distances of other libraries' gradients from the three, from a record of ``tsbp agreement``.

    Returns:
        A row for each neuron, those of a library together: its reset, the setting that decides on its gradient, its
        distance from every gradient, and the gradient that it equals (``SAME`` is near enough), if any.
    """
    import pandas as pd

    rows = []
    for name in _by_library(record["distances"]):
        distances = record["distances"][name]
        row = {"neuron": name, "reset": "subtractive" if name in record["soft_reset"] else "to zero"}
        row["setting"] = record.get("settings", {}).get(name, "")
        row |= {
            f"from {gradient}": f"{distance:.2g}" if distance > SAME else f"{distance:.0e}"
            for gradient, distance in distances.items()
        }
        rows.append(row | {"computes": ", ".join(equal(distances)) or "none of them"})
    return pd.DataFrame(rows)


def computed_table(record: Mapping[str, Any]) -> "pandas.DataFrame":
    """What the gradients of other libraries come to, from a record of ``tsbp agreement``; equal neurons share a row.

    Returns:
        A row for each reset and gradient: its length over that of ``full``, the cosine between the two, the factor by
        which it changes from one time step to the one before it, and the neurons that compute it.
    """
    import pandas as pd

    rows: dict[tuple[str, ...], list[str]] = {}
    for name in _by_library(record["distances"]):
        reset = "subtractive" if name in record["soft_reset"] else "to zero"
        length, cosine = (record[kind][name]["full"] for kind in ("length_ratios", "cosines"))
        computes = ", ".join(equal(record["distances"][name])) or ("another" if length else "zero")
        shown = (computes, f"{length:.2f}", f"{cosine:.2f}", f"{record['growth'][name]:.3f}")
        rows.setdefault((reset, *shown), []).append(name)
    columns = ["reset", "gradient", "length / full", "cosine with full", "factor a step", "n", "neurons"]
    found = [(*row, len(names), "; ".join(names)) for row, names in rows.items()]
    return pd.DataFrame(sorted(found, key=lambda row: row[0] != "to zero"), columns=columns)


def left_out_table(record: Mapping[str, Any]) -> "pandas.DataFrame":
    """The libraries that a record of ``tsbp agreement`` left out, and why."""
    import pandas as pd

    rows = [{"library": name, "reason": reason} for name, reason in record["left_out"].items()]
    return pd.DataFrame(rows, columns=["library", "reason"])


def _by_library(names: Iterable[str]) -> list[str]:
    """Neurons in the given order, but those of a library together."""
    names = list(names)
    libraries = list(dict.fromkeys(name.partition(",")[0] for name in names))
    return sorted(names, key=lambda name: libraries.index(name.partition(",")[0]))


SAME = 1e-6
"""Share of a gradient's length that counts as rounding; some libraries keep a number in float32."""


def equal(distances: Mapping[str, float]) -> list[str]:
    """The gradients that a neuron's gradient equals, given its distance from each."""
    return [gradient for gradient, distance in distances.items() if distance < SAME]
