"""The registry of gradients against detaching and against the paper's algebra, and second derivatives."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import PEAKS, RESET_SHARE, case, custom, in_chunks, near, plain_and_compiled, simulate
from torch.autograd import gradgradcheck

from tsbp import GRADIENTS, LIF, SURROGATES, SpikingNetwork, lif, reference_lif, scaled
from tsbp.gradients import STUDIED, Form, form, ordered, resolve
from tsbp.layers import AveragePool
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.toy import ToyConfig
from tsbp.surrogate import surrogate_derivative

resets = pytest.mark.parametrize("reset", ["zero", "subtract"])
surrogates = pytest.mark.parametrize("surrogate", SURROGATES)
detachable = pytest.mark.parametrize("gradient", [*STUDIED, scaled(0.3), scaled(-2.0)], ids=str)


def gradient_of(neuron, current, arriving, **settings) -> torch.Tensor:
    current = current.detach().requires_grad_()
    return torch.autograd.grad(neuron(current, **settings)[:2], current, arriving)[0]


# --- the registry -----------------------------------------------------------------------------------------------------


def test_the_three_of_the_study_are_first():
    assert tuple(GRADIENTS)[:3] == STUDIED == ("full", "leak", "spatial")
    assert ordered(["mine", "spatial", "0.5", "full", "mine"]) == ["full", "spatial", "mine", "0.5"]
    assert ordered([]) == [] and ordered(iter(["leak"])) == ["leak"]


@given(st.floats(-3, 3), st.booleans(), st.floats(0, 5), st.floats(-4, 4))
def test_the_factors_are_the_papers_algebra(potential, fires, h, c):
    """∂(U · (1 - S))/∂U by the product rule, with a share of dS/dU = h: none for `leak`, all for `full`."""
    U, S, h = (torch.tensor([float(x)], dtype=torch.float64) for x in (potential, fires, h))
    for share, factor in ((1.0, GRADIENTS["full"]), (0.0, GRADIENTS["leak"]), (c, scaled(c))):
        assert near(factor(U, S, h), (1 - S) + U * (-share * h), 1e-13)
        # After a reset by subtraction, ∂(U - ϑ · S)/∂U:
        assert near(factor(1.5, 0, h) + 0 * h, 1 - share * 1.5 * h, 1e-13)
    assert GRADIENTS["spatial"](U, S, h).tolist() == [0] and GRADIENTS["spatial"](1.5, 0, h).tolist() == [0]


@pytest.mark.parametrize("gradient", [*STUDIED, "0.7", scaled(0.3), scaled(0.0), scaled(1.0), scaled(-2.0)], ids=str)
def test_every_function_is_its_form(gradient):
    """The kernels and autograd know the form: `temporal · (1 - S - weight · U · h)`."""
    factor = resolve(gradient)
    temporal, weight = form(factor)
    U, S, h = torch.randn(20, dtype=torch.float64), torch.randint(0, 2, (20,)).double(), torch.rand(20).double()
    assert near(factor(U, S, h), temporal * (1 - S - weight * U * h), 1e-15)
    assert near(factor(1.5, 0, h) + 0 * h, temporal * (1 - weight * 1.5 * h), 1e-15)


def test_forms():
    assert [form(GRADIENTS[name]) for name in STUDIED] == [Form(True, 1.0), Form(True, 0.0), Form(False, 0.0)]
    assert form(scaled(0.25)) == Form(True, 0.25) and form(custom) is None
    assert form(lambda U, S, h: GRADIENTS["full"](U, S, h)) is None


@plain_and_compiled
@resets
@surrogates
@detachable
def test_a_function_is_what_detaching_makes(gradient, surrogate, reset, compiled):
    """Three ways to one gradient: its name, its function as any function of one's own, and a detached graph."""
    function = resolve(gradient)
    for shape, scale in itertools.product([(1, 3), (9, 2, 3)], ["area", "peak"]):
        current, *arriving = case(*shape)
        settings = dict(surrogate=surrogate, surrogate_scale=scale, reset=reset, tau_m=4.0, tau_s=3.0, temperature=0.4)
        detached = gradient_of(reference_lif, current, arriving, gradient=gradient, **settings)
        for given_as in (gradient, function, lambda U, S, h: function(U, S, h)):
            found = gradient_of(lif, current, arriving, gradient=given_as, compiled=compiled, **settings)
            assert near(found, detached)


