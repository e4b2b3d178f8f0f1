"""Train one spiking network on one data set with one of the gradients, and make a record of it."""

import math
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from tsbp import data, records
from tsbp.loss import van_rossum_distance
from tsbp.networks import TABLE_3, SpikingNetwork
from tsbp.neuron import GRADIENTS

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True),
}
PRECISIONS = ("auto", "float32", "bfloat16")

# What differs between data sets. Time constants and steps are those that TSSL-BP (Zhang & Li 2020) publishes for these
# networks; the paper states none of the former and, probably by a slip, swaps the latter for MNIST and N-MNIST.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"network": TABLE_3["mnist"], "padding": "same", "epochs": 20, "batch_size": 20, "lr": 0.005, "shift": 1},
    "mnist": {"network": TABLE_3["mnist"], "epochs": 10, "shift": 2},
    "nmnist": {"network": TABLE_3["nmnist"], "time_steps": 30, "tau_m": 8.0, "tau_s": 4.0, "epochs": 20, "shift": 1},
}
_DEFAULTS_IMAGES: dict[str, Any] = {
    "network": TABLE_3["cifar10"],
    "padding": "same",
    "epochs": 50,
    "shift": 4,
    "flip": True,
}
# PyTorch's weights leave the upper half of eight spiking layers silent, and untrainable. These are the best of six
# pairs by the mean accuracy of all three gradients on held-out digits.
_DEFAULTS_BY_NETWORK: dict[str, dict[str, Any]] = {TABLE_3["cifar10"]: {"weight_gain": 7.0, "lr": 0.001}}


