"""Hundreds of odd command lines and YAML files: each ends in success or in one clear line, never in a traceback."""

from itertools import chain
from typing import Any, get_origin

import pytest
import yaml
from command import assert_one_clear_line, here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsbp.peers import agreement, bench
from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.bench import BenchConfig
from tsbp.runs import cells, config, evaluation, experiments, memory, run, sweep, toy, training
from tsbp.runs.settings import CellConfig, TrainingConfig
from tsbp.runs.toy import ToyConfig

CONFIGS = {"train": TrainingConfig, "cell": CellConfig, "toy": ToyConfig, "bench": BenchConfig}
CONFIGS["agreement"] = AgreementConfig
CASES = settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # nothing stays in the folder
)

NUMBERS = st.one_of(
    st.integers(-2, 40),
    st.integers(),
    st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**400]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1e-320, 1e30, 1e38, 1e39, 1e308, 5e-4]),
)
WORDS = """
full leak spatial digits mnist paper-mnist settings/temperature same direct poisson sgd adam cpu cuda auto float32 zero
subtract 4C3-P2-20 15C5-P2-40C5-P2-300 128R 999999999999 0 P2 C5 12Q5 1,0 01111 true no null inf nan 1e-3 0x10 1_000
. .. / ~ -- - -1 --help = é ² %s {} lif recurrent
"""
NAMES = st.sampled_from(WORDS.split())
TEXTS = st.one_of(NAMES, st.text(max_size=12), st.text("0123456789CPR-,.e+", max_size=9))


@pytest.fixture
def no_work(monkeypatch):
    """Whatever comes after the checks, of which none is left out, is left out."""

    def train(config, *, dataset, **_):
        evaluation.check_memory(training.resolve(config), training.prepare(config, dataset))

    def cell(config, *, dataset, device="cpu", **_):
        cells.check_memory(config, evaluation.prepare(config, dataset), device)
        raise FloatingPointError("no work")

    def study(config, *, device="cpu", **_):
        toy._check_memory(config, training.resolve_device(str(device)))
        raise FloatingPointError("no work")

    def nothing(config, *_, **__):
        raise FloatingPointError("no work")

    def swept(configs, *_, **__):
        for one in configs:
            run.resolve(one)
        return sweep.Outcome()

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(cells, "run", cell)
    monkeypatch.setattr(toy, "run", study)
    monkeypatch.setattr(bench, "measure", nothing)
    monkeypatch.setattr(bench, "_leave_out", nothing)
    monkeypatch.setattr(agreement.comparison, "gradients", nothing)
    monkeypatch.setattr(sweep, "sweep", swept)
    monkeypatch.setattr(memory, "total", lambda device: 1e9)  # what fits here is done at once


def assert_one_line_or_success(found) -> None:
    if found.returncode:
        assert_one_clear_line(found)
        assert len(found.stderr.strip().splitlines()) == 1, found.stderr
    else:
        assert found.stderr == ""


def right(field: Any) -> st.SearchStrategy[Any]:
    """Values of the type of a setting, most of them in its range."""
    if names := config.choices(field):
        return st.sampled_from(names)
    known: dict[Any, st.SearchStrategy[Any]] = {int: st.integers(0, 9), float: st.floats(0, 9), bool: st.booleans()}
    return known.get(field.annotation, NAMES)


def words(kind: type[config.Config], command: str) -> st.SearchStrategy[list[str]]:
    """A command with options of right and of wrong types."""
    flags = {kind.option(name): right(field) for name, field in kind.model_fields.items() if name != kind.argument}
    flags |= {"--time-budget": NUMBERS, "--checkpoint-minutes": NUMBERS, "--out": TEXTS} if command == "train" else {}
    flags |= {"--seeds": st.integers(-1, 3) | NUMBERS, "--workers": NUMBERS} if command == "sweep" else {}

    def option(flag: str) -> st.SearchStrategy[list[str]]:
        value = st.one_of(flags[flag], flags[flag], NUMBERS, TEXTS).map(str)
        return st.one_of(value.map(lambda text: [f"{flag}={text}"]), value.map(lambda text: [flag, text]))

    options = st.lists(st.sampled_from(list(flags)).flatmap(option), max_size=4)
    first = {"train": "digits", "cell": "recall", "sweep": "digits", "bench": "lif"}.get(command)
    names = st.just([first]) | st.just([first]) | TEXTS.map(lambda text: [text]) if first else st.just([])
    return st.tuples(st.just([command]), names, options).map(lambda parts: [*parts[0], *parts[1], *chain(*parts[2])])


COMMANDS = st.one_of(
    *(words(kind, command) for command, kind in CONFIGS.items()),
    words(TrainingConfig, "sweep"),
    words(TrainingConfig, "train"),
    st.lists(TEXTS, min_size=1, max_size=3),  # without a word there is help
).map(lambda command: [word.replace("\0", "") for word in command])  # the system has no such words


@pytest.mark.slow
def test_command_lines(tmp_path, no_work):
    @CASES
    @given(COMMANDS)
    def ends_well(command):
        assert_one_line_or_success(here(*command, cwd=tmp_path))

    ends_well()


def values(field: Any) -> st.SearchStrategy[Any]:
    """Of the type of a setting or of any other that YAML has."""
    own = right(field)
    if get_origin(field.annotation) is tuple:
        own = st.lists(st.one_of(own, NUMBERS), max_size=3)
    other = st.recursive(
        st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.dates(), st.binary(max_size=3)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=2)),
        max_leaves=6,
    )
    return st.one_of(own, own, own, st.lists(own, min_size=1, max_size=3), other, st.just("chosen"))


def blocks(kind: type[config.Config]) -> st.SearchStrategy[dict[Any, Any]]:
    fields = {name: values(field) for name, field in kind.model_fields.items()}
    chosen = st.lists(st.sampled_from(list(fields)), max_size=4, unique=True)
    known = chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))
    return st.one_of(known, known, known, st.dictionaries(st.one_of(TEXTS, NUMBERS), fields["tau_m"], max_size=2))


def files(command: str, kind: type[config.Config]) -> st.SearchStrategy[str]:
    first = {"train": {"dataset": "digits"}, "cell": {"dataset": "recall"}, "toy": {}}[command]
    named = blocks(kind).map(lambda block: first | block)
    runs = st.one_of(named, st.lists(named, min_size=1, max_size=2))
    head = st.dictionaries(
        st.sampled_from(["title", "about", "order", "axis", "data", "chosen_by", "colour"]), TEXTS | NUMBERS, max_size=2
    )
    whole = st.tuples(head, runs).map(lambda parts: {**parts[0], "command": command, "runs": parts[1]})
    return st.one_of(whole, runs if command == "train" else whole).map(lambda content: yaml.safe_dump(content))


FILES = st.one_of(
    *(files(command, CONFIGS[command]) for command in ("train", "cell", "toy")),
    st.text("{}[]:,-&*!#|>'\"\n %@`?abdgist01.", max_size=30),
)


@pytest.mark.slow
def test_configurations_from_yaml(tmp_path, no_work):
    path = tmp_path / "mine.yaml"

    @CASES
    @given(FILES)
    def ends_well(content):
        path.write_text(content, encoding="utf-8")
        found = here("sweep", "mine.yaml", cwd=tmp_path)
        assert_one_line_or_success(found)
        try:
            experiments.read(path)
        except ValueError as error:
            assert found.returncode and "mine.yaml" in str(error)

    ends_well()
