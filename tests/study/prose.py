"""The sentences of a chapter that compare gradients, and the records that they have to agree with."""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tsbp.runs import experiments, records, toy
from tsbp.runs.settings import TrainingConfig
from tsbp.study import cells, comparison, protocols, robustness, studies, time_tables
from tsbp.study.statistics import mean_interval, p_values

GRADIENT = (
    r"`(?:full|leak|spatial)`|\b(?:term|gradients|difference|advantage|harm)\b|\b(?:learning|training) \*with|"
    r"\b(?:keep(?:ing)?|detach(?:ing)?) (?:it|the reset)\b|\breset (?:kept|detached)\b|\bcut(?:ting)? the path\b"
)
"""What a sentence compares."""

COMPARATIVE = (
    r"ahead|behind|first(?! (?:part|quarter))|came last|last\.$|wider|widest|narrow\w*|highe\w+|lowe\w+|as low|"
    r"fast\w*|slow\w*|better|best|worse|worst|equal|equality|as (?:well|good|fast)|closer|accurate|robust|"
    r"competitive|helps?|helpful|hurts?|harm\w*|costs?|advantage|longest|too long|shorte\w+|overtakes?|breaks?|"
    r"fails?|improves?|opposite|matters?|apart|open|sure|uncertain|(?<!is )silent(?! neuron )|little(?! is)|"
    r"(?:no|a|any) difference|differs|differ far less|overhead|"
    r"drive|cross|approach|decides nothing|order of the|still|trend|reproduced"
)
"""How: words that name a winner, or say that there is none."""


@dataclass(frozen=True)
class Entries:
    """What stands behind the sentences of one chapter; each is named by a part that no other sentence has."""

    statements: dict[str, Callable[["Evidence"], bool]] = field(default_factory=dict)
    """Sentence → whether the records bear it out: by sign, and where it sounds sure by interval or corrected test."""
    computed: tuple[str, ...] = ()
    """Sentences whose winner is inserted, and whose other words are true whatever is."""
    neutral: tuple[str, ...] = ()
    """Sentences that ask, define, explain, or describe the method or the paper; none names a winner of ours."""

    def __iter__(self) -> Iterator[str]:
        yield from (*self.statements, *self.computed, *self.neutral)


def sentences(path: Path) -> Iterator[str]:
    """The sentences of a chapter that compare gradients, captions included, on one line each.

    A value that the page inserts is ``{name}``, a reference ``<target>``. A sentence without a gradient of its own
    may speak of one that was named before it, in the same paragraph.
    """
    for paragraph in _paragraphs(path.read_text(encoding="utf-8")):
        named = False
        for sentence in re.split(r"(?:(?<=[.?!])|(?<=[.?!]\)))\s+(?=[A-Z`{*(<\[])", paragraph):
            here = bool(re.search(GRADIENT, sentence))
            if (here or named) and re.search(rf"\b(?:{COMPARATIVE})(?!\w)", sentence, re.IGNORECASE):
                yield sentence
            named = named or here


def _paragraphs(text: str) -> Iterator[str]:
    """Those of a notebook's text cells, and the items of lists; no tables, no options of directives, no code."""
    cells = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)*)", text, re.MULTILINE)
    lines: list[str] = []
    code = False
    for line in re.sub(r"^# ?", "", "\n".join([*cells, ""]), flags=re.MULTILINE).split("\n"):
        line = re.sub(r"^(?:```|:::)\{table\} ", "", line)  # its caption follows
        code = line.startswith("```bash") or (code and not line.startswith("```"))
        apart = code or not line or re.match(r"```|\||:\w+:|\(.*\)=$", line)
        if lines and (apart or re.match(r"- |#|: ", line)):
            words = re.sub(r"\{glue:text\}`([^`:]+)(?::[^`]*)?`", r"{\1}", " ".join(lines))
            yield re.sub(r"\{[\w:]+\}`([^`]+)`", r"<\1>", words)
            lines = []
        if not apart:
            lines.append(re.sub(r"^(?:- |#+ |: )|^\s+", "", line))


