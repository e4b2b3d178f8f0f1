"""What only a CUDA device can show; the tests of the neuron there are in test_neuron.py."""

import pytest
import torch
from independent import FACTORS, case, in_chunks, near, plain_and_compiled, simulate
from torch.nn import functional

from tsbp import SURROGATES, LIFState, SpikingNetwork, lif
from tsbp.gradients import STUDIED
from tsbp.kernels import dispatch
from tsbp.layers import AveragePool
from tsbp.runs import training
from tsbp.runs.settings import TrainingConfig

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

BATCHES = 8


def run_of(dataset, compiled=True, **settings):
    settings = dict(device="cuda", precision="float32", batch_size=64, dropout=0.2, weight_gain=4.0) | settings
    return training.Run(training.resolve(TrainingConfig.for_dataset("digits", **settings)), dataset, compiled)


def losses(run, graph=True):
    """Of several updates, the last one of a smaller batch, as an epoch ends."""
    run.network.train()
    if not graph:
        run.graph = None
    batches = [*torch.arange(BATCHES * 64).split(64), torch.arange(17), torch.arange(64)]
    return torch.tensor([run.step(batch) for batch in batches])


TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-5, torch.bfloat16: 2**-7}
NAMED = [name for name in FACTORS if name != "own"]  # for which there are kernels


def both_ways(shape, dtype, arriving=("psc", "spikes"), **settings):
    """Outputs and gradients of a current and a state, compiled and plain, of the same numbers."""
    current, *grads, state = case(*shape, state=True)
    found = []
    for compiled in (True, False):
        tensors = [current.to(dtype), *(x.to(torch.promote_types(dtype, torch.float32)) for x in state)]
        tensors = [x.cuda().requires_grad_() for x in tensors]
        out = lif(tensors[0], state=LIFState(*tensors[1:]), compiled=compiled, **settings)
        outs = [getattr(out, name) for name in arriving] + [out.state.potential, out.state.psc]
        at = [*grads[: len(arriving)], grads[0][-1], grads[1][-1]]
        at = [g.cuda().to(x.dtype) for g, x in zip(at, outs, strict=True)]
        wanted = (tensors[0], tensors[1], tensors[3])
        found.append(([*out[:3], *out.state], torch.autograd.grad(outs, wanted, at)))
    return found


def assert_same(fused, plain, dtype):
    """The forward pass to the last bit, the gradients to a share of their largest value."""
    assert all(map(torch.equal, fused[0], plain[0]))
    for one, other in zip(fused[1], plain[1], strict=True):
        assert one.dtype == other.dtype
        assert (one - other).abs().max() <= TOLERANCES[dtype] * other.abs().max() + 1e-20


