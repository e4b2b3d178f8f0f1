"""What the chapter on one setting at a time says of the gradients."""

import numpy as np
import torch
from prose import Entries, Evidence, ends
from prose_one_neuron import full_is_wider_than_leak
from prose_time import moderate_or_not, wider_at_moderate_narrower_where_steep
from scipy import stats

from tsbp.study import studies
from tsbp.study.robustness import FACTORS

ADAMW, MOMENTUM = ("MNIST, AdamW", "digits, AdamW"), ("MNIST, momentum", "digits, momentum")
RATES = (*ADAMW, *MOMENTUM)
OTHER_SETTINGS = ("temperature", "time steps", "depth")


def leak_is_ahead_at_small_rates(e: Evidence) -> bool:
    """Under momentum, by test and in the order of the means, ``spatial`` last."""
    found = [e.mean_accuracy(title).iloc[0] for title in MOMENTUM]
    ordered = all(one["leak"] > one["full"] > one["spatial"] for one in found)
    return ordered and all(e.accuracy(title)["sure"].iloc[0] == -1 for title in MOMENTUM)


def leak_breaks_down_first(e: Evidence) -> bool:
    """At the rate 1 half of its trainings do, on both data sets together, and none with ``full``."""
    broken = sum(e.broken(title).loc[1.0] for title in MOMENTUM)
    runs = sum((e.studies[title].query("value == 1 and gradient == 'full'")["seed"].nunique()) for title in MOMENTUM)
    table = [[broken["leak"], runs - broken["leak"]], [broken["full"], runs - broken["full"]]]
    return broken["leak"] > broken["full"] and stats.fisher_exact(table).pvalue < 0.05


def spatial_breaks_down_last(e: Evidence) -> bool:
    largest = [e.broken(title).iloc[-1] for title in MOMENTUM]
    return all(one["spatial"] < min(one["full"], one["leak"]) for one in largest)


def momentum_repeats_the_single_neuron(e: Evidence) -> bool:
    return leak_is_ahead_at_small_rates(e) and leak_breaks_down_first(e) and spatial_breaks_down_last(e)


def adamw_is_close_near_the_best(e: Evidence) -> bool:
    """Within a point."""
    for title in ADAMW:
        means = e.mean_accuracy(title).loc[near_the_best(e, title)]
        if (means.max(axis="columns") - means.min(axis="columns")).max() >= 1:
            return False
    return True


def near_the_best(e: Evidence, title: str) -> list[float]:
    """The rates at which the mean over the gradients is within a point of the best."""
    means = e.mean_accuracy(title).mean(axis="columns")
    return means.index[means > means.max() - 1].tolist()


def under_adamw_costs_alone_are_sure(e: Evidence) -> bool:
    """And near the best rates they are below one point, even at the end of the interval."""
    costs = False
    for title in ADAMW:
        sure, best = e.accuracy(title)["sure"], near_the_best(e, title)
        accuracy = studies.by_value(e.studies[title])
        costs |= (sure == -1).any()
        small = all(ends((accuracy["full"] - accuracy["leak"]).loc[rate])[0] > -1 for rate in best if sure[rate] == -1)
        if (sure == 1).any() or not small:
            return False
    return bool(costs)


def closer_near_the_best_rate(e: Evidence) -> bool:
    """Than at either end of the rates tried."""
    for title in RATES:
        means = e.mean_accuracy(title)
        spread = means.max(axis="columns") - means.min(axis="columns")
        if spread[means.mean(axis="columns").idxmax()] > min(spread.iloc[0], spread.iloc[-1]):
            return False
    return True


def order_is_reversed(e: Evidence) -> bool:
    """At the rate 1, where ``leak`` has fallen behind."""
    fast = [e.mean_accuracy(title).loc[1.0] for title in MOMENTUM]
    return leak_is_ahead_at_small_rates(e) and all(one["leak"] < one["full"] < one["spatial"] for one in fast)


def leak_has_fallen_on_mnist(e: Evidence) -> bool:
    fast = e.mean_accuracy(MOMENTUM[0]).loc[1.0]
    return fast["leak"] + 10 < min(fast["full"], fast["spatial"])


def nothing_else_sets_full_and_leak_apart(e: Evidence) -> bool:
    """``spatial`` is behind at the largest temperature, and one of its trainings breaks down at the smallest."""
    apart = any(e.accuracy(title)["sure"].any() for title in OTHER_SETTINGS)
    return not apart and a_wide_surrogate_needs_the_path(e) and e.broken("temperature")["spatial"].iloc[0] == 1


def momentum_costs_then_helps_on_digits(e: Evidence) -> bool:
    """Below the best rate, and above it."""
    mnist, digits = (e.accuracy(title)["sure"] for title in MOMENTUM)
    best = [e.mean_accuracy(title).mean(axis="columns").idxmax() for title in MOMENTUM]
    small = all((sure.index[sure == -1] < rate).all() for sure, rate in zip((mnist, digits), best, strict=True))
    helps = digits.index[digits == 1]
    return leak_is_ahead_at_small_rates(e) and small and not (mnist == 1).any() and len(helps) and min(helps) > best[1]


def only_the_widest_surrogate_needs_the_path(e: Evidence) -> bool:
    ahead = {title: (e.accuracy(title, "full", "spatial")["sure"] == 1) for title in OTHER_SETTINGS}
    return a_wide_surrogate_needs_the_path(e) and sum(one.sum() for one in ahead.values()) == 1


