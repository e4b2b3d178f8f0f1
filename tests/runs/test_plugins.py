"""A gradient of one line in a module of somebody's own: trained, swept, recorded and shown with no other change."""

import shlex
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from command import SMALL, assert_one_clear_line, here, tsbp
from independent import case, near, simulate

from tsbp import GRADIENTS, SURROGATES, lif
from tsbp.runs import records
from tsbp.runs.files import PROJECT
from tsbp.runs.plugins import load_plugin
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig, run
from tsbp.runs.training import train
from tsbp.study.comparison import accuracy_table, table_2

ONE_LINE = """import tsbp; tsbp.GRADIENTS["mine"] = lambda U, S, h: (1 - S) / (1 + U * U) - 0.3 * h\n"""
SURROGATE = """
import torch, tsbp
from tsbp.surrogate import Surrogate

tsbp.SURROGATES["cosine"] = Surrogate(
    lambda x: torch.where(x.abs() < 1, (1 + torch.cos(torch.pi * x)) / 2, 0),
    lambda x: 0.5 + (x.clamp(-1, 1) + torch.sin(torch.pi * x.clamp(-1, 1)) / torch.pi) / 2,
    1.0,
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a plugin in it; nothing of it stays."""
    (tmp_path / "mine.py").write_text(ONE_LINE)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("mine", "cosines", "broken", "nested", "nested.deep"):
        sys.modules.pop(name, None)
    GRADIENTS.pop("mine", None)
    SURROGATES.pop("cosine", None)


def the_record(folder, pattern: str = "*.json") -> dict:
    (path,) = (folder / "runs").glob(pattern)
    return records.read(path)


# --- in this process --------------------------------------------------------------------------------------------------


def test_a_plugin_is_imported_once_from_the_working_directory(folder):
    assert "mine" not in GRADIENTS
    for _ in range(2):
        load_plugin("mine")
    current, *arriving = case(6, 3)
    current.requires_grad_()
    found = torch.autograd.grad(lif(current, gradient="mine")[:2], current, arriving)[0]
    assert near(found, simulate(current.detach(), arriving, "own").current)
    load_plugin("")


def test_a_plugin_may_be_in_a_package(folder):
    (folder / "nested").mkdir()
    (folder / "nested" / "__init__.py").touch()
    (folder / "nested" / "deep.py").write_text(ONE_LINE)
    load_plugin("nested.deep")
    assert "mine" in GRADIENTS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("no_such_module", None),
        ("broken", "1 / 0"),
        ("broken", "def ("),
        ("broken", "import no_such_module"),
        ("broken", "raise SystemExit('bye')"),
        ("broken", "raise RuntimeError('two\\nlines')"),
        ("no such name", None),
        ("..", None),
        (".mine", None),
        ("mine.py", None),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(folder, name, content):
    if content:
        (folder / "broken.py").write_text(content)
    with pytest.raises(ValueError, match="plugin") as error:
        load_plugin(name)
    assert "\n" not in str(error.value) and name in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('tsbp.GRADIENTS["full"] = lambda U, S, h: 0 * h', "changes full"),
        ('tsbp.SURROGATES["sigmoid"] = tsbp.SURROGATES["arctan"]', "changes sigmoid"),
        ('tsbp.SURROGATES["cosine"] = (1, 2, 3)', "cosine must be"),
    ],
)
def test_a_plugin_adds_and_does_not_change(folder, content, words):
    """A run of `full` must be one of `full` whatever was imported before it."""
    kept = dict(GRADIENTS), dict(SURROGATES)
    (folder / "broken.py").write_text(f"import tsbp\n{content}\n")
    try:
        with pytest.raises(ValueError, match=words) as error:
            load_plugin("broken")
        assert "\n" not in str(error.value)
    finally:
        for registry, entries in zip((GRADIENTS, SURROGATES), kept, strict=True):
            registry.clear()
            registry.update(entries)


@pytest.mark.parametrize("name", ["./mine.py", "mine.py/", "-m", "a b"])
def test_a_plugin_is_a_module_and_no_path(folder, name):
    with pytest.raises(ValueError, match="plugin must be the name of a module"):
        load_plugin(name)


