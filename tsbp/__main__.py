"""The command line: ``tsbp toy``, ``train``, ``cell``, ``sweep``, ``experiments``, ``bench`` and ``agreement``.

The options of a command are the settings of its configuration, see :mod:`tsbp.runs.config`.
"""

import inspect
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_origin

try:
    import typer
    from tqdm import tqdm
    from typer.exceptions import TyperException

    from tsbp.peers import agreement, bench
    from tsbp.runs import config, data, experiments, files, memory, processes, records, run, sweep, workers
    from tsbp.runs.plugins import load_plugin
    from tsbp.runs.settings import PRESETS, CellConfig, NetworkConfig, TrainingConfig
    from tsbp.runs.toy import ToyConfig
    from tsbp.runs.training import resolve
except ModuleNotFoundError as error:
    sys.exit(f'error: the command line needs {error.name}; install it with: pip install "tsbp[run]"')

from tsbp import interrupt
from tsbp.gradients import STUDIED

app = typer.Typer(
    help="Train spiking neurons and networks with and without the reset gradient.",
    add_completion=False,
    rich_markup_mode=None,  # which would take [default: 0] for markup, and leave it out
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _a_number(text: str) -> float:
    """For options that are no settings: neither a text nor NaN, which is in every range."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number) or number < 0:
        raise typer.BadParameter(f"must be a number, at least 0, got {text!r}")
    return number


Out = Annotated[Path, typer.Option(help="Folder for the record.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data sets, if not $TSBP_DATA or the cache.")]
_NUMBER: dict[str, Any] = {"parser": _a_number, "metavar": "FLOAT"}
CheckpointMinutes = Annotated[float, typer.Option(help="Time from one checkpoint to the next; at least 0.", **_NUMBER)]
TimeBudget = Annotated[
    float, typer.Option(help="Seconds after which to save a checkpoint and end.", show_default="no limit", **_NUMBER)
]


def options_of(kind: type[config.Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every setting of a configuration, instead of its ``**settings``.

    Values are passed on as text, and converted and checked where the configuration is made.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {parameter.name for parameter in own}
        for name in kind.model_fields:
            if name not in names and name != kind.argument:
                option = _option(kind, name)
                own.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option))
        changed: Any = command
        changed.__signature__ = inspect.Signature(own)
        changed.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
        return command

    return decorated


def _option(kind: type[config.Config], name: str) -> Any:
    """A setting as Typer has options."""
    field = kind.model_fields[name]
    several = get_origin(field.annotation) is tuple
    said = config.said(kind, name) + (" Repeat for several." if several else "")
    flag = kind.option(name)
    if field.annotation is bool:
        return Annotated[bool | None, typer.Option(f"{flag}/{flag.replace('--', '--no-', 1)}", help=said)]
    names: dict[Any, str] = {int: "INTEGER", float: "FLOAT"}
    metavar = "|".join(config.choices(field)) or names.get(field.annotation or str, "TEXT")
    return Annotated[list[str] | None if several else str | None, typer.Option(flag, help=said, metavar=metavar)]


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; a setting left out keeps its default."""
    return {name: value for name, value in settings.items() if value is not None and value != []}


@app.command("toy")
@options_of(ToyConfig)
def toy_command(
    device: Annotated[str, typer.Option(help="auto takes a GPU when there is one.", metavar="auto|cpu|cuda")] = "auto",
    out: Out = Path("runs"),
    **settings: Any,
) -> None:
    """Train single neurons, every repeat x learning rate x gradient at once. Writes a record.

    An option left out takes the value of the paper's Table 1 where there is one.
    """
    study = ToyConfig(**_given(settings))
    path = run.run(study, out, device=device, resume=False)
    assert path is not None
    record = records.read(path)
    print(f"mean loss after {study.iterations} iterations, {study.repeats} repeats")
    print("".join(["learning rate", *(f"{name:>10}" for name in study.gradients)]))
    for place, rate in enumerate(study.learning_rates):
        losses = (statistics.fmean(record["final_loss"][row][place]) for row in range(len(study.gradients)))
        print("".join([f"{rate:<13g}", *(f"{loss:10.4f}" for loss in losses)]))
    print(path)


@app.command("train")
@options_of(TrainingConfig)
def train_command(
    dataset: Annotated[str, typer.Argument(help="A data set or a preset.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of this run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the record's path alone.")] = False,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    time_budget: TimeBudget = math.inf,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    **settings: Any,
) -> None:
    """Train a spiking network on a data set. Writes a record. A setting left out takes the data set's own default."""
    training = resolve(TrainingConfig.for_dataset(dataset, **_given(settings)))
    processes.join(training.device)
    path = run.run(
        training,
        out,
        data_root=data_root,
        resume=resume,
        quiet=quiet,
        checkpoint_minutes=checkpoint_minutes,
        time_budget=time_budget,
    )
    if not processes.rank():
        print(path or f"the time is over; --resume goes on from the checkpoint in {out}")


train_command.__doc__ = (
    f"{train_command.__doc__}\n\nData sets: {', '.join(data.DATA_SETS)}, or a folder with train/<class>/ and "
    f"test/<class>/. Presets: {', '.join(PRESETS)}; those that start with paper- are for Table 2 in full length."
)


@app.command("cell")
@options_of(CellConfig)
def cell_command(
    dataset: Annotated[str, typer.Argument(help="A data set.")],
    device: Annotated[str, typer.Option(help="auto takes a GPU when there is one.", metavar="auto|cpu|cuda")] = "auto",
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    **settings: Any,
) -> None:
    """Train many fully connected networks, every gradient x learning rate x seed, side by side. Writes a record.

    A setting left out takes the data set's own default.
    """
    load_plugin(settings["plugin"] or "")  # which may add the data set
    data.check_name(dataset)
    cell = CellConfig.for_dataset(dataset, **_given(settings))
    path = run.run(cell, out, data_root=data_root, device=device, resume=False)
    assert path is not None
    record = records.read(path)
    measured_on = "validation" if cell.validation else "test"
    print(f"{measured_on} accuracy in per cent, mean of {len(cell.seeds)} seeds; - where a network broke down")
    print("".join(["learning rate", *(f"{name:>10}" for name in cell.gradients)]))
    for place, rate in enumerate(cell.learning_rates):
        found = [of_gradient[place] for of_gradient in record[f"{measured_on}_accuracies"]]
        shown = ("-" if None in of_seeds else f"{statistics.fmean(of_seeds):.2f}" for of_seeds in found)
        print("".join([f"{rate:<13g}", *(f"{text:>10}" for text in shown)]))
    print(path)


@app.command("sweep")
@options_of(TrainingConfig)
def sweep_command(
    dataset: Annotated[list[str], typer.Argument(help="Experiments, YAML files, data sets or presets.")],
    gradient: Annotated[list[str] | None, typer.Option(help="Repeat for several [default: all three].")] = None,
    seed: Annotated[int | None, typer.Option(help="The first seed [default: 0].", min=0)] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds [default: 1].", min=1, max=experiments.MOST_RUNS)
    ] = None,
    workers: Annotated[int, typer.Option(help="Trainings at a time, each in a process.", min=1)] = 1,
    dask: Annotated[str | None, typer.Option(help="Do them on the cluster of this scheduler: tcp://host:port.")] = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    time_budget: TimeBudget = math.inf,
    data_root: DataRoot = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the records [default: runs; of an experiment, results/ and its folder]."),
    ] = None,
    **settings: Any,
) -> None:
    """Do many runs. Skips what is recorded in --out; what was stopped goes on.

    An experiment is a file in experiments/: settings/temperature, say; settings stands for all in that folder.
    A YAML file holds a mapping, or a list of them, of settings; a list of values stands for each of them: {dataset:
    mnist, seed: [0, 1, 2], gradient: [full, leak], epochs: 20}. Options replace what a file says.
    """
    given = _given(settings)
    if gradient:
        given["gradient"] = gradient
    if seed is not None or seeds is not None:
        given["seed"] = list(range(seed or 0, (seed or 0) + (seeds or 1)))
    usual = {"gradient": list(STUDIED), "seed": [0]}
    folders: dict[Path, list[config.Config]] = {}
    for name in dataset:
        found = [(experiment, experiment.folder) for experiment in experiments.named(name, **given)]
        if not found and name.endswith((".yaml", ".yml")):
            found = [(experiments.read(Path(name), **given), Path("runs"))]
        for experiment, folder in found:
            folders.setdefault(out or folder, []).extend(experiment.configs)
            if waiting := len(experiment.waiting):
                print(f"{experiment.name}: {waiting} runs wait until {experiment.chosen_by} is recorded")
        if not found:
            folders.setdefault(out or Path("runs"), []).extend(experiments.trainings(name, **usual | given))
    for one in itertools.chain(*folders.values()):
        if isinstance(one, NetworkConfig) and dask is None:  # whose workers may have data that are not here
            data.check_name(one.dataset)
    outcome = sweep.Outcome()
    ends = time.monotonic() + time_budget
    for folder, configs in folders.items():
        outcome += sweep.sweep(
            configs,
            folder,
            workers=workers,
            dask=dask,
            data_root=data_root,
            checkpoint_minutes=checkpoint_minutes,
            time_budget=max(0.0, ends - time.monotonic()),
        )
    print(f"{len(outcome.recorded)} recorded, {len(outcome.skipped)} were there, {len(outcome.unfinished)} unfinished")
    if outcome.unfinished:
        print("the time is over; the same command goes on")
    if outcome.failed:
        names: dict[str, list[str]] = {}
        for name, reason in outcome.failed.items():
            names.setdefault(reason, []).append(name)
        raise sweep.SweepError("; ".join(f"{', '.join(failed)}: {reason}" for reason, failed in names.items()))


