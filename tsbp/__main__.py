"""The command line: ``tsbp toy`` and ``tsbp train``."""

import sys
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from tqdm import tqdm
    from typer.exceptions import TyperException
except ModuleNotFoundError as error:
    sys.exit(f'error: the command line needs {error.name}; install it with: pip install "tsbp[run]"')

from tsbp import records, toy, training
from tsbp.neuron import GRADIENTS

app = typer.Typer(
    help="Train spiking neurons and networks with and without the reset gradient.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Gradient = StrEnum("Gradient", {name: name for name in GRADIENTS})
Device = StrEnum("Device", ["auto", "cpu", "cuda"])
ToyOptimizer = StrEnum("ToyOptimizer", {name: name for name in toy.OPTIMIZERS})
Initialisation = StrEnum("Initialisation", {name: name for name in toy.INITIALISATIONS})
Optimizer = StrEnum("Optimizer", {name: name for name in training.OPTIMIZERS})
Precision = StrEnum("Precision", {name: name for name in training.PRECISIONS})
DType = StrEnum("DType", ["float32", "float64"])

Out = Annotated[Path, typer.Option(help="Folder for the record.")]
Seed = Annotated[int, typer.Option(help="Decides everything random.", min=0)]
DeviceOption = Annotated[Device, typer.Option(help="auto takes a GPU when there is one.")]
TauM = Annotated[float | None, typer.Option(help="Membrane time constant in steps.")]
TauS = Annotated[float | None, typer.Option(help="Synaptic time constant in steps.")]
Threshold = Annotated[float | None, typer.Option(help="Potential above which a neuron fires.")]
Temperature = Annotated[float | None, typer.Option(help="Sigmoid temperature of the surrogate gradient.")]
TimeSteps = Annotated[int | None, typer.Option(help="Number of time steps T.")]
Delay = Annotated[int | None, typer.Option(help="Time steps from one layer to the next.")]


@app.command("toy")
def toy_command(
    gradient: Annotated[
        list[str] | None,
        typer.Option(help="full, leak, spatial, or a number that scales the reset term; repeat for several."),
    ] = None,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rate; repeat for several.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Neurons per gradient and learning rate.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    seed: Seed = 0,
    optimizer: Annotated[ToyOptimizer | None, typer.Option()] = None,
    n_inputs: Annotated[int | None, typer.Option(help="Input neurons.")] = None,
    time_steps: TimeSteps = None,
    input_probability: Annotated[float | None, typer.Option(help="Of an input spike at a step.")] = None,
    target_probability: Annotated[float | None, typer.Option(help="Of a target spike at a step.")] = None,
    tau_m: TauM = None,
    tau_s: TauS = None,
    threshold: Threshold = None,
    temperature: Temperature = None,
    synaptic_delay: Delay = None,
    initialisation: Annotated[Initialisation | None, typer.Option(help="Distribution of the initial weights.")] = None,
    soft_reset: Annotated[bool | None, typer.Option(help="A spike takes the threshold from the potential.")] = None,
    normalised: Annotated[bool | None, typer.Option(help="Rescale every gradient to length 1.")] = None,
    dtype: Annotated[DType | None, typer.Option()] = None,
    device: DeviceOption = Device.auto,
    out: Out = Path("runs"),
) -> None:
    """Train single neurons, every repeat x learning rate x gradient at once. Writes a record.

    An option left out takes the value of the paper's Table 1 where there is one.
    """
    settings = _given(toy.ToyConfig, locals())
    if gradient:
        settings["gradients"] = tuple(gradient)
    if lr:
        settings["learning_rates"] = tuple(lr)
    config = toy.ToyConfig(**settings)
    records.check_folder(out)
    where = training.resolve_device(device)
    result = toy.run(config, device=where, progress=lambda it: tqdm(it, "toy", unit="iteration", disable=None))
    path = records.write(records.new("toy", config, result.summary(), where), out)
    print(f"mean loss after {config.iterations} iterations, {config.repeats} repeats")
    print("".join(["learning rate", *(f"{name:>10}" for name in config.gradients)]))
    for rate in config.learning_rates:
        losses = (result.final_loss(name, rate).mean().item() for name in config.gradients)
        print("".join([f"{rate:<13g}", *(f"{loss:10.4f}" for loss in losses)]))
    print(path)


@app.command("train")
def train_command(
    dataset: Annotated[str, typer.Argument(help="digits, mnist, nmnist, cifar10, or a folder with train/ and test/.")],
    gradient: Annotated[
        Gradient, typer.Option(help="full has the reset term, leak has not; spatial has none in time.")
    ] = Gradient.full,
    seed: Seed = 0,
    network: Annotated[
        str | None, typer.Option(help="In the notation of Table 3, such as 15C5-P2-40C5-P2-300.")
    ] = None,
    time_steps: TimeSteps = None,
    tau_m: TauM = None,
    tau_s: TauS = None,
    threshold: Threshold = None,
    temperature: Temperature = None,
    synaptic_delay: Delay = None,
    padding: Annotated[str | None, typer.Option(help="Of every convolution: pixels, or same.")] = None,
    pooling: Annotated[str | None, typer.Option(help="average or max.")] = None,
    weight_gain: Annotated[float | None, typer.Option(help="Factor on PyTorch's initial weights.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate of the one-cycle schedule.")] = None,
    optimizer: Annotated[Optimizer | None, typer.Option()] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    shift: Annotated[int | None, typer.Option(help="Move training images by up to so many pixels.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror training images half of the time.")] = None,
    validation: Annotated[
        int | None, typer.Option(help="Measure on so many held-out training examples instead.")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="auto is bfloat16 on CUDA, float32 on a CPU.")] = None,
    device: DeviceOption = Device.auto,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data sets [default: $TSBP_DATA or the cache].")
    ] = None,
    out: Out = Path("runs"),
) -> None:
    """Train a spiking network on a data set. Writes a record. An option left out takes the data set's own default."""
    settings = _given(training.TrainingConfig, locals())
    if padding is not None:
        settings["padding"] = int(padding) if padding.isdecimal() else padding
    config = training.TrainingConfig.for_dataset(**settings)
    records.check_folder(out)
    print(records.write(training.train(config, data_root=data_root), out))


def _given(config: type, options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given and are fields of a configuration; the others keep the configuration's default."""
    names = {field.name for field in fields(config)}
    return {
        name: str(value) if isinstance(value, StrEnum) else value
        for name, value in options.items()
        if name in names and value is not None
    }


def main() -> None:
    """Run the command line; a mistake of the user's ends in one line on standard error."""
    try:
        code = app(standalone_mode=False) or 0
        message = "interrupted" if code == 130 else ""  # Typer makes this code of Ctrl-C
    except TyperException as error:
        message, code = error.format_message(), 2
    except ModuleNotFoundError as error:
        message, code = f'this command needs {error.name}; install it with: pip install "tsbp[run]"', 1
    except (ValueError, FloatingPointError, OSError) as error:
        message, code = str(error), 1
    if message:
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
