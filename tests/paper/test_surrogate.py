"""The spike and its surrogates against SymPy, numerical quadrature, and kernels written once more."""

import math

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import INDEPENDENT, INTEGRALS, KERNELS, near
from scipy.integrate import quad
from torch.autograd import gradcheck

from tsbp import SURROGATES
from tsbp.surrogate import heaviside, relaxed_spike, surrogate_derivative, surrogate_spike

X = sympy.Symbol("x", real=True)
LOGISTIC = 1 / (1 + sympy.exp(-X))
FORMULAS = {
    "sigmoid": LOGISTIC * (1 - LOGISTIC),
    "fast-sigmoid": (1 + sympy.Abs(X)) ** -2 / 2,
    "arctan": 1 / (sympy.pi * (1 + X**2)),
    "triangle": sympy.Max(0, 1 - sympy.Abs(X)),
    "rectangle": sympy.Piecewise((sympy.Rational(1, 2), sympy.Abs(X) < 1), (0, True)),
    "gaussian": sympy.exp(-(X**2) / 2) / sympy.sqrt(2 * sympy.pi),
}
WIDTHS = {"sigmoid": 3.53, "fast-sigmoid": 0.83, "arctan": 2, "triangle": 1, "rectangle": 2, "gaussian": 2.35}
"""Full width at half maximum, in units of Θ. An entry that is added to the package needs none in these tables."""

names = pytest.mark.parametrize("name", SURROGATES)
written_once_more = pytest.mark.parametrize("name", INDEPENDENT)
scales = pytest.mark.parametrize("scale", ["area", "peak"])
temperatures = pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])


def at(function, x: float) -> float:
    return function(torch.tensor(x, dtype=torch.float64)).item()


def test_heaviside():
    assert heaviside(torch.tensor([-1.0, -0.0, 0.0, 1e-30, 2.0])).tolist() == [0, 0, 0, 1, 1]


def test_the_six_surrogates_are_in_every_table():
    assert set(FORMULAS) == set(WIDTHS) == set(INDEPENDENT) <= set(SURROGATES)
    assert len(INDEPENDENT) == 6


@written_once_more
def test_the_kernel_is_its_formula(name):
    points = [sympy.Rational(n, 8) for n in range(-40, 41) if abs(n) != 8]  # the edges of the rectangle left out
    expected = torch.tensor([float(FORMULAS[name].subs(X, p).evalf(30)) for p in points], dtype=torch.float64)
    x = torch.tensor([float(p) for p in points], dtype=torch.float64)
    torch.testing.assert_close(SURROGATES[name].kernel(x), expected, rtol=1e-12, atol=1e-15)


@names
def test_the_kernel_has_area_1_and_the_peak_that_is_said(name):
    kernel, _, peak = SURROGATES[name]
    area = sum(quad(lambda x: at(kernel, x), *ends)[0] for ends in ((-math.inf, -1), (-1, 0), (0, 1), (1, math.inf)))
    assert area == pytest.approx(1, abs=1e-7)
    x = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    assert at(kernel, 0.0) == pytest.approx(peak, rel=1e-15) and kernel(x).max() <= peak * (1 + 1e-15)
    assert (kernel(x) >= 0).all() and near(kernel(x), kernel(-x), 1e-15)
    assert (kernel(x[3000:]).diff() <= 1e-16).all()


@names
def test_the_integral_is_that_of_the_kernel(name):
    kernel, integral, _ = SURROGATES[name]
    for low, high in ((-math.inf, -1), (-math.inf, -3.7), (-1, -0.2), (-0.2, 0), (0, 0.9), (0.9, 1), (1, 5.5)):
        area = quad(lambda x: at(kernel, x), low, high)[0]
        start = 0.0 if low == -math.inf else at(integral, low)
        assert at(integral, high) - start == pytest.approx(area, abs=1e-8)
    assert at(integral, 0.0) == 0.5
    assert at(integral, 1e9) == pytest.approx(1, abs=1e-8) and at(integral, -1e9) == pytest.approx(0, abs=1e-8)
    x = torch.linspace(-4.05, 4.05, 82, dtype=torch.float64, requires_grad=True)
    assert near(integral(x), INTEGRALS[name](x.detach().numpy()), 1e-14)  # of the six, written once more
    slope = torch.autograd.grad(integral(x).sum(), x)[0]
    torch.testing.assert_close(slope, kernel(x.detach()), rtol=1e-12, atol=1e-15)


