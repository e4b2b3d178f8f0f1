"""What the chapter on tasks of time says of the gradients."""

from prose import Entries, Evidence

from tsbp.gradients import STUDIED
from tsbp.runs import controls, data
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


def spatial_is_best_when_clipped(e: Evidence) -> bool:
    """At every width of the recurrent network."""
    return set(time_tables.advice(cells.cells("time/recurrent-clipped"))) == {time_tables.CUT}


def clipping_narrows_the_lead(e: Evidence) -> bool:
    """Of ``spatial`` at the width 0.2 in the recurrent network, over ``full``, and it is still ahead on average."""
    clipped = next(cell for cell in cells.cells("time/recurrent-clipped") if cell.config.temperature == 0.2)
    if cells.better(clipped) != "full":
        return False
    free = next(cell for cell in e.cells if cell.title == clipped.title)
    leads = [cell.difference(cells.better(cell), "spatial").mean for cell in (free, clipped)]
    return leads[0] > leads[1] > 0


def a_peak_of_one_is_kept_at_moderate(e: Evidence) -> bool:
    peaked = cells.cells("time/peak")
    words = zip(peaked, time_tables.verdicts(peaked)["own"], strict=True)
    return all(word == ("higher" if one.config.temperature == 0.2 else "open") for one, word in words)


def gains_at_moderate_loses_where_steep(e: Evidence) -> bool:
    """And loses where it is wide."""
    words = {(width, word) for (_, width), (word, _) in e.cell_words.items() if word != "open"}
    return words == {(0.06, "higher"), (0.2, "higher"), (0.02, "lower"), (2.0, "lower")}


def recurrent_networks_train_badly(e: Evidence) -> bool:
    """With ``full``, less accurate at every width than the same layer without recurrent weights."""
    found = {(cell.network, cell.config.temperature): cell.accuracy("full").mean for cell in e.cells}
    return all(found["128 recurrent", width] < found["128", width] for width in (0.02, 0.2, 2.0))


def none_beats_the_linear_classifier(e: Evidence) -> bool:
    """Where a feed-forward network is steep or wide; of the interval over seeds and test examples."""
    linear = controls.first_spike_accuracy(data.load("randman", time_steps=100))
    forward = [cell for cell in e.cells if not cell.recurrent and cell.config.temperature in (0.02, 2.0)]
    reached = [cell.accuracy(name) for cell in forward for name in STUDIED]
    return len(reached) == 18 and all(one.mean - one.half_width <= linear for one in reached)


def moderate_is_best_of_those_tried(e: Evidence) -> bool:
    """``full`` at 0.2 reaches a higher mean than anything at 0.02 and 2, in each feed-forward network."""
    forward = [cell for cell in e.cells if not cell.recurrent]
    best = {cell.network: cell.accuracy("full").mean for cell in forward if cell.config.temperature == 0.2}
    others = [cell for cell in forward if cell.config.temperature != 0.2]
    return all(best[cell.network] > cell.accuracy(name).mean for cell in others for name in STUDIED)


def usable(e: Evidence, network: str, temperature: float) -> tuple[float, float, float]:
    """Width of the usable range with the reset kept less that with it detached, with its interval."""
    cell = next(one for one in e.cells if (one.network, one.config.temperature) == (network, temperature))
    return cell.usable(5.0).differences["leak"]


def wider_at_moderate_narrower_where_steep(e: Evidence) -> bool:
    """The mean of it, in networks in which no error travels through recurrent weights, and not where it does."""
    moderate, steep = (
        {network: usable(e, network, width)[0] for network in (*THROUGH_MEMBRANES, "128 recurrent")}
        for width in (0.2, 0.02)
    )
    as_said = {network: moderate[network] > 0 > steep[network] for network in moderate}
    return not as_said.pop("128 recurrent") and all(as_said.values())


def h3_by_its_cells(e: Evidence) -> bool:
    one, four = ("128", "4 x 128")
    wider = [usable(e, network, 0.2)[1] > 0 for network in (one, four)]
    not_wider = [usable(e, network, 2.0)[1] <= 0 for network in (one, four)]
    return all(wider + not_wider) and usable(e, one, 2.0)[2] < 0 <= usable(e, four, 2.0)[2]


def where_wide_by_network(e: Evidence) -> bool:
    """And the recurrent network at 0.2."""
    at = {network: said for (network, width), (_, said) in e.cell_words.items() if width == 2.0}
    detached = {network for network, said in at.items() if said == "detach"}
    rest = {said for network, said in at.items() if network not in detached}
    return detached == {"128", "2 x 128"} and rest == {time_tables.CUT} and cut_in_recurrent_networks(e)


def steep_and_wide_cost(e: Evidence) -> bool:
    return detach_where_steep(e) and detach_where_wide(e)


def leak_depends_on_the_width_when_deeper(e: Evidence) -> bool:
    reached = {
        network: [cell.accuracy("leak").mean for cell in e.cells if cell.network == network]
        for network in ("2 x 128", "4 x 128")
    }
    return all(max(means) - min(means) > 7 for means in reached.values())


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
    leak_depends_on_the_width_when_deeper,
)
"""What the chapter and the front page recommend, in sentences without a comparative."""

ENTRIES = Entries(
    statements={
        "They train badly: with `full` at": recurrent_networks_train_badly,
        "Keeping it costs {lost-1-steep} and {lost-4-steep} points": detach_where_steep,
        "Among the widths tried, a moderate one": moderate_is_best_of_those_tried,
        "detaching is the safe choice if": leak_is_even,
        "each choice is the better one at some widths": gains_at_moderate_loses_where_steep,
        "H3 counts as supported if one of its four": h3_by_its_cells,
        "keeping the reset widens the range of usable": wider_at_moderate_narrower_where_steep,
        "With clipping `spatial` is the most accurate": spatial_is_best_when_clipped,
        "its lead over `full` is narrower than without": clipping_narrows_the_lead,
        "Left: where a difference is significant, keeping": gains_at_moderate_loses_where_steep,
        "With a peak of 1 the reset is worth keeping": a_peak_of_one_is_kept_at_moderate,
        "half of the reset term, $c$ = ½, is never far": half_is_never_far,
        "The rule does not extend to `spatial`": spatial_is_best_in_few,
        "Keeping it costs {lost-1-wide} and {lost-4-wide} points": detach_where_wide,
        "`spatial` is the most accurate at $": cut_in_recurrent_networks,
        "on test examples `full` is then {tuned-gain} points ahead": ahead_if_both_are_tuned,
    },
    computed=(
        "in {signs} of {cells-all} cells, of `full` and `leak` the one with",
        "it is better to cut the path along the membrane altogether",
        "With `full` and `leak`, the shares of potentials near the threshold",
        "In {below-linear} cells no gradient is more accurate",
    ),
    neutral=(
        "On this task `spatial` was the least accurate in it",
        "The gradient through it hurts training if the surrogate",
        "this has nothing to do with detaching the reset",
        "The brackets come from two tuning seeds",
        "For a first guess in a network of your own",
        "How some rules are computed was decided after",
        "Verdict: `full` against `leak`, after Holm's correction",
        "If it is the reason, then of `full` and `leak`",
        "ten fresh seeds were tested at both",
        "is the smallest or the largest tried in",
        "and no difference is sure",
    ),
)
