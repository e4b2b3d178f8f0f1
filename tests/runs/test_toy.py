"""The single neuron: the batched experiment against one neuron trained by plain autograd, and its phases."""

import pytest
import torch

from tsbp import filter_spikes, reference_lif
from tsbp.gradients import STUDIED
from tsbp.runs import toy
from tsbp.runs.toy import ToyConfig, compare_along, draw, run, trace
from tsbp.surrogate import surrogate_spike

SMALL = ToyConfig(learning_rates=(0.01, 0.1), repeats=3, iterations=12, time_steps=40, n_inputs=20, dtype="float64")


def one_neuron(config: ToyConfig, gradient: str, learning_rate: float, repeat: int) -> list[float]:
    """Section 4.1 written down once more, for a single neuron, with autograd."""
    draws = draw(config)
    psc = filter_spikes(draws.input_spikes[repeat], config.tau_s)
    psc = torch.cat([torch.zeros_like(psc[:1]), psc[:-1]])  # the paper's delay of one step
    target = filter_spikes(draws.target_spikes[:, repeat], config.tau_s)
    weights = draws.weights[repeat].clone().requires_grad_()
    losses = []
    for _ in range(config.iterations + 1):
        out = reference_lif(psc @ weights, gradient=gradient)
        loss = 0.5 * ((target - out.psc) ** 2).sum()
        losses.append(loss.item())
        with torch.no_grad():
            weights -= learning_rate * torch.autograd.grad(loss, weights)[0]
    return losses


@pytest.mark.parametrize("gradient", STUDIED)
def test_the_batch_is_many_single_neurons(gradient):
    result = run(SMALL)
    for rate in SMALL.learning_rates:
        for repeat in range(SMALL.repeats):
            alone = torch.tensor(one_neuron(SMALL, gradient, rate, repeat), dtype=torch.float64)
            torch.testing.assert_close(result.curves(gradient, rate)[:, repeat], alone, rtol=1e-9, atol=1e-12)


def test_more_repeats_and_other_gradients_leave_the_draws_alone():
    few, many = draw(SMALL), draw(SMALL.but(repeats=7, gradients=("leak",)))
    assert torch.equal(few.input_spikes, many.input_spikes[:3])
    assert torch.equal(few.target_spikes, many.target_spikes[:, :3])
    assert torch.equal(few.weights, many.weights[:3])
    assert not torch.equal(few.weights, draw(SMALL.but(seed=1)).weights)


def test_draws_have_the_probabilities_of_table_1():
    draws = draw(ToyConfig(repeats=100))
    assert draws.input_spikes.shape == (100, 100, 50) and draws.target_spikes.shape == (100, 100)
    assert draws.input_spikes.mean().item() == pytest.approx(1 / 10, abs=3 * (0.09 / 500_000) ** 0.5)
    assert draws.target_spikes.mean().item() == pytest.approx(1 / 20, abs=3 * (0.0475 / 10_000) ** 0.5)
    assert draws.weights.var().item() == pytest.approx(1 / 50, rel=0.1)


def test_optimizers_differ_and_learn():
    losses = {
        name: run(SMALL.but(optimizer=name, gradients=("full",), learning_rates=(0.02,), iterations=60)).loss
        for name in ("sgd", "momentum", "adam")
    }
    assert all(loss[-1].mean() < loss[0].mean() for loss in losses.values())
    assert not torch.equal(losses["sgd"], losses["momentum"])


def test_phases_of_figure_2():
    config = SMALL.but(gradients=("full",), learning_rates=(0.01,))
    kept = trace(config)
    assert {kept[name].shape for name in ("A", "B", "C", "D", "spikes")} == {(12, 40)}
    target = filter_spikes(kept["target"], config.tau_s)
    psc = filter_spikes(kept["spikes"].T, config.tau_s).T
    torch.testing.assert_close(kept["A"], psc - target)
    # B by the definition: what a spike at t contributes to all later errors.
    t = torch.arange(40)
    kernel = torch.where(t[:, None] >= t, 0.5 ** (t[:, None] - t + 1).double(), 0.0)
    torch.testing.assert_close(kept["B"], kept["A"] @ kernel)
    # The last step has no future: there D is C. Elsewhere it is not.
    torch.testing.assert_close(kept["D"][:, -1], kept["C"][:, -1])
    assert not torch.allclose(kept["D"], kept["C"])


@pytest.mark.parametrize("gradient", STUDIED)
def test_phases_by_autograd_alone(gradient):
    """Each phase is the gradient of the loss at a node of the graph, found by cutting the graph there."""
    config = SMALL.but(gradients=(gradient,), learning_rates=(0.01,))
    seen = []
    run(config.but(repeats=2), observer=seen.append)
    target = filter_spikes(draw(config.but(repeats=2)).target_spikes, config.tau_s)[:, None, None]
    for iteration in (seen[0], seen[-1]):

        def gradient_at(node, psc_of):
            node = node.clone().requires_grad_()
            return torch.autograd.grad(0.5 * ((psc_of(node) - target) ** 2).sum(), node)[0]

        def spiking(potential):
            return filter_spikes(surrogate_spike(potential - 1.0, 0.3), config.tau_s)

        expected = {
            "A": gradient_at(iteration.output.psc, lambda psc: psc),
            "B": gradient_at(iteration.output.spikes, lambda spikes: filter_spikes(spikes, config.tau_s)),
            "C": gradient_at(iteration.output.potential, spiking),
            "D": gradient_at(iteration.current, lambda current: reference_lif(current, gradient=gradient).psc),
        }
        for name, phase in expected.items():
            torch.testing.assert_close(getattr(iteration, name), phase, rtol=1e-8, atol=1e-10)


