# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does the term cost?
#
# The paper concludes that the reset term is not worth the additional computation {cite}`yang2020`. It reports no
# timing. The cost depends on how the gradient is computed, so this chapter first counts operations and memory accesses,
# then measures. The answer is in the first four sections; benchmarks against other libraries follow them.

# %% tags=["parameters"]
profile: str = "quick"  # quick (seconds) or full (minutes)
seed: int = 0  # of the random currents
time_steps: int = 5  # T
batch_size: int = 0  # 0: 32 (quick), 128 (full)
neurons: int = 4096  # per example
repeats: int = 0  # rounds; 0: 11 (quick), 51 (full)

# %%
from statistics import median

import pandas as pd
import sympy
import torch

import tsbp
from tsbp import equations, gradients
from tsbp.peers.bench import BYTES_PER_STEP, SHAPES, BenchConfig, run
from tsbp.runs import records
from tsbp.study import figures, tables
from tsbp.study.statistics import ratio_interval, ratio_intervals, whole_neurons

# %% tags=["remove-cell"]
figures.use_style()
batch_size = batch_size or {"quick": 32, "full": 128}[profile]
repeats = repeats or {"quick": 11, "full": 51}[profile]
recorded = records.load(BenchConfig.kind)
on_cpu = recorded[recorded["device"] == "cpu"]
on_cuda = recorded[recorded["device"] == "cuda"]

# %% [markdown]
# ## Operations and memory accesses
#
# One step of the backward recursion is {eq}`alpha` and {eq}`delta`. The factors are those of the package: SymPy's
# symbols pass through `tsbp.GRADIENTS` like tensors, and SymPy counts the additions, multiplications and the like. $h$
# is the surrogate derivative of {eq}`surrogate`.

# %% tags=["hide-input"]
gA, alpha, delta, U, S, h = sympy.symbols("g_A alpha delta U S h")
leak_m, leak_s, gain_s = sympy.symbols("lambda_m lambda_s gamma_s")
alpha_now = gA + leak_s * alpha
h_now = sympy.Function("exp")(-U) / (1 + sympy.Function("exp")(-U)) ** 2
counted = pd.DataFrame(
    [
        {
            "gradient": name,
            "filter and surrogate": sympy.count_ops(alpha_now)
            + sympy.count_ops(h_now),
            "step": sympy.count_ops(
                gain_s * alpha * h + leak_m * tsbp.GRADIENTS[name](U, S, h) * delta
            ),
            "numbers read": "U, gradient of a",
            "numbers written": "gradient of I",
        }
        for name in gradients.STUDIED
    ]
)
term_operations = counted["step"][0] - counted["step"][1]
figures.note("term-operations", int(term_operations))
figures.note("all-operations", int(counted.iloc[0, 1:3].sum()))
figures.note("bytes-per-step", BYTES_PER_STEP)
tables.show(counted, "gradient", "numbers read", "numbers written")

# %% [markdown]
# The term accounts for {glue:text}`term-operations` of {glue:text}`all-operations` operations. It reads and writes
# *nothing* in addition, because the surrogate needs the potential $U$ anyway. On current machines, moving a number
# takes far longer than computing with it. If the whole recursion is one pass through memory, a layer moves
# {glue:text}`bytes-per-step` bytes per neuron and step in float32, forward and backward together, with the term or
# without.
#
# Automatic differentiation makes a pass through memory for each operation and keeps what each will need: with the reset
# in the graph, the product with the reset keeps both $U$ *and* $S$.
#
# ## One pass through memory
#
# `tsbp.lif(..., compiled=True)` is that one pass: C++ on the CPU (`tsbp/kernels/cpu.cpp`, compiled in about a second
# when first needed), Triton on CUDA (`tsbp/kernels/cuda.py`). A block of neurons goes through all time steps before the
# next block starts. `leak` and `spatial` skip the operations that they do not need. Measured while this page was built,
# as multiples of the time of `tsbp full`:

# %%
config = BenchConfig(
    benchmark="lif",
    time_steps=time_steps,
    batch_size=batch_size,
    neurons=neurons,
    repeats=repeats,
    seed=seed,
)
measured = pd.DataFrame([run(config, others=["plain autograd"])])
now = tables.speed_table(measured)
tables.show(now, "")

# %% tags=["remove-cell"]
figures.note("now-profile", profile)
figures.note("now-repeats", repeats)
figures.note("now-neurons", batch_size * neurons)

# %% [markdown]
# Forward and backward pass of one layer of {glue:text}`now-neurons` neurons on one core: median of
# {glue:text}`now-repeats` rounds ({glue:text}`now-profile` profile) with its 95 % interval. In every round each
# candidate runs once, in random order. These ratios differ from the recorded ones below: this layer is smaller, and a
# machine that builds a page is not idle.
#
# ## The price of the term
#
# The records were made by `make bench` on an otherwise idle machine. Each implementation is compared with itself: its
# time with the term, divided by its time without. On the CPU ({glue:text}`device`):

