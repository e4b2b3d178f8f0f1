"""Networks in the notation of the paper's Table 3, built from layers of leaky integrate-and-fire neurons.

``15C5-P2-40C5-P2-300`` reads: 15 channels of 5x5 convolution, pooling by 2, 40 channels of 5x5 convolution, pooling by
2, 300 neurons; the output layer is added. ``128R`` is a linear layer of 128 neurons with weights between them. Every
convolution and linear layer is followed by :func:`tsbp.lif`, the output layer included. A layer handles all time steps
at once, so that a convolution sees ``T · B`` images.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tsbp import checks
from tsbp.layers import NEURONS, POOLING, Dropout, LayerState, Pooling, SpikingLayer
from tsbp.readout import READOUTS, Integrator

TABLE_3 = {
    "nmnist": "12C5-P2-64C5-P2",
    "mnist": "15C5-P2-40C5-P2-300",
    "cifar10": "96C3-256C3-P2-384C3-P2-384C3-256C3-1024-1024",
}
"""The networks of the paper's Table 3 by data set, without their output layer."""

INITIALISATIONS = ("pytorch", "tssl-bp")


def depth(spec: str) -> int:
    """Layers of neurons of a network in the notation of Table 3, the output layer included."""
    return 1 + sum(not part.startswith("P") for part in spec.split("-"))