@pytest.mark.parametrize("gradient", NAMED)
@pytest.mark.parametrize("dtype", dispatch.NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3, 17), (30, 1000), (100, 2, 4099), (5, 2_000_000)])
def test_the_kernel_is_the_plain_loop(dtype, gradient, shape):
    assert_same(*both_ways(shape, dtype, gradient=FACTORS[gradient][0], temperature=0.25), dtype)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("scale", ["area", "peak"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("dtype", dispatch.NAMES)
def test_the_kernel_knows_every_surrogate_and_reset(dtype, surrogate, scale, reset):
    for number, gradient in enumerate(NAMED):
        arriving = [("psc", "spikes"), ("psc",), ("spikes",)][number % 3]
        settings = dict(gradient=FACTORS[gradient][0], surrogate=surrogate, surrogate_scale=scale, reset=reset)
        assert_same(*both_ways((12, 3, 77), dtype, arriving, **settings), dtype)


@plain_and_compiled
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("gradient", FACTORS)
def test_the_neuron_is_the_independent_one(gradient, surrogate, reset, compiled):
    """Whole and in chunks, with the gradient of the state."""
    current, *arriving, state = case(13, 2, 30, state=True)
    for scale in ("area", "peak"):
        settings = dict(surrogate=surrogate, surrogate_scale=scale, reset=reset)
        expected = simulate(current, arriving, gradient, state=state, **settings)
        inputs = [x.cuda().requires_grad_() for x in (current, *state)]
        for lengths in ([13], [4, 9]):
            psc, spikes, _ = in_chunks(
                inputs[0], lengths, state=LIFState(*inputs[1:]), gradient=FACTORS[gradient][0], compiled=compiled,
                **settings,
            )  # fmt: skip
            assert near(psc.cpu(), expected.psc, 1e-12) and near(spikes.cpu(), expected.spikes, 0)
            wanted = (inputs[0], inputs[1], inputs[3])
            found = torch.autograd.grad((psc, spikes), wanted, [x.cuda() for x in arriving])
            for one, other in zip(found, (expected.current, expected.of_potential, expected.of_psc), strict=True):
                assert near(one.cpu(), other)


@plain_and_compiled
@pytest.mark.parametrize("gradient", FACTORS)
def test_a_recurrent_layer_is_the_independent_one(gradient, compiled):
    current, *arriving, state = case(9, 2, 30, state=True)
    weights = torch.randn(30, 30, dtype=torch.float64) / 5
    expected = simulate(current, arriving, gradient, state=state, recurrent=weights)
    inputs = [x.cuda().requires_grad_() for x in (current, weights)]
    out = lif(
        inputs[0], state=LIFState(*(x.cuda() for x in state)), recurrent=inputs[1], gradient=FACTORS[gradient][0],
        compiled=compiled,
    )  # fmt: skip
    assert near(out.psc.cpu(), expected.psc, 1e-11)
    found = torch.autograd.grad(out[:2], inputs, [x.cuda() for x in arriving])
    assert near(found[0].cpu(), expected.current) and near(found[1].cpu(), expected.recurrent)


def test_inside_transforms():
    """Per-example gradients, a second derivative, forward mode, fake tensors: as on the CPU."""
    current = case(5, 4, 3)[0].cuda()
    results = []
    for compiled in (True, False):

        def loss(x, compiled=compiled):
            return lif(x, compiled=compiled).psc.square().sum()

        per_example = torch.func.vmap(torch.func.grad(loss), in_dims=1)(current)
        hessian = torch.func.hessian(loss)(current[:, 0])
        through = torch.compile(loss, fullgraph=True, backend="aot_eager")
        results.append((per_example, hessian, torch.func.jvp(loss, (current,), (current,))[1], through(current)))
    assert all(near(x.cpu(), y.cpu()) for x, y in zip(*results, strict=True)) and results[0][1].any()


def test_a_layer_on_another_stream_and_in_a_graph():
    """The kernels run on PyTorch's current stream, so that a recorded update can be replayed."""
    network = SpikingNetwork.from_spec("4C3-P2-6R", (1, 8, 8), 3, 5, weight_gain=6.0, compiled=True).cuda()
    images, target = torch.rand(4, 1, 8, 8, device="cuda"), torch.rand(5, 4, 3, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            network.zero_grad(set_to_none=False)
            (network(images) - target).square().sum().backward()
        expected = [x.grad.clone() for x in network.parameters()]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    network.zero_grad(set_to_none=False)
    with torch.cuda.graph(graph):
        (network(images) - target).square().sum().backward()
    network.zero_grad(set_to_none=False)
    graph.replay()
    torch.cuda.synchronize()
    for parameter, one in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, one, rtol=1e-3, atol=1e-4)


def test_the_kernel_reads_a_constant_current_once():
    current = torch.rand(1, 1000, dtype=torch.float64, device="cuda", requires_grad=True)
    outs = [lif(current, time_steps=12, compiled=compiled).psc for compiled in (True, False)]
    assert torch.equal(*outs)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), current)[0] for out in outs))


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_a_recorded_update_is_the_same_update(digits, optimizer):
    recorded = run_of(digits, optimizer=optimizer)
    replayed = losses(recorded)
    assert recorded.graph.recorded is not None
    torch.testing.assert_close(replayed, losses(run_of(digits, optimizer=optimizer), graph=False), rtol=1e-4, atol=1e-4)
    assert len(set(replayed.tolist())) > BATCHES / 2, "the batches have different losses"


@pytest.mark.parametrize("gradient", STUDIED)
def test_training_on_cuda_is_training_on_the_cpu(digits, gradient):
    settings = dict(gradient=gradient, dropout=0.0)
    on_cpu = losses(run_of(digits, device="cpu", **settings))
    torch.testing.assert_close(losses(run_of(digits, **settings)), on_cpu, rtol=1e-2, atol=1e-2)


def test_a_damaged_update_is_found_out_in_a_replay(digits):
    run = run_of(digits)
    losses(run)
    with torch.no_grad():
        next(run.network.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="nan"):
        run.step(torch.arange(64))


def test_a_run_goes_on_from_its_checkpoint(digits, tmp_path):
    config = TrainingConfig.for_dataset("digits", device="cuda", epochs=2, batch_size=200)
    whole = training.train(config, dataset=digits, quiet=True, compiled=True)
    path = tmp_path / "run.pt"
    stopped = dict(dataset=digits, quiet=True, compiled=True, checkpoint=path, resume=True)
    assert training.train(config, **stopped, time_budget=0) is None
    resumed = training.train(config, **stopped)
    assert resumed["epoch_metrics"][-1]["loss"] == pytest.approx(whole["epoch_metrics"][-1]["loss"], rel=0.05)
    assert resumed["device_name"] == torch.cuda.get_device_name()


@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (2, 16, 9, 7)])
def test_pooling_is_that_of_pytorch(shape):
    images = torch.rand(shape, dtype=torch.float64, device="cuda").contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    pooled, expected = AveragePool(2)(images), functional.avg_pool2d(images, 2)
    torch.testing.assert_close(pooled, expected)
    arriving = torch.rand_like(pooled)
    torch.testing.assert_close(*(torch.autograd.grad(x, images, arriving)[0] for x in (pooled, expected)))
