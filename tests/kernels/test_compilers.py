"""The neuron inside PyTorch's compilers and tracers, their operators, and what once ended the interpreter."""

import subprocess
import sys
import textwrap

import pytest
import torch
from independent import PEAKS, all_near, case, custom, gradient_at, near, plain_and_compiled
from torch import nn
from torch._library.custom_ops import CustomOpDef
from torch.utils._python_dispatch import TorchDispatchMode

from tsbp import LIF, LIFState, SpikingNetwork, lif, scaled
from tsbp.gradients import STUDIED
from tsbp.layers import AveragePool

PLAIN, COMPILED = False, True


@pytest.fixture
def fresh_compiler():
    """The compiler gives up after a few versions of one function, those of other tests among them."""
    torch._dynamo.reset()


def through_compiler(function):
    """What tracing makes of a function, without the seconds that its C++ would take to compile."""
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def two_calls(compiled: bool, **settings):
    """psc, spikes and state after two calls: all that a compiler has to see through."""

    def run(current, u, s, a):
        out = lif(current, state=LIFState(u, s, a), compiled=compiled, **settings)
        psc, spikes, _, state = lif(2 * out.psc, state=out.state, compiled=compiled, **settings)
        return psc, spikes, state.potential, state.psc

    return run


@pytest.mark.parametrize(
    ("gradient", "reset", "compiled"),
    [
        pytest.param("full", "zero", PLAIN, id="full-zero-plain"),
        pytest.param("full", "zero", COMPILED, id="full-zero-compiled"),
        pytest.param("spatial", "zero", COMPILED, id="spatial-zero-compiled"),
        pytest.param("leak", "subtract", COMPILED, id="leak-subtract-compiled"),
        pytest.param(scaled(0.3), "subtract", COMPILED, id="scaled-subtract-compiled"),
    ],
)
@pytest.mark.usefixtures("fresh_compiler")
def test_torch_compile_without_a_graph_break(gradient, reset, compiled):
    """Values and gradients, with a state that goes in and comes out."""
    current, _, _, state = case(2, 3, state=True)
    run = two_calls(compiled, gradient=gradient, reset=reset)
    through = through_compiler(run)
    assert all_near(through(current, *state), run(current, *state), 1e-12)
    found, expected = (
        gradient_at(lambda i, u, a, f=f: f(i, u, state.spikes, a), current, state.potential, state.psc)
        for f in (through, run)
    )
    assert all_near(found, expected)


@pytest.mark.parametrize(
    ("setting", "compiled"),
    [
        pytest.param("own", PLAIN, id="own-plain"),
        pytest.param("relaxed", COMPILED, id="relaxed-compiled"),
        pytest.param("recurrent", COMPILED, id="recurrent-compiled"),
        pytest.param("learned", PLAIN, id="learned-plain"),
        pytest.param("peak", COMPILED, id="peak-compiled"),
        pytest.param("constant", COMPILED, id="constant-compiled"),
    ],
)
@pytest.mark.usefixtures("fresh_compiler")
def test_torch_compile_with_other_settings(setting, compiled):
    current, weights = case(2, 3)[0], torch.randn(3, 3, dtype=torch.float64)

    def run(current, weights):
        options = {
            "own": {"gradient": custom},
            "relaxed": {"relaxed": True},
            "recurrent": {"recurrent": weights},
            "learned": {"temperature": weights[0].abs() + 0.2, "tau_m": weights[1].square() + 1},
            "peak": {"surrogate": "gaussian", "surrogate_scale": "peak"},
            "constant": {"time_steps": 6},
        }[setting]
        return lif(current[:1] if setting == "constant" else current, compiled=compiled, **options).psc + weights.sum()

    through = through_compiler(run)
    assert near(through(current, weights), run(current, weights), 1e-12)
    assert all_near(gradient_at(through, current, weights), gradient_at(run, current, weights))


@plain_and_compiled
@pytest.mark.usefixtures("fresh_compiler")
def test_a_layer_under_the_compiler_serves_other_batches_and_settings(compiled):
    """Traced again or dynamic, never stale."""
    layer = LIF(compiled=compiled)
    through = through_compiler(layer)
    for batch in (2, 5, 7):
        current = case(2, batch)[0]
        assert near(through(current), layer(current), 1e-12)
    layer.numbers["threshold"] = 0.3
    assert near(through(current), lif(current, threshold=0.3).psc, 1e-12)


