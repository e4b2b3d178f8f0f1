"""Train one spiking network on one data set with one of the gradients, and make a record of it.

A training can stop at any batch and go on from its checkpoint: on a CPU the end is the same to the last bit. Several
processes started by torchrun share each batch.
"""

import math
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tsbp.gradients import form
from tsbp.gradients import resolve as factor_of
from tsbp.kernels import dispatch
from tsbp.runs import checkpoints, data, processes, records
from tsbp.runs.encoding import augment
from tsbp.runs.evaluation import (
    build_network,
    check_memory,
    compare_averages,
    compare_gradients,
    evaluate,
    loss_of,
    prepare,
    target_of,
)
from tsbp.runs.graph import Graph
from tsbp.runs.optimizers import OPTIMIZERS
from tsbp.runs.settings import NetworkConfig, TrainingConfig


def train(
    config: TrainingConfig,
    *,
    dataset: data.DataSet | None = None,
    data_root: str | Path | None = None,
    compiled: bool | None = None,
    quiet: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    checkpoint_minutes: float = 5.0,
    time_budget: float = math.inf,
) -> dict[str, Any] | None:
    """Train a network and return the record of the run (it is not written).

    The loss is the van Rossum distance (eq. 6) to a target train in which the neuron of the true class fires as
    ``config.target`` says and the others never; the class that the network names is the one whose output current is
    largest over time. Under the readout ``integrator`` the loss is the cross-entropy of the output's largest potential
    over time, by which the class is named too.

    Args:
        config: the run.
        dataset: the data, if they are loaded already.
        data_root: where they are otherwise, see :func:`tsbp.runs.data.data_root`.
        compiled: fuse the neurons' loops; by default where the run is long enough to pay for compiling.
        quiet: print nothing.
        checkpoint: file to which the state of the run is saved; without it nothing is.
        resume: go on from that file if it exists.
        checkpoint_minutes: time from one checkpoint to the next.
        time_budget: seconds after which the run saves a checkpoint and ends.

    Returns:
        The record; None if the time was over before the run.

    Raises:
        ValueError: a setting is out of range, the data do not fit the network, or the checkpoint is damaged or that of
            another run.
        FileNotFoundError: the data are missing.
        FileExistsError: there is a checkpoint, and it is not to be resumed.
        FloatingPointError: the loss or its gradient became NaN or infinite; the last checkpoint is from before.
        OSError: the checkpoint cannot be written; one from before is whole.
    """
    started = time.monotonic()
    checkpoint = Path(checkpoint) if checkpoint else None
    if checkpoint and checkpoint.exists() and not resume:
        raise FileExistsError(f"{checkpoint} is a checkpoint of this run: continue it with --resume, or delete it")
    config = resolve(config)
    dataset = prepare(config, dataset or data.load(config.dataset, data_root, config.time_steps))
    device = torch.device(config.device)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        run = Run(config, dataset, compiled)
        if checkpoint and resume:
            if checkpoint.exists():
                run.restore(checkpoint)
            elif not quiet:
                print(f"no checkpoint {checkpoint}: starting from the beginning", flush=True)
        before, saved = run.wall_time, started
        while run.epoch <= config.epochs:
            for _ in run.batches(quiet):
                now = time.monotonic()
                run.wall_time = before + now - started
                over = processes.first_says(now - started > time_budget, device)
                if checkpoint and processes.rank() == 0 and (over or now - saved > 60 * checkpoint_minutes):
                    run.save(checkpoint)
                    saved = now
                if over:
                    return None
            run.finish_epoch(quiet)
        run.wall_time = before + time.monotonic() - started
        return records.new(config, run.results(), device)


