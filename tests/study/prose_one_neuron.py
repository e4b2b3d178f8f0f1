"""What the chapter on one neuron says of the gradients."""

import numpy as np
import torch
from prose import Entries, Evidence

from tsbp.runs import experiments, records
from tsbp.study import studies, tables
from tsbp.study.claims import PAPERS_RATE
from tsbp.study.robustness import FACTORS
from tsbp.study.statistics import crossover

TABLE_1, PRECURSOR, LENGTH_ONE, ADAM = "toy/table-1", "toy/precursor", "toy/length-one", "toy/adam"
CHANGED = ("toy/momentum", "toy/uniform", "toy/positive", "toy/no-delay", "toy/subtractive-reset")
WIDE = "widths/neuron-sgd"
OPTIMISERS = ("single neuron, SGD", "single neuron, momentum 0.9", "single neuron, Adam")


def slower_below_the_papers_rate(e: Evidence) -> bool:
    return (e.loss(TABLE_1)["sure"][: PAPERS_RATE * 0.9] == 1).all()


def better_at_the_largest_rates(e: Evidence) -> bool:
    return (e.loss(TABLE_1)["sure"][0.05:] == -1).all()


def leak_is_ahead_then_stops_converging(e: Evidence) -> bool:
    """Converged: all spikes right to the end."""
    record = records.recorded(experiments.load(TABLE_1).config)
    share = dict(zip(record["gradients"], (np.array(record["converged"]) >= 0).mean(2)[:, -1], strict=True))
    ahead = e.means(TABLE_1)[:0.002].idxmin(axis="columns")
    return slower_below_the_papers_rate(e) and (ahead == "leak").all() and share["leak"] < 0.1 < 0.7 < share["full"]


def curves_cross_near_the_papers_rate(e: Evidence) -> bool:
    rates, losses = e.losses(TABLE_1)
    _, low, high = crossover(rates, losses["full"] - losses["leak"])
    return low < PAPERS_RATE < high < 4 * low


def spatial_is_lowest_at_the_largest_rate(e: Evidence) -> bool:
    return all(e.loss(TABLE_1, "spatial", other)["sure"].iloc[-1] == -1 for other in ("full", "leak"))


def claim_holds_at_the_largest_rates_and_is_too_kind(e: Evidence) -> bool:
    return better_at_the_largest_rates(e) and slower_below_the_papers_rate(e)


def leak_is_ahead_and_fails_first(e: Evidence) -> bool:
    """Under both sets of constants."""
    smallest = all(
        (e.loss(name)["sure"][:0.001] == 1).all() and e.loss(name, "leak", "spatial")["sure"][0.001] == -1
        for name in (TABLE_1, PRECURSOR)
    )
    return smallest and fails_first(e, TABLE_1, PRECURSOR)


def fails_first(e: Evidence, *names: str) -> bool:
    """``leak``, at a smaller rate than either other gradient."""
    return all(
        all(e.fails_at(name, "leak") < e.fails_at(name, other) for other in ("full", "spatial"))
        and e.loss(name)["sure"].iloc[-1] == e.loss(name)["sure"].iloc[-2] == -1
        for name in names
    )


def advantage_grows_over_leak(e: Evidence) -> bool:
    advantage = -e.loss(TABLE_1)["mean"][0.02:]
    return curves_cross_near_the_papers_rate(e) and advantage.is_monotonic_increasing and advantage.iloc[0] > 0


def advantage_over_spatial_begins_earlier_and_turns(e: Evidence) -> bool:
    sure = e.loss(TABLE_1, "full", "spatial")["sure"]
    return sure[0.002] == -1 and sure.iloc[-1] == 1


def competitive_with_spatial(e: Evidence) -> bool:
    """At small rates its loss is nowhere surely higher by more than a tenth."""
    small = e.loss(TABLE_1, "full", "spatial")["mean"][: PAPERS_RATE * 0.9]
    return (small < 0.1).all() and advantage_over_spatial_begins_earlier_and_turns(e)


def grows_but_is_behind_at_small_rates(e: Evidence) -> bool:
    return claim_holds_at_the_largest_rates_and_is_too_kind(e) and advantage_grows_over_leak(e)