class Evidence:
    """The records, and what the package finds in them; everything once.

    A comparison is a frame whose index is the learning rate, or whatever was varied: ``mean``, of the first gradient
    minus the other, and ``sure``, its sign where a test says so that is corrected for the number of rows, else 0.
    """

    @cached_property
    def runs(self) -> pd.DataFrame:
        """All trainings."""
        return records.load("train")

    @cached_property
    def studies(self) -> dict[str, pd.DataFrame]:
        """Title → trainings that differ in one setting."""
        return studies.studies(self.runs)

    @cached_property
    def fair(self) -> list[protocols.Comparison]:
        """At learning rates that held-out examples choose."""
        return protocols.comparisons(self.runs)

    @functools.cache  # noqa: B019
    def losses(self, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Learning rates and final losses of an experiment with the single neuron."""
        rates, losses = studies.loss_study(experiments.load(name))
        return np.array(rates), losses

    @cached_property
    def temperatures(self) -> dict[float, pd.DataFrame]:
        """Temperature → ``full`` compared with ``leak`` by the final loss of the single neuron."""
        found = studies.loss_studies_over("toy/temperature").items()
        return {value: compared(np.array(rates), loss["full"] - loss["leak"]) for value, (rates, loss) in found}

    @functools.cache  # noqa: B019
    def means(self, name: str) -> pd.DataFrame:
        """Mean final losses: a row for each learning rate, a column for each gradient."""
        rates, losses = self.losses(name)
        return pd.DataFrame({gradient: loss.mean(1) for gradient, loss in losses.items()}, index=rates)

    @functools.cache  # noqa: B019
    def loss(self, name: str, one: str = "full", other: str = "leak") -> pd.DataFrame:
        """Two gradients compared by the final loss of the single neuron: above zero the first one is worse."""
        rates, losses = self.losses(name)
        return compared(rates, losses[one] - losses[other])

    def fails_at(self, name: str, gradient: str) -> float:
        """The first rate above a gradient's best one with a loss that is no longer usable; infinite where none is."""
        mean = self.means(name)[gradient]
        above = mean[mean.idxmin() :]
        failed = above.index[above > above.iloc[0] + robustness.LOSS_DISTANCE]
        return failed[0] if len(failed) else np.inf

    def accuracy(self, title: str, one: str = "full", other: str = "leak") -> pd.DataFrame:
        """Two gradients compared by the accuracy of a network over one setting: above zero the first one is better.

        Values at which every training breaks down are left out, here and below.
        """
        found = studies.by_value(self.studies[title])
        return compared(found.index, (found[one] - found[other]).to_numpy()).loc[self._learns(title)]

    def mean_accuracy(self, title: str) -> pd.DataFrame:
        """Mean accuracies of a study: a row for each value, a column for each gradient."""
        means = self.studies[title].pivot_table(index="value", columns="gradient", values="test_accuracy")
        return means.loc[self._learns(title)]

    def broken(self, title: str) -> pd.DataFrame:
        """How many trainings of a study broke down: a column for each gradient."""
        runs = self.studies[title].assign(broken=lambda runs: runs["test_accuracy"] < studies.BROKEN)
        counts = runs.pivot_table(index="value", columns="gradient", values="broken", aggfunc="sum")
        return counts.loc[self._learns(title)]

    def _learns(self, title: str) -> list[float]:
        """The values at which some training does not break down."""
        best = self.studies[title].groupby("value")["test_accuracy"].max()
        return best.index[best >= studies.BROKEN].tolist()

    @cached_property
    def cells(self) -> list[cells.Cell]:
        """Of the study of time, on Randman."""
        return cells.cells("time/randman")

    @cached_property
    def cell_words(self) -> dict[tuple[str, float], tuple[str, str]]:
        """Network and temperature → verdict on ``full`` against ``leak``, and what is recommended."""
        words = zip(time_tables.verdicts(self.cells)["own"], time_tables.advice(self.cells), strict=True)
        places = [(cell.network, cell.config.temperature) for cell in self.cells]
        return dict(zip(places, words, strict=True))

    @cached_property
    def rate_studies(self) -> dict[str, robustness.RateStudy]:
        """Title → results over learning rates, of neurons and networks."""
        return {one.title: one for one in robustness.rate_studies(self.runs)}

    @functools.cache  # noqa: B019
    def widths(self, title: str, factor: float = 1.0) -> robustness.Widths:
        """Widths of usable ranges, the distance from the best that counts as usable multiplied by a factor."""
        studied = self.rate_studies[title]
        return robustness.widths(studied, factor * studied.distance)

    @functools.cache  # noqa: B019
    def accuracies(self, preset: str, device: str = "cpu") -> pd.DataFrame:
        """Accuracies of one training: a row for each seed, a column for each gradient."""
        return comparison.accuracies(self.runs, preset, device)

    def interval(self, preset: str, other: str = "leak", device: str = "cpu") -> tuple[float, float]:
        """Ends of that of the accuracy of ``full`` minus another's."""
        return ends(comparison.paired_difference(self.accuracies(preset, device), other))

    @cached_property
    def slow(self) -> pd.DataFrame:
        """Accuracies of the reduced network on CIFAR-10 at the small learning rate that was used first."""
        config = TrainingConfig.for_dataset("cifar10-reduced", lr=0.001)
        return comparison.by_seed(records.select(self.runs, config, but=comparison.MAY_DIFFER))

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """What the table of differences says, all tests corrected."""
        return comparison.difference_table(self.runs)

    def verdict(self, training: str, difference: str = "full - leak", data_set: str = "") -> str:
        """Its word for the one row that has these texts."""
        rows = self.verdicts[self.verdicts["difference"] == difference]
        rows = rows[rows["training"].str.contains(training) & rows["data set"].str.startswith(data_set)]
        return rows["verdict"].item()

    @cached_property
    def lengths(self) -> dict[str, np.ndarray]:
        """Lengths of the single neuron's gradients relative to that of ``spatial``, a median for each repeat."""
        return robustness.relative_lengths(self.along)

    @cached_property
    def along(self) -> dict[str, torch.Tensor]:
        """The single neuron's gradients at the same weights, those of a training with ``full``."""
        return toy.compare_along(NEURON.but(repeats=60))

    @functools.cache  # noqa: B019
    def at_temperature(self, temperature: float) -> tuple[float, float]:
        """Length of ``full`` over that of ``leak``, and the share of cases in which their directions are opposed."""
        along = toy.compare_along(NEURON.but(repeats=40, iterations=12, temperature=temperature))
        full, leak = along["full"], along["leak"]
        opposed = torch.cosine_similarity(full, leak, dim=2) < 0
        return (full.norm(dim=2) / leak.norm(dim=2)).nanmedian().item(), opposed.double().mean().item()

    @functools.cache  # noqa: B019
    def collapse(self, one: str, other: str) -> tuple[float, float, float]:
        """Share of the difference between two loss curves that the lengths of the gradients explain."""
        rates, losses = self.losses("widths/neuron-sgd")
        return robustness.collapse(rates, {name: losses[name] for name in (one, other)}, self.lengths)


NEURON = toy.ToyConfig(gradients=("full",), learning_rates=(0.005,))


def ends(differences: np.ndarray) -> tuple[float, float]:
    """Those of the 95 % interval of their mean."""
    mean, half_width = mean_interval(differences)
    return float(mean - half_width), float(mean + half_width)


def compared(values: np.ndarray, differences: np.ndarray) -> pd.DataFrame:
    """Mean of paired differences, and its sign where it is sure; the rows are one family of tests."""
    mean = differences.mean(1)
    sure = np.where(p_values(differences) < 0.05, np.sign(mean), 0).astype(int)
    return pd.DataFrame({"mean": mean, "sure": sure}, index=values)
