"""What one call leaves for the next, and layers whose neurons reach each other."""

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import (
    FACTORS,
    case,
    custom,
    in_chunks,
    near,
    plain_and_compiled,
    random_lengths,
    simulate,
)
from torch.autograd import gradcheck

from tsbp import LIF, SURROGATES, LIFState, lif, reference_lif

resets = pytest.mark.parametrize("reset", ["zero", "subtract"])
gradients = pytest.mark.parametrize("gradient", FACTORS)


def leaves(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [x.clone().requires_grad_() for x in tensors]


# --- halves and the whole ---------------------------------------------------------------------------------------------


@plain_and_compiled
@resets
@gradients
@pytest.mark.parametrize("shape", [(10, 3), (24, 2, 20), (7,), (2, 1)])
def test_halves_equal_the_whole(shape, gradient, reset, compiled):
    """Forward and backward to 1e-12, whatever arrives at psc, spikes and the state at the end."""
    current, *arriving = case(*shape)
    settings = dict(gradient=FACTORS[gradient][0], reset=reset, compiled=compiled)
    last = torch.randn(3, *shape[1:], dtype=torch.float64)
    found = []
    for lengths in ([shape[0]], [shape[0] // 2, shape[0] - shape[0] // 2], random_lengths(shape[0], 1), [1] * shape[0]):
        leaf = current.clone().requires_grad_()
        psc, spikes, state = in_chunks(leaf, lengths, **settings)
        found.append((psc, spikes, *state, *torch.autograd.grad((psc, spikes, *state), leaf, (*arriving, *last))))
    for parts in found[1:]:
        for one, whole in zip(parts, found[0], strict=True):
            assert near(one, whole, 1e-12)


@plain_and_compiled
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_halves_equal_the_whole_for_every_surrogate(surrogate, compiled):
    current, *arriving = case(12, 5)
    leaf = current.requires_grad_()
    for scale in ("area", "peak"):
        settings = dict(surrogate=surrogate, surrogate_scale=scale, compiled=compiled)
        found = [in_chunks(leaf, lengths, **settings)[:2] for lengths in ([12], [5, 7])]
        grads = [torch.autograd.grad(outputs, leaf, arriving)[0] for outputs in found]
        assert near(*grads, 1e-12) and torch.equal(found[0][1], found[1][1])


@given(st.data())
def test_any_cut_gives_the_same(data):
    steps = data.draw(st.integers(2, 30))
    cuts = sorted(data.draw(st.sets(st.integers(1, steps - 1), max_size=6)))
    lengths = [b - a for a, b in itertools.pairwise([0, *cuts, steps])]
    current, *arriving = case(steps, 2, seed=data.draw(st.integers(0, 2**31)))
    settings = dict(
        tau_m=data.draw(st.floats(1, 50)),
        tau_s=data.draw(st.floats(1, 50)),
        compiled=data.draw(st.booleans()),
        gradient=FACTORS[data.draw(st.sampled_from(list(FACTORS)))][0],
    )
    leaf = current.requires_grad_()
    whole, parts = (in_chunks(leaf, each, **settings) for each in ([steps], lengths))
    assert all(near(x, y, 1e-12) for x, y in zip((*parts[:2], *parts[2]), (*whole[:2], *whole[2]), strict=True))
    grads = (torch.autograd.grad(x[:2], leaf, arriving)[0] for x in (parts, whole))
    assert near(*grads, 1e-12)


@plain_and_compiled
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7), (torch.float16, 2**-10)]
)
def test_halves_equal_the_whole_in_fewer_digits(dtype, tolerance, compiled):
    """The state is kept in float32, so that nothing is rounded at a cut: the same spikes to the last one."""
    current, *arriving = (x.to(dtype) for x in case(40, 60))
    leaf = current.requires_grad_()
    whole, parts = (in_chunks(leaf, lengths, compiled=compiled) for lengths in ([40], [13, 1, 26]))
    assert torch.equal(whole[0], parts[0]) and torch.equal(whole[1], parts[1])
    for state in (whole[2], parts[2]):
        assert all(x.dtype == torch.float32 and x.shape == (60,) for x in state)
    assert all(torch.equal(x, y) for x, y in zip(whole[2], parts[2], strict=True))
    grads = [torch.autograd.grad(x[:2], leaf, arriving)[0] for x in (parts, whole)]
    assert grads[0].dtype == dtype and near(*(x.double() for x in grads), tolerance)
    digits = [x.unique().numel() for x in whole[2][:1]]
    assert digits[0] > 30, "not rounded to half precision"


