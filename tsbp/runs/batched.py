"""Many fully connected networks of one architecture as one module: each has weights of its own and knows no other.

Their neurons lie side by side, ``[T, B, M, N]`` for M networks, and go through one pass of the kernels; their weights
are stacked, ``[M, N, K]``. A number that is not finite stays in the network where it arose.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tsbp.kernels import events
from tsbp.layers import LIF, SpikingLayer, delay
from tsbp.networks import SpikingNetwork
from tsbp.neuron import LIFOutput
from tsbp.readout import Integrator

WIDE = 32
"""Neurons of a layer from which on the gradient of its weights is found event by event."""


class BatchedNetwork(nn.Module):
    """M networks that differ in their weights alone.

    Args:
        networks: fully connected ones, whose weights are copied; all neurons get the settings of the first one's.
        compiled: of weights, too, see :mod:`tsbp.kernels.events`; of neurons it is a setting of the networks.

    Raises:
        ValueError: a layer has no linear weights, or neurons from a plugin.
    """

    def __init__(self, networks: Sequence[SpikingNetwork], compiled: bool = False) -> None:
        super().__init__()
        same = zip(*(network.layers for network in networks), strict=True)
        self.layers = nn.ModuleList(BatchedLayer(layers, compiled) for layers in same)

    def forward(self, x: Tensor, which: Sequence[int]) -> Tensor:
        """Run the networks.

        Args:
            x: inputs ``[U, T, B, K]``, or ``[U, 1, B, K]`` if they are constant.
            which: for each network, which of the U inputs it sees.

        Returns:
            Postsynaptic current of the output neurons, or the potential of integrators, ``[T, B, M, n_classes]``.
        """
        return self._outputs(x, which)[-1].psc

    def _outputs(self, x: Tensor, which: Sequence[int], spikes: bool = False) -> list[LIFOutput]:
        outputs = [self.layers[0](x, which, spikes=spikes)]
        before: Any
        for before, layer in itertools.pairwise(self.layers):
            out = outputs[-1]
            outputs.append(layer(out.psc.movedim(2, 0), fired=Fired(out.potential, before.neuron), spikes=spikes))
        return outputs

    @torch.no_grad()
    def activity(self, x: Tensor, which: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The same, and the mean number of spikes in a time step of a neuron, ``[M, layers]``, integrators left out."""
        outputs = self._outputs(x, which, spikes=True)
        layers = zip(self.layers, outputs, strict=True)
        rates = [
            out.spikes.mean((0, 1, 3))
            for layer, out in layers
            if out.spikes is not None and isinstance(layer.neuron, LIF)
        ]
        return outputs[-1].psc, torch.stack(rates, 1)


class Fired(NamedTuple):
    """What a psc is made of."""

    potential: Tensor
    """``[T, B, M, K]``"""
    neuron: LIF

    @property
    def filter(self) -> tuple[float, float]:
        """Threshold and synaptic time constant."""
        settings = {"threshold": 1.0, "tau_s": 2.0} | self.neuron.settings
        return float(settings["threshold"]), float(settings["tau_s"])


class BatchedLayer(nn.Module):
    """One layer of each of M networks: weights, an optional synaptic delay, and neurons.

    Args:
        layers: of the networks; see :class:`BatchedNetwork`.
        compiled: add up the weights of the neurons that fire instead of multiplying matrices.
    """

    def __init__(self, layers: Sequence[nn.Module], compiled: bool = False) -> None:
        super().__init__()
        same = [x for x in layers if isinstance(x, SpikingLayer) and isinstance(x.weights, nn.Linear)]
        if len(same) < len(layers):
            raise ValueError("networks side by side must be fully connected")
        first = same[0]
        if not (type(first.neuron) is LIF or type(first.neuron) is Integrator):  # a subclass may not say which fire
            raise ValueError(f"networks side by side must have neurons lif, got {type(first.neuron).__name__}")
        self.weights = _stacked([layer.weights.weight for layer in same])
        between = [layer.recurrent.weight for layer in same if layer.recurrent is not None]
        self.recurrent = _stacked(between) if between else None
        self.neuron, self.time_steps, self.synaptic_delay = first.neuron, first.time_steps, first.synaptic_delay
        self.compiled = compiled

    def forward(
        self,
        x: Tensor,
        which: Sequence[int] | None = None,
        fired: Fired | None = None,
        spikes: bool = False,
    ) -> LIFOutput:
        """Run the layers.

        Args:
            x: inputs ``[U, T or 1, B, K]``.
            which: for each network, which of the U inputs it sees; None: each has one of its own, and U is M.
            fired: the spikes that the inputs are made of, if they are.
            spikes: whether spikes are wanted beside psc and potential.

        Returns:
            What the neurons return, ``[T, B, M, N]`` each.
        """
        which = range(len(x)) if which is None else which
        usable = self.compiled and fired is not None and events.usable(x, self.weights)
        current = _Products.apply(x, self.weights, which, *(fired if usable and fired else (None, None)))
        if self.synaptic_delay:
            current = delay(current.expand(self.time_steps, *current.shape[1:]), self.synaptic_delay)
        return self.neuron.simulate(
            current, recurrent=self.recurrent, time_steps=self.time_steps, spikes=spikes, potential=True
        )


def _stacked(weights: Sequence[Any]) -> nn.Parameter:
    return nn.Parameter(torch.stack([one.detach() for one in weights]))


class _Products(torch.autograd.Function):
    """``x[which[m]] @ weights[m].T`` side by side, ``[T, B, M, N]``, from ``[U, T, B, K]`` and ``[M, N, K]``.

    Each product is written where the kernels read it. An input that requires a gradient is seen by one network each.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, weights: Tensor, which: Sequence[int], potential: Tensor | None, neuron: LIF | None
    ) -> Tensor:
        found = x.new_empty(*x.shape[1:3], *weights.shape[:2])
        ctx.which, ctx.neuron = which, neuron
        ctx.save_for_backward(x, weights, potential)
        if potential is not None and neuron is not None:
            events.forward(potential, weights.mT.contiguous(), found, *Fired(potential, neuron).filter)
        else:
            flat = found.flatten(0, 1)
            for place, number in enumerate(which):
                torch.mm(x[number].flatten(0, 1), weights[place].T, out=flat[:, place])
        return found

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, potential = ctx.saved_tensors
        flat = grad.flatten(0, 1)
        if potential is not None and weights.shape[1] >= WIDE:
            of_weights = events.backward(potential, grad, *Fired(potential, ctx.neuron).filter).mT.contiguous()
        else:
            of_weights = torch.empty_like(weights)
            for place, number in enumerate(ctx.which):
                torch.mm(flat[:, place].T, x[number].flatten(0, 1), out=of_weights[place])
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = x.new_empty(len(flat), len(x), x.shape[3])
            for place, number in enumerate(ctx.which):
                torch.mm(flat[:, place], weights[place], out=of_x[:, number])
            of_x = of_x.transpose(0, 1).unflatten(1, grad.shape[:2])
        return of_x, of_weights, None, None, None
