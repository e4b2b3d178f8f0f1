"""The neuron inside what PyTorch does to functions and tensors: mapped, differentiated otherwise, without numbers."""

import threading

import pytest
import torch
from independent import all_near, case, custom, gradient_at, label, near, plain_and_compiled, simulate
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tsbp import LIFState, SpikingNetwork, lif, reference_lif, scaled
from tsbp.gradients import STUDIED
from tsbp.layers import AveragePool

resets = pytest.mark.parametrize("reset", ["zero", "subtract"])
named = pytest.mark.parametrize("gradient", [*STUDIED, scaled(0.3)], ids=str)
all_gradients = pytest.mark.parametrize("gradient", [*STUDIED, scaled(0.3), custom], ids=label)


def neuron(compiled: bool, **settings):
    """psc of a layer."""
    return lambda current: lif(current, compiled=compiled, **settings).psc


# --- torch.func -------------------------------------------------------------------------------------------------------


@plain_and_compiled
@resets
@all_gradients
def test_func_grad(gradient, reset, compiled):
    current, psc, _ = case(5, 3)
    name = {custom: "own"}.get(gradient, str(gradient).replace("c=", ""))
    expected = simulate(current, (psc, torch.zeros_like(psc)), name, reset=reset)
    run = neuron(compiled, gradient=gradient, reset=reset)
    assert near(grad(lambda x: (psc * run(x)).sum())(current), expected.current)
    value, back = vjp(run, current)
    assert near(value, expected.psc, 1e-12) and near(back(psc)[0], expected.current)


@plain_and_compiled
@resets
@all_gradients
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_per_example_gradients_are_those_of_a_loop(dim, gradient, reset, compiled):
    """vmap over any dimension of a batch of currents, to 1e-10."""
    examples = case(6, 4, 5)[0].movedim(1, 0)  # [B, T, N]
    run = neuron(compiled, gradient=gradient, reset=reset)

    def loss(x):
        return run(x).square().sum()

    loop = torch.stack([gradient_at(run, x)[0] for x in examples])
    found = vmap(grad(loss), in_dims=dim, out_dims=0)(examples.movedim(0, dim))
    assert near(found, loop) and loop.any()


@plain_and_compiled
@pytest.mark.parametrize("spec", ["6", "2C3-P2-5", "6R-4"])
def test_per_example_gradients_of_the_weights_of_a_network(spec, compiled):
    network = SpikingNetwork.from_spec(spec, (1, 6, 6), 2, 4, weight_gain=6.0, compiled=compiled).double()
    parameters = {name: x.detach() for name, x in network.named_parameters()}
    images, targets = torch.rand(5, 1, 6, 6, dtype=torch.float64), torch.rand(5, 4, 2, dtype=torch.float64)

    def loss(parameters, image, target):
        return (functional_call(network, parameters, image[None])[:, 0] - target).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, images, targets)
    for n in range(5):
        network.zero_grad()
        (network(images[n : n + 1])[:, 0] - targets[n]).square().sum().backward()
        for name, x in network.named_parameters():
            assert near(found[name][n], x.grad)
    assert all(x.any() for x in found.values())


@plain_and_compiled
@resets
def test_vmap_over_states_and_over_recurrent_weights(reset, compiled):
    """Any of the arguments may carry the mapped dimension, alone or together."""
    current, _, _, state = case(5, 4, 3, state=True)
    weights = torch.randn(4, 3, 3, dtype=torch.float64)

    def run(current, u, s, a, v):
        out = lif(current, state=LIFState(u, s, a), recurrent=v, reset=reset, compiled=compiled)
        return out.psc.square().sum() + out.state.potential.sum()

    def alone(current, u, s, a):
        out = lif(current, state=LIFState(u, s, a), reset=reset, compiled=compiled)
        return out.psc.square().sum() + out.state.potential.sum()

    arguments = (current, *state, weights)
    which = (0, 1, 3, 4)
    for dims in ((1, 0, 0, 0, 0), (None, 0, 0, 0, None), (1, None, None, None, None), (None, None, None, None, 0)):
        one = [
            x if d is not None else x.select(1 if i == 0 else 0, 0)
            for i, (x, d) in enumerate(zip(arguments, dims, strict=True))
        ]
        for function, n in ((run, 5), (alone, 4)):
            if all(d is None for d in dims[:n]):
                continue
            wanted = tuple(i for i in which if i < n)
            found = vmap(grad(function, argnums=wanted), in_dims=dims[:n])(*one[:n])
            for b in range(4):
                now = [x if d is None else x.select(d, b) for x, d in zip(one[:n], dims[:n], strict=True)]
                assert all_near([x[b] for x in found], grad(function, argnums=wanted)(*now)), dims


