"""Networks from Table 3's notation: shapes, delay, and the whole network's gradient against finite differences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import all_near, custom, label, near, plain_and_compiled, simulate
from torch import nn

from tsbp import GRADIENTS, LIF, LIFState, SpikingNetwork, layers, lif, van_rossum_distance
from tsbp.layers import AveragePool, Dropout, LayerState, Pooling, SpikingLayer, delay
from tsbp.networks import TABLE_3, count, depth, finite_differences, flat_gradient


def network(spec: str = "4C3-P2-6", in_shape=(1, 8, 8), time_steps: int = 5, **settings) -> SpikingNetwork:
    return SpikingNetwork.from_spec(spec, in_shape, n_classes=3, time_steps=time_steps, **settings)


def awake(built: SpikingNetwork) -> SpikingNetwork:
    """With weights under which every layer fires."""
    with torch.no_grad():
        for weight in built.parameters():
            weight.uniform_(-0.3, 0.7)
    return built


@pytest.mark.parametrize(
    ("name", "in_shape", "padding", "expected"),
    [
        # Weights of each layer, counted by hand from the notation.
        ("mnist", (1, 28, 28), 0, [15 * 25, 40 * 15 * 25, 640 * 300, 300 * 10]),
        ("nmnist", (2, 34, 34), 1, [12 * 2 * 25, 64 * 12 * 25, 64 * 49 * 10]),
        ("nmnist", (2, 34, 34), "1,0", [12 * 2 * 25, 64 * 12 * 25, 64 * 36 * 10]),
        (
            "cifar10",
            (3, 32, 32),
            1,
            [96 * 27, 256 * 96 * 9, 384 * 256 * 9, 384 * 384 * 9, 256 * 384 * 9, 64 * 256 * 1024, 1024**2, 10240],
        ),
    ],
)
def test_networks_of_table_3(name, in_shape, padding, expected):
    built = SpikingNetwork.from_spec(TABLE_3[name], in_shape, n_classes=10, time_steps=2, padding=padding)
    assert [weight.numel() for weight in built.parameters()] == expected
    assert built(torch.rand(3, *in_shape)).shape == (2, 3, 10)


def test_layers_by_hand():
    """A network is its layers, one time step after the other: convolution, neurons, pooling, neurons, neurons."""
    built = awake(network().double())
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    first, second, third = built.parameters()
    current = nn.functional.conv2d(images, first).expand(5, -1, -1, -1, -1)
    psc = lif(current).psc
    pooled = torch.stack([nn.functional.avg_pool2d(now, 2) for now in psc])
    hidden = lif(torch.stack([now.flatten(1) @ second.T for now in pooled])).psc
    expected = lif(torch.stack([now @ third.T for now in hidden])).psc
    assert expected.any()
    torch.testing.assert_close(built(images), expected)


# --- recurrent layers -------------------------------------------------------------------------------------------------


@plain_and_compiled
@pytest.mark.parametrize("synaptic_delay", [0, 1, 2])
def test_a_recurrent_layer_by_hand(synaptic_delay, compiled):
    """``6R``: what a linear layer does, and its own psc of the step before, which waits for no delay."""
    built = network("6R", (1, 4, 4), 7, weight_gain=6.0, synaptic_delay=synaptic_delay, compiled=compiled).double()
    first, between, last = built.parameters()
    assert [list(x.shape) for x in (first, between, last)] == [[6, 16], [6, 6], [3, 6]]
    frames = torch.rand(7, 2, 1, 4, 4, dtype=torch.float64)
    arriving = torch.randn(7, 2, 3, dtype=torch.float64)

    def shifted(x):
        return torch.cat([torch.zeros(synaptic_delay, *x.shape[1:], dtype=x.dtype), x])[:7]

    current = shifted(frames.flatten(2) @ first.detach().T)
    zeros = torch.zeros_like(current)
    hidden = simulate(current, (zeros, zeros), "full", recurrent=between.detach())
    psc = torch.tensor(hidden.psc)
    out = simulate(shifted(psc @ last.detach().T), (arriving, torch.zeros_like(arriving)), "full")
    assert out.spikes.any() and hidden.spikes.any()
    found = built(frames)
    assert near(found, out.psc, 1e-12)
    # Backwards: from the output's current to the hidden layer's psc, and on.
    of_current = torch.cat([torch.tensor(out.current)[synaptic_delay:], zeros[:synaptic_delay, :, :3]])
    hidden = simulate(current, (of_current @ last.detach(), zeros), "full", recurrent=between.detach())
    expected_last = torch.einsum("tbo,tbi->oi", of_current, psc)
    of_first = torch.cat([torch.tensor(hidden.current)[synaptic_delay:], zeros[:synaptic_delay]])
    expected_first = torch.einsum("tbo,tbi->oi", of_first, frames.flatten(2))
    grads = torch.autograd.grad(found, (first, between, last), arriving)
    assert all_near(grads, (expected_first, hidden.recurrent, expected_last)) and grads[1].any()


def test_weights_between_the_neurons_of_a_layer():
    """They are parameters, scaled and initialised as the others, saved and counted."""
    torch.manual_seed(4)
    built = network("4C3-P2-20R-5", weight_gain=3.0)
    assert [name for name, _ in built.named_parameters()] == [
        "layers.0.weights.weight",
        "layers.2.weights.weight",
        "layers.2.recurrent.weight",
        "layers.3.weights.weight",
        "layers.4.weights.weight",
    ]
    torch.manual_seed(4)
    three, one = built.layers[2].recurrent.weight, network("4C3-P2-20R-5", weight_gain=1.0).layers[2].recurrent.weight
    torch.testing.assert_close(three, 3 * one)
    kaiming = network("400R", initialisation="tssl-bp").layers[0].recurrent.weight
    assert kaiming.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert depth("4C3-P2-20R-5") == 4
    other = network("4C3-P2-20R-5")
    other.load_state_dict(built.state_dict())
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(other(images), built(images))


@plain_and_compiled
@pytest.mark.parametrize("gradient", [*GRADIENTS, custom], ids=label)
def test_every_setting_of_the_neuron_reaches_every_layer(gradient, compiled):
    """A network is its layers with these settings, and its weights' gradients theirs."""
    settings = dict(gradient=gradient, surrogate="arctan", surrogate_scale="peak", reset="subtract", temperature=0.7)
    built = network("5R", (1, 3, 3), 6, weight_gain=5.0, compiled=compiled, tau_m=4.0, tau_s=3.0, **settings).double()
    frames = torch.rand(6, 2, 1, 3, 3, dtype=torch.float64)
    first, between, last = built.parameters()
    hidden = lif(frames.flatten(2) @ first.T, recurrent=between, tau_m=4.0, tau_s=3.0, **settings).psc
    expected = lif(hidden @ last.T, tau_m=4.0, tau_s=3.0, **settings).psc
    found = built(frames)
    assert expected.any() and near(found, expected, 1e-12)
    grads = [torch.autograd.grad(x.square().sum(), list(built.parameters())) for x in (found, expected)]
    assert all_near(*grads)


