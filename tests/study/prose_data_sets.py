"""What the chapter on data sets says of the gradients."""

import numpy as np
from prose import Entries, Evidence, compared, ends
from prose_one_neuron import TABLE_1
from prose_time import keep_at_moderate

from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig
from tsbp.study import comparison, protocols
from tsbp.study.statistics import MARGIN

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
    tested = best["test_runs"]
    return best_for_full_alone(e) and tested["full"] > 0 and not tested[list(OTHERS)].any()


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


def whole_is_open(e: Evidence) -> bool:
    """Neither a difference nor equality."""
    return e.verdict("on CUDA", data_set="CIFAR-10") == "open"


def no_epoch_sets_them_apart(e: Evidence) -> bool:
    return not any(
        compared(np.arange(len(curves["full"])), curves["full"] - curves[other])["sure"].any()
        for curves in (learning_curves(e, name) for name in ("mnist", "nmnist", "digits"))
        for other in OTHERS
    )


def learning_curves(e: Evidence, preset: str) -> dict[str, np.ndarray]:
    """Gradient → test accuracy, ``[epochs, seeds]``."""
    runs = records.select(e.runs[e.runs["device"] == "cpu"], TrainingConfig.for_dataset(preset), comparison.MAY_DIFFER)
    return {
        name: np.array([[epoch["test_accuracy"] for epoch in metrics] for metrics in group["epoch_metrics"]]).T
        for name, group in runs.sort_values("seed").groupby("gradient")
    }


def equal_in_the_longer_training(e: Evidence) -> bool:
    """Within a tenth of a point."""
    return shorter_ones_leave_it_open(e) and as_good_in_the_longer_training(e) and MARGIN <= 0.1


def fair_verdicts(e: Evidence) -> dict[tuple[str, str], tuple[str, str]]:
    """Title and protocol → verdict against ``leak`` and against ``spatial``."""
    return {(one.title, one.protocol): pair for one, pair in zip(e.fair, protocols.verdicts(e.fair), strict=True)}


def digits_cost_at_the_common_rate(e: Evidence) -> bool:
    """Surely; at each gradient's own rate not surely, and by as much or less."""
    words = {protocol: pair[0] for (title, protocol), pair in fair_verdicts(e).items() if "digits" in title}
    return words["common"] == "lower" and digits_open_at_their_own_rates(e)


def digits_open_at_their_own_rates(e: Evidence) -> bool:
    fair = {one.protocol: one.outcomes for one in e.fair if "digits" in one.title}
    words = {protocol: pair[0] for (title, protocol), pair in fair_verdicts(e).items() if "digits" in title}
    return words["own"] == "open" and fair["own"].difference("leak").mean < 0


def no_gain_at_own_rates(e: Evidence) -> bool:
    return not any(
        "higher" in word for (_, protocol), pair in fair_verdicts(e).items() for word in pair if protocol == "own"
    )


ENTRIES = Entries(
    statements={
        "the gradients are as good as each other": as_good_in_the_longer_training,
        "On the reduced CIFAR-10 `full` is ahead of both": reduced_is_ahead_at_the_best_rate_of_full,
        "The other intervals are too wide": others_are_open,
        "holds in the longer training; the shorter ones leave it open": shorter_ones_leave_it_open,
        "So few seeds leave the difference open": whole_is_open,
        "points ahead of `leak` over {cifar10-reduced-recorded} seeds": reduced_is_ahead_in_each_seed,
        "It is the best rate for `full` alone": no_test_runs_at_the_others_best,
        "There all three learn too slowly": slow_and_full_the_slowest,
        "`spatial` is nowhere shown to be behind `full`": spatial_is_behind_there_alone,
        "At a single learning rate the term can look": can_look_harmful_or_helpful,
        "At no epoch is a difference between the gradients shown": no_epoch_sets_them_apart,
        "On MNIST, trained for long enough, the term makes no difference": equal_in_the_longer_training,
        "On small digits the term costs {digits-common}": digits_cost_at_the_common_rate,
        "With each gradient at its own rate `full` is not shown": no_gain_at_own_rates,
        "<07_time> has a task on which it is ahead": keep_at_moderate,
        "is not always the best one for each of them": best_for_full_alone,
    },
    computed=(
        "Of {fair-rows} differences, `full` is higher",
        "where the three gradients reach {long-accuracy} %",
        "At {slow-rate} the difference is",
        "accuracies are at most {papers-apart} percentage points apart",
        "The best training with `full` reaches {best-nmnist} %",
    ),
    neutral=(
        "On some data sets each gradient is also trained",
        "It was fixed before the longer trainings on MNIST",
        "*Power*: the probability that the uncorrected",
        'concludes that the term "does not help"',
        "This chapter repeats the comparison under controlled conditions",
        "**Afterwards** you know",
        "**A test that can show equality.**",
        "More data sets have been trained at a single learning rate",
        "the accuracy that counts is that of the *last* epoch",
        "A difference *paired* by example",
        "Cross-validation over all digits can",
        "the best may have won by chance",
        "stand digit for digit in [TSSL-BP's README]",
        "Where the gradients have different numbers of seeds",
        "*open*: neither a difference nor equality",
    ),
)
