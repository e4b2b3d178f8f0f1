"""The loops of a recurrent layer in C++ and step by step: those of the plain loop, but for rounding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import case, near

from tsbp import GRADIENTS, SURROGATES, lif, scaled
from tsbp.kernels import cpu, recurrent_cpu
from tsbp.neuron import LIFState

GIVEN = ("state", "psc", "spikes", "last", "constant")


@pytest.fixture
def threads():
    """Sets their number for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def check(
    sizes: tuple[int, ...],
    beside: bool,
    given: set[str],
    seed: int = 0,
    dtype=torch.float64,
    tolerance=1e-10,
    **settings,
) -> None:
    """A compiled layer against the plain loop in float64: the same spikes, near values and gradients."""
    steps, *row = sizes
    n = row[-1]
    current, *arriving, state = case(steps, *row, seed=seed, state=True)
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(*(row[-2:-1] if beside else ()), n, n, generator=random, dtype=torch.float64) / n**0.5
    at_last = torch.randn(3, *row, generator=random, dtype=torch.float64)
    # The numbers that both get have the digits of dtype.
    numbers = current[:1] if "constant" in given else current, weights, *(state if "state" in given else ())
    results = []
    for compiled, real in ((False, torch.float64), (True, dtype)):
        inputs = [x.to(dtype).to(real).requires_grad_() for x in numbers]
        before = LIFState(*inputs[2:]) if "state" in given else None
        out = lif(inputs[0], recurrent=inputs[1], state=before, time_steps=steps, compiled=compiled, **settings)
        ends = [(out.psc, arriving[0])] if "psc" in given else []
        ends += [(out.psc, torch.ones((), dtype=torch.float64).expand_as(out.psc))] if "sum" in given else []
        ends += [(out.spikes, arriving[1])] if "spikes" in given else []
        ends += list(zip(out.state, at_last, strict=True)) if "last" in given else []
        values, grads = zip(*ends, strict=True)
        found = torch.autograd.grad(values, inputs, [x.to(dtype).to(real) for x in grads], allow_unused=True)
        results.append(([out.spikes], [out.psc, out.potential, *out.state, *found]))
    for tolerated, expected, found in zip((0, tolerance), *results, strict=True):
        for one, other in zip(expected, found, strict=True):
            assert one is other is None or near(other, one, tolerated)
            assert other is None or other.dtype == dtype


