"""Whether a peer is the neuron of :func:`tsbp.lif`, and how its gradient compares with the study's."""

from collections.abc import Callable

import torch
from torch import Tensor

from tsbp.gradients import STUDIED
from tsbp.neuron import filter_spikes, lif
from tsbp.peers.libraries import TEMPERATURE, Peer
from tsbp.peers.libraries.peer import Simulate

LAGS = 10
"""Time steps over which the growth of a gradient is measured."""


def with_filter(simulate: Simulate, tau_s: float) -> Callable[[Tensor], Tensor]:
    """Current to psc: a peer's spikes through eq. 5."""
    return lambda current: filter_spikes(simulate(current), tau_s)


def gradients(
    peer: Peer,
    time_steps: int = 25,
    neurons: int = 200,
    seed: int = 0,
    device: torch.device | str = "cpu",
    last_alone: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a random gradient at the spikes becomes at a random input current, in float64.

    Args:
        peer: the neuron.
        time_steps: of the current.
        neurons: each with a current of its own.
        seed: decides the current and the gradient at the spikes.
        device: where they are.
        last_alone: whether that gradient arrives at the last time step alone.

    Returns:
        The peer's, and those of :func:`tsbp.lif` for each of the study's gradients.

    Raises:
        ValueError: it is another neuron: its spikes are not those of :func:`tsbp.lif`.
    """
    random = torch.Generator().manual_seed(seed)
    current, grad = torch.randn(2, time_steps, neurons, dtype=torch.float64, generator=random).to(device)
    current = (0.7 * current + 0.4).requires_grad_()
    if last_alone:
        grad[:-1] = 0
    spikes = peer.build(6.0, 1.0, TEMPERATURE)(current)
    ours = {}
    reset = "subtract" if peer.soft_reset else "zero"
    for name in STUDIED:
        mine = lif(current, gradient=name, tau_m=6.0, temperature=TEMPERATURE, reset=reset).spikes
        if mine is None or not torch.equal(spikes, mine):
            raise ValueError(f"the neuron of {peer.package} is not the one compared with: it fires at other times")
        ours[name] = torch.autograd.grad(mine, current, grad)[0]
    return torch.autograd.grad(spikes, current, grad)[0], ours


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two gradients; 0 where one of them is zero."""
    lengths = one.norm() * other.norm()
    return ((one * other).sum() / lengths).item() if lengths else 0.0


def growth(gradient: Tensor) -> float:
    """The factor by which the length of a gradient changes from a time step to the one before it.

    From the slope of its logarithm over the last :data:`LAGS` steps; 0 where nothing goes back at all.

    Args:
        gradient: at the current, ``[T, ...]``, of what arrived at the last step alone.
    """
    lengths = gradient.flatten(1).norm(dim=1).flip(0)[: LAGS + 1]
    reached = int((lengths > 0).cumprod(0).sum())  # with few neurons, none may be left that did not fire
    if reached < 2:
        return 0.0
    lag = torch.arange(reached, dtype=lengths.dtype)
    lag -= lag.mean()
    slope = (lag * lengths[:reached].log().cpu()).sum() / lag.square().sum()
    return slope.exp().item()


def check(peer: Peer, device: torch.device | str = "cpu") -> float:
    """Make sure that a peer computes the gradient that it is compared as.

    Returns:
        The largest difference of the gradients, of values around 1.

    Raises:
        ValueError: it computes another one, or is another neuron.
    """
    if peer.gradient is None:
        raise ValueError(f"the neuron of {peer.package} computes none of the gradients that are compared")
    theirs, ours = gradients(peer, device=device)
    difference = (theirs - ours[peer.gradient]).abs().max().item()
    if difference > peer.tolerance:
        raise ValueError(f"the neuron of {peer.package} is not the one compared with: gradients differ by {difference}")
    return difference
