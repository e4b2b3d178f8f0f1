"""Which gradient other libraries compute: the comparison, its record, the survey of what was read, and questions."""

import json
import re
import shlex

import pytest
import torch
from command import assert_one_clear_line, here, tsbp

from tsbp import lif
from tsbp.gradients import STUDIED
from tsbp.peers import agreement, comparison, libraries, questions, survey
from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.libraries import plain
from tsbp.runs import files
from tsbp.study.tables import agreement_table, computed_table, equal, left_out_table


def test_another_gradient_or_another_neuron_is_found_out():
    with pytest.raises(ValueError, match="gradients differ"):
        comparison.check(libraries.Peer("torch", "leak", plain.ignoring))
    with pytest.raises(ValueError, match="fires at other times"):
        comparison.check(libraries.Peer("torch", "full", plain.autograd, soft_reset=True))


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_ignoring_the_reset_leaves_the_leak(reset):
    """Its factor is 1 - 1/tau_m at every step: that of ``leak`` where no spike falls, whatever the reset is."""
    current = torch.full((6, 1), 0.1, dtype=torch.float64, requires_grad=True)
    spikes = plain.ignoring(4.0, 1.0, 0.5)(current)
    assert not spikes.any()
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)[:, None]
    found = torch.autograd.grad((weights * spikes).sum(), current)[0]
    mine = lif(current, tau_m=4.0, temperature=0.5, reset=reset, gradient="leak").spikes
    torch.testing.assert_close(found, torch.autograd.grad((weights * mine).sum(), current)[0], rtol=1e-12, atol=0)


def test_growth_is_the_factor_from_a_step_to_the_one_before():
    back = torch.arange(30, dtype=torch.float64).flip(0)[:, None]
    assert comparison.growth(0.7**back * torch.randn(5, dtype=torch.float64)) == pytest.approx(0.7)
    last = torch.zeros(6, 3, dtype=torch.float64)
    last[-1] = 1
    assert comparison.growth(last) == 0 and comparison.growth(last[-1:]) == 0


def test_cosines_know_right_angles_and_nothing_at_all():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert comparison.cosine(one, other) == 0 and comparison.cosine(one, 0 * one) == 0
    assert comparison.cosine(one, -3 * one) == pytest.approx(-1)


@pytest.fixture
def torch_alone(monkeypatch):
    """Without the other libraries, which take long to import, but with two that cannot be used."""

    def broken(*_):
        raise ImportError("no such symbol\nat line 3")

    monkeypatch.setattr(libraries, "PEERS", {"plain autograd": libraries.PEERS["plain autograd"]})
    more = {name: peer for name, peer in libraries.MORE.items() if peer.package == "torch"}
    more |= {
        "absent": libraries.Peer("no_such_package", "full", broken),
        "broken": libraries.Peer("torch", None, broken),
    }
    monkeypatch.setattr(libraries, "MORE", more)


def test_what_cannot_be_run_is_left_out_with_the_reason(torch_alone):
    found, left_out = agreement.available()
    assert found.keys() == {"plain autograd", "reset ignored, as in SLAYER"}
    assert left_out["absent"] == "no_such_package is not installed"
    assert left_out["broken"] == "torch cannot be imported: no such symbol"
    assert "continuous time" in left_out["Eventax"]


def test_the_record_holds_all_distances(torch_alone):
    record = agreement.run(AgreementConfig(time_steps=8, neurons=20, seed=1))
    assert record["kind"] == "agreement" and record["peer_versions"]["torch"] == torch.__version__.partition("+")[0]
    assert all(set(distances) == set(STUDIED) for distances in record["distances"].values())
    assert equal(record["distances"]["plain autograd"]) == ["full"]
    assert equal(record["distances"]["reset ignored, as in SLAYER"]) == []
    assert record["cosines"]["plain autograd"]["full"] == pytest.approx(1)
    assert record["length_ratios"]["plain autograd"]["full"] == pytest.approx(1)
    assert record["growth"]["plain autograd"] < record["growth"]["reset ignored, as in SLAYER"] == pytest.approx(5 / 6)
    assert record["left_out"]["absent"]