@given(
    st.tuples(st.integers(1, 6), st.integers(0, 7), st.integers(1, 3), st.integers(1, 19)),
    st.booleans(),
    st.sets(st.sampled_from(GIVEN)).filter({"psc", "spikes", "last"}.intersection),
    st.sampled_from([*GRADIENTS, scaled(0.3)]),
    st.sampled_from(["zero", "subtract"]),
    st.booleans(),
    st.integers(1, 5),
)
def test_any_recurrent_layer(needs_a_compiler, sizes, beside, given, gradient, reset, detached, n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        check(sizes, beside, given, gradient=gradient, reset=reset, detach_recurrence=detached)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("sizes", "beside"),
    [
        pytest.param((3, 2, 1), False, id="one neuron"),
        pytest.param((1, 2, 20), False, id="one step"),
        pytest.param((5, 7, 16), False, id="whole lines"),
        pytest.param((6, 13, 100), False, id="a part of a line"),
        pytest.param((3, 1, 600), False, id="many neurons"),
        pytest.param((4, 5, 3, 33), True, id="side by side"),
        pytest.param((4, 33), False, id="no batch"),
        pytest.param((4, 0, 5), False, id="no examples"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_sizes(sizes, beside, dtype, n_threads, needs_a_compiler, threads):
    threads(n_threads)
    tolerance = 1e-10 if dtype is torch.float64 else 1e-5
    for what in ({"state", "psc", "spikes", "last"}, {"sum"}, {"spikes", "constant"}):
        check(sizes, beside, what, dtype=dtype, tolerance=tolerance)


@pytest.mark.parametrize("scale", ["area", "peak"])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates_and_time_constants(surrogate, scale, needs_a_compiler):
    for tau_s, threshold in ((1.0, 1.0), (50.0, 0.3), (2.0, -0.5)):  # below zero, what is not there would fire
        settings = dict(surrogate=surrogate, surrogate_scale=scale, tau_s=tau_s, threshold=threshold)
        check((9, 3, 11), False, {"state", "psc", "last"}, **settings)


def test_what_is_not_finite_stays_in_its_network(needs_a_compiler):
    current, arriving, _ = case(6, 2, 3, 4)
    whole = torch.randn(3, 4, 4, dtype=torch.float64)
    broken = whole.clone()
    broken[1] = torch.nan
    results = []
    for weights in (whole, broken):
        inputs = [x.clone().requires_grad_() for x in (current, weights)]
        psc = lif(inputs[0], recurrent=inputs[1], compiled=True).psc
        of_current, of_weights = torch.autograd.grad(psc, inputs, arriving)
        results.append([psc.movedim(2, 0), of_current.movedim(2, 0), of_weights])
    for expected, found in zip(*results, strict=True):
        assert torch.equal(found[[0, 2]], expected[[0, 2]]) and not torch.equal(found[1], expected[1])


def test_only_what_is_wanted_is_found(needs_a_compiler, monkeypatch):
    asked = []
    backward = recurrent_cpu.backward
    monkeypatch.setattr(recurrent_cpu, "backward", lambda *a: asked.append(backward(*a)) or asked[-1])
    current, arriving, _ = case(4, 2, 3)
    weights = torch.randn(3, 3, dtype=torch.float64)
    leaf = current.requires_grad_()
    (alone,) = torch.autograd.grad(lif(leaf, recurrent=weights, compiled=True).psc, leaf, arriving)
    both = torch.autograd.grad(
        lif(leaf, recurrent=weights.requires_grad_(), compiled=True).psc, (leaf, weights), arriving
    )
    assert torch.equal(alone, both[0]) and both[1].any()
    assert [[x is None for x in found] for found in asked] == [[False, True, True, True], [False, False, True, True]]


def test_the_same_call_gives_the_same_bits(needs_a_compiler, threads):
    current, arriving, _ = case(20, 30, 40)
    inputs = [x.float().requires_grad_() for x in (current, torch.randn(40, 40))]
    for n_threads in (1, 3):
        threads(n_threads)
        found = []
        for _ in range(5):
            psc = lif(inputs[0], recurrent=inputs[1], compiled=True).psc
            found.append((psc, *torch.autograd.grad(psc, inputs, arriving.float())))
        assert all(torch.equal(x, y) for other in found[1:] for x, y in zip(other, found[0], strict=True))


@pytest.mark.parametrize(
    ("examples", "networks", "n_threads", "shares"), [(10, None, 3, 3), (2, None, 3, 2), (10, 2, 3, 2), (10, 4, 3, 1)]
)
def test_every_thread_has_something_to_do(examples, networks, n_threads, shares, monkeypatch):
    monkeypatch.setattr(cpu, "_number_of_threads", lambda: n_threads)
    beside = () if networks is None else (networks,)
    layer = recurrent_cpu._layer(torch.zeros(7, examples, *beside, 5), torch.zeros(*beside, 5, 5))
    assert layer == (7, examples, networks or 1, 5, shares, n_threads)


# --- step by step, as on CUDA -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["full", "spatial"])
@pytest.mark.parametrize("detached", [False, True])
def test_step_by_step(gradient, detached, through_triton):
    settings = dict(gradient=gradient, detach_recurrence=detached)
    check((3, 2, 3), False, {"state", "psc", "spikes", "last"}, **settings)
    check((3, 2, 2, 3), True, {"spikes", "constant"}, **settings)
    check((2, 2, 3), False, {"sum"}, dtype=torch.float32, tolerance=1e-5, **settings)