def a_wide_surrogate_needs_the_path(e: Evidence) -> bool:
    return e.accuracy("temperature", "full", "spatial")["sure"].iloc[-1] == 1


def no_trend(e: Evidence) -> bool:
    """Over time steps or depth, by the interval of the slope."""
    trends = [ends(studies.over_all_values(e.studies[title])["trend"]) for title in ("time steps", "depth")]
    return all(low < 0 < high for low, high in trends)


def pooled_over_temperatures_it_costs(e: Evidence) -> bool:
    """And not over the other settings."""
    averages = [ends(studies.over_all_values(e.studies[title])["average"]) for title in OTHER_SETTINGS]
    return averages[0][1] < 0 and all(low < 0 < high for low, high in averages[1:])


def full_is_not_shown_to_be_ahead(e: Evidence) -> bool:
    """At any value of the other settings, and at the best rates."""
    best = [e.mean_accuracy(title).mean(axis="columns").idxmax() for title in RATES]
    near = [e.accuracy(title)["sure"][rate] for title, rate in zip(RATES, best, strict=True)]
    return max(near) <= 0 and not any((e.accuracy(title)["sure"] == 1).any() for title in OTHER_SETTINGS)


def leak_points_nearly_where_full_does(e: Evidence) -> bool:
    """Nearer than in the single neuron, and at many time steps ``spatial`` has moved away."""
    one = torch.cosine_similarity(e.along["full"], e.along["leak"], dim=2).arccos().rad2deg().nanmedian().item()
    networks = (
        e.studies["MNIST, AdamW"].query("lr == 0.01"),
        e.studies["digits, AdamW"].query("lr == 0.01"),
        e.studies["depth"].query("value == 8"),
        e.studies["time steps"].query("time_steps == 40"),
    )
    later = [np.nanmean(studies.angles_to_full(runs, "leak")[:, -2:], axis=(0, 1)).max() for runs in networks]
    over_steps = e.studies["time steps"].groupby("value")
    spatial = {value: np.nanmedian(studies.angles_to_full(runs, "spatial")) for value, runs in over_steps}
    return max(later) < one / 1.8 and spatial[40] > 1.5 * spatial[5]


def no_network_has_another_range(e: Evidence) -> bool:
    """With ``full`` than with ``leak``, by its interval."""
    return all(low <= 0 <= high for _, low, high in (e.widths(title).differences["leak"] for title in networks(e)))


def another_distance_shows_both(e: Evidence) -> bool:
    """A wider and a narrower range; the latter on the task of spike times too."""
    found = [e.widths(title, factor).differences["leak"] for title in networks(e) for factor in FACTORS]
    narrower = any(cell.usable().differences["leak"][2] < 0 for cell in e.cells)
    return any(low > 0 for _, low, _ in found) and any(high < 0 for *_, high in found) and narrower


def networks(e: Evidence) -> list[str]:
    return [title for title in e.rate_studies if "neuron" not in title]


def costs_and_helps_with_momentum(e: Evidence) -> bool:
    return leak_is_ahead_at_small_rates(e) and leak_breaks_down_first(e)


WITHOUT_A_COMPARATIVE = (
    another_distance_shows_both,
    leak_points_nearly_where_full_does,
    pooled_over_temperatures_it_costs,
)
"""What the chapter says in sentences without a comparative."""

ENTRIES = Entries(
    statements={
        "Under AdamW the differences are smaller": adamw_is_close_near_the_best,
        "With AdamW the only significant differences": under_adamw_costs_alone_are_sure,
        "at the distance used here, no network on images": no_network_has_another_range,
        "On a task of spike times the range is wider with": wider_at_moderate_narrower_where_steep,
        "Where only spike times tell the classes apart": moderate_or_not,
        "With momentum the pattern resembles that of the single": momentum_repeats_the_single_neuron,
        "The term costs accuracy significantly at small rates": momentum_costs_then_helps_on_digits,
        "It helps significantly at large rates on the digits alone": momentum_costs_then_helps_on_digits,
        "Where the surrogate is widest, and nowhere else": only_the_widest_surrogate_needs_the_path,
        "the range is wider with `full` than with `leak` under every": full_is_wider_than_leak,
        "the order of the three gradients at small rates": order_is_reversed,
        "still reach {fall-full} % on average": leak_has_fallen_on_mnist,
        "near the best rate the gradients are closer together": closer_near_the_best_rate,
        "At no single temperature, number of time steps or depth": nothing_else_sets_full_and_leak_apart,
        "No such trend is shown": no_trend,
        "`full` is not shown to be ahead of `leak`": full_is_not_shown_to_be_ahead,
        "With momentum, `leak` learns faster than `full`": costs_and_helps_with_momentum,
        "little of either is left": adamw_is_close_near_the_best,
    },
    computed=("wider in: {networks-wider}; narrower in: {networks-narrower}",),
    neutral=(
        "This chapter varies the rate in networks too",
        "In the study of depth the layers are convolutions",
        "the term makes no difference",
        "ask which of its settings decide",
        "{term-narrow}, {term-middle} and {term-wide}",
        "With the narrow surrogate the factor of `full` is negative",
        "A rate is usable for a network",
        "One might expect a term that travels through time",
        "How far apart do the gradients point?",
        "The width of the range of usable rates measures",
    ),
)
