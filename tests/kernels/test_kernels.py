"""The compiled kernels against a plain float64 loop of their equations; the memory and the files that they keep."""

import contextlib
import functools
import gc
import itertools
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest
import torch
from torch._subclasses import FakeTensorMode

from tsbp.kernels import cpu, dispatch, library, memory
from tsbp.kernels.dispatch import NAMES, SURROGATES, Constants

PEAKS = {"sigmoid": 1 / 4, "fast-sigmoid": 1 / 2, "arctan": 1 / math.pi, "triangle": 1, "rectangle": 1 / 2}
PEAKS["gaussian"] = 1 / math.sqrt(2 * math.pi)
GRADIENTS = {"spatial": (False, 1.0), "leak": (True, 0.0), "full": (True, 1.0), "scaled": (True, 0.5)}
"""Whether there is a temporal gradient, and the weight c of the reset term."""


# --- the equations, as they stand in DESIGN.md ------------------------------------------------------------------------


def kernel(name: str, x: torch.Tensor) -> torch.Tensor:
    """k of area 1."""
    match name:
        case "sigmoid":
            return torch.exp(-x.abs()) / (1 + torch.exp(-x.abs())) ** 2
        case "fast-sigmoid":
            return 0.5 / (1 + x.abs()) ** 2
        case "arctan":
            return 1 / (math.pi * (1 + x**2))
        case "triangle":
            return (1 - x.abs()).clamp(min=0)
        case "rectangle":
            return torch.where(x.abs() < 1, 0.5, 0.0).to(x.dtype)
        case "gaussian":
            return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def constants(
    surrogate="sigmoid", subtract=False, gradient="full", scale="area", tau_m=6.0, tau_s=2.0, threshold=1.0, width=0.3
) -> Constants:
    temporal, weight = GRADIENTS[gradient]
    height = 1 / width if scale == "area" else 1 / PEAKS[surrogate]
    return Constants(
        1 - 1 / tau_m, 1 - 1 / tau_s, 1 / tau_s, threshold, 1 / width, height, weight, temporal, surrogate, subtract
    )


def plain_forward(current, time_steps, remaining, decayed, c):
    """psc and potential, in the type of the potential."""
    real = torch.float32 if current.dtype == torch.bfloat16 else current.dtype
    zeros = torch.zeros_like(current[0], dtype=real)
    remaining, decayed = (zeros if x is None else x for x in (remaining, decayed))
    psc, potential = [], []
    for current_now in current.expand(time_steps, *current.shape[1:]).to(real):
        u = remaining + current_now
        s = (u > c.threshold).to(real)
        a = decayed + c.gain_s * s
        remaining = c.leak_m * (u - c.threshold * s if c.subtract else u * (1 - s))
        decayed = c.leak_s * a
        psc.append(a), potential.append(u)
    return torch.stack(psc), torch.stack(potential)


def plain_backward(potential, grad_psc, grad_spikes, grad_last, grad_alpha, c):
    """δ, carried and alphas in float64."""
    potential, *given = (None if x is None else x.double() for x in (potential, grad_psc, grad_spikes, grad_last))
    grad_psc, grad_spikes, grad_last = given
    zeros = torch.zeros_like(potential[0])
    carried, alphas = zeros, zeros if grad_alpha is None else grad_alpha.double()
    deltas = []
    for t in reversed(range(len(potential))):
        u = potential[t]
        h = c.height * kernel(c.surrogate, (u - c.threshold) * c.inverse)
        alpha = alphas if grad_psc is None else grad_psc[t] + alphas
        gs = c.gain_s * alpha + (0 if grad_spikes is None else grad_spikes[t])
        if not c.temporal:
            delta = gs * h
        elif c.subtract:
            delta = (gs - c.weight * c.threshold * carried) * h + carried
        else:
            delta = (gs - c.weight * u * carried) * h + carried * (u <= c.threshold)
        if t == len(potential) - 1 and grad_last is not None:
            delta = delta + grad_last
        carried, alphas = c.leak_m * delta, c.leak_s * alpha
        deltas.append(delta)
    return torch.stack(deltas[::-1]), carried, alphas


# --- cases ------------------------------------------------------------------------------------------------------------


