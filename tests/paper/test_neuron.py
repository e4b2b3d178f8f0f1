"""The neuron against values worked by hand, against itself written once more, and against finite differences."""

import copy
import io
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import (
    FACTORS,
    KERNELS,
    RESET_SHARE,
    case,
    custom,
    in_chunks,
    near,
    plain_and_compiled,
    random_lengths,
    simulate,
)
from torch import nn
from torch.autograd import gradcheck

import tsbp
from tsbp import GRADIENTS, LIF, SURROGATES, filter_spikes, lif, reference_lif, scaled
from tsbp.surrogate import surrogate_derivative

CONSTANTS = {"tau_m": 6.0, "tau_s": 2.0, "threshold": 1.0, "temperature": 0.3}
OTHERS = [
    CONSTANTS,
    {"tau_m": 1.0, "tau_s": 1.0, "threshold": 0.2, "temperature": 2.0},
    {"tau_m": math.inf, "tau_s": 5.0, "threshold": 1.0, "temperature": 0.1},
    {"tau_m": 20.0, "tau_s": 3.0, "threshold": 0.5, "temperature": 0.5},
]
SHAPES = [(1, 5), (2, 1), (13, 2, 3), (100, 4)]
RESETS = ("zero", "subtract")

surrogates = pytest.mark.parametrize("surrogate", SURROGATES)
scales = pytest.mark.parametrize("surrogate_scale", ["area", "peak"])
resets = pytest.mark.parametrize("reset", RESETS)
gradients = pytest.mark.parametrize("gradient", FACTORS)


def random_current(*shape: int, requires_grad: bool = True) -> torch.Tensor:
    """Currents under which some neurons fire often and some seldom."""
    current = 0.6 * torch.randn(*shape, dtype=torch.float64) + 0.3
    return current.requires_grad_(requires_grad)


def gradient_of(neuron, current: torch.Tensor, weights, **settings) -> torch.Tensor:
    """dL/dI for a loss that is linear in psc and spikes, so that gA and gS are the weights."""
    out = neuron(current, **settings)
    return torch.autograd.grad((weights[0] * out.psc).sum() + (weights[1] * out.spikes).sum(), current)[0]


# --- forward ----------------------------------------------------------------------------------------------------------


@plain_and_compiled
def test_reference_values(compiled):
    """Worked by hand: U[1] = 5/6 · 0.9 + 0.9, fires, and U[2] starts from zero; U[3] = 5/6 · 0.2 + 1.5."""
    current = torch.tensor([0.9, 0.9, 0.2, 1.5], dtype=torch.float64)
    for out in (lif(current, **CONSTANTS, compiled=compiled), reference_lif(current, **CONSTANTS)):
        assert out.spikes.tolist() == [0, 1, 0, 1]
        assert out.psc.tolist() == [0, 0.5, 0.25, 0.625]
        expected = torch.tensor([0.9, 1.65, 0.2, 5 / 3], dtype=torch.float64)
        torch.testing.assert_close(out.potential, expected, rtol=0, atol=1e-15)
        assert [x.item() for x in out.state] == [out.potential[-1].item(), 1, 0.625]


@plain_and_compiled
def test_exactly_at_threshold_is_silent(compiled):
    out = lif(torch.tensor([1.0, 0.0]), tau_m=math.inf, threshold=1.0, compiled=compiled)
    assert out.spikes.tolist() == [0, 0]
    assert lif(torch.tensor([1.0]), threshold=1.0 - 2**-24, compiled=compiled).spikes.tolist() == [1]


@plain_and_compiled
def test_a_perfect_memory_and_none(compiled):
    """τm = ∞ adds up its input; τm = 1 sees one step alone."""
    current = torch.full((4,), 0.3, dtype=torch.float64)
    adding = lif(current, tau_m=math.inf, compiled=compiled).potential
    torch.testing.assert_close(adding, 0.3 * torch.arange(1, 5, dtype=torch.float64))
    torch.testing.assert_close(lif(current, tau_m=1.0, compiled=compiled).potential, current)


@plain_and_compiled
def test_reset_by_subtraction_by_hand(compiled):
    """After the spike at U = 1.65 the membrane keeps 5/6 · 0.65."""
    out = lif(torch.tensor([0.9, 0.9, 0.2], dtype=torch.float64), **CONSTANTS, reset="subtract", compiled=compiled)
    assert out.spikes.tolist() == [0, 1, 0]
    assert out.potential.tolist() == pytest.approx([0.9, 1.65, 5 / 6 * 0.65 + 0.2], abs=1e-15)


