"""The fast paths against the plain loops and against autograd: every type, size and thread count."""

import functools
import itertools
import math
import shutil
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsbp import GRADIENTS, fused, lif, neuron, reference_lif

CONSTANTS = [
    dict(tau_m=6.0, tau_s=2.0, threshold=1.0, temperature=0.3),
    dict(tau_m=1.0, tau_s=1.0, threshold=0.2, temperature=2.0),
    dict(tau_m=float("inf"), tau_s=5.0, threshold=1.0, temperature=0.05),
]


@pytest.fixture(autouse=True)
def needs_a_compiler():
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler")
    assert fused.kernel() is not None


def random_case(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """A current under which a quarter of all steps spike, and the gradients that arrive at psc and spikes."""
    random = torch.Generator().manual_seed(seed)
    current, grad_psc, grad_spikes = torch.randn(3, *shape, dtype=torch.float64, generator=random)
    return (0.7 * current + 0.4).to(dtype).requires_grad_(), grad_psc.to(dtype), grad_spikes.to(dtype)


def run(neuron, case, **options) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """psc, potential and the gradient of the current."""
    current, *arriving = case
    out = neuron(current, **options)
    outputs = [(x, g) for x, g in zip(out[:2], arriving, strict=True) if x is not None and g is not None]
    (gradient,) = torch.autograd.grad([x for x, _ in outputs], current, [g for _, g in outputs])
    return out.psc, out.potential, gradient


def assert_same(fast, reference, tolerance: float) -> None:
    """The forward pass to the last bit, the gradient to a share of its largest value."""
    assert torch.equal(fast[0], reference[0]) and torch.equal(fast[1], reference[1])
    assert (fast[2] - reference[2]).abs().max() <= tolerance * reference[2].abs().max() + 1e-20


def gradient_in_float64(case, potential, tau_m, tau_s, threshold, temperature, reset_gradient, temporal_gradient):
    """From potentials of any precision: float32 itself loses digits in ``1 - σ`` far above a steep threshold."""
    constants = neuron._Settings(
        1 - 1 / tau_m, 1 - 1 / tau_s, 1 / tau_s, threshold, temperature, float(reset_gradient), temporal_gradient,
        soft_reset=False, relaxed=False,
    )  # fmt: skip
    return neuron._backward(potential.double(), *(x.double() for x in case[1:]), False, constants)


def test_a_quarter_of_the_steps_spike():
    current, _, _ = random_case(100, 1000)
    assert 0.2 < lif(current).spikes.mean() < 0.3


SIZES = (1, 7, 8, 15, 16, 17, 31, 33, 511, 512, 513, 1031)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_kernel_equals_autograd(gradient):
    for constants, time_steps, n in itertools.product(CONSTANTS, (1, 2, 5, 30, 100), SIZES):
        options = constants | GRADIENTS[gradient]
        case = random_case(time_steps, n)
        assert_same(run(lif, case, **options, compiled=True), run(reference_lif, case, **options), 1e-10)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_kernel_equals_autograd_in_float32(gradient):
    for constants, time_steps, n in itertools.product(CONSTANTS, (1, 2, 5, 30, 100), SIZES):
        options = constants | GRADIENTS[gradient]
        case = random_case(time_steps, n, dtype=torch.float32)
        fast, reference = run(lif, case, **options, compiled=True), run(reference_lif, case, **options)
        exact = gradient_in_float64(case, fast[1], **options)
        assert_same(fast, (*reference[:2], exact), 1e-6)
        if constants["temperature"] > 0.1:
            assert_same(fast, reference, 1e-5)


@settings(deadline=None)
@given(
    st.integers(1, 12),
    st.lists(st.integers(1, 9), max_size=3),
    st.floats(1, 50),
    st.floats(1, 50),
    st.floats(-1, 2),
    st.floats(0.02, 5),
    st.floats(-2, 2),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_the_kernel_equals_autograd_for_any_setting(
    time_steps, shape, tau_m, tau_s, threshold, temperature, reset, temporal, seed
):
    case = random_case(time_steps, *shape, seed=seed)
    options = dict(tau_m=tau_m, tau_s=tau_s, threshold=threshold, temperature=temperature)
    options |= dict(reset_gradient=reset, temporal_gradient=temporal)
    fast, reference = (run(f, case, **options) for f in (functools.partial(lif, compiled=True), reference_lif))
    assert torch.equal(fast[0], reference[0]) and torch.equal(fast[1], reference[1])
    torch.testing.assert_close(fast[2], reference[2], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(5, 64, 4096), (5, 64, 4097), (30, 3, 40001)])
def test_large_layers_are_written_past_the_caches(shape):
    case = random_case(*shape, dtype=torch.float32)
    assert_same(run(lif, case, compiled=True), run(lif, case), 1e-5)


@pytest.mark.parametrize("arriving", ["psc", "spikes", "both"])
def test_gradients_arrive_at_either_output(arriving):
    current, grad_psc, grad_spikes = random_case(9, 5)
    case = current, grad_psc if arriving != "spikes" else None, grad_spikes if arriving != "psc" else None
    assert_same(run(lif, case, compiled=True), run(reference_lif, case), 1e-12)
    if arriving == "psc":
        assert_same(run(lif, case, compiled=True, spikes=False), run(reference_lif, case), 1e-12)


@pytest.mark.parametrize("n", [5, 100_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_constant_current_is_read_once(dtype, n):
    current, _, _ = random_case(1, n, dtype=dtype)
    _, grad_psc, _ = random_case(12, n, dtype=dtype)
    case = current, grad_psc, None
    fast = run(lif, case, time_steps=12, spikes=False, compiled=True)
    assert fast[2].shape == current.shape
    assert_same(fast, run(lif, case, time_steps=12), 1e-5 if dtype == torch.float32 else 2**-7)


@pytest.mark.parametrize("shape", [(7, 33), (5, 100_000)])
def test_bfloat16_is_the_float32_neuron_between_rounded_numbers(shape):
    case = random_case(*shape, dtype=torch.bfloat16)
    psc, potential, gradient = run(lif, case, compiled=True)
    whole = run(lif, [x.float().detach().requires_grad_(x.requires_grad) for x in case])
    assert psc.dtype == gradient.dtype == torch.bfloat16 and potential.dtype == torch.float32
    assert torch.equal(psc, whole[0].bfloat16()) and torch.equal(potential, whole[1])
    assert (gradient.float() - whole[2]).abs().max() <= 2**-8 * whole[2].abs().max()
    share_equal = (gradient == whole[2].bfloat16()).float().mean()
    assert share_equal > 0.99, "not rounded to the nearest"


def test_the_kernel_gives_the_same_bits_on_any_number_of_threads():
    case, before = random_case(6, 50_000, dtype=torch.float32), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(lif, case, compiled=True))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


def test_far_from_the_threshold_the_surrogate_vanishes():
    """As exp(-|x|) does; the exact values are Python's."""
    for dtype, width, tolerance in ((torch.float32, 80.0, 2e-5), (torch.float64, 700.0, 1e-12)):
        x = torch.linspace(-width, width, 401, dtype=dtype)
        potential = x[None].clone().requires_grad_()
        psc = lif(potential, threshold=0.0, temperature=1.0, tau_s=1.0, compiled=True).psc
        exact = [math.exp(-abs(v)) / (1 + math.exp(-abs(v))) ** 2 for v in x.tolist()]
        assert torch.autograd.grad(psc.sum(), potential)[0][0].tolist() == pytest.approx(exact, rel=tolerance, abs=0)
        far = torch.full((1, 1), 1e30, dtype=dtype, requires_grad=True)
        assert torch.autograd.grad(lif(far, compiled=True).psc.sum(), far)[0].abs() < 1e-30


def test_nan_and_infinity_are_not_hidden():
    current = torch.zeros(3, 20)
    current[1, 0], current[1, 3] = torch.nan, torch.inf
    for dtype in fused.NAMES:
        out = lif(current.to(dtype), compiled=True)
        assert out.potential[1:, 0].isnan().all() and out.potential[1, 3] == torch.inf
        assert out.potential[:, 1].eq(0).all() and out.spikes[1, 3] == 1
    current.requires_grad_()
    gradient = torch.autograd.grad(lif(current, compiled=True).psc.sum(), current)[0]
    assert gradient[1, 0].isnan() and gradient[:, 1].isfinite().all()


def test_strides_and_empty_layers():
    current, grad_psc, _ = random_case(4, 6, 5, dtype=torch.float32)
    case = current.detach().transpose(1, 2).requires_grad_(), grad_psc.transpose(1, 2), None
    assert_same(run(lif, case, compiled=True), run(lif, case), 1e-5)
    assert lif(torch.zeros(4, 0), compiled=True).psc.shape == (4, 0)
    assert lif(torch.zeros(4), compiled=True).psc.shape == (4,)


@pytest.mark.parametrize("options", [dict(soft_reset=True), dict(relaxed=True)])
def test_variants_that_the_kernel_does_not_know_run_all_the_same(options):
    case = random_case(6, 5)
    assert_same(run(lif, case, compiled=True, **options), run(lif, case, **options), 0.0)


# --- machines with less -----------------------------------------------------------------------------------------------


def test_without_a_compiler_there_is_a_warning_and_the_same_numbers(monkeypatch):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setattr(fused, "kernel", functools.cache(fused.kernel.__wrapped__))
    case = random_case(6, 5)
    with pytest.warns(UserWarning, match="could not be compiled"):
        assert_same(run(lif, case, compiled=True), run(lif, case), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        lif(case[0], compiled=True)


def test_a_compiler_without_openmp_will_do(monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) echo unknown flag >&2; exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(fused, "kernel", functools.cache(fused.kernel.__wrapped__))
    case = random_case(30, 700, dtype=torch.float32)
    assert_same(run(lif, case, compiled=True), run(lif, case), 1e-5)


# --- Triton, which CUDA uses; its interpreter runs on the CPU ---------------------------------------------------------


@pytest.fixture
def through_triton(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("test_cuda.py tests the kernels themselves")
    pytest.importorskip("triton")
    monkeypatch.setattr(fused, "_in_c", lambda x: False)
    monkeypatch.setattr(fused.kernel_cuda(), "BLOCK", 16)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_triton_equals_autograd(gradient, dtype, through_triton):
    for constants, shape in itertools.product(CONSTANTS, ((1, 1), (6, 5), (5, 2, 17))):
        options = constants | GRADIENTS[gradient]
        case = random_case(*shape, dtype=dtype)
        fast = run(lif, case, **options, compiled=True)
        exact = gradient_in_float64(case, fast[1], **options)
        tolerance = 1e-10 if dtype == torch.float64 else 1e-6
        assert_same(fast, (*run(reference_lif, case, **options)[:2], exact), tolerance)


@pytest.mark.parametrize("arriving", ["psc", "spikes"])
def test_triton_takes_gradients_at_either_output(arriving, through_triton):
    current, grad_psc, grad_spikes = random_case(4, 5)
    case = current, grad_psc if arriving == "psc" else None, grad_spikes if arriving == "spikes" else None
    assert_same(run(lif, case, compiled=True), run(reference_lif, case), 1e-12)


def test_triton_reads_a_constant_current_once(through_triton):
    case = random_case(1, 20)[0], random_case(5, 20)[1], None
    fast, plain = (run(lif, case, time_steps=5, spikes=False, compiled=compiled) for compiled in (True, False))
    assert fast[2].shape == (1, 20)
    assert_same(fast, plain, 1e-12)


def test_triton_rounds_bfloat16_between_float32_neurons(through_triton):
    case = random_case(7, 33, dtype=torch.bfloat16)
    psc, potential, gradient = run(lif, case, compiled=True)
    whole = run(lif, [x.float().detach().requires_grad_(x.requires_grad) for x in case])
    assert torch.equal(psc, whole[0].bfloat16()) and torch.equal(potential, whole[1])
    assert gradient.dtype == torch.bfloat16
    assert (gradient.float() - whole[2]).abs().max() <= 2**-8 * whole[2].abs().max()


def test_without_triton_there_is_a_warning_and_the_same_numbers(monkeypatch):
    monkeypatch.setattr(fused, "_in_c", lambda x: False)
    monkeypatch.setattr(fused, "kernel_cuda", functools.cache(fused.kernel_cuda.__wrapped__))
    monkeypatch.setitem(sys.modules, "tsbp.kernel_cuda", None)
    monkeypatch.delattr("tsbp.kernel_cuda", raising=False)
    case = random_case(6, 5)
    with pytest.warns(UserWarning, match="not to be had"):
        assert_same(run(lif, case, compiled=True), run(lif, case), 0.0)