def test_learned_settings_of_a_network_are_its_parameters():
    """One threshold and one width for all neurons of a layer, which an optimiser moves."""
    threshold = nn.Parameter(torch.tensor(1.0))
    built = network("6", (1, 3, 3), threshold=threshold, temperature=torch.tensor(0.4), weight_gain=6.0)
    names = [name for name, _ in built.named_parameters()]
    assert "layers.0.neuron.threshold" in names and "layers.0.neuron.temperature" in dict(built.named_buffers())
    built(torch.rand(4, 1, 3, 3)).square().sum().backward()
    assert threshold.grad is not None and threshold.grad != 0


# --- parts of a sequence ----------------------------------------------------------------------------------------------


@plain_and_compiled
@pytest.mark.parametrize("synaptic_delay", [0, 1, 2, 5])
@pytest.mark.parametrize("spec", ["4C3-P2-6", "6R-5"])
def test_parts_of_a_sequence_equal_the_whole(spec, synaptic_delay, compiled):
    """Forward and backward, with delays shorter and longer than a part: what is on its way arrives later."""
    steps = 20
    built = awake(network(spec, time_steps=steps, synaptic_delay=synaptic_delay, compiled=compiled).double())
    frames = torch.rand(steps, 2, 1, 8, 8, dtype=torch.float64)
    found = []
    for lengths in (None, [20], [6, 14], [1] * 20, [3, 1, 2, 9, 1, 4]):
        x = frames.clone().requires_grad_()
        if lengths is None:
            psc = built(x)
        else:
            state, parts = None, []
            for part in x.split(lengths):
                out, state = built.simulate(part, state)
                parts.append(out)
            psc = torch.cat(parts)
        found.append((psc, *torch.autograd.grad(psc.square().sum(), [x, *built.parameters()])))
    assert found[0][0].any()
    for parts in found[1:]:
        assert all_near(parts, found[0], 1e-11)


