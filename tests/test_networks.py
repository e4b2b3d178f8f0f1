"""Networks from Table 3's notation: shapes, delay, and the whole network's gradient against finite differences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tsbp import GRADIENTS, SpikingNetwork, lif, van_rossum_distance
from tsbp.networks import TABLE_3, AveragePool, Dropout, Pooling, SpikingLayer, delay, finite_differences


def network(spec: str = "4C3-P2-6", in_shape=(1, 8, 8), time_steps: int = 5, **settings) -> SpikingNetwork:
    return SpikingNetwork.from_spec(spec, in_shape, n_classes=3, time_steps=time_steps, **settings)


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
    built = network().double()
    with torch.no_grad():
        for weight in built.parameters():
            weight.uniform_(-0.3, 0.7)
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    first, second, third = built.parameters()
    current = nn.functional.conv2d(images, first).expand(5, -1, -1, -1, -1)
    psc = lif(current).psc
    pooled = torch.stack([nn.functional.avg_pool2d(now, 2) for now in psc])
    hidden = lif(torch.stack([now.flatten(1) @ second.T for now in pooled])).psc
    expected = lif(torch.stack([now @ third.T for now in hidden])).psc
    assert expected.any()
    torch.testing.assert_close(built(images), expected)


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


def test_gradient_of_the_relaxed_network_by_finite_differences():
    """The decisive check: only ``full`` is the derivative of the relaxed network, through two layers and a delay."""
    settings = dict(spec="3C3-P2-4", in_shape=(1, 4, 4), time_steps=6, relaxed=True, synaptic_delay=1, weight_gain=3.0)
    networks = {name: network(**settings, **gradient).double() for name, gradient in GRADIENTS.items()}
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
    ],
)
def test_bad_specs_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        network(spec)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("time_steps", 0),
        ("synaptic_delay", -1),
        ("pooling", "median"),
        ("tau_m", 0.5),
        ("padding", "reflect"),
        ("padding", "1,0"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("initialisation", "zeros"),
    ],
)
def test_bad_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        network(**{setting: value})


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 3, 8, 8), (4, 2, 1, 8, 8), (2, 1, 8, 7)])
def test_bad_input_is_named(shape):
    with pytest.raises(ValueError, match="expected images"):
        network()(torch.zeros(shape))
