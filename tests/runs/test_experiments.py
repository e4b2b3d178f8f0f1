"""Experiments: files that say what varies, found by name, complete, and changed by options alone."""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from command import assert_one_clear_line, here

from tsbp.gradients import STUDIED
from tsbp.runs import experiments, files, records, sweep, training
from tsbp.runs.experiments import read, trainings
from tsbp.runs.settings import CellConfig, TrainingConfig
from tsbp.runs.toy import ToyConfig


def test_combinations_have_the_last_setting_changing_fastest():
    configs = trainings(["digits", "mnist"], seed=range(2), gradient=["full", "leak"], epochs=3)
    found = [(config.dataset, config.seed, config.gradient) for config in configs]
    assert found[:4] == [("digits", 0, "full"), ("digits", 0, "leak"), ("digits", 1, "full"), ("digits", 1, "leak")]
    assert len(configs) == 8 and {config.epochs for config in configs} == {3}
    assert configs[0].lr == TrainingConfig.for_dataset("digits").lr
    assert trainings("digits") == [TrainingConfig.for_dataset("digits")]


def test_a_file_holds_one_block_or_several(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("{dataset: digits, seed: [0, 1], gradient: [full, leak, spatial], epochs: 2}")
    expected = trainings("digits", seed=[0, 1], gradient=["full", "leak", "spatial"], epochs=2)
    assert list(read(file).configs) == expected
    file.write_text("- {dataset: [paper-mnist, paper-mnist-swapped]}\n- {dataset: mnist, lr: [0.001, 2e-3]}")
    configs = read(file).configs
    assert [config.time_steps for config in configs] == [30, 5, 5, 5]
    assert [config.lr for config in configs[2:]] == [0.001, 0.002]
    file.write_text(
        "{title: Two rates, axis: lr, order: 2, command: toy, runs: {learning_rates: [1e-3, 1], seed: [3, 4]}}"
    )
    study = read(file)
    assert (study.title, study.axis, study.order, study.config.seed) == ("Two rates", "lr", 2, 3)
    assert list(study.configs) == [ToyConfig(learning_rates=(0.001, 1.0), seed=seed) for seed in (3, 4)]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must hold a mapping with the key dataset"),
        ("3", "must hold a mapping with the key dataset"),
        ("[1, 2]", "must hold a mapping with the key dataset"),
        ("{seed: 1}", "must hold a mapping with the key dataset"),
        ("{title: one, dataset: digits, epochs: 3}", "unknown setting title"),
        ("{", "is not YAML"),
        ("\x00", "is not YAML"),
        ("{dataset: digits, colour: red}", "unknown setting colour; there are plugin, dataset"),
        ("{dataset: digits, epoch: 3}", "unknown setting epoch; did you mean epochs?"),
        ("{dataset: digits, name: mine}", "unknown setting name"),
        ("{dataset: digits, 3: 4}", "keywords must be strings"),
        ("{dataset: digits, lr: fast}", "lr must be a number, got 'fast'"),
        ("{dataset: digits, lr: [0.1, -1]}", "lr must be greater than 0, got -1"),
        ("{dataset: digits, lr: .nan}", "lr must be a finite number, got nan"),
        ("{dataset: digits, target: 01111}", "target: 01111 means 585 in YAML; quote it"),
        ("{dataset: digits, epochs: 010}", "epochs: 010 means 8 in YAML"),
        ("{dataset: digits, time_steps: 1:30}", "time_steps: 1:30 means 90 in YAML"),
        ("{dataset: digits, lr: [0.1, 1:30.5]}", "1:30.5 means 90.5 in YAML"),
        ("{dataset: digits, lr: 0.1, lr: 0.2}", "the key lr stands there twice"),
        ("{dataset: digits, lr: [0.1, [0.2]]}", "lr must be a number, got [0.2]"),
        ("{dataset: digits, lr: []}", "lr must have at least one value, got none"),
        ("{dataset: 3}", "dataset must be a name, or a list of names, got 3"),
        ("{dataset: 2020-01-01}", "dataset must be a name, or a list of names, got datetime.date(2020, 1, 1)"),
        ("{dataset: [digits, 3]}", "dataset must be a name, or a list of names"),
        ("{dataset: {a: b}}", "dataset must be a name, or a list of names, got {'a': 'b'}"),
        ("{dataset: digits, network: {a: b}}", "network must be a string, got {'a': 'b'}"),
        ("{dataset: digits, plugin: 3}", "plugin"),
        ("{dataset: digits, lr: !!bool maybe}", "is not YAML"),
        ("{dataset: digits, lr: !!timestamp soon}", "is not YAML"),
        ("{dataset: digits, lr: !!python/name:os.system ''}", "is not YAML"),
        ("&a {dataset: digits, lr: *a}", "an alias stands for what it is a part of"),
        ("{dataset: digits, lr: " + "[" * 9000 + "]" * 9000 + "}", "is nested too deeply"),
        (BOMB, "its aliases stand for more than 100,000 values"),
        (
            "{dataset: digits, seed: &s [0,1,2,3,4,5,6,7,8,9], epochs: &e [1,2,3,4,5,6,7,8,9], time_steps: *e, "
            "shift: *s, batch_size: *e}",
            "these settings make 72,900 runs; at most 20,000 are done at a time",
        ),
        ("{runs: {dataset: digits}, axis: colour}", "axis must be a setting of tsbp train, got 'colour'"),
        ("{runs: {dataset: digits}, data: 3}", "data must have a fingerprint, as text"),
        ("{runs: {dataset: digits}, order: true}", "order must be an integer, got True"),
        ("{dataset: digits, epochs: yes}", "epochs takes no truth value, got True"),
        ("{dataset: digits, epochs: 2.5}", "epochs must be an integer, got 2.5"),
        ("{dataset: digits, gradient: [full, nothing]}", "gradient must be one of full, leak, spatial"),
        ("{runs: {dataset: digits}, colour: red}", "unknown key colour; there are title"),
        ("{runs: {dataset: digits}, command: bench}", "command must be train, cell or toy, got 'bench'"),
        ("{runs: {dataset: digits}, order: first}", "order must be an integer, got 'first'"),
        ("{runs: {lr: 1}, command: toy}", "unknown setting lr"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_it(tmp_path, content, said):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ValueError) as error:
        read(file)
    message = str(error.value)
    assert message.startswith(str(file)) and said in message and "\n" not in message


def test_text_in_a_file_is_converted(tmp_path):
    """YAML takes 5e-4 for a text and 0.30 for a number; both mean what they say."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        '{dataset: digits, lr: 5e-4, gradient: 0.30, flip: "false", epochs: 2.0, target: "01111", tau_m: 7}'
    )
    expected = dict(lr=0.0005, gradient="0.3", flip=False, epochs=2, target="01111", tau_m=7.0)
    assert read(file).configs == (TrainingConfig.for_dataset("digits", **expected),)


@pytest.mark.parametrize("name", experiments.names())
def test_published_experiments(name):
    """Of each training, but for the number of seeds, all gradients are there with the same settings."""
    experiment = experiments.load(name)
    assert experiment.title != name, "a title says what tables and figures call it; without one it is the file's name"
    planned = (*experiment.configs, *experiment.waiting)
    assert planned and len(set(experiment.keys)) == len(experiment.keys)
    assert experiment.folder == records.results_folder() / name.partition("/")[0]
    assert experiment.axis in ("", *type(experiment.config).model_fields)
    gradients, side_by_side = defaultdict(set), defaultdict(set)
    for config in planned:
        if isinstance(config, TrainingConfig):
            config = training.resolve(config.but(device="cpu"))
            config = config.but(lr=1) if experiment.chosen_by else config  # a gradient may have one of its own
            gradients[config.but(gradient="full", seed=0)].add(config.gradient)
        elif isinstance(config, CellConfig):
            side_by_side[config.but(gradients=("full",), learning_rates=(1.0,))].update(config.gradients)
        else:  # gradients side by side in one run
            assert "full" in config.gradients and len(config.gradients) > 1
    for config, found in gradients.items():
        assert found >= set(STUDIED), f"every training needs the three gradients of the study, got {found} of {config}"
    for config, found in side_by_side.items():
        assert found >= {"full", "leak"}, f"every cell needs both, got {found} of {config}"


def test_names():
    names = experiments.names()
    assert len(names) == len(list((files.PROJECT / "experiments").rglob("*.yaml"))) > 30
    for folder in {name.partition("/")[0] for name in names}:
        found = experiments.of(folder)  # by title
        assert len(found) == len([name for name in names if name.startswith(f"{folder}/")])
        assert [one.order for one in found.values()] == sorted(one.order for one in found.values())
    assert [one.name for one in experiments.named("settings/temperature")] == ["settings/temperature"]
    assert experiments.named("digits") == experiments.named("mnist") == experiments.named("nowhere") == []
    with pytest.raises(FileNotFoundError, match=f"no experiment settings/nothing; there are {names[0]}, {names[1]}, "):
        experiments.load("settings/nothing")
    with pytest.raises(FileNotFoundError, match=r"no file nothing\.yaml"):
        experiments.load("nothing.yaml")


# --- on the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def swept(monkeypatch) -> list[tuple[Path, list]]:
    """What a sweep is given, instead of doing it."""
    found = []

    def instead(configs, folder, **_):
        found.append((folder, configs))
        return sweep.Outcome()

    monkeypatch.setattr(sweep, "sweep", instead)
    return found


def test_experiments_are_swept_by_name_and_by_folder(tmp_path, swept):
    assert here("sweep", "settings/temperature", cwd=tmp_path).returncode == 0
    assert swept.pop() == (records.results_folder() / "settings", [*experiments.load("settings/temperature").configs])
    assert here("sweep", "settings", "toy", "--out", "here", cwd=tmp_path).returncode == 0
    ((folder, configs),) = swept
    expected = [
        config for name in ("settings", "toy") for one in experiments.of(name).values() for config in one.configs
    ]
    assert folder == Path("here") and configs == expected


def test_options_replace_what_a_file_says(tmp_path, swept):
    (tmp_path / "x.yaml").write_text("{dataset: digits, seed: [0, 1], lr: [0.1, 0.2], epochs: 3}")
    options = ["--epochs", "7", "--gradient", "leak", "--seeds", "3", "--tau-m", "6"]
    assert here("sweep", "x.yaml", *options, cwd=tmp_path).returncode == 0
    expected = trainings("digits", seed=[0, 1, 2], lr=[0.1, 0.2], epochs=7, gradient="leak", tau_m=6)
    assert swept == [(Path("runs"), expected)]
    swept.clear()
    assert here("sweep", "digits", "x.yaml", "--seed", "4", "--seeds", "2", cwd=tmp_path).returncode == 0
    ((_, configs),) = swept
    studied = trainings("digits", gradient=["full", "leak", "spatial"], seed=[4, 5])
    assert configs == studied + trainings("digits", seed=[4, 5], lr=[0.1, 0.2], epochs=3)


def test_every_experiment_is_listed(tmp_path):
    found = here("experiments", cwd=tmp_path)
    rows = {line.split()[0]: line.split()[1:] for line in found.stdout.splitlines()[1:]}
    assert found.returncode == 0 and list(rows) == experiments.names()
    for name, (runs, recorded, state, *_) in rows.items():
        experiment = experiments.load(name)
        assert int(runs) == len(experiment.configs) + len(experiment.waiting)
        assert state == ("complete" if recorded == runs else "missing" if recorded == "0" else "partial")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("settings/nothing", None, ["settings/nothing"]),
        ("none.yaml", None, ["none.yaml"]),
        ("mine.yaml", "{dataset: digits, epoch: 3}", ["mine.yaml", "did you mean epochs?"]),
        ("mine.yaml", "{dataset: digits, target: 01111}", ["mine.yaml", "target"]),
        ("mine.yaml", "{runs: {dataset: digits}, titel: x}", ["mine.yaml", "titel", "title"]),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, name, content, words):
    if content:
        (tmp_path / name).write_text(content)
    found = here("sweep", name, cwd=tmp_path)
    assert_one_clear_line(found, *words)
    assert found.returncode in (1, 2) and not (tmp_path / "runs").exists()
