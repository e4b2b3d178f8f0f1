"""Settings: converted or refused with one clear line, however they were written; equal runs have equal identities."""

import math

import pytest

from tsbp.runs import records
from tsbp.runs.config import KINDS, limits
from tsbp.runs.settings import PRESETS, CellConfig, TrainingConfig
from tsbp.runs.toy import ToyConfig

CONFIGS = {"train": TrainingConfig, "cell": CellConfig, "toy": ToyConfig}


@pytest.mark.parametrize(
    ("setting", "written", "meant"),
    [
        ("lr", "5e-4", 0.0005),
        ("lr", 1, 1.0),
        ("lr", "1", 1.0),
        ("flip", "false", False),
        ("flip", "true", True),
        ("epochs", 2.0, 2),
        ("epochs", "2", 2),
        ("seed", "3", 3),
        ("gradient", 0.30, "0.3"),
        ("gradient", "0.30", "0.3"),
        ("gradient", 1, "1"),
        ("gradient", "1.0", "1"),
        ("padding", "1", 1),
        ("padding", "1,0", "1,0"),
        ("clip_norm", "inf", math.inf),
        ("clip_norm", "Infinity", math.inf),
        ("tau_m", math.inf, math.inf),
        ("target", "01111", "01111"),
        ("target", "010101", "01"),
        ("target", "111", "1"),
        ("padding", "1, 0", "1,0"),
        ("padding", "01", 1),
        ("gradient", "-0.0", "0"),
        ("threshold", "-0", 0.0),
        ("dropout", -0.0, 0.0),
        ("flip", "no", False),
        ("seed", str(2**32 - 1), 2**32 - 1),
    ],
)
def test_what_is_written_is_what_is_meant(setting, written, meant):
    config = TrainingConfig(**{setting: written})
    found = getattr(config, setting)
    assert found == meant and type(found) is type(meant)
    assert config.identity() == TrainingConfig(**{setting: meant}).identity()
    assert TrainingConfig().but(**{setting: written}) == config
    assert not isinstance(found, float) or math.copysign(1, found) == 1, "there is one zero"


def test_lists_of_the_single_neuron():
    config = ToyConfig(learning_rates=["0.1", 1], gradients=["full", 0.50])
    assert config.learning_rates == (0.1, 1.0) and config.gradients == ("full", "0.5")