class Run:
    """A training under way: everything that changes from batch to batch, and can be saved and restored.

    Args:
        config: the run, resolved.
        dataset: its data.
        compiled: fuse the neurons' loops; None decides by the length of the run.
        network: what to train; None: the network of the configuration.

    Raises:
        ValueError: the network does not fit the data, or all of it not into memory.
    """

    def __init__(
        self,
        config: TrainingConfig,
        dataset: data.DataSet,
        compiled: bool | None = None,
        network: torch.nn.Module | None = None,
    ) -> None:
        device = torch.device(config.device)
        check_memory(config, dataset)
        self.config = config
        self.fingerprint = dataset.fingerprint()
        self.dataset = dataset.to(device)
        n_train = len(dataset.train_images)
        self.compiled = pays_to_compile(config, n_train) if compiled is None else compiled
        self.network = (network or build_network(config, dataset, self.compiled)).to(device)
        on_cuda = device.type == "cuda"
        self.optimizer = OPTIMIZERS[config.optimizer](self.network.parameters(), lr=config.lr, fused=on_cuda or None)
        self.graph = Graph() if on_cuda and self.compiled and processes.count() == 1 else None
        steps = config.epochs * math.ceil(n_train / config.batch_size)
        self.schedule = schedule_of(self.optimizer, config.schedule, config.lr, steps)
        # The order of the examples and their augmentation have a generator of their own, the same on every device and
        # in every process; dropout and Poisson spikes draw from the global one.
        self.generator = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed + 1_000_003 * processes.rank())
        self.epoch_metrics: list[dict[str, Any]] = []
        self.order = torch.empty(0, dtype=torch.int64)
        """Of the examples in this epoch; empty before its first batch."""
        self.position = 0
        """How many of them have been seen."""
        self.loss = 0.0
        """Sum over those."""
        self.seconds = 0.0
        """Spent on this epoch."""
        self.wall_time = 0.0
        self.right = torch.empty(0, dtype=torch.bool)
        """Which test examples were classified correctly when that was last measured."""

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, from 1."""
        return len(self.epoch_metrics) + 1

    def batches(self, quiet: bool = True):
        """Train on the rest of this epoch; the loop that this generator drives may end after any batch."""
        config = self.config
        self.network.train()
        if not len(self.order):
            self.order = torch.randperm(len(self.dataset.train_images), generator=self.generator)
        starts = range(self.position, len(self.order), config.batch_size)
        hidden = True if quiet or processes.rank() else None
        for start in tqdm(starts, f"epoch {self.epoch}/{config.epochs}", leave=False, disable=hidden, unit="batch"):
            started = time.monotonic()
            batch = self.order[start : start + config.batch_size]
            self.loss += self.step(batch) * len(batch)
            self.position += len(batch)
            self.seconds += time.monotonic() - started
            yield

    def step(self, batch: Tensor) -> float:
        """One update of the weights, on the training examples of these numbers; returns their mean loss."""
        config, dataset = self.config, self.dataset
        images = augment(dataset.train_images[batch], config.shift, config.flip, config.rotation, self.generator)
        target = target_of(dataset.train_labels[batch], dataset, config)
        if self.graph and len(batch) == config.batch_size:  # the last batch of an epoch may be smaller
            loss, *gradients = self.graph(self.loss_and_gradients, images, target)
            for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
                parameter.grad = gradient
        else:
            loss, *_ = self.loss_and_gradients(images, target)
        assert loss is not None  # gradients alone may be missing
        loss = processes.add_up(loss, self.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        value, norm = torch.stack([loss, norm]).tolist()
        # A neuron whose potential is NaN stays silent: the loss alone would not tell.
        if not math.isfinite(value + norm):
            where = f"in epoch {self.epoch}/{config.epochs}"
            raise FloatingPointError(f"loss {value} and gradient norm {norm} {where}; a smaller --lr may help")
        self.optimizer.step()
        self.schedule.step()
        return value

    def loss_and_gradients(self, images: Tensor, target: Tensor) -> tuple[Tensor | None, ...]:
        """This process's share of a batch's mean loss, and the gradients of it that the weights now carry."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=images.device)
        mine = slice(processes.rank(), None, processes.count())
        if len(images[mine]):
            loss = loss_of(self.network, images[mine], target[:, mine], self.dataset, self.config).sum() / len(images)
            loss.backward()
        return loss.detach(), *(parameter.grad for parameter in self.network.parameters())

    def finish_epoch(self, quiet: bool = True) -> None:
        """Measure where it is due, and begin the next epoch."""
        started = time.monotonic()
        metrics: dict[str, Any] = {"loss": self.loss / len(self.order)}
        if self.epoch % self.config.evaluate_every == 0 or self.epoch == self.config.epochs:
            self.right = evaluate(self.network, self.dataset, self.config)
            metrics[f"{self.measured_on}_accuracy"] = 100 * int(self.right.sum()) / len(self.right)
        if self.config.compare_gradients:
            compared = self.network, self.dataset, self.config, self.compiled
            metrics |= compare_gradients(*compared)
            if self.epoch in (1, self.config.epochs):
                metrics |= compare_averages(*compared)
        metrics["seconds"] = round(self.seconds + time.monotonic() - started, 2)
        if not quiet and not processes.rank():
            accuracy = metrics.get(f"{self.measured_on}_accuracy", math.nan)
            shown = "" if math.isnan(accuracy) else f"  {self.measured_on} accuracy {accuracy:.2f} %"
            print(f"epoch {self.epoch:3d}  loss {metrics['loss']:.4f}{shown}  {metrics['seconds']:.1f} s", flush=True)
        self.epoch_metrics.append(metrics)
        self.order, self.position, self.loss, self.seconds = self.order[:0], 0, 0.0, 0.0

    @property
    def measured_on(self) -> str:
        """``test``, or ``validation`` while settings are chosen."""
        return "validation" if self.config.validation else "test"

    def results(self) -> dict[str, Any]:
        """What a record says beside the configuration. The last epoch counts; the best is picked on the test set."""
        key = f"{self.measured_on}_accuracy"
        return {
            key: self.epoch_metrics[-1][key],
            f"best_epoch_{key}": max(metrics[key] for metrics in self.epoch_metrics if key in metrics),
            "epoch_metrics": self.epoch_metrics,
            "data_note": self.dataset.note,
            "data_fingerprint": self.fingerprint,
            "n_train": len(self.dataset.train_images),
            f"n_{self.measured_on}": len(self.dataset.test_images),
            "right": records.packed(self.right),
            **({} if self.dataset.tested is None else {"tested": records.packed(self.dataset.tested)}),
            "n_parameters": sum(p.numel() for p in self.network.parameters()),
            "compiled": self.compiled and self._has_kernel(),
            "processes": processes.count(),
            "wall_time": round(self.wall_time, 2),
        }

    def _has_kernel(self) -> bool:
        """Whether there is a kernel for the neurons here; without one, they went through the plain loop."""
        nothing = torch.empty(0, device=self.config.device)
        kernel = dispatch.usable(nothing, self.config.surrogate, self.config.reset == "subtract")
        return kernel and form(factor_of(self.config.gradient)) is not None

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            OSError: it cannot be written; an earlier one stays as it was.
        """
        state = {name: getattr(self, name) for name in checkpoints.PLAIN} | {
            "config": self.config.model_dump(),
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.config.device == "cuda" else None,
            **{name: getattr(self, name).state_dict() for name in checkpoints.MODULES},
        }
        checkpoints.write(path, state)

    def restore(self, path: Path) -> None:
        """Take over the state of a checkpoint.

        Raises:
            ValueError: the file is damaged, or the run is another one.
        """
        state = checkpoints.read(path)
        here, there = self.config.model_dump(), state["config"]
        names = sorted(name for name in here.keys() | there.keys() if there.get(name) != here.get(name))
        if names:
            other = "; ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in names)
            raise ValueError(f"{path} is a checkpoint of another configuration: {other}")
        if (theirs := state["fingerprint"]) != self.fingerprint:
            raise ValueError(f"{path} was made with other data: fingerprint {theirs}, here {self.fingerprint}")
        if len(state["order"]) not in (0, len(self.dataset.train_images)):
            raise checkpoints.not_whole(path)
        try:
            for name in checkpoints.MODULES:
                getattr(self, name).load_state_dict(state[name])
            self.generator.set_state(state["generator"])
            torch.set_rng_state(state["random"])
            if self.config.device == "cuda" and state["random_cuda"] is not None:
                torch.cuda.set_rng_state(state["random_cuda"])
        except Exception:  # a part is missing, or of another size
            raise checkpoints.not_whole(path) from None
        for name in checkpoints.PLAIN:
            setattr(self, name, state[name])
        if processes.rank():
            torch.manual_seed(self.config.seed + 1_000_003 * processes.rank() + 7919 * self.epoch + self.position)


def schedule_of(
    optimizer: torch.optim.Optimizer, name: str, rate: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule of a name, for a highest learning rate and a number of updates."""
    if name == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def resolve(config: TrainingConfig) -> TrainingConfig:
    """The configuration with ``auto`` replaced by what this machine gives.

    Raises:
        ValueError: there is no such device here.
    """
    device = resolve_device(config.device)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return config.but(device=device.type, precision=precision)


def resolve_device(name: str) -> torch.device:
    """``auto`` → a GPU when there is one; ``cpu`` or ``cuda`` as asked for.

    Raises:
        ValueError: there is no such device here.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {name!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns where a driver is missing; that is what we ask
        available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("device cuda was asked for, but PyTorch finds no CUDA device here")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def pays_to_compile(config: NetworkConfig, n_train: int) -> bool:
    """Compiling takes about a second; a run over so many examples an epoch must be long enough to earn it."""
    return config.epochs * n_train * config.time_steps >= 50_000