def test_configurations_load_their_plugin(folder):
    with pytest.raises(ValueError, match="gradient"):
        TrainingConfig.for_dataset("digits", gradient="mine")
    with pytest.raises(ValueError, match="gradient"):
        ToyConfig(gradients=("mine",))
    config = TrainingConfig.for_dataset("digits", gradient="mine", plugin="mine")
    assert "mine" in GRADIENTS and config.but(seed=1).gradient == "mine"
    assert ToyConfig(gradients=("mine",), plugin="mine").gradients == ("mine",)


def test_a_single_neuron_learns_by_it_beside_the_others(folder):
    config = ToyConfig(
        gradients=("full", "mine", "0.5"), learning_rates=(0.05,), repeats=3, iterations=9, plugin="mine"
    )
    result = run(config)
    assert not torch.equal(*(result.curves(name, 0.05) for name in ("full", "mine")))
    alone = run(config.but(gradients=("mine",)))
    torch.testing.assert_close(alone.curves("mine", 0.05), result.curves("mine", 0.05))


def test_the_plugin_is_part_of_what_a_run_is(folder):
    """Named in the command, and not mentioned where there is none: old runs keep their names."""
    load_plugin("mine")
    mine = TrainingConfig.for_dataset("digits", gradient="mine", plugin="mine")
    assert "--gradient mine" in records.command(mine) and "--plugin mine" in records.command(mine)
    assert "plugin" not in records.command(TrainingConfig.for_dataset("digits"))
    assert records.name_of(mine) != records.name_of(TrainingConfig.for_dataset("digits", gradient="mine"))
    assert "--plugin mine" in records.command(ToyConfig(gradients=("mine",), plugin="mine"))
    assert "plugin" not in records.command(ToyConfig())


TINY = dict(network="4C3-P2-20", epochs=1, device="cpu")


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
def test_a_network_learns_what_the_function_says(folder, compiled):
    """Not one of the named gradients under another name: half of the reset term, and not all of it."""
    (folder / "mine.py").write_text("""import tsbp; tsbp.GRADIENTS["mine"] = lambda U, S, h: 1 - S - 0.5 * U * h\n""")
    losses = {}
    for gradient, plugin in (("mine", "mine"), ("0.5", ""), ("full", "")):
        config = TrainingConfig.for_dataset("digits", gradient=gradient, plugin=plugin, examples=200, **TINY)
        record = train(config, quiet=True, compiled=compiled)
        assert (record["gradient"], record["plugin"]) == (gradient, plugin)
        losses[gradient] = record["epoch_metrics"][0]["loss"]
    assert losses["mine"] == pytest.approx(losses["0.5"], rel=1e-3)
    assert losses["mine"] != pytest.approx(losses["full"], rel=1e-6)


