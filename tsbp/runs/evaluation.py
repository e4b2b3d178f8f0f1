"""The network of a run, its size in memory, its loss and accuracy, and how its gradients differ."""

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsbp.gradients import STUDIED
from tsbp.loss import van_rossum_distance
from tsbp.networks import SpikingNetwork, count
from tsbp.readout import max_over_time_cross_entropy
from tsbp.runs import memory, processes
from tsbp.runs.data import DataSet
from tsbp.runs.encoding import encode, input_shape, target_spikes
from tsbp.runs.settings import NetworkConfig, TrainingConfig

COMPARED = 200
"""Training examples over which gradients are compared."""
AVERAGED = (1, 10, 100, 1000)
"""Numbers of examples over which a gradient is averaged, to see what that does to the angle between gradients."""
GROUPS = 25
"""Of examples, at most, for each of these numbers."""
_STATES = {"sgd": 0, "momentum": 1, "nesterov": 1}
"""Numbers that an optimiser keeps for each weight; the others keep two."""


def part(config: NetworkConfig) -> TrainingConfig:
    """The settings that decide on what data a run trains and is measured, and defaults for all others."""
    names = ("dataset", "time_steps", "encoding", "shuffle_time", "folds", "fold", "validation", "examples")
    return TrainingConfig(**{name: getattr(config, name) for name in names})


def prepare(config: NetworkConfig, dataset: DataSet) -> DataSet:
    """The part of a data set on which a run trains, and that on which it is measured.

    Raises:
        ValueError: a setting does not fit the data; the message names it.
    """
    side = min(dataset.in_shape[1:])
    if config.shift > side:
        raise ValueError(f"shift must be at most {side} for images of this size, got {config.shift}")
    if config.shuffle_time and not dataset.has_frames and config.encoding != "rows":
        raise ValueError(f"shuffle_time needs frames of events, or images by rows; got encoding {config.encoding}")
    config = part(config)  # nothing else may have a say
    if config.shuffle_time:
        dataset = dataset.shuffle_time()
    if config.folds:
        dataset = dataset.fold(config.folds, config.fold)
    if config.validation:
        dataset = dataset.hold_out(config.validation)
    return dataset.first(config.examples) if config.examples else dataset


