"""The tables of the study of time: what each cell reaches, what follows for a network like it, and usable rates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tsbp.gradients import STUDIED
from tsbp.study.cells import DETACHED, KEPT, PROTOCOLS, Cell, better
from tsbp.study.hypotheses import CLOSE
from tsbp.study.robustness import in_decades
from tsbp.study.statistics import Crossed, corrected_words

if TYPE_CHECKING:
    import pandas

ADVICE = {"higher": "keep", "lower": "detach", "open": "open"}
"""Verdict on the accuracy with the reset term less that without → what follows; equal within the margin: either."""
CUT = "cut the path"
"""What follows where a gradient without any path along the membrane is more accurate than both."""


def verdicts(cells: Sequence[Cell], difference: str = "reset") -> dict[str, list[str]]:
    """Whether a difference of accuracies is above or below zero, or within two percentage points of it.

    The p values of all cells and both protocols are corrected together by Holm's method, and so are those of equality.

    Args:
        cells: as one family. Those without a network that gets anything right, with either gradient, are ``open``.
        difference: ``reset``: ``full`` less ``leak``. ``path``: the one of them that held-out examples prefer, less
            ``spatial``.

    Returns:
        Protocol → for each cell ``higher``, ``lower``, ``equal``, ``open``, or both of ``higher, equal``.
    """
    found: dict[tuple[str, int], Crossed] = {}
    for protocol in PROTOCOLS:
        for number, cell in enumerate(cells):
            one, other = (KEPT, DETACHED) if difference == "reset" else (better(cell), "spatial")
            right = cell.right[protocol]
            if other in right and (right[one].any() or right[other].any()):
                found[protocol, number] = cell.difference(other, one, protocol)
    words = corrected_words(
        [one.mean for one in found.values()],
        [one.p_value for one in found.values()],
        [one.equivalence(CLOSE) for one in found.values()],
    )
    by_place = dict(zip(found, words, strict=True))
    return {protocol: [by_place.get((protocol, n), "open") for n in range(len(cells))] for protocol in PROTOCOLS}


def advice(cells: Sequence[Cell], protocol: str = "own") -> list[str]:
    """For each cell ``keep``, ``detach``, ``either``, ``open``, or ``CUT``."""
    both = zip(verdicts(cells)[protocol], verdicts(cells, "path")[protocol], strict=True)
    return [CUT if path == "lower" else "either" if "equal" in reset else ADVICE[reset] for reset, path in both]


def cell_table(cells: Sequence[Cell], protocol: str = "own") -> "pandas.DataFrame":
    """Test accuracy of every gradient in per cent, and what follows, a row for each cell.

    Args:
        cells: as one family. With more than one surrogate the table names them.
        protocol: ``own`` or ``common``.
    """
    import pandas as pd

    rows = []
    several = len({cell.config.surrogate for cell in cells}) > 1
    trained = [name for name in STUDIED if any(name in cell.right[protocol] for cell in cells)]
    for cell, verdict, said in zip(cells, verdicts(cells)[protocol], advice(cells, protocol), strict=True):
        row = {"network": cell.network} | ({"surrogate": cell.config.surrogate} if several else {})
        row["Θ"] = f"{cell.config.temperature:g}"
        for name in trained:
            row[name] = f"{cell.accuracy(name, protocol):.1f}" if name in cell.right[protocol] else ""
        row["full - leak"] = str(cell.difference(protocol=protocol))
        rows.append(row | {"verdict": verdict, "recommended": said})
    return pd.DataFrame(rows)


def advice_table(cells: Sequence[Cell], protocol: str = "own") -> "pandas.DataFrame":
    """What follows for a network: a row for each temperature, a column for each network.

    Args:
        cells: as one family.
        protocol: ``own`` or ``common``.

    Returns:
        ``keep (+3.5 ± 1.2)``, with the accuracy of ``full`` less that of ``leak`` in percentage points; where the path
        is to be cut, with that of ``spatial`` less that of the better one.
    """
    import pandas as pd

    found: dict[float, dict[str, str]] = {}
    for cell, said in zip(cells, advice(cells, protocol), strict=True):
        pair = ("spatial", better(cell)) if said == CUT else (KEPT, DETACHED)
        words = f"{said} ({cell.difference(pair[1], pair[0], protocol):+.1f})"
        found.setdefault(cell.config.temperature, {})[cell.network] = words
    columns = ["Θ", *dict.fromkeys(cell.network for cell in cells)]
    rows = [{"Θ": f"{temperature:g}"} | found[temperature] for temperature in sorted(found)]
    return pd.DataFrame(rows, columns=columns).fillna("")


def usable_table(cells: Sequence[Cell], distances: Sequence[float] = (2.5, 5.0, 10.0)) -> "pandas.DataFrame":
    """Width of the range of usable learning rates in decades, ``full`` less ``leak``, a row for each cell.

    With two tuning seeds, the brackets are little more than the range of both.

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


def at_an_end(cells: Sequence[Cell]) -> list[str]:
    """Titles of the cells in which the best rate of ``full`` or ``leak`` is the smallest or the largest tried."""
    return [
        cell.title
        for cell in cells
        if {cell.learning_rates[0], cell.learning_rates[-1]}
        & {rates[name] for rates in cell.rates for name in (KEPT, DETACHED)}
    ]


def tally(cells: Sequence[Cell], protocol: str = "own") -> Mapping[str, int]:
    """How many cells there are, and for how many of them each is recommended; ``cut`` for ``CUT``."""
    said = advice(cells, protocol)
    counts = {word: said.count(word) for word in ("keep", "detach", "either", "open")}
    return {"all": len(said)} | counts | {"cut": said.count(CUT)}
