"""The layers of a spiking network: neurons, weights before them, pooling and dropout between them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsbp import checks
from tsbp.gradients import scaled
from tsbp.kernels.tensors import HALF, ordinary
from tsbp.neuron import LIFOutput, LIFState, lif

POOLING = ("average", "max", "sum")
SUM_GAIN = 1.1
"""Factor on the sum over a pooling window, as in the published code of TSSL-BP."""


class LIF(nn.Module):
    """A layer of :func:`tsbp.lif` neurons: ``forward(current [T, ...]) → psc [T, ...]``.

    A constant current may be given as one step, ``[1, ...]``, with ``time_steps``. Takes the settings of
    :func:`tsbp.lif` as keyword arguments and raises its errors. A tensor among them is a buffer, and a
    ``nn.Parameter`` a parameter: they move with the module, are saved with it, and the latter are learned.
    """

    reset_weight: Tensor
    """The c of ``scaled(c)``, if it is a tensor."""

    def __init__(self, **settings) -> None:
        super().__init__()
        tensors = {name: value for name, value in settings.items() if isinstance(value, Tensor)}
        for name in ("state", "recurrent", "time_steps", "spikes", "potential"):
            if name in settings:
                raise ValueError(f"{name} belongs to a call of the layer, not to its settings")
        checks.flags(compiled=settings.get("compiled", False))
        if settings.get("compiled") and tensors:
            raise ValueError(f"compiled=True takes a number, not a tensor, for {next(iter(tensors))}")
        gradient = settings.get("gradient")
        if isinstance(gradient, scaled) and isinstance(gradient.c, Tensor):
            self.register_buffer("reset_weight", gradient.c)
        given = [*tensors.values(), *self.buffers()]
        shape = torch.broadcast_shapes(*(x.shape for x in given))
        device = next((x.device for x in given), None)
        # A bad setting is reported here, not in the first call.
        lif(torch.zeros(1, *shape, device=device), **{**settings, "compiled": False})
        self.numbers = {name: value for name, value in settings.items() if name not in tensors}
        self.tensors = tuple(tensors)
        for name, value in tensors.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value)

    @property
    def settings(self) -> dict:
        """Keyword arguments of :func:`tsbp.lif`."""
        settings = self.numbers | {name: getattr(self, name) for name in self.tensors}
        return settings | {"gradient": scaled(self.reset_weight)} if hasattr(self, "reset_weight") else settings

    def forward(self, current: Tensor, time_steps: int | None = None) -> Tensor:
        return self.simulate(current, time_steps=time_steps).psc

    def simulate(
        self,
        current: Tensor,
        state: LIFState | None = None,
        *,
        recurrent: Tensor | None = None,
        time_steps: int | None = None,
        spikes: bool = False,
        potential: bool = False,
    ) -> LIFOutput:
        """:func:`tsbp.lif` with the settings of this layer; without spikes and potential unless they are asked for."""
        settings = self.settings | {"time_steps": time_steps, "spikes": spikes, "potential": potential}
        return lif(current, **settings, state=state, recurrent=recurrent)

    def extra_repr(self) -> str:
        shapes = {name: list(getattr(self, name).shape) for name in self.tensors}
        return ", ".join(f"{name}={value}" for name, value in (self.numbers | shapes).items())


class NeuronState(Protocol):
    """What neurons leave for the next part of a sequence, with fields of their own."""

    def detach(self) -> Any: ...


class NeuronOutput(Protocol):
    """What a layer takes from its neurons."""

    @property
    def psc(self) -> Tensor: ...
    @property
    def state(self) -> NeuronState: ...


class Neurons(Protocol):
    """What a layer asks of its neurons, a module: :class:`LIF`, a subclass, or another one with a state of its own."""

    def simulate(
        self, current: Tensor, state: Any = None, *, recurrent: Tensor | None = None, time_steps: int | None = None
    ) -> NeuronOutput:
        """The arguments are those of :meth:`tsbp.LIF.simulate`; the state is what an earlier call has left."""


NEURONS: dict[str, Callable[..., Neurons]] = {"lif": LIF}
"""The neurons of a network by name. An entry takes the settings of :class:`LIF`, all of which a run gives and records.

:meta hide-value:
"""

BUILT_IN = dict(NEURONS)
"""Those that a plugin must not change.

