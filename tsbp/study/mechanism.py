"""How an error travels back in time: along the membranes of one layer, and through a whole network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from tsbp.gradients import STUDIED, resolve
from tsbp.layers import LIF, SpikingLayer
from tsbp.runs import evaluation
from tsbp.runs.data import DataSet
from tsbp.runs.settings import CellConfig, TrainingConfig
from tsbp.runs.training import Run
from tsbp.surrogate import surrogate_derivative


@dataclass(frozen=True)
class Travel:
    """What becomes of an error in one hidden layer with one gradient."""

    amplified: float
    """Share of steps that multiply the error by more than 1 or less than -1."""
    error: np.ndarray
    """Root mean square of the error at the currents of each step, ``[T]``, over neurons and examples."""
    firing: np.ndarray
    """Spikes of a neuron in each step, ``[T]``, the mean over neurons and examples."""
    near: float
    """Share of potentials within one temperature of the threshold."""


def travel(
    network: nn.Module, images: Tensor, labels: Tensor, dataset: DataSet, config: TrainingConfig
) -> list[Travel]:
    """What becomes of an error on its way back, in every hidden layer of a network.

    Args:
        network: from :func:`tsbp.runs.evaluation.build_network`, fully connected, trained or not.
        images: examples, uint8.
        labels: of these.
        dataset: theirs.
        config: of the network; its gradient is the one that the error travels by.
    """
    with _currents(network) as seen:
        target = evaluation.target_of(labels, dataset, config)
        evaluation.loss_of(network, images, target, dataset, config).mean().backward()
    found = []
    for layer, current in seen[:-1]:
        assert current.grad is not None  # kept by _currents
        recurrent = None if layer.recurrent is None else layer.recurrent.weight
        with torch.no_grad():
            potential = cast(LIF, layer.neuron).simulate(current, recurrent=recurrent, potential=True).potential
            assert potential is not None  # asked for
            factors = membrane_factors(potential, config)
        near = (potential - config.threshold).abs() < config.temperature
        found.append(
            Travel(
                float((factors.abs() > 1).double().mean()),
                current.grad.double().square().mean((1, 2)).sqrt().numpy(),
                (potential > config.threshold).double().mean((1, 2)).numpy(),
                float(near.double().mean()),
            )
        )
    network.zero_grad()
    return found


@contextmanager
def _currents(network: nn.Module) -> Iterator[list[tuple[SpikingLayer, Tensor]]]:
    """The layers and the currents from their weights, which keep their gradients, in the order of the forward pass."""
    seen: list[tuple[SpikingLayer, Tensor]] = []
    hooks = []
    for layer in network.modules():
        if isinstance(layer, SpikingLayer):

            def keep(module: nn.Module, given: tuple, current: Tensor, layer: SpikingLayer = layer) -> None:
                current.retain_grad()
                seen.append((layer, current))

            hooks.append(layer.weights.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def membrane_factors(potential: Tensor, config: TrainingConfig) -> Tensor:
    """What each step multiplies the error of the step after it by, along the membrane: ``(1 - 1/τm) · factor``.

    Args:
        potential: ``[T, ...]``.
        config: constants of the neuron and the gradient.
    """
    potential = potential.double()
    above = potential - config.threshold
    h = surrogate_derivative(above, config.temperature, config.surrogate, config.surrogate_scale)
    factor = resolve(config.gradient)(potential, (above > 0).double(), h)
    return (1 - 1 / config.tau_m) * torch.as_tensor(factor, dtype=torch.float64).expand_as(potential)


def before_training(
    cell: CellConfig, dataset: DataSet, gradients: Sequence[str] = STUDIED, seed: int = 0, examples: int = 50
) -> dict[str, Travel]:
    """What becomes of an error in the first hidden layer of a cell's untrained network.

    Args:
        cell: the network.
        dataset: its data, as :func:`tsbp.runs.evaluation.prepare` leaves them.
        gradients: by which the error travels.
        seed: of the initial weights.
        examples: the first training examples, over which the loss is averaged.

    Returns:
        Gradient → what becomes of it.
    """
    found = {}
    for gradient in gradients:
        config = cell.alone(gradient, 1.0, seed)
        network = evaluation.build_network(config, dataset)
        images, labels = dataset.train_images[:examples], dataset.train_labels[:examples]
        found[gradient] = travel(network, images, labels, dataset, config)[0]
    return found


def weight_gradients(
    cell: CellConfig, dataset: DataSet, gradient: str, seed: int = 0, examples: int = 50
) -> list[Tensor]:
    """Gradients of all weights of a cell's untrained network, in float64.

    Args:
        cell: the network.
        dataset: its data, as :func:`tsbp.runs.evaluation.prepare` leaves them.
        gradient: of the neurons.
        seed: of the initial weights.
        examples: the first training examples, over which the loss is averaged.
    """
    config = cell.alone(gradient, 1.0, seed)
    network = evaluation.build_network(config, dataset).double()
    network.register_forward_pre_hook(lambda module, given: (given[0].double(),))  # inputs are encoded in float32
    images, labels = dataset.train_images[:examples], dataset.train_labels[:examples]
    target = evaluation.target_of(labels, dataset, config)
    loss = evaluation.loss_of(network, images, target, dataset, config).mean()
    return list(torch.autograd.grad(loss, list(network.parameters())))


def trained(config: TrainingConfig, dataset: DataSet) -> nn.Module:
    """The network of a training after its last epoch.

    Args:
        config: the training.
        dataset: its data, as :func:`tsbp.runs.evaluation.prepare` leaves them.
    """
    with torch.random.fork_rng(devices=[]):
        run = Run(config, dataset)
        while run.epoch <= config.epochs:
            for _ in run.batches():
                pass
            run.finish_epoch(quiet=True)
    return run.network
