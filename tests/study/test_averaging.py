"""Angles between averaged gradients, against gradients of the averages themselves."""

import numpy as np
import pandas as pd
import pytest
import torch

from tsbp import lif, van_rossum_distance
from tsbp.runs import toy
from tsbp.study.averaging import angle_table, network_angles, neuron_angles

CONFIG = toy.ToyConfig(repeats=6, time_steps=40, n_inputs=10, input_probability=0.3, iterations=3, dtype="float64")


def test_the_gradient_of_the_mean_loss_is_the_mean_of_the_gradients():
    """Neuron by neuron, with all patterns in one batch."""
    found = neuron_angles(CONFIG, (1, 6))
    trained = toy.run(CONFIG.but(gradients=("full",), learning_rates=CONFIG.learning_rates[:1]))
    draws = trained.draws
    inputs = toy.input_psc(draws, CONFIG)
    expected = []
    for start in trained.weights[0, 0]:
        gradients = []
        for name in ("full", "leak"):
            weights = start.clone().requires_grad_()
            psc = lif(torch.einsum("rtn,n->tr", inputs, weights), gradient=name, tau_m=6.0, tau_s=2.0).psc
            van_rossum_distance(psc, draws.target_spikes, 2.0).mean().backward()
            gradients.append(weights.grad)
        if gradients[0].any() and gradients[1].any():
            expected.append(torch.cosine_similarity(*gradients, dim=0).arccos().rad2deg().item())
    assert not torch.equal(trained.weights[0, 0], draws.weights)
    assert found["leak"][6] == pytest.approx(expected, abs=1e-6) and len(expected) > 3
    assert len(found["spatial"][1]) > 3 and (found["spatial"][1] > 0).all()


def test_without_a_membrane_that_remembers_all_angles_are_zero():
    found = neuron_angles(CONFIG.but(tau_m=1.0), (2,))
    assert all(np.abs(by_number[2]).max() < 1e-4 for by_number in found.values())


def test_angles_from_records():
    metrics = [{}, {"averaged_cosine_leak": {"1": 0.0, "10": 1.0}, "averaged_cosine_spatial": {"1": 0.5}}]
    found = network_angles(pd.DataFrame({"epoch_metrics": [metrics, metrics, [{}, {}]]}))
    assert found["leak"][1] == pytest.approx([90, 90]) and found["spatial"][1] == pytest.approx([60, 60])
    table = angle_table({"network": found, "old records": {"leak": {}}})
    assert table.to_dict("records") == [
        {"study": "network", "gradient": "leak", "1": "90°", "10": "0°"},
        {"study": "network", "gradient": "spatial", "1": "60°", "10": ""},
    ]
