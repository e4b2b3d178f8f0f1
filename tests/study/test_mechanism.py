"""How an error travels: against autograd through a neuron, and by hand."""

import pytest
import torch

from tsbp import lif, scaled
from tsbp.runs import data, evaluation
from tsbp.runs.settings import CellConfig
from tsbp.runs.training import train
from tsbp.study import mechanism
from tsbp.surrogate import surrogate_derivative


@pytest.mark.parametrize("gradient", ["full", "leak", "spatial", "0.5"])
@pytest.mark.parametrize("scale", ["area", "peak"])
def test_factors_are_what_the_backward_pass_multiplies_by(gradient, scale):
    """dU[T-1]/dI[0], which the neuron computes where only its last spike counts, over the surrogate there."""
    config = CellConfig.for_dataset("randman", temperature=0.3, surrogate_scale=scale, tau_m=4.0)
    config = config.alone(gradient, 0.01, 0)
    current = (torch.rand(6, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).requires_grad_()
    settings = {"tau_m": 4.0, "temperature": 0.3, "surrogate_scale": scale}
    named = scaled(0.5) if gradient == "0.5" else gradient
    out = lif(current, gradient=named, **settings)
    out.spikes[-1].sum().backward()
    factors = mechanism.membrane_factors(out.potential, config)
    h = surrogate_derivative(out.potential[-1] - 1, 0.3, "sigmoid", scale)
    assert torch.allclose(current.grad[0], factors[:-1].prod(0) * h)


def test_a_detached_reset_amplifies_nothing():
    travel = travelled("leak")
    assert travel.amplified == 0 and 0 < travel.near < 1 and travel.firing.shape == travel.error.shape == (100,)


def test_errors_are_those_at_the_currents():
    """The gradient of the first weights is the errors times the inputs, which are one spike each."""
    config, dataset, network = built("full")
    images, labels = dataset.train_images[:20], dataset.train_labels[:20]
    errors = mechanism.travel(network, images, labels, dataset, config)[0].error
    bias = torch.zeros(100, 1, 128, requires_grad=True)
    hook = network.layers[0].weights.register_forward_hook(lambda module, given, current: current + bias)
    target = evaluation.target_of(labels, dataset, config)
    per_example = []
    for number in range(20):
        loss = evaluation.loss_of(network, images[number : number + 1], target[:, number : number + 1], dataset, config)
        (gradient,) = torch.autograd.grad(loss.sum() / 20, bias)
        per_example.append(gradient[:, 0])
    hook.remove()
    expected = torch.stack(per_example).double().square().mean((0, 2)).sqrt().numpy()
    assert errors == pytest.approx(expected, rel=1e-3, abs=1e-12)


def test_a_trained_network_is_that_of_the_training():
    config, dataset, start = built("full")
    config = config.but(epochs=1, examples=300)
    dataset = evaluation.prepare(config, data.load("randman", None, 100))
    network = mechanism.trained(config, dataset)
    assert not torch.equal(network.layers[0].weights.weight, start.layers[0].weights.weight)
    accuracy = 100 * float(evaluation.evaluate(network, dataset, config).double().mean())
    record = train(config, dataset=data.load("randman", None, 100), quiet=True)
    assert accuracy == pytest.approx(record["test_accuracy"])


def built(gradient: str):
    config = CellConfig.for_dataset("randman", weight_gain=4.0).alone(gradient, 0.01, 0)
    dataset = evaluation.prepare(config, data.load("randman", None, 100))
    return config, dataset, evaluation.build_network(config, dataset)


def travelled(gradient: str) -> mechanism.Travel:
    config, dataset, network = built(gradient)
    (found,) = mechanism.travel(network, dataset.train_images[:20], dataset.train_labels[:20], dataset, config)
    return found