@plain_and_compiled
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_jacobians_in_all_ways(chunk_size, compiled):
    current = case(3, 2)[0]
    run = neuron(compiled)
    loop = torch.autograd.functional.jacobian(run, current)
    assert near(torch.autograd.functional.jacobian(run, current, vectorize=True), loop)
    assert near(torch.autograd.functional.jacobian(run, current, vectorize=True, strategy="forward-mode"), loop)
    assert near(jacrev(run, chunk_size=chunk_size)(current), loop)
    assert near(jacfwd(run)(current), loop)
    reference = torch.autograd.functional.jacobian(neuron(False), current)
    assert near(loop, reference) and loop.any()


@plain_and_compiled
@resets
@all_gradients
def test_is_grads_batched(gradient, reset, compiled):
    current, *arriving = case(6, 3)
    leaf = current.requires_grad_()
    batch = [torch.stack([x, -2 * x, x.flip(0)]) for x in arriving]
    settings = dict(gradient=gradient, reset=reset, compiled=compiled)
    out = lif(leaf, **settings)
    together = torch.autograd.grad(out[:2], leaf, batch, is_grads_batched=True)[0]
    alone = [torch.autograd.grad(lif(leaf, **settings)[:2], leaf, [x[n] for x in batch])[0] for n in range(3)]
    assert near(together, torch.stack(alone))


@plain_and_compiled
def test_is_grads_batched_with_a_state_and_weights(compiled):
    current, _, _, state = case(6, 2, 3, state=True)
    inputs = [x.requires_grad_() for x in (current, state.potential, state.psc, torch.randn(3, 3).double())]
    for recurrent in (False, True):
        wanted = inputs if recurrent else inputs[:3]
        out = lif(current, state=state, recurrent=inputs[3] if recurrent else None, compiled=compiled)
        outs = (out.psc, out.state.potential, out.state.psc)
        batch = [torch.randn(4, *x.shape, dtype=torch.float64) for x in outs]
        together = torch.autograd.grad(outs, wanted, batch, is_grads_batched=True, retain_graph=True)
        for n in range(4):
            alone = torch.autograd.grad(outs, wanted, [x[n] for x in batch], retain_graph=True)
            assert all_near([x[n] for x in together], alone)


@plain_and_compiled
@resets
@named
def test_hessians_in_all_ways(gradient, reset, compiled):
    current = case(3, 2)[0]
    settings = dict(gradient=gradient, reset=reset)
    expected = torch.autograd.functional.hessian(lambda x: reference_lif(x, **settings).psc.square().sum(), current)

    def loss(x):
        return lif(x, compiled=compiled, **settings).psc.square().sum()

    assert near(torch.autograd.functional.hessian(loss, current), expected)
    assert near(torch.autograd.functional.hessian(loss, current, vectorize=True), expected)
    assert near(jacrev(jacrev(loss))(current), expected)
    assert near(hessian(loss)(current), expected)  # forward over reverse
    assert near(jacrev(jacfwd(loss))(current), expected)
    assert near(jacfwd(jacfwd(loss))(current), expected)
    assert expected.abs().max() > 1e-3


@plain_and_compiled
@resets
@named
def test_forward_mode(gradient, reset, compiled):
    """J·v of the gradient that was chosen: the same J as backwards."""
    current, *_ = case(5, 3)
    tangent = torch.randn_like(current)
    run = neuron(compiled, gradient=gradient, reset=reset)
    jacobian = torch.autograd.functional.jacobian(run, current)
    expected = torch.einsum("tnsm,sm->tn", jacobian, tangent)
    value, found = jvp(run, (current,), (tangent,))
    assert near(found, expected) and near(value, run(current), 1e-12)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(current, tangent)
        unpacked = torch.autograd.forward_ad.unpack_dual(run(dual))
        assert near(unpacked.tangent, expected)
    assert near(vmap(lambda t: jvp(run, (current,), (t,))[1])(torch.stack([tangent, -tangent]))[1], -expected)


