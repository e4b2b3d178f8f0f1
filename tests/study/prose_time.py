"""What the chapter on tasks of time says of the gradients."""

from prose import Entries, Evidence

from tsbp.study import cells, time_tables
from tsbp.study.cells import Cell


def judged() -> dict[tuple[str, float], str]:
    """Network and temperature → verdict on ``full`` against ``leak`` at each one's own learning rate."""
    found = cells.cells("time/randman")
    words = time_tables.verdicts(found)["own"]
    return {(one.network, one.config.temperature): word for one, word in zip(found, words, strict=True)}


def one_layer() -> dict[float, Cell]:
    return {one.config.temperature: one for one in cells.cells("time/randman") if one.network == "128"}


def leak_is_even(e: Evidence) -> bool:
    """Over all widths it varies by less than half of what ``full`` does."""
    reached = {name: [one.accuracy(name).mean for one in one_layer().values()] for name in ("full", "leak")}
    spread = {name: max(means) - min(means) for name, means in reached.items()}
    return len(reached["leak"]) == 5 and spread["leak"] < spread["full"] / 2 and spread["leak"] < 4


def costs_at_both_ends(e: Evidence) -> bool:
    words = judged()
    return words["128", 0.02] == words["128", 2.0] == "lower"


def pays_in_between(e: Evidence) -> bool:
    words = judged()
    _, _, tuned = cells.each_at_its_best(list(one_layer().values()))
    return words["128", 0.06] == words["128", 0.2] == "higher" and tuned.mean > tuned.half_width


def moderate_or_not(e: Evidence) -> bool:
    return costs_at_both_ends(e) and pays_in_between(e)


def half_is_never_far(e: Evidence) -> bool:
    """Within two points of the better of both, as a mean."""
    return all(
        one.accuracy("0.5").mean > max(one.accuracy(name).mean for name in ("full", "leak")) - 2
        for one in one_layer().values()
    )


def ahead_if_both_are_tuned(e: Evidence) -> bool:
    _, _, tuned = cells.each_at_its_best(list(one_layer().values()))
    return tuned.mean > tuned.half_width


ENTRIES = Entries(
    statements={
        "works about equally well at every width": leak_is_even,
        "Keeping it (`full`) costs {cost-steep} points": costs_at_both_ends,
        "In between it pays": pays_in_between,
        "Half of the reset term, $c$ = ½, is never far": half_is_never_far,
        "on test examples `full` is then {tuned-gain} points ahead": ahead_if_both_are_tuned,
    },
    neutral=(
        "ten fresh seeds were tested at both",
        "A network that breaks down counts",
    ),
)