def test_the_table_names_what_equals():
    record = {
        "distances": {
            "one": {"full": 3e-16, "leak": 0.531, "spatial": 1.2},
            "other": {"full": 1.0, "leak": 0.5, "spatial": 0.25},
        },
        "soft_reset": ["other"],
        "settings": {"one": "switch=False"},
        "length_ratios": {"one": {"full": 1.0}, "other": {"full": 0.5}},
        "cosines": {"one": {"full": 1.0}, "other": {"full": -0.25}},
        "growth": {"one": 0.7, "other": 0.0},
        "left_out": {"third": "third is not installed"},
    }
    table = agreement_table(record)
    assert table["setting"].tolist() == ["switch=False", ""]
    summary = computed_table(record)
    assert summary["reset"].tolist() == ["to zero", "subtractive"] and summary["gradient"].tolist() == [
        "full",
        "another",
    ]
    assert summary["cosine with full"].tolist() == ["1.00", "-0.25"]
    assert summary["factor a step"].tolist() == ["0.700", "0.000"]
    assert left_out_table(record).to_numpy().tolist() == [["third", "third is not installed"]]
    assert table["computes"].tolist() == ["full", "none of them"]
    assert table["reset"].tolist() == ["to zero", "subtractive"]
    assert table["from full"].tolist() == ["3e-16", "1"] and table["from leak"].tolist() == ["0.53", "0.5"]


def test_neurons_with_the_same_gradient_share_a_row():
    one = {"full": 0.0, "leak": 0.5, "spatial": 1.0}
    record = {"distances": {"a": one, "b": one}, "soft_reset": [], "growth": {"a": 0.7, "b": 0.7000001}}
    record |= {key: {"a": {"full": 1.0}, "b": {"full": 1.0}} for key in ("length_ratios", "cosines")}
    assert computed_table(record)[["n", "neurons"]].to_numpy().tolist() == [[2, "a; b"]]


def test_the_command_leaves_a_record_that_repeats_it(tmp_path):
    run = tsbp("agreement", "--time-steps", "5", "--neurons", "9", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "plain autograd" in run.stdout
    (path,) = (tmp_path / "runs").iterdir()
    assert run.stdout.splitlines()[-1] == f"runs/{path.name}" and path.name.startswith("agreement-T5-seed0-")
    record = json.loads(path.read_text())
    again = here(*shlex.split(record["command"])[1:], cwd=tmp_path)
    assert again.returncode == 0 and list((tmp_path / "runs").iterdir()) == [path]
    assert json.loads(path.read_text())["distances"] == record["distances"]


def test_wrong_arguments_are_named(tmp_path):
    assert_one_clear_line(here("agreement", "--neurons", "0", cwd=tmp_path), "neurons", "0")
    assert not (tmp_path / "runs").exists()


def test_every_method_read_has_a_treatment_a_citation_and_a_commit():
    keys = re.findall(r"^@\w+\{(\w+),", (files.PROJECT / "book" / "references.bib").read_text(), re.MULTILINE)
    for method in survey.METHODS:
        assert method.treatment in survey.TREATMENTS and method.citation in keys and method.sources
        for source in method.sources:
            if isinstance(source, survey.Release):
                assert source.version in source.link() in survey.table()
            else:
                assert re.fullmatch(r"[0-9a-f]{7}", source.commit) and source.repository.count("/") == 1
                assert f"{source.repository}/blob/{source.commit}/{source.path}" in survey.table()
    assert sum(len(survey.named(treatment)) for treatment in survey.TREATMENTS) == len(survey.METHODS)
    rows = survey.table().splitlines()
    assert len(rows) == 2 + len(survey.METHODS) and len({row.count("|") for row in rows}) == 1


def test_every_question_is_a_thread_and_is_answered_by_a_page_of_the_book():
    pages = {path.stem for path in (files.PROJECT / "notebooks").glob("*.py")}
    pages |= {path.stem for path in (files.PROJECT / "book").glob("*.md")}
    for question in questions.QUESTIONS:
        repository, number = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", question.thread).groups()
        assert f"https://github.com/{repository}/issues/{number}" in questions.table()
        assert bool(question.asked) == bool(question.answer) == bool(question.page)
        assert not question.page or question.page in pages
    rows = questions.table().splitlines()
    assert len(rows) == 2 + len(questions.QUESTIONS) and len({row.count("|") for row in rows}) == 1