@resets
@detachable
def test_a_function_is_what_detaching_makes_of_a_relaxed_neuron(gradient, reset):
    current, *arriving = case(9, 2, 3)
    settings = dict(reset=reset, relaxed=True)
    detached = gradient_of(reference_lif, current, arriving, gradient=gradient, **settings)
    for given_as in (gradient, lambda U, S, h: resolve(gradient)(U, S, h)):
        assert near(gradient_of(lif, current, arriving, gradient=given_as, **settings), detached)


@plain_and_compiled
@resets
def test_a_scale_of_0_is_leak_and_of_1_full(reset, compiled):
    """And at T = 2 the gradient is linear in it."""
    for shape in ((2, 8), (12, 3, 4)):
        current, *arriving = case(*shape)
        found = {
            str(c): gradient_of(lif, current, arriving, gradient=c, reset=reset, compiled=compiled)
            for c in ("full", "leak", scaled(1), scaled(0), scaled(1.0), "1", "0", "1e0", scaled(0.25), "0.25")
        }
        for one in ("scaled(c=1)", "scaled(c=1.0)", "1", "1e0"):
            assert near(found[one], found["full"], 1e-13)
        for zero in ("scaled(c=0)", "0"):
            assert near(found[zero], found["leak"], 1e-13)
        assert torch.equal(found["0.25"], found["scaled(c=0.25)"])
        if shape[0] == 2:
            assert near(found["0.25"], 0.25 * found["full"] + 0.75 * found["leak"], 1e-13)
        assert not near(found["0.25"], found["leak"], 1e-3)


def test_numbers_scale_the_reset_term():
    assert [resolve(number).c for number in ("0.5", "1e-3", "-2", " 3 ", 0.5, 1)] == [0.5, 1e-3, -2, 3, 0.5, 1]
    assert all(resolve(name) is GRADIENTS[name] for name in GRADIENTS)
    assert resolve(custom) is custom


@pytest.mark.parametrize(
    "gradient",
    ["", "none", "Full", "nan", "inf", "-inf", "0.5.1", None, math.nan, True, (), scaled(math.nan), scaled(-math.inf)],
    ids=str,
)
def test_what_is_no_gradient_is_named(gradient):
    for call in (resolve, lambda g: lif(torch.zeros(2), gradient=g), lambda g: LIF(gradient=g)):
        with pytest.raises(ValueError, match="gradient must be one of full, leak, spatial") as error:
            call(gradient)
        assert "\n" not in str(error.value)


@plain_and_compiled
def test_a_new_entry_is_usable_by_its_name_everywhere(monkeypatch, compiled):
    monkeypatch.setitem(GRADIENTS, "mine", custom)
    current, *arriving = case(7, 3)
    expected = simulate(current, arriving, "own").current
    assert near(gradient_of(lif, current, arriving, gradient="mine", compiled=compiled), expected)
    layer = LIF(gradient="mine", compiled=compiled).simulate
    assert near(gradient_of(layer, current, arriving, spikes=True), expected)
    network = SpikingNetwork.from_spec("6", (1, 4, 4), 3, 5, gradient="mine", compiled=compiled)
    network(torch.rand(2, 1, 4, 4)).sum().backward()
    TrainingConfig.for_dataset("digits", gradient="mine")
    ToyConfig(gradients=("full", "mine", "0.5"))
    with pytest.raises(ValueError, match="full, leak, spatial or scaled"):
        reference_lif(current, gradient="mine")


@plain_and_compiled
def test_an_entry_that_is_replaced_is_replaced_everywhere(monkeypatch, compiled):
    """No form or kernel of the function that bore the name before."""
    monkeypatch.setitem(GRADIENTS, "leak", custom)
    current, *arriving = case(7, 3)
    found = gradient_of(lif, current, arriving, gradient="leak", compiled=compiled)
    assert near(found, simulate(current, arriving, "own").current)