@pytest.mark.parametrize(
    ("kind", "setting", "value", "said"),
    [
        ("train", "lr", "fast", "lr must be a number, got 'fast'"),
        ("train", "lr", 0, "lr must be greater than 0, got 0"),
        ("train", "lr", math.nan, "lr must be a finite number, got nan"),
        ("train", "lr", "nan", "lr must be a finite number, got 'nan'"),
        ("train", "lr", math.inf, "lr must be a finite number, got inf"),
        ("train", "lr", None, "lr must be a number, got None"),
        ("train", "lr", [0.1, 0.2], "lr must be a number, got [0.1, 0.2]"),
        ("train", "seed", -1, "seed must be at least 0, got -1"),
        ("train", "seed", 2**32, "seed must be at most 4294967295, got 4294967296"),
        ("train", "seed", 2**64, "seed must be at most 4294967295, got 18446744073709551616"),
        ("toy", "seed", str(2**32), "seed must be at most 4294967295, got '4294967296'"),
        ("train", "lr", 1e38, "lr must be at most 1e+30, got 1e+38"),
        ("train", "threshold", "-1e39", "threshold must be at least -1e+30, got '-1e39'"),
        ("toy", "learning_rates", [0.1, 1e300], "learning_rates must be at most 1e+30, got [0.1, 1e+300]"),
        ("train", "epochs", 2**63, "epochs must be less than 2**63, got 9223372036854775808"),
        ("train", "padding", -1, "padding must be pixels, same, or one number for each convolution, such as 1,0, got"),
        ("train", "padding", "9" * 5000, "padding must be pixels, same, or one number for each convolution"),
        ("train", "network", "x\udc80", "network must be text in UTF-8, got 'x\\udc80'"),
        ("train", "plugin", 3, "plugin must be a string, got 3"),
        ("train", "clip_norm", -1.0, "clip_norm must be greater than 0, got -1.0"),
        ("train", "clip_norm", math.nan, "clip_norm must be greater than 0, got nan"),
        ("train", "threshold", math.nan, "threshold must be a finite number, got nan"),
        ("train", "weight_gain", math.nan, "weight_gain must be a finite number, got nan"),
        ("train", "tau_m", 0.1, "tau_m must be at least 1, got 0.1"),
        ("train", "tau_m", math.nan, "tau_m must be at least 1, got nan"),
        ("train", "rotation", 181, "rotation must be at most 180, got 181"),
        ("train", "rotation", -1.0, "rotation must be at least 0, got -1.0"),
        ("train", "dropout", 1, "dropout must be less than 1, got 1"),
        ("train", "epochs", 2.5, "epochs must be an integer, got 2.5"),
        ("train", "epochs", True, "epochs takes no truth value, got True"),
        ("train", "epochs", 0, "epochs must be at least 1, got 0"),
        ("train", "batch_size", 0, "batch_size must be at least 1, got 0"),
        ("train", "time_steps", 0, "time_steps must be at least 1, got 0"),
        ("train", "shift", -1, "shift must be at least 0, got -1"),
        ("train", "examples", -1, "examples must be at least 0, got -1"),
        ("train", "validation", -3, "validation must be at least 0, got -3"),
        ("train", "flip", "maybe", "flip must be a boolean, got 'maybe'"),
        ("train", "target", 585, "target must be a string, got 585"),  # 01111 in YAML
        ("train", "target", "02", "target must match pattern '^[01]+$', got '02'"),
        ("train", "network", 300, "network must be a string, got 300"),
        ("train", "padding", 1.5, "padding must be pixels, same, or one number for each convolution, such as 1,0"),
        ("train", "padding", True, "padding takes no truth value, got True"),
        ("train", "optimizer", "lbfgs", "optimizer must be one of sgd, momentum, nesterov, adam, adamw, got 'lbfgs'"),
        ("train", "precision", "int8", "precision must be one of auto, float32, bfloat16, got 'int8'"),
        ("train", "device", "tpu", "device must be one of auto, cpu, cuda, got 'tpu'"),
        ("train", "reset", "soft", "reset must be one of zero, subtract, got 'soft'"),
        ("train", "gradient", "none", "gradient must be one of full, leak, spatial"),
        ("train", "gradient", math.nan, "gradient must be one of full, leak, spatial"),
        ("train", "gradient", "1e400", "gradient must be one of full, leak, spatial"),
        ("train", "gradients", ["full"], "unknown setting gradients; did you mean gradient?"),
        ("train", "batchsize", 3, "unknown setting batchsize; did you mean batch_size?"),
        ("train", "colour", "red", "unknown setting colour; there are plugin, dataset, network"),
        ("train", "self", 3, "unknown setting self; "),
        ("toy", "gradients", ["none"], "gradient must be one of full, leak, spatial"),
        ("toy", "gradients", [], "gradients must have at least 1 item, got []"),
        ("toy", "gradients", "full", "gradients must be a list, got 'full'"),
        ("toy", "learning_rates", [0.1, 0], "learning_rates must be greater than 0, got 0"),
        ("toy", "learning_rates", [True], "learning_rates takes no truth value, got [True]"),
        ("toy", "repeats", 0, "repeats must be at least 1, got 0"),
        ("toy", "iterations", 0, "iterations must be at least 1, got 0"),
        ("toy", "input_probability", 1.5, "input_probability must be at most 1, got 1.5"),
        ("toy", "optimizer", "lbfgs", "optimizer must be one of sgd, momentum"),
        ("toy", "dtype", "int8", "dtype must be one of float32, float64, got 'int8'"),
        ("toy", "synaptic_delay", -1, "synaptic_delay must be at least 0, got -1"),
        ("toy", "initialisation", "zeros", "initialisation must be one of normal, uniform, positive, got 'zeros'"),
        ("toy", "tau_m", 0.5, "tau_m must be at least 1, got 0.5"),
    ],
)
def test_what_is_refused_is_named_in_one_line(kind, setting, value, said):
    with pytest.raises(ValueError) as error:
        CONFIGS[kind](**{setting: value})
    assert type(error.value) is ValueError and str(error.value).startswith(said) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match=setting.rstrip("s")):
        CONFIGS[kind]().but(**{setting: value})


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0; lr must be greater than 0, got -1"):
        TrainingConfig(lr=-1, epochs=0)
    for name in ("name", "cls"):
        with pytest.raises(ValueError, match=f"unknown setting {name}"):
            TrainingConfig.for_dataset("digits", **{name: "mine"})


