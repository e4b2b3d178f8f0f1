"""The networks of the paper as another library's tutorial would write them."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tsbp.layers import Pooling, SpikingLayer, over_time
from tsbp.networks import SpikingNetwork


class ConventionalNetwork(nn.Module):
    """A :class:`tsbp.SpikingNetwork` as a library's tutorial would write it, around a neuron of its own.

    Images are repeated for every time step, feature maps lie channel by channel, pooling is PyTorch's.

    Args:
        network: gives layers and weights, which are copied.
        neuron: current ``[T, ...]`` to psc ``[T, ...]``.
    """

    def __init__(self, network: SpikingNetwork, neuron: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.time_steps = network.time_steps
        self.neuron = neuron
        self.layers = nn.ModuleList()
        for layer in network.layers:
            if isinstance(layer, SpikingLayer) and not layer.recurrent:
                self.layers.append(copy.deepcopy(layer.weights).to(memory_format=torch.contiguous_format))
            elif isinstance(layer, Pooling) and layer.kind == "average":
                self.layers.append(nn.AvgPool2d(layer.size))
            else:
                raise ValueError(f"no conventional form of {layer}")

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`tsbp.SpikingNetwork.forward`."""
        psc = x if x.dim() == 5 else x.repeat(self.time_steps, 1, 1, 1, 1)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                psc = self.neuron(layer(psc.flatten(2)))
            else:
                psc = over_time(layer, psc)
                psc = psc if isinstance(layer, nn.AvgPool2d) else self.neuron(psc)
        return psc