@plain_and_compiled
def test_what_a_function_is_called_with(compiled):
    """One step's potential, spikes and surrogate derivative, from the last step to the first."""
    current, *arriving = case(5, 2, 3)
    calls = []

    def factor(U, S, h):
        calls.append((U, S, h))
        return 0.5

    for reset in ("zero", "subtract"):
        calls.clear()
        out = lif(current.requires_grad_(), gradient=factor, threshold=0.8, reset=reset, compiled=compiled)
        assert not calls, "the forward pass does not know of it"
        found = torch.autograd.grad(out[:2], current, arriving)[0]
        assert len(calls) >= 4 and found.isfinite().all()
        for (U, S, h), t in zip(calls, reversed(range(5)), strict=False):
            if reset == "zero":
                assert torch.equal(U, out.potential[t]) and torch.equal(S, out.spikes[t])
            else:
                assert (U, S) == (0.8, 0)
            assert near(h, surrogate_derivative(out.potential[t] - 0.8, 0.3), 1e-14)
    constant = lif(current, gradient=lambda U, S, h: torch.full_like(h, 0.5), reset="subtract", threshold=0.8)
    assert torch.equal(found, torch.autograd.grad(constant[:2], current, arriving)[0])


# --- what the scale of the surrogate comes to -------------------------------------------------------------------------


def weight_gradients(gradient, scale: str, surrogate: str, temperature: float, reset="zero") -> list[torch.Tensor]:
    """Of a network of two layers with the same weights every time."""
    torch.manual_seed(3)
    network = SpikingNetwork.from_spec(
        "12", (1, 3, 3), n_classes=4, time_steps=8, weight_gain=4.0, gradient=gradient, surrogate=surrogate,
        surrogate_scale=scale, temperature=temperature, reset=reset,
    ).double()  # fmt: skip
    psc = network(torch.rand(8, 5, 1, 3, 3, dtype=torch.float64))
    target = torch.rand_like(psc)
    return torch.autograd.grad((psc - target).square().sum(), list(network.parameters()))


@resets
@surrogates
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_full_at_scale_peak_is_a_scaled_reset_term_at_scale_area(temperature, surrogate, reset):
    """h_peak = c · h_area with c = Θ/k(0), so that c multiplies the reset term, and once more the error at each layer's
    spikes: the gradient of the layer with n layers of spikes from it to the loss, its own included, by cⁿ."""
    c = temperature / PEAKS[surrogate]
    at_peak = weight_gradients("full", "peak", surrogate, temperature, reset)
    at_area = weight_gradients(scaled(c), "area", surrogate, temperature, reset)
    for layers, (one, other) in enumerate(zip(reversed(at_peak), reversed(at_area), strict=True), start=1):
        assert other.norm() > 0
        torch.testing.assert_close(one, c**layers * other, rtol=1e-9, atol=1e-12)
    plain = weight_gradients("full", "area", surrogate, temperature, reset)
    if abs(c - 1) > 0.1:
        assert torch.cosine_similarity(plain[0].flatten(), at_peak[0].flatten(), dim=0) < 0.9999


@surrogates
@pytest.mark.parametrize("gradient", ["leak", "spatial"])
def test_without_the_reset_term_the_scale_is_a_constant_a_layer(gradient, surrogate):
    c = 0.2 / PEAKS[surrogate]
    at_peak, at_area = (weight_gradients(gradient, scale, surrogate, 0.2)[::-1] for scale in ("peak", "area"))
    for layers, (one, other) in enumerate(zip(at_peak, at_area, strict=True), start=1):
        torch.testing.assert_close(one, c**layers * other, rtol=1e-9, atol=1e-12)


# --- second derivatives -----------------------------------------------------------------------------------------------


def curved(psc: torch.Tensor, spikes: torch.Tensor, weights) -> torch.Tensor:
    """A loss with second derivatives of its own, in psc and spikes and between them."""
    return (weights[0] * psc.square()).sum() + (weights[1] * psc * spikes).sum() + (weights[1] * spikes.square()).sum()


def second(run, inputs, weights, along) -> list[torch.Tensor]:
    """The gradient, and the Hessian times a direction."""
    first = torch.autograd.grad(curved(*run(*inputs)[:2], weights), inputs, create_graph=True)
    assert all(x.requires_grad for x in first)
    slope = sum((x * v).sum() for x, v in zip(first, along, strict=True))
    return [*first, *torch.autograd.grad(slope, inputs)]


