"""The neuron against values worked by hand, against autograd, and against finite differences."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

import tsbp
from tsbp import GRADIENTS, LIF, filter_spikes, lif, reference_lif
from tsbp.surrogate import surrogate_derivative

CONSTANTS = {"tau_m": 6.0, "tau_s": 2.0, "threshold": 1.0, "temperature": 0.3}


def random_current(*shape: int, requires_grad: bool = True) -> torch.Tensor:
    """Currents under which some neurons fire often and some seldom."""
    current = 0.6 * torch.randn(*shape, dtype=torch.float64) + 0.3
    return current.requires_grad_(requires_grad)


def gradient_of(neuron, current: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor], **settings) -> torch.Tensor:
    """dL/dI for a loss that is linear in psc and spikes, so that gA and gS are the weights."""
    out = neuron(current, **settings)
    return torch.autograd.grad((weights[0] * out.psc).sum() + (weights[1] * out.spikes).sum(), current)[0]


# --- forward ----------------------------------------------------------------------------------------------------------


def test_reference_values():
    """Worked by hand: U[1] = 5/6 · 0.9 + 0.9, fires, and U[2] starts from zero; U[3] = 5/6 · 0.2 + 1.5."""
    current = torch.tensor([0.9, 0.9, 0.2, 1.5], dtype=torch.float64)
    for neuron in (lif, reference_lif):
        out = neuron(current, **CONSTANTS)
        assert out.spikes.tolist() == [0, 1, 0, 1]
        assert out.psc.tolist() == [0, 0.5, 0.25, 0.625]
        torch.testing.assert_close(
            out.potential, torch.tensor([0.9, 1.65, 0.2, 5 / 3], dtype=torch.float64), rtol=0, atol=1e-15
        )


def test_exactly_at_threshold_is_silent():
    out = lif(torch.tensor([1.0, 0.0]), tau_m=math.inf, threshold=1.0)
    assert out.spikes.tolist() == [0, 0]
    assert lif(torch.tensor([1.0]), threshold=1.0 - 2**-24).spikes.tolist() == [1]


def test_a_perfect_memory_and_none():
    """τm = ∞ adds up its input; τm = 1 sees one step alone."""
    current = torch.full((4,), 0.3, dtype=torch.float64)
    torch.testing.assert_close(lif(current, tau_m=math.inf).potential, 0.3 * torch.arange(1, 5, dtype=torch.float64))
    torch.testing.assert_close(lif(current, tau_m=1.0).potential, current)


def test_soft_reset_by_hand():
    """After the spike at U = 1.65 the membrane keeps 5/6 · 0.65."""
    out = lif(torch.tensor([0.9, 0.9, 0.2], dtype=torch.float64), **CONSTANTS, soft_reset=True)
    assert out.spikes.tolist() == [0, 1, 0]
    assert out.potential.tolist() == pytest.approx([0.9, 1.65, 5 / 6 * 0.65 + 0.2], abs=1e-15)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (7,), (5, 2), (3, 2, 4, 4), (4, 0)])
def test_shapes(shape):
    current = random_current(*shape)
    out = lif(current)
    assert all(x.shape == current.shape for x in out)
    out.psc.sum().backward()
    assert current.grad.shape == current.shape


def test_filter_spikes_is_the_exponential_kernel():
    spike = torch.zeros(6, dtype=torch.float64)
    spike[1] = 1
    kernel = torch.tensor([0.0, *(0.25 * 0.75**k for k in range(5))], dtype=torch.float64)
    torch.testing.assert_close(filter_spikes(spike, tau_s=4.0), kernel)
    torch.testing.assert_close(filter_spikes(spike, tau_s=1.0), spike)


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=12),
    st.one_of(st.floats(1, 100), st.just(math.inf)),
    st.floats(1, 100),
    st.floats(-1, 3),
)
def test_invariants_of_the_forward_pass(current, tau_m, tau_s, threshold):
    """Eq. 3-5 step by step from the outputs; spikes are 0 or 1, and the current they make stays within [0, 1]."""
    current = torch.tensor(current, dtype=torch.float64)
    out = lif(current, tau_m=tau_m, tau_s=tau_s, threshold=threshold)
    assert torch.equal(out.spikes, (out.potential > threshold).double())
    assert out.psc.min() >= 0 and out.psc.max() <= 1 + 1e-12
    torch.testing.assert_close(out.psc, filter_spikes(out.spikes, tau_s))
    after = out.potential[1:] - (1 - 1 / tau_m) * out.potential[:-1] * (1 - out.spikes[:-1])
    torch.testing.assert_close(after, current[1:])
    assert out.potential[0] == current[0]


# --- backward ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("soft_reset", [False, True])
def test_gradients_equal_autograd(gradient, relaxed, soft_reset):
    """To 1e-10 in float64, for every combination of constants, and all lengths from one step to a hundred."""
    grid = itertools.product((1.0, 6.0, math.inf), (1.0, 3.0), (0.5, 1.0), (0.1, 0.3, 2.0))
    for tau_m, tau_s, threshold, temperature in grid:
        for shape in ((1, 5), (2, 1), (13, 2, 3), (100, 4)):
            current = random_current(*shape)
            weights = tuple(torch.randn(2, *shape, dtype=torch.float64))
            settings = dict(tau_m=tau_m, tau_s=tau_s, threshold=threshold, temperature=temperature)
            settings |= dict(relaxed=relaxed, soft_reset=soft_reset)
            mine, autograd = (
                gradient_of(neuron, current, weights, **settings, **GRADIENTS[gradient])
                for neuron in (lif, reference_lif)
            )
            assert (mine - autograd).abs().max() < 1e-10 * max(1, autograd.abs().max())


@given(
    st.integers(1, 20),
    st.integers(1, 3),
    st.floats(1, 50),
    st.floats(1, 50),
    st.floats(0.1, 2),
    st.floats(0.05, 5),
    st.floats(-2, 2),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_gradients_equal_autograd_for_any_setting(
    steps, size, tau_m, tau_s, threshold, temperature, reset, temporal, seed
):
    random = torch.Generator().manual_seed(seed)
    current = 2 * torch.randn(steps, size, dtype=torch.float64, generator=random)
    current.requires_grad_()
    weights = tuple(torch.randn(2, steps, size, dtype=torch.float64, generator=random))
    settings = dict(tau_m=tau_m, tau_s=tau_s, threshold=threshold, temperature=temperature)
    settings |= dict(reset_gradient=reset, temporal_gradient=temporal)
    mine, autograd = (gradient_of(neuron, current, weights, **settings) for neuron in (lif, reference_lif))
    torch.testing.assert_close(mine, autograd, rtol=1e-9, atol=1e-10)


def test_one_step_by_hand():
    """T = 2, loss S[1]: dL/dI[1] = h[1], dL/dI[0] = h[1] · (1 - 1/τm) · (1 - S[0] - U[0] · h[0])."""
    current = torch.tensor([0.8, 0.5], dtype=torch.float64, requires_grad=True)
    for name, factor in {"full": None, "leak": 5 / 6, "spatial": 0.0}.items():
        out = lif(current, **CONSTANTS, **GRADIENTS[name])
        grad = torch.autograd.grad(out.spikes[1], current)[0]
        h = [surrogate_derivative(u - 1.0, 0.3).item() for u in out.potential]
        factor = 5 / 6 * (1 - 0.8 * h[0]) if factor is None else factor
        assert grad[1].item() == pytest.approx(h[1], abs=1e-15)
        assert grad[0].item() == pytest.approx(h[1] * factor, abs=1e-15)


def test_gradcheck_of_the_relaxed_neuron():
    """Where the forward pass is smooth, only ``full`` is its derivative: PyTorch's own finite differences decide."""
    current = random_current(6, 3)
    others = ({}, {"tau_m": math.inf}, {"temperature": 1.0}, {"soft_reset": True})
    for settings in (CONSTANTS | other for other in others):
        assert gradcheck(lambda i, s=settings: lif(i, **s, relaxed=True)[:2], current)
        for name in ("leak", "spatial"):
            wrong = GRADIENTS[name]
            assert not gradcheck(
                lambda i, s=settings, w=wrong: lif(i, **s, **w, relaxed=True)[:2], current, raise_exception=False
            )