def weaker_term_is_in_between(e: Evidence) -> bool:
    """Nearer to ``leak`` than to ``full`` at small rates; learns at 0.05, and not at 0.1."""
    mean = e.means("toy/missing-factor")
    small = mean[:0.002]
    near = (small["0.3"] - small["leak"] < small["full"] - small["0.3"]).all()
    learns = e.loss("toy/missing-factor", "0.3", "leak")["sure"][0.05] == -1
    return near and learns and mean["full"][0.1] + 0.3 < mean["0.3"][0.1]


def weaker_term_keeps_the_neuron_learning(e: Evidence) -> bool:
    """At 0.05, where ``leak`` begins to fail."""
    return e.loss("toy/missing-factor", "0.3", "leak")["sure"][0.05] == -1 and leak_is_longest(e)


def curves_cross_earlier(e: Evidence) -> bool:
    """Than under SGD with the gradient's own length: the intervals do not meet."""
    crossings = {}
    for name in (WIDE, *(f"widths/neuron-{one}" for one in ("momentum", "length-one", "adam"))):
        rates, losses = e.losses(name)
        crossings[name] = crossover(rates, losses["full"] - losses["leak"])
    _, first, _ = crossings.pop(WIDE)
    return all(0 < high < first for _, _, high in crossings.values())


def lengths_differ_more_than_directions(e: Evidence) -> bool:
    """And the angles to ``full`` are below 45°, as medians."""
    cosines = [torch.cosine_similarity(e.along["full"], e.along[name], dim=2) for name in ("leak", "spatial")]
    return leak_is_longest(e) and min(cosine.nanmedian().item() for cosine in cosines) > 0.5**0.5


def leak_is_longest(e: Evidence) -> bool:
    return np.nanmedian(e.lengths["leak"]) > 1.5 * np.nanmedian(e.lengths["full"]) > 1.5


def leak_is_longest_and_falls_silent(e: Evidence) -> bool:
    record = records.recorded(experiments.load(TABLE_1).config)
    silent = {name: share[-1] for name, share in zip(record["gradients"], record["silent_fraction"], strict=True)}
    return leak_is_longest(e) and silent["leak"] > 0.7 > 0.2 > max(silent["full"], silent["spatial"])


def length_explains_spatial_and_not_leak(e: Evidence) -> bool:
    halves = (e.collapse("full", "spatial"), e.collapse("leak", "spatial"))
    return all(low < 0.5 < high for _, low, high in halves) and little_is_length(e)


def little_is_length(e: Evidence) -> bool:
    """Less than half of what sets ``full`` and ``leak`` apart, and it need be nothing."""
    _, low, high = e.collapse("full", "leak")
    return low < 0 < high < 0.5


def leak_never_gets_as_low(e: Evidence) -> bool:
    lowest = e.means(WIDE).min()
    return little_is_length(e) and lowest["leak"] > 2 * max(lowest["full"], lowest["spatial"])


def momentum_moves_the_crossing(e: Evidence) -> bool:
    """To a tenth, which is in the interval."""
    found = {}
    for name in (WIDE, "widths/neuron-momentum"):
        rates, losses = e.losses(name)
        found[name] = crossover(rates, losses["full"] - losses["leak"])
    _, low, high = found["widths/neuron-momentum"]
    return low < found[WIDE][0] / 10 < high


def leak_is_the_worst_direction(e: Evidence) -> bool:
    """At no rate is it surely better than another; from ``spatial`` Adam sets it apart at five of eight rates."""
    sure = [e.loss(name, "leak", other)["sure"] for name in (LENGTH_ONE, ADAM) for other in ("full", "spatial")]
    return all((one >= 0).all() and (one == 1).sum() > len(one) / 2 for one in sure)


def term_improves_the_direction(e: Evidence) -> bool:
    """With lengths made equal, from where the curves cross on; not below."""
    sure = e.loss("widths/neuron-length-one")["sure"]
    rates, losses = e.losses("widths/neuron-length-one")
    crossed = float(tables.crossing(rates, losses["full"] - losses["leak"])[0])
    above, below = (sure[[rate for rate in rates if (rate > crossed) == side]] for side in (True, False))
    return little_is_length(e) and (above <= 0).all() and (above == -1).mean() > 0.5 and (below >= 0).all()


def neither_is_the_better_direction(e: Evidence) -> bool:
    return {-1, 1} <= set(e.loss(LENGTH_ONE, "full", "spatial")["sure"])


