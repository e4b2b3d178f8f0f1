"""What only a CUDA device can show; the tests of the neuron there are in test_neuron.py."""

import pytest
import torch
from torch.nn import functional

from tsbp import fused, lif, training
from tsbp.networks import AveragePool
from tsbp.neuron import GRADIENTS
from tsbp.settings import TrainingConfig

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


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("dtype", fused.NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3, 17), (30, 1000), (100, 2, 4099), (5, 2_000_000)])
def test_the_kernel_is_the_plain_loop(dtype, gradient, shape):
    current = (0.7 * torch.randn(shape) + 0.4).cuda().to(dtype)
    arriving = torch.randn(shape).cuda().to(dtype), torch.randn(shape).cuda().to(dtype)

    def results(current, compiled):
        current = current.detach().requires_grad_()
        out = lif(current, temperature=0.25, compiled=compiled, **GRADIENTS[gradient])
        return out, torch.autograd.grad(out[:2], current, [x.to(current.dtype) for x in arriving])[0]

    fused_out, fused_gradient = results(current, True)
    plain_out, plain_gradient = results(current, False)
    assert all(map(torch.equal, fused_out, plain_out))
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]
    assert (fused_gradient - plain_gradient).abs().max() <= tolerance * plain_gradient.abs().max()


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


@pytest.mark.parametrize("gradient", GRADIENTS)
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
