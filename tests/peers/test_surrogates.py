"""The surrogates of libraries as they come: their derivatives are those that our table says."""

import math
import warnings

import pytest
import torch

from tsbp.peers import surrogates
from tsbp.surrogate import SURROGATES, surrogate_derivative

X = torch.linspace(-3, 3, 2001, dtype=torch.float64)


def spikingjelly(x: torch.Tensor) -> torch.Tensor:
    from spikingjelly.activation_based import neuron

    return neuron.LIFNode().surrogate_function(x)


def snntorch(x: torch.Tensor) -> torch.Tensor:
    import snntorch

    return snntorch.Leaky(beta=0.9).spike_grad(x)


def norse(x: torch.Tensor) -> torch.Tensor:
    from norse.torch.functional import lif_box, threshold

    parameters = lif_box.LIFBoxParameters()
    return threshold.threshold(x, parameters.method, parameters.alpha)


SPIKES = {"SpikingJelly": spikingjelly, "snnTorch": snntorch, "Norse": norse}


@pytest.mark.parametrize("default", surrogates.DEFAULTS, ids=lambda one: one.library)
def test_defaults_are_those_of_the_library(default):
    pytest.importorskip(default.library.lower())
    x = X.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of functions of PyTorch that go out of use
        SPIKES[default.library](x).sum().backward()
    ours = surrogate_derivative(X, default.temperature, default.surrogate, default.scale)
    assert torch.allclose(x.grad, ours, rtol=1e-5)


@pytest.mark.parametrize("name", SURROGATES)
def test_half_widths(name):
    expected = {
        "sigmoid": 2 * math.acosh(math.sqrt(2)), "fast-sigmoid": math.sqrt(2) - 1, "arctan": 1.0, "triangle": 0.5,
        "rectangle": 1.0, "gaussian": math.sqrt(2 * math.log(2)),
    }  # fmt: skip
    assert surrogates.half_width(name) == pytest.approx(expected[name], abs=1e-9)


def test_the_table_by_hand():
    table = surrogates.table().set_index("library")
    assert table["as wide as Θ ="].tolist() == ["0.25", "0.18", "0.23"]
    assert table["c, if kept"].tolist() == ["1", "1", "2"]