def test_reset_gradient_as_a_number():
    """1 is ``full``, 0 is ``leak``, and dL/dI is between them for a number between, at T = 2 exactly halfway."""
    current = random_current(2, 8)
    weights = tuple(torch.randn(2, 2, 8, dtype=torch.float64))
    full, leak, half = (gradient_of(lif, current, weights, reset_gradient=scale) for scale in (1.0, 0.0, 0.5))
    assert torch.equal(full, gradient_of(lif, current, weights, **GRADIENTS["full"]))
    assert torch.equal(leak, gradient_of(lif, current, weights, **GRADIENTS["leak"]))
    torch.testing.assert_close(half, (full + leak) / 2)


def test_settings_as_tensors_serve_several_gradients_at_once():
    current = random_current(9, 1, 4).detach().expand(9, 3, 4).clone().requires_grad_()
    weights = tuple(torch.randn(2, 9, 1, 4, dtype=torch.float64).expand(2, 9, 3, 4))
    reset, temporal = (
        torch.tensor([float(g[key]) for g in GRADIENTS.values()]).double()[:, None]
        for key in ("reset_gradient", "temporal_gradient")
    )
    together = gradient_of(lif, current, weights, reset_gradient=reset, temporal_gradient=temporal)
    for row, settings in enumerate(GRADIENTS.values()):
        torch.testing.assert_close(together[:, row], gradient_of(lif, current, weights, **settings)[:, row])


def test_the_potential_is_a_record_without_gradient():
    out = lif(random_current(4, 2))
    assert not out.potential.requires_grad
    assert out.psc.requires_grad and out.spikes.requires_grad


def test_only_the_potential_is_kept_for_the_backward_pass():
    current = random_current(5, 3)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        out = lif(current)
    assert [x.data_ptr() for x in saved] == [out.potential.data_ptr()]


