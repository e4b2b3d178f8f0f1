"""Which gradient other libraries compute: the comparison, its record, and the survey of what was read."""

import json
import re
import shlex

import pytest
import torch
from command import assert_one_clear_line, here, tsbp

from tsbp import lif
from tsbp.gradients import STUDIED
from tsbp.peers import agreement, libraries, survey
from tsbp.peers.agreement import AgreementConfig
from tsbp.runs import files
from tsbp.study.tables import agreement_table, equal

ALL = libraries.PEERS | libraries.MORE


def installed(name: str) -> libraries.Peer:
    if not ALL[name].installed:
        pytest.skip(f"{ALL[name].package} is not installed")
    return ALL[name]


@pytest.mark.parametrize("name", libraries.MORE)
def test_more_neurons_compute_what_is_said(name):
    peer = installed(name)
    theirs, ours = libraries.gradients(peer, time_steps=10, neurons=50, seed=3)
    near = {key for key, gradient in ours.items() if (theirs - gradient).abs().max() < 1e-10}
    assert near == ({peer.gradient} if peer.gradient else set())


def test_another_gradient_or_another_neuron_is_found_out():
    with pytest.raises(ValueError, match="gradients differ"):
        libraries.check(libraries.Peer("torch", "leak", libraries.ignoring))
    with pytest.raises(ValueError, match="fires at other times"):
        libraries.check(libraries.Peer("torch", "full", libraries.autograd, soft_reset=True))


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_ignoring_the_reset_leaves_the_leak(reset):
    """Its factor is 1 - 1/tau_m at every step: that of ``leak`` where no spike falls, whatever the reset is."""
    current = torch.full((6, 1), 0.1, dtype=torch.float64, requires_grad=True)
    spikes = libraries.ignoring(4.0, 1.0, 0.5)(current)
    assert not spikes.any()
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)[:, None]
    found = torch.autograd.grad((weights * spikes).sum(), current)[0]
    mine = lif(current, tau_m=4.0, temperature=0.5, reset=reset, gradient="leak").spikes
    torch.testing.assert_close(found, torch.autograd.grad((weights * mine).sum(), current)[0], rtol=1e-12, atol=0)


def test_the_record_holds_all_distances():
    record = agreement.run(AgreementConfig(time_steps=8, neurons=20, seed=1))
    assert record["kind"] == "agreement" and record["peer_versions"]["torch"] == torch.__version__.partition("+")[0]
    assert all(set(distances) == set(STUDIED) for distances in record["distances"].values())
    assert equal(record["distances"]["plain autograd"]) == ["full"]
    assert equal(record["distances"]["reset ignored, as in SLAYER"]) == []


def test_the_table_names_what_equals():
    record = {
        "distances": {
            "one": {"full": 3e-16, "leak": 0.531, "spatial": 1.2},
            "other": {"full": 1.0, "leak": 0.5, "spatial": 0.25},
        },
        "soft_reset": ["other"],
    }
    table = agreement_table(record)
    assert table["computes"].tolist() == ["full", "none of them"]
    assert table["reset"].tolist() == ["to zero", "subtractive"]
    assert table["from full"].tolist() == ["3e-16", "1"] and table["from leak"].tolist() == ["0.53", "0.5"]


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
            assert re.fullmatch(r"[0-9a-f]{7}", source.commit) and source.repository.count("/") == 1
            assert f"{source.repository}/blob/{source.commit}/{source.path}" in survey.table()
    assert sum(len(survey.named(treatment)) for treatment in survey.TREATMENTS) == len(survey.METHODS)
    rows = survey.table().splitlines()
    assert len(rows) == 2 + len(survey.METHODS) and len({row.count("|") for row in rows}) == 1