@plain_and_compiled
def test_the_state_of_a_layer_under_autocast(compiled):
    layer, weights = LIF(compiled=compiled), torch.nn.Linear(7, 5)
    with torch.autocast("cpu", torch.bfloat16):
        current = weights(torch.rand(9, 4, 7))
        assert current.dtype == torch.bfloat16
        state = layer.simulate(current).state
        assert [(x.dtype, x.shape) for x in state] == [(torch.float32, (4, 5))] * 3
        again = layer.simulate(current, state).state
    assert again.potential.dtype == torch.float32
    again.potential.sum().backward()
    assert weights.weight.grad.any()


@plain_and_compiled
def test_one_step_at_a_time_with_and_without_spikes(compiled):
    """`spikes=False` changes nothing in the state."""
    current = case(9, 4)[0]
    state = None
    for now in current:
        state = lif(now[None], state=state, spikes=False, compiled=compiled).state
    assert all(near(x, y, 1e-12) for x, y in zip(state, lif(current).state, strict=True))


# --- the gradient of a state ------------------------------------------------------------------------------------------


@plain_and_compiled
@resets
@gradients
@pytest.mark.parametrize("shape", [(1, 4), (9, 2, 5), (5, 40)])
def test_gradient_into_a_state(shape, gradient, reset, compiled):
    """dL/dU[-1] = (1 - 1/τm) · factor · δ[0], nothing for S[-1], dL/da[-1] = (1 - 1/τs) · α[0]."""
    current, *arriving, state = case(*shape, state=True)
    last = torch.randn(3, *shape[1:], dtype=torch.float64)
    settings = dict(tau_m=4.0, tau_s=3.0, temperature=0.4, reset=reset)
    expected = simulate(current, arriving, gradient, state=state, at_last=last, **settings)
    current, *start = leaves(current, *state)
    out = lif(current, state=LIFState(*start), gradient=FACTORS[gradient][0], compiled=compiled, **settings)
    assert near(out.psc, expected.psc, 1e-12) and near(out.potential, expected.potential, 1e-12)
    found = torch.autograd.grad(
        (out.psc, out.spikes, *out.state), (current, *start), (*arriving, *last), allow_unused=True
    )
    assert near(found[0], expected.current)
    assert near(found[1], expected.of_potential) and near(found[3], expected.of_psc)
    assert found[2] is None or not found[2].any()


@plain_and_compiled
@pytest.mark.parametrize("only", range(3))
def test_a_loss_of_the_state_alone(only, compiled):
    """Where the neurons are in the end is differentiable without any other output."""
    current = case(6, 3)[0].requires_grad_()
    last = [torch.zeros(3, dtype=torch.float64) for _ in range(3)]
    last[only] = torch.randn(3, dtype=torch.float64)
    zeros = torch.zeros_like(current)
    found = torch.autograd.grad(lif(current, compiled=compiled).state[only], current, last[only])[0]
    assert near(found, simulate(current.detach(), (zeros, zeros), "full", at_last=last).current)


@plain_and_compiled
@resets
def test_gradient_into_a_relaxed_state_by_finite_differences(reset, compiled):
    """S[-1] is a function of U[-1], as the neuron that left them would have it: both are moved."""
    current, _, _, (u, _, a) = case(5, 3, state=True)

    def run(current, u, a):
        state = LIFState(u, torch.sigmoid((u - 1) / 0.3).detach(), a)
        out = lif(current, state=state, relaxed=True, reset=reset, compiled=compiled)
        return out.psc, *out.state

    assert gradcheck(run, leaves(current, u, a), atol=1e-6, rtol=1e-6)


