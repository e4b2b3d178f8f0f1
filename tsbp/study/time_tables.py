"""The tables of the study of time: what each cell reaches, what follows for a network like it, and usable rates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tsbp.gradients import STUDIED
from tsbp.study.cells import DETACHED, PROTOCOLS, Cell
from tsbp.study.comparison import titles
from tsbp.study.hypotheses import CLOSE
from tsbp.study.robustness import in_decades
from tsbp.study.statistics import Crossed, corrected_words

if TYPE_CHECKING:
    import pandas

ADVICE = {"higher": "keep", "lower": "detach", "open": "open"}
"""Verdict on the accuracy with the reset term less that without → what follows; equal within the margin: either."""


def verdicts(cells: Sequence[Cell], other: str = DETACHED) -> dict[str, list[str]]:
    """Whether ``full`` is higher or lower than another gradient, or equal to it within two percentage points.

    The p values of all cells and both protocols are corrected together by Holm's method, and so are those of equality.

    Args:
        cells: as one family; those without the gradient are ``open``.
        other: the gradient.

    Returns:
        Protocol → for each cell ``higher``, ``lower``, ``equal``, ``open``, or both of ``higher, equal``.
    """
    found: dict[tuple[str, int], Crossed] = {}
    for protocol in PROTOCOLS:
        for number, cell in enumerate(cells):
            if other in cell.right[protocol]:
                found[protocol, number] = cell.difference(other, protocol=protocol)
    words = corrected_words(
        [one.mean for one in found.values()],
        [one.p_value for one in found.values()],
        [one.equivalence(CLOSE) for one in found.values()],
    )
    by_place = dict(zip(found, words, strict=True))
    return {protocol: [by_place.get((protocol, n), "open") for n in range(len(cells))] for protocol in PROTOCOLS}


def advice(verdict: str) -> str:
    """``keep``, ``detach``, ``either`` or ``open``."""
    return "either" if "equal" in verdict else ADVICE[verdict]


def cell_table(cells: Sequence[Cell], protocol: str = "own") -> "pandas.DataFrame":
    """Test accuracy of every gradient in per cent, and what follows, a row for each cell.

    Args:
        cells: as one family.
        protocol: ``own`` or ``common``.
    """
    import pandas as pd

    rows = []
    for cell, verdict in zip(cells, verdicts(cells)[protocol], strict=True):
        row: dict = {"task": titles()[cell.config.dataset], "network": cell.network}
        row |= {"Θ": f"{cell.config.temperature:g}"}
        for name in STUDIED:
            row[name] = _with_width(cell.accuracy(name, protocol)) if name in cell.right[protocol] else ""
        row["full - leak"] = str(cell.difference(protocol=protocol))
        rows.append(row | {"verdict": verdict, "so": advice(verdict)})
    return pd.DataFrame(rows)


def advice_table(cells: Sequence[Cell], protocol: str = "own") -> "pandas.DataFrame":
    """What follows for a network: a row for each network, a column for each temperature that all of them have.

    Args:
        cells: as one family.
        protocol: ``own`` or ``common``.

    Returns:
        ``keep (+3.5 ± 1.2)``, with the accuracy of ``full`` less that of ``leak`` in percentage points.
    """
    import pandas as pd

    found: dict[str, dict[float, str]] = {}
    for cell, verdict in zip(cells, verdicts(cells)[protocol], strict=True):
        one = cell.difference(protocol=protocol)
        words = f"{advice(verdict)} ({one.mean:+.1f} ± {one.half_width:.1f})"
        found.setdefault(cell.network, {})[cell.config.temperature] = words
    shared = sorted(set.intersection(*(set(row) for row in found.values())))
    rows = [{"network": name} | {f"Θ = {one:g}": row[one] for one in shared} for name, row in found.items()]
    return pd.DataFrame(rows)


def usable_table(cells: Sequence[Cell], distances: Sequence[float] = (2.5, 5.0, 10.0)) -> "pandas.DataFrame":
    """Width of the range of usable learning rates in decades, ``full`` less ``leak``, a row for each cell.

    Args:
        cells: what was tuned.
        distances: percentage points below the best, down to which a rate is usable; a column for each.
    """
    import pandas as pd

    rows = []
    for cell in cells:
        row = {"network": cell.network, "Θ": f"{cell.config.temperature:g}"}
        row |= {f"{one:g} points": in_decades(*cell.usable(one).differences[DETACHED], "+") for one in distances}
        rows.append(row)
    return pd.DataFrame(rows)


def tally(cells: Sequence[Cell], protocol: str = "own") -> Mapping[str, int]:
    """How many cells there are, and in how many the advice is ``keep``, ``detach``, ``either`` and ``open``."""
    said = [advice(verdict) for verdict in verdicts(cells)[protocol]]
    return {"all": len(said)} | {word: said.count(word) for word in ("keep", "detach", "either", "open")}


def _with_width(one: Crossed) -> str:
    return f"{one.mean:.1f} ± {one.half_width:.1f}"
