"""Timings of the neuron and of whole training steps, side by side with other libraries.

Everything is measured in one process, round by round: in each round every candidate runs once, in random order, so that
what the machine does meanwhile, and what the one before leaves in the caches, meets all of them. What counts are ratios
within a round.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor

from tsbp.gradients import STUDIED
from tsbp.neuron import lif, reference_lif
from tsbp.peers import bench_memory, bench_processes, comparison, conventional, libraries
from tsbp.peers.libraries import jax_functions
from tsbp.runs import evaluation, memory, processes, records, training
from tsbp.runs.config import LARGEST_SEED, Config, OneOf, setting
from tsbp.runs.data import DataSet
from tsbp.runs.settings import TrainingConfig

BYTES_PER_STEP = 24
"""Of a layer in float32, per neuron and step: read I, write a and U; read U and the gradient of a, write that of I."""
BYTES_PER_STEP_IN_HALVES = 16
"""The same in bfloat16: two bytes for all but U."""
REFERENCE = "tsbp full"
"""The candidate that the others are compared with."""
SPIKES_ALONE = " (spikes alone)"
"""Ends the name of a peer that is timed without eq. 5."""
WARM_UP = 2
"""Rounds that are not counted."""
WITH_PROCESSES = 20
"""Rounds of a layer from which on it is timed in other processes too."""
EXAMPLES = 500
"""Random images, as many as a training step may need."""


SHAPES = {"mnist": (1, 28, 28), "nmnist": (2, 34, 34), "cifar10": (3, 32, 32)}
INK = {"mnist": 0.2, "nmnist": 0.02, "cifar10": 1.0}
"""Share of pixels that are not black."""
BENCHMARKS = ("lif", "recurrent", *SHAPES)


class BenchConfig(Config):
    """One benchmark: a layer of neurons alone, or a training step on a data set of random images."""

    kind: ClassVar[str] = "bench"
    argument: ClassVar[str] = "benchmark"

    benchmark: Annotated[
        str, setting("lif or recurrent: a layer; a data set: a training step of its network."), OneOf(BENCHMARKS)
    ]
    time_steps: Annotated[int, setting("Number of time steps T.", ge=1)] = 5
    batch_size: Annotated[int, setting("Examples.", ge=1)] = 128
    neurons: Annotated[int, setting("Per example; of lif and recurrent alone.", ge=1)] = 12288
    precision: Annotated[
        str,
        setting("Of a layer, or of tsbp's training step, where the other libraries' is float32."),
        OneOf(("float32", "bfloat16")),
    ] = "float32"
    threads: Annotated[int, setting("Cores to use.", ge=1, le=1024)] = 1
    repeats: Annotated[int, setting("Rounds; each times every candidate once.", ge=2)] = 15
    device: Annotated[str, setting("auto takes a GPU when there is one."), OneOf(("auto", "cpu", "cuda"))] = "cpu"
    seed: Annotated[int, setting("Decides everything random.", ge=0, le=LARGEST_SEED)] = 0

    @model_validator(mode="after")
    def _images_are_enough(self) -> Self:
        if self.benchmark in SHAPES and self.batch_size > EXAMPLES:
            raise ValueError(f"batch_size must be at most {EXAMPLES}, got {self.batch_size}")
        return self


def run(
    config: BenchConfig,
    progress: Callable[[Iterable], Iterable] = iter,
    others: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure, and return the record (it is not written).

    Args:
        config: what to measure.
        progress: wraps the rounds, for a progress bar.
        others: which of :data:`tsbp.peers.libraries.PEERS` to compare with; None: all that are installed.

    Raises:
        ValueError: a value is out of its range, there is no such device, not enough memory, or an installed library
            computes another neuron than the one it is compared as.
    """
    device = training.resolve_device(config.device)
    _check_memory(config, device)
    config = config.but(device=device.type)
    processes.keep_freed_memory()
    threads = torch.get_num_threads()
    try:
        _use_threads(config.threads)
        found = _found(config, others)
        agreement = {name: comparison.check(peer, device) for name, peer in found.items()}
        candidates, left_out = _candidates(config, found)
        foreign = {f"{name}{end}" for name, peer in found.items() if peer.layer for end in ("", SPIKES_ALONE)}
        measured = candidates.keys() - foreign - {"copy"}  # PyTorch sees its own memory alone
        used = {name: bench_memory.peak_and_kept(candidates[name], device) for name in candidates if name in measured}
        seconds = measure(candidates, config.repeats, device, progress)
    finally:
        torch.set_num_threads(threads)
    copied = 2 * _COPIED[device.type] * 4
    bandwidth = copied / statistics.median(seconds["copy"])
    results: dict[str, Any] = {
        "seconds": seconds,
        "peak_bytes": {name: peak for name, (peak, _) in used.items()},
        "kept_bytes": {name: kept for name, (_, kept) in used.items()},
        "agreement": agreement,
        "left_out": left_out,
        "copy_bandwidth": bandwidth,
        "first_call_seconds": bench_processes.first_call(config.time_steps, device),
        "peer_versions": {peer.package: metadata.version(peer.package) for peer in found.values()},
    }
    if config.benchmark == "lif" and device.type == "cpu" and config.repeats >= WITH_PROCESSES:
        again = config.but(repeats=config.repeats // 2).model_dump()
        results["processes"] = bench_processes.in_processes(again, list(found))
    if config.benchmark == "lif":
        half = config.precision == "bfloat16"
        moved = (BYTES_PER_STEP_IN_HALVES if half else BYTES_PER_STEP) * config.time_steps
        moved *= config.batch_size * config.neurons
        results["floor_fraction"] = {
            name: moved / bandwidth / statistics.median(times) for name, times in seconds.items() if name != "copy"
        }
    return records.new(config, results, device)


def seconds_here(config: BenchConfig, others: Sequence[str], kept: bool) -> dict[str, list[float]]:
    """Seconds of every candidate in this process.

    Args:
        config: what to measure.
        others: which of the peers to compare with.
        kept: whether this process keeps freed memory from now on.
    """
    if kept:
        processes.keep_freed_memory()
    _use_threads(config.threads)
    candidates, _ = _candidates(config, _found(config, others))
    return measure(candidates, config.repeats, torch.device(config.device))


def _use_threads(number: int) -> None:
    """Of PyTorch, and of XLA if it has not computed here yet."""
    torch.set_num_threads(number)
    jax_functions.use_threads(number)


def _found(config: BenchConfig, others: Sequence[str] | None) -> dict[str, libraries.Peer]:
    """The peers to compare with; those in JAX have layers on a CPU alone."""
    return {
        name: peer
        for name, peer in libraries.PEERS.items()
        if (peer.installed if others is None else name in others)
        and (peer.layer is None or (config.benchmark in LAYERS and config.device == "cpu"))
    }


def _candidates(config: BenchConfig, found: dict[str, libraries.Peer]) -> tuple[dict[str, Callable], dict[str, str]]:
    """What is timed, and what is not, with the reason."""
    device = torch.device(config.device)
    candidates = LAYERS.get(config.benchmark, _steps)(config, device, found)
    left_out = _leave_out(candidates)
    candidates["copy"] = _copy(device)
    return candidates, left_out


def _check_memory(config: BenchConfig, device: torch.device) -> None:
    steps, batch, n = config.time_steps, config.batch_size, config.neurons
    if config.benchmark in LAYERS:
        memory.check(f"{batch * n:,} neurons over {steps} time steps", 4 * 4 * steps * batch * n, device)
    if config.benchmark == "recurrent":
        memory.check(f"the weights between {n:,} neurons", 3 * 4 * n**2, device)
    if config.benchmark == "nmnist":
        memory.check(f"{EXAMPLES} recordings of {steps} frames", 4 * EXAMPLES * steps * 2 * 34 * 34, device)


def measure(
    candidates: dict[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, list[float]]:
    """Seconds of every candidate in every round."""
    shuffled = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in progress(range(-WARM_UP, repeats)):
        for name in shuffled.sample(list(candidates), len(candidates)):
            _wait(device)
            started = time.perf_counter()
            result = candidates[name]()
            _wait(device)
            if round_ >= 0:
                seconds[name].append(float(f"{time.perf_counter() - started:.4g}"))
            del result
    return seconds


def _layers(config: BenchConfig, device: torch.device, others: dict[str, libraries.Peer]) -> dict[str, Callable]:
    """Forward and backward of one layer; peers without eq. 5 and with it."""
    constants = dict(tau_m=6.0, temperature=libraries.TEMPERATURE)
    candidates = {f"tsbp {name}": _neuron(constants | {"gradient": name}, compiled=True) for name in STUDIED}
    candidates["tsbp full, uncompiled"] = _neuron(constants, compiled=False)
    for name, peer in others.items():
        if peer.layer is None:
            simulate = peer.build(6.0, 1.0, libraries.TEMPERATURE)
            candidates[name + SPIKES_ALONE] = simulate
            candidates[name] = comparison.with_filter(simulate, tau_s=2.0)
    current, grad = _arriving(config, device)
    calls: dict[str, Callable] = {
        name: _forward_and_backward(neuron, current, grad) for name, neuron in candidates.items()
    }
    for name, peer in others.items():
        if peer.layer:
            for end, tau_s in ((SPIKES_ALONE, None), ("", 2.0)):
                calls[name + end] = peer.layer(current, grad, 6.0, 1.0, libraries.TEMPERATURE, tau_s)
    return calls


def _recurrent(config: BenchConfig, device: torch.device, others: dict[str, libraries.Peer]) -> dict[str, Callable]:
    """Forward and backward of a recurrent layer; the same neuron in plain autograd stands for PyTorch's libraries."""
    current, grad = _arriving(config, device)
    generator = torch.Generator().manual_seed(config.seed + 1)
    weights = torch.randn(config.neurons, config.neurons, generator=generator) * config.neurons**-0.5
    weights = weights.to(current).requires_grad_()

    def candidate(neuron: Callable, **settings) -> Callable[[], tuple[Tensor, ...]]:
        def run() -> tuple[Tensor, ...]:
            psc = neuron(current, recurrent=weights, temperature=libraries.TEMPERATURE, **settings).psc
            return torch.autograd.grad(psc, (current, weights), grad)

        return run

    candidates: dict[str, Callable] = {
        f"tsbp {name}": candidate(lif, gradient=name, spikes=False, compiled=True) for name in STUDIED
    }
    candidates["tsbp full, uncompiled"] = candidate(lif, spikes=False)
    candidates["plain autograd"] = candidate(reference_lif)
    for name, peer in others.items():
        if peer.layer:
            candidates[name] = peer.layer(current, grad, 6.0, 1.0, libraries.TEMPERATURE, 2.0, recurrent=weights)
    return candidates


def _arriving(config: BenchConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """The current of a layer, and the gradient at its psc."""
    generator = torch.Generator().manual_seed(config.seed)
    shape = (config.time_steps, config.batch_size, config.neurons)
    current, grad = (torch.randn(shape, generator=generator) for _ in range(2))
    dtype = getattr(torch, config.precision)
    return (0.7 * current + 0.4).to(device, dtype).requires_grad_(), grad.to(device, dtype)


LAYERS = {"lif": _layers, "recurrent": _recurrent}


def _neuron(settings: dict, compiled: bool) -> Callable[[Tensor], Tensor]:
    return lambda current: lif(current, **settings, spikes=False, potential=False, compiled=compiled).psc


def _forward_and_backward(neuron: Callable[[Tensor], Tensor], current: Tensor, grad: Tensor) -> Callable[[], Tensor]:
    return lambda: torch.autograd.grad(neuron(current), current, grad)[0]


def _steps(config: BenchConfig, device: torch.device, others: dict[str, libraries.Peer]) -> dict[str, Callable]:
    """One update of the weights: batch, forward, loss, backward, optimiser."""
    generator = torch.Generator().manual_seed(config.seed)
    shape = SHAPES[config.benchmark]
    frames = (config.time_steps,) if config.benchmark == "nmnist" else ()
    images = torch.randint(256, (EXAMPLES, *frames, *shape), dtype=torch.uint8, generator=generator)
    images[torch.rand(images.shape, generator=generator) > INK[config.benchmark]] = 0
    if frames:
        images.clamp_(max=1)  # events
    labels = torch.randint(10, (EXAMPLES,), generator=generator)
    dataset = DataSet("random images", images, labels, images[:1], labels[:1], 10)

    def step(gradient: str, compiled: bool, neuron: Callable | None = None) -> Callable[[], float]:
        settings = TrainingConfig.for_dataset(
            config.benchmark,
            gradient=gradient,
            time_steps=config.time_steps,
            batch_size=config.batch_size,
            precision="float32" if neuron else config.precision,
            temperature=libraries.TEMPERATURE,
            schedule="constant",
            lr=1e-9,  # the same work in every round
            device=config.device,
            seed=config.seed,
        )
        network = None
        if neuron:
            network = conventional.ConventionalNetwork(evaluation.build_network(settings, dataset), neuron)
        run = training.Run(training.resolve(settings), dataset, compiled, network)
        batch = torch.arange(config.batch_size)
        return lambda: run.step(batch)

    defaults = TrainingConfig.for_dataset(config.benchmark)
    candidates = {f"tsbp {name}": step(name, compiled=True) for name in STUDIED}
    candidates["tsbp full, uncompiled"] = step("full", compiled=False)
    for name, peer in others.items():
        simulate = peer.build(defaults.tau_m, defaults.threshold, libraries.TEMPERATURE)
        candidates[name] = step(peer.gradient or "full", False, comparison.with_filter(simulate, defaults.tau_s))
    return candidates


def _leave_out(candidates: dict[str, Callable]) -> dict[str, str]:
    """Remove those whose gradient is not finite, and say why: snnTorch's overflows far below the threshold."""
    reasons = {}
    for name, candidate in list(candidates.items()):
        try:
            candidate()
        except FloatingPointError as error:
            del candidates[name]
            reasons[name] = str(error)
    return reasons


_COPIED = {"cpu": 50_000_000, "cuda": 500_000_000}
"""Numbers: more than the caches hold."""


def _copy(device: torch.device) -> Callable[[], Tensor]:
    source = torch.ones(_COPIED[device.type], device=device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