@plain_and_compiled
def test_detach_truncates(compiled):
    current, *_ = case(10, 3)
    first, second = leaves(current[:6], current[6:])
    state = lif(first, compiled=compiled).state
    detached = state.detach()
    assert type(detached) is LIFState and not any(x.requires_grad for x in detached)
    assert all(torch.equal(x, y) for x, y in zip(state, detached, strict=True))
    out = lif(second, state=detached, compiled=compiled)
    found = torch.autograd.grad(out.psc.sum(), (first, second), allow_unused=True)
    whole = torch.autograd.grad(lif(torch.cat([first, second]), compiled=compiled).psc[6:].sum(), (first, second))
    assert found[0] is None and whole[0].any()
    assert near(found[1], whole[1], 1e-12)


@plain_and_compiled
def test_a_state_without_a_spike_arriving_is_rest(compiled):
    current = case(5, 2, 3)[0]
    rest = LIFState(*torch.zeros(3, 2, 3, dtype=torch.float64))
    out, none = lif(current, state=rest, compiled=compiled), lif(current, compiled=compiled)
    assert all(torch.equal(x, y) for x, y in zip((*out[:3], *out.state), (*none[:3], *none.state), strict=True))


# --- a state is an ordinary tuple of ordinary tensors -----------------------------------------------------------------


@plain_and_compiled
def test_a_state_is_an_ordinary_named_tuple(compiled):
    """Whatever one does with a named tuple: unpack, index, compare lengths, replace, stack, map, copy, pickle, save."""
    current = case(6, 3)[0]
    wanted = [x.detach() for x in reference_lif(current).state]

    def fresh() -> LIFState:
        return lif(current, compiled=compiled).state

    def same(parts) -> bool:
        parts = list(parts)
        return len(parts) == 3 and all(near(x, y, 1e-12) for x, y in zip(parts, wanted, strict=True))

    u, s, a = fresh()
    assert same((u, s, a)) and same(fresh()) and same(fresh()[:]) and same([*fresh()]) and same(tuple(fresh()))
    assert same(fresh()[i] for i in range(3)) and same([fresh().potential, fresh().spikes, fresh().psc])
    assert isinstance(fresh(), LIFState) and isinstance(fresh(), tuple) and len(fresh()) == 3
    assert same(LIFState(*fresh())) and same(LIFState._make(fresh())) and same(fresh()._asdict().values())
    replaced = fresh()._replace(spikes=torch.ones(3))
    assert replaced.spikes.sum() == 3 and near(replaced.potential, wanted[0], 1e-12)
    assert same(torch.stack(fresh())) and same(torch.stack(list(fresh()))) and same(reversed(list(reversed(fresh()))))
    assert same(fresh().__add__((1,))[:3])
    assert same(torch.utils._pytree.tree_map(lambda x: x.clone(), fresh()))
    assert same(copy.copy(fresh())) and same(copy.deepcopy(fresh()))
    assert same(pickle.loads(pickle.dumps(fresh())))
    assert "tensor(" in repr(fresh())
    assert not any(x is None for x in fresh())
    match fresh():
        case (u, s, a):
            assert same((u, s, a))
        case _:
            raise AssertionError("no tuple of three")


@plain_and_compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changed", ["psc", "spikes", "potential", "current", "state"])
def test_a_state_is_of_the_moment_it_was_left(changed, dtype, compiled):
    """What is changed in place afterwards does not change the state, nor a changed state the outputs."""
    current = case(6, 3)[0].to(dtype)
    before = lif(current)
    out = lif(current.clone(), compiled=compiled)
    kept = [x.clone() for x in before.state]
    if changed == "current":
        current = current.clone()
        out = lif(current, compiled=compiled)
        current.fill_(-7)
    elif changed == "state":
        for x in out.state:
            x.fill_(-7)
        for name in ("psc", "spikes", "potential"):
            assert torch.equal(getattr(out, name), getattr(before, name)), name
        return
    else:
        getattr(out, changed).fill_(-7)
    for x, y in zip(out.state, kept, strict=True):
        assert torch.equal(x, y)


