"""The single neuron of sections 4.1 and 4.2: Table 1, and the experiments of Figures 2 and 3.

One neuron learns to answer fixed random input spikes with a fixed random spike train. Every repeat x learning rate x
gradient is one entry of a batch, so that a whole study is one simulation. Random inputs, targets and initial weights
depend on the seed and the number of the repeat alone: all gradients and learning rates see the same draws, and more
repeats leave the earlier ones as they were.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from tsbp.checks import RESETS
from tsbp.gradients import STUDIED, Factor, resolve
from tsbp.kernels.dispatch import usable
from tsbp.layers import delay
from tsbp.loss import van_rossum_distance
from tsbp.neuron import LIFOutput, filter_spikes, lif
from tsbp.runs import memory
from tsbp.runs.config import LARGEST_SEED, Gradient, OneOf, PluginConfig, setting
from tsbp.runs.optimizers import OPTIMIZERS
from tsbp.surrogate import surrogate_derivative

INITIALISATIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda random, n: random.normal(0, n**-0.5, n),
    "uniform": lambda random, n: random.uniform(-(n**-0.5), n**-0.5, n),
    "positive": lambda random, n: random.uniform(0, 0.05, n),
}
"""Initial weights of a neuron with n inputs. The paper states none; ``positive`` is that of a published precursor of
its code (github.com/superrrpotato/Acc-Timing), ``uniform`` PyTorch's for a linear layer."""


class ToyConfig(PluginConfig):
    """The experiment; the defaults are those of Table 1 and, where it is silent, as said. They never change."""

    kind: ClassVar[str] = "toy"

    gradients: Annotated[
        tuple[Gradient, ...],
        setting("full, leak, spatial, or a number that scales the reset term.", option="gradient", min_length=1),
    ] = STUDIED
    learning_rates: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...],
        setting("Learning rate; the paper's default is 0.005.", option="lr", min_length=1),
    ] = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
    repeats: Annotated[int, setting("Neurons per gradient and learning rate; not stated in the paper.", ge=1)] = 200
    iterations: Annotated[int, setting("Updates of the weights.", ge=1)] = 200
    seed: Annotated[int, setting("Decides everything random.", ge=0, le=LARGEST_SEED)] = 0
    optimizer: Annotated[
        str, setting('The paper\'s "standard BP" is taken as SGD over the whole batch.'), OneOf(OPTIMIZERS)
    ] = "sgd"
    n_inputs: Annotated[int, setting("Input neurons.", ge=1)] = 50
    time_steps: Annotated[int, setting("Number of time steps T.", ge=1)] = 100
    input_probability: Annotated[float, setting("Of a spike of one input neuron at one step.", ge=0, le=1)] = 1 / 10
    target_probability: Annotated[float, setting("Of a target spike at one step.", ge=0, le=1)] = 1 / 20
    tau_m: Annotated[float, setting("Membrane time constant in steps.", ge=1)] = 6.0
    tau_s: Annotated[float, setting("Synaptic time constant in steps.", ge=1, allow_inf_nan=False)] = 2.0
    threshold: Annotated[float, setting("Potential above which the neuron fires.", allow_inf_nan=False)] = 1.0
    temperature: Annotated[
        float, setting("Sigmoid temperature of the surrogate gradient.", gt=0, allow_inf_nan=False)
    ] = 0.3
    synaptic_delay: Annotated[int, setting("Time steps from the input neurons to this one.", ge=0)] = 1
    initialisation: Annotated[str, setting("Distribution of the initial weights."), OneOf(INITIALISATIONS)] = "normal"
    reset: Annotated[
        str, setting("A spike resets the potential to zero, or subtracts the threshold from it."), OneOf(RESETS)
    ] = "zero"
    normalised: Annotated[
        bool, setting("Rescale every gradient to length 1: each update of SGD then has the learning rate's length.")
    ] = False
    dtype: Annotated[str, setting("Of all numbers."), OneOf(("float32", "float64"))] = "float32"

    @model_validator(mode="after")
    def _gradients_are_known(self) -> Self:
        for gradient in self.gradients:
            resolve(gradient)
        return self


