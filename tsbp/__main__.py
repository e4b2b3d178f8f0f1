"""The command line: ``tsbp toy``, ``tsbp train``, ``tsbp sweep``, ``tsbp bench`` and ``tsbp agreement``."""

import inspect
import math
import statistics
import sys
from collections.abc import Callable
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

import torch

from tsbp.gradients import STUDIED
from tsbp.runs import processes, records, sweep, toy, training
from tsbp.runs.settings import TrainingConfig

app = typer.Typer(
    help="Train spiking neurons and networks with and without the reset gradient.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Device = StrEnum("Device", ["auto", "cpu", "cuda"])
ToyOptimizer = StrEnum("ToyOptimizer", {name: name for name in toy.OPTIMIZERS})
Initialisation = StrEnum("Initialisation", {name: name for name in toy.INITIALISATIONS})
DType = StrEnum("DType", ["float32", "float64"])
Precision = StrEnum("Precision", ["float32", "bfloat16"])

Out = Annotated[Path, typer.Option(help="Folder for the record.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data sets, if not $TSBP_DATA or the cache.")]
CheckpointMinutes = Annotated[float, typer.Option(help="Time from one checkpoint to the next.", min=0)]
TimeBudget = Annotated[
    float, typer.Option(help="Seconds after which to save a checkpoint and end.", min=0, show_default="no limit")
]
Seed = Annotated[int, typer.Option(help="Decides everything random.", min=0)]
DeviceOption = Annotated[Device, typer.Option(help="auto takes a GPU when there is one.")]
TauM = Annotated[float | None, typer.Option(help="Membrane time constant in steps.")]
TauS = Annotated[float | None, typer.Option(help="Synaptic time constant in steps.")]
Threshold = Annotated[float | None, typer.Option(help="Potential above which a neuron fires.")]
Temperature = Annotated[float | None, typer.Option(help="Sigmoid temperature of the surrogate gradient.")]
TimeSteps = Annotated[int | None, typer.Option(help="Number of time steps T.")]
Delay = Annotated[int | None, typer.Option(help="Time steps from one layer to the next.")]
Plugin = Annotated[str | None, typer.Option(help="Module to import first, which adds gradients.")]


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
    plugin: Plugin = None,
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


def _with_settings(command: Callable) -> Callable:
    """Give a command an option for every setting of a training, in the place of its ``**settings``."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    names = {parameter.name for parameter in own}
    for setting in fields(TrainingConfig):
        if setting.name not in names:
            kind = str if setting.name == "padding" else setting.type
            annotation = Annotated[kind | None, typer.Option(help=setting.metadata["meaning"])]
            own.append(
                inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            )
    command.__signature__ = inspect.Signature(own)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return command


@app.command("train")
@_with_settings
def train_command(
    dataset: Annotated[str, typer.Argument(help="A data set or a preset.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of this run in --out.")] = False,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    time_budget: TimeBudget = math.inf,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    **settings,
) -> None:
    """Train a spiking network on a data set. Writes a record. A setting left out takes the data set's own default.

    Data sets: digits, mnist, nmnist, cifar10, or a folder with train/<class>/ and test/<class>/. Presets, for Table 2
    in full length: paper-mnist, paper-mnist-swapped, paper-nmnist, paper-nmnist-swapped, paper-cifar10; short ones:
    mnist-long, mnist-30, nmnist-5, cifar10-reduced.
    """
    config = training.resolve(TrainingConfig.for_dataset(dataset, **settings))
    records.check_folder(out)
    processes.join(torch.device(config.device))
    name = records.name_of("train", config)
    path, checkpoint = out / f"{name}.json", out / f"{name}.pt"
    if resume and path.exists():
        print(path)
        return
    record = training.train(
        config,
        data_root=data_root,
        checkpoint=checkpoint,
        resume=resume,
        checkpoint_minutes=checkpoint_minutes,
        time_budget=time_budget,
    )
    if processes.rank():
        return
    if record is None:
        print(f"the time is over; --resume goes on from {checkpoint}")
        return
    print(records.write(record, out))
    checkpoint.unlink(missing_ok=True)


@app.command("sweep")
@_with_settings
def sweep_command(
    dataset: Annotated[list[str], typer.Argument(help="Data sets, presets or YAML files.")],
    gradient: Annotated[list[str] | None, typer.Option(help="Repeat for several [default: all three].")] = None,
    seed: Annotated[int, typer.Option(help="The first seed.", min=0)] = 0,
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Trainings at a time, each in a process.", min=1)] = 1,
    dask: Annotated[str | None, typer.Option(help="Do them on the cluster of this scheduler: tcp://host:port.")] = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    time_budget: TimeBudget = math.inf,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    **settings,
) -> None:
    """Train on data sets x seeds x gradients. Skips what is recorded in --out; what was stopped goes on.

    A YAML file holds a mapping, or a list of them, of settings; a list of values stands for each of them:
    {dataset: mnist, seed: [0, 1, 2], gradient: [full, leak], epochs: 20}.
    """
    settings |= {"seed": range(seed, seed + seeds), "gradient": gradient or list(STUDIED)}
    configs = []
    for name in dataset:
        configs += sweep.read_file(name) if name.endswith((".yaml", ".yml")) else sweep.grid([name], **settings)
    outcome = sweep.sweep(
        configs,
        out,
        workers=workers,
        dask=dask,
        data_root=data_root,
        checkpoint_minutes=checkpoint_minutes,
        time_budget=time_budget,
    )
    print(f"{len(outcome.recorded)} recorded, {len(outcome.skipped)} were there, {len(outcome.unfinished)} unfinished")
    if outcome.unfinished:
        print("the time is over; the same command goes on")
    if outcome.failed:
        names: dict[str, list[str]] = {}
        for name, reason in outcome.failed.items():
            names.setdefault(reason, []).append(name)
        raise sweep.SweepError("; ".join(f"{', '.join(failed)}: {reason}" for reason, failed in names.items()))


@app.command("bench")
def bench_command(
    benchmark: Annotated[
        str, typer.Argument(help="lif or recurrent: a layer; mnist, nmnist or cifar10: a training step.")
    ],
    time_steps: TimeSteps = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples.")] = None,
    neurons: Annotated[int | None, typer.Option(help="Per example, of lif.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Of tsbp's training step.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores to use.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Rounds; each times every candidate once.")] = None,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    out: Out = Path("runs"),
) -> None:
    """Time the neuron or a training step beside other libraries, those that are installed. Writes a record."""
    from tsbp.peers import bench
    from tsbp.study.statistics import ratio_intervals  # SciPy, which the other commands need not wait for

    config = bench.BenchConfig(**_given(bench.BenchConfig, locals()))
    records.check_folder(out)
    record = bench.run(config, progress=lambda rounds: tqdm(rounds, "bench", unit="round", disable=None))
    print(f"{'':<32}{'ms':>10}{'times ' + bench.REFERENCE:>18}  95 % interval")
    for name, (ratio, low, high) in ratio_intervals(record["seconds"], bench.REFERENCE).items():
        milliseconds = 1000 * statistics.median(record["seconds"][name])
        print(f"{name:<32}{milliseconds:10.2f}{ratio:18.3f}  {low:.3f} to {high:.3f}")
    for name, reason in record["left_out"].items():
        print(f"{name} left out: {reason}")
    print(records.write(record, out))


@app.command("agreement")
def agreement_command(
    time_steps: TimeSteps = None,
    neurons: Annotated[int | None, typer.Option(help="Neurons, each with random currents of its own.")] = None,
    seed: Seed = 0,
    out: Out = Path("runs"),
) -> None:
    """Find out which of the three gradients other libraries compute, those that are installed. Writes a record."""
    from tsbp.peers import agreement

    config = agreement.AgreementConfig(**_given(agreement.AgreementConfig, locals()))
    records.check_folder(out)
    record = agreement.run(config)
    print(f"{'distance from':<40}" + "".join(f"{name:>10}" for name in STUDIED))
    for name, distances in record["distances"].items():
        print(f"{name:<40}" + "".join(f"{distance:10.1e}" for distance in distances.values()))
    print(records.write(record, out))


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
    processes.keep_freed_memory()
    try:
        try:
            code = app(standalone_mode=False) or 0
        finally:
            processes.leave()
        message = "interrupted" if code == 130 else ""  # Typer makes this code of Ctrl-C
    except TyperException as error:
        message, code = error.format_message(), 2
    except ModuleNotFoundError as error:
        message, code = f'this command needs {error.name}; install it with: pip install "tsbp[run]"', 1
    except (ValueError, FloatingPointError, OSError, sweep.SweepError) as error:
        message, code = str(error), 1
    if message:
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