@plain_and_compiled
@resets
@surrogates
@detachable
def test_second_derivatives_are_those_of_the_reference(gradient, surrogate, reset, compiled):
    """Of the current and of recurrent weights, over a whole sequence and in chunks."""
    current, *weights = case(5, 2, 3)
    for number, lengths in enumerate(([5], [2, 3])):
        scale = ("area", "peak")[number]
        settings = dict(gradient=gradient, surrogate=surrogate, surrogate_scale=scale, reset=reset, temperature=0.5)
        for recurrent in ([], [torch.randn(3, 3, dtype=torch.float64)]):
            inputs = [x.clone().requires_grad_() for x in (current, *recurrent)]
            along = [torch.randn_like(x) for x in inputs]

            def run(current, *v, neuron=lif, lengths=lengths, settings=settings):
                return in_chunks(current, lengths, neuron, **settings, **({"recurrent": v[0]} if v else {}))

            def mine(*inputs, run=run):
                return run(*inputs, neuron=lambda *a, **k: lif(*a, compiled=compiled, **k))

            def reference(*inputs, run=run):
                return run(*inputs, neuron=reference_lif, lengths=[5])

            found, expected = (second(each, inputs, weights, along) for each in (mine, reference))
            assert all(near(x, y, 1e-9) for x, y in zip(found, expected, strict=True))
            if surrogate in ("sigmoid", "fast-sigmoid", "arctan", "gaussian"):  # curved ones
                assert expected[-1].abs().max() > 1e-3


@resets
@pytest.mark.parametrize("surrogate", ["sigmoid", "fast-sigmoid", "arctan", "gaussian", "triangle"])
@detachable
def test_second_derivatives_of_a_relaxed_neuron(gradient, surrogate, reset):
    current, *weights = case(5, 3)
    inputs, along = [current.requires_grad_()], [torch.randn_like(current)]
    settings = dict(gradient=gradient, surrogate=surrogate, reset=reset, relaxed=True)
    found, expected = (second(lambda i, n=n: n(i, **settings), inputs, weights, along) for n in (lif, reference_lif))
    assert all(near(x, y, 1e-9) for x, y in zip(found, expected, strict=True))


@resets
@pytest.mark.parametrize("surrogate", ["sigmoid", "arctan", "gaussian"])
def test_second_derivatives_by_finite_differences(surrogate, reset):
    """Of `full`, the derivative of the relaxed neuron: PyTorch's own finite differences decide."""
    current = case(4, 2)[0].requires_grad_()
    weights = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    settings = dict(surrogate=surrogate, reset=reset, relaxed=True)
    assert gradgradcheck(lambda i, v: lif(i, recurrent=v, **settings)[:2], (current, weights), atol=1e-5, rtol=1e-4)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradgradcheck(lambda i: lif(i, gradient="leak", **settings)[:2], current, atol=1e-5, rtol=1e-4)


@plain_and_compiled
def test_the_hessian_of_the_testers_report(compiled):
    """It was zero."""
    current = case(6, 2)[0]
    for relaxed in (False, True):
        settings = dict(relaxed=relaxed)
        mine, reference = (
            torch.autograd.functional.hessian(lambda y, n=n: n(y).psc.square().sum(), current)
            for n in (
                lambda y, s=settings: lif(y, compiled=compiled, **s),
                lambda y, s=settings: reference_lif(y, **s),
            )
        )
        assert near(mine, reference) and mine.abs().max() > 0.1


@plain_and_compiled
def test_third_derivatives(compiled):
    current, *weights = case(4, 2)
    leaf = current.requires_grad_()
    along = torch.randn(2, *current.shape, dtype=torch.float64)
    found = []
    for neuron in (lambda x: lif(x, compiled=compiled), reference_lif):
        value = curved(*neuron(leaf)[:2], weights)
        for direction in along:
            value = (torch.autograd.grad(value, leaf, create_graph=True)[0] * direction).sum()
        found.append(torch.autograd.grad(value, leaf)[0])
    assert near(*found, 1e-9) and found[1].any()


