"""What the chapter on data sets says of the gradients."""

import numpy as np
from prose import Entries, Evidence, compared, ends
from prose_one_neuron import TABLE_1

from tsbp.gradients import STUDIED
from tsbp.runs import records
from tsbp.runs.settings import TABLE_2, TrainingConfig
from tsbp.study import comparison

REDUCED = TrainingConfig.for_dataset("cifar10-reduced")
OTHERS = ("leak", "spatial")


def as_good_in_the_longer_training(e: Evidence) -> bool:
    """On MNIST, and on the subset of N-MNIST."""
    return all(
        e.verdict(training, f"full - {other}", data_set) == "equal"
        for training, data_set in (("mnist-long", "MNIST"), (r"20 epochs, bfloat16$", "N-MNIST"))
        for other in OTHERS
    )


def reduced_is_ahead(e: Evidence) -> bool:
    return all(
        e.verdict("cifar10-reduced", f"full - {other}") == "higher" and e.interval("cifar10-reduced", other)[0] > 0
        for other in OTHERS
    )


def reduced_is_ahead_at_the_best_rate_of_full(e: Evidence) -> bool:
    return reduced_is_ahead(e) and best_for_full_alone(e)


def reduced_is_ahead_in_each_seed(e: Evidence) -> bool:
    found = e.accuracies("cifar10-reduced")
    return reduced_is_ahead(e) and (found["full"] > found["leak"]).all()


def best_for_full_alone(e: Evidence) -> bool:
    best = comparison.best_held_out(e.runs, REDUCED)["lr"]
    return best["full"] == REDUCED.lr and all(best[other] != REDUCED.lr for other in OTHERS)


def no_test_runs_at_the_others_best(e: Evidence) -> bool:
    best = comparison.best_held_out(e.runs, REDUCED)
    return best.loc["full", "test_runs"] > 0 and not best.loc[list(OTHERS), "test_runs"].any()


def three_left_it_open(e: Evidence) -> bool:
    """And those added to them did not."""
    difference = comparison.paired_difference(e.accuracies("cifar10-reduced"), "leak")
    return ends(difference[:3])[0] < 0 < ends(difference[3:])[0]


def full_keeps_the_highest_accuracy(e: Evidence) -> bool:
    """At the next rate above, where the mean has fallen by more than ten points."""
    held_out = comparison.held_out(e.runs, REDUCED, "lr")
    found = held_out.pivot_table(index="lr", columns="gradient", values="validation_accuracy")
    beyond = found[found.index > REDUCED.lr].iloc[0]
    return beyond.idxmax() == "full" and beyond.mean() < found.loc[REDUCED.lr].mean() - 10


def slow_and_full_the_slowest(e: Evidence) -> bool:
    """There, and among single neurons at the smallest rate."""
    slowest = all(ends(comparison.paired_difference(e.slow, other))[1] < 0 for other in OTHERS)
    neuron = all(e.loss(TABLE_1, "full", other)["sure"].iloc[0] == 1 for other in OTHERS)
    return slowest and neuron and e.slow.to_numpy().mean() < e.accuracies("cifar10-reduced").to_numpy().mean() - 5


def can_look_harmful_or_helpful(e: Evidence) -> bool:
    return slow_and_full_the_slowest(e) and reduced_is_ahead(e)


def spatial_is_behind_there_alone(e: Evidence) -> bool:
    words = e.verdicts.query("difference == 'full - spatial' and verdict == 'higher'")
    return reduced_is_ahead(e) and len(words) == 1


def others_are_open(e: Evidence) -> bool:
    """But for the subset of N-MNIST."""
    named = e.verdicts["training"].str.contains("mnist-long|cifar10-reduced")
    named |= e.verdicts["data set"].str.startswith("N-MNIST") & e.verdicts["T"].eq(30)
    return set(e.verdicts["verdict"][~named]) <= {"open", "one seed"}


def shorter_ones_leave_it_open(e: Evidence) -> bool:
    shorter = [e.verdict(training, data_set="MNIST") for training in (r"20 epochs, bfloat16$", "mnist-30")]
    return e.verdict("mnist-long") == "equal" and set(shorter) == {"open"}


def longer_training_is_better(e: Evidence) -> bool:
    return (e.accuracies("mnist-long").mean() >= e.accuracies("mnist").mean()).all()


