"""The claims of the paper, each with a verdict that follows from the records by the rule in its function."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from tsbp.gradients import STUDIED
from tsbp.peers import survey
from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.bench import BenchConfig
from tsbp.runs import experiments, records
from tsbp.runs.settings import TABLE_2, TrainingConfig
from tsbp.study.comparison import best_held_out, by_seed, groups, paired_difference, short, titles
from tsbp.study.display import Output, latex
from tsbp.study.protocols import comparisons
from tsbp.study.protocols import verdicts as protocol_verdicts
from tsbp.study.robustness import LOSS_DISTANCE, NEURON, in_decades, rate_studies, widths
from tsbp.study.statistics import (
    MARGIN,
    bootstrap_interval,
    equivalence,
    holm,
    mean_interval,
    p_values,
    ratio_interval,
    verdicts,
    with_interval,
)
from tsbp.study.studies import loss_study

if TYPE_CHECKING:
    import pandas

REPRODUCED = "reproduced"
CAVEAT = "reproduced with a caveat"
NOT_REPRODUCED = "not reproduced"
OPEN = "open"
NOT_MEASURED = "not measured here"

PAPERS_RATE = 0.005
"""The learning rate of the single neuron above which the paper sees an advantage."""

COMPETITIVE = 0.05
"""Final loss of the single neuron by which a competitive gradient may be behind; the initial loss is about 1."""

NAMED_BY_THE_PAPER = ("SLAYER", "STBP", "SuperSpike", "ANTLR")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper and what became of it."""

    says: str
    """In our words."""
    source: str
    """Where in the paper."""
    verdict: str
    number: str
    """What decides it, in a few words."""
    evidence: str
    section: str
    """Of this book: the page and the heading's anchor."""
    records: tuple[str, ...]
    """Names of the records that the evidence comes from."""


def claims() -> list[Claim]:
    """All of them, in the paper's order."""
    runs = records.load("train")
    neuron = [large_rates(), small_rates(), robustness(runs)]
    tables = [networks(runs, dataset) for dataset in ("mnist", "nmnist", "cifar10")]
    return [earlier_work(), *neuron, *tables, real_data(runs), cost()]


def earlier_work() -> Claim:
    """Not reproduced if the code of one of the methods that the paper names differentiates the reset."""
    kept = [name for name in NAMED_BY_THE_PAPER if name in survey.named("kept")]
    config = AgreementConfig()
    distances = records.recorded(config)["distances"]
    same = ", ".join(f"{name} to {distances[name]['full']:.0e}" for name in ("SpikingJelly", "Norse"))
    return Claim(
        "All earlier work leaves the term out.",
        "3",
        NOT_REPRODUCED if kept else REPRODUCED,
        f"{len(kept)} of {len(NAMED_BY_THE_PAPER)} named methods keep it",
        f"Of the {len(NAMED_BY_THE_PAPER)} methods named, {', '.join(kept) or 'none'} has it in its public code. "
        f"Of {len(survey.METHODS)} neurons read, {len(survey.named('kept'))} keep it; run as they come, "
        f"libraries equal the gradient with the term: {same}.",
        "03_other_methods.html",
        (records.name_of(config),),
    )


def large_rates() -> Claim:
    """Whether ``full`` has the lower loss at rates above the paper's; the rates are one family of comparisons.

    Reproduced if at every one of them, with a caveat if at some and at none the higher, not reproduced if at one the
    higher; open if nothing is sure.
    """
    rates, losses, name = _single_neuron()
    lower, higher, _, words = _against_leak(rates, losses, rates > PAPERS_RATE)
    return Claim(
        f'On a single neuron it "performs better when learning rate is > {PAPERS_RATE:g}".',
        "4.2, Fig. 3",
        NOT_REPRODUCED if higher.any() else REPRODUCED if lower.all() else CAVEAT if lower.any() else OPEN,
        f"loss {losses['full'][-1].mean():.2f} with, {losses['leak'][-1].mean():.2f} without at {rates[-1]:g}",
        f"{words}. At {rates[-1]:g} it is {losses['full'][-1].mean():.2f} against {losses['leak'][-1].mean():.2f}.",
        "04_one_neuron.html#learning-rates",
        (name,),
    )