@plain_and_compiled
@resets
@detachable
def test_a_gradient_penalty_on_a_network(gradient, reset, compiled):
    """Its gradient at the weights, through convolution, pooling, delay, recurrence and the input's own gradient."""
    frames = torch.rand(9, 2, 1, 6, 6, dtype=torch.float64)

    def penalty(neuron):
        torch.manual_seed(2)
        network = SpikingNetwork.from_spec(
            "3C3-P2-5R", (1, 6, 6), 2, 9, synaptic_delay=1, weight_gain=6.0, gradient=gradient, reset=reset,
            compiled=compiled,
        ).double()  # fmt: skip
        if neuron is not None:
            for module in network.modules():
                if isinstance(module, LIF):
                    module.simulate = neuron
        x = frames.clone().requires_grad_()
        loss = network(x).square().sum()
        of_input = torch.autograd.grad(loss, x, create_graph=True)[0]
        return torch.autograd.grad(loss + 10 * of_input.square().sum(), list(network.parameters()))

    def reference(current, state=None, *, recurrent=None, time_steps=None, spikes=False):
        whole = current.expand(time_steps, *current.shape[1:])
        return reference_lif(whole, state=state, recurrent=recurrent, gradient=gradient, reset=reset)

    found, expected = penalty(None), penalty(reference)
    assert all(near(x, y, 1e-9) for x, y in zip(found, expected, strict=True))
    assert all(x.any() for x in expected)


@plain_and_compiled
def test_a_penalty_on_the_gradient_of_a_state(compiled):
    """Second derivatives through what a chunk leaves, where only the state carries the loss."""
    current = case(6, 3)[0].requires_grad_()
    found = []
    for neuron in (lambda *a, **k: lif(*a, compiled=compiled, **k), reference_lif):
        state = neuron(current[3:], state=neuron(current[:3]).state).state
        loss = state.potential.square().sum() + (state.psc * state.potential).sum() + state.spikes.sum()
        first = torch.autograd.grad(loss, current, create_graph=True)[0]
        found.append((first, torch.autograd.grad(first.square().sum(), current)[0]))
    assert all(near(x, y, 1e-9) for x, y in zip(*found, strict=True))


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (1, 2, 7, 5)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_second_derivatives_through_pooling(shape, memory_format):
    """Linear: the second derivative is that of what follows, and the gradient of the gradient is the pooling again."""
    images = torch.randn(shape, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    assert gradgradcheck(AveragePool(2), images)
    found = []
    for pool in (AveragePool(2), torch.nn.AvgPool2d(2)):
        first = torch.autograd.grad(pool(images).pow(3).sum(), images, create_graph=True)[0]
        found.append(torch.autograd.grad(first.square().sum(), images)[0])
    assert near(*found, 1e-12) and found[1].any()


@plain_and_compiled
@resets
def test_second_derivatives_of_a_function_of_ones_own_are_refused(reset, compiled):
    """In one line; first derivatives are not, whichever way they are asked for."""
    current, *_ = case(5, 3)
    settings = dict(gradient=custom, reset=reset, compiled=compiled)
    wanted = simulate(current, (torch.ones_like(current), torch.zeros_like(current)), "own", reset=reset).current
    leaf = current.clone().requires_grad_()

    def total(x):
        return lif(x, **settings).psc.sum()

    first = torch.autograd.grad(total(leaf), leaf, create_graph=True)[0]
    assert near(first, wanted) and near(torch.func.grad(total)(current), wanted)
    assert near(torch.func.vjp(lambda x: lif(x, **settings).psc, current)[1](torch.ones_like(current))[0], wanted)
    for ask in (
        lambda: torch.autograd.grad(first.sum(), leaf),
        lambda: torch.autograd.functional.hessian(lambda x: lif(x, **settings).psc.square().sum(), current),
        lambda: torch.func.grad(lambda x: torch.func.grad(total)(x).sum())(current),
    ):
        with pytest.raises(RuntimeError, match="second derivatives exist for the gradients full") as error:
            ask()
        assert "\n" not in str(error.value)


def test_the_shares_of_the_tests_are_those_of_the_package():
    assert {name: form(resolve(name)).weight for name in STUDIED} == {name: RESET_SHARE[name] for name in STUDIED}