@plain_and_compiled
def test_forward_mode_of_a_function_of_ones_own_is_refused(compiled):
    """In one line: autograd cannot know it."""
    current = case(3, 2)[0]
    with pytest.raises(ValueError, match=r"gradient must be .* forward mode") as error:
        jvp(neuron(compiled, gradient=custom), (current,), (current,))
    assert "\n" not in str(error.value)


@plain_and_compiled
def test_nested_transforms(compiled):
    """grad of grad, vmap of vmap, vmap of grad of vmap, jacobians of gradients: all against plain loops."""
    examples = case(4, 6, 2)[0].movedim(1, 0).reshape(2, 3, 4, 2)
    run = neuron(compiled)

    def loss(x):
        return run(x).square().sum()

    def reference(x):
        return reference_lif(x).psc.square().sum()

    def of_rows(function, rows):
        return torch.stack([function(x) for x in rows])

    loop = of_rows(lambda row: of_rows(lambda x: torch.autograd.functional.jacobian(reference, x), row), examples)
    assert near(vmap(vmap(grad(loss)))(examples), loop)
    assert near(vmap(grad(lambda row: vmap(loss)(row).sum()))(examples), loop)
    batch = examples.flatten(0, 1).movedim(0, 1)
    assert near(vmap(run, in_dims=1, out_dims=1)(batch), run(batch))

    x, along = examples[0, 0], torch.randn(4, 2, dtype=torch.float64)
    expected = torch.autograd.functional.hvp(reference, x, along)[1]
    assert near(grad(lambda x: (grad(loss)(x) * along).sum())(x), expected)
    assert near(jvp(grad(loss), (x,), (along,))[1], expected)
    per_example = vmap(lambda x: grad(lambda x: (grad(loss)(x) * along).sum())(x))(examples[0])
    wanted = torch.stack([torch.autograd.functional.hvp(reference, x, along)[1] for x in examples[0]])
    assert near(per_example, wanted)


@plain_and_compiled
def test_learned_settings_inside_transforms(compiled):
    """An ensemble of neurons, one a threshold: numbers that a transform hides cannot be looked at."""
    if compiled:
        with pytest.raises(ValueError, match="threshold"):
            vmap(lambda t: lif(torch.zeros(3, 2), threshold=t, compiled=True).psc)(torch.ones(2))
        return
    current = case(5, 3)[0]
    thresholds = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    together = vmap(lambda t: lif(current, threshold=t).psc)(thresholds)
    assert near(together, torch.stack([lif(current, threshold=t.item()).psc for t in thresholds]), 1e-12)
    of_each = vmap(grad(lambda t: lif(current, threshold=t).psc.square().sum()))(thresholds)
    for t, found in zip(thresholds, of_each, strict=True):
        t = t.clone().requires_grad_()
        assert near(torch.autograd.grad(lif(current, threshold=t).psc.square().sum(), t)[0], found)


def test_pooling_inside_transforms():
    images = torch.randn(3, 2, 5, 7, dtype=torch.float64)
    pool, theirs = AveragePool(2), nn.AvgPool2d(2)
    pairs = [
        lambda p: vmap(lambda x: p(x[None])[0])(images),
        lambda p: grad(lambda x: p(x).pow(3).sum())(images),
        lambda p: vmap(grad(lambda x: p(x[None]).pow(3).sum()))(images),
        lambda p: jvp(p, (images,), (images,))[1],
        lambda p: torch.autograd.functional.jacobian(p, images[:1], vectorize=True),
    ]
    for pair in pairs:
        assert near(pair(pool), pair(theirs), 1e-12)


# --- tensors of other kinds -------------------------------------------------------------------------------------------