@written_once_more
def test_the_width_at_half_its_height(name):
    kernel, _, peak = SURROGATES[name]
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at(kernel, middle) > peak / 2 else (low, middle)
    assert 2 * low == pytest.approx(WIDTHS[name], abs=0.006)


@pytest.mark.parametrize("temperature", ["1/20", "3/10", "2"])
def test_the_papers_derivative_equals_sympy(temperature):
    """Eq. 10 is the derivative of eq. 9, to rounding error in float64."""
    width = sympy.Rational(temperature)
    derivative = sympy.diff(1 / (1 + sympy.exp(-X / width)), X)
    points = [sympy.Rational(n, 8) for n in range(-24, 25)]
    expected = torch.tensor([float(derivative.subs(X, p).evalf(30)) for p in points], dtype=torch.float64)
    overdrive = torch.tensor([float(p) for p in points], dtype=torch.float64)
    torch.testing.assert_close(surrogate_derivative(overdrive, float(width)), expected, rtol=1e-9, atol=1e-14)


@names
@temperatures
def test_scales(name, temperature):
    """`area`: k(x/Θ)/Θ, of area 1 at any width. `peak`: k(x/Θ)/k(0), 1 at the threshold at any width."""
    x = torch.linspace(-3, 3, 121, dtype=torch.float64)
    area, peak = (surrogate_derivative(x, temperature, name, scale) for scale in ("area", "peak"))
    kernel = KERNELS[name](x.numpy() / temperature)
    assert near(area, kernel / temperature, 1e-14) and near(peak, kernel / KERNELS[name](np.array(0.0)), 1e-14)
    assert at(lambda x: surrogate_derivative(x, temperature, name, "peak"), 0.0) == pytest.approx(1, rel=1e-15)
    assert peak.max() <= 1 + 1e-15
    torch.testing.assert_close(area, surrogate_derivative(x, temperature, name), rtol=0, atol=0)
    per_neuron = surrogate_derivative(x[:, None], torch.tensor([temperature, 1.0]), name)
    torch.testing.assert_close(per_neuron[:, 1], SURROGATES[name].kernel(x))


@names
@temperatures
def test_the_derivative_is_that_of_the_relaxed_spike(name, temperature):
    x = torch.linspace(-3.03, 3.03, 41, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(relaxed_spike(x, temperature, name).sum(), x)[0]
    torch.testing.assert_close(slope, surrogate_derivative(x.detach(), temperature, name), rtol=1e-10, atol=1e-14)
    width = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, w: relaxed_spike(x, w, name), (x, width), eps=1e-7, atol=1e-6, rtol=1e-5)


@given(st.sampled_from(list(SURROGATES)), st.floats(-50, 50), st.floats(0.01, 10))
def test_surrogates_are_bumps_at_the_threshold(name, overdrive, temperature):
    x = torch.tensor(overdrive, dtype=torch.float64)
    h = surrogate_derivative(x, temperature, name)
    assert 0 <= h <= SURROGATES[name].peak / temperature * (1 + 1e-12)
    torch.testing.assert_close(h, surrogate_derivative(-x, temperature, name), rtol=1e-6, atol=1e-12)
    assert 0 <= relaxed_spike(x, temperature, name) <= 1


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_away_there_is_neither_nan_nor_overflow(name, dtype):
    far = torch.tensor([-1e38, -1e20, 1e20, 1e38], dtype=dtype, requires_grad=True)
    for scale in ("area", "peak"):
        assert (surrogate_derivative(far, 0.3, name, scale).abs() < 1e-30).all()
        assert (torch.autograd.grad(surrogate_spike(far, 0.3, name, scale).sum(), far)[0].abs() < 1e-30).all()
    torch.testing.assert_close(relaxed_spike(far.detach(), 0.3, name), torch.tensor([0, 0, 1, 1], dtype=dtype))


# --- the spike with a surrogate gradient ------------------------------------------------------------------------------


def overdrives() -> torch.Tensor:
    return torch.linspace(-1.03, 1.07, 43, dtype=torch.float64, requires_grad=True)