def small_rates() -> Claim:
    """Whether ``full`` is competitive at rates below the paper's: its loss is not higher by more than ``COMPETITIVE``.

    Reproduced if the intervals of all rates end below that; not reproduced if at one of them the loss is surely higher,
    and by more than that; with a caveat if it is surely higher, but by less; else open.
    """
    rates, losses, name = _single_neuron()
    below = rates < PAPERS_RATE
    _, higher, (mean, low, high), words = _against_leak(rates, losses, below)
    worst = mean.argmax()
    sure = NOT_REPRODUCED if (higher & (low > COMPETITIVE)).any() else CAVEAT if higher.any() else OPEN
    return Claim(
        'At smaller learning rates it has "competitive performance".',
        "4.2",
        REPRODUCED if (high < COMPETITIVE).all() else sure,
        f"loss {mean[worst]:+.2f} [{low[worst]:+.2f}, {high[worst]:+.2f}] with it at {rates[below][worst]:g}",
        f"{words}; at {rates[below][worst]:g} by {mean[worst]:.2f} [{low[worst]:.2f}, {high[worst]:.2f}].",
        "04_one_neuron.html#learning-rates",
        (name,),
    )


def _against_leak(
    rates: np.ndarray, losses: dict[str, np.ndarray], chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], str]:
    """Loss of ``full`` minus that of ``leak`` at the rates chosen, as one family of comparisons.

    Returns:
        Where it is surely lower, and surely higher; mean and ends of its interval; and all of it in words.
    """
    difference = losses["full"][chosen] - losses["leak"][chosen]
    mean, sure = difference.mean(-1), p_values(difference) < 0.05
    words = verdicts([f"{rate:g}" for rate in rates[chosen]], difference)
    said = f"Final loss with the term, against without: {words}"
    return sure & (mean < 0), sure & (mean > 0), (mean, *bootstrap_interval(difference)), said


def robustness(runs: "pandas.DataFrame") -> Claim:
    """Whether the range of usable rates is wider with ``full`` than with ``leak``, for the single neuron under SGD.

    Reproduced if its interval says so, and says so against ``spatial`` too, and nothing else that was tried (another
    optimiser, a network) says the opposite; with a caveat if not all of that holds; open if the interval holds zero.
    """
    found = {study.title: widths(study) for study in rate_studies(runs)}
    experiment = experiments.load(NEURON)
    neuron = found[experiment.title]
    difference, low, high = neuron.differences["leak"]
    beyond = neuron.differences["spatial"][1] > 0
    neurons = {title for title in found if "neuron" in title}
    opposed = {title for title, one in found.items() if one.differences["leak"][2] < 0}
    wider = {title for title, one in found.items() if one.differences["leak"][1] > 0}
    ranges = ", ".join(f"{in_decades(*neuron.widths[name])} with {name}" for name in STUDIED)
    evidence = f"{experiment.title}: the range of learning rates with a mean loss within {LOSS_DISTANCE:g} of the best "
    evidence += f"is, in decades, {ranges}; full less leak: {in_decades(*neuron.differences['leak'], '+')}, "
    evidence += f"full less spatial: {in_decades(*neuron.differences['spatial'], '+')}. "
    for kind, studied in (("a single neuron", neurons), ("networks on images", found.keys() - neurons)):
        those = f" ({'; '.join(sorted(studied & opposed))})" if studied & opposed else ""
        evidence += f"Of {len(studied)} studies of {kind}, full is surely wider than leak in {len(studied & wider)} "
        evidence += f"and narrower in {len(studied & opposed)}{those}. "
    return Claim(
        'It is "more robust to learning-rate adjustments on a toy dataset".',
        "abstract",
        NOT_REPRODUCED if high < 0 else OPEN if low <= 0 else REPRODUCED if beyond and not opposed else CAVEAT,
        f"usable range {in_decades(difference, low, high)} decades wider with it",
        evidence.rstrip(),
        "04_one_neuron.html#how-robust",
        (records.name_of(experiment.config),),
    )