@plain_and_compiled
@resets
@all_gradients
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_fake_tensors(dtype, gradient, reset, compiled):
    """Shapes and types without numbers, forwards and backwards; it ended in a segmentation fault."""
    with FakeTensorMode():
        current = torch.empty(5, 2, 3, dtype=dtype, requires_grad=True)
        for state in (None, LIFState(*torch.empty(3, 2, 3))):
            out = lif(current, state=state, gradient=gradient, reset=reset, compiled=compiled)
            for x in (*out[:3], *out.state):
                assert isinstance(x, FakeTensor)
            assert out.psc.shape == out.spikes.shape == out.potential.shape == (5, 2, 3)
            assert out.psc.dtype == out.spikes.dtype == dtype
            assert {x.dtype for x in out.state} == {out.potential.dtype} == {torch.promote_types(dtype, torch.float32)}
            found = torch.autograd.grad(out.psc.sum() + out.state.psc.sum(), current)[0]
            assert isinstance(found, FakeTensor) and found.shape == current.shape and found.dtype == dtype
        out = lif(current[:1], time_steps=7, recurrent=torch.empty(3, 3, dtype=dtype), spikes=False, compiled=compiled)
        assert out.psc.shape == (7, 2, 3)


@plain_and_compiled
@pytest.mark.parametrize("recurrent", [False, True])
def test_meta_tensors(recurrent, compiled):
    current = torch.empty(5, 2, 3, device="meta", requires_grad=True)
    weights = torch.empty(3, 3, device="meta") if recurrent else None
    out = lif(current, recurrent=weights, compiled=compiled)
    assert out.psc.is_meta and out.state.potential.is_meta and out.psc.shape == (5, 2, 3)
    assert torch.autograd.grad(out.psc.sum(), current)[0].is_meta
    network = SpikingNetwork.from_spec("2C3-P2-5R", (1, 6, 6), 2, 3, compiled=compiled).to("meta")
    assert network(torch.empty(4, 1, 6, 6, device="meta")).shape == (3, 4, 2)


@plain_and_compiled
@pytest.mark.parametrize("where", ["set_default_device", "with device"])
def test_another_default_device_is_not_that_of_the_current(where, compiled):
    """A creation without a device, inside, would land there."""
    current = case(5, 3)[0].requires_grad_()
    expected = lif(current)
    of_expected = torch.autograd.grad(expected.psc.sum() + expected.state.psc.sum(), current)[0]
    try:
        if where == "set_default_device":
            torch.set_default_device("meta")
            out = lif(current, compiled=compiled)
            found = torch.autograd.grad(out.psc.sum() + out.state.psc.sum(), current)[0]
        else:
            with torch.device("meta"):
                out = lif(current, compiled=compiled)
                found = torch.autograd.grad(out.psc.sum() + out.state.psc.sum(), current)[0]
    finally:
        torch.set_default_device(None)
    assert near(out.psc, expected.psc, 1e-12) and near(found, of_expected)


class Tagged(torch.Tensor):
    """A tensor with a name, as libraries make them."""


@plain_and_compiled
def test_a_tensor_subclass(compiled):
    current, psc, _ = case(5, 3)
    tagged = current.as_subclass(Tagged).requires_grad_()
    out = lif(tagged, compiled=compiled)
    assert near(out.psc.as_subclass(torch.Tensor), lif(current).psc, 1e-12)
    found = torch.autograd.grad((out.psc * psc).sum(), tagged)[0]
    expected = simulate(current, (psc, torch.zeros_like(psc)), "full").current
    assert near(found.as_subclass(torch.Tensor), expected)


@plain_and_compiled
def test_a_subclass_that_sees_every_operation(compiled):
    """Two tensors in one, as distributed and quantised ones are made."""
    first, second = case(5, 3)[0], case(5, 3, seed=4)[0]
    both = TwoTensor(first, second).requires_grad_()
    psc = lif(both, compiled=compiled).psc
    found = torch.autograd.grad(psc.square().sum(), both)[0]
    for value, part, of_part in ((first, psc.a, found.a), (second, psc.b, found.b)):
        assert near(part, lif(value).psc, 1e-12)
        assert near(of_part, gradient_at(neuron(False), value)[0])