@names
@scales
def test_heaviside_forward_and_the_surrogate_backward(name, scale):
    x = overdrives()
    spikes = surrogate_spike(x, 0.3, name, scale)
    weights = torch.randn_like(x)
    assert torch.equal(spikes, heaviside(x))
    found = torch.autograd.grad((weights * spikes).sum(), x)[0]
    torch.testing.assert_close(found, weights * surrogate_derivative(x.detach(), 0.3, name, scale))


@names
@scales
def test_the_spike_can_be_differentiated_again(name, scale):
    """h' by finite differences of the kernel written once more; then h'' against autograd through h."""
    x = overdrives()
    weights = torch.randn_like(x)
    first = torch.autograd.grad((weights * surrogate_spike(x, 0.3, name, scale)).sum(), x, create_graph=True)[0]
    points, step = x.detach().numpy() / 0.3, 1e-6
    slope = (KERNELS[name](points + step) - KERNELS[name](points - step)) / (2 * step) / 0.3
    assert first.requires_grad or name not in INDEPENDENT or name == "rectangle"
    if not first.requires_grad:  # constant where it is not cut
        assert not slope.any()
        return
    second = torch.autograd.grad(first.sum(), x, create_graph=True)[0]
    factor = 1 / 0.3 if scale == "area" else 1 / KERNELS[name](np.array(0.0))
    assert near(second, weights.numpy() * slope * factor, 1e-6)
    if name != "triangle" and (second.requires_grad or name in INDEPENDENT):
        third = torch.autograd.grad(second.sum(), x)[0]
        h = surrogate_derivative(x, 0.3, name, scale)
        expected = torch.autograd.grad((weights * h).sum(), x, create_graph=True)[0]
        assert near(third, torch.autograd.grad(expected.sum(), x)[0], 1e-9)
        assert third.any() or name not in INDEPENDENT


@names
@scales
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1)])
def test_a_learned_width(name, scale, shape):
    """dS/dΘ = -(overdrive/Θ) · h, summed over what shares a Θ; and its own derivatives exist."""
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    width = (0.3 + torch.rand(shape, dtype=torch.float64)).requires_grad_()
    weights = torch.randn_like(x)
    loss = (weights * surrogate_spike(x, width, name, scale)).sum()
    of_x, of_width = torch.autograd.grad(loss, (x, width), create_graph=True)
    h = surrogate_derivative(x, width, name, scale)
    expected = (weights * -x / width * h).sum_to_size(shape)
    torch.testing.assert_close(of_width, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(of_x, weights * h, rtol=1e-12, atol=1e-13)
    along = torch.randn_like(of_width)
    found = torch.autograd.grad((of_width * along).sum(), (x, width), retain_graph=True)
    wanted = torch.autograd.grad((expected * along).sum(), (x, width))
    assert all(near(one, other, 1e-10) for one, other in zip(found, wanted, strict=True))


@names
@scales
def test_the_spike_inside_transforms(name, scale):
    """Forward mode, vmap, and nested: always h."""
    x = overdrives().detach()
    h = surrogate_derivative(x, 0.3, name, scale)

    def spike(x):
        return surrogate_spike(x, 0.3, name, scale)

    tangent = torch.randn_like(x)
    value, forward = torch.func.jvp(spike, (x,), (tangent,))
    assert torch.equal(value, heaviside(x))
    torch.testing.assert_close(forward, tangent * h)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(spike))(x), h)
    rows = torch.func.vmap(spike)(torch.stack([x, -x]))
    assert torch.equal(rows, heaviside(torch.stack([x, -x])))
    width = torch.tensor(0.3, dtype=torch.float64)
    _, of_width = torch.func.jvp(lambda w: surrogate_spike(x, w, name, scale), (width,), (torch.ones_like(width),))
    torch.testing.assert_close(of_width, -x / 0.3 * h)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@names
@scales
def test_a_traced_spike_is_the_spike(name, scale):
    x = overdrives()
    traced = torch.jit.trace(lambda x: surrogate_spike(x, 0.3, name, scale), x.detach())
    other = (1.5 * x.detach()).requires_grad_()
    for value in (x, other):
        out = traced(value)
        torch.testing.assert_close(out, heaviside(value.detach()), rtol=0, atol=1e-12)
        found = torch.autograd.grad(out.sum(), value)[0]
        torch.testing.assert_close(found, surrogate_derivative(value.detach(), 0.3, name, scale))