def test_a_configuration_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        TrainingConfig().lr = 3.0


def test_identities_are_for_good():
    """A default that changes, a setting that is renamed: each would give published runs another name."""
    paper = TrainingConfig.for_dataset("paper-nmnist", gradient=0.5, seed=7, device="cpu", precision="float32")
    assert TrainingConfig().identity() == "abff6c50d4"
    younger = {"readout": "van-rossum", "read_steps": 0, "shuffle_time": False}
    assert TrainingConfig(**younger).identity() == "abff6c50d4"
    assert paper.identity("0123456789abcdef") == "63d1600570"
    assert ToyConfig().identity() == "e267cb18c3"


def test_a_wrong_value_is_quoted_in_short():
    bomb = ["x"] * 9
    for _ in range(9):
        bomb = [bomb] * 9
    for value in (bomb, "x" * 10**6, {"a": bomb}):
        with pytest.raises(ValueError) as error:
            TrainingConfig(lr=value)
        assert str(error.value).startswith("lr must be a number, got ") and len(str(error.value)) < 400


def test_a_folder_has_one_name_however_it_is_reached(tmp_path, monkeypatch):
    (tmp_path / "fruit" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "fruit")
    names = [".", "./", "../fruit", str(tmp_path / "fruit"), f"{tmp_path}/fruit/", "train/.."]
    assert {TrainingConfig(dataset=name).identity("1") for name in names} == {
        TrainingConfig(dataset="some/where/fruit").identity("1")
    }
    assert {records.name_of(TrainingConfig(dataset=name)).split("-")[1] for name in names} == {"fruit"}


def test_the_identity_is_of_the_run_and_its_data():
    config = TrainingConfig(dataset="some/where/fruit")
    moved = config.but(dataset="/else/where/fruit/")
    assert config.identity("1") == moved.identity("1") != config.identity("2")
    assert config.identity("1") != config.but(dataset="some/where/vegetables").identity("1")
    others = [config.but(**{name: value}) for name, value in {"seed": 1, "dropout": 0.1, "target": "01"}.items()]
    assert len({one.identity() for one in [config, *others]}) == 4
    assert TrainingConfig(seed=5).identity() != ToyConfig(seed=5).identity()


def test_settings_come_back_from_strict_json():
    """As a record has them: no infinity, lists for tuples."""
    for config in (TrainingConfig(clip_norm=math.inf), ToyConfig(tau_m=math.inf, learning_rates=(0.1,))):
        assert math.inf not in config.strict().values()
        assert type(config).restored(config.strict()) == config == type(config)(**config.strict())


def test_a_record_is_not_judged():
    """Of a setting that no longer exists, or from a plugin that is not there."""
    config = TrainingConfig.restored({"gradient": "mine", "plugin": "no_such_module", "lr": 0.5, "colour": "red"})
    assert (config.gradient, config.lr, config.epochs) == ("mine", 0.5, TrainingConfig().epochs)


def test_every_setting_has_a_meaning_and_an_option():
    import tsbp.peers.agreement
    import tsbp.peers.bench  # noqa: F401

    assert {"train", "cell", "toy", "bench", "agreement"} <= KINDS.keys()
    for kind in KINDS.values():
        options = [kind.option(name) for name in kind.model_fields]
        assert len(set(options)) == len(options)
        assert all(field.description for field in kind.model_fields.values())
        assert all(f"{name}: " in kind.__doc__ for name in kind.model_fields)
    assert ToyConfig.option("learning_rates") == "--lr" and TrainingConfig.option("batch_size") == "--batch-size"
    assert limits(TrainingConfig.model_fields["dropout"]) == "at least 0, less than 1"


def test_presets_are_table_3():
    """Networks and time steps as printed in the paper, and with the first two rows' time steps exchanged."""
    paper = [name for name in PRESETS if name.startswith("paper-")]
    steps = {name: TrainingConfig.for_dataset(name).time_steps for name in paper}
    assert steps == {
        "paper-mnist": 30,
        "paper-mnist-swapped": 5,
        "paper-nmnist": 5,
        "paper-nmnist-swapped": 30,
        "paper-cifar10": 5,
    }