def networks(runs: "pandas.DataFrame", dataset: str) -> Claim:
    """Whether ``full`` and ``leak`` train networks equally well.

    Reproduced if they are equal within ``MARGIN`` in every training that was measured on the whole data set; with a
    caveat if in some; not reproduced if they differ in one by more than the margin. Parts of a data set and other
    encodings of it decide nothing: with them alone, or too few runs, it is open.
    """
    whole, evidence, rate, names = [], [], [], []
    for config, preset, group in groups(runs, dataset):
        difference = paired_difference(by_seed(group), "leak")
        if not len(difference):
            continue
        note = group["data_note"].iloc[0]
        names += [Path(path).stem for path in group["path"]]
        size = f"{with_interval(difference, '+.2f')} points, {len(difference)} seeds, T = {config.time_steps}"
        what = ", ".join(filter(None, [preset, short(note)]))
        evidence.append(f"{size} ({what})" if what else size)
        mean, half_width = mean_interval(difference)
        if abs(mean) > half_width:
            rate.append(favoured(runs, config))
        if not note:
            whole.append(difference)
    reported = TABLE_2[dataset]
    number = f"{with_interval(max(whole, key=len), '+.2f')} points" if whole else "not on the whole, original data"
    return Claim(
        f"On {titles()[dataset]} it makes no difference: {reported['full']:.2f} % with the term, "
        f"{reported['leak']:.2f} % without.",
        "Table 2",
        _equal(whole) if evidence else NOT_MEASURED,
        number if evidence else "",
        " ".join(["Accuracy with the term less that without: " + "; ".join(evidence) + ".", *filter(None, rate)])
        if evidence
        else "",
        "05_data_sets.html#all-at-one-rate",
        tuple(names),
    )


def favoured(runs: "pandas.DataFrame", config: TrainingConfig) -> str:
    """Say for which of the three gradients the learning rate of a training is the best one on held-out examples.

    Args:
        runs: records of ``tsbp train``.
        config: the training.

    Returns:
        One or two sentences; empty if the rate is the best one for all of them, or if no others were tried.
    """
    best = best_held_out(runs, config)
    best = best.loc[[name for name in STUDIED if name in best.index]]
    others = best[best["lr"] != config.lr]
    here = [name for name in best.index if name not in others.index]
    if not len(others) or not here:
        return ""
    words = [f"{config.lr:g} is the best one for {' and '.join(here)}{' alone' if len(here) == 1 else ''}"]
    for lr, rows in others.groupby("lr"):
        untested = "" if rows["test_runs"].any() else ", where there are no test runs"
        words.append(f"for {' and '.join(rows.index)} it is {lr:g}{untested}")
    said = f"On held-out examples, the learning rate {'; '.join(words)}."
    return said if others["test_runs"].all() else f"{said} The comparison at each gradient's own best rate is open."


def _equal(differences: list[np.ndarray]) -> str:
    """By tests that are corrected for the number of trainings."""
    if any(abs(mean) - half_width > MARGIN for mean, half_width in map(mean_interval, differences)):
        return NOT_REPRODUCED
    equal = holm([equivalence(difference) for difference in differences]) < 0.05
    return REPRODUCED if len(equal) and equal.all() else CAVEAT if equal.any() else OPEN


def real_data(runs: "pandas.DataFrame") -> Claim:
    """Whether the term is of little help on real data, at learning rates that held-out examples chose, on fresh seeds.

    Not reproduced if ``full`` is surely higher than ``leak`` with each at its own rate, and not surely by less than
    the margin; with a caveat if at the common rate alone. Reproduced if one-sided tests, corrected by Holm's method,
    exclude in all comparisons that it is higher by more than the margin; with a caveat if not all of the paper's data
    sets are among them, whole; else open. The tests were two-sided, for equality, when digits and MNIST had been seen:
    the claim is of no improvement, not of equality.
    """
    found = comparisons(runs)
    words = [pair[0] for pair in protocol_verdicts(found)]
    excluded = holm([one.outcomes.difference("leak").not_above(one.margin) for one in found]) < 0.05
    both = zip(found, words, excluded, strict=True)
    higher = {one.protocol for one, word, small in both if word.startswith("higher") and not small}
    names = [name for one in found for name in one.outcomes.names]
    used = runs[[Path(path).stem in names for path in runs["path"]]] if found else runs
    whole = set(used[(used["data_note"] == "") & used["examples"].isna()]["dataset"]) if found else set()
    missing = [title for name, title in titles().items() if name in TABLE_2 and name not in whole]
    settled = CAVEAT if missing else REPRODUCED
    said = "; ".join(
        f"{one.title}, {one.protocol} rate: {one.outcomes.difference('leak')} points, {word}"
        for one, word in zip(found, words, strict=True)
    )
    verdict = NOT_REPRODUCED if "own" in higher else CAVEAT if higher else settled if excluded.all() else OPEN
    those = f"{excluded.sum()} of {len(found)}"
    without = f" Not on the whole of {', '.join(missing)}." if missing else ""
    return Claim(
        'On real data sets it "does not show much improvement".',
        "abstract",
        verdict if found else NOT_MEASURED,
        f"an improvement above the margin excluded in {those} comparisons" if found else "",
        f"Accuracy with the term less that without, on fresh seeds: {said}.{without}" if found else "",
        "05_data_sets.html#own-rates",
        tuple(dict.fromkeys(names)),
    )