def leak_breaks_down_first_whatever_is_changed(e: Evidence) -> bool:
    return fails_first(e, TABLE_1, *CHANGED)


def heat(e: Evidence) -> bool:
    """Large: 0.05 and above, middling: 0.1 to 0.3; small: below 0.005, but for the smallest temperature."""
    over = e.temperatures
    helps = all((one["sure"][0.05:] == -1).all() for value, one in over.items() if 0.1 <= value <= 0.3)
    costs = all((one["mean"][:0.002] > 0).all() and one["sure"][0.002] >= 0 for one in over.values())
    return helps and costs and (over[0.05]["mean"] > 0).all() and over[0.05]["sure"].any()


def harm_sets_in_below_the_limit(e: Evidence) -> bool:
    """The limit is 0.208: at 0.15 the term still helps at large rates, at 0.05 nowhere."""
    return (e.temperatures[0.15]["sure"][0.05:] == -1).all() and heat(e)


def full_stays_shorter_than_leak(e: Evidence) -> bool:
    return max(e.at_temperature(value)[0] for value in (0.2, 0.15)) < 0.6


def full_grows_and_flips_where_it_is_steep(e: Evidence) -> bool:
    """Ratio of lengths near one at 0.05 alone; the share of opposed directions rises."""
    ratio, opposed = zip(*map(e.at_temperature, (0.3, 0.15, 0.1, 0.05)), strict=True)
    return max(ratio[:3]) < 0.7 < 0.9 < ratio[3] and opposed[0] < 0.02 and list(opposed[1:]) == sorted(opposed[1:])


def most_draws_are_learned(e: Evidence) -> bool:
    """Near 0.03, which lies between two rates of the record; the rates that are inserted are in this order."""
    record = records.recorded(experiments.load(TABLE_1).config)
    share = (np.array(record["converged"]) >= 0).mean(2)[:, [record["learning_rates"].index(x) for x in (0.02, 0.05)]]
    silent = studies.mostly_silent_from(experiments.load(WIDE))
    return (share > 0.5).all() and silent["leak"] < 0.8 * silent["full"]


def full_has_the_widest_range(e: Evidence) -> bool:
    """By about half a decade against ``leak``, under all three optimisers."""
    found = [e.widths(title).differences for title in OPTIMISERS]
    about_half = all(low < 0.5 < high and 0.4 < width < 0.6 for width, low, high in (one["leak"] for one in found))
    return about_half and full_is_wider_than_spatial(e) and full_is_wider_than_leak(e)


def full_is_wider_than_spatial(e: Evidence) -> bool:
    return all(e.widths(title).differences["spatial"][1] > 0 for title in OPTIMISERS)


def full_is_wider_than_leak(e: Evidence) -> bool:
    """However far a usable loss may be from the best."""
    found = [e.widths(title, factor).differences["leak"] for title in OPTIMISERS for factor in FACTORS]
    return all(low > 0 for _, low, _ in found)


def sgd_has_the_widest_range_whatever_is_usable(e: Evidence) -> bool:
    """And the ends of the ranges are known."""
    found = [e.widths(OPTIMISERS[0], factor) for factor in FACTORS]
    known = not any(any(one.open_below.values()) or any(one.open_above.values()) for one in found)
    return known and all(one.differences[other][1] > 0 for one in found for other in ("leak", "spatial"))


def spatial_is_wider_at_length_one(e: Evidence) -> bool:
    return e.widths("single neuron, gradient of length 1").differences["spatial"][2] < 0


def spatial_is_shortest_and_its_range_lies_higher(e: Evidence) -> bool:
    """It has the lowest loss at 0.2, and above that nothing is learned."""
    found = e.widths(OPTIMISERS[0])
    low, high = found.ranges["spatial"]
    others = [found.ranges[name] for name in ("full", "leak")]
    higher = all(low > one[0] and high > one[1] for one in others)
    lowest = all(e.loss(WIDE, "spatial", other)["sure"][0.2] == -1 for other in ("full", "leak"))
    ended = (e.means(WIDE)[0.5:] > 0.8).all(axis=None)
    return higher and lowest and ended and leak_is_longest(e) and found.differences["spatial"][1] > 0


