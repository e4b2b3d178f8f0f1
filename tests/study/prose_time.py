"""What the chapter on tasks of time says of the gradients."""

from prose import Entries, Evidence

from tsbp.gradients import STUDIED
from tsbp.study import cells, time_tables
from tsbp.study.cells import Cell


def one_layer(e: Evidence) -> list[Cell]:
    return [cell for cell in e.cells if cell.network == "128"]


def leak_is_even(e: Evidence) -> bool:
    """Over all widths it varies by less than half of what ``full`` does."""
    reached = {name: [one.accuracy(name).mean for one in one_layer(e)] for name in ("full", "leak")}
    spread = {name: max(means) - min(means) for name, means in reached.items()}
    return len(reached["leak"]) == 5 and spread["leak"] < spread["full"] / 2 and spread["leak"] < 4


THROUGH_MEMBRANES = ("128", "2 x 128", "4 x 128", "128 recurrent, no recurrent error")
"""Networks in which errors do not travel through recurrent weights."""


def words_at(e: Evidence, temperature: float) -> tuple[set[str], ...]:
    """Verdicts and recommendations of those networks."""
    verdicts, said = zip(*(e.cell_words[network, temperature] for network in THROUGH_MEMBRANES), strict=True)
    return set(verdicts), set(said)


def keep_at_moderate(e: Evidence) -> bool:
    return words_at(e, 0.2)[0] == {"higher"}


def detach_where_steep(e: Evidence) -> bool:
    return words_at(e, 0.02)[0] == {"lower"}


def detach_where_wide(e: Evidence) -> bool:
    return words_at(e, 2.0)[0] == {"lower"}


def moderate_or_not(e: Evidence) -> bool:
    return keep_at_moderate(e) and detach_where_steep(e) and detach_where_wide(e)


def cut_in_recurrent_networks(e: Evidence) -> bool:
    return all(e.cell_words["128 recurrent", width][1] == time_tables.CUT for width in (0.2, 2.0))


def wide_is_cut_or_detached(e: Evidence) -> bool:
    """And in one network at least ``spatial`` is the most accurate."""
    return detach_where_wide(e) and words_at(e, 2.0)[1] == {"detach", time_tables.CUT}


def even_or_tuned(e: Evidence) -> bool:
    return leak_is_even(e) and ahead_if_both_are_tuned(e)


def half_is_never_far(e: Evidence) -> bool:
    """Within two points of the better of both, as a mean."""
    return all(
        one.accuracy("0.5").mean > max(one.accuracy(name).mean for name in ("full", "leak")) - 2 for one in one_layer(e)
    )


def ahead_if_both_are_tuned(e: Evidence) -> bool:
    _, _, tuned = cells.each_at_its_best(one_layer(e))
    return tuned.mean > tuned.half_width


def recall_decides_nothing(e: Evidence) -> bool:
    """Neither between ``full`` and ``leak`` nor against ``spatial``; solved at short delays, not at the longest."""
    short, middle, long = cells.cells("time/recall")
    easy = min(cell.accuracy(name).mean for cell in (short, middle) for name in STUDIED)
    hard = max(long.accuracy(name).mean for name in STUDIED)
    both = (time_tables.verdicts([short, middle, long], difference)["own"] for difference in ("reset", "path"))
    return easy > 99 and hard < 90 and set().union(*both) <= {"equal", "open"}


def clipping_narrows_the_lead(e: Evidence) -> bool:
    """Of ``spatial`` at the width 0.2 in the recurrent network, and it is still ahead on average."""
    clipped = next(cell for cell in cells.cells("time/recurrent-clipped") if cell.config.temperature == 0.2)
    free = next(cell for cell in e.cells if cell.title == clipped.title)
    leads = [cell.difference(cells.better(cell), "spatial").mean for cell in (free, clipped)]
    return leads[0] > leads[1] > 0


def a_peak_of_one_is_kept_at_moderate(e: Evidence) -> bool:
    peaked = cells.cells("time/peak")
    words = zip(peaked, time_tables.verdicts(peaked)["own"], strict=True)
    return all(word == ("higher" if one.config.temperature == 0.2 else "open") for one, word in words)


def gains_at_moderate_loses_where_steep(e: Evidence) -> bool:
    words = {(width, word) for (_, width), (word, _) in e.cell_words.items() if word != "open"}
    return {word for width, word in words if width == 0.2} == {"higher"} and {
        word for width, word in words if width == 0.02
    } == {"lower"}


def spatial_is_best_in_few(e: Evidence) -> bool:
    """In fewer than a third of the cells, by the means."""
    best = [max(STUDIED, key=lambda name: cell.accuracy(name).mean) for cell in e.cells]
    return best.count("spatial") < len(best) / 3


RECOMMENDATIONS = (
    keep_at_moderate,
    detach_where_steep,
    wide_is_cut_or_detached,
    cut_in_recurrent_networks,
    even_or_tuned,
    recall_decides_nothing,
)
"""What the chapter and the front page recommend, in sentences without a comparative."""

ENTRIES = Entries(
    statements={
        "Clipping the gradient narrows this lead": clipping_narrows_the_lead,
        "clipping narrows the lead of `spatial` over": clipping_narrows_the_lead,
        "Wherever a difference is sure, keeping the reset gains": gains_at_moderate_loses_where_steep,
        "With a peak of 1 the reset is worth keeping": a_peak_of_one_is_kept_at_moderate,
        "half of the reset term, $c$ = ½, is never far": half_is_never_far,
        "The rule does not extend to `spatial`": spatial_is_best_in_few,
        "Keeping it costs {lost-1-wide} and {lost-4-wide} points": detach_where_wide,
        "`spatial` is the most accurate at": cut_in_recurrent_networks,
        "on test examples `full` is then {tuned-gain} points ahead": ahead_if_both_are_tuned,
    },
    computed=(
        "in {signs} of {cells-all} cells the gradient with the smaller one",
        "In {below-linear} cells no gradient is more accurate",
    ),
    neutral=(
        "Before the plan was written, a prototype",
        "If it is the reason, then of `full` and `leak`",
        "ten fresh seeds were tested at both",
        "is the smallest or the largest tried in",
        "and no difference is sure",
    ),
)