@plain_and_compiled
@pytest.mark.parametrize("shape", [(1,), (1, 1), (7,), (5, 2), (3, 2, 4, 4), (4, 0), (2, 3, 0, 5)])
def test_shapes(shape, compiled):
    current = random_current(*shape)
    out = lif(current, compiled=compiled)
    assert all(x.shape == current.shape for x in out[:3])
    assert all(x.shape == current.shape[1:] for x in out.state)
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
    st.booleans(),
)
def test_invariants_of_the_forward_pass(current, tau_m, tau_s, threshold, compiled):
    """Eq. 3-5 step by step from the outputs; spikes are 0 or 1, and the current they make stays within [0, 1]."""
    current = torch.tensor(current, dtype=torch.float64)
    out = lif(current, tau_m=tau_m, tau_s=tau_s, threshold=threshold, compiled=compiled)
    assert torch.equal(out.spikes, (out.potential > threshold).double())
    assert out.psc.min() >= 0 and out.psc.max() <= 1 + 1e-12
    torch.testing.assert_close(out.psc, filter_spikes(out.spikes, tau_s))
    after = out.potential[1:] - (1 - 1 / tau_m) * out.potential[:-1] * (1 - out.spikes[:-1])
    torch.testing.assert_close(after, current[1:])
    assert out.potential[0] == current[0]
    assert torch.equal(torch.stack([*out.state]), torch.stack([out.potential[-1], out.spikes[-1], out.psc[-1]]))


INF, NAN = math.inf, math.nan


@pytest.mark.filterwarnings("ignore:invalid value")
@plain_and_compiled
@resets
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinities_and_nan_are_those_of_the_equations(dtype, reset, compiled):
    """∞ · 0 is nan after a reset to zero; nan never fires and stays; a plus and a minus make nan."""
    rows = [[0, INF, 0, 0], [0, NAN, 5, 0], [-INF, 0, 0, 2], [-INF, INF, 0, 0], [INF, INF, -INF, 9], [9, 9, -9, 9]]
    current = torch.tensor(rows * 4, dtype=dtype).T.contiguous().requires_grad_()
    zeros = torch.zeros_like(current).detach()
    expected = simulate(current.detach(), (zeros, zeros), "full", reset=reset)
    for neuron in (lambda *a, **k: lif(*a, **k, compiled=compiled), reference_lif):
        out = neuron(current, reset=reset)
        for found, one in zip(out[:3], (expected.psc, expected.spikes, expected.potential), strict=True):
            assert torch.equal(found.detach().isnan(), torch.tensor(one).isnan())
            torch.testing.assert_close(found.detach(), torch.tensor(one, dtype=dtype), equal_nan=True)
    assert math.isnan(expected.potential[2, 0]) == (reset == "zero"), "the test has what it is about"
    plain, fused = (
        torch.autograd.grad(lif(current, reset=reset, compiled=c).psc.sum(), current)[0] for c in (False, compiled)
    )
    assert torch.equal(plain.isnan(), fused.isnan())
    torch.testing.assert_close(plain[:, 5], fused[:, 5])
    assert plain[:, 5].isfinite().all()


# --- backward ---------------------------------------------------------------------------------------------------------


@plain_and_compiled
@resets
@scales
@surrogates
@gradients
def test_the_neuron_is_the_independent_one(gradient, surrogate, surrogate_scale, reset, compiled):
    """Spikes exactly, potential and psc to 1e-12, gradients to 1e-10, whole and in chunks."""
    for number, (shape, constants) in enumerate(zip(SHAPES, OTHERS, strict=True)):
        settings = constants | dict(surrogate=surrogate, surrogate_scale=surrogate_scale, reset=reset)
        current, *arriving = case(*shape, seed=number)
        current.requires_grad_()
        expected = simulate(current.detach(), arriving, gradient, **settings)
        settings |= dict(gradient=FACTORS[gradient][0], compiled=compiled)
        out = lif(current, **settings)
        whole = (*out[:2], out.state)
        chunks = [in_chunks(current, random_lengths(shape[0], number), **settings)] if shape[0] == 13 else []
        for psc, spikes, state in (whole, *chunks):
            assert near(spikes, expected.spikes, 0) and near(psc, expected.psc, 1e-12)
            assert all(
                near(one, other[-1], 1e-12)
                for one, other in zip(state, (expected.potential, expected.spikes, expected.psc), strict=True)
            )
            found = torch.autograd.grad((psc, spikes), current, arriving)[0]
            assert near(found, expected.current), f"{shape}: {(found - torch.tensor(expected.current)).abs().max()}"
        assert near(out.potential, expected.potential, 1e-12)


@resets
@surrogates
@gradients
def test_the_relaxed_neuron_is_the_independent_one(gradient, surrogate, reset):
    for number, (shape, constants) in enumerate(zip(SHAPES, OTHERS, strict=True)):
        settings = constants | dict(surrogate=surrogate, reset=reset, relaxed=True)
        current, *arriving = case(*shape, seed=number)
        current.requires_grad_()
        expected = simulate(current.detach(), arriving, gradient, **settings)
        out = lif(current, gradient=FACTORS[gradient][0], **settings)
        assert near(out.spikes, expected.spikes, 1e-12) and near(out.psc, expected.psc, 1e-12)
        assert near(torch.autograd.grad(out[:2], current, arriving)[0], expected.current)