def cost() -> Claim:
    """Whether a training step takes at least 1.03 times as long with the term as without, by its interval.

    Reproduced if it does both written by hand and through autograd, with a caveat if in one of them.
    """
    bench = records.load(BenchConfig.kind).query("device == 'cpu' and precision == 'float32'")
    step = bench.query("benchmark == 'mnist' and time_steps == 30").iloc[0]
    layer = bench.query("benchmark == 'lif' and time_steps == 30").iloc[0]
    ours, low, high = ratio_interval(step["seconds"]["tsbp full"], step["seconds"]["tsbp leak"])
    seconds = layer["seconds"]
    theirs, theirs_low, theirs_high = ratio_interval(seconds["SpikingJelly"], seconds["SpikingJelly, detached"])
    return Claim(
        "The term costs additional computation.",
        "abstract",
        (NOT_REPRODUCED, CAVEAT, REPRODUCED)[(low > 1.03) + (theirs_low > 1.03)],
        f"{ours:.2f} [{low:.2f}, {high:.2f}] times as long written by hand, "
        f"{theirs:.2f} [{theirs_low:.2f}, {theirs_high:.2f}] through autograd",
        f"A training step on MNIST takes {ours:.2f} [{low:.2f}, {high:.2f}] times as long with it when the backward "
        f"pass is written by hand; a layer of neurons {theirs:.2f} [{theirs_low:.2f}, {theirs_high:.2f}] times through "
        "automatic differentiation.",
        "08_cost.html",
        tuple(Path(record["path"]).stem for record in (step, layer)),
    )


def _single_neuron() -> tuple[np.ndarray, dict[str, np.ndarray], str]:
    """Learning rates, final losses and the name of the record of the paper's Table 1."""
    table_1 = experiments.load("toy/table-1")
    rates, losses = loss_study(table_1)
    return np.array(rates), losses, records.name_of(table_1.config)


def tally(found: Sequence[Claim]) -> dict[str, int]:
    """How many claims there are, and how many have each verdict; what is not measured is open."""
    verdicts = [claim.verdict for claim in found]
    counts = {"all": len(verdicts), "reproduced": verdicts.count(REPRODUCED), "caveat": verdicts.count(CAVEAT)}
    counts |= {"not": verdicts.count(NOT_REPRODUCED)}
    return counts | {"open": verdicts.count(OPEN) + verdicts.count(NOT_MEASURED)}


def verdict_table(found: Sequence[Claim]) -> "pandas.DataFrame":
    """The claims in short, a row for each: what the paper says, the verdict, and the number that decides it."""
    import pandas as pd

    return pd.DataFrame([{"the paper says": one.says, "verdict": one.verdict, "measured": one.number} for one in found])


def claims_table(found: Sequence[Claim] | None = None) -> Output:
    """The claims as a table; on the web with links to sections and records, for a page beside the chapters.

    pandas would write the HTML in as many lines, and with a class and alignments of its own.
    """
    import pandas as pd

    heads = ("the paper says", "verdict", "what was measured", "where")
    rows, texts = [], []
    for claim in claims() if found is None else found:
        where = f"<a href='{claim.section}'>section</a>"
        if claim.records:
            many = f"{len(claim.records)} records" if len(claim.records) > 1 else "record"
            where += f", <a href='10_reproduce.html#{escape(quote(claim.records[0]))}'>{many}</a>"
        word = f"<strong class='tsbp-verdict' data-verdict='{claim.verdict}'>{claim.verdict}</strong>"
        cells = (f"{escape(claim.says)} <small>({escape(claim.source)})</small>", word, escape(claim.evidence), where)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        texts.append((f"{claim.says} ({claim.source})", claim.verdict, claim.evidence))
    head = "".join(f"<th>{title}</th>" for title in heads)
    html = f"<table class='tsbp-claims'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return Output(html, latex(pd.DataFrame(texts, columns=heads[:-1]).style.hide()))