def test_for_spatial_phase_d_is_phase_c():
    kept = trace(SMALL.but(gradients=("spatial",), learning_rates=(0.01,)))
    torch.testing.assert_close(kept["D"], kept["C"])


def test_summary_fits_its_curves():
    result = run(SMALL)
    summary = result.summary()
    assert torch.tensor(summary["loss_mean"]).shape == (3, 2, 13)
    leak = result.curves("leak", 0.1)
    assert summary["loss_mean"][1][1][-1] == pytest.approx(leak[-1].mean().item(), rel=1e-4)
    assert summary["final_loss"][1][1] == pytest.approx(leak[-1].tolist(), rel=1e-4)


def test_convergence_is_being_right_to_the_end():
    """By the rasters: every output from that iteration on is the target, the one before is not."""
    config = SMALL.but(gradients=("full",), learning_rates=(0.05,), repeats=8, iterations=100)
    rasters = []
    result = run(config, observer=lambda iteration: rasters.append(iteration.output.spikes[:, 0, 0]))
    right = (torch.stack(rasters) == result.draws.target_spikes).all(1)  # [iterations, R]
    seen = set()
    for repeat, found in enumerate(result.converged.flatten().tolist()):
        seen.add(found > 0)
        if found >= 0:
            assert right[found:, repeat].all() and (found == 0 or not right[found - 1, repeat])
    assert seen == {True, False}
    kept = trace(config)
    assert kept["converged"].item() == result.converged[0, 0, 0]
    assert torch.equal(kept["spikes"], torch.stack(rasters)[..., 0])


def test_a_number_scales_the_reset_term():
    result = run(SMALL.but(gradients=("full", "1", "leak", "0", "0.5")))
    torch.testing.assert_close(result.loss[:, 0], result.loss[:, 1])
    torch.testing.assert_close(result.loss[:, 2], result.loss[:, 3])
    assert not torch.equal(result.loss[:, 4], result.loss[:, 0])


def test_normalised_updates_have_the_length_of_the_learning_rate():
    """One update from the same weights: the three gradients move equally far."""
    config = SMALL.but(normalised=True, iterations=1, learning_rates=(0.03,))
    draws = draw(config)
    psc = filter_spikes(draws.input_spikes[0], config.tau_s)
    psc = torch.cat([torch.zeros_like(psc[:1]), psc[:-1]])
    for name in STUDIED:
        weights = draws.weights[0].clone().requires_grad_()
        target = filter_spikes(draws.target_spikes[:, 0], config.tau_s)
        loss = 0.5 * ((target - reference_lif(psc @ weights, gradient=name).psc) ** 2).sum()
        direction = torch.autograd.grad(loss, weights)[0]
        moved = draws.weights[0] - 0.03 * direction / direction.norm()
        after = 0.5 * ((target - reference_lif(psc @ moved).psc) ** 2).sum()
        assert run(config).final_loss(name, 0.03)[0].item() == pytest.approx(after.item(), rel=1e-9)


@pytest.mark.parametrize(("name", "low", "high"), [("positive", 0.0, 0.05), ("uniform", -(50**-0.5), 50**-0.5)])
def test_initialisations(name, low, high):
    weights = draw(ToyConfig(repeats=50, initialisation=name)).weights
    assert weights.min() >= low and weights.max() <= high
    assert weights.mean().item() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_a_neuron_that_never_fires_and_one_that_always_does():
    """No input spikes: silent for ever, and no gradient moves it. No target spikes: it learns silence."""
    silent = run(SMALL.but(input_probability=0.0))
    assert not silent.spikes.any() and torch.equal(silent.loss[0], silent.loss[-1])
    assert silent.summary()["silent_fraction"] == [[1, 1]] * 3
    busy = run(SMALL.but(input_probability=1.0, target_probability=1.0, initialisation="positive", iterations=100))
    assert busy.loss.isfinite().all()
    assert busy.final_loss("full", 0.01).mean() < busy.curves("full", 0.01)[0].mean()


def test_gradients_along_one_path():
    """The one that trains moves the weights by itself times the learning rate; all three by autograd at the start."""
    config = SMALL.but(gradients=("leak",), learning_rates=(0.01,))
    along = compare_along(config)
    draws = draw(config)
    psc = filter_spikes(draws.input_spikes[1], config.tau_s)
    psc = torch.cat([torch.zeros_like(psc[:1]), psc[:-1]])
    target = filter_spikes(draws.target_spikes[:, 1], config.tau_s)
    for number, weights in enumerate((draws.weights[1], draws.weights[1] - 0.01 * along["leak"][0, 1])):
        weights = weights.clone().requires_grad_()
        for name in STUDIED:
            loss = 0.5 * ((target - reference_lif(psc @ weights, gradient=name).psc) ** 2).sum()
            torch.testing.assert_close(along[name][number, 1], torch.autograd.grad(loss, weights)[0])


def test_a_reset_by_subtraction_is_another_neuron():
    config = SMALL.but(gradients=("full",), learning_rates=(0.1,))
    assert not torch.equal(run(config).loss, run(config.but(reset="subtract")).loss)


def test_a_delay_longer_than_the_sequence_takes_no_memory():
    config = ToyConfig(repeats=2, iterations=1, time_steps=5, learning_rates=(0.1,), synaptic_delay=10**12)
    assert (run(config).spikes == 0).all(), "nothing arrives in time"


def test_a_loss_that_is_not_finite_is_named(monkeypatch):
    monkeypatch.setattr(toy, "van_rossum_distance", lambda psc, *_: psc.sum(0) * float("inf"))
    config = ToyConfig(repeats=2, iterations=1, time_steps=5, learning_rates=(0.1, 0.2))
    with pytest.raises(FloatingPointError, match=r"the loss is not finite at the learning rate 0\.1, 0\.2$"):
        run(config)