@app.command("experiments")
def experiments_command() -> None:
    """List the experiments: which are complete, partial or missing, and how long the rest takes."""
    print(experiments.progress_table().to_string(index=False))


@app.command("bench")
@options_of(bench.BenchConfig)
def bench_command(
    benchmark: Annotated[str, typer.Argument(help=bench.BenchConfig.model_fields["benchmark"].description)],
    out: Out = Path("runs"),
    **settings: Any,
) -> None:
    """Time the neuron or a training step beside other libraries, those that are installed. Writes a record."""
    from tsbp.study.statistics import ratio_intervals  # SciPy, which the other commands need not wait for

    chosen = bench.BenchConfig(**{"device": "auto"} | _given(settings), benchmark=benchmark)
    files.check_folder(out, f"{records.name_of(chosen)}.json")
    record = bench.run(chosen, progress=lambda rounds: tqdm(rounds, "bench", unit="round", disable=None))
    print(f"{'':<32}{'ms':>10}{'times ' + bench.REFERENCE:>18}  95 % interval")
    for name, (ratio, low, high) in ratio_intervals(record["seconds"], bench.REFERENCE).items():
        milliseconds = 1000 * statistics.median(record["seconds"][name])
        print(f"{name:<32}{milliseconds:10.2f}{ratio:18.3f}  {low:.3f} to {high:.3f}")
    for name, reason in record["left_out"].items():
        print(f"{name} left out: {reason}")
    print(records.write(record, out))