@given(
    st.integers(1, 20),
    st.integers(1, 3),
    st.one_of(st.floats(1, 50), st.just(math.inf)),
    st.floats(1, 50),
    st.floats(0.1, 2),
    st.floats(0.05, 5),
    st.sampled_from(list(FACTORS)),
    st.sampled_from(list(SURROGATES)),
    st.sampled_from(["area", "peak"]),
    st.sampled_from(RESETS),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_the_neuron_is_the_independent_one_for_any_setting(
    steps, size, tau_m, tau_s, threshold, temperature, gradient, surrogate, scale, reset, compiled, seed
):
    current, *arriving = case(steps, size, seed=seed)
    current = (2 * current).requires_grad_()
    settings = dict(tau_m=tau_m, tau_s=tau_s, threshold=threshold, temperature=temperature)
    settings |= dict(surrogate=surrogate, surrogate_scale=scale, reset=reset)
    expected = simulate(current.detach(), arriving, gradient, **settings)
    out = lif(current, gradient=FACTORS[gradient][0], compiled=compiled, **settings)
    assert near(out.potential, expected.potential, 1e-12) and near(out.psc, expected.psc, 1e-12)
    assert near(torch.autograd.grad(out[:2], current, arriving)[0], expected.current, 1e-9)


@resets
def test_the_independent_neuron_is_right_itself(reset):
    """Relaxed, its `full` is what finite differences of its own forward pass measure, in every argument."""
    current, *arriving, state = case(5, 3, state=True)
    weights = 0.5 * torch.randn(3, 3, dtype=torch.float64)
    last = torch.randn(3, 3, dtype=torch.float64)
    whole = dict(current=current, state=state, recurrent=weights, **CONSTANTS)
    fixed = dict(arriving=arriving, gradient="full", relaxed=True, reset=reset, at_last=last)

    def loss(**moved):
        f = simulate(**fixed, **(whole | moved))
        ends = (f.potential[-1], f.spikes[-1], f.psc[-1])
        pairs = [(f.psc, arriving[0]), (f.spikes, arriving[1]), *zip(ends, last, strict=True)]
        return sum((torch.tensor(x) * g).sum().item() for x, g in pairs)

    def slope(moved):
        return (loss(**moved(1e-6)) - loss(**moved(-1e-6))) / 2e-6

    found = simulate(**fixed, **whole)
    step, edge = torch.zeros_like(current), torch.zeros_like(weights)
    step[1, 2] = edge[2, 0] = 1
    assert slope(lambda x: {"current": current + x * step}) == pytest.approx(found.current[1, 2], rel=1e-6)
    assert slope(lambda x: {"recurrent": weights + x * edge}) == pytest.approx(found.recurrent[2, 0], rel=1e-6)
    of_psc = slope(lambda x: {"state": state._replace(psc=state.psc + x * edge[2])})
    assert of_psc == pytest.approx(found.of_psc[0], rel=1e-6)
    for name, value in CONSTANTS.items():
        measured = slope(lambda x, name=name, value=value: {name: value + x})
        assert measured == pytest.approx(found.settings[name].sum(), rel=1e-6)


@plain_and_compiled
def test_one_step_by_hand(compiled):
    """T = 2, loss S[1]: dL/dI[1] = h[1], dL/dI[0] = h[1] · (1 - 1/τm) · (1 - S[0] - U[0] · h[0])."""
    current = torch.tensor([0.8, 0.5], dtype=torch.float64, requires_grad=True)
    for name, factor in {"full": None, "leak": 5 / 6, "spatial": 0.0}.items():
        out = lif(current, **CONSTANTS, gradient=name, compiled=compiled)
        grad = torch.autograd.grad(out.spikes[1], current)[0]
        e = [math.exp(-(u - 1.0) / 0.3) for u in out.potential.tolist()]
        h = [x / (1 + x) ** 2 / 0.3 for x in e]
        factor = 5 / 6 * (1 - 0.8 * h[0]) if factor is None else factor
        assert grad[1].item() == pytest.approx(h[1], abs=1e-15)
        assert grad[0].item() == pytest.approx(h[1] * factor, abs=1e-15)


@resets
@pytest.mark.parametrize("surrogate", ["sigmoid", "fast-sigmoid", "arctan", "triangle", "rectangle", "gaussian"])
def test_finite_differences_of_the_relaxed_neuron(surrogate, reset):
    """Where the forward pass is smooth, only ``full`` is its derivative: PyTorch's own finite differences decide."""
    for constants in (CONSTANTS, CONSTANTS | {"tau_m": math.inf, "temperature": 1.0}):
        settings = constants | dict(surrogate=surrogate, reset=reset, relaxed=True)
        for seed in itertools.count():
            current = case(6, 3, seed=seed)[0].requires_grad_()
            x = (lif(current, **settings).potential - settings["threshold"]) / settings["temperature"]
            if ((x.abs() - 1).abs() > 1e-3).all():  # away from the edges
                break
        assert gradcheck(lambda i, s=settings: lif(i, **s)[:2], current, atol=1e-6, rtol=1e-6)
        for wrong in ("leak", "spatial", scaled(0.9)):
            with pytest.raises(RuntimeError, match="Jacobian mismatch"):
                gradcheck(lambda i, s=settings, w=wrong: lif(i, gradient=w, **s)[:2], current, atol=1e-6, rtol=1e-6)


@plain_and_compiled
def test_the_potential_is_a_record_without_gradient(compiled):
    out = lif(random_current(4, 2), compiled=compiled)
    assert not out.potential.requires_grad
    assert out.psc.requires_grad and out.spikes.requires_grad and out.state.potential.requires_grad


@plain_and_compiled
def test_only_the_potential_is_kept_for_the_backward_pass(compiled):
    """One array of T steps: what training takes in memory."""
    current = random_current(5, 3)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        out = lif(current, compiled=compiled)
    assert [x.data_ptr() for x in saved if x.numel() >= current.numel()] == [out.potential.data_ptr()]


@plain_and_compiled
@pytest.mark.parametrize("through", ["psc", "spikes"])
def test_no_gradient_arrives_through_unused_outputs(through, compiled):
    current, *arriving = case(5, 3)
    current.requires_grad_()
    which = ("psc", "spikes").index(through)
    out = lif(current, compiled=compiled)
    found = torch.autograd.grad((getattr(out, through) * arriving[which]).sum(), current)[0]
    arriving[1 - which] = torch.zeros_like(current)
    assert near(found, simulate(current.detach(), arriving, "full").current)


@plain_and_compiled
def test_a_silent_neuron_still_has_a_gradient(compiled):
    """No spike at all: the surrogate is what lets a silent neuron learn."""
    current = torch.full((10,), 0.01, dtype=torch.float64, requires_grad=True)
    out = lif(current, compiled=compiled)
    assert out.spikes.sum() == 0
    assert (torch.autograd.grad(out.psc.sum(), current)[0] > 0).all()


@plain_and_compiled
def test_a_neuron_that_always_fires_carries_no_leak_gradient(compiled):
    current = torch.full((10,), 1.2, dtype=torch.float64, requires_grad=True)
    out = lif(current, gradient="leak", compiled=compiled)
    assert out.spikes.sum() == 10
    leak = torch.autograd.grad(out.psc.sum(), current)[0]
    spatial = torch.autograd.grad(lif(current, gradient="spatial", compiled=compiled).psc.sum(), current)[0]
    torch.testing.assert_close(leak, spatial)


@plain_and_compiled
def test_far_from_the_threshold_the_surrogate_vanishes_as_it_should(compiled):
    """As exp(-|x|) does; the exact values are Python's."""
    for dtype, width, tolerance in ((torch.float32, 80.0, 2e-5), (torch.float64, 700.0, 1e-12)):
        x = torch.linspace(-width, 20 if dtype == torch.float64 else 8, 401, dtype=dtype)
        potential = x[None].clone().requires_grad_()
        psc = lif(potential, threshold=0.0, temperature=1.0, tau_s=1.0, compiled=compiled).psc
        exact = [math.exp(-abs(v)) / (1 + math.exp(-abs(v))) ** 2 for v in x.tolist()]
        found = torch.autograd.grad(psc.sum(), potential)[0][0].tolist()
        # 1 - σ far above the threshold is 1 - 1: an error of one unit in the last place of 1.
        assert found == pytest.approx(exact, rel=tolerance, abs=torch.finfo(dtype).eps if not compiled else 0)
        far = torch.tensor([[1e30, -1e30]], dtype=dtype, requires_grad=True)
        for surrogate in SURROGATES:
            psc = lif(far, surrogate=surrogate, compiled=compiled).psc
            assert (torch.autograd.grad(psc.sum(), far)[0].abs() < 1e-30).all()


# --- settings that are tensors, or learned ----------------------------------------------------------------------------


def learned(*shape: int) -> dict[str, torch.Tensor]:
    """tau_m, tau_s, threshold and temperature, around their defaults."""
    return {
        name: (value * (0.8 + 0.4 * torch.rand(shape, dtype=torch.float64))).requires_grad_()
        for name, value in CONSTANTS.items()
    }


@resets
@surrogates
@pytest.mark.parametrize("shape", [(), (2,), (2, 1)])
def test_learned_settings_of_the_relaxed_neuron_by_finite_differences(shape, surrogate, reset):
    current = case(5, 2, 2)[0]
    settings = learned(*shape)

    def run(*values):
        named = dict(zip(settings, values, strict=True))
        return lif(current, surrogate=surrogate, reset=reset, relaxed=True, **named)[:2]

    assert gradcheck(run, tuple(settings.values()), atol=1e-6, rtol=1e-6)


@resets
@scales
@surrogates
@pytest.mark.parametrize("gradient", RESET_SHARE)
def test_learned_settings_of_the_spiking_neuron(gradient, surrogate, surrogate_scale, reset):
    """dS/dϑ = -h, dS/dΘ = -((U - ϑ)/Θ) · h, and through the leaks; for one number, or one a neuron."""
    current, *arriving = case(9, 2, 3)
    options = dict(surrogate=surrogate, surrogate_scale=surrogate_scale, reset=reset)
    expected = simulate(current, arriving, gradient, **options, **CONSTANTS)
    for shape in ((), (3,), (2, 3)):
        values = {name: torch.full(shape, x, dtype=torch.float64).requires_grad_() for name, x in CONSTANTS.items()}
        current.requires_grad_()
        out = lif(current, gradient=FACTORS[gradient][0], **options, **values)
        found = torch.autograd.grad(out[:2], [current, *values.values()], arriving)
        assert near(found[0], expected.current)
        for name, one in zip(values, found[1:], strict=True):
            wanted = torch.tensor(expected.settings[name])
            assert near(one, wanted.sum() if shape == () else wanted.sum_to_size(shape)), (name, shape)


def test_the_width_of_a_spike_by_hand():
    """T = 1: dS/dΘ = -((U - ϑ)/Θ) · h and dS/dϑ = -h."""
    current = torch.tensor([[0.2, 0.9, 1.3, 2.0]], dtype=torch.float64)
    temperature, threshold = (torch.full((4,), x, dtype=torch.float64).requires_grad_() for x in (0.5, 1.1))
    spikes = lif(current, temperature=temperature, threshold=threshold).spikes
    of_temperature, of_threshold = torch.autograd.grad(spikes.sum(), (temperature, threshold))
    x = (current[0] - 1.1) / 0.5
    h = torch.exp(-x) / (1 + torch.exp(-x)) ** 2 / 0.5
    torch.testing.assert_close(of_temperature, -x * h, rtol=1e-12, atol=0)
    torch.testing.assert_close(of_threshold, -h, rtol=1e-12, atol=0)


@plain_and_compiled
@pytest.mark.parametrize("name", CONSTANTS)
def test_no_gradient_of_a_setting_is_lost_in_silence(name, compiled):
    """It arrives, or the setting is refused by name."""
    setting = torch.tensor(CONSTANTS[name], dtype=torch.float64, requires_grad=True)
    current = case(6, 3)[0]
    if compiled:
        with pytest.raises(ValueError, match=name):
            lif(current, **{name: setting}, compiled=True)
        with pytest.raises(ValueError, match=name):
            LIF(**{name: setting}, compiled=True)(current)
    else:
        out = lif(current, **{name: setting})
        assert torch.autograd.grad(out.psc.square().sum(), setting)[0] != 0
    with pytest.raises(ValueError, match="gradient"):
        lif(current, **{name: setting}, gradient=custom)


@resets
@gradients
def test_tensors_that_are_not_learned_are_numbers(gradient, reset):
    """Per-neuron tensors: every neuron is the one with its numbers."""
    current, *arriving = case(9, 2, 3)
    current.requires_grad_()
    values = {name: x.detach() for name, x in learned(3).items()}
    found = gradient_of(lif, current, arriving, gradient=FACTORS[gradient][0], reset=reset, **values)
    for n in range(3):
        numbers = {name: x[n].item() for name, x in values.items()}
        one = simulate(current.detach()[:, :, n], [x[:, :, n] for x in arriving], gradient, reset=reset, **numbers)
        assert near(found[:, :, n], one.current)


def test_a_scale_of_the_reset_term_may_be_a_tensor():
    """Several gradients at once, one a row."""
    current, *arriving = (x[:, None].expand(9, 3, 4).clone() for x in case(9, 4))
    current.requires_grad_()
    together = gradient_of(lif, current, arriving, gradient=scaled(torch.tensor([[0.0], [0.3], [1.0]])))
    for row, name in enumerate(("leak", "scaled(0.3)", "full")):
        alone = simulate(current.detach()[:, row], [x[:, row] for x in arriving], name)
        assert near(together[:, row], alone.current, 1e-7)  # 0.3 is one of float32
    with pytest.raises(ValueError, match="gradient"):
        lif(current, gradient=scaled(torch.tensor(0.3)), compiled=True)


def test_a_scale_that_requires_a_gradient_is_refused():
    """It changes no output, so that it has none to get."""
    c = torch.tensor(0.3, requires_grad=True)
    for call in (lambda: lif(torch.zeros(3, 2), gradient=scaled(c)), lambda: LIF(gradient=scaled(nn.Parameter(c)))):
        with pytest.raises(ValueError, match="gradient"):
            call()


def test_a_scale_that_is_a_tensor_moves_with_its_module():
    layer = LIF(gradient=scaled(torch.rand(3))).to("meta")
    current = torch.empty(5, 2, 3, device="meta", requires_grad=True)
    layer(current).sum().backward()
    assert current.grad.is_meta


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("shape", [(7,), (4, 2, 3), (2, 2)])
def test_tensors_that_do_not_fit_are_named(shape, name):
    """A setting must broadcast against one step, not beyond it."""
    setting = torch.full(shape, CONSTANTS[name])
    for neuron in (lif, reference_lif, lambda x, **k: LIF(**k)(x)):
        with pytest.raises(ValueError, match=name) as error:
            neuron(torch.zeros(5, 2, 3), **{name: setting})
        assert "\n" not in str(error.value)


def test_tensors_of_another_type_do_not_change_that_of_the_neuron():
    current = torch.zeros(5, 2, 3)
    out = lif(current, tau_m=torch.full((3,), 6.0, dtype=torch.float64), threshold=torch.ones(3, dtype=torch.int64))
    assert {x.dtype for x in (*out[:3], *out.state)} == {torch.float32}


# --- types, and the module --------------------------------------------------------------------------------------------


@plain_and_compiled
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_simulated_in_float32(dtype, compiled):
    current = random_current(30, 50).detach().to(dtype).requires_grad_()
    out = lif(current, compiled=compiled)
    assert out.psc.dtype == out.spikes.dtype == dtype and out.potential.dtype == torch.float32
    whole = lif(current.detach().float())
    assert torch.equal(out.potential, whole.potential) and torch.equal(out.psc, whole.psc.to(dtype))
    out.psc.sum().backward()
    assert current.grad.dtype == dtype


@plain_and_compiled
def test_autocast_leaves_the_neuron_alone(compiled):
    current = random_current(10, 6).detach().float()
    outside = lif(current, compiled=compiled)
    with torch.autocast("cpu", torch.bfloat16):
        inside = lif(current, compiled=compiled)
    assert all(torch.equal(x, y) and x.dtype == torch.float32 for x, y in zip(inside[:3], outside[:3], strict=True))


@plain_and_compiled
@gradients
@resets
def test_a_constant_current_is_given_as_one_step(gradient, reset, compiled):
    current = random_current(1, 3, 4)
    arriving = tuple(torch.randn(2, 6, 3, 4, dtype=torch.float64))
    settings = dict(gradient=FACTORS[gradient][0], reset=reset, compiled=compiled)
    constant = gradient_of(lif, current, arriving, time_steps=6, **settings)
    expected = simulate(current.detach().expand(6, 3, 4), arriving, gradient, reset=reset)
    assert near(constant, expected.current.sum(0, keepdims=True))
    assert lif(current, time_steps=6, compiled=compiled).potential.shape == (6, 3, 4)
    layer = LIF(compiled=compiled)
    assert torch.equal(layer(current, 6), lif(current.expand(6, 3, 4), compiled=compiled).psc)


@plain_and_compiled
def test_spikes_are_left_out_on_demand(compiled):
    current = random_current(5, 3)
    without, whole = lif(current, spikes=False, compiled=compiled), lif(current, compiled=compiled)
    assert without.spikes is None and torch.equal(without.psc, whole.psc)
    torch.testing.assert_close(*(torch.autograd.grad(out.psc.sum(), current)[0] for out in (without, whole)))


@plain_and_compiled
def test_strides_do_not_matter(compiled):
    """Transposed, sliced, flipped, off any alignment, one number expanded: the neuron sees values."""
    base, *arriving = case(8, 5, 40)
    views = [
        lambda x: x.transpose(1, 2),
        lambda x: x[:, ::2, 3:],
        lambda x: x[1:, 1:, 1:],
        lambda x: x.flip(0),
        lambda x: x.movedim(0, -1),
        lambda x: x[:, :1].expand(8, 5, 40),
        lambda x: x[0, 0, 0].expand(6, 7),
    ]
    for dtype in (torch.float64, torch.float32):
        for view in views:
            leaf = base.to(dtype).requires_grad_()
            current = view(leaf)
            grads = [view(x.to(dtype)) for x in arriving]
            out = lif(current, compiled=compiled)
            whole = lif(current.detach().contiguous())
            assert torch.equal(out.psc, whole.psc) and torch.equal(out.potential, whole.potential)
            found = torch.autograd.grad(out[:2], current, grads)[0]
            expected = simulate(current.detach(), grads, "full")
            assert near(found, expected.current, 1e-10 if dtype == torch.float64 else 1e-5)


def outcome(function) -> torch.Tensor | str:
    try:
        return function()
    except RuntimeError as error:
        return "an in-place change" if "inplace" in str(error) else str(error)


@plain_and_compiled
@pytest.mark.parametrize("changed", ["psc", "spikes", "potential", "state.potential", "state.spikes", "state.psc"])
def test_outputs_are_ordinary_tensors(changed, compiled):
    """What may be changed in place after plain autograd may be changed here too, with the same gradient."""

    def after(neuron):
        leaf = case(6, 3)[0].requires_grad_()
        out = neuron(leaf)
        part = getattr(out.state, changed.removeprefix("state.")) if "state." in changed else getattr(out, changed)
        part.mul_(2).relu_()
        loss = out.psc.square().sum() + out.spikes.sum() + sum(x.square().sum() for x in out.state)
        return torch.autograd.grad(loss, leaf)[0]

    found = outcome(lambda: after(lambda x: lif(x, compiled=compiled)))
    if changed == "potential":  # what the backward pass needs: refused, not used
        assert isinstance(found, str) or near(found, after(lambda x: reference_lif(x)))
    else:
        torch.testing.assert_close(found, after(reference_lif), rtol=1e-10, atol=1e-12)


@plain_and_compiled
def test_layers_that_work_in_place_may_follow(compiled):
    """Any kind of them, after any output."""
    for layer in (nn.ReLU(inplace=True), nn.Dropout(0.0, inplace=True), nn.Hardtanh(0, 0.4, inplace=True)):
        gradients = []
        for settings in ({"compiled": compiled}, {}):
            leaf = case(6, 3)[0].requires_grad_()
            model = nn.Sequential(LIF(**settings), layer)
            model(leaf).square().sum().backward()
            gradients.append(leaf.grad)
        assert near(*gradients) and gradients[0].any()


@plain_and_compiled
def test_what_went_in_may_be_changed_afterwards(compiled):
    """The current is not kept."""
    leaf = case(6, 3)[0].requires_grad_()
    current = 1 * leaf
    psc = lif(current, compiled=compiled).psc
    current.zero_()
    found = torch.autograd.grad(psc.sum(), leaf)[0]
    assert near(found, torch.autograd.grad(lif(leaf).psc.sum(), leaf)[0])


@plain_and_compiled
def test_nothing_is_recorded_without_need(compiled):
    current = case(4, 3)[0].requires_grad_()
    with torch.no_grad():
        assert not lif(current, compiled=compiled).psc.requires_grad
    with torch.inference_mode():
        assert lif(current.detach(), compiled=compiled).psc.is_inference()
    assert not lif(current.detach(), compiled=compiled).psc.requires_grad


@plain_and_compiled
def test_a_graph_is_used_up_as_any_other(compiled):
    current = case(4, 3)[0].requires_grad_()
    psc = lif(current, compiled=compiled).psc.sum()
    first = torch.autograd.grad(psc, current, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(psc, current)[0])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(psc, current)


def test_module_is_the_function():
    current = random_current(8, 3)
    layer = LIF(tau_m=4.0, gradient="leak")
    assert torch.equal(layer(current), lif(current, tau_m=4.0).psc)
    found, expected = (
        torch.autograd.grad(psc.square().sum(), current)[0]
        for psc in (layer(current), lif(current, tau_m=4.0, gradient="leak").psc)
    )
    assert torch.equal(found, expected)
    assert "tau_m=4.0" in repr(layer)


def test_tensors_of_a_module_are_its_buffers_and_parameters():
    """They move, are saved, copied and pickled with it, and a parameter is learned."""
    layer = LIF(temperature=torch.tensor([0.2, 0.3]), threshold=nn.Parameter(torch.tensor([0.9, 1.1])), tau_m=4.0)
    assert [name for name, _ in layer.named_parameters()] == ["threshold"]
    assert [name for name, _ in layer.named_buffers()] == ["temperature"]
    current = torch.randn(7, 3, 2) + 0.5
    expected = lif(current, temperature=layer.temperature, threshold=layer.threshold, tau_m=4.0).psc

    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = LIF(temperature=torch.ones(2), threshold=nn.Parameter(torch.zeros(2)), tau_m=4.0)
    assert not torch.equal(other(current), expected)
    other.load_state_dict(torch.load(file))
    copies = (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)))
    assert all(torch.equal(one(current), expected) for one in copies)
    assert copies[1].threshold is not layer.threshold and isinstance(copies[1].threshold, nn.Parameter)

    layer.double()
    assert layer.temperature.dtype == layer.threshold.dtype == torch.float64
    assert layer(current.double()).dtype == torch.float64
    layer.to("meta")
    assert layer.temperature.is_meta and layer.threshold.is_meta
    assert layer(current.to("meta")).is_meta

    (other(current) - 1).square().sum().backward()
    before = other.threshold.detach().clone()
    torch.optim.SGD(other.parameters(), lr=0.01).step()
    assert not torch.equal(other.threshold, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@plain_and_compiled
@resets
@gradients
def test_cuda_equals_the_independent_neuron(gradient, reset, compiled):
    current, *arriving = case(20, 64)
    expected = simulate(current, arriving, gradient, reset=reset)
    settings = dict(gradient=FACTORS[gradient][0], reset=reset, compiled=compiled)
    found = gradient_of(lif, current.cuda().requires_grad_(), [x.cuda() for x in arriving], **settings)
    assert near(found.cpu(), expected.current)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tau_m", 0.99),
        ("tau_m", math.nan),
        ("tau_m", "6"),
        ("tau_m", True),
        ("tau_m", None),
        ("tau_m", torch.tensor([6.0, 0.5])),
        ("tau_m", np.bool_(True)),
        ("tau_m", np.full((3, 9), 6.0)),
        ("tau_m", Fraction(6)),
        ("tau_s", 0.0),
        ("tau_s", math.inf),
        ("tau_s", torch.tensor([2.0, math.nan])),
        ("threshold", math.nan),
        ("threshold", math.inf),
        ("threshold", 1j),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", torch.tensor([0.3, 0.0])),
        ("gradient", "none"),
        ("gradient", "nan"),
        ("gradient", None),
        ("gradient", math.nan),
        ("gradient", scaled(math.nan)),
        ("gradient", scaled(math.inf)),
        ("surrogate", "tanh"),
        ("surrogate", None),
        ("surrogate_scale", "height"),
        ("reset", "none"),
        ("reset", True),
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(setting, value):
    current = torch.zeros(3, 2)
    for build in (
        lambda: lif(current, **{setting: value}),
        lambda: lif(current, compiled=True, **{setting: value}),
        lambda: reference_lif(current, **{setting: value}),
        lambda: LIF(**{setting: value}),
        lambda: LIF(compiled=True, **{setting: value}),
    ):
        with pytest.raises(ValueError, match=setting) as error:
            build()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["no", 0, 1, None, np.bool_(False)], ids=repr)
