"""What the chapter on tasks of time says of the gradients."""

from prose import Entries, Evidence

from tsbp.study import cells, time_tables


def judged() -> dict[tuple[str, float], str]:
    """Network and temperature → verdict at each gradient's own learning rate."""
    found = cells.cells("time/randman")
    words = time_tables.verdicts(found)["own"]
    return {(one.network, one.config.temperature): word for one, word in zip(found, words, strict=True)}


def keep_in_between(e: Evidence) -> bool:
    """For one hidden layer, and nowhere else is any gradient as accurate."""
    one_layer = {one.config.temperature: one for one in cells.cells("time/randman") if one.network == "128"}
    reached = {
        (t, name): one.accuracy(name).mean for t, one in one_layer.items() for name in ("full", "leak", "spatial")
    }
    words = judged()
    return max(reached, key=reached.__getitem__) == (0.2, "full") and words["128", 0.2] == "higher"


def detach_at_both_ends(e: Evidence) -> bool:
    words = judged()
    return words["128", 0.02] == words["128", 2.0] == "lower"


def in_short(e: Evidence) -> bool:
    words = judged()
    return keep_in_between(e) and detach_at_both_ends(e) and words["128", 0.06] == "higher"


ENTRIES = Entries(
    statements={
        "A network with one hidden layer is most accurate": keep_in_between,
        "it costs {cost-steep} points": detach_at_both_ends,
        "Keep the reset term at widths of the surrogate at which": in_short,
    },
)
