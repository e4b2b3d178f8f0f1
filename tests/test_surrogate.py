"""The spike and its surrogate derivative against SymPy and each other."""

import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsbp.surrogate import SurrogateSpike, heaviside, sigmoid_spike, surrogate_derivative


def test_heaviside():
    assert heaviside(torch.tensor([-1.0, -0.0, 0.0, 1e-30, 2.0])).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("temperature", ["1/20", "3/10", "2"])
def test_derivative_equals_sympy(temperature):
    """Eq. 10 is the derivative of eq. 9, to rounding error in float64."""
    x, width = sympy.Symbol("x"), sympy.Rational(temperature)
    derivative = sympy.diff(1 / (1 + sympy.exp(-x / width)), x)
    points = [sympy.Rational(n, 8) for n in range(-24, 25)]
    expected = torch.tensor([float(derivative.subs(x, p).evalf(30)) for p in points], dtype=torch.float64)
    overdrive = torch.tensor([float(p) for p in points], dtype=torch.float64)
    torch.testing.assert_close(surrogate_derivative(overdrive, float(width)), expected, rtol=1e-9, atol=1e-14)


@given(st.floats(-50, 50), st.floats(0.01, 10))
def test_surrogate_is_a_bump_at_the_threshold(overdrive, temperature):
    x = torch.tensor(overdrive, dtype=torch.float64)
    h = surrogate_derivative(x, temperature)
    assert 0 <= h <= 1 / (4 * temperature) * (1 + 1e-12)
    torch.testing.assert_close(h, surrogate_derivative(-x, temperature), rtol=1e-6, atol=1e-12)
    assert 0 <= sigmoid_spike(x, temperature) <= 1


def test_function_is_heaviside_forward_and_the_surrogate_backward():
    overdrive = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    spikes = SurrogateSpike.apply(overdrive, 0.3)
    weights = torch.randn(9, dtype=torch.float64)
    (weights * spikes).sum().backward()
    assert torch.equal(spikes, heaviside(overdrive))
    torch.testing.assert_close(overdrive.grad, weights * surrogate_derivative(overdrive.detach(), 0.3))