def test_the_state_of_a_network():
    """One of neurons and of waiting currents for every layer with neurons; detached, it truncates the gradient."""
    built = awake(network("4C3-P2-6", time_steps=14, synaptic_delay=2, dropout=0.2)).eval()
    frames = torch.rand(14, 2, 1, 8, 8, requires_grad=True)
    _, state = built.simulate(frames[:5])
    assert [type(x) for x in state] == [LayerState] * 3 and [type(x.neurons) for x in state] == [LIFState] * 3
    assert [x.neurons.potential.numel() for x in state] == [2 * 4 * 36, 2 * 6, 2 * 3]
    assert [x.waiting.shape[0] for x in state] == [2, 2, 2]
    assert all(x.waiting is None for x in network("6").simulate(frames[:5])[1])
    assert state[0].waiting.requires_grad and state[0].neurons.potential.requires_grad
    cut = [x.detach() for x in state]
    assert not any(x.waiting.requires_grad or x.neurons.psc.requires_grad for x in cut)
    assert all(torch.equal(x.waiting, y.waiting) for x, y in zip(cut, state, strict=True))
    whole, part = (built.simulate(frames[5:], s)[0] for s in (state, cut))
    assert torch.equal(whole, part) and whole.any()
    of_whole, of_part = (torch.autograd.grad(x.square().sum(), frames, retain_graph=True)[0] for x in (whole, part))
    assert of_whole[:5].any() and not of_part[:5].any() and of_part[5:].any()
    assert torch.isclose(of_whole[5:], of_part[5:]).all()


def test_a_part_has_any_length_and_a_whole_its_own():
    built = network(time_steps=5)
    for steps in (1, 2, 9):
        assert built.simulate(torch.rand(steps, 2, 1, 8, 8))[0].shape == (steps, 2, 3)
    for bad in (torch.rand(2, 1, 8, 8), torch.rand(0, 2, 1, 8, 8), torch.rand(3, 2, 1, 8, 7)):
        with pytest.raises(ValueError, match="expected frames"):
            built.simulate(bad)
    _, state = built.simulate(torch.rand(2, 2, 1, 8, 8))
    for wrong in (state[:2], (), (*state, state[0])):
        with pytest.raises(ValueError, match="state must have a LayerState for each of 3 layers"):
            built.simulate(torch.rand(2, 2, 1, 8, 8), wrong)
    with pytest.raises(ValueError, match="state"):
        built.simulate(torch.rand(2, 4, 1, 8, 8), state)
    delayed = network(time_steps=5, synaptic_delay=1)
    _, state = delayed.simulate(torch.rand(2, 2, 1, 8, 8))
    with pytest.raises(ValueError, match="state"):
        delayed.simulate(torch.rand(2, 4, 1, 8, 8), state)


# --- images, delays, pooling, dropout ---------------------------------------------------------------------------------


def test_a_constant_image_is_a_sequence_of_equal_frames():
    built = network(weight_gain=6.0)
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(built(images), built(images.expand(5, -1, -1, -1, -1)))


@pytest.mark.parametrize("synaptic_delay", [0, 1, 2])
def test_delay_is_one_wait_a_layer(synaptic_delay):
    """With weights so large that everything fires, the output of L layers answers at step L · delay."""
    built = network(time_steps=10, synaptic_delay=synaptic_delay)
    with torch.no_grad():
        for weight in built.parameters():
            weight.fill_(100.0)
        psc = built(torch.ones(1, 1, 8, 8))
    assert int(psc.sum((1, 2)).nonzero()[0]) == 3 * synaptic_delay


@given(st.integers(1, 6), st.integers(0, 9))
def test_delay_shifts(steps, by):
    x = torch.randn(steps, 2)
    shifted = delay(x, by)
    assert shifted.shape == x.shape
    assert not shifted[:by].any()
    assert torch.equal(shifted[by:], x[: max(steps - by, 0)])


@pytest.mark.parametrize(("spec", "reset"), [("3C3-P2-4", "zero"), ("3C3-P2-4R", "zero"), ("4R-3", "subtract")])
def test_gradient_of_the_relaxed_network_by_finite_differences(spec, reset):
    """The decisive check: only ``full`` is the derivative of the relaxed network, through its layers and a delay."""
    settings = dict(in_shape=(1, 4, 4), time_steps=6, relaxed=True, synaptic_delay=1, weight_gain=3.0, reset=reset)
    networks = {name: network(spec, gradient=name, **settings).double() for name in ("full", "leak", "spatial")}
    images = torch.rand(6, 2, 1, 4, 4, dtype=torch.float64)
    target = (torch.rand(6, 2, 3) < 0.5).double()

    def loss(net):
        return van_rossum_distance(net(images), target).sum()

    measured = finite_differences(lambda: loss(networks["full"]), networks["full"].parameters())
    errors = {}
    for name, net in networks.items():
        net.load_state_dict(networks["full"].state_dict())
        parts = torch.autograd.grad(loss(net), list(net.parameters()))
        found = torch.cat([part.flatten() for part in parts])
        errors[name] = ((found - measured).norm() / measured.norm()).item()
    assert errors["full"] < 1e-6
    assert min(errors["leak"], errors["spatial"]) > 1e-2