# %% tags=["hide-input"]
prices = tables.price_table(on_cpu)
tables.show(prices, "benchmark")

# %% [markdown]
# On a GPU ({glue:text}`gpu`):

# %% tags=["hide-input"]
prices_cuda = tables.price_table(on_cuda)
tables.show(prices_cuda, "benchmark")

# %% tags=["remove-cell"]
figures.note("device", on_cpu["device_name"].iloc[0])
figures.note("gpu", on_cuda["device_name"].iloc[0])
by_benchmark = prices.set_index("benchmark")
for name, row in (
    ("layer-5", "layer, T = 5"),
    ("layer-30", "layer, T = 30"),
    ("step-30", "MNIST step, T = 30"),
):
    figures.note(f"price-{name}", by_benchmark.loc[row, "tsbp, one pass"])
quoted = on_cpu.query(
    "benchmark == 'lif' and time_steps < 100"
    " or benchmark == 'mnist' and time_steps == 30 and precision == 'float32'"
)
most = max(
    ratio_interval(seconds["tsbp full"], seconds["tsbp leak"])[2]
    for seconds in quoted["seconds"]
)
figures.note("most-overhead", f"{100 * (most - 1):.0f} %")
figures.note("price-jelly", by_benchmark.loc["layer, T = 30", "SpikingJelly"])
layers = on_cpu[on_cpu["benchmark"] == "lif"]
kept = layers.set_index("time_steps").loc[30, "kept_bytes"]
kept_ratio = kept["SpikingJelly"] / kept["SpikingJelly, detached"]
figures.note("kept-jelly", kept_ratio)
by_benchmark = prices_cuda.set_index("benchmark")
for name, row in (
    ("layer-30", "layer, T = 30"),
    ("step-5", "CIFAR-10 step, T = 5, bfloat16"),
):
    figures.note(f"gpu-price-{name}", by_benchmark.loc[row, "tsbp, one pass"])

# %% [markdown]
# ## Verdict
#
# The paper's last claim assumes an overhead. Computed in one pass, a layer takes {glue:text}`price-layer-5` times as
# long with the term as without it at T = 5, {glue:text}`price-layer-30` times at T = 30, and a training step on MNIST
# {glue:text}`price-step-30` times. By the upper ends of these intervals, **the overhead is at most
# {glue:text}`most-overhead`**, and in memory there is none. On a GPU the ratios are {glue:text}`gpu-price-layer-30` for
# a layer at T = 30 and {glue:text}`gpu-price-step-5` for a training step on CIFAR-10. With automatic differentiation
# there is an overhead: on the CPU, SpikingJelly takes {glue:text}`price-jelly` times as long and keeps
# {glue:text}`kept-jelly:.1f` times as much memory for the backward pass. Whether the term helps *learning* is the
# subject of the earlier chapters.
#
# ## Benchmark: a layer beside other libraries
#
# The other libraries are set to the same neuron. Before a benchmark starts, it compares spikes and gradients in
# float64. All run at temperature 1/4, the only one at which Norse can express this surrogate. snnTorch detaches the
# reset by default and keeps its gradient with `reset_delay=False`. None of them has the synaptic filter of
# {eq}`synapse`. It is added in plain PyTorch, or left out in the rows *spikes alone*, which is less work than `tsbp`
# does.

# %% tags=["hide-input", "remove-output"]
figures.show("speed-figure", figures.speed(on_cpu))
ratios = [
    ratio[0]
    for seconds in layers["seconds"]
    for name, ratio in whole_neurons(ratio_intervals(seconds)).items()
    if not name.startswith("tsbp")
]
figures.note("least-ratio", int(min(ratios)))

# %% [markdown]
# ```{glue:figure} speed-figure
# :name: speed
# :alt: Bars of the time that each library takes relative to tsbp, for three sizes of a layer.
#
# Other libraries take at least {glue:text}`least-ratio` times as long for the same neuron. Within `tsbp` the three
# gradients take nearly the same time. Forward and backward pass of a layer on one core ({glue:text}`device`), medians
# with 95 % intervals. Records of this chapter: {records}`bench, cuda`.
# ```

# %% tags=["hide-input"]
tables.show(tables.speed_table(layers), "")

# %% [markdown]
# How close is this to the machine's limit? The columns T = … below give the speed of each as a share of the speed
# at which the same core copies an array, counting {glue:text}`bytes-per-step` bytes per neuron and step. More than 1 is
# possible: the kernel writes past the caches, PyTorch's copy does not. The layer of 1000 neurons fits into the caches,
# and the time of a call dominates. The last columns are the memory in bytes per neuron and step.

# %% tags=["hide-input"]
tables.show(tables.memory_table(on_cpu), "")