@pytest.mark.slow
@plain_and_compiled
@pytest.mark.usefixtures("fresh_compiler")
def test_the_inductor_learns_the_same(compiled):
    """The default back end, which writes and compiles C++: three updates of a network."""
    weights = []
    for compiler in (lambda m: m, lambda m: torch.compile(m, fullgraph=True)):
        torch.manual_seed(1)
        network = SpikingNetwork.from_spec("3C3-P2-6R", (1, 6, 6), 2, 3, weight_gain=5.0, compiled=compiled).double()
        model = compiler(network)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        images = torch.rand(4, 1, 6, 6, dtype=torch.float64)
        for _ in range(3):
            optimizer.zero_grad()
            (model(images) - 0.3).square().sum().backward()
            optimizer.step()
        weights.append([x.detach() for x in network.parameters()])
    assert all_near(*weights)


@plain_and_compiled
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_export(reset, compiled):
    current = case(3, 3, 2)[0]
    layer = LIF(reset=reset, compiled=compiled)
    program = torch.export.export(layer, (current,))
    other = case(3, 3, 2, seed=5)[0]
    assert near(program.module()(other), lif(other, reset=reset).psc, 1e-12)


@plain_and_compiled
def test_export_of_a_network_for_any_batch(compiled):
    network = SpikingNetwork.from_spec("2C3-P2-5R", (1, 6, 6), 2, 2, weight_gain=5.0, compiled=compiled).double()
    images = torch.rand(4, 1, 6, 6, dtype=torch.float64)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},))
    other = torch.rand(7, 1, 6, 6, dtype=torch.float64)
    assert near(program.module()(other), network(other), 1e-12)


@pytest.mark.usefixtures("fresh_compiler")
def test_pooling_under_the_compiler():
    images = torch.randn(3, 2, 5, 7, dtype=torch.float64)
    expected = nn.functional.avg_pool2d(images, 2)
    assert near(through_compiler(AveragePool(2))(images), expected, 1e-12)
    assert near(torch.export.export(AveragePool(2), (images,)).module()(images), expected, 1e-12)


@pytest.mark.filterwarnings("ignore")
@plain_and_compiled
@pytest.mark.parametrize("gradient", [*STUDIED, scaled(0.3)], ids=str)
def test_jit_trace_gives_the_same_values_and_gradients(gradient, compiled):
    """It ended in a segmentation fault."""
    current, other = case(4, 3)[0], case(4, 3, seed=7)[0]
    for settings in ({}, {"reset": "subtract"}, {"surrogate": "gaussian", "surrogate_scale": "peak"}):
        layer = LIF(gradient=gradient, compiled=compiled, **settings)
        traced = torch.jit.trace(layer, current)
        for value in (current, other):
            assert near(traced(value), layer(value), 1e-12)
            assert all_near(gradient_at(traced, value), gradient_at(layer, value))


@pytest.mark.filterwarnings("ignore")
@plain_and_compiled
def test_jit_trace_of_a_network(compiled):
    network = SpikingNetwork.from_spec("2C3-P2-5R", (1, 6, 6), 2, 3, weight_gain=5.0, compiled=compiled).double()
    images, other = torch.rand(2, 3, 1, 6, 6, dtype=torch.float64)
    traced = torch.jit.trace(network, images)
    assert near(traced(other), network(other), 1e-12)


# --- the operators themselves -----------------------------------------------------------------------------------------


def operators() -> set[str]:
    """Names of all that the package registers."""
    import tsbp.kernels.ops as ops

    return {value._opoverload._opname for value in vars(ops).values() if isinstance(value, CustomOpDef)}


def calls_of(run) -> dict[str, list[tuple]]:
    """Operator → the arguments with which PyTorch's transforms call it."""
    seen: dict[str, list[tuple]] = {}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace == "tsbp":
                seen.setdefault(func._opname, []).append((args, kwargs or {}))
            return func(*args, **(kwargs or {}))

    with Watch():
        run()
    return seen


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["at rest", "from a state", "constant"])
def test_opcheck_of_every_operator_compiled(kind, dtype):
    """With the arguments that real calls give them."""
    surrogate = list(PEAKS)[["at rest", "from a state", "constant"].index(kind)]

    def run() -> None:
        current, _, _, state = case(3, 2, state=True)
        leaf = current.to(dtype)[: 1 if kind == "constant" else 3].requires_grad_()
        kept = LIFState(*(x.to(torch.promote_types(dtype, torch.float32)) for x in state))
        out = lif(
            leaf, state=kept if kind == "from a state" else None, surrogate=surrogate, time_steps=3, compiled=True,
            reset="subtract" if kind == "from a state" else "zero",
        )  # fmt: skip
        outs = (out.psc, out.state.psc) if kind == "from a state" else (out.psc,)
        torch.autograd.grad(outs, leaf, [torch.randn_like(x) for x in outs])

    seen = calls_of(run)
    assert seen.keys() == operators() and len(seen) >= 2, "a call went around the operators, or an operator has none"
    for name, calls in seen.items():
        for arguments, keywords in calls:
            arguments = tuple(x.detach() if isinstance(x, torch.Tensor) else x for x in arguments)
            torch.library.opcheck(getattr(torch.ops.tsbp, name).default, arguments, keywords)