@dataclass(frozen=True)
class TrainingConfig:
    """One run of training; :meth:`for_dataset` fills in what suits a data set."""

    dataset: str = "digits"
    """``digits``, ``mnist``, ``nmnist``, ``cifar10``, or a folder with ``train/<class>/`` and ``test/<class>/``."""
    network: str = TABLE_3["mnist"]
    """In the notation of Table 3, without the output layer."""
    gradient: str = "full"
    """``full``, ``leak`` or ``spatial``."""
    seed: int = 0
    """Initial weights, order of the examples and augmentation; the same for every gradient."""
    time_steps: int = 5
    tau_m: float = 5.0
    """Membrane time constant in steps."""
    tau_s: float = 3.0
    """Synaptic time constant in steps."""
    threshold: float = 1.0
    temperature: float = 0.3
    synaptic_delay: int = 0
    padding: int | str = 0
    pooling: str = "average"
    weight_gain: float = 2.0
    epochs: int = 10
    batch_size: int = 100
    lr: float = 0.002
    """Highest learning rate of the one-cycle schedule."""
    optimizer: str = "adamw"
    clip_norm: float = 1.0
    """Largest norm of the gradient; ``inf`` for no clipping."""
    shift: int = 0
    """Training images are moved by up to this many pixels either way."""
    flip: bool = False
    """Training images are mirrored half of the time."""
    validation: int = 0
    """Measure on this many training examples, held out, instead of the test set: for choosing settings."""
    precision: str = "auto"
    """``float32``, ``bfloat16`` (of convolutions and linear layers), or ``auto``: bfloat16 on CUDA alone, since
    most CPUs are slower with it."""
    device: str = "auto"

    @classmethod
    def for_dataset(cls, dataset: str, **settings) -> "TrainingConfig":
        """Defaults for a data set and its network, then the settings given."""
        defaults = _DEFAULTS.get(dataset, _DEFAULTS_IMAGES) | settings
        return cls(dataset=dataset, **defaults | _DEFAULTS_BY_NETWORK.get(defaults["network"], {}) | settings)

    def resolved(self) -> "TrainingConfig":
        """The configuration with ``auto`` replaced by what this machine gives, checked.

        Raises:
            ValueError: a setting is out of its range.
        """
        for name, allowed in (("gradient", GRADIENTS), ("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "weight_gain"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and greater than 0, got {getattr(self, name)}")
        if not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be greater than 0, got {self.clip_norm}")
        if self.shift < 0:
            raise ValueError(f"shift must be 0 or more pixels, got {self.shift}")
        device = resolve_device(self.device)
        precision = self.precision
        if precision == "auto":
            precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
        return replace(self, device=device.type, precision=precision)


def train(
    config: TrainingConfig, *, data_root: str | Path | None = None, compiled: bool | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Train a network and return the record of the run (nothing is written).

    The loss is the van Rossum distance (eq. 6) to a target train in which the neuron of the true class fires at every
    step and the others never; the class that the network names is the one whose output current is largest over time.

    Args:
        config: the run.
        data_root: see :func:`tsbp.data.data_root`.
        compiled: fuse the neurons' loops; by default where the run is long enough to pay for compiling.
        quiet: print nothing.

    Raises:
        ValueError: a setting is out of range, or the data do not fit the network.
        FileNotFoundError: the data are missing.
        FloatingPointError: the loss or its gradient became NaN or infinite.
    """
    config = config.resolved()
    started = time.perf_counter()
    device = torch.device(config.device)
    dataset = data.load(config.dataset, data_root, config.time_steps)
    if config.validation:
        dataset = dataset.hold_out(config.validation)
    fingerprint = dataset.fingerprint()
    dataset = dataset.to(device)
    if compiled is None:
        compiled = _pays_to_compile(config, len(dataset.train_images))
    network = build_network(config, dataset, compiled).to(device)

    steps = config.epochs * math.ceil(len(dataset.train_images) / config.batch_size)
    optimizer = OPTIMIZERS[config.optimizer](network.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps)
    generator = torch.Generator().manual_seed(config.seed)
    measured_on = "validation" if config.validation else "test"

    epochs = []
    for epoch in range(1, config.epochs + 1):
        epoch_started = time.perf_counter()
        loss = _train_epoch(
            network, dataset, config, optimizer, schedule, generator, f"epoch {epoch}/{config.epochs}", quiet
        )
        accuracy = evaluate(network, dataset, config)
        seconds = time.perf_counter() - epoch_started
        epochs.append({"loss": loss, f"{measured_on}_accuracy": accuracy, "seconds": round(seconds, 2)})
        if not quiet:
            print(
                f"epoch {epoch:3d}  loss {loss:.4f}  {measured_on} accuracy {accuracy:.2f} %  {seconds:.1f} s",
                flush=True,
            )

    accuracies = [entry[f"{measured_on}_accuracy"] for entry in epochs]
    results = {
        f"{measured_on}_accuracy": accuracies[-1],
        f"best_epoch_{measured_on}_accuracy": max(accuracies),
        "epoch_metrics": epochs,
        "data_note": dataset.note,
        "data_fingerprint": fingerprint,
        "n_train": len(dataset.train_images),
        f"n_{measured_on}": len(dataset.test_images),
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "compiled": compiled,
        "wall_time": round(time.perf_counter() - started, 2),
    }
    return records.new("train", config, results, device)


def build_network(config: TrainingConfig, dataset: data.DataSet, compiled: bool = False) -> SpikingNetwork:
    """The network of a run with its initial weights, which depend on the seed and the sizes alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SpikingNetwork.from_spec(
            config.network,
            dataset.in_shape,
            dataset.n_classes,
            config.time_steps,
            synaptic_delay=config.synaptic_delay,
            padding=config.padding,
            pooling=config.pooling,
            weight_gain=config.weight_gain,
            tau_m=config.tau_m,
            tau_s=config.tau_s,
            threshold=config.threshold,
            temperature=config.temperature,
            compiled=compiled,
            **GRADIENTS[config.gradient],
        )


@torch.no_grad()
def evaluate(network: SpikingNetwork, dataset: data.DataSet, config: TrainingConfig) -> float:
    """Accuracy on the test part of a data set, in per cent."""
    network.eval()
    correct = 0
    for batch in torch.arange(len(dataset.test_images)).split(max(config.batch_size, 500)):
        psc = _psc(network, _as_input(dataset.test_images[batch], dataset), config)
        correct += (psc.sum(0).argmax(1) == dataset.test_labels[batch]).sum().item()
    return 100 * correct / len(dataset.test_images)


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


def _train_epoch(network, dataset, config, optimizer, schedule, generator, title, quiet) -> float:
    network.train()
    order = torch.randperm(len(dataset.train_images), generator=generator)
    total = 0.0
    for batch in tqdm(
        order.split(config.batch_size), title, leave=False, disable=True if quiet else None, unit="batch"
    ):
        images = _augment(dataset.train_images[batch], config, generator)
        psc = _psc(network, _as_input(images, dataset), config)
        target = functional.one_hot(dataset.train_labels[batch], dataset.n_classes).to(psc.dtype)
        loss = van_rossum_distance(psc, target.expand_as(psc), config.tau_s).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        value = loss.item()
        # A neuron whose potential is NaN stays silent: the loss alone would not tell.
        if not math.isfinite(value + norm.item()):
            raise FloatingPointError(
                f"loss {value} and gradient norm {norm.item()} in {title}; a smaller --lr may help"
            )
        optimizer.step()
        schedule.step()
        total += value * len(batch)
    return total / len(order)


def _psc(network: SpikingNetwork, x: Tensor, config: TrainingConfig) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        return network(x)


def _as_input(images: Tensor, dataset: data.DataSet) -> Tensor:
    """uint8 → normalised float; frames get their time first."""
    if dataset.has_frames:
        return images.movedim(1, 0).float()
    mean, std = dataset.normalisation
    return (images - mean) / std


def _augment(images: Tensor, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Move (and mirror) each example of a batch by itself; all frames of one example together."""
    n, shift, (height, width) = len(images), config.shift, images.shape[-2:]
    if shift:
        padded = functional.pad(images, (shift,) * 4)
        down, right = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=generator)
        rows = (torch.arange(height) + down).to(images.device)
        columns = (torch.arange(width) + right).to(images.device)
        example = torch.arange(n, device=images.device)[:, None, None]
        moved = padded.movedim((-2, -1), (1, 2))[example, rows[:, :, None], columns[:, None, :]]
        images = moved.movedim((1, 2), (-2, -1))
    if config.flip:
        mirrored = torch.rand(n, generator=generator) < 0.5
        images = torch.where(mirrored.to(images.device).view(-1, *[1] * (images.dim() - 1)), images.flip(-1), images)
    return images


def _pays_to_compile(config: TrainingConfig, n_train: int) -> bool:
    """Compiling takes seconds that grow with T; a run must present enough examples to earn them back."""
    return config.epochs * n_train >= 50_000 and config.time_steps <= 50