def test_finite_differences_leave_the_parameters_as_they_were():
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    before = weight.clone()
    slopes = finite_differences(lambda: (weight**3).sum(), [weight])
    weight.requires_grad_()
    torch.testing.assert_close(flat_gradient((weight**3).sum(), [weight]), slopes)
    torch.testing.assert_close(slopes, 3 * before.flatten() ** 2)
    assert torch.equal(weight, before)


def test_initial_weights_depend_on_the_generator_and_the_gain():
    weights = []
    for gain in (1.0, 3.0):
        torch.manual_seed(5)
        weights.append([weight.detach() for weight in network(weight_gain=gain).parameters()])
    for one, three in zip(*weights, strict=True):
        torch.testing.assert_close(3 * one, three)


def test_pooling_kinds():
    image = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).view(1, 1, 1, 2, 2)
    assert Pooling("average", 2)(image).item() == 2
    assert Pooling("max", 2)(image).item() == 5
    assert Pooling("sum", 2)(image).item() == pytest.approx(1.1 * 8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 8, 8), 2), ((2, 1, 7, 9), 2), ((1, 5, 11, 3), 3), ((2, 2, 4, 4), 1)]
)
def test_average_pooling_is_that_of_pytorch(shape, size, memory_format):
    images = torch.randn(shape, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    mine, theirs = AveragePool(size)(images), nn.functional.avg_pool2d(images, size)
    torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=1e-14)
    weights = torch.randn_like(theirs)
    torch.testing.assert_close(*(torch.autograd.grad((weights * x).sum(), images)[0] for x in (mine, theirs)))
    single = images.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert AveragePool(size)(single).dtype == torch.float32
    assert AveragePool(size)(single.bfloat16()).dtype == torch.bfloat16


def test_dropout_keeps_a_neuron_out_at_all_time_steps():
    psc = torch.ones(7, 50, 40)
    dropped = Dropout(0.25).train()(psc)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    out = dropped[0] == 0
    assert out.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert out.any(1).all() and not torch.equal(out[0], out[1])  # every example has a draw of its own
    torch.testing.assert_close(dropped[0][~out], torch.full_like(dropped[0][~out], 1 / 0.75))
    assert torch.equal(Dropout(0.25).eval()(psc), psc)


def test_dropout_follows_every_hidden_layer_once_after_its_pooling():
    kinds = [type(layer) for layer in network("4C3-P2-6", dropout=0.5).layers]
    assert kinds == [SpikingLayer, Pooling, Dropout, SpikingLayer, Dropout, SpikingLayer]


def test_initialisation_of_tssl_bp():
    """Convolutions as PyTorch's, scaled; linear layers normal with variance 2 / inputs, unscaled."""
    built = {}
    for name in ("pytorch", "tssl-bp"):
        torch.manual_seed(1)
        built[name] = list(network("4C3-400", initialisation=name, weight_gain=5.0).parameters())
    assert torch.equal(built["pytorch"][0], built["tssl-bp"][0])
    linear = built["tssl-bp"][1]
    assert linear.std().item() == pytest.approx((2 / linear.shape[1]) ** 0.5, rel=0.02)
    assert torch.distributions.Normal(0, (2 / linear.shape[1]) ** 0.5).cdf(linear).mean().item() == pytest.approx(
        0.5, abs=0.01
    )


