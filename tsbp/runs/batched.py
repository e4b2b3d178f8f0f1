"""Many fully connected networks of one architecture as one module: each has weights of its own and knows no other.

Their neurons lie side by side, ``[T, B, M, N]`` for M networks, and go through one pass of the kernels; their weights
are stacked, ``[M, N, K]``. A number that is not finite stays in the network where it arose.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tsbp.layers import LIF, SpikingLayer, delay
from tsbp.networks import SpikingNetwork
from tsbp.neuron import LIFOutput
from tsbp.readout import Integrator


class BatchedNetwork(nn.Module):
    """M networks that differ in their weights alone.

    Args:
        networks: fully connected ones, whose weights are copied; all neurons get the settings of the first one's.

    Raises:
        ValueError: a layer has no linear weights, or neurons from a plugin.
    """

    def __init__(self, networks: Sequence[SpikingNetwork]) -> None:
        super().__init__()
        same = zip(*(network.layers for network in networks), strict=True)
        self.layers = nn.ModuleList(BatchedLayer(layers) for layers in same)

    def forward(self, x: Tensor, which: Sequence[int]) -> Tensor:
        """Run the networks.

        Args:
            x: inputs ``[U, T, B, K]``, or ``[U, 1, B, K]`` if they are constant.
            which: for each network, which of the U inputs it sees.

        Returns:
            Postsynaptic current of the output neurons, or the potential of integrators, ``[T, B, M, n_classes]``.
        """
        psc = self.layers[0](x, which).psc
        for layer in self.layers[1:]:
            psc = layer(psc.movedim(2, 0)).psc
        return psc

    @torch.no_grad()
    def activity(self, x: Tensor, which: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The same, and the mean number of spikes in a time step of a neuron, ``[M, layers]``, integrators left out."""
        outputs = [self.layers[0](x, which, spikes=True)]
        for layer in self.layers[1:]:
            outputs.append(layer(outputs[-1].psc.movedim(2, 0), spikes=True))
        layers = zip(self.layers, outputs, strict=True)
        rates = [out.spikes.mean((0, 1, 3)) for layer, out in layers if isinstance(layer.neuron, LIF)]
        return outputs[-1].psc, torch.stack(rates, 1)


class BatchedLayer(nn.Module):
    """One layer of each of M networks: weights, an optional synaptic delay, and neurons.

    Args:
        layers: of the networks; see :class:`BatchedNetwork`.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        same = [x for x in layers if isinstance(x, SpikingLayer) and isinstance(x.weights, nn.Linear)]
        if len(same) < len(layers):
            raise ValueError("networks side by side must be fully connected")
        first = same[0]
        if not isinstance(first.neuron, LIF | Integrator):
            raise ValueError(f"networks side by side must have neurons lif, got {type(first.neuron).__name__}")
        self.weights = _stacked([layer.weights.weight for layer in same])
        between = [layer.recurrent.weight for layer in same if layer.recurrent is not None]
        self.recurrent = _stacked(between) if between else None
        self.neuron, self.time_steps, self.synaptic_delay = first.neuron, first.time_steps, first.synaptic_delay

    def forward(self, x: Tensor, which: Sequence[int] | None = None, spikes: bool = False) -> LIFOutput:
        """``[U, T or 1, B, K]`` → ``[T, B, M, N]``; without ``which`` U is M: each network has an input of its own."""
        steps, batch = x.shape[1:3]
        which = range(len(x)) if which is None else which
        current = _Products.apply(x.flatten(1, 2), self.weights, which).unflatten(0, (steps, batch))
        if self.synaptic_delay:
            current = delay(current.expand(self.time_steps, *current.shape[1:]), self.synaptic_delay)
        return self.neuron.simulate(current, recurrent=self.recurrent, time_steps=self.time_steps, spikes=spikes)


def _stacked(weights: Sequence[Any]) -> nn.Parameter:
    return nn.Parameter(torch.stack([one.detach() for one in weights]))


class _Products(torch.autograd.Function):
    """``x[which[m]] @ weights[m].T`` side by side, ``[R, M, N]``, from ``[U, R, K]`` and ``[M, N, K]``.

    Each product is written where the kernels read it. An input that requires a gradient is seen by one network each.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weights: Tensor, which: Sequence[int]) -> Tensor:
        found = x.new_empty(x.shape[1], *weights.shape[:2])
        for place, (own, number) in enumerate(zip(weights, which, strict=True)):
            torch.mm(x[number], own.T, out=found[:, place])
        ctx.which = which
        ctx.save_for_backward(x, weights)
        return found

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors
        of_weights = torch.empty_like(weights)
        of_x = x.new_empty(x.shape[1], len(x), x.shape[2]) if ctx.needs_input_grad[0] else None
        for place, number in enumerate(ctx.which):
            torch.mm(grad[:, place].T, x[number], out=of_weights[place])
            if of_x is not None:
                torch.mm(grad[:, place], weights[place], out=of_x[:, number])
        return None if of_x is None else of_x.transpose(0, 1), of_weights, None