@app.command("agreement")
@options_of(agreement.AgreementConfig)
def agreement_command(out: Out = Path("runs"), **settings: Any) -> None:
    """Find out which of the three gradients other libraries compute, those that are installed. Writes a record."""
    chosen = agreement.AgreementConfig(**_given(settings))
    files.check_folder(out, f"{records.name_of(chosen)}.json")
    record = agreement.run(chosen)
    print(f"{'distance from':<40}" + "".join(f"{name:>10}" for name in STUDIED) + f"{'growth':>10}")
    for name, distances in record["distances"].items():
        print(f"{name:<40}" + "".join(f"{x:10.1e}" for x in distances.values()) + f"{record['growth'][name]:10.3f}")
    for name, reason in record["left_out"].items():
        print(f"{name} left out: {reason}")
    print(records.write(record, out))


def main() -> None:
    """Run the command line; a mistake of the user's ends in one line on standard error."""
    interrupt.as_usual()
    processes.keep_freed_memory()
    workers.end_with_the_parent()
    message = ""
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
    except run.BusyError as error:
        message, code = str(error), workers.BUSY
    except (ValueError, FloatingPointError, OSError, sweep.SweepError) as error:
        message, code = str(error), 1
    except (MemoryError, RuntimeError) as error:
        if not memory.exhausted(error):
            raise
        message, code = f"the memory is exhausted ({' '.join(str(error).split())[:200]})", 1
    if message:
        print(f"error: {_one_line(message)}", file=sys.stderr)
    sys.exit(code)


def _one_line(message: str) -> str:
    """A message that may quote names of files, which may have any character."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)


if __name__ == "__main__":
    main()