def better_at_large_rates_with_everything(e: Evidence) -> bool:
    return all((e.loss(name)["sure"].iloc[-2:] == -1).all() for name in (TABLE_1, *CHANGED, ADAM, LENGTH_ONE))


def shorter_and_little_is_length(e: Evidence) -> bool:
    return leak_is_longest(e) and little_is_length(e)


ENTRIES = Entries(
    statements={
        "At small learning rates `leak` is ahead; at the largest it stops": leak_is_ahead_then_stops_converging,
        "`full` and `leak` cross near the paper's default": curves_cross_near_the_papers_rate,
        "At the largest rate tried `spatial` has the lowest": spatial_is_lowest_at_the_largest_rate,
        "So the paper's claim holds at the largest rates": claim_holds_at_the_largest_rates_and_is_too_kind,
        "Under both sets of constants `leak` is ahead": leak_is_ahead_and_fails_first,
        "Against `leak`, an advantage that begins near 0.005": grows_but_is_behind_at_small_rates,
        "`full` is competitive at small rates, but the advantage begins earlier": competitive_with_spatial,
        "learning is nearly as fast as with `leak` at small rates": weaker_term_is_in_between,
        "`leak` is the longest gradient and `spatial` the shortest": lengths_differ_more_than_directions,
        "At the same learning rate `leak` takes the longest steps": leak_is_longest,
        "Length explains half of what sets `spatial` apart": length_explains_spatial_and_not_leak,
        "`leak` never gets as low as the others": leak_never_gets_as_low,
        "move the rate at which `full` overtakes `leak`": momentum_moves_the_crossing,
        "With length taken out, `leak` is the worst direction": leak_is_the_worst_direction,
        "Most of the difference between `full` and `leak` remains": term_improves_the_direction,
        "Between `full` and `spatial` neither is better": neither_is_the_better_direction,
        "`leak` breaks down first as the learning rate grows": leak_breaks_down_first_whatever_is_changed,
        "With `leak`, errors of the same sign add up": leak_is_longest,
        "the share of silent neurons agree with this": leak_is_longest_and_falls_silent,
        "The reset term helps at large learning rates and moderate": heat,
        "The harm sets in well below the limit": harm_sets_in_below_the_limit,
        "So `full` stays shorter than `leak`": full_stays_shorter_than_leak,
        "does `full` become about as long as `leak`": full_grows_and_flips_where_it_is_steep,
        "each of them learns most draws exactly": most_draws_are_learned,
        "Under all three optimisers `full` has the widest range": full_has_the_widest_range,
        "With gradients of length one that of `spatial` is wider": spatial_is_wider_at_length_one,
        "it is the shortest gradient": spatial_is_shortest_and_its_range_lies_higher,
        "a little of it is enough to keep the neuron": weaker_term_keeps_the_neuron_learning,
        "under Adam, the curves cross at smaller learning rates": curves_cross_earlier,
        "reproduced against `leak` at the large rates": better_at_large_rates_with_everything,
        "not reproduced under SGD, where `full`": slower_below_the_papers_rate,
        "length alone does not explain the gap": shorter_and_little_is_length,
        "Against `spatial` it is not better at the largest": spatial_is_lowest_at_the_largest_rate,
        "`full` is ahead by {wider-leak} and {wider-spatial}": sgd_has_the_widest_range_whatever_is_usable,
    },
    computed=(
        "of the neurons trained with `leak` fall silent",
        "`full` takes steps {length-full} times as long",
        "At 0.2 its loss is {fails-spatial}",
        "So that of `spatial` should pass 0.5",
        "At {best-rate} they are {best-share} %",
    ),
    neutral=(
        "The rate from which on it is better depends",
        "the neuron fires and nothing is left for the next step",
        "`full` takes this into account",
        "That repository has one more variant",
        "With the reset term, the paper says, the algorithm",
        "**Afterwards** you know",
        "*Silent*: no output spike",
        "*Worse*: a larger loss than before",
        'The term is "more robust to learning-rate adjustments"',
        "A gradient is robust if a wide range",
        "<crossovers> has the rates",
        "Below zero the reset term helps",
        "That alone would put it ahead",
        "a range of learning rates so wide that training fails at both ends",
        "The learning rate at which the mean loss of `full` falls below",
        "Call a rate usable if the mean loss",
        "It was chosen after the losses up to a rate of 0.1",
    ),
)