class SpikingNetwork(nn.Module):
    """A spiking network of layers in a row; :meth:`from_spec` builds one from the notation of Table 3.

    Args:
        layers: modules that map ``[T, B, ...]`` to ``[T, B, ...]``.
        in_shape: ``(C, H, W)`` of one image or frame.
        time_steps: number of time steps T.
    """

    def __init__(self, layers: Sequence[nn.Module], in_shape: tuple[int, int, int], time_steps: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.in_shape = tuple(in_shape)
        self.time_steps = time_steps

    @classmethod
    def from_spec(
        cls,
        spec: str,
        in_shape: tuple[int, int, int],
        n_classes: int,
        time_steps: int,
        *,
        synaptic_delay: int = 0,
        padding: int | str = 0,
        pooling: str = "average",
        dropout: float = 0.0,
        initialisation: str = "pytorch",
        weight_gain: float = 2.0,
        neuron: str = "lif",
        readout: str = "spiking",
        **settings,
    ) -> "SpikingNetwork":
        """Build a network from its description.

        Args:
            spec: tokens joined by ``-``: ``15C5`` a convolution with 15 channels and a 5x5 kernel, ``P2`` pooling by 2,
                ``300`` a linear layer of 300 neurons, ``128R`` one of 128 whose own psc of the step before reaches
                them too, through weights of their own. The output layer of ``n_classes`` neurons is added. No layer has
                a bias, as in the published code of TSSL-BP (Zhang & Li 2020), whose networks these are.
            in_shape: ``(C, H, W)`` of one image or frame.
            n_classes: number of output neurons.
            time_steps: T ≥ 1.
            synaptic_delay: steps from one layer to the next. 1 is the letter of the paper's eq. 1; with as many weight
                layers as time steps nothing would then reach the output, so 0 is the default.
            padding: of every convolution, in pixels; ``"same"`` keeps the image's size; ``"1,0"`` is one number each.
            pooling: ``"average"``, ``"max"``, or ``"sum"``, which is 1.1 times the sum.
            dropout: share of the neurons of every hidden layer that stay out of an update, after any pooling.
            initialisation: ``"pytorch"``, or ``"tssl-bp"``: linear layers Kaiming-normal and unscaled.
            weight_gain: scales PyTorch's initial weights, which are too small to make deep layers fire.
            neuron: a name in :data:`tsbp.layers.NEURONS`.
            readout: what the output layer is made of: ``"spiking"`` neurons, or ``"integrator"`` for leaky integrators
                with their time constant ``tau_m``, whose membrane potential is the output.
            **settings: of the neurons, for ``lif`` keyword arguments of :func:`tsbp.lif`.

        Raises:
            ValueError: a token that is not in the notation, a feature map that shrinks to nothing, or a setting out of
                range.
        """
        counts = [("time_steps", time_steps, 1), ("synaptic_delay", synaptic_delay, 0), ("n_classes", n_classes, 1)]
        counts += [("padding", padding, 0)] if not isinstance(padding, str) else []
        for name, value, least in [*counts, *(("in_shape", size, 1) for size in in_shape)]:
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number, at least {least}, got {value}")
        if len(in_shape) != 3:
            raise ValueError(f"in_shape must be (C, H, W), got {tuple(in_shape)}")
        checks.number("weight_gain", weight_gain, "finite and greater than 0", lambda x: 0 < x < math.inf)
        checks.number("dropout", dropout, "from 0 to below 1", lambda x: 0 <= x < 1)
        checks.name("pooling", pooling, POOLING)
        checks.name("neuron", neuron, NEURONS)
        checks.name("initialisation", initialisation, INITIALISATIONS)
        checks.name("readout", readout, READOUTS)
        if not isinstance(spec, str):
            raise ValueError(f"spec must be a text in the notation of Table 3, got {spec!r}")

        layers: list[nn.Module] = []
        parts = list(_parts(spec, in_shape, n_classes, padding))
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            if part.kind == "P":
                layers.append(Pooling(pooling, part.size))
            else:
                n = part.channels
                weights = (
                    nn.Conv2d(part.before[0], n, part.size, padding=part.padding, bias=False)
                    if part.kind == "C"
                    else nn.Linear(math.prod(part.before), n, bias=False)
                )
                recurrent = nn.Linear(n, n, bias=False) if part.kind == "R" else None
                tau_m = {name: value for name, value in settings.items() if name == "tau_m"}
                cell = Integrator(**tau_m) if last and readout == "integrator" else NEURONS[neuron](**settings)
                layers.append(SpikingLayer(weights, cell, time_steps, synaptic_delay, last, recurrent))
            if dropout and not last and parts[i + 1].kind != "P":
                layers.append(Dropout(dropout))

        network = cls(layers, in_shape, time_steps)
        with torch.no_grad():
            for module in network.modules():
                if initialisation == "tssl-bp" and isinstance(module, nn.Linear):
                    nn.init.kaiming_normal_(module.weight)
                elif isinstance(module, nn.Linear | nn.Conv2d):
                    module.weight *= weight_gain
        return network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Run the network.

        Args:
            x: images ``[B, C, H, W]``, a constant current into the first weights at every step, or frames
                ``[T, B, C, H, W]``, one a step.

        Returns:
            Postsynaptic current of the output neurons, or the potential of integrators, ``[T, B, n_classes]``.

        Raises:
            ValueError: ``x`` has another shape.
        """
        frames = x[None] if x.dim() == 4 else x
        if frames.dim() != 5 or frames.shape[2:] != self.in_shape or frames.shape[0] not in (1, self.time_steps):
            image = ", ".join(map(str, self.in_shape))
            raise ValueError(
                f"expected images [B, {image}] or frames [{self.time_steps}, B, {image}], got {list(x.shape)}"
            )
        psc = frames
        for layer in self.layers:
            psc = layer(psc)
        return psc

    def simulate(
        self, frames: Tensor, state: Sequence[LayerState] | None = None
    ) -> tuple[Tensor, tuple[LayerState, ...]]:
        """Run the network over a part of a longer sequence; the next part goes on from the state that this one left.

        Args:
            frames: ``[T, B, C, H, W]``, of any length T ≥ 1. Dropout chooses neurons anew in every part.
            state: of every layer with neurons, in order; None: at rest. ``[s.detach() for s in state]`` truncates the
                gradient.

        Returns:
            Postsynaptic current of the output neurons, ``[T, B, n_classes]``, and the state after the last step.

        Raises:
            ValueError: ``frames`` has another shape, or ``state`` another number of layers.
        """
        if frames.dim() != 5 or frames.shape[2:] != self.in_shape or not len(frames):
            image = ", ".join(map(str, self.in_shape))
            raise ValueError(f"expected frames [T, B, {image}], got {list(frames.shape)}")
        n_states = sum(isinstance(layer, SpikingLayer) for layer in self.layers)
        if state is not None and (not isinstance(state, Sequence) or len(state) != n_states):
            given = len(state) if isinstance(state, Sequence) else type(state).__name__
            raise ValueError(f"state must have a LayerState for each of {n_states} layers, got {given}")
        before: Iterator[LayerState | None] = iter(state) if state else itertools.repeat(None)
        psc, after = frames, []
        for layer in self.layers:
            if isinstance(layer, SpikingLayer):
                psc, layer_state = layer.simulate(psc, next(before))
                after.append(layer_state)
            else:
                psc = layer(psc)
        return psc, tuple(after)


def finite_differences(loss: Callable[[], Tensor], parameters: Iterable[Tensor], step: float = 1e-5) -> Tensor:
    """Measure a gradient by moving each parameter a little either way (central differences).

    Args:
        loss: computes the loss from the parameters as they are; it must be smooth, as that of a ``relaxed`` network is.
        parameters: tensors, moved in place and put back.
        step: how far to move; 1e-5 suits float64.

    Returns:
        The gradient of all parameters in one row.
    """
    slopes = []
    with torch.no_grad():
        for parameter in parameters:
            for index in range(parameter.numel()):
                value = parameter.flatten()[index].item()
                ends = []
                for moved in (value + step, value - step):
                    parameter.view(-1)[index] = moved
                    ends.append(loss().item())
                parameter.view(-1)[index] = value
                slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


def flat_gradient(loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """The gradient of all parameters in one row, as :func:`finite_differences` has it, from the backward pass."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(parameters))])


def count(spec: str, in_shape: tuple[int, int, int], n_classes: int, padding: int | str = 0) -> tuple[int, int]:
    """Weights and neurons of a network, counted without building it.

    Args:
        spec: see :meth:`tsbp.SpikingNetwork.from_spec`, which raises the same errors; and so are the others.
        in_shape: ``(C, H, W)``.
        n_classes: number of output neurons.
        padding: of the convolutions.
    """
    parts = [part for part in _parts(spec, in_shape, n_classes, padding) if part.kind != "P"]
    return sum(part.weights for part in parts), sum(math.prod(part.after) for part in parts)


class _Part(NamedTuple):
    """A token of a network, and the shape of one step before it and after it."""

    channels: int
    kind: str
    size: int
    padding: int | str
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def weights(self) -> int:
        if self.kind == "C":
            return self.before[0] * self.channels * self.size**2
        return (math.prod(self.before) + (self.channels if self.kind == "R" else 0)) * self.channels


def _parts(spec: str, in_shape: Sequence[int], n_classes: int, padding: int | str) -> Iterator[_Part]:
    """A network part by part, the output layer included."""
    shape: tuple[int, ...] = tuple(in_shape)
    paddings = iter(_paddings(padding, spec))
    for token in [*spec.split("-"), str(n_classes)]:
        channels, kind, size = _parse(token, spec)
        if kind == "C" and len(shape) == 1:
            raise ValueError(f"network token {token!r} in {spec!r}: a convolution cannot follow a linear layer")
        pad: int | str = next(paddings) if kind == "C" else 0
        if kind == "C":
            after = channels, *(n if isinstance(pad, str) else n + 2 * pad - size + 1 for n in shape[1:])
        else:
            after = (shape[0], *(n // size for n in shape[1:])) if kind == "P" else (channels,)
        if min(after) < 1 or (kind == "P" and len(shape) == 1):
            sides = "x".join(map(str, shape))
            raise ValueError(f"network token {token!r} in {spec!r} does not fit its input of {sides}")
        yield _Part(channels, kind, size, pad, shape, after)
        shape = after


def _parse(token: str, spec: str) -> tuple[int, str, int]:
    """``15C5`` → (15, "C", 5), ``P2`` → (0, "P", 2), ``300`` → (300, "", 0), ``128R`` → (128, "R", 0)."""
    match = re.fullmatch(r"(?:([1-9]\d*)(?:(C)([1-9]\d*)|(R))?)|(?:(P)([1-9]\d*))", token, re.ASCII)
    if match is None:
        raise ValueError(
            f"network token {token!r} in {spec!r} is none of 15C5 (convolution), P2 (pooling), 300 (linear layer), "
            "128R (recurrent layer)"
        )
    if max(map(len, re.findall(r"\d+", token))) > 15:
        raise ValueError(f"network token {token!r} in {spec!r} has a number that no memory can hold")
    channels, convolution, kernel, recurrent, pool, window = match.groups()
    return int(channels or 0), convolution or recurrent or pool or "", int(kernel or window or 0)


def _paddings(padding: int | str, spec: str) -> list[int | str]:
    """Padding of each convolution of a network."""
    n = len(re.findall(r"C", spec))
    if padding == "same" or isinstance(padding, int):
        return [padding] * n
    numbers = padding.split(",")
    if not all(number.isdecimal() for number in numbers) or len(numbers) not in (1, n):
        raise ValueError(f"padding must be pixels, same, or {n} numbers joined by commas for {spec!r}, got {padding!r}")
    pixels: list[int | str] = [int(number) for number in numbers]
    return pixels * (n if len(numbers) == 1 else 1)