def randn(*shape: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_current(*shape: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    """Under which a quarter of all steps spike."""
    return (0.7 * randn(*shape, seed=seed) + 0.4).to(dtype)


def assert_close(fast: torch.Tensor, exact: torch.Tensor, tolerance: float, among: torch.Tensor | None = None) -> None:
    """To a share of the largest value, there or among others."""
    assert fast.shape == exact.shape
    if exact.numel():
        largest = (exact if among is None else among).abs().max()
        assert (fast.double() - exact).abs().max() <= tolerance * largest + 1e-20


TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-6, torch.bfloat16: 2**-8}


def check(
    c: Constants,
    time_steps: int,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    seed: int = 0,
    state: bool = True,
    last: bool = True,
    psc: bool = True,
    spikes: bool = True,
    constant: bool = False,
    tolerance: float | None = None,
    device: str = "cpu",
) -> None:
    """Everything that dispatch.py computes, against the plain loops."""
    real = torch.promote_types(dtype, torch.float32)
    current = random_current(1 if constant else time_steps, *shape, dtype=dtype, seed=seed).to(device)
    before = tuple(randn(*shape, dtype=real, seed=seed + i).to(device) for i in (1, 2)) if state else (None, None)
    kept = [None if x is None else x.clone() for x in before]
    out_psc, potential = dispatch.forward(current, time_steps, *before, c)
    plain_psc, plain_potential = plain_forward(current, time_steps, *before, c)
    assert out_psc.dtype == dtype and torch.equal(out_psc, plain_psc.to(dtype))
    assert potential.dtype == real and torch.equal(potential, plain_potential)

    grad_psc, grad_spikes = (
        randn(time_steps, *shape, dtype=dtype, seed=seed + i).to(device) if given else None
        for i, given in ((3, psc), (4, spikes))
    )
    ends = tuple(randn(*shape, dtype=real, seed=seed + i).to(device) if last else None for i in (5, 6))
    arguments = potential, grad_psc, grad_spikes, *ends
    grad_current, carried, alphas = dispatch.backward(*arguments, constant, dtype, c, state=state)
    deltas, exact_carried, exact_alphas = plain_backward(*arguments, c)
    exact = deltas.sum(0, keepdim=True) if constant else deltas
    assert grad_current.dtype == dtype
    assert_close(grad_current, exact, tolerance or TOLERANCES[dtype] * (4 if constant else 1))
    if state:
        assert alphas.dtype == real
        assert_close(alphas, exact_alphas, TOLERANCES[real])
        if c.temporal:
            assert_close(carried, exact_carried, TOLERANCES[real], among=deltas)
    assert (carried is None) == (not state or not c.temporal) and (alphas is None) == (not state)
    for result in (out_psc, potential, grad_current):
        assert result.is_contiguous() and not result._is_view()
    assert all(x is y is None or torch.equal(x, y) for x, y in zip(before, kept, strict=True)), (
        "inputs are not modified"
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the loops on the CPU ---------------------------------------------------------------------------------------------

NEURONS, STEPS = (0, 1, 5, 16, 17, 1000), (1, 5, 30, 100)
FLAGS = ("state", "last", "psc", "spikes", "constant")


@pytest.mark.parametrize("subtract", [False, True], ids=["zero", "subtract"])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_kernel_is_the_plain_loop(surrogate, subtract, needs_a_compiler):
    choose = random.Random(f"{surrogate} {subtract}")
    dtypes = (
        (torch.float64,) if subtract and surrogate not in ("sigmoid", "gaussian") else (torch.float64, torch.float32)
    )
    for dtype, n, steps in itertools.product(dtypes, NEURONS, STEPS):
        scale = choose.choice(["area", "peak"])
        flags = {flag: choose.random() < 0.5 for flag in FLAGS}
        width = 0.3 if steps < 30 else 1.0  # where a narrow one lets the gradient grow beyond float32
        for gradient in GRADIENTS if n == 5 else choose.sample(list(GRADIENTS), 1):
            check(constants(surrogate, subtract, gradient, scale, width=width), steps, (n,), dtype, seed=steps, **flags)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_combination_of_what_arrives(gradient, needs_a_compiler):
    for flags in itertools.product((False, True), repeat=len(FLAGS)):
        for n in (5, 33):
            check(constants(gradient=gradient), 7, (n,), torch.float64, **dict(zip(FLAGS, flags, strict=True)))


@pytest.mark.parametrize(
    "options",
    [
        dict(tau_m=1.0, tau_s=1.0, threshold=0.2, width=2.0),
        dict(tau_m=math.inf, tau_s=5.0, width=0.05),
        dict(threshold=-0.5, tau_s=50.0),
    ],
)
def test_any_constants(options, needs_a_compiler):
    for gradient, subtract in itertools.product(GRADIENTS, (False, True)):
        c = constants("sigmoid", subtract, gradient, **options)
        check(c, 30, (77,), torch.float64, constant=False)
        check(c, 30, (77,), torch.float32, constant=False)


@pytest.mark.parametrize("n", [7, 8, 15, 31, 511, 512, 513, 519, 520, 527, 528, 529, 1039, 1040, 1041])
def test_sizes_around_registers_and_blocks(n, needs_a_compiler):
    for dtype in NAMES:
        check(constants(), 3, (n,), dtype)


@pytest.mark.parametrize("shape", [(64, 4096), (64, 4097), (100_000,), (100_001,)])
@pytest.mark.parametrize("dtype", NAMES)
def test_large_layers_are_written_past_the_caches(shape, dtype, needs_a_compiler):
    for constant, last in ((False, False), (False, True), (True, False)):
        check(constants(), 12, shape, dtype, state=last, last=last, constant=constant)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_bfloat16_is_the_float32_neuron_between_rounded_numbers(gradient, needs_a_compiler):
    for n, subtract in ((3, False), (33, True)):
        c = constants(gradient=gradient, subtract=subtract)
        check(c, 9, (n,), torch.bfloat16)
        _, potential = dispatch.forward(random_current(9, n, dtype=torch.bfloat16), 9, None, None, c)
        grad_psc = randn(9, n, dtype=torch.bfloat16)
        rounded, whole = (
            dispatch.backward(potential, grad_psc.to(dtype), None, None, None, False, dtype, c)[0]
            for dtype in (torch.bfloat16, torch.float32)
        )
        assert torch.equal(rounded, whole.bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_number_of_threads_gives_the_same_bits(dtype, needs_a_compiler):
    c = constants()
    results = []
    for n in (40, 600, 300_000):
        current, grad = random_current(5, n, dtype=dtype), randn(5, n, dtype=dtype, seed=1)
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            psc, potential = dispatch.forward(current, 5, None, None, c)
            backward = dispatch.backward(potential, grad, None, None, None, False, dtype, c, state=True)
            results.append((psc, potential, *backward))
        torch.set_num_threads(1)
        assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))
        results.clear()


def test_gradients_of_any_strides_and_types(needs_a_compiler):
    c, shape = constants(), (6, 40, 30)
    _, potential = dispatch.forward(random_current(*shape), 6, None, None, c)
    for grad in (
        torch.ones((), dtype=torch.float64).expand(shape),  # of a sum
        randn(40, 30).expand(shape),  # of a mean over time
        randn(6, 1, 1).expand(shape),
        randn(6, 30, 40).transpose(1, 2),
        randn(12, 40, 30)[::2],
        randn(6, 41, 30)[:, 1:],
        randn(40, 30, 6).permute(2, 0, 1),
        randn(*shape).float(),
        randn(40, 30).float().expand(shape),
        torch.complex(randn(*shape), randn(*shape)).conj().imag,  # negative, and negated only when it is read
    ):
        grad.requires_grad_(grad.is_leaf)
        arguments = (grad, None), (None, grad), (grad, grad)
        for grads in arguments:
            got = dispatch.backward(potential, *grads, None, None, False, torch.float64, c)[0]
            assert_close(got, plain_backward(potential, *grads, None, None, c)[0].detach(), 1e-10)
            assert not got.requires_grad
    current = random_current(30, 6, 40).permute(1, 2, 0)
    for rows in (current, current[::2], random_current(40, 30).expand(6, 40, 30)):
        psc, potential = dispatch.forward(rows, len(rows), randn(30, 40).T, None, c)
        assert all(map(torch.equal, (psc, potential), plain_forward(rows, len(rows), randn(30, 40).T, None, c)))


def test_a_layer_after_it_may_work_in_place(needs_a_compiler):
    class Spiking(torch.autograd.Function):
        @staticmethod
        def forward(ctx, current):
            psc, potential = dispatch.forward(current, len(current), None, None, constants())
            ctx.save_for_backward(potential)
            return psc

        @staticmethod
        def backward(ctx, grad_psc):
            return dispatch.backward(*ctx.saved_tensors, grad_psc, *3 * [None], False, grad_psc.dtype, constants())[0]

    for shape in ((3, 2), (5, 4, 100_000)):
        current = random_current(*shape, dtype=torch.float32).requires_grad_()
        torch.nn.ReLU(inplace=True)(Spiking.apply(current)).sum().backward()
        assert current.grad.abs().sum() > 0


def test_nan_and_infinity_are_those_of_the_plain_loop(needs_a_compiler):
    current = torch.zeros(3, 20)
    current[1, 0], current[1, 3], current[1, 5] = torch.nan, torch.inf, -torch.inf
    for dtype, subtract in itertools.product(NAMES, (False, True)):
        c = constants(subtract=subtract)
        psc, potential = dispatch.forward(current.to(dtype), 3, None, None, c)
        plain = plain_forward(current.to(dtype), 3, None, None, c)
        torch.testing.assert_close((psc.to(potential.dtype), potential), plain, rtol=0, atol=0, equal_nan=True)
        assert potential[1:, 0].isnan().all() and potential[1, 3] == torch.inf and psc[1, 3] == 0.5
    for surrogate in SURROGATES:
        c = constants(surrogate)
        _, potential = dispatch.forward(current, 3, None, None, c)
        got = dispatch.backward(potential, torch.ones(3, 20), None, None, None, False, torch.float32, c)[0]
        assert got[1, 0].isnan() and got[:, 1].isfinite().all()


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_surrogate_far_from_the_threshold(surrogate, needs_a_compiler):
    x = torch.linspace(-30, 30, 241, dtype=torch.float64)
    exact = kernel(surrogate, x)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        c = constants(surrogate, gradient="spatial", threshold=0.0, width=1.0, tau_s=1.0)
        got = dispatch.backward(x[None].to(dtype), torch.ones(1, 241, dtype=dtype), *3 * [None], False, dtype, c)[0][0]
        torch.testing.assert_close(got.double(), exact, rtol=tolerance, atol=1e-37)
        far = torch.full((1, 1), 1e30, dtype=dtype)
        assert dispatch.backward(far, torch.ones_like(far), *3 * [None], False, dtype, c)[0].abs() < 1e-30


def test_tensors_that_do_not_fit_are_refused(needs_a_compiler):
    c, potential = constants(), torch.zeros(3, 20)
    short = torch.zeros(19)
    with pytest.raises(ValueError, match="3 time steps"):
        dispatch.forward(torch.zeros(2, 20), 3, None, None, c)
    with pytest.raises(ValueError, match="20 neurons"):
        dispatch.forward(potential, 3, short, None, c)
    with pytest.raises(ValueError, match=r"\[3, 20\]"):
        dispatch.backward(potential, torch.zeros(3, 19), None, None, None, False, torch.float32, c)
    with pytest.raises(ValueError, match="0 time steps"):
        dispatch.forward(torch.zeros(0, 20), 0, None, None, c)
    with FakeTensorMode(), warnings.catch_warnings(), pytest.raises(ValueError, match="got a FakeTensor"):
        warnings.simplefilter("ignore")
        dispatch.forward(torch.zeros(3, 20), 3, None, None, c)
    assert not dispatch.usable(torch.zeros(1, dtype=torch.float16))
    assert not dispatch.usable(torch.zeros(1, device="meta"))
    assert not dispatch.usable(torch.zeros(1), "unheard-of")


# --- the loops on a CUDA device ---------------------------------------------------------------------------------------

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@needs_cuda
@pytest.mark.parametrize("subtract", [False, True], ids=["zero", "subtract"])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_cuda_is_the_plain_loop(surrogate, subtract):
    choose = random.Random(f"{surrogate} {subtract}")
    for dtype in NAMES:
        flags = {flag: choose.random() < 0.5 for flag in FLAGS}
        c = constants(surrogate, subtract, choose.choice(list(GRADIENTS)), choose.choice(["area", "peak"]), width=1.0)
        for steps, shape in ((1, (1,)), (5, (3, 17)), (30, (4099,)), (5, (0,))):
            check(c, steps, shape, dtype, device="cuda", **flags)


def check_steps(c: Constants, time_steps: int, n: int, dtype: torch.dtype, device: str) -> None:
    real = torch.promote_types(dtype, torch.float32)
    current, grad_psc, grad_spikes = (random_current(time_steps, n, dtype=dtype, seed=i).to(device) for i in range(3))
    remaining, decayed, grad_last, grad_alpha = (randn(n, dtype=real, seed=i).to(device) for i in range(4))
    psc, potential = dispatch.forward(current, time_steps, remaining, decayed, c)
    whole = dispatch.backward(potential, grad_psc, grad_spikes, grad_last, grad_alpha, False, dtype, c, state=True)

    psc_rows, potential_rows, grad_rows = torch.empty_like(psc), torch.empty_like(potential), torch.empty_like(psc)
    step = dispatch.stepper(dtype, c)
    remaining, decayed = remaining.clone(), decayed.clone()
    for t in range(time_steps):
        step.forward(current[t], psc_rows[t], potential_rows[t], remaining, decayed)
    assert torch.equal(psc_rows, psc) and torch.equal(potential_rows, potential)
    carried, alphas = torch.zeros_like(grad_alpha) if c.temporal else None, grad_alpha.clone()
    for t in reversed(range(time_steps)):
        last = grad_last if t == time_steps - 1 else None
        step.backward(potential[t], grad_psc[t], grad_spikes[t], last, grad_rows[t], carried, alphas)
    assert torch.equal(grad_rows, whole[0]) and torch.equal(alphas, whole[2])
    assert carried is None or torch.equal(carried, whole[1])


@needs_cuda
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_cuda_steps_are_the_whole(gradient):
    for dtype, n in itertools.product(NAMES, (0, 1, 1000)):
        check_steps(constants(gradient=gradient), 4, n, dtype, "cuda")


@needs_cuda
def test_a_large_layer_on_cuda():
    check(constants(), 5, (2_000_000,), torch.float32, device="cuda", state=False, last=False, spikes=False)
    # Places in memory beyond what 32 bits can count.
    current = torch.randn(1, 2_000_000, device="cuda").bfloat16()
    psc, potential = dispatch.forward(current, 1100, None, None, constants())
    last = slice(-1000, None)
    assert all(
        map(
            torch.equal,
            (psc[:, last], potential[:, last]),
            dispatch.forward(current[:, last], 1100, None, None, constants()),
        )
    )
    arguments = None, None, None, False, torch.bfloat16, constants()
    gradient = dispatch.backward(potential, psc, *arguments)[0][:, last]
    assert torch.equal(gradient, dispatch.backward(potential[:, last].contiguous(), psc[:, last], *arguments)[0])


# --- memory that is kept ----------------------------------------------------------------------------------------------

MIB = 1 << 20


@pytest.fixture
def pool(monkeypatch):
    pool = memory.Pool()
    monkeypatch.setattr(memory, "POOL", pool)
    return pool


def array(mib: int, dtype=torch.float32) -> torch.Tensor:
    return memory.empty((mib, MIB // dtype.itemsize), dtype, torch.device("cpu"))


def test_a_block_comes_back_when_the_last_tensor_in_it_dies(pool):
    first = array(3)
    address, view = first.data_ptr(), first[1]
    del first
    assert pool.in_use == 3 * MIB and pool.free == 0
    del view
    assert pool.in_use == 0 and pool.free == 3 * MIB
    again = array(3, torch.bfloat16)
    assert again.data_ptr() == address and again.shape == (3, MIB // 2) and again.dtype == torch.bfloat16
    assert not again._is_view() and again.is_contiguous() and again.is_leaf and again.storage_offset() == 0
    again.fill_(1.5)
    assert again.float().mean() == 1.5


def test_small_arrays_come_from_pytorch(pool):
    small = memory.empty((1000, 2), torch.float32, torch.device("cpu"))
    assert small.shape == (1000, 2) and pool.in_use == 0
    assert memory.empty((0, 5), torch.float64, torch.device("cpu")).shape == (0, 5)
    assert memory.empty((), torch.float64, torch.device("cpu")).shape == ()


def test_what_is_free_never_exceeds_what_was_once_in_use(pool):
    choose, held = random.Random(0), []
    for _ in range(400):
        held.append(array(choose.randint(1, 12)))
        while len(held) > choose.randint(0, 4):
            held.pop(choose.randrange(len(held)))
        assert pool.free <= pool.most_in_use
    assert pool.most_in_use <= 5 * 14 * MIB
    held.clear()
    assert pool.in_use == 0 and 0 < pool.free <= pool.most_in_use
    memory.release()
    assert pool.free == pool.most_in_use == 0


def test_batches_of_varying_size_share_their_blocks(pool):
    for mib in (64, 61, 64, 50, 64, 40, 63):
        held = [array(mib) for _ in range(3)]
        assert pool.in_use == 3 * 64 * MIB and pool.free == 0
        held.clear()


def test_a_small_array_does_not_take_a_large_block(pool):
    del (large := [array(40)])[:]
    small = array(4)
    assert pool.free == 40 * MIB and pool.in_use == 4 * MIB and not large
    del small


def test_without_memory_pytorch_says_so(pool, monkeypatch):
    def fail(size):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(memory, "_mapped", fail)
    assert array(2).shape[0] == 2  # from PyTorch
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="memory"):
        memory.empty((1 << 46,), torch.float64, torch.device("cpu"))


def test_threads_never_share_a_block(pool):
    wrong = []

    def work(number: int) -> None:
        choose, held = random.Random(number), []
        for _ in range(60):
            x = array(choose.randint(1, 3))
            x[:, ::997] = number
            held.append(x)
            if len(held) > 3:
                held.pop(choose.randrange(4))
            if not all((y[:, ::997] == number).all() for y in held):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and pool.in_use == 0


def test_a_tensor_that_dies_in_the_garbage_collector_while_the_pool_is_locked(pool):
    class Cycle:
        def __init__(self):
            self.me, self.tensor = self, array(2)

    Cycle()
    with pool.lock:
        gc.collect()
        assert pool.in_use == 2 * MIB, "not waited for"
    array(1)
    assert pool.in_use == 0 and pool.free == 2 * MIB


def test_gradients_return_to_the_pool(pool, needs_a_compiler):
    c = constants()
    for _ in range(3):
        psc, potential = dispatch.forward(random_current(4, 300_000, dtype=torch.float32), 4, None, None, c)
        grads = dispatch.backward(potential, psc.expand_as(psc), None, None, None, False, torch.float32, c, state=True)
        assert pool.in_use > 0
        del psc, potential, grads
        assert pool.in_use == 0
    memory.release()


def python(script: str, timeout=60, **environment: str) -> subprocess.CompletedProcess:
    """A process of its own, whose standard error must be empty."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    run = subprocess.run(command, env=os.environ | environment, timeout=timeout, capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr, run.stderr
    return run


def test_a_forked_process_has_memory_of_its_own_and_one_thread(needs_a_compiler):
    run = python(
        """
        import os, sys, threading, time, torch
        from tsbp.kernels import cpu, dispatch, memory

        assert "triton" not in sys.modules, "takes time, and is for CUDA alone"
        torch.set_num_threads(2)
        c = dispatch.Constants(5 / 6, 0.5, 0.5, 1.0, 3.0, 3.0, 1.0, True, "sigmoid", False)
        current = torch.rand(5, 200_000)
        psc, potential = dispatch.forward(current, 5, None, None, c)  # on two threads, which the child has not
        free = torch.rand(3)
        del potential
        held = memory.POOL.free
        child = os.fork()
        if not child:
            torch.set_num_threads(2)
            assert memory.POOL.free == 0 and cpu._number_of_threads() == 1
            again, _ = dispatch.forward(current, 5, None, None, c)
            same = bytes(again.numpy().data) == bytes(psc.numpy().data)
            psc.numpy()[:] = 7
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert held and memory.POOL.free == held and psc.max() < 7, "written by the child"
        kept = psc  # a tensor and a thread with one that are alive when the interpreter ends
        threading.Thread(target=lambda tensor: time.sleep(60), args=[psc], daemon=True).start()
        print("done")
        """
    )
    assert run.stdout == "done\n"


# --- libraries that are kept ------------------------------------------------------------------------------------------


@pytest.fixture
def compilers(monkeypatch, tmp_path):
    """Makes compilers from shell scripts, and starts with an empty cache folder, as a new process does."""

    def make(script: str, name: str = "compiler") -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return str(path)

    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler")
    make.calls = lambda: (tmp_path / "calls").read_text().count("\n") if (tmp_path / "calls").exists() else 0
    make.count = f"echo >> {tmp_path}/calls"
    make.working = f'{make.count}\nexec c++ "$@" -O0'  # in a quarter of the time
    make.cache = tmp_path / "cache" / "kernels"
    monkeypatch.setenv("TSBP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(cpu, "kernel", functools.lru_cache(cpu.Kernel))
    library.forget()
    yield make
    monkeypatch.undo()
    library.forget()


C = constants("rectangle")
WARNING = "C[+][+] kernel unavailable; continuing with the slower loop: "


def loads() -> bool:
    """As a new process would."""
    library.forget()
    cpu.kernel.cache_clear()
    if dispatch.usable(torch.zeros(1), "rectangle"):
        check(C, 3, (20,), torch.float32)
        return True
    return False


def test_a_library_is_compiled_once_for_all_processes(compilers):
    compilers(compilers.working)
    script = """
        import torch, tsbp.kernels.dispatch as dispatch
        assert dispatch.usable(torch.zeros(1), "rectangle")
    """
    first = [threading.Thread(target=python, args=(script,)) for _ in range(2)]
    for thread in first:
        thread.start()
    for thread in first:
        thread.join()
    assert compilers.calls() in (1, 2)
    assert [path.suffix for path in compilers.cache.iterdir()] == [".so"], "one library, and nothing else is left"
    before = compilers.calls()
    assert loads() and compilers.calls() == before, "this process has not compiled"
    assert dispatch.usable(torch.zeros(1), "rectangle", subtract=True) and compilers.calls() == before + 1


@pytest.mark.parametrize("damage", ["cut off", "foreign", "not ours"])
def test_a_file_that_is_not_the_library_is_replaced(compilers, damage, monkeypatch):
    compilers(compilers.working)
    assert loads()
    (path,) = compilers.cache.iterdir()
    content = path.read_bytes()
    other = {"cut off": content[: len(content) // 2], "foreign": b"\x7fELF" + bytes(5000)}
    with open(path, "r+b") as file:  # in place: a library in use must survive what is done to its name, not this
        file.truncate()
    os.unlink(path)
    path.write_bytes(other.get(damage, content))
    if damage == "not ours":
        if os.getuid() == 0:
            os.chown(path, 12345, -1)
        else:
            monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert loads() and compilers.calls() == 2
    assert path.read_bytes() == content


def test_an_upgraded_compiler_compiles_anew(compilers):
    path = compilers(compilers.working)
    assert loads() and loads() and compilers.calls() == 1
    os.utime(path, (1, 1))
    assert loads() and compilers.calls() == 2


@pytest.mark.parametrize("folder", ["below a file", "no home"])
def test_a_cache_folder_is_not_needed(compilers, folder, monkeypatch, tmp_path):
    compilers(compilers.working)
    (tmp_path / "file").write_text("")
    if folder == "no home":
        monkeypatch.delenv("TSBP_CACHE"), monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        assert library._folder() is None
    else:
        monkeypatch.setenv("TSBP_CACHE", str(tmp_path / "file" / "below"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loads() and loads() and compilers.calls() == 2


def test_the_cache_folder_is_the_users(compilers, monkeypatch, tmp_path):
    monkeypatch.delenv("TSBP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert library._folder() == tmp_path / "xdg" / "tsbp" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert library._folder() == tmp_path / ".cache" / "tsbp" / "kernels"


@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000 & wait",
        "kill -STOP $$",
        "trap '' TERM INT HUP; while :; do sleep 1000; done",
        "cat; sleep 1000",
    ],
    ids=["waits", "is stopped", "ignores signals", "reads"],
)
def test_a_compiler_that_hangs_is_stopped(compilers, monkeypatch, tmp_path, script):
    compilers(f"echo $$ > {tmp_path}/pid\n{script}")
    monkeypatch.setattr(library, "TIME_LIMIT", 0.3)
    started = time.monotonic()
    with pytest.warns(UserWarning, match=f"{WARNING}.*compiler did not end within 0.3 seconds"):
        assert not loads()
    assert time.monotonic() - started < 5
    group = int((tmp_path / "pid").read_text())
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("what the compiler started is still there")


def test_a_compiler_that_fails_is_told_about_once(compilers):
    compilers("echo 'note: hm' >&2\necho 'cpu.cpp:1: error: bad day' >&2\nexit 1")
    with pytest.warns(UserWarning, match=f"{WARNING}cpu.cpp:1: error: bad day"):
        assert not loads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for surrogate in SURROGATES:
            assert not dispatch.usable(torch.zeros(1, dtype=torch.float64), surrogate)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("/no/such/compiler", ".*No such file.*/no/such/compiler"),
        ("g++ 'unbalanced", "No closing quotation"),
        ("false", "false ended with 1"),
    ],
)
def test_no_such_compiler(compilers, monkeypatch, given, reason):
    monkeypatch.setenv("CXX", given)
    with pytest.warns(UserWarning, match=WARNING + reason):
        assert not loads()


def test_no_compiler_at_all(compilers, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(UserWarning, match=f"{WARNING}there is no C[+][+] compiler"):
        assert not loads()


def test_a_compiler_may_have_a_space_in_its_path_or_arguments(compilers, monkeypatch, tmp_path):
    path = compilers(compilers.working, name="my compiler")
    assert loads() and compilers.calls() == 1
    wrapper = compilers(f'{compilers.count}\nexec "$@"', name="wrapper")
    monkeypatch.setenv("CXX", f"'{wrapper}' '{path}' -DUNUSED")
    assert loads() and compilers.calls() == 3


def test_what_a_compiler_leaves_running_is_not_waited_for(compilers, tmp_path):
    """Nor does it hang when that keeps the standard error open."""
    compilers(f"sleep 1000 & echo $! > {tmp_path}/pid\n{compilers.working}")
    try:
        assert loads() and compilers.calls() == 1
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_the_name_of_a_compiler_need_not_be_text(compilers, monkeypatch, tmp_path):
    path = compilers(compilers.working)
    other = os.path.join(os.fsencode(tmp_path), b"c\xff++")
    try:
        os.rename(path, other)
    except OSError:
        pytest.skip("the file system takes text only")
    monkeypatch.setenv("CXX", os.fsdecode(other))
    assert loads() and compilers.calls() == 1


def test_a_compiler_without_openmp_will_do(compilers):
    compilers(f'{compilers.count}\ncase "$*" in *-fopenmp*) echo unknown flag >&2; exit 1;; esac\nexec c++ "$@"')
    assert loads() and loads() and compilers.calls() == 2


def test_threads_compile_once(compilers):
    compilers(compilers.working)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(dispatch.usable(torch.zeros(1), "rectangle"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == 8 * [True] and compilers.calls() == 1


# --- Triton, which CUDA uses; its interpreter runs on the CPU ---------------------------------------------------------


@pytest.mark.parametrize("subtract", [False, True], ids=["zero", "subtract"])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_triton_is_the_plain_loop(surrogate, subtract, through_triton):
    check(constants(surrogate, subtract, "scaled", "peak"), 3, (9,), torch.float64)
    check(constants(surrogate, subtract, "full"), 2, (5,), torch.float32, state=False, last=False, spikes=False)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_triton_takes_what_arrives(gradient, through_triton):
    for state, last, psc, spikes, constant in ((1, 0, 0, 1, 1), (0, 1, 1, 0, 0), (1, 1, 0, 0, 0), (0, 0, 1, 1, 1)):
        check(constants(gradient=gradient), 2, (3,), torch.float64, 0, state, last, psc, spikes, constant)


@pytest.mark.parametrize("dtype", NAMES)
def test_triton_steps_are_the_whole(dtype, through_triton):
    check_steps(constants(), 2, 9, dtype, "cpu")
    check_steps(constants(gradient="spatial", subtract=True), 2, 9, dtype, "cpu")
    check_steps(constants(gradient="leak"), 2, 0, dtype, "cpu")


def test_triton_steps_refuse_rows_that_they_cannot_write(through_triton):
    row = torch.zeros(20)
    for wrong in (row[:19], row.double(), torch.zeros(40)[::2], None):
        with pytest.raises(ValueError, match="contiguous row of 20 neurons"):
            dispatch.stepper(torch.float32, constants()).forward(row, row, row, wrong, row)


def test_triton_rounds_bfloat16_and_reads_rows_where_they_are(through_triton):
    check(constants(), 3, (2, 3), torch.bfloat16, state=False, tolerance=2**-7)  # the interpreter cuts digits off
    check(constants(), 3, (0,), torch.bfloat16)
    c = constants()
    _, potential = dispatch.forward(random_current(3, 10), 3, None, None, c)
    for grad in (torch.ones((), dtype=torch.float64).expand(3, 10), randn(6, 10)[::2]):
        got = dispatch.backward(potential, grad, grad, None, None, False, torch.float64, c)[0]
        assert_close(got, plain_backward(potential, grad, grad, None, None, c)[0], 1e-10)


def test_without_triton_there_is_a_warning(monkeypatch):
    monkeypatch.setattr(dispatch, "in_c", lambda device: False)
    monkeypatch.setattr(dispatch, "_import_cuda", functools.cache(dispatch._import_cuda.__wrapped__))
    monkeypatch.setitem(sys.modules, "tsbp.kernels.cuda", None)
    with contextlib.suppress(AttributeError):
        monkeypatch.delattr("tsbp.kernels.cuda")
    with pytest.warns(UserWarning, match="CUDA kernel unavailable; continuing with the slower loop"):
        assert not dispatch.usable(torch.zeros(1))
    assert not dispatch.usable(torch.zeros(1))