@plain_and_compiled
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_look_without_gradients_leaves_the_state_its_history(mode, compiled):
    """To log a membrane potential must not cut the graph of the next chunk."""
    current, _, _, _ = case(6, 3, state=True)
    found = []
    for looks in (False, True):
        leaf = current.clone().requires_grad_()
        out = lif(leaf, compiled=compiled)
        if looks:
            with mode():
                out.potential.mean()
        found.append(torch.autograd.grad(lif(current, state=out.state, compiled=compiled).psc.sum(), leaf)[0])
    assert found[0].any() and torch.equal(*found)


@plain_and_compiled
def test_a_state_given_is_left_as_it_was(compiled):
    current, _, _, state = case(6, 3, state=True)
    copies = [x.clone() for x in state]
    out = lif(current, state=state, compiled=compiled)
    assert all(torch.equal(x, y) for x, y in zip(state, copies, strict=True))
    for x in out.state:
        x.fill_(-7)
    assert all(torch.equal(x, y) for x, y in zip(state, copies, strict=True))


@plain_and_compiled
def test_a_state_changed_before_the_backward_pass_is_refused_or_harmless(compiled):
    current, _, _, state = case(6, 3, state=True)
    gradients = []
    for change in (False, True):
        leaf, *start = leaves(current, *state)
        moved = [1 * x for x in start]
        psc = lif(leaf, state=LIFState(*moved), compiled=compiled).psc
        if change:
            for x in moved:
                x.zero_()
        try:
            gradients.append(torch.autograd.grad(psc.sum(), (leaf, start[0])))
        except RuntimeError as error:
            assert change and "inplace" in str(error)
            return
    assert all(near(x, y) for x, y in zip(*gradients, strict=True))


@plain_and_compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_state_keeps_no_sequence_alive(dtype, compiled):
    """A state that waits for the next chunk is three steps in memory, not the whole sequence before it."""
    current = torch.randn(50, 100, dtype=dtype)
    state = lif(current, compiled=compiled).state.detach()
    assert sum(x.untyped_storage().nbytes() for x in state) <= 3 * 100 * torch.finfo(dtype).bits // 8


@plain_and_compiled
@pytest.mark.parametrize(
    "state",
    [
        lambda: [torch.zeros(4)] * 3,
        lambda: [torch.zeros(2, 3)] * 2,
        lambda: [torch.zeros(2, 3)] * 4,
        lambda: [torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3)],
        lambda: [torch.zeros(2, 3), None, torch.zeros(2, 3)],
        lambda: [torch.zeros(1, 3)] * 3,
        lambda: torch.zeros(2, 2, 3),
        lambda: 0,
        lambda: (),
        lambda: [torch.zeros(2, 3, dtype=torch.int64)] * 3,
        lambda: [torch.zeros(2, 3, dtype=torch.complex64)] * 3,
        lambda: [torch.eye(2, 3).to_sparse()] * 3,
    ],
)
def test_bad_states_are_named(state, compiled):
    for call in (lambda *a, **k: lif(*a, compiled=compiled, **k), LIF(compiled=compiled).simulate, reference_lif):
        with pytest.raises(ValueError, match="state") as error:
            call(torch.zeros(5, 2, 3), state=state())
        assert "\n" not in str(error.value)


# --- recurrent layers -------------------------------------------------------------------------------------------------


