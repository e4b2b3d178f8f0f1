"""Without a gradient and without the potential, the kernels keep none, and psc and state come out the same."""

import pytest
import torch

import tsbp
from tsbp.kernels import dispatch, memory, recurrent_cpu

TYPES = torch.float32, torch.float64, torch.bfloat16


def currents(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (torch.randn(shape, generator=generator, dtype=torch.float64) + 0.4).to(dtype)


def equal(found: tsbp.LIFOutput, wanted: tsbp.LIFOutput) -> bool:
    assert found.spikes is None and found.potential is None
    pairs = [(found.psc, wanted.psc), *zip(found.state, wanted.state, strict=True)]
    ordinary = all(a.dtype == b.dtype and not a.requires_grad and not a._is_view() for a, b in pairs)
    return ordinary and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 2, 531), (40, 1100), (6, 70, 20_000), (4, 3, 0)])
def test_psc_and_state_are_the_same(shape, reset, dtype, needs_a_compiler):
    current, settings = currents(*shape, dtype=dtype), {"reset": reset, "compiled": True}
    for state in (None, tsbp.lif(current.flip(0), **settings).state):
        found = tsbp.lif(current, state=state, spikes=False, potential=False, **settings)
        assert equal(found, tsbp.lif(current, state=state, **settings))
        again = tsbp.lif(current, state=found.state, spikes=False, potential=False, **settings)
        assert equal(again, tsbp.lif(current, state=found.state, **settings))


def test_of_a_constant_current_and_a_view(needs_a_compiler):
    current = currents(1, 600)
    found = tsbp.lif(current, time_steps=9, spikes=False, potential=False, compiled=True)
    assert equal(found, tsbp.lif(current, time_steps=9, compiled=True))
    view = currents(5, 4, 600)[:, 1]
    found = tsbp.lif(view, spikes=False, potential=False, compiled=True)
    assert equal(found, tsbp.lif(view, compiled=True))


@pytest.mark.parametrize("dtype", TYPES[:2])
@pytest.mark.parametrize("networks", [(), (2,)])
@pytest.mark.parametrize("neurons", [1, 20, 130])
def test_of_a_recurrent_layer(neurons, networks, dtype, needs_a_compiler):
    current = currents(7, 3, *networks, neurons, dtype=dtype)
    settings = {"recurrent": currents(*networks, neurons, neurons, dtype=dtype) / 9, "compiled": True}
    for state in (None, tsbp.lif(current.flip(0), **settings).state):
        found = tsbp.lif(current, state=state, spikes=False, potential=False, **settings)
        assert equal(found, tsbp.lif(current, state=state, **settings))


def test_an_uncompiled_neuron_gives_no_potential_either():
    current = currents(7, 20)
    found = tsbp.lif(current, spikes=False, potential=False)
    assert equal(found, tsbp.lif(current))
    with pytest.raises(ValueError, match="potential must be True or False, got 1"):
        tsbp.lif(current, potential=1)


@pytest.fixture
def written(monkeypatch, needs_a_compiler):
    """Names of the passes that ran."""
    names = []

    def note(module, name):
        call = getattr(module, name)

        def noted(*arguments, **options):
            names.append(name if options.get("keep", True) else "evaluate")
            return call(*arguments, **options)

        monkeypatch.setattr(module, name, noted)

    note(dispatch, "forward")
    note(dispatch, "evaluate")
    note(recurrent_cpu, "forward")
    return names


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_potential_is_kept_where_somebody_wants_it(written, recurrent):
    current, weights = currents(5, 20), {"recurrent": currents(20, 20)} if recurrent else {}
    alone = {"spikes": False, "potential": False, "compiled": True, **weights}
    for learned in (current, *weights.values()):
        learned.requires_grad_()
        out = tsbp.lif(current, **alone)
        assert written.pop() == "forward" and out.potential is None and out.psc.requires_grad
        assert torch.autograd.grad(out.psc.sum(), learned)[0].any()
        with torch.no_grad():
            tsbp.lif(current, **alone)
        assert written.pop() == "evaluate"
        learned.requires_grad_(False)
    state = tsbp.LIFState(*(x.requires_grad_() for x in tsbp.lif(current, compiled=True).state))
    for options in (alone | {"spikes": True}, alone | {"potential": True}, alone | {"state": state}):
        written.clear()
        tsbp.lif(current, **options)
        assert written == ["forward"]


def test_a_network_in_evaluation_keeps_no_potential(written):
    network = tsbp.SpikingNetwork.from_spec("5C3-P2-20", (1, 8, 8), 3, 5, compiled=True)
    with torch.no_grad():
        network(torch.rand(1, 2, 1, 8, 8))
    assert set(written) == {"evaluate"}


def test_evaluation_takes_little_more_memory_than_its_result(needs_a_compiler):
    current = currents(12, 200_000)
    result = current.numel() * current.element_size()
    memory.release()
    held = memory.POOL.in_use
    with torch.no_grad():
        tsbp.lif(current, spikes=False, potential=False, compiled=True)
        assert result <= memory.POOL.most_in_use - held < 1.5 * result
        tsbp.lif(current, spikes=False, compiled=True)
        assert memory.POOL.most_in_use - held >= 2 * result


def test_tensors_of_transforms_go_the_other_way():
    current = currents(5, 3, 20)
    many = torch.vmap(lambda x: tsbp.lif(x, spikes=False, potential=False, compiled=True).psc, in_dims=1, out_dims=1)
    assert torch.equal(many(current), tsbp.lif(current, compiled=True).psc)


def test_a_state_that_is_first_looked_at_under_inference_can_be_trained_from(needs_a_compiler):
    with torch.no_grad():
        out = tsbp.lif(currents(5, 20), spikes=False, potential=False, compiled=True)
    with torch.inference_mode():
        state = out.state
    later = currents(5, 20).requires_grad_()
    assert torch.autograd.grad(tsbp.lif(later, state=state, compiled=True).psc.sum(), later)[0].any()