def test_an_entry_in_the_package_itself_trains_too(tmp_path):
    """As CONTRIBUTING.md says: one line in the dictionary, and no form for it."""
    shutil.copytree(PROJECT / "tsbp", tmp_path / "tsbp", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "tsbp" / "gradients.py"
    last = '    "spatial": lambda U, S, h: 0 * h,\n'
    source.write_text(source.read_text().replace(last, last + '    "half": lambda U, S, h: 1 - S - 0.5 * U * h,\n'))
    done = tsbp(*SMALL, "--gradient", "half", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert the_record(tmp_path)["gradient"] == "half"


def test_a_surrogate_of_ones_own_trains_too(folder):
    (folder / "cosines.py").write_text(SURROGATE)
    settings = TINY | dict(surrogate="cosine", surrogate_scale="peak", examples=200)
    with pytest.raises(ValueError, match="surrogate must be one of sigmoid"):
        TrainingConfig.for_dataset("digits", **settings)
    record = train(TrainingConfig.for_dataset("digits", plugin="cosines", **settings), quiet=True)
    assert record["surrogate"] == "cosine" and "--surrogate cosine" in record["command"]
    current = case(6, 3)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda i: lif(i, surrogate="cosine", relaxed=True)[:2], current, atol=1e-6)


# --- as the command line ----------------------------------------------------------------------------------------------


def test_a_gradient_of_one_line_trains_a_network(folder):
    """The record says what was run."""
    done = tsbp(*SMALL, "--plugin", "mine", "--gradient", "mine", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = the_record(folder)
    assert (record["gradient"], record["plugin"], record["dataset"]) == ("mine", "mine", "digits")
    assert np.isfinite(record["epoch_metrics"][-1]["loss"]) and record["test_accuracy"] > 5
    command = shlex.split(record["command"])
    assert command[:2] == ["tsbp", "train"] and command[command.index("--plugin") + 1] == "mine"
    assert command[command.index("--gradient") + 1] == "mine"


@pytest.mark.slow
def test_it_is_there_in_the_workers_of_a_sweep(folder):
    (folder / "sweep.yaml").write_text(
        "{dataset: digits, network: 4C3-P2-20, epochs: 1, examples: 60, gradient: [mine, full], plugin: mine}"
    )
    done = tsbp("sweep", "sweep.yaml", "--workers", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    runs = [records.read(path) for path in sorted((folder / "runs").glob("*.json"))]
    assert sorted((run["gradient"], run["seed"]) for run in runs) == [("full", 0), ("mine", 0)]
    assert all("--plugin mine" in run["command"] for run in runs)
    table = accuracy_table(records.load("train", folder / "runs"))
    assert "mine" in table.columns and table["seeds"].tolist() == ["1"]


def test_a_single_neuron_from_the_command_line(folder):
    small = ["toy", "--repeats", "2", "--iterations", "2", "--time-steps", "20", "--lr", "0.01"]
    done = here(*small, "--plugin", "mine", "--gradient", "mine", "--gradient", "leak", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = the_record(folder)
    assert list(record["gradients"]) == ["mine", "leak"] and record["plugin"] == "mine" and "mine" in done.stdout
    again = here(*shlex.split(record["command"])[1:], cwd=folder)
    assert again.returncode == 0 and len(list((folder / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "digits", "--plugin", "no_such_module"], ["plugin", "no_such_module"]),
        (["train", "digits", "--plugin", "broken"], ["plugin", "broken", "ZeroDivisionError"]),
        (["train", "digits", "--gradient", "mine"], ["gradient", "full, leak", "mine"]),
        (["toy", "--plugin", "no_such_module"], ["plugin", "no_such_module"]),
        (["sweep", "digits", "--plugin", "no_such_module"], ["plugin", "no_such_module"]),
    ],
)
def test_a_missing_plugin_is_one_line(folder, arguments, words):
    (folder / "broken.py").write_text("1 / 0")
    assert_one_clear_line(here(*arguments, cwd=folder), *words)
    assert not (folder / "runs").exists()


# --- in the tables, without the plugin --------------------------------------------------------------------------------


def made_up(gradient: str, seed: int, accuracy: float, **settings) -> dict:
    found = {"dataset": "mnist", "gradient": gradient, "seed": seed, "device": "cpu", "precision": "bfloat16"}
    config = TrainingConfig.restored(DEFAULTS | found | settings)
    return {
        **config.model_dump(), "command": records.command(config), "test_accuracy": accuracy, "data_note": "",
    }  # fmt: skip


DEFAULTS = TrainingConfig.for_dataset("mnist").model_dump()


def test_a_recorded_gradient_is_a_column_of_the_tables():
    """After the study's three, and nothing is said of it in the comparison of those."""
    assert "mine" not in GRADIENTS
    runs = [made_up(name, seed, 90.0 + seed) for name in ("full", "leak") for seed in range(3)]
    runs += [made_up("mine", seed, 95.0 + seed, plugin="mine") for seed in range(3)] + [made_up("0.5", 0, 88.0)]
    table = table_2(pd.DataFrame(runs))
    assert table.columns.tolist() == [
        "data set", "T", "training", "seeds", "full", "leak", "spatial", "mine", "0.5", "full - leak",
    ]  # fmt: skip
    row = table[table["full"].str.startswith("91.00")].iloc[0]
    assert row["full - leak"] == "+0.00 ± 0.00" and row["0.5"] == "88.00"
    shown = table.loc[table["mine"] != "", "mine"].tolist()
    assert len(shown) == 1 and shown[0].startswith("96.00 ± ")
    assert "mine" not in table_2(pd.DataFrame(runs[:6])).columns
    accuracies = accuracy_table(pd.DataFrame(runs))
    assert len(accuracies) == 1 and accuracies["mine"].iloc[0].startswith("96.00 ± "), "one training, one row"