def test_no_gradient_arrives_through_unused_outputs():
    current = random_current(5, 3)
    out = lif(current)
    through_spikes = torch.autograd.grad(out.spikes.sum(), current, retain_graph=True)[0]
    zeros, ones = torch.zeros_like(current), torch.ones_like(current)
    torch.testing.assert_close(through_spikes, gradient_of(lif, current, (zeros, ones)))


def test_a_silent_neuron_still_has_a_gradient():
    """No spike at all: the surrogate is what lets a silent neuron learn."""
    current = torch.full((10,), 0.01, dtype=torch.float64, requires_grad=True)
    out = lif(current)
    assert out.spikes.sum() == 0
    assert (torch.autograd.grad(out.psc.sum(), current)[0] > 0).all()


def test_a_neuron_that_always_fires_carries_no_leak_gradient():
    current = torch.full((10,), 1.2, dtype=torch.float64, requires_grad=True)
    out = lif(current, **GRADIENTS["leak"])
    assert out.spikes.sum() == 10
    leak = torch.autograd.grad(out.psc.sum(), current)[0]
    spatial = torch.autograd.grad(lif(current, **GRADIENTS["spatial"]).psc.sum(), current)[0]
    torch.testing.assert_close(leak, spatial)


# --- types, compilation, the module -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_simulated_in_float32(dtype):
    current = random_current(30, 50).detach().to(dtype).requires_grad_()
    out = lif(current)
    assert out.psc.dtype == out.spikes.dtype == dtype and out.potential.dtype == torch.float32
    assert torch.equal(out.potential, lif(current.detach().float()).potential)
    out.psc.sum().backward()
    assert current.grad.dtype == dtype


def test_autocast_leaves_the_neuron_alone():
    current = random_current(10, 6).detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lif(current).psc, lif(current).psc.float())
        assert lif(current).psc.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_cuda_equals_cpu(gradient, compiled):
    current = random_current(20, 64)
    weights = tuple(torch.randn(2, 20, 64, dtype=torch.float64))
    on_cpu = gradient_of(lif, current, weights, **GRADIENTS[gradient])
    on_cuda = gradient_of(
        lif, current.detach().cuda().requires_grad_(), tuple(w.cuda() for w in weights), compiled=compiled,
        **GRADIENTS[gradient],
    )  # fmt: skip
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_constant_current_is_given_as_one_step(gradient):
    current = random_current(1, 3, 4)
    weights = tuple(torch.randn(2, 6, 3, 4, dtype=torch.float64))
    constant = gradient_of(lif, current, weights, time_steps=6, **GRADIENTS[gradient])
    repeated = gradient_of(
        lambda current, **settings: lif(current.expand(6, 3, 4), **settings), current, weights, **GRADIENTS[gradient]
    )
    torch.testing.assert_close(constant, repeated, rtol=1e-14, atol=1e-14)
    assert lif(current, time_steps=6).potential.shape == (6, 3, 4)
    assert torch.equal(LIF()(current, 6), lif(current.expand(6, 3, 4)).psc)


def test_spikes_are_left_out_on_demand():
    current = random_current(5, 3)
    without, whole = lif(current, spikes=False), lif(current)
    assert without.spikes is None and torch.equal(without.psc, whole.psc)
    torch.testing.assert_close(*(torch.autograd.grad(out.psc.sum(), current)[0] for out in (without, whole)))


def test_module_is_the_function():
    current = random_current(8, 3)
    layer = LIF(tau_m=4.0, reset_gradient=False)
    assert torch.equal(layer(current), lif(current, tau_m=4.0, reset_gradient=False).psc)
    assert "tau_m=4.0" in repr(layer)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tau_m", 0.99),
        ("tau_m", math.nan),
        ("tau_s", 0.0),
        ("tau_s", math.inf),
        ("threshold", math.nan),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("reset_gradient", math.nan),
    ],
)
def test_settings_out_of_range_are_named(setting, value):
    for build in (lambda: lif(torch.zeros(3), **{setting: value}), lambda: LIF(**{setting: value})):
        with pytest.raises(ValueError, match=setting):
            build()


@pytest.mark.parametrize("current", [torch.zeros(0, 3), torch.tensor(1.0), torch.zeros(3, dtype=torch.int64), [1.0]])
def test_bad_currents_are_named(current):
    for neuron in (lif, reference_lif):
        with pytest.raises(ValueError, match="current"):
            neuron(current)
    with pytest.raises(ValueError, match="spikes"):
        filter_spikes(current)


@pytest.mark.parametrize(("length", "time_steps"), [(1, 0), (1, -1), (3, 4), (3, 1)])
def test_time_steps_that_do_not_fit_are_named(length, time_steps):
    with pytest.raises(ValueError, match="time_steps"):
        lif(torch.zeros(length, 2), time_steps=time_steps)


def test_compiled_takes_no_tensors():
    with pytest.raises(ValueError, match="compiled"):
        lif(torch.zeros(3), temperature=torch.tensor(0.3), compiled=True)


def test_public_names():
    assert set(tsbp.__all__) <= set(dir(tsbp))