def digits_by_themselves_are_a_cost(e: Evidence) -> bool:
    return e.interval("digits")[1] < 0 and e.verdict("20 epochs, float32$", data_set="digits") == "open"


def full_came_last_on_held_out_digits(e: Evidence) -> bool:
    tried = comparison.held_out(e.runs, TrainingConfig.for_dataset("digits"), "lr")
    found = tried.pivot_table(index="lr", columns="gradient", values="validation_accuracy")[list(STUDIED)]
    return len(found) > 1 and (found.idxmin(axis="columns") == "full").all()


def whole_falls_short(e: Evidence) -> bool:
    """Of the paper's number, ``full`` ahead in each seed."""
    found = e.accuracies("cifar10", "cuda").dropna(subset=["full", "leak"])
    return found["full"].max() < TABLE_2["cifar10"]["full"] and (found["full"] > found["leak"]).all()


def whole_is_open(e: Evidence) -> bool:
    """Neither a difference nor equality."""
    return e.verdict("on CUDA", data_set="CIFAR-10") == "open"


def no_epoch_sets_them_apart(e: Evidence) -> bool:
    return not any(
        compared(np.arange(len(curves["full"])), curves["full"] - curves[other])["sure"].any()
        for curves in (learning_curves(e, name) for name in ("mnist", "nmnist", "digits"))
        for other in OTHERS
    )


def full_is_lowest_on_digits_at_most_epochs(e: Evidence) -> bool:
    means = {name: curve.mean(1) for name, curve in learning_curves(e, "digits").items()}
    return (means["full"] < np.minimum(means["leak"], means["spatial"])).mean() > 0.5


def learning_curves(e: Evidence, preset: str) -> dict[str, np.ndarray]:
    """Gradient → test accuracy, ``[epochs, seeds]``."""
    runs = records.select(e.runs[e.runs["device"] == "cpu"], TrainingConfig.for_dataset(preset), comparison.MAY_DIFFER)
    return {
        name: np.array([[epoch["test_accuracy"] for epoch in metrics] for metrics in group["epoch_metrics"]]).T
        for name, group in runs.sort_values("seed").groupby("gradient")
    }


ENTRIES = Entries(
    statements={
        "the gradients are as good as each other": as_good_in_the_longer_training,
        "On the reduced CIFAR-10 `full` is ahead of both": reduced_is_ahead_at_the_best_rate_of_full,
        "The other intervals are too wide": others_are_open,
        "holds in the longer training, and has a size": shorter_ones_leave_it_open,
        "brings the mean of the three gradients to": longer_training_is_better,
        "by itself that is a cost": digits_by_themselves_are_a_cost,
        "`full` came last at every rate": full_came_last_on_held_out_digits,
        "falls short of the paper's {paper-full} %": whole_falls_short,
        "So few seeds leave it open": whole_is_open,
        "points ahead of `leak` over {cifar10-reduced-recorded} seeds": reduced_is_ahead_in_each_seed,
        "Three seeds, run first, had left it open": three_left_it_open,
        "It is the best rate for `full` alone": best_for_full_alone,
        "There are no test runs at the best rate": no_test_runs_at_the_others_best,
        "`full` keeps the highest accuracy": full_keeps_the_highest_accuracy,
        "There all three learn too slowly": slow_and_full_the_slowest,
        "`spatial` is nowhere shown to be behind `full`": spatial_is_behind_there_alone,
        "At a single learning rate the term can look": can_look_harmful_or_helpful,
        "At no epoch is a difference between the gradients shown": no_epoch_sets_them_apart,
        "the mean of `full` is the lowest at most epochs": full_is_lowest_on_digits_at_most_epochs,
    },
    computed=(
        "At 5 time steps the term changes the accuracy by",
        "At the 30 time steps of the paper",
        "On the held-out images `full` had",
        "At {slow-rate}, the best rate on the *digits*",
    ),
    neutral=(
        "the paper <yang2020> finds no difference",
        "This chapter repeats the comparison under controlled conditions",
        "stand digit for digit in [TSSL-BP's README]",
        "If quoted, the column compares two rules",
        "Where the gradients have different numbers of seeds",
        "Is there a difference?",
        "*open*: neither a difference nor equality",
        "Every other comparison here is at one rate",
        "*Verdict*: `full` is higher or lower than the other",
        "*Power* is the probability that a test of equality",
        "*Common* is the best rate for all together",
        "Learning rates were tried on training examples",
    ),
)