@pytest.mark.parametrize("name", ["compiled", "spikes", "relaxed"])
def test_texts_and_numbers_are_no_truth_values(name, value):
    with pytest.raises(ValueError, match=f"{name} must be True or False, got"):
        lif(torch.zeros(3, 2), **{name: value})
    if name != "spikes":
        with pytest.raises(ValueError, match=f"{name} must be True or False, got"):
            LIF(**{name: value})


@plain_and_compiled
def test_relaxed_with_scale_peak_is_refused(compiled):
    with pytest.raises(ValueError, match=r"relaxed.*peak"):
        lif(torch.zeros(3), relaxed=True, surrogate_scale="peak", compiled=compiled)


def test_a_kernel_of_ones_own_runs_compiled_too():
    """By the plain loop: one entry adds a surrogate."""
    quartic = tsbp.surrogate.Surrogate(
        lambda x: 15 / 16 * (1 - x.clamp(-1, 1) ** 2) ** 2,
        lambda x: 0.5 + 15 / 16 * (x.clamp(-1, 1) - 2 / 3 * x.clamp(-1, 1) ** 3 + x.clamp(-1, 1) ** 5 / 5),
        15 / 16,
    )
    SURROGATES["quartic"] = quartic
    KERNELS["quartic"] = lambda x: quartic.kernel(torch.tensor(x)).numpy()
    try:
        current, *arriving = case(9, 4)
        current.requires_grad_()
        expected = simulate(current.detach(), arriving, "full", surrogate="quartic")
        for compiled in (False, True):
            assert near(gradient_of(lif, current, arriving, surrogate="quartic", compiled=compiled), expected.current)
        assert gradcheck(lambda i: lif(i, surrogate="quartic", relaxed=True)[:2], current, atol=1e-6, rtol=1e-6)
    finally:
        del SURROGATES["quartic"], KERNELS["quartic"]