def test_the_output_layer_keeps_float32_under_autocast():
    built = network(weight_gain=6.0)
    with torch.autocast("cpu", torch.bfloat16):
        psc = built(torch.rand(2, 1, 8, 8))
    assert psc.dtype == torch.float32
    assert [layer.readout for layer in built.layers if isinstance(layer, SpikingLayer)] == [False, False, True]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("15X5", "15X5"),
        ("", "token ''"),
        ("4C3--6", "token ''"),
        ("0C3", "0C3"),
        ("P0", "P0"),
        ("10-4C3", "cannot follow a linear layer"),
        ("4C9", "4C9.*does not fit its input of 1x8x8"),
        ("4C3-P9", "P9.*does not fit its input of 4x6x6"),
        ("R", "'R'"),
        ("0R", "0R"),
        ("10R3", "10R3"),
        ("10r", "10r"),
        ("R10", "R10"),
        ("P2R", "P2R"),
        ("4C3R", "4C3R"),
        ("10R-4C3", "cannot follow a linear layer"),
        ("-5", "token ''"),
        ("1.5", "1.5"),
    ],
)
def test_bad_specs_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        network(spec)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("time_steps", 0),
        ("time_steps", 1.5),
        ("time_steps", float("nan")),
        ("time_steps", "5"),
        ("synaptic_delay", -1),
        ("synaptic_delay", 1.5),
        ("weight_gain", float("nan")),
        ("weight_gain", 0.0),
        ("weight_gain", float("inf")),
        ("gradient", "none"),
        ("surrogate", "tanh"),
        ("surrogate_scale", "height"),
        ("reset", "none"),
        ("temperature", 0.0),
        ("pooling", "median"),
        ("tau_m", 0.5),
        ("padding", "reflect"),
        ("padding", "1,0"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("initialisation", "zeros"),
        ("time_steps", True),
        ("padding", -1),
        ("padding", 1.5),
        ("padding", True),
        ("dropout", "0.2"),
        ("dropout", None),
        ("weight_gain", "2"),
        ("neuron", []),
        ("pooling", []),
        ("compiled", "no"),
    ],
)
def test_bad_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        network(**{setting: value})


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 3, 8, 8), (4, 2, 1, 8, 8), (2, 1, 8, 7)])
def test_bad_input_is_named(shape):
    with pytest.raises(ValueError, match="expected images"):
        network()(torch.zeros(shape))


class Deaf(LIF):
    """Hears nothing, and stays silent."""

    def simulate(self, current, *arguments, **options):
        return super().simulate(0 * current, *arguments, **options)


def test_another_neuron_is_one_entry(monkeypatch):
    monkeypatch.setitem(layers.NEURONS, "deaf", Deaf)
    network = SpikingNetwork.from_spec("4C3-P2-6R", (1, 8, 8), 3, time_steps=4, neuron="deaf", weight_gain=5.0)
    assert not network(torch.rand(2, 1, 8, 8)).any()
    with pytest.raises(ValueError, match=r"neuron must be one of lif, (.+, )?deaf, got 'dead'"):
        SpikingNetwork.from_spec("6", (1, 8, 8), 3, time_steps=4, neuron="dead")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("n_classes", 0),
        ("n_classes", 1.5),
        ("in_shape", (1, 8)),
        ("in_shape", (1, 8.0, 8)),
        ("in_shape", (1, 0, 8)),
        ("spec", 3),
    ],
)
def test_bad_sizes_are_named(argument, value):
    arguments = {"spec": "4C3-P2-20", "in_shape": (1, 8, 8), "n_classes": 10, "time_steps": 5}
    with pytest.raises(ValueError, match=f"^{argument} must be"):
        SpikingNetwork.from_spec(**arguments | {argument: value})


@pytest.mark.parametrize("padding", [0, 1, "same", "1,0"])
@pytest.mark.parametrize("spec", ["4C3-P2-6C2-P3-20R-5", "3C4-2C1-P2-7", "6C5-6C5"])
def test_a_network_is_counted_without_building_it(spec, padding):
    """The shape of every layer's result is that of a dry run."""
    built = SpikingNetwork.from_spec(spec, (2, 17, 12), 3, time_steps=1, padding=padding).eval()
    neurons = []
    for layer in built.layers:
        if isinstance(layer, SpikingLayer):
            layer.register_forward_hook(lambda layer, given, psc: neurons.append(psc.numel()))
    built(torch.zeros(1, 2, 17, 12))
    weights = sum(weight.numel() for weight in built.parameters())
    assert count(spec, (2, 17, 12), 3, padding) == (weights, sum(neurons))


def test_a_network_of_any_size_is_counted_or_refused():
    assert count("999999999999", (1, 8, 8), 10)[0] == 74 * 999999999999
    with pytest.raises(ValueError, match="has a number that no memory can hold"):
        count("9" * 16, (1, 8, 8), 10)
    for spec in ("４C3", "P2-5-P2", "5-4C3", "P9", "4C9"):
        with pytest.raises(ValueError, match="network token"):
            count(spec, (1, 8, 8), 10)
