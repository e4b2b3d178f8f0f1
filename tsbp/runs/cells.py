"""A cell of a factorial design: one setting of everything, trained with several gradients, learning rates and seeds.

Every gradient x learning rate x seed is a network. As many as the caches hold train side by side, as one module. Each
sees what it would see alone: a network of a cell ends where ``tsbp train`` with its gradient, rate and seed ends, but
for the rounding of sums. One that breaks down disturbs no other.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsbp.runs import data, evaluation, memory, records
from tsbp.runs.batched import BatchedNetwork
from tsbp.runs.encoding import augment, encode, input_shape
from tsbp.runs.optimizers import OPTIMIZERS
from tsbp.runs.settings import CellConfig
from tsbp.runs.training import pays_to_compile, schedule_of

AT_ONCE = 8 << 20
"""Bytes of an array ``[T, B, M, N]`` up to which networks train side by side: a cache should hold several."""


class Group:
    """Networks of one gradient that train side by side.

    Args:
        config: of the cell.
        dataset: its data, as :func:`.evaluation.prepare` leaves them.
        gradient: of these networks.
        pairs: learning rate and seed of each.
        compiled: fuse the neurons' loops.
        device: where to train.
    """

    def __init__(
        self,
        config: CellConfig,
        dataset: data.DataSet,
        gradient: str,
        pairs: Sequence[tuple[float, int]],
        compiled: bool,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config, self.dataset = config.alone(gradient, *pairs[0]), dataset.to(device)
        alone = [config.alone(gradient, *pair) for pair in pairs]
        built = [evaluation.build_network(one, dataset, compiled) for one in alone]
        self.networks = BatchedNetwork(built, compiled).to(device)
        self.parameters = list(self.networks.parameters())
        seeds = list(dict.fromkeys(seed for _, seed in pairs))
        self.which = [seeds.index(seed) for _, seed in pairs]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        # Every optimiser here moves the weights by its learning rate times something that does not depend on the rate:
        # it moves them for a rate of 1, of which each network goes its own share.
        self.rates = torch.tensor([rate for rate, _ in pairs], dtype=torch.float64, device=device)
        self.optimizer = OPTIMIZERS[config.optimizer](self.parameters, lr=1.0)
        self.schedule = schedule_of(self.optimizer, config.schedule, 1.0, config.epochs * self._batches)
        self.epoch = 0
        self.loss = torch.zeros(len(pairs), dtype=torch.float64, device=device)
        """Mean over the last epoch, ``[M]``."""
        self.broke_down = torch.zeros(len(pairs), dtype=torch.int64, device=device)
        """Epoch in which a network's loss or its gradient became NaN or infinite, ``[M]``; 0 for none."""

    @property
    def _batches(self) -> int:
        return math.ceil(len(self.dataset.train_images) / self.config.batch_size)

    def train_epoch(self) -> None:
        """Show every network all training examples once, in its seed's order."""
        self.epoch += 1
        n = len(self.dataset.train_images)
        orders = [torch.randperm(n, generator=generator) for generator in self.generators]
        total = torch.zeros_like(self.loss)
        for start in range(0, n, self.config.batch_size):
            batches = [order[start : start + self.config.batch_size] for order in orders]
            total += self.step(batches) * len(batches[0])
        self.loss = total / n

    def step(self, batches: Sequence[Tensor]) -> Tensor:
        """One update of all weights.

        Args:
            batches: the numbers of the training examples for each seed.

        Returns:
            The mean loss of each network, ``[M]``.
        """
        config, dataset = self.config, self.dataset
        images = [
            augment(dataset.train_images[batch], config.shift, config.flip, config.rotation, generator)
            for batch, generator in zip(batches, self.generators, strict=True)
        ]
        wanted = [evaluation.target_of(dataset.train_labels[batch], dataset, config) for batch in batches]
        target = torch.stack([wanted[number] for number in self.which], 2)
        output = self.networks(self._inputs(images), self.which)[-config.read_steps :]
        losses = evaluation.losses_of(output.flatten(1, 2), target.flatten(1, 2), config)
        loss = losses.view(-1, len(self.which)).mean(0)
        self.optimizer.zero_grad()
        loss.sum().backward()
        norm = self._clip()
        before = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for parameter, old in zip(self.parameters, before, strict=True):
                torch.lerp(old, parameter, _each(self.rates, parameter), out=parameter)
        loss = loss.detach()
        broken = ~(loss + norm).isfinite() & (self.broke_down == 0)
        self.broke_down[broken] = self.epoch
        return loss

    def _inputs(self, images: Sequence[Tensor]) -> Tensor:
        """Batches of images or frames as the networks take them, ``[U, T or 1, B, K]``."""
        config = self.config
        encoded = [encode(x, self.dataset, config.encoding, config.time_steps, config.tau_s) for x in images]
        stacked = torch.stack([x if x.dim() == 5 else x[None] for x in encoded])
        return stacked.flatten(3).to(self.parameters[0].dtype)

    def _clip(self) -> Tensor:
        """Clip the gradient of each network to the largest norm; returns the norms as they were, ``[M]``."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        of_each = [torch.linalg.vector_norm(x, dim=(1, 2), dtype=torch.float64) for x in gradients]
        norm = torch.stack(of_each).norm(dim=0)
        share = (self.config.clip_norm / (norm + 1e-6)).clamp(max=1)  # as torch.nn.utils.clip_grad_norm_ has it
        for gradient in gradients:
            gradient *= _each(share, gradient)
        return norm

    @torch.no_grad()
    def evaluate(self) -> tuple[Tensor, Tensor]:
        """Which examples of the test part each network gets right, ``[M, N]`` of bool; and spikes in a time step of a
        neuron on them, ``[M, layers]``."""
        config, dataset, everybody = self.config, self.dataset, [0] * len(self.which)
        right, rates = [], torch.zeros((), device=self.loss.device)
        for batch in torch.arange(len(dataset.test_images)).split(config.batch_size):
            output, share = self.networks.activity(self._inputs([dataset.test_images[batch]]), everybody)
            found = evaluation.scores(output[-config.read_steps :], config).argmax(-1)
            right.append(found == dataset.test_labels[batch][:, None])
            rates = rates + share * (len(batch) / len(dataset.test_images))
        return torch.cat(right).T, rates


def _each(values: Tensor, weights: Tensor) -> Tensor:
    """One number for each network, ``[M]``, beside weights ``[M, N, K]``."""
    return values.to(weights.dtype)[:, None, None]


def run(
    config: CellConfig,
    *,
    dataset: data.DataSet | None = None,
    data_root: str | Path | None = None,
    device: str | torch.device = "cpu",
    compiled: bool | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, Any]:
    """Train every network of a cell.

    Args:
        config: the cell.
        dataset: the data, if they are loaded already.
        data_root: where they are otherwise, see :func:`tsbp.runs.data.data_root`.
        device: where to train.
        compiled: fuse the neurons' loops; by default where the cell is long enough to pay for compiling.
        progress: wraps the epochs of all groups of networks, as ``tqdm`` does.

    Returns:
        What its record holds beside the settings. Lists are ``[gradient][learning rate][seed]``; a network that broke
        down has None in them.

    Raises:
        ValueError: a setting does not fit the data, or the networks do not fit into memory.
        FileNotFoundError: the data are missing.
    """
    started = time.monotonic()
    dataset = evaluation.prepare(config, dataset or data.load(config.dataset, data_root, config.time_steps))
    check_memory(config, dataset, torch.device(device))
    n_train, n_tested = len(dataset.train_images), len(dataset.test_images)
    shape = len(config.gradients), len(config.learning_rates), len(config.seeds)
    compiled = pays_to_compile(config, n_train * config.n_networks) if compiled is None else compiled
    found = {name: np.full(shape, None, dtype=object) for name in ("accuracy", "loss", "firing_rates", "right")}
    found["broke_down"] = np.zeros(shape, dtype=int)
    group = None
    for gradient, places, epoch in progress(_plan(config, dataset)):
        if epoch == 1:
            pairs = [(config.learning_rates[rate], config.seeds[seed]) for rate, seed in places]
            group = Group(config, dataset, config.gradients[gradient], pairs, compiled, device)
        assert group is not None  # the first epoch comes first
        group.train_epoch()
        if epoch < config.epochs:
            continue
        right, rates = group.evaluate()
        for number, place in enumerate((gradient, *pair) for pair in places):
            found["broke_down"][place] = group.broke_down[number].item()
            if not group.broke_down[number]:
                found["accuracy"][place] = 100 * int(right[number].sum()) / n_tested
                found["loss"][place] = _rounded(group.loss[number].item())
                found["firing_rates"][place] = [_rounded(rate) for rate in rates[number].tolist()]
                found["right"][place] = records.packed(right[number])
    return _results(config, dataset, found) | {"wall_time": round(time.monotonic() - started, 2)}


def _plan(config: CellConfig, dataset: data.DataSet) -> list[tuple[int, list[tuple[int, int]], int]]:
    """Gradient, places of rates and seeds, and epoch: group by group. Networks of one seed stand side by side."""
    pairs = [
        (rate, seed) for seed, rate in itertools.product(range(len(config.seeds)), range(len(config.learning_rates)))
    ]
    widest = max(dataset.n_classes, *(int(token.removesuffix("R")) for token in config.network.split("-")))
    batch = min(config.batch_size, len(dataset.train_images))
    at_once = max(1, AT_ONCE // (4 * config.time_steps * batch * widest))
    n = math.ceil(len(pairs) / at_once)
    groups = [pairs[i * len(pairs) // n : (i + 1) * len(pairs) // n] for i in range(n)]
    gradients, epochs = range(len(config.gradients)), range(1, config.epochs + 1)
    return list(itertools.product(gradients, groups, epochs))


def check_memory(config: CellConfig, dataset: data.DataSet, device: torch.device) -> None:
    """Refuse a cell whose networks do not fit into memory even one by one.

    Raises:
        ValueError: there is less memory, or a network does not fit the data.
    """
    evaluation.check_memory(config.first.but(device=device.type), dataset)
    what = f"the results of {config.n_networks:,} networks"
    memory.check(what, config.n_networks * len(dataset.test_images), device)


def _results(config: CellConfig, dataset: data.DataSet, found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    measured_on = "validation" if config.validation else "test"
    weights, _ = evaluation.count(
        config.network, input_shape(dataset, config.encoding, config.time_steps), dataset.n_classes
    )
    lists = {name: values.tolist() for name, values in found.items()}
    right = {} if config.validation else {"right_answers": lists["right"]}
    return {
        f"{measured_on}_accuracies": lists["accuracy"],
        "losses": lists["loss"],
        "firing_rates": lists["firing_rates"],
        "broke_down": lists["broke_down"],
        **right,
        **({} if dataset.tested is None else {"tested": records.packed(dataset.tested)}),
        f"n_{measured_on}": len(dataset.test_images),
        "n_train": len(dataset.train_images),
        "n_parameters": weights,
        "data_note": dataset.note,
        "data_fingerprint": dataset.fingerprint(),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
