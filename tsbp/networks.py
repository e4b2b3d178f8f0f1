"""Networks in the notation of the paper's Table 3, built from layers of leaky integrate-and-fire neurons.

``15C5-P2-40C5-P2-300`` reads: 15 channels of 5x5 convolution, pooling by 2, 40 channels of 5x5 convolution, pooling by
2, 300 neurons; the output layer is added. Every convolution and linear layer is followed by :func:`tsbp.lif`, the
output layer included. A layer handles all time steps at once, so that a convolution sees ``T · B`` images.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsbp.neuron import HALF, LIF

TABLE_3 = {
    "nmnist": "12C5-P2-64C5-P2",
    "mnist": "15C5-P2-40C5-P2-300",
    "cifar10": "96C3-256C3-P2-384C3-P2-384C3-256C3-1024-1024",
}
"""The networks of the paper's Table 3 by data set, without their output layer."""

POOLING = ("average", "max", "sum")
SUM_GAIN = 1.1
"""Factor on the sum over a pooling window, as in the published code of TSSL-BP."""
INITIALISATIONS = ("pytorch", "tssl-bp")


def depth(spec: str) -> int:
    """Layers of neurons of a network in the notation of Table 3, the output layer included."""
    return 1 + sum(not part.startswith("P") for part in spec.split("-"))


class SpikingLayer(nn.Module):
    """Weights, an optional synaptic delay, and LIF neurons: ``I = W a``, then eq. 3-5.

    Args:
        weights: a convolution, or a linear layer (whose input is flattened), without bias.
        neuron: the neurons' settings.
        time_steps: number of time steps; an input of a single step is a constant one, whose current is computed once.
        synaptic_delay: steps that a postsynaptic current takes to the next membrane.
        readout: whether this is the output layer, which keeps float32 under autocast so that the loss does too.
    """

    def __init__(
        self, weights: nn.Module, neuron: LIF, time_steps: int, synaptic_delay: int = 0, readout: bool = False
    ) -> None:
        super().__init__()
        self.weights = weights
        self.neuron = neuron
        self.time_steps = time_steps
        self.synaptic_delay = synaptic_delay
        self.readout = readout

    def forward(self, psc: Tensor) -> Tensor:
        """``[T or 1, B, ...]`` → the layer's own postsynaptic current, ``[T, B, ...]``."""
        if isinstance(self.weights, nn.Linear):
            current = self.weights(psc.flatten(2))
        else:
            # The neurons work in the order in which a channels-last convolution lays out its result.
            current = over_time(self.weights, psc).movedim(2, -1)
        if self.synaptic_delay:
            current = delay(current.expand(self.time_steps, *current.shape[1:]), self.synaptic_delay)
        if self.readout and current.dtype in HALF:
            current = current.float()
        psc = self.neuron(current, self.time_steps)
        return psc if isinstance(self.weights, nn.Linear) else psc.movedim(-1, 2)


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
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
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
    """Leave out some neurons of every example while training: the same ones at all time steps."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, psc: Tensor) -> Tensor:
        return psc * functional.dropout(torch.ones_like(psc[0]), self.share, self.training)


class SpikingNetwork(nn.Module):
    """A feed-forward spiking network; :meth:`from_spec` builds one from the notation of Table 3.

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
        **neuron,
    ) -> "SpikingNetwork":
        """Build a network from its description.

        Args:
            spec: tokens joined by ``-``: ``15C5`` a convolution with 15 channels and a 5x5 kernel, ``P2`` pooling by 2,
                ``300`` a linear layer of 300 neurons. The output layer of ``n_classes`` neurons is added. No layer has
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
            **neuron: keyword arguments of :func:`tsbp.lif`.

        Raises:
            ValueError: a token that is not in the notation, a feature map that shrinks to nothing, or a setting out of
                range.
        """
        if time_steps < 1:
            raise ValueError(f"time_steps must be at least 1, got {time_steps}")
        if synaptic_delay < 0:
            raise ValueError(f"synaptic_delay must be 0 or more time steps, got {synaptic_delay}")
        if pooling not in POOLING:
            raise ValueError(f"pooling must be one of {', '.join(POOLING)}, got {pooling!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {dropout}")
        if initialisation not in INITIALISATIONS:
            raise ValueError(f"initialisation must be one of {', '.join(INITIALISATIONS)}, got {initialisation!r}")

        layers: list[nn.Module] = []
        shape = torch.Size(in_shape)
        tokens = [*spec.split("-"), str(n_classes)]
        paddings = iter(_paddings(padding, spec))
        for i, token in enumerate(tokens):
            channels, kind, size = _parse(token, spec)
            if kind == "P":
                layers.append(Pooling(pooling, size))
            else:
                if kind == "C" and len(shape) == 1:
                    raise ValueError(f"network token {token!r} in {spec!r}: a convolution cannot follow a linear layer")
                weights = (
                    nn.Conv2d(shape[0], channels, size, padding=next(paddings), bias=False)
                    if kind == "C"
                    else nn.Linear(shape.numel(), channels, bias=False)
                )
                readout = i == len(tokens) - 1
                layers.append(SpikingLayer(weights, LIF(**neuron), time_steps, synaptic_delay, readout))
            shape = _shape_after(layers[-1], shape, token, spec)
            if dropout and i < len(tokens) - 1 and not tokens[i + 1].startswith("P"):
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
            Postsynaptic current of the output neurons, ``[T, B, n_classes]``.

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


def over_time(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module for batches ``[N, ...]`` to every step of ``x [T, B, ...]`` at once."""
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def delay(x: Tensor, steps: int) -> Tensor:
    """Shift ``x [T, ...]`` by a number of time steps; zeros come in at the start."""
    if steps == 0:
        return x
    silence = torch.zeros_like(x[:steps])
    return torch.cat([silence, x[:-steps]])


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


def _parse(token: str, spec: str) -> tuple[int, str, int]:
    """``15C5`` → (15, "C", 5), ``P2`` → (0, "P", 2), ``300`` → (300, "", 0)."""
    match = re.fullmatch(r"(?:([1-9]\d*)(?:(C)([1-9]\d*))?)|(?:(P)([1-9]\d*))", token)
    if match is None:
        raise ValueError(
            f"network token {token!r} in {spec!r} is none of 15C5 (convolution), P2 (pooling), 300 (linear layer)"
        )
    channels, convolution, kernel, pool, window = match.groups()
    return int(channels or 0), convolution or pool or "", int(kernel or window or 0)


def _paddings(padding: int | str, spec: str) -> list[int | str]:
    """Padding of each convolution of a network."""
    n = len(re.findall(r"C", spec))
    if padding == "same" or isinstance(padding, int):
        return [padding] * n
    numbers = padding.split(",")
    if not all(number.isdecimal() for number in numbers) or len(numbers) not in (1, n):
        raise ValueError(f"padding must be pixels, same, or {n} numbers joined by commas for {spec!r}, got {padding!r}")
    return [int(number) for number in numbers] * (n if len(numbers) == 1 else 1)


def _shape_after(layer: nn.Module, shape: torch.Size, token: str, spec: str) -> torch.Size:
    """Shape of one step's result, found by a dry run."""
    operation = layer.pool if isinstance(layer, Pooling) else layer.weights
    nothing = torch.zeros(1, *shape)
    try:
        with torch.no_grad():
            return operation(nothing.flatten(1) if isinstance(operation, nn.Linear) else nothing).shape[1:]
    except RuntimeError:
        size = "x".join(map(str, shape))
        raise ValueError(f"network token {token!r} in {spec!r} does not fit its input of {size}") from None