# %% [markdown]
# These benchmarks keep freed memory for the next call, as `tsbp train` does. A program that only imports `tsbp` does
# not: there the C library gives large blocks back to the system, and the next call gets pages that have to be filled
# with zeros first. `tsbp` therefore keeps a pool of memory for its own large arrays. The speed of a layer in a newly
# started program, as a share of its speed where freed memory is kept (medians with 95 % intervals over pairs of
# processes):

# %% tags=["hide-input"]
plain = tables.plain_process_table(layers)
tables.show(plain, "layer")

# %% [markdown]
# ## Benchmark: a recurrent layer
#
# A recurrent layer needs a matrix product between two steps, so its steps cannot become one pass through memory. `tsbp`
# calls its kernel once a step. No other library has the same recurrent neuron, so it is compared with the same equations
# in plain autograd, on one core:

# %% tags=["hide-input"]
tables.show(tables.speed_table(on_cpu[on_cpu["benchmark"] == "recurrent"]), "")

# %% [markdown]
# ## Benchmark: a training step
#
# One update of the weights of the networks of Table 3 on random images, on two cores. The other libraries run in a
# network as their tutorials write it: the image repeated for every time step, feature maps channel by channel,
# PyTorch's pooling.

# %% tags=["hide-input", "full-width"]
tables.show(tables.speed_table(on_cpu[on_cpu["benchmark"].isin(SHAPES)]), "")

# %% tags=["remove-cell"]
steps = on_cpu.query("benchmark == 'mnist' and time_steps == 30")
half, single = (
    median(steps.query("precision == @name").iloc[0]["seconds"]["tsbp full"])
    for name in ("bfloat16", "float32")
)
figures.note("bfloat16-cpu", half / single)

# %% [markdown]
# Convolutions take most of a step in all of them, which limits the ratios. In the columns *bfloat16*, `tsbp` computes
# convolutions in half precision and the others in float32, so these columns do not compare the neurons alone. A cell is
# empty where snnTorch's gradient is NaN: its surrogate divides infinity by infinity for potentials more than 88
# temperatures below the threshold. On this CPU a step on MNIST at T = 30 takes {glue:text}`bfloat16-cpu:.1f` times as
# long in bfloat16 as in float32; only processors with instructions for bfloat16 gain from it.
#
# ## Benchmark: CUDA
#
# The same on a GPU ({glue:text}`gpu`), from records of `make bench DEVICE=cuda`. First a layer that is large enough to
# fill it:

# %% tags=["remove-cell"]
layers_cuda = on_cuda[on_cuda["benchmark"] == "lif"]
jelly = {
    row["time_steps"]: ratio_intervals(row["seconds"])
    for row in layers_cuda.to_dict("records")
}
figures.note("jelly-alone", jelly[30]["SpikingJelly (spikes alone)"][0])
figures.note("jelly-whole", jelly[30]["SpikingJelly"][0])

# %% tags=["hide-input"]
tables.show(tables.speed_table(layers_cuda), "")

# %% [markdown]
# SpikingJelly has CUDA kernels of its own and comes closest: {glue:text}`jelly-alone:.1f` times the time at T = 30 for
# its spikes alone, {glue:text}`jelly-whole:.1f` times with the synaptic filter. Then whole training steps:

# %% tags=["hide-input"]
tables.show(tables.speed_table(on_cuda[on_cuda["benchmark"].isin(SHAPES)]), "")

# %% [markdown]
# These ratios do not compare the neurons alone either. `tsbp` computes the convolutions in bfloat16 and replays the
# update as one CUDA graph; the others compute in float32 and launch their kernels one by one, which in small networks
# takes longer than the kernels run.
#
# ## Could it be faster?
#
# The potential is all that is kept for the backward pass. Keeping it in bfloat16 would save a sixth of the memory
# traffic. The cost in accuracy:

# %%
torch.manual_seed(seed)
layer = equations.Neuron(
    factor=tsbp.GRADIENTS["full"],
    tau_m=6.0,
    tau_s=2.0,
    threshold=1.0,
    surrogate="sigmoid",
    temperature=0.3,
    scale="area",
    reset="zero",
    relaxed=False,
)
current = 0.7 * torch.randn(time_steps, 100_000) + 0.4
potential = tsbp.lif(current).potential
weights = torch.randn_like(current)
exact, rounded = (
    layer.backward(kept, weights, None, None, None)[0]
    for kept in (potential, potential.bfloat16().float())
)
error = ((rounded - exact).norm() / exact.norm()).item()
changed = (potential.bfloat16() > 1) != (potential > 1)
print(f"error of the gradient: {100 * error:.2f} % of its length")
share = changed.float().mean().item()
print(f"spikes lost or added: {share:.2e} of all steps")

# %% tags=["remove-cell"]
figures.note("bfloat16-error", f"{100 * error:.1f} %")

# %% [markdown]
# The gradient is off by {glue:text}`bfloat16-error`, and the backward pass sees spikes that did not happen. This is too
# much for a study of the gradient, so the potential is kept in float32.
