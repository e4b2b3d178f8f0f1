"""The verdicts follow from the records: made-up records lead to every verdict, and a changed one changes the table."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from test_comparison import run

import pages
from book import build
from tsbp.gradients import STUDIED
from tsbp.runs import experiments, records
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig
from tsbp.study import claims
from tsbp.study.claims import CAVEAT, NOT_MEASURED, NOT_REPRODUCED, OPEN, REPRODUCED
from tsbp.study.comparison import accuracies
from tsbp.study.protocols import Comparison, Outcomes
from tsbp.study.robustness import NEURON, RateStudy

RATES = ToyConfig().learning_rates


def neuron(monkeypatch, scatter: float = 0, **losses: list[float]) -> None:
    """Records of a single neuron whose final losses scatter a little around these means, one for each rate.

    The scatter is the same for all gradients, but for what is said.
    """
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.01, (len(RATES), 50))
    own = {name: random.normal(0, 1, shared.shape) for name in losses}
    own = {name: scatter * (x - x.mean(1, keepdims=True)) for name, x in own.items()}
    found = {name: (np.array(means)[:, None] + shared + own[name]).tolist() for name, means in losses.items()}
    record = {"learning_rates": list(RATES), "gradients": list(found), "final_loss": list(found.values())}
    monkeypatch.setattr(records, "recorded", lambda config: record)


FLAT = [1.0] * len(RATES)
ABOVE = np.array(RATES) > claims.PAPERS_RATE


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.5 * ABOVE, REPRODUCED), (0.5 * (np.array(RATES) > 0.02), CAVEAT), (0 * ABOVE, OPEN)],
)
def test_an_advantage_at_large_rates(monkeypatch, gain, verdict):
    neuron(monkeypatch, full=FLAT - gain, leak=FLAT, spatial=FLAT)
    claim = claims.large_rates()
    assert claim.verdict == verdict
    assert ("lower at" in claim.evidence) == (verdict != OPEN)


def test_one_rate_that_is_worse_overturns_the_advantage(monkeypatch):
    neuron(monkeypatch, full=FLAT - 0.5 * ABOVE + (np.array(RATES) == 0.02), leak=FLAT, spatial=FLAT)
    assert claims.large_rates().verdict == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("price", "scatter", "verdict"),
    [(0.0, 0, REPRODUCED), (0.3, 0, NOT_REPRODUCED), (0.06, 0.05, CAVEAT), (0.0, 1.0, OPEN)],
)
def test_the_price_at_small_rates(monkeypatch, price, scatter, verdict):
    """The scatter that differs between gradients makes a small price unsure to be more than what is competitive."""
    neuron(monkeypatch, scatter, full=FLAT + price * (np.array(RATES) == 0.001), leak=FLAT, spatial=FLAT)
    assert claims.small_rates().verdict == verdict


def rate_study(title: str, scatter: float = 0.01, **ends: tuple[int, int]) -> RateStudy:
    """Losses of 0.1 at rates from one number to another, and of 1 at the others, with some scatter."""
    number = np.arange(8)
    random = np.random.default_rng(0)
    losses = {
        name: np.where((number >= low) & (number < high), 0.1, 1.0)[:, None] + random.normal(0, scatter, (8, 20))
        for name, (low, high) in ends.items()
    }
    return RateStudy(title, 10.0 ** np.arange(8), losses, 0.2)


NARROW, WIDE = (3, 5), (2, 6)


@pytest.mark.parametrize(
    ("neuron", "network", "verdict"),
    [
        ((WIDE, NARROW, NARROW), None, REPRODUCED),
        ((WIDE, NARROW, NARROW), (WIDE, NARROW, NARROW), REPRODUCED),
        ((WIDE, NARROW, NARROW), (NARROW, NARROW, NARROW), REPRODUCED),
        ((WIDE, NARROW, NARROW), (NARROW, WIDE, NARROW), CAVEAT),
        ((WIDE, NARROW, WIDE), None, CAVEAT),
        ((NARROW, NARROW, NARROW), None, OPEN),
        ((WIDE, (0, 4), NARROW), None, OPEN),  # which goes on below the rates tried
        (((2, 8), NARROW, NARROW), None, REPRODUCED),  # a lower bound is enough
        ((NARROW, WIDE, NARROW), (WIDE, NARROW, NARROW), NOT_REPRODUCED),
    ],
)
def test_robustness(monkeypatch, neuron, network, verdict):
    """By the rates, from one number to another, at which each gradient learns."""
    found = [rate_study(experiments.load(NEURON).title, **dict(zip(STUDIED, neuron, strict=True)))]
    if network:
        found.append(rate_study("network", **dict(zip(STUDIED, network, strict=True))))
    monkeypatch.setattr(claims, "rate_studies", lambda runs: found)
    claim = claims.robustness(pd.DataFrame())
    assert claim.verdict == verdict
    assert ("narrower in 1 (network)" in claim.evidence) == (network == (NARROW, WIDE, NARROW))
    assert ("..." in claim.evidence) == any(0 in ends or 8 in ends for ends in neuron)


SURE, UNSURE, APART = (0.01, -0.01, 0.0, 0.02), (0.5, -0.5, 0.3, -0.2), (0.5, 0.6, 0.55, 0.5)


@pytest.mark.parametrize(
    ("differences", "note", "verdict"),
    [
        ({"mnist": SURE}, "", REPRODUCED),
        ({"mnist": SURE, "mnist-30": UNSURE}, "", CAVEAT),
        ({"mnist": UNSURE}, "", OPEN),
        ({"mnist": SURE, "mnist-30": APART}, "", NOT_REPRODUCED),
        ({"mnist": SURE}, "a part", OPEN),
        ({}, "", NOT_MEASURED),
    ],
)
def test_whether_networks_are_equal(differences, note, verdict):
    rows = [
        run(name, gradient, seed, 90.0 + (difference if gradient == "full" else 0.0), note) | {"path": f"{name}.json"}
        for name, values in differences.items()
        for seed, difference in enumerate(values)
        for gradient in ("full", "leak")
    ]
    claim = claims.networks(pd.DataFrame(rows), "mnist")
    assert claim.verdict == verdict
    assert ("4 seeds, T = 5" in claim.evidence) == bool(differences) and note in claim.evidence
    assert len(claim.records) == len(rows)


@pytest.mark.parametrize(("full", "said"), [(90.0, True), (86.0, False)])
def test_a_difference_at_the_best_rate_of_full_alone_is_named_as_such(full, said):
    """On held-out examples ``full`` does best at the rate that was tested, or at the other, as ``leak`` does."""
    tested = TrainingConfig.for_dataset("cifar10-reduced").lr
    rows = [
        run("cifar10-reduced", gradient, seed, (82.0 if gradient == "full" else 80.0) + 0.1 * seed)
        for gradient in ("full", "leak")
        for seed in range(3)
    ]
    for gradient, accuracies_there in (("full", (88.0, full)), ("leak", (89.0, 87.0))):
        for lr, accuracy in zip((tested / 2, tested), accuracies_there, strict=True):
            rows.append(run("cifar10-reduced", gradient, 0, accuracy, lr=lr, validation=100))
    claim = claims.networks(pd.DataFrame(rows).assign(path="run.json"), "cifar10")
    assert ("best one for full alone; for leak it is 0.01, where there are no test runs" in claim.evidence) == said


@pytest.mark.parametrize(
    ("common", "own", "sets", "verdict"),
    [
        (0, 0, 3, REPRODUCED),
        (-5, 0, 3, REPRODUCED),
        (-5, 0, 2, CAVEAT),
        (5, 0, 3, CAVEAT),
        (5, 5, 3, NOT_REPRODUCED),
        (None, 0, 3, OPEN),
    ],
)
def test_whether_the_term_helps_on_real_data(monkeypatch, common, own, sets, verdict):
    """By how many points ``full`` is ahead of ``leak`` in every repeat; None: as often behind as ahead."""

    tested = ("mnist", "nmnist", "cifar10")[:sets]
    names = tuple(f"train-{name}-full-T5-seed10-0" for name in tested)
    runs = pd.DataFrame(
        {"path": [f"{name}.json" for name in names], "dataset": tested, "data_note": "", "examples": None}
    )

    def outcomes(ahead: int | None) -> Outcomes:
        right = np.ones((10, 10_000), dtype=bool)
        full, leak = right.copy(), right.copy()
        if ahead is None:
            full[::2, :500], leak[1::2, :500] = False, False
        elif ahead > 0:
            leak[:, : 100 * ahead] = False
        else:
            full[:, : -100 * ahead] = False
        return Outcomes({"full": full, "leak": leak, "spatial": right}, names)

    found = [Comparison("made up", "common", outcomes(common)), Comparison("made up", "own", outcomes(own))]
    monkeypatch.setattr(claims, "comparisons", lambda runs: found)
    claim = claims.real_data(runs)
    assert claim.verdict == verdict and claim.records == names
    assert ("Not on the whole of CIFAR-10" in claim.evidence) == (sets < 3)
    if verdict == REPRODUCED:
        assert claims.real_data(runs.assign(data_note="a part")).verdict == CAVEAT
        assert claims.real_data(runs.assign(examples=20)).verdict == CAVEAT
    assert "made up, common rate" in claim.evidence
    monkeypatch.setattr(claims, "comparisons", lambda runs: [])
    assert claims.real_data(pd.DataFrame()).verdict == NOT_MEASURED


def test_the_front_page_comes_from_the_records(monkeypatch, tmp_path):
    """What changes in a copy of the records changes on the page, the verdict with it; every link has its record."""
    folder = tmp_path / "results"
    shutil.copytree(records.results_folder(), folder)
    monkeypatch.setenv("TSBP_RESULTS", str(folder))
    before = claims.claims_table()
    before = before.html + before.latex
    for name in re.findall(r"#((?:toy|train|bench|agreement)-[^']+)'", before):
        assert list(folder.rglob(f"{name}.json"))
    runs = records.load("train")
    assert claims.networks(runs, "mnist").verdict in (REPRODUCED, CAVEAT)
    found = accuracies(runs, "mnist")
    shown = f"{(found['full'] - found['leak']).mean() - 7:+.2f} ± "
    assert shown not in before
    for path in runs["path"][(runs["gradient"] == "full") & (runs["dataset"] == "mnist")]:
        record = json.loads(path.read_text())
        if "test_accuracy" in record:
            path.write_text(json.dumps(record | {"test_accuracy": record["test_accuracy"] - 7}))
    pages.execute(build.NOTEBOOKS / "index.py", {}, tmp_path, tmp_path)
    after = (tmp_path / "index.ipynb").read_text(encoding="utf-8")
    assert shown in after
    assert after.count(NOT_REPRODUCED) == before.count(NOT_REPRODUCED) + 3  # attribute, word, on paper