:meta hide-value:
"""


class LayerState(NamedTuple):
    """What a layer takes from one part of a sequence to the next."""

    neurons: NeuronState
    waiting: Tensor | None
    """Currents on their way, ``[synaptic_delay, B, ...]``; None without a delay."""

    def detach(self) -> "LayerState":
        """The same values without their history."""
        return LayerState(self.neurons.detach(), None if self.waiting is None else self.waiting.detach())


class SpikingLayer(nn.Module):
    """Weights, an optional synaptic delay, and LIF neurons: ``I = W a``, then eq. 3-5.

    Args:
        weights: a convolution, or a linear layer (whose input is flattened), without bias.
        neuron: the neurons, or a leaky integrator.
        time_steps: number of time steps; an input of a single step is a constant one, whose current is computed once.
        synaptic_delay: steps that a postsynaptic current takes to the next membrane.
        readout: whether this is the output layer, which keeps float32 under autocast so that the loss does too.
        recurrent: a linear layer from the neurons' own psc of the step before, after linear weights alone.
    """

    def __init__(
        self,
        weights: nn.Module,
        neuron: Neurons,
        time_steps: int,
        synaptic_delay: int = 0,
        readout: bool = False,
        recurrent: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.neuron = neuron
        self.time_steps = time_steps
        self.synaptic_delay = synaptic_delay
        self.readout = readout
        self.recurrent = recurrent

    def forward(self, psc: Tensor) -> Tensor:
        """``[T or 1, B, ...]`` → the layer's own postsynaptic current, ``[T, B, ...]``."""
        return self._run(psc, None, self.time_steps)[0]

    def simulate(self, psc: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """:meth:`forward` over a part of a sequence, ``[T, B, ...]`` of any length T, from a state and to the next."""
        psc, out, waiting = self._run(psc, state, len(psc))
        return psc, LayerState(out.state, waiting)

    def _run(self, psc: Tensor, state: LayerState | None, steps: int) -> tuple[Tensor, NeuronOutput, Tensor | None]:
        linear = isinstance(self.weights, nn.Linear)
        # The neurons work in the order in which a channels-last convolution lays out its result.
        current = self.weights(psc.flatten(2)) if linear else over_time(self.weights, psc).movedim(2, -1)
        self._check(state)
        earlier, waiting = None if state is None else state.waiting, None
        if self.synaptic_delay:
            current = current.expand(steps, *current.shape[1:])
            if earlier is not None and earlier.shape[1:] != current.shape[1:]:
                raise ValueError(
                    f"state must be of the shape of this input, {list(current.shape[1:])} a step in this layer, "
                    f"got {list(earlier.shape[1:])}"
                )
            arriving = torch.cat([_silence(current, self.synaptic_delay) if earlier is None else earlier, current])
            current, waiting = arriving[:steps], arriving[steps:]
        if self.readout and current.dtype in HALF:
            current = current.float()
        out = self.neuron.simulate(
            current,
            None if state is None else state.neurons,
            recurrent=None if self.recurrent is None else self.recurrent.weight,
            time_steps=steps,
        )
        return out.psc if linear else out.psc.movedim(-1, 2), out, waiting

    def _check(self, state: LayerState | None) -> None:
        if state is None:
            return
        waiting = len(state.waiting) if isinstance(state, LayerState) and state.waiting is not None else 0
        if not isinstance(state, LayerState) or waiting != self.synaptic_delay:
            raise ValueError(
                f"state must be the LayerState of a layer with synaptic_delay {self.synaptic_delay}, got "
                f"{f'one with {waiting}' if isinstance(state, LayerState) else type(state).__name__}"
            )


def over_time(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module for batches ``[N, ...]`` to every step of ``x [T, B, ...]`` at once."""
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def delay(x: Tensor, steps: int) -> Tensor:
    """Shift ``x [T, ...]`` by a number of time steps; zeros come in at the start."""
    steps = min(steps, len(x))  # after that all is silent
    return torch.cat([_silence(x, steps), x])[: len(x)] if steps else x


def _silence(x: Tensor, steps: int) -> Tensor:
    return x.new_zeros(steps, *x.shape[1:])


class Pooling(nn.Module):
    """Spatial pooling of postsynaptic currents, step by step; it has no neurons."""

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        self.kind, self.size = kind, size
        self.pool = nn.MaxPool2d(size) if kind == "max" else AveragePool(size)
        self.gain = SUM_GAIN * size**2 if kind == "sum" else 1.0

    def forward(self, psc: Tensor) -> Tensor:
        pooled = over_time(self.pool, psc)
        return pooled if self.gain == 1 else self.gain * pooled


class AveragePool(nn.Module):
    """``nn.AvgPool2d`` of channels-last images in half its time or less.

    On the CPU it averages by a convolution and spreads gradients by upsampling; on CUDA both work on rows of channels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """``[N, C, H, W]`` → ``[N, C, H // size, W // size]``."""
        if not ordinary(images):
            return functional.avg_pool2d(images, self.size)
        return _AveragePoolFunction.apply(images, self.size)


class _AveragePoolFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images: Tensor, size: int) -> Tensor:
        ctx.shape, ctx.size = images.shape, size
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
        ctx.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if images.is_cuda:
            height, width = (side // size for side in images.shape[2:])
            covered = images.movedim(1, -1)[:, : height * size, : width * size]
            return covered.unflatten(2, (width, size)).unflatten(1, (height, size)).mean((2, 4)).movedim(-1, 1)
        kernel = images.new_full((images.shape[1], 1, size, size), 1 / size**2)
        with torch.autocast(images.device.type, enabled=False):
            return functional.conv2d(images, kernel, stride=size, groups=images.shape[1])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # linear, and made of operations that autograd knows
        share = (grad / ctx.size**2).contiguous(memory_format=ctx.memory_format)  # small here, large when spread
        if grad.is_cuda:
            rows = share.movedim(1, -1)[:, :, None, :, None].expand(-1, -1, ctx.size, -1, ctx.size, -1)
            spread = rows.flatten(1, 2).flatten(2, 3).movedim(-1, 1)
        else:
            spread = functional.interpolate(share, scale_factor=ctx.size, mode="nearest")
        (height, width), covered = ctx.shape[2:], spread.shape[2:]
        rest = (0, width - covered[1], 0, height - covered[0])
        return (functional.pad(spread, rest) if any(rest) else spread), None


class Dropout(nn.Module):
    """Leave out some neurons of every example while training: the same ones at all time steps of a call."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, psc: Tensor) -> Tensor:
        return psc * functional.dropout(torch.ones_like(psc[0]), self.share, self.training)