@dataclass(frozen=True)
class Draws:
    """What chance decides, for R repeats."""

    input_spikes: Tensor
    """``[R, T, n_inputs]``"""
    target_spikes: Tensor
    """``[T, R]``"""
    weights: Tensor
    """``[R, n_inputs]``"""


@dataclass(frozen=True)
class Iteration:
    """One iteration of all neurons, as an observer of :func:`run` sees it; every array is ``[T, G, L, R]`` for G
    gradients, L learning rates and R repeats. ``A`` to ``D`` are the four phases of the paper's Fig. 2."""

    number: int
    current: Tensor
    output: LIFOutput
    A: Tensor
    """Error of the postsynaptic current, ``a - a_target``: the loss's gradient with respect to a."""
    B: Tensor
    """The error through the synaptic kernel, backwards in time: the gradient at the spikes."""
    C: Tensor
    """Times the surrogate derivative: ``grad_us``, what reaches the potential without going through time."""
    D: Tensor
    """With the gradient through time: ``grad_ut``, the whole gradient at the potential."""


@dataclass(frozen=True)
class ToyResult:
    """Loss curves of a study."""

    config: ToyConfig
    loss: Tensor
    """Loss of every neuron before each update, and after the last: ``[iterations + 1, G, L, R]``."""
    spikes: Tensor
    """Output spikes at the end, ``[T, G, L, R]``."""
    converged: Tensor
    """Iteration from which on the output is the target to the end, spike for spike; -1 for never: ``[G, L, R]``."""
    weights: Tensor
    """At the end, ``[G, L, R, n_inputs]``."""
    draws: Draws = field(repr=False)

    def final_loss(self, gradient: str, learning_rate: float) -> Tensor:
        """Loss after the last update of every repeat, ``[R]``."""
        return self.curves(gradient, learning_rate)[-1]

    def curves(self, gradient: str, learning_rate: float) -> Tensor:
        """Loss curves of every repeat, ``[iterations + 1, R]``."""
        which = self.config.gradients.index(gradient), self.config.learning_rates.index(learning_rate)
        return self.loss[:, *which]

    @property
    def silent(self) -> Tensor:
        """Which neurons do not fire at the end, ``[G, L, R]``."""
        return self.spikes.sum(0) == 0

    @property
    def diverged(self) -> Tensor:
        """Which neurons have a larger loss at the end than at the start, ``[G, L, R]``."""
        return self.loss[-1] > self.loss[0]

    def summary(self) -> dict[str, Any]:
        """What a record keeps, as nested lists: the mean and standard deviation over repeats of every loss curve, and
        the outcome of every repeat, in the order ``[gradient][learning rate]``, to five digits."""

        def rounded(x: Tensor) -> list:
            return np.vectorize(lambda value: float(f"{value:.5g}"))(x.double().cpu().numpy()).tolist()

        return {
            "loss_mean": rounded(self.loss.mean(-1).movedim(0, -1)),
            "loss_std": rounded(self.loss.std(-1, correction=0).movedim(0, -1)),
            "final_loss": rounded(self.loss[-1]),
            "converged": self.converged.tolist(),
            "silent_fraction": rounded(self.silent.double().mean(-1)),
            "diverged_fraction": rounded(self.diverged.double().mean(-1)),
        }


def draw(config: ToyConfig, device: str | torch.device = "cpu") -> Draws:
    """Draw inputs, targets and initial weights of every repeat, from the seed and the number of the repeat alone."""
    input_spikes, target_spikes, weights = [], [], []
    for repeat in range(config.repeats):
        random = np.random.default_rng([config.seed, repeat])
        input_spikes.append(random.random((config.time_steps, config.n_inputs)) < config.input_probability)
        target_spikes.append(random.random(config.time_steps) < config.target_probability)
        weights.append(INITIALISATIONS[config.initialisation](random, config.n_inputs))

    def tensor(x: list, axis: int = 0) -> Tensor:
        return torch.as_tensor(np.stack(x, axis), dtype=getattr(torch, config.dtype), device=device)

    return Draws(tensor(input_spikes), tensor(target_spikes, axis=1), tensor(weights))


