"""What one run of training is set to: every setting with its meaning, what suits a data set, and the paper's presets.

Where the paper is silent, the presets follow the published settings of TSSL-BP (Zhang & Li 2020), whose networks these
are. What they leave out of it: weights are not clamped to ±4, and the target spikes are filtered once, not twice.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tsbp.checks import RESETS
from tsbp.gradients import STUDIED, resolve
from tsbp.layers import NEURONS, POOLING
from tsbp.networks import INITIALISATIONS, TABLE_3
from tsbp.runs.config import LARGEST_SEED, Gradient, OneOf, PluginConfig, setting
from tsbp.runs.data import CLASS_FOLDERS, DATA_SETS
from tsbp.runs.data.folders import DEEP
from tsbp.runs.encoding import ENCODINGS
from tsbp.runs.optimizers import OPTIMIZERS
from tsbp.runs.plugins import load_plugin
from tsbp.surrogate import SCALES, SURROGATES

SCHEDULES = ("one-cycle", "constant")
READOUTS = ("van-rossum", "integrator")


def _pixels(value: Any) -> Any:
    """``--padding 1`` and ``padding: 1`` are the same, and so are ``1,0`` and ``1, 0``."""
    numbers = value.split(",") if isinstance(value, str) else [str(value)]
    if isinstance(value, int | str) and all(re.fullmatch(r" *[0-9]{1,9} *", number) for number in numbers):
        pixels = [int(number) for number in numbers]
        return pixels[0] if len(pixels) == 1 else ",".join(map(str, pixels))
    if value != "same":
        raise ValueError("must be pixels, same, or one number for each convolution, such as 1,0")
    return value


def _shortest(pattern: str) -> str:
    """``01`` for 0101: equal targets have equal names."""
    n = len(pattern)
    return next(pattern[:k] for k in range(1, n + 1) if n % k == 0 and pattern[:k] * (n // k) == pattern)


class NetworkConfig(PluginConfig):
    """What a training of one network and one of many at once are set to; :meth:`for_dataset` fills in what suits a data
    set. Time constants are in time steps.

    The defaults here never change: they decide what a record's name leaves out.
    """

    argument: ClassVar[str] = "dataset"

    dataset: Annotated[str, setting(", ".join(DATA_SETS) + ", or a folder with train/ and test/.")] = "digits"
    network: Annotated[str, setting("In the notation of Table 3, without the output layer.")] = TABLE_3["mnist"]
    time_steps: Annotated[int, setting("Number of time steps T.", ge=1)] = 5
    tau_m: Annotated[float, setting("Membrane time constant in steps.", ge=1)] = 5.0
    tau_s: Annotated[float, setting("Synaptic time constant in steps.", ge=1, allow_inf_nan=False)] = 3.0
    threshold: Annotated[float, setting("Potential above which a neuron fires.", allow_inf_nan=False)] = 1.0
    surrogate: Annotated[str, setting("Shape of the surrogate gradient."), OneOf(SURROGATES)] = "sigmoid"
    temperature: Annotated[
        float, setting("Width of the surrogate gradient, the sigmoid temperature.", gt=0, allow_inf_nan=False)
    ] = 0.3
    surrogate_scale: Annotated[str, setting("Area 1 under the surrogate gradient, or height 1."), OneOf(SCALES)] = (
        "area"
    )
    reset: Annotated[
        str, setting("A spike resets the potential to zero, or subtracts the threshold from it."), OneOf(RESETS)
    ] = "zero"
    synaptic_delay: Annotated[int, setting("Time steps from one layer to the next.", ge=0)] = 0
    detach_recurrence: Annotated[
        bool, setting("Let no error go back in time through recurrent weights, which learn nevertheless.")
    ] = False
    initialisation: Annotated[
        str, setting("tssl-bp: linear layers Kaiming-normal, the gain on convolutions alone."), OneOf(INITIALISATIONS)
    ] = "pytorch"
    weight_gain: Annotated[float, setting("Factor on the initial weights.", gt=0, allow_inf_nan=False)] = 2.0
    encoding: Annotated[
        str,
        setting(
            "Pixels or events as currents (direct) or through a synapse (filtered); pixels as random spikes (poisson) "
            "or one row of them a step (rows)."
        ),
        OneOf(ENCODINGS),
    ] = "direct"
    target: Annotated[
        str,
        setting("Spikes wanted of the true class's neuron, repeated up to T: 01111, say.", pattern="^[01]+$"),
        AfterValidator(_shortest),
    ] = "1"
    readout: Annotated[
        str,
        setting(
            "van-rossum: spiking output neurons, trained on their distance to the target. integrator: leaky "
            "integrators, trained by cross-entropy on the largest potential over time."
        ),
        OneOf(READOUTS),
    ] = "van-rossum"
    read_steps: Annotated[
        int, setting("Read an integrator over so many of the last time steps; 0: over all of them.", ge=0)
    ] = 0
    epochs: Annotated[int, setting("Passes over the training data.", ge=1)] = 10
    batch_size: Annotated[int, setting("Examples per update.", ge=1)] = 100
    schedule: Annotated[str, setting("Of the learning rate."), OneOf(SCHEDULES)] = "one-cycle"
    optimizer: Annotated[str, setting("momentum and nesterov are SGD with momentum 0.9."), OneOf(OPTIMIZERS)] = "adamw"
    clip_norm: Annotated[float, setting("Largest norm of the gradient; inf for no clipping.", gt=0)] = 1.0
    shift: Annotated[int, setting("Shift training images by up to so many pixels either way.", ge=0)] = 0
    flip: Annotated[bool, setting("Mirror training images half of the time.")] = False
    rotation: Annotated[float, setting("Rotate training images by up to so many degrees either way.", ge=0, le=180)] = (
        0.0
    )
    examples: Annotated[int, setting("Train on so many examples, always the same ones; 0: on all of them.", ge=0)] = 0
    validation: Annotated[
        int, setting("Measure on so many training examples, held out, instead: for choosing settings.", ge=0)
    ] = 0
    folds: Annotated[
        int,
        setting("Cross-validation: cut all examples into so many parts; 0: keep the data set's test examples.", ge=0),
    ] = 0
    fold: Annotated[
        int, setting("Test on this part, counted from 0; from FOLDS on, it is one of another such cut.", ge=0, le=9999)
    ] = 0
    shuffle_time: Annotated[
        bool,
        setting(
            "Control: put the time steps of each example (under encoding rows, its rows) in a random order of its own."
        ),
    ] = False

    @model_validator(mode="after")
    def _fold_is_one_of_several(self) -> Self:
        if self.folds == 1 or (self.fold and not self.folds):
            raise ValueError(f"folds must be at least 2 for cross-validation, got {self.folds}")
        return self

    @model_validator(mode="after")
    def _integrator_is_read_within_the_run(self) -> Self:
        if self.read_steps and self.readout != "integrator":
            raise ValueError(
                f"read_steps must be 0 for readout {self.readout}, whose target says when to fire, "
                f"got {self.read_steps}"
            )
        if self.read_steps > self.time_steps:
            raise ValueError(f"read_steps must be at most {self.time_steps}, the time steps, got {self.read_steps}")
        return self

    @classmethod
    def for_dataset(cls, name: str, /, **settings: Any) -> Self:
        """Defaults for a data set and its network, or those of a preset, then the settings given.

        Args:
            name: a data set, or one of ``PRESETS``.
            **settings: fields of this class; None stands for the default.

        Raises:
            ValueError: there is no such setting, or one is out of its range.
        """
        given = {setting: value for setting, value in settings.items() if value is not None}
        if name in PRESETS:
            return cls(**cls._as_settings(PRESETS[name]) | given)
        if name not in DATA_SETS:
            load_plugin(given.get("plugin", ""))  # which may add it
        defaults = DATA_SETS.get(name, CLASS_FOLDERS).defaults
        network = given.get("network", defaults["network"])
        known = isinstance(network, str) and network != defaults["network"]
        other = _DEFAULTS_BY_NETWORK.get(network, {}) if known else {}
        return cls(**cls._as_settings({"dataset": name} | defaults | other) | given)

    @property
    def n_networks(self) -> int:
        """How many networks a run trains."""
        return 1

    @classmethod
    def _as_settings(cls, suited: Mapping[str, Any]) -> dict[str, Any]:
        """What suits a data set, which is said as settings of a single training."""
        return dict(suited)


class TrainingConfig(NetworkConfig):
    """One run of training. The defaults here never change either."""

    kind: ClassVar[str] = "train"

    gradient: Annotated[
        Gradient,
        setting(
            "full keeps the reset term, leak drops it, spatial has none in time; or a number that scales the term."
        ),
    ] = "full"
    seed: Annotated[
        int,
        setting(
            "Decides everything random: weights, order of the examples, augmentation, dropout.", ge=0, le=LARGEST_SEED
        ),
    ] = 0
    lr: Annotated[
        float, setting("Learning rate; the highest one of a one-cycle schedule.", gt=0, allow_inf_nan=False)
    ] = 0.002
    neuron: Annotated[str, setting("What the layers are made of."), OneOf(NEURONS)] = "lif"
    padding: Annotated[
        int | str,
        setting("Of every convolution: pixels, or same; or one number each, such as 1,0."),
        BeforeValidator(_pixels),
    ] = 0
    pooling: Annotated[str, setting("sum is 1.1 times the sum, as in TSSL-BP."), OneOf(POOLING)] = "average"
    dropout: Annotated[
        float, setting("Share of the hidden neurons that stay out of an update, at all its steps.", ge=0, lt=1)
    ] = 0.0
    evaluate_every: Annotated[
        int, setting("Epochs from one measurement to the next; the last one always counts.", ge=1)
    ] = 1
    compare_gradients: Annotated[bool, setting("Measure after every epoch how far apart the gradients point.")] = False
    precision: Annotated[
        str,
        setting("Of convolutions and linear layers; auto is bfloat16 on CUDA, float32 on a CPU."),
        OneOf(("auto", "float32", "bfloat16")),
    ] = "auto"
    device: Annotated[str, setting("auto takes a GPU when there is one."), OneOf(("auto", "cpu", "cuda"))] = "auto"

    @model_validator(mode="after")
    def _gradient_is_known(self) -> Self:
        resolve(self.gradient)
        return self


def _different(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("must differ from one another")
    return values


class CellConfig(NetworkConfig):
    """Networks of one architecture, every gradient x learning rate x seed. The defaults here never change either."""

    kind: ClassVar[str] = "cell"

    gradients: Annotated[
        tuple[Gradient, ...],
        setting("full, leak, spatial, or a number that scales the reset term.", option="gradient", min_length=1),
        AfterValidator(_different),
    ] = STUDIED
    learning_rates: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...],
        setting("Learning rate; the highest one of a one-cycle schedule.", option="lr", min_length=1),
        AfterValidator(_different),
    ] = (0.002,)
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...],
        setting("Decides everything random of a network.", option="seed", min_length=1),
        AfterValidator(_different),
    ] = (0,)

    @model_validator(mode="after")
    def _networks_fit_side_by_side(self) -> Self:
        for gradient in self.gradients:
            resolve(gradient)
        if not all(token.removesuffix("R").isdecimal() for token in self.network.split("-")):
            raise ValueError(
                f"network must be fully connected in a cell, such as 128-128 or 128R, got {self.network!r}"
            )
        if self.encoding == "poisson":
            raise ValueError("encoding must not be poisson in a cell, whose networks share their inputs")
        return self

    @classmethod
    def _as_settings(cls, suited: Mapping[str, Any]) -> dict[str, Any]:
        found = {"learning_rates": (suited["lr"],)} if "lr" in suited else {}
        return found | {name: value for name, value in suited.items() if name in cls.model_fields}

    @property
    def n_networks(self) -> int:
        """Every gradient x learning rate x seed."""
        return len(self.gradients) * len(self.learning_rates) * len(self.seeds)

    def alone(self, gradient: str, learning_rate: float, seed: int, device: str = "cpu") -> TrainingConfig:
        """The training of one of the networks by itself."""
        shared = {name: getattr(self, name) for name in NetworkConfig.model_fields}
        return TrainingConfig(
            **shared, gradient=gradient, lr=learning_rate, seed=seed, precision="float32", device=device
        )

    @property
    def first(self) -> TrainingConfig:
        """The first of them: all that they have in common."""
        return self.alone(self.gradients[0], self.learning_rates[0], self.seeds[0])


_DEFAULTS_BY_NETWORK: dict[str, dict[str, Any]] = {TABLE_3["cifar10"]: DEEP}

_TSSL_BP: dict[str, Any] = {
    "pooling": "sum",
    "initialisation": "tssl-bp",
    "weight_gain": 1.0,
    "encoding": "filtered",
    "batch_size": 50,
    "schedule": "constant",
}
_CIFAR10_REDUCED: dict[str, Any] = {
    "dataset": "cifar10",
    "network": "12C3-32C3-P2-48C3-P2-48C3-32C3-128-128",
    "examples": 10_000,
    "lr": 0.02,  # by the mean of all gradients on held-out images
    "epochs": 20,
    "evaluate_every": 5,
}
_STEPS_5: dict[str, Any] = {"time_steps": 5, "target": "01111"}
_STEPS_30: dict[str, Any] = {"time_steps": 30, "target": "01"}
_MNIST = _TSSL_BP | {"dataset": "mnist", "network": TABLE_3["mnist"], "epochs": 200, "lr": 5e-4}
_NMNIST = _TSSL_BP | {"dataset": "nmnist", "network": TABLE_3["nmnist"], "epochs": 100, "lr": 5e-4, "padding": "1,0"}
_NMNIST |= {"tau_m": 8.0, "tau_s": 4.0}
_CIFAR10 = _TSSL_BP | {"dataset": "cifar10", "network": TABLE_3["cifar10"], "epochs": 150, "lr": 2e-4, "padding": 1}
_CIFAR10 |= {"dropout": 0.2, "weight_gain": 5.0, "shift": 4, "flip": True}

PRESETS: dict[str, dict[str, Any]] = {
    "mnist-long": DATA_SETS["mnist"].defaults
    | {"dataset": "mnist", "epochs": 30, "rotation": 10.0, "evaluate_every": 5},
    "mnist-30": DATA_SETS["mnist"].defaults | {"dataset": "mnist", "time_steps": 30, "epochs": 10},
    "nmnist-5": DATA_SETS["nmnist"].defaults | {"dataset": "nmnist", "time_steps": 5},
    "cifar10-reduced": CLASS_FOLDERS.defaults | _CIFAR10_REDUCED,
    "paper-mnist": _MNIST | _STEPS_30,
    "paper-mnist-swapped": _MNIST | _STEPS_5,
    "paper-nmnist": _NMNIST | _STEPS_5,
    "paper-nmnist-swapped": _NMNIST | _STEPS_30,
    "paper-cifar10": _CIFAR10 | _STEPS_5,
}
"""``paper-...`` are the runs of Table 2 in full length. Table 3 gives MNIST 30 time steps and N-MNIST 5; TSSL-BP has
them the other way round, so each also comes ``-swapped``. CIFAR-10 has 5 in both. ``mnist-long`` trains for longer than
the default, with rotated images. The others are short, for a CPU: the time steps of Table 3, and CIFAR-10 with an
eighth of the channels and a fifth of the images.

:meta hide-value:
"""

TABLE_2: dict[str, dict[str, float]] = {
    "nmnist": {"time_steps": 5, "full": 99.29, "leak": 99.28},
    "mnist": {"time_steps": 30, "full": 99.49, "leak": 99.50},
    "cifar10": {"time_steps": 5, "full": 88.96, "leak": 88.98},
}
"""What the paper reports: test accuracy in per cent (its Table 2), and the time steps of its Table 3."""