CURRENTS = {
    "no step": lambda: torch.zeros(0, 3),
    "no time": lambda: torch.tensor(1.0),
    "integers": lambda: torch.zeros(3, dtype=torch.int64),
    "complex": lambda: torch.zeros(3, dtype=torch.complex64),
    "boolean": lambda: torch.zeros(3, dtype=torch.bool),
    "a list": lambda: [1.0],
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "MKL-DNN": lambda: torch.eye(3).to_mkldnn(),
    "quantised": lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
    "float8": lambda: torch.zeros(3, 2).to(torch.float8_e4m3fn),
}


@pytest.mark.filterwarnings("ignore")
@plain_and_compiled
@pytest.mark.parametrize("kind", CURRENTS)
def test_bad_currents_are_named(kind, compiled):
    current = CURRENTS[kind]()
    for call in (lambda x: lif(x, compiled=compiled), LIF(compiled=compiled), reference_lif):
        with pytest.raises(ValueError, match="current") as error:
            call(current)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="spikes"):
        filter_spikes(current)


@plain_and_compiled
@pytest.mark.parametrize(("length", "time_steps"), [(1, 0), (1, -1), (3, 4), (3, 1), (1, 2.0), (1, "2")])
def test_time_steps_that_do_not_fit_are_named(length, time_steps, compiled):
    with pytest.raises(ValueError, match="time_steps"):
        lif(torch.zeros(length, 2), time_steps=time_steps, compiled=compiled)


def test_public_names():
    assert set(tsbp.__all__) <= set(dir(tsbp))
    assert set(GRADIENTS) >= {"full", "leak", "spatial"} and set(SURROGATES) == set(KERNELS)


def test_the_derivative_is_that_of_the_independent_kernels():
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    for name, kernel in KERNELS.items():
        assert near(surrogate_derivative(x, 0.7, name), kernel(x.numpy() / 0.7) / 0.7, 1e-14)