# --- no call may end the interpreter ----------------------------------------------------------------------------------

CRASHERS = {
    "jit.trace": "torch.jit.trace(layer, x)(x).sum()",
    "jit.trace, trained": "torch.jit.trace(layer, x)(x.clone().requires_grad_()).sum().backward()",
    "FakeTensorMode": """
        with FakeTensorMode():
            y = torch.empty(5, 3, requires_grad=True)
            layer(y).sum().backward()
    """,
    "a fake tensor outside its mode": "layer(FakeTensorMode().from_tensor(x))",
    "meta": "layer(x.to('meta').requires_grad_()).sum().backward()",
    "default device": """
        with torch.device("meta"):
            layer(x.clone().requires_grad_()).sum().backward()
    """,
    "a meta state": "tsbp.lif(x, state=[torch.zeros(3, device='meta')] * 3, compiled=COMPILED)",
    "a fake state": "tsbp.lif(x, state=[FakeTensorMode().from_tensor(torch.zeros(3))] * 3, compiled=COMPILED)",
    "meta weights": "tsbp.lif(x, recurrent=torch.zeros(3, 3, device='meta'), compiled=COMPILED)",
    "functionalised": "torch.func.functionalize(layer)(x)",
    "make_fx": "torch.fx.experimental.proxy_tensor.make_fx(layer)(x)",
    "vmap": "torch.func.vmap(layer)(torch.randn(4, 5, 3))",
    "jvp": "torch.func.jvp(layer, (x,), (x,))",
    "zeros without memory": "layer(torch._efficientzerotensor((5, 3)))",
    "a state without memory": "tsbp.lif(x, state=[torch._efficientzerotensor((3,))] * 3, compiled=COMPILED)",
    "weights without memory": "tsbp.lif(x, recurrent=torch._efficientzerotensor((3, 3)), compiled=COMPILED)",
    "a gradient without memory": """
        y = x.clone().requires_grad_()
        torch.autograd.grad(layer(y), y, torch._efficientzerotensor((5, 3)))
    """,
    "a meta gradient": """
        y = x.clone().requires_grad_()
        torch.autograd.grad(layer(y), y, torch.zeros(5, 3, device='meta'))
    """,
    "a fake gradient": """
        y = x.clone().requires_grad_()
        torch.autograd.grad(layer(y), y, FakeTensorMode().from_tensor(torch.zeros(5, 3)))
    """,
    "a sparse gradient": """
        y = x.clone().requires_grad_()
        torch.autograd.grad(layer(y), y, torch.ones(5, 3).to_sparse())
    """,
    "sparse": "layer(x.to_sparse())",
    "quantised": "layer(torch.quantize_per_tensor(x, 0.1, 0, torch.qint8))",
    "mkldnn": "layer(x.to_mkldnn())",
    "nested": "layer(torch.nested.nested_tensor([x, x]))",
    "jagged": "layer(torch.nested.nested_tensor([x, x[:2]], layout=torch.jagged))",
    "empty": "layer(torch.zeros(5, 0, requires_grad=True)).sum().backward()",
}
MUST_WORK = {"jit.trace", "jit.trace, trained", "FakeTensorMode", "meta", "default device", "vmap", "jvp", "empty"}


@pytest.mark.parametrize(
    "compiled", [pytest.param(False, id="plain", marks=pytest.mark.slow), pytest.param(True, id="compiled")]
)
def test_no_call_ends_the_interpreter(compiled, tmp_path):
    """What once crashed, and its relatives, in a process of their own: a result or one clear error each."""
    script = """
        import warnings; warnings.simplefilter("ignore")
        import torch, tsbp
        import torch.fx.experimental.proxy_tensor
        from torch._subclasses.fake_tensor import FakeTensorMode
        x = torch.randn(5, 3)
        layer = tsbp.LIF(compiled=COMPILED)
        expected = layer(x)
    """
    script = textwrap.dedent(script)
    for name, code in CRASHERS.items():
        body = textwrap.indent(textwrap.dedent(code).strip(), "    ")
        script += f"print({name!r}, end=': ', flush=True)\ntry:\n{body}\n    print('worked')\n"
        script += "except Exception as error: print(type(error).__name__, *str(error)[:99].splitlines()[:1])\n"
    script += "assert torch.equal(layer(x), expected)\nprint('alive')\n"
    path = tmp_path / "crashers.py"
    path.write_text(script.replace("COMPILED", str(compiled)))
    run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and run.stdout.endswith("alive\n"), run.stdout[-500:] + run.stderr[-2000:]
    worked = {line.removesuffix(": worked") for line in run.stdout.splitlines() if line.endswith(": worked")}
    assert worked >= MUST_WORK, run.stdout