def run(
    config: ToyConfig,
    *,
    device: str | torch.device = "cpu",
    observer: Callable[[Iteration], None] | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> ToyResult:
    """Train every neuron of a study at once.

    Args:
        config: the study.
        device: where to run it.
        observer: called with every :class:`Iteration`.
        progress: wraps the range of iterations, as ``tqdm`` does.

    Raises:
        ValueError: it does not fit into memory.
        FloatingPointError: a loss became NaN or infinite.
    """
    _check_memory(config, torch.device(device))
    draws = draw(config, device)
    shape = (len(config.gradients), len(config.learning_rates), config.repeats)
    neuron = neuron_settings(config) | {"gradient": _side_by_side(config.gradients)}
    inputs = input_psc(draws, config)
    target_spikes = draws.target_spikes[:, None, None, :].expand(-1, *shape)
    target_psc = filter_spikes(draws.target_spikes, config.tau_s)[:, None, None, :]

    # One parameter a learning rate, [R, n_inputs, G], so that the library's optimiser serves them all.
    initial = draws.weights[:, :, None].expand(-1, -1, shape[0])
    weights = [initial.clone().requires_grad_() for _ in config.learning_rates]
    optimizer = OPTIMIZERS[config.optimizer](
        [{"params": [w], "lr": rate} for w, rate in zip(weights, config.learning_rates, strict=True)]
    )

    def simulate() -> tuple[Tensor, LIFOutput, Tensor, Tensor]:
        current = torch.bmm(inputs, torch.cat(weights, dim=2))  # [R, T, L·G]
        current = current.unflatten(2, (shape[1], shape[0])).permute(1, 3, 2, 0)  # [T, G, L, R]
        output = lif(current, **neuron)
        loss = van_rossum_distance(output.psc.flatten(1), target_spikes.flatten(1), config.tau_s)
        assert output.spikes is not None  # they were asked for
        return current, output, output.spikes.detach(), loss.view(shape)

    losses = []
    last_wrong = torch.full(shape, -1, device=device)
    for number in progress(range(config.iterations)):
        current, output, spikes, loss = simulate()
        losses.append(loss.detach())
        last_wrong[spikes.ne(target_spikes).any(0)] = number
        optimizer.zero_grad()
        if observer:
            current.retain_grad()
        loss.sum().backward()
        if observer:
            error = (output.psc - target_psc).detach()
            at_spikes = filter_spikes(error.flip(0), config.tau_s).flip(0)  # the kernel of eq. 2, run backwards
            assert output.potential is not None
            surrogate = surrogate_derivative(output.potential - config.threshold, config.temperature)
            through_time = current.grad
            assert through_time is not None  # of the whole loss
            phases = (error, at_spikes, at_spikes * surrogate, through_time)
            detached = LIFOutput(output.psc.detach(), spikes, output.potential, output.state.detach())
            observer(Iteration(number, current.detach(), detached, *phases))
        if config.normalised:
            for w in weights:
                assert w.grad is not None
                w.grad = torch.nn.functional.normalize(w.grad, dim=1)
        optimizer.step()
    with torch.no_grad():
        _, _, spikes, loss = simulate()
    losses.append(loss)
    if not losses[-1].isfinite().all():
        rates = [
            f"{rate:g}"
            for rate, loss in zip(config.learning_rates, loss.unbind(1), strict=True)
            if not loss.isfinite().all()
        ]
        raise FloatingPointError(f"the loss is not finite at the learning rate {', '.join(rates)}")
    wrong_at_end = spikes.ne(target_spikes).any(0)
    converged = torch.where(wrong_at_end, -1, last_wrong + 1)
    at_end = torch.stack(weights).detach().permute(3, 0, 1, 2)
    return ToyResult(config, torch.stack(losses), spikes, converged, at_end, draws)


def _check_memory(config: ToyConfig, device: torch.device) -> None:
    size = 8 if config.dtype == "float64" else 4
    neurons = config.repeats * len(config.gradients) * len(config.learning_rates)
    inputs = config.repeats * config.time_steps * config.n_inputs * size
    said = f"{config.repeats} repeats of {config.n_inputs} inputs over {config.time_steps} time steps"
    memory.check(said, inputs, device)
    memory.check(
        f"{neurons:,} neurons over {config.time_steps} time steps", neurons * config.time_steps * 4 * size, device
    )
    memory.check(
        f"the losses of {neurons:,} neurons over {config.iterations} iterations",
        neurons * config.iterations * size,
        device,
    )


def trace(config: ToyConfig) -> dict[str, Tensor]:
    """Train the first neuron of a study and keep what Fig. 2 shows of every iteration.

    Returns:
        The phases ``A`` to ``D`` and the output ``spikes``, each ``[iterations, T]``; the ``target`` spikes, ``[T]``;
        the iteration at which it ``converged``, ``[1]``.
    """
    first = config.but(gradients=config.gradients[:1], learning_rates=config.learning_rates[:1], repeats=1)
    kept: dict[str, list[Tensor]] = {name: [] for name in ("A", "B", "C", "D", "spikes")}

    def keep(iteration: Iteration) -> None:
        for name in "ABCD":
            kept[name].append(getattr(iteration, name).flatten())
        assert iteration.output.spikes is not None
        kept["spikes"].append(iteration.output.spikes.flatten())

    result = run(first, observer=keep)
    stacked = {name: torch.stack(values) for name, values in kept.items()}
    return stacked | {"target": result.draws.target_spikes[:, 0], "converged": result.converged.flatten()}


def compare_along(config: ToyConfig) -> dict[str, Tensor]:
    """Train with the first gradient and learning rate, and compute all three gradients at the same weights on the way.

    Returns:
        Name → gradient of the loss with respect to the weights, ``[iterations, R, n_inputs]``.
    """
    config = config.but(gradients=config.gradients[:1], learning_rates=config.learning_rates[:1])
    inputs = input_psc(draw(config), config)
    kept: dict[str, list[Tensor]] = {name: [] for name in STUDIED}

    def keep(iteration: Iteration) -> None:
        for name, delta in at_currents(iteration.current, iteration.A, config).items():
            kept[name].append(torch.einsum("rtn,tr->rn", inputs, delta[:, 0, 0]))

    run(config, observer=keep)
    return {name: torch.stack(values) for name, values in kept.items()}


def at_currents(current: Tensor, error: Tensor, config: ToyConfig) -> dict[str, Tensor]:
    """Name → gradient at the currents of neurons, for the error of their psc; all are ``[T, ...]``."""
    compiled = usable(current, subtract=config.reset == "subtract")
    found = {}
    with torch.enable_grad():
        current = current.detach().requires_grad_()
        for name in STUDIED:
            psc = lif(current, **neuron_settings(config), gradient=name, compiled=compiled).psc
            (found[name],) = torch.autograd.grad(psc, current, error)
    return found


def input_psc(draws: Draws, config: ToyConfig) -> Tensor:
    """Postsynaptic currents of the input spikes as they reach the neuron, ``[R, T, n_inputs]``."""
    psc = filter_spikes(draws.input_spikes.movedim(1, 0), config.tau_s)
    return delay(psc, config.synaptic_delay).movedim(0, 1)


def neuron_settings(config: ToyConfig) -> dict[str, Any]:
    """The neuron's settings but for its gradient, as :func:`tsbp.lif` takes them."""
    return {name: getattr(config, name) for name in ("tau_m", "tau_s", "threshold", "temperature", "reset")}


def _side_by_side(gradients: Sequence[str]) -> Factor:
    """Several gradients as one factor, each for its part of the first axis of a time step."""
    factors = [resolve(gradient) for gradient in gradients]

    def factor(U: Tensor | float, S: Tensor | float, h: Tensor) -> Tensor:
        U, S = (x if isinstance(x, Tensor) else h.new_tensor(x).expand_as(h) for x in (U, S))
        parts = zip(factors, U, S, h, strict=True)
        return torch.stack([one(u, s, h_now) + torch.zeros_like(h_now) for one, u, s, h_now in parts])

    return factor
