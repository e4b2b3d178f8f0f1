"""What the front page says of the gradients."""

from prose import NEURON, Entries, Evidence
from prose_data_sets import (
    digits_cost_at_the_common_rate,
)
from prose_one_neuron import (
    TABLE_1,
    full_is_wider_than_leak,
    full_is_wider_than_spatial,
    leak_is_longest_and_falls_silent,
    slower_below_the_papers_rate,
    spatial_is_lowest_at_the_largest_rate,
)
from prose_settings import leak_is_ahead_at_small_rates
from prose_time import (
    moderate_is_best_of_those_tried,
    none_beats_the_linear_classifier,
    steep_and_wide_cost,
    where_wide_by_network,
)

from tsbp.gradients import STUDIED
from tsbp.runs import toy


def best_depends_on_the_rate(e: Evidence) -> bool:
    """At some ``leak`` is surely better than both others, at some another one surely than ``leak``."""
    against = [e.loss(TABLE_1, "leak", other)["sure"] for other in ("full", "spatial")]
    return ((against[0] == -1) & (against[1] == -1)).any() and ((against[0] == 1) | (against[1] == 1)).any()


def best_depends_and_spatial_is_lowest(e: Evidence) -> bool:
    return best_depends_on_the_rate(e) and spatial_is_lowest_at_the_largest_rate(e)


def slower_at_small_rates(e: Evidence) -> bool:
    return slower_below_the_papers_rate(e) and leak_is_ahead_at_small_rates(e)


def range_is_widest_with_the_term(e: Evidence) -> bool:
    return full_is_wider_than_leak(e) and full_is_wider_than_spatial(e)


def moderate_and_none_beats_the_classifier(e: Evidence) -> bool:
    return moderate_is_best_of_those_tried(e) and none_beats_the_linear_classifier(e)


def slower_and_silent_less_often(e: Evidence) -> bool:
    return slower_below_the_papers_rate(e) and leak_is_longest_and_falls_silent(e)


def keeps_networks_from_failing(e: Evidence) -> bool:
    """The single neuron's range is wider, and with momentum ``full`` is surely ahead on the digits at the rate 1."""
    return range_is_widest_with_the_term(e) and e.accuracy("digits, momentum")["sure"].loc[1.0] == 1


def as_well_without_it_on_mnist(e: Evidence) -> bool:
    """Equal in one training, and the term ahead in none."""
    mnist = e.verdicts[e.verdicts["data set"].eq("MNIST") & e.verdicts["difference"].eq("full - leak")]
    words = [word for word in mnist["verdict"] if word != "one seed"]
    return "equal" in words and "higher" not in " ".join(words)


def learns_as_well_at_smaller_rates(e: Evidence) -> bool:
    """The draw that the page shows: ``leak`` falls silent at its rate, and reaches the target at half of it."""
    found = toy.run(NEURON.but(learning_rates=(0.035, 0.071), gradients=STUDIED, repeats=1, dtype="float64"))
    final = {name: [found.final_loss(name, rate).item() for rate in (0.035, 0.071)] for name in STUDIED}
    return final["leak"][0] < 0.01 and final["leak"][1] > 0.5 and max(final["full"]) < 0.01


WITHOUT_A_COMPARATIVE = (as_well_without_it_on_mnist,)
"""What the page says in sentences without a comparative."""

ENTRIES = Entries(
    statements={
        "In feed-forward networks keeping it costs {lost-least}": steep_and_wide_cost,
        "no such network is shown to beat a linear": moderate_and_none_beats_the_classifier,
        "With the reset kept, a single neuron learns over a wider": full_is_wider_than_leak,
        "falls silent less often at large ones": slower_and_silent_less_often,
        "in deeper and in recurrent ones cutting the path is best": where_wide_by_network,
        "with momentum, networks on the digits are more accurate": keeps_networks_from_failing,
        "At the largest rate of <front> cutting the path": spatial_is_lowest_at_the_largest_rate,
        "Keeping the reset slows learning, in a single neuron": slower_at_small_rates,
        "Lower the learning rate until `leak` learns too": learns_as_well_at_smaller_rates,
        "On small digits keeping it costs {digits-common}": digits_cost_at_the_common_rate,
        "Which gradient is best depends on the learning rate": best_depends_and_spatial_is_lowest,
    },
    neutral=(
        "Which is best?",
        "A neuron learns a spike train in your browser",
        "restores the term to methods that leave it out",
        "At which learning rates does the term help",
        "On a second task, store and recall, no difference is sure",
    ),
)