@plain_and_compiled
@resets
@gradients
@pytest.mark.parametrize("shape", [(1, 4), (12, 3), (12, 2, 5), (7, 2, 3, 4), (30, 1, 33)])
def test_a_recurrent_layer_is_the_independent_one(shape, gradient, reset, compiled):
    """With dL/dV, from a state and without, batch or none."""
    n = shape[-1]
    weights = torch.randn(n, n, dtype=torch.float64) / n**0.5
    weights += torch.triu(torch.ones_like(weights))  # not symmetric, so that a transpose is seen
    last = torch.randn(3, *shape[1:], dtype=torch.float64)
    current, *arriving, state = case(*shape, state=True)
    for start in (None, state):
        settings = dict(tau_m=4.0, tau_s=3.0, temperature=0.4, reset=reset)
        expected = simulate(current, arriving, gradient, state=start, recurrent=weights, at_last=last, **settings)
        settings |= dict(gradient=FACTORS[gradient][0], compiled=compiled)
        inputs = leaves(current, weights, *(start or ()))
        given_state = LIFState(*inputs[2:]) if start else None
        out = lif(inputs[0], state=given_state, recurrent=inputs[1], **settings)
        assert near(out.spikes, expected.spikes, 0) and near(out.psc, expected.psc, 1e-12)
        assert near(out.potential, expected.potential, 1e-12)
        wanted = [expected.current, expected.recurrent, expected.of_potential, None, expected.of_psc]
        found = torch.autograd.grad((out.psc, out.spikes, *out.state), inputs, (*arriving, *last), allow_unused=True)
        for one, other in zip(found, wanted, strict=False):
            assert near(one, other) if other is not None else one is None or not one.any()


@plain_and_compiled
@resets
@gradients
def test_chunks_of_a_recurrent_layer_equal_the_whole(gradient, reset, compiled):
    current, *arriving = case(14, 3, 6)
    weights = torch.randn(6, 6, dtype=torch.float64)
    found = []
    for lengths in ([14], [5, 9], random_lengths(14, 3), [1] * 14):
        inputs = leaves(current, weights)
        settings = dict(gradient=FACTORS[gradient][0], reset=reset, recurrent=inputs[1], compiled=compiled)
        psc, spikes, state = in_chunks(inputs[0], lengths, **settings)
        found.append((psc, spikes, *state, *torch.autograd.grad((psc, spikes), inputs, arriving)))
    for parts in found[1:]:
        assert all(near(one, whole, 1e-11) for one, whole in zip(parts, found[0], strict=True))


@pytest.mark.parametrize("surrogate", SURROGATES)
@resets
def test_a_relaxed_recurrent_layer_by_finite_differences(surrogate, reset):
    for seed in itertools.count():
        current, weights = case(5, 2, 3, seed=seed)[0].requires_grad_(), torch.randn(3, 3, dtype=torch.float64)
        weights.requires_grad_()
        options = dict(surrogate=surrogate, reset=reset, relaxed=True)
        x = (lif(current, recurrent=weights, **options).potential - 1) / 0.3
        if ((x.abs() - 1).abs() > 1e-3).all():  # away from the rectangle's edges
            break
    assert gradcheck(lambda i, v: lif(i, recurrent=v, **options)[:2], (current, weights), atol=1e-6, rtol=1e-6)


@plain_and_compiled
def test_without_weights_between_them_the_neurons_are_alone(compiled):
    current, *arriving = case(9, 2, 4)
    leaf = current.requires_grad_()
    alone, together = (lif(leaf, recurrent=v, compiled=compiled) for v in (None, torch.zeros(4, 4).double()))
    assert torch.equal(alone.psc, together.psc)
    assert near(*(torch.autograd.grad(x[:2], leaf, arriving)[0] for x in (alone, together)), 1e-13)