@plain_and_compiled
def test_numbers_that_are_only_marked_as_negative(compiled):
    current, *arriving = case(5, 3)
    marked = torch.view_as_complex(torch.stack([torch.zeros_like(current), -current], -1)).conj().imag
    assert marked.is_neg() and torch.equal(marked.resolve_neg(), current)
    assert torch.equal(lif(marked, compiled=compiled).psc, lif(current).psc)
    leaf = current.requires_grad_()
    out = lif(leaf, compiled=compiled)
    expected = simulate(current.detach(), arriving, "full")
    found = torch.autograd.grad(out[:2], leaf, [torch._neg_view(-x) for x in arriving])[0]
    assert near(found, expected.current)
    state = LIFState(*(torch._neg_view(-x) for x in case(5, 3, state=True)[3]))
    assert near(lif(leaf, state=state, compiled=compiled).psc, lif(leaf, state=case(5, 3, state=True)[3]).psc, 1e-12)


@plain_and_compiled
def test_gradients_of_any_kind_may_arrive(compiled):
    """Expanded, permuted, of another type, on a slice, all zero without memory, sparse: plain autograd decides."""
    current = case(6, 4, 5)[0]
    arriving = {
        "expanded": lambda x: x.sum(),
        "a row": lambda x: (x * torch.arange(5.0).double()).sum(),
        "permuted": lambda x: (x.permute(2, 0, 1) * torch.randn(5, 6, 4).double()).sum(),
        "a slice": lambda x: x[1:4, :, ::2].square().sum(),
        "one number": lambda x: x[-1, 0, 0],
        "float32": lambda x: x.float().square().sum(),
        "nothing": lambda x: 0 * x.sum(),
        "gathered": lambda x: x.flatten().index_select(0, torch.tensor([3, 3, 70])).square().sum(),
    }
    for name, loss in arriving.items():
        found = []
        for run in (neuron(compiled), lambda x: reference_lif(x).psc):
            torch.manual_seed(1)
            leaf = current.clone().requires_grad_()
            found.append(torch.autograd.grad(loss(run(leaf)), leaf)[0])
        assert near(*found, 1e-7 if name == "float32" else 1e-10), name


# --- what else looks on -----------------------------------------------------------------------------------------------


@plain_and_compiled
def test_saved_tensors_may_be_kept_elsewhere(compiled):
    """Hooks pack what is saved: on another device, as copies, as other views of the same numbers."""
    current = case(6, 4)[0]
    expected = gradient_at(neuron(False), current)
    for context in (
        torch.autograd.graph.save_on_cpu(),
        torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy(force=True).copy(), torch.from_numpy),
        torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone().T.contiguous(), lambda x: x.T),
        torch.autograd.detect_anomaly(check_nan=True),
    ):
        with context:
            assert all_near(gradient_at(neuron(compiled), current), expected)


@plain_and_compiled
def test_activation_checkpointing(compiled):
    """The forward pass is run again for the backward one."""
    current = case(6, 4)[0]
    expected = gradient_at(neuron(False), current)
    assert all_near(gradient_at(lambda x: checkpoint(neuron(compiled), x, use_reentrant=False), current), expected)
    leaf = current.clone().requires_grad_()
    checkpoint(neuron(compiled), leaf, use_reentrant=True).square().sum().backward()
    assert near(leaf.grad, expected[0])


@plain_and_compiled
def test_modes_that_watch_every_operation(compiled):
    current = case(6, 4)[0]
    expected = gradient_at(neuron(False), current)
    with FlopCounterMode(display=False):
        assert all_near(gradient_at(neuron(compiled), current), expected)
    with torch.profiler.profile() as profile:
        assert all_near(gradient_at(neuron(compiled), current), expected)
    assert profile.key_averages()


@plain_and_compiled
def test_threads(compiled):
    """Several at once, forwards and backwards, each with its own numbers."""
    cases = [case(8, 50, seed=n)[0] for n in range(4)]
    expected = [gradient_at(neuron(False), x)[0] for x in cases]
    found: dict[int, torch.Tensor] = {}

    def work(n: int) -> None:
        for _ in range(5):
            found[n] = gradient_at(neuron(compiled), cases[n])[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(near(found[n], expected[n]) for n in range(4))