def build_network(config: TrainingConfig, dataset: DataSet, compiled: bool = False) -> SpikingNetwork:
    """The network of a run with its initial weights, which depend on the seed and the sizes alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SpikingNetwork.from_spec(
            config.network,
            input_shape(dataset, config.encoding, config.time_steps),
            dataset.n_classes,
            config.time_steps,
            synaptic_delay=config.synaptic_delay,
            padding=config.padding,
            pooling=config.pooling,
            dropout=config.dropout,
            initialisation=config.initialisation,
            weight_gain=config.weight_gain,
            neuron=config.neuron,
            readout="integrator" if config.readout == "integrator" else "spiking",
            tau_m=config.tau_m,
            tau_s=config.tau_s,
            threshold=config.threshold,
            surrogate=config.surrogate,
            temperature=config.temperature,
            surrogate_scale=config.surrogate_scale,
            reset=config.reset,
            gradient=config.gradient,
            compiled=compiled,
            **({"detach_recurrence": True} if config.detach_recurrence else {}),  # which not every neuron knows
        )


def check_memory(config: TrainingConfig, dataset: DataSet) -> None:
    """Refuse a training that does not fit into memory, with the part of it that is too large.

    Raises:
        ValueError: there is less memory, or the network does not fit the data.
    """
    in_shape = input_shape(dataset, config.encoding, config.time_steps)
    device = torch.device(config.device)
    batch = min(config.batch_size, len(dataset.train_images))
    channels, height, width = dataset.in_shape
    inputs = channels * (height + 2 * config.shift) * (width + 2 * config.shift)
    frames = dataset.train_images.shape[1] if dataset.has_frames else 1
    said = f"a batch of {batch} images that are moved by up to {config.shift} pixels"
    memory.check(said, batch * frames * inputs, device)
    weights, neurons = count(config.network, in_shape, dataset.n_classes, config.padding)
    memory.check(f"the network {config.network}", 4 * weights * (2 + _STATES.get(config.optimizer, 2)), device)
    steps = config.time_steps + config.synaptic_delay
    activity = steps * batch * neurons * 2 * (2 if config.precision == "bfloat16" else 4)
    said = f"{config.time_steps} time steps" + (f" after {config.synaptic_delay}" if config.synaptic_delay else "")
    if config.readout == "integrator":  # a matrix from every step to every other, and what it is made from
        memory.check(f"integrators over {config.time_steps} time steps", 16 * config.time_steps**2, device)
    memory.check(f"a batch of {batch} examples over {said} in {neurons:,} neurons", activity, device)


def output(network: nn.Module, images: Tensor, dataset: DataSet, config: TrainingConfig) -> Tensor:
    """Output of a batch of uint8 images or frames, ``[T, B, n_classes]``.

    It is the psc of spiking output neurons, or the potential of integrators, ``[read_steps, B, n_classes]`` where only
    the last steps are read.
    """
    x = encode(images, dataset, config.encoding, config.time_steps, config.tau_s)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        return network(x)[-config.read_steps :]  # from the first step on if that is 0


def scores(output: Tensor, config: TrainingConfig) -> Tensor:
    """Score of every class, ``[B, n_classes]``: an output current summed over time, or the largest potential."""
    return output.amax(0) if config.readout == "integrator" else output.sum(0)


def loss_of(network: nn.Module, images: Tensor, target: Tensor, dataset: DataSet, config: TrainingConfig) -> Tensor:
    """Loss of each example, ``[B]``, for a target of :func:`target_of`.

    It is the van Rossum distance (eq. 6) to target trains or, of integrators, the cross-entropy.
    """
    return losses_of(output(network, images, dataset, config), target, config)


def losses_of(output: Tensor, target: Tensor, config: TrainingConfig) -> Tensor:
    """The same from the output of a network, ``[T, B, n_classes]``."""
    if config.readout == "integrator":
        return max_over_time_cross_entropy(output, target[0])
    return van_rossum_distance(output, target, config.tau_s)


def target_of(labels: Tensor, dataset: DataSet, config: TrainingConfig) -> Tensor:
    """Target trains of labels, ``[T, B, n_classes]``; for integrators, the probability of each class as one step."""
    if config.readout == "integrator":
        return functional.one_hot(labels, dataset.n_classes)[None].float()
    return target_spikes(labels, dataset.n_classes, config.target, config.time_steps)


@torch.no_grad()
def evaluate(network: nn.Module, dataset: DataSet, config: TrainingConfig) -> Tensor:
    """Which examples of the test part are classified correctly, ``[N]`` of bool."""
    network.eval()
    right = torch.zeros(len(dataset.test_images), device=dataset.test_labels.device)
    batches = torch.arange(len(right)).split(max(config.batch_size, 500))
    with _own_random(right.device):
        for batch in batches[processes.rank() :: processes.count()]:
            found = scores(output(network, dataset.test_images[batch], dataset, config), config)
            right[batch] = (found.argmax(1) == dataset.test_labels[batch]).to(right.dtype)
    return processes.add_up(right) > 0


def compare_gradients(
    network: nn.Module, dataset: DataSet, config: TrainingConfig, compiled: bool = False
) -> dict[str, list[float | None]]:
    """How far the gradients are apart at the same weights, on the same training examples, in float32.

    Returns:
        ``cosine_leak``, ``length_leak`` and the same of ``spatial``: cosine to the gradient ``full``, and length in
        multiples of its length; a number for each layer with weights, None where no gradient reaches it or one has
        overflowed.
    """
    gradients = _Gradients(network, dataset, config, compiled).of(slice(COMPARED))
    found: dict[str, list[float | None]] = {}
    for name in ("leak", "spatial"):
        beside = [_beside(one, full) for one, full in zip(gradients[name], gradients["full"], strict=True)]
        found[f"cosine_{name}"], found[f"length_{name}"] = map(list, zip(*beside, strict=True))
    return found


def compare_averages(
    network: nn.Module, dataset: DataSet, config: TrainingConfig, compiled: bool = False
) -> dict[str, dict[str, float]]:
    """What averaging over examples does to the angle between the gradients of a whole network, at the same weights.

    Returns:
        ``averaged_cosine_leak`` and ``averaged_cosine_spatial``: number of training examples → cosine to ``full``, the
        median over at most ``GROUPS`` groups of so many.
    """
    compared = _Gradients(network, dataset, config, compiled)
    found: dict[str, dict[str, float]] = {"averaged_cosine_leak": {}, "averaged_cosine_spatial": {}}
    for n in AVERAGED:
        cosines: dict[str, list[float]] = {"leak": [], "spatial": []}
        for start in range(0, min(GROUPS, len(dataset.train_images) // n) * n, n):
            gradients = {name: torch.cat(layers) for name, layers in compared.of(slice(start, start + n)).items()}
            for name, values in cosines.items():
                cosine, _ = _beside(gradients[name], gradients["full"])
                values += [] if cosine is None else [cosine]
        for name, values in cosines.items():
            if values:
                found[f"averaged_cosine_{name}"][str(n)] = statistics.median(values)
    return found


class _Gradients:
    """The three gradients of a network at its weights, on training examples as they are, without dropout."""

    def __init__(self, network: nn.Module, dataset: DataSet, config: TrainingConfig, compiled: bool) -> None:
        self.dataset, self.config = dataset, config.but(precision="float32")
        device = dataset.train_images.device
        self.twins = {}
        for name in STUDIED:
            twin = build_network(self.config.but(gradient=name), dataset, compiled).to(device).eval()
            twin.load_state_dict(network.state_dict())
            self.twins[name] = twin

    def of(self, examples: slice) -> dict[str, list[Tensor]]:
        """Name → gradient of the mean loss over these examples, flat, a tensor for each layer with weights."""
        images = self.dataset.train_images[examples]
        target = target_of(self.dataset.train_labels[examples], self.dataset, self.config)
        found = {}
        for name, twin in self.twins.items():
            with _own_random(images.device):
                loss = loss_of(twin, images, target, self.dataset, self.config).mean()
            found[name] = [x.flatten() for x in torch.autograd.grad(loss, list(twin.parameters()))]
        return found


def _beside(one: Tensor, other: Tensor) -> tuple[float | None, float | None]:
    """Cosine of two gradients, and how many times as long the first is; None where one is zero or has overflowed."""
    if not one.any() or not other.any():
        return None, None
    cosine = functional.cosine_similarity(one.double(), other.double(), dim=0).item()
    length = (one.norm() / other.norm()).item()
    return (round(cosine, 6), round(length, 6)) if math.isfinite(cosine + length) else (None, None)


@contextmanager
def _own_random(device: torch.device) -> Iterator[None]:
    """Poisson spikes that are the same at every call, and leave those of the training as they are."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield
