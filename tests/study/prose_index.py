"""What the front page says of the gradients."""

from prose import Entries, Evidence
from prose_data_sets import best_for_full_alone, no_test_runs_at_the_others_best, reduced_is_ahead, whole_is_open
from prose_one_neuron import (
    TABLE_1,
    better_at_the_largest_rates,
    full_is_wider_than_leak,
    full_is_wider_than_spatial,
    slower_below_the_papers_rate,
)
from prose_settings import MOMENTUM, leak_is_ahead_at_small_rates, networks, under_adamw_a_small_cost_is_sure

from tsbp.study import protocols


def best_depends_on_the_rate(e: Evidence) -> bool:
    """At some ``leak`` is surely better than both others, at some another one surely than ``leak``."""
    against = [e.loss(TABLE_1, "leak", other)["sure"] for other in ("full", "spatial")]
    return ((against[0] == -1) & (against[1] == -1)).any() and ((against[0] == 1) | (against[1] == 1)).any()


def slower_at_small_rates(e: Evidence) -> bool:
    return slower_below_the_papers_rate(e) and leak_is_ahead_at_small_rates(e)


def helps_at_large_rates(e: Evidence) -> bool:
    """The single neuron and the network on the digits; on MNIST not surely."""
    mnist, digits = ((e.accuracy(title)["sure"] == 1).any() for title in MOMENTUM)
    return better_at_the_largest_rates(e) and digits and not mnist


def range_is_widest_with_the_term(e: Evidence) -> bool:
    return full_is_wider_than_leak(e) and full_is_wider_than_spatial(e)


def most_networks_are_too_uncertain(e: Evidence) -> bool:
    found = [one for title in networks(e) for one in e.widths(title).differences.values()]
    return sum(low <= 0 <= high for _, low, high in found) > len(found) / 2


def as_well_without_it_on_mnist(e: Evidence) -> bool:
    """Equal in one training, and the term ahead in none; no difference on the digits under any protocol."""
    mnist = e.verdicts[e.verdicts["data set"].eq("MNIST") & e.verdicts["difference"].eq("full - leak")]
    digits = e.verdicts[e.verdicts["data set"].str.startswith("digits")]
    words = [word for word in mnist["verdict"] if word != "one seed"]
    fresh = protocols.comparisons(e.runs)
    tested = [pair for one, pair in zip(fresh, protocols.verdicts(fresh), strict=True) if "digits" in one.title]
    unsure = [*digits["verdict"], *(word for pair in tested for word in pair)]
    return "equal" in words and "higher" not in " ".join(words) and not any("er" in word for word in unsure)


ENTRIES = Entries(
    statements={
        "Which is best depends on the learning rate": best_depends_on_the_rate,
        "Under gradient descent it slows learning at small rates": slower_at_small_rates,
        "At large rates it helps the single neuron": helps_at_large_rates,
        "Under AdamW only a cost of less than a percentage point": under_adamw_a_small_cost_is_sure,
        "For the single neuron that range is widest with the term": range_is_widest_with_the_term,
        "most of the measured differences are too uncertain": most_networks_are_too_uncertain,
        "networks on MNIST learn as well without the term": as_well_without_it_on_mnist,
        "A reduced network on part of CIFAR-10 is more accurate": reduced_is_ahead,
        "that rate is the best one for `full` alone": best_for_full_alone,
        "`leak` does best at {reduced-rate-leak}": no_test_runs_at_the_others_best,
        "Whether the term helps when every gradient has its own best": no_test_runs_at_the_others_best,
        "The whole network leaves the question open too": whole_is_open,
    },
    neutral=(
        "The term belongs to the gradient of the smoothed neuron",  # chapters 2, 6 and 7 show it
        "is there a difference, or are they equal?",
        "how far apart the gradients point",
        "What the term costs in time and memory",
    ),
)