@plain_and_compiled
def test_recurrence_by_hand(compiled):
    """Neuron 0 fires at t = 0; its psc of 1/2 reaches neuron 1 a step later through V[1, 0], and not back."""
    current = torch.tensor([[2.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([[0.0, 5.0], [3.0, 0.0]], dtype=torch.float64)
    out = lif(current, recurrent=weights, compiled=compiled)
    assert out.potential.tolist() == [[2.0, 0.0], [0.0, 1.5]] and out.spikes.tolist() == [[1, 0], [0, 1]]


@plain_and_compiled
def test_a_constant_current_into_a_recurrent_layer(compiled):
    current, *_ = case(1, 2, 4)
    weights = torch.randn(4, 4, dtype=torch.float64)
    arriving = torch.randn(6, 2, 4, dtype=torch.float64)
    found = []
    for constant in (True, False):
        inputs = leaves(current, weights)
        given_current = inputs[0] if constant else inputs[0].expand(6, 2, 4)
        psc = lif(given_current, recurrent=inputs[1], time_steps=6, spikes=False, compiled=compiled).psc
        found.append((psc, *torch.autograd.grad(psc, inputs, arriving)))
    assert all(near(x, y, 1e-12) for x, y in zip(*found, strict=True))


@plain_and_compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_recurrent_layer_in_fewer_digits(dtype, compiled):
    """The psc that goes round is not rounded, and neither are the weights' gradients by more than their type."""
    current, *arriving = case(20, 3, 8)
    weights = torch.randn(8, 8, dtype=torch.float64) / 4
    rounded = [x.to(dtype) for x in (current, weights, *arriving)]
    exact, of_weights, *at = (x.double() for x in rounded)
    exact = simulate(exact, at, "full", recurrent=of_weights)
    inputs = leaves(*rounded[:2])
    out = lif(inputs[0], recurrent=inputs[1], compiled=compiled)
    found = torch.autograd.grad(out[:2], inputs, rounded[2:])
    assert out.psc.dtype == found[0].dtype == found[1].dtype == dtype
    assert near(out.potential, exact.potential, 1e-5) and near(out.spikes.double(), exact.spikes, 0)
    tolerance = 1e-4 if dtype == torch.float32 else 0.03
    assert near(found[0].double(), exact.current, tolerance) and near(found[1].double(), exact.recurrent, tolerance)


@plain_and_compiled
def test_a_recurrent_layer_under_autocast(compiled):
    """Weights in float32, currents in bfloat16, as a network has them."""
    current = case(9, 4, 6)[0].bfloat16().requires_grad_()
    weights = torch.randn(6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = lif(current, recurrent=weights, compiled=compiled)
    assert out.psc.dtype == torch.bfloat16 and out.state.potential.dtype == torch.float32
    of_current, of_weights = torch.autograd.grad(out.psc.sum(), (current, weights))
    assert of_current.dtype == torch.bfloat16 and of_weights.dtype == torch.float32 and of_weights.any()


@plain_and_compiled
@pytest.mark.parametrize(
    ("current", "recurrent"),
    [
        (lambda: torch.zeros(5, 2, 3), lambda: torch.zeros(4, 4)),
        (lambda: torch.zeros(5, 2, 3), lambda: torch.zeros(3)),
        (lambda: torch.zeros(5, 2, 3), lambda: torch.zeros(3, 3, 1)),
        (lambda: torch.zeros(5, 2, 4, 3), lambda: torch.zeros(2, 3, 3)),
        (lambda: torch.zeros(5, 0, 3), lambda: torch.zeros(0, 3, 3)),
        (lambda: torch.zeros(5), lambda: torch.zeros(1, 1)),
        (lambda: torch.zeros(5, 3), lambda: torch.zeros(3, 3, dtype=torch.int64)),
        (lambda: torch.zeros(5, 3), lambda: torch.zeros(3, 3, dtype=torch.float64)),
        (lambda: torch.zeros(5, 3), lambda: torch.eye(3).to_sparse()),
        (lambda: torch.zeros(5, 3), lambda: 0.5),
        (lambda: torch.zeros(5, 3), lambda: [[0.0] * 3] * 3),
    ],
)
def test_bad_recurrent_weights_are_named(current, recurrent, compiled):
    for neuron in (lambda *a, **k: lif(*a, compiled=compiled, **k), reference_lif):
        with pytest.raises(ValueError, match="recurrent") as error:
            neuron(current(), recurrent=recurrent())
        assert "\n" not in str(error.value)


@plain_and_compiled
@resets
@gradients
def test_layers_side_by_side_have_recurrent_weights_of_their_own(gradient, reset, compiled):
    """``[M, N, N]`` in a current ``[T, B, M, N]`` are M calls, from a state and without, forwards and backwards."""
    current, *arriving, state = case(9, 2, 3, 4, state=True)
    weights = torch.randn(3, 4, 4, dtype=torch.float64)
    settings = dict(gradient=FACTORS[gradient][0], reset=reset, compiled=compiled)
    for start in (None, state):
        inputs = leaves(current, weights, *(start or ()))
        out = lif(inputs[0], recurrent=inputs[1], state=LIFState(*inputs[2:]) if start else None, **settings)
        found = torch.autograd.grad((out.psc, out.spikes), inputs, arriving, allow_unused=True)
        for m in range(3):
            own = leaves(current[:, :, m], weights[m], *(x[:, m] for x in start or ()))
            alone = lif(own[0], recurrent=own[1], state=LIFState(*own[2:]) if start else None, **settings)
            at = [x[:, :, m] for x in arriving]
            expected = torch.autograd.grad((alone.psc, alone.spikes), own, at, allow_unused=True)
            assert near(out.psc[:, :, m], alone.psc, 1e-12) and near(out.potential[:, :, m], alone.potential, 1e-12)
            assert near(found[0][:, :, m], expected[0]) and near(found[1][m], expected[1])
            for one, other in zip(found[2:], expected[2:], strict=True):
                assert one is None or near(one[:, m], other)


@plain_and_compiled
@resets
@gradients
def test_a_detached_recurrence_learns_but_carries_no_error(gradient, reset, compiled):
    """What the neurons get from themselves is then a current like any other: the same as one that is given."""
    current, *arriving, state = case(9, 2, 4, state=True)
    weights = torch.randn(4, 4, dtype=torch.float64)
    settings = dict(gradient=FACTORS[gradient][0], reset=reset)
    for start in (None, state):
        inputs = leaves(current, weights, *(start or ()))
        given_state = LIFState(*inputs[2:]) if start else None
        recurrence = dict(recurrent=inputs[1], detach_recurrence=True)
        out = lif(inputs[0], state=given_state, **recurrence, **settings, compiled=compiled)
        found = torch.autograd.grad((out.psc, out.spikes), inputs, arriving, allow_unused=True)
        first = start[2] if start else torch.zeros_like(current[0])
        earlier = torch.cat([first[None], out.psc.detach()[:-1]])
        same = leaves(current, weights, *(start or ()))
        feed = lif(same[0] + earlier @ same[1].T, state=LIFState(*same[2:]) if start else None, **settings)
        expected = torch.autograd.grad((feed.psc, feed.spikes), same, arriving, allow_unused=True)
        assert near(out.psc, feed.psc, 1e-12)
        assert all(one is other is None or near(one, other) for one, other in zip(found, expected, strict=True))
        if gradient != "own":
            reference = reference_lif(inputs[0], state=given_state, **recurrence, **settings)
            again = torch.autograd.grad((reference.psc, reference.spikes), inputs[:2], arriving)
            assert near(again[0], found[0]) and near(again[1], found[1])
    with pytest.raises(ValueError, match="detach_recurrence must be True or False, got 1"):
        lif(current, recurrent=weights, detach_recurrence=1)


def test_own_functions_reach_the_recurrent_weights():
    current, *arriving = case(8, 2, 3)
    weights = torch.randn(3, 3, dtype=torch.float64)
    expected = simulate(current, arriving, "own", recurrent=weights)
    inputs = leaves(current, weights)
    out = lif(inputs[0], recurrent=inputs[1], gradient=custom)
    found = torch.autograd.grad(out[:2], inputs, arriving)
    assert near(found[0], expected.current) and near(found[1], expected.recurrent)
