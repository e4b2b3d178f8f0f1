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
# The abstract of the paper {cite}`yang2020` says:
#
# > Empirically speaking, the benefits of the missing term are not worth the additional computational overhead.
#
# The paper reports no timing. This chapter counts the operations of the term and measures its time and memory; an
# appendix compares the package with other libraries.
#
# :::{admonition} About this chapter
# - **For** readers who choose between the gradients, or who implement one.
# - **Needed:** the backward pass of {doc}`02_gradient`.
# - **Afterwards** you can say what the term adds to a backward pass, why automatic differentiation pays more for it than
#   a hand-written loop, and how a ratio of a few per cent can be measured.
# :::

# %%
from statistics import median

import numpy as np
import pandas as pd
import sympy
import torch

import tsbp
from tsbp import equations, gradients
from tsbp.peers.bench import BYTES_PER_STEP, SHAPES, BenchConfig, run
from tsbp.peers.libraries import TEMPERATURE
from tsbp.runs import records
from tsbp.study import figures, tables
from tsbp.study.statistics import ratio_interval, ratio_intervals, whole_neurons

# %% tags=["remove-cell"]
figures.use_style()

# %% [markdown]
# ## Counted
#
# One step of the backward pass is {eq}`alpha` and {eq}`delta`. The factors in `tsbp.GRADIENTS` are ordinary functions,
# so SymPy's symbols can be their arguments, and SymPy counts the operations.

# %%
gA, alpha, delta, U, S, h = sympy.symbols("g_A alpha delta U S h")
leak_m, leak_s, gain_s = sympy.symbols("lambda_m lambda_s gamma_s")
exp = sympy.exp(-U)
before = sympy.count_ops(gA + leak_s * alpha) + sympy.count_ops(
    exp / (1 + exp) ** 2
)
operations = {}
for name in gradients.STUDIED:
    through_time = leak_m * tsbp.GRADIENTS[name](U, S, h) * delta
    operations[name] = before + sympy.count_ops(gain_s * alpha * h + through_time)

# %% tags=["remove-cell"]
counted = pd.DataFrame(
    {"gradient": operations.keys(), "operations": operations.values()}
)
counted["numbers read"] = "U, gradient of a"
counted["numbers written"] = "gradient of I"
words = ("gradient", "numbers read", "numbers written")
figures.show("operations-table", tables.show(counted, *words))
figures.note("term-operations", int(operations["full"] - operations["leak"]))
figures.note("bytes-per-step", BYTES_PER_STEP)

# %% [markdown]
# ```{glue:table} operations-table
# :name: operations
#
# The term adds {glue:text}`term-operations` operations to a step and no memory access: the surrogate needs the
# potential $U$ anyway. Operations, numbers read and numbers written in one step of the backward pass.
# ```
#
# On current machines it takes far longer to move a number than to compute with it. If the whole recursion is one pass
# through memory, a layer moves {glue:text}`bytes-per-step` bytes per neuron and step in float32, forward and backward
# together, with the term or without. Automatic differentiation instead makes a pass for every operation and stores what
# each will need later: for $U\,(1 - S)$ both $U$ and $S$; with the reset detached, only $S$.
#
# ## Measured
#
# `tsbp.lif(..., compiled=True)` is one pass through memory, in C++ on the CPU and in Triton on CUDA. First a layer that is
# timed while this page is built:

# %% tags=["parameters"]
profile: str = "quick"  # quick (seconds) or full (minutes)
seed: int = 0  # decides the random currents
time_steps: int = 5  # number of time steps T
batch_size: int = 0  # examples; 0 means 32 (quick) or 128 (full)
neurons: int = 4096  # neurons of the layer, for each example
repeats: int = 0  # rounds; 0 means 11 (quick) or 51 (full)

# %% tags=["remove-cell"]
batch_size = batch_size or {"quick": 32, "full": 128}[profile]
repeats = repeats or {"quick": 11, "full": 51}[profile]

# %%
config = BenchConfig(
    benchmark="lif",
    time_steps=time_steps,
    batch_size=batch_size,
    neurons=neurons,
    repeats=repeats,
    seed=seed,
)
measured = run(config, others=["plain autograd"])

# %% tags=["remove-cell"]
recorded = records.load(BenchConfig.kind)
on_cpu = recorded[recorded["device"] == "cpu"]
on_cuda = recorded[recorded["device"] == "cuda"]
every_layer = on_cpu[on_cpu["benchmark"] == "lif"]
layers = every_layer[every_layer["precision"] == "float32"]
short = layers[layers["time_steps"] == 5]
now, then = (
    tables.speed_table(runs).set_index("").iloc[:, 0]
    for runs in (pd.DataFrame([measured]), short)
)
then_neurons = int(short["batch_size"].iloc[0] * short["neurons"].iloc[0])
beside = pd.DataFrame({"this page": now, "record, T = 5": then}).loc[now.index]
beside = beside[~beside.index.str.contains("alone")].rename_axis("").reset_index()
figures.show("live-table", tables.show(beside, ""))
figures.note("now-repeats", repeats)
figures.note("now-neurons", batch_size * neurons)
figures.note("then-neurons", then_neurons)
figures.note("now-megabytes", 4 * time_steps * batch_size * neurons / 1e6)
figures.note("then-megabytes", 4 * 5 * then_neurons / 1e6)
figures.note("device", on_cpu["device_name"].iloc[0])

# %% [markdown]
# ```{glue:table} live-table
# :name: live
#
# In the record the three gradients of `tsbp` differ far less from each other than from plain automatic differentiation.
# Forward and backward pass of a layer on one core, as multiples of the time of `tsbp full`: {glue:text}`now-neurons:,d`
# neurons in {glue:text}`now-repeats` rounds on this page, {glue:text}`then-neurons:,d` neurons in the record
# ({glue:text}`device`). Medians with 95 % intervals. Records of this chapter: {records}`bench, cuda`.
# ```
#
# In every round each candidate runs once, in random order, and ratios are taken within a round. For autograd the columns
# need not agree: an array of this page's layer takes {glue:text}`now-megabytes:.1f` MB and may stay in the processor's
# caches, one of the recorded layer takes {glue:text}`then-megabytes:.1f` MB. A machine that builds a page is not idle
# either.
#
# All that follows comes from records of `make bench` on idle machines. {numref}`prices` compares each implementation
# with itself.

# %% tags=["remove-cell"]
prices = tables.price_table(on_cpu)
prices_cuda = tables.price_table(on_cuda)
figures.show("prices-table", tables.show(prices, "benchmark"))
for name, runs in (("cpu", on_cpu), ("gpu", on_cuda)):
    most = max(
        ratio_interval(seconds["tsbp full"], seconds["tsbp leak"])[2]
        for seconds in runs["seconds"]
    )
    figures.note(f"most-{name}", f"{100 * (most - 1):.0f} %")
by_benchmark = prices.set_index("benchmark")
figures.note("price-layer", by_benchmark.loc["layer, T = 30", "tsbp, one pass"])
figures.note("price-step", by_benchmark.loc["MNIST step, T = 30", "tsbp, one pass"])
figures.note("price-jelly", by_benchmark.loc["layer, T = 30", "SpikingJelly"])
figures.note("price-snntorch", by_benchmark.loc["layer, T = 30", "snnTorch"])
by_benchmark = layers.set_index("time_steps")
kept = by_benchmark.loc[30, "kept_bytes"]
for name, one, other in (
    ("tsbp", "tsbp full", "tsbp leak"),
    ("jelly", "SpikingJelly", "SpikingJelly, detached"),
    ("snntorch", "snnTorch, no delay", "snnTorch"),
):
    figures.note(f"kept-{name}", kept[one] / kept[other])
assert kept["tsbp full"] == kept["tsbp leak"]

# %% [markdown]
# ```{glue:table} prices-table
# :name: prices
#
# In one pass through memory the term costs less than {glue:text}`most-cpu`; through automatic differentiation a layer
# pays for it in both libraries. Time with the term divided by time without on the CPU ({glue:text}`device`), medians
# with 95 % intervals. A cell is empty where a library has no such neuron or its gradient is not finite.
# ```
#
# ## Summary
#
# - **In one pass through memory the overhead is small.** A layer at T = 30 takes {glue:text}`price-layer` times as long
#   with the term, a training step on MNIST {glue:text}`price-step` times. The intervals exclude an overhead above
#   {glue:text}`most-cpu` in all benchmarks on the CPU and above {glue:text}`most-gpu` on a GPU ({numref}`prices-cuda`).
#   The memory is the same. In such an implementation cost is no reason to leave the term out.
# - **Through automatic differentiation there is an overhead.** On the CPU, the same layer takes
#   {glue:text}`price-jelly` times as long in SpikingJelly and keeps {glue:text}`kept-jelly:.1f` times as much memory
#   for the backward pass; in snnTorch it is {glue:text}`price-snntorch` times the time and
#   {glue:text}`kept-snntorch:.1f` times the memory. snnTorch's setting also computes the reset a second time in the
#   forward pass, so its numbers are upper bounds.
# - Whether the term helps *learning* depends on the width of the surrogate ({doc}`07_time`) and on the learning rate
#   ({doc}`04_one_neuron`, {doc}`06_settings`).
#
# ## Exercises
#
# **1.** With a reset by subtraction the factors are $1 - \vartheta h$ for `full` and 1 for `leak`. How many operations
# and memory accesses does the term add there?
#
# :::{admonition} Solution
# :class: dropdown
#
# {glue:text}`subtract-operations` operations, a product and a difference, and no memory access, because $\vartheta$ is
# a constant and $h$ is needed anyway. The call `factor(ϑ, 0, h)` gives the factor for this reset.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
theta = sympy.Symbol("vartheta")
full, leak = (tsbp.GRADIENTS[name](theta, 0, h) for name in ("full", "leak"))
assert full == 1 - theta * h and leak == 1
figures.note("subtract-operations", int(sympy.count_ops(full)))
print(f"{sympy.count_ops(full)} operations more")

# %% [markdown]
# **2.** In {numref}`layer-times`, plain autograd is furthest behind in the smallest layer, the one with T = 100, whose
# arrays fit into the caches. Why?
#
# :::{admonition} Solution
# :class: dropdown
#
# Every operation has a fixed price, whatever the size of its arrays: Python, the dispatcher, the graph. From the record,
# one time step of autograd, forward and backward, takes {glue:text}`autograd-step:.0f` µs. To move the
# {glue:text}`bytes-per-step` bytes of each of the {glue:text}`small-layer:,d` neurons takes
# {glue:text}`least-step:.0f` µs at the speed of a copy. The rest is the fixed price of the operations. The kernel is
# called once for all steps.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
small = layers.set_index("time_steps").loc[100]
autograd_step = 1e6 * median(small["seconds"]["plain autograd"]) / 100
size = int(small["batch_size"] * small["neurons"])
least_step = 1e6 * BYTES_PER_STEP * size / small["copy_bandwidth"]
assert autograd_step > 10 * least_step
figures.note("autograd-step", autograd_step)
figures.note("least-step", least_step)
figures.note("small-layer", size)
print(f"{autograd_step:.0f} µs a step; to move its data takes {least_step:.1f} µs")

# %% [markdown]
# **3.** The potential is all that is kept for the backward pass. In bfloat16, with two bytes instead of four, it would
# save a part of the {glue:text}`bytes-per-step` bytes: how large a part? And how wrong would the gradient be?
#
# :::{admonition} Solution
# :class: dropdown
#
# The potential is written once and read once, so four of {glue:text}`bytes-per-step` bytes would be saved,
# {glue:text}`bytes-saved`. The gradient would be off by {glue:text}`bfloat16-error` of its length, because rounding
# moves potentials across the threshold and the backward pass then sees other spikes than the forward pass. For a study
# of the gradient this is too much, so `tsbp` keeps the potential in float32.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
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
assert changed.any() and error > 1e-3
figures.note("bfloat16-error", f"{100 * error:.1f} %")
figures.note("bytes-saved", f"{100 * 4 / BYTES_PER_STEP:.0f} %")
print(f"spikes lost or added: {changed.float().mean().item():.1e} of all steps")

# %% [markdown]
# **4.** For SpikingJelly, {numref}`prices` has one ratio for a layer at T = 30 and a smaller one for the MNIST step. If
# only the neurons pay for the term, what share of the step do they take?
#
# :::{admonition} Solution
# :class: dropdown
#
# If the neurons take the share $p$ of a step without the term, and the term multiplies their time by $r$, the step
# takes $1 + p\,(r - 1)$ times as long. Solved for $p$ with the two medians, this is {glue:text}`neuron-share`. It is a
# rough estimate, since both ratios have intervals and the layers of the network are smaller.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 4", "code_prompt_hide": "Hide the check of exercise 4"}
steps = on_cpu.query("time_steps == 30 and precision == 'float32'")
r_layer, r_step = (
    ratio_interval(seconds["SpikingJelly"], seconds["SpikingJelly, detached"])[0]
    for seconds in (
        steps.set_index("benchmark")["seconds"][b] for b in ("lif", "mnist")
    )
)
share = (r_step - 1) / (r_layer - 1)
assert 0 < share < 1
figures.note("neuron-share", f"{100 * share:.0f} %")
print(f"p = ({r_step:.2f} - 1) / ({r_layer:.2f} - 1) = {share:.2f}")

# %% [markdown]
# ## Further reading
#
# - {cite}`fang2023`: SpikingJelly, whose CUDA kernels are the closest to a single pass of all libraries compared below.
# - {cite}`bauer2023`: EXODUS, the complete gradient with a reset by subtraction, as a hand-written CUDA kernel.
# - {cite}`meng2023`: what can be saved by dropping the gradient along the membrane altogether.
#
# (benchmarks)=
# ## Appendix: benchmarks of libraries
#
# The other libraries are set to the same neuron; every benchmark begins with a check of spikes and gradients in float64. All run
# at temperature {glue:text}`bench-temperature`, the only one at which Norse can express this surrogate. snnTorch keeps
# the gradient of the reset with `reset_delay=False`. The synaptic filter of {eq}`synapse`, which none of them has, is
# added in plain PyTorch; the rows *spikes alone* go without it. Times are multiples of that of `tsbp full`.
#
# ### A layer

# %% tags=["remove-cell"]
figures.note("bench-temperature", TEMPERATURE)
figures.show("speed-figure", figures.speed(layers))
ratios = [
    ratio[0]
    for seconds in layers["seconds"]
    for name, ratio in whole_neurons(ratio_intervals(seconds)).items()
    if not name.startswith("tsbp")
]
figures.note("least-ratio", min(ratios))
speeds = tables.speed_table(layers)
alone = speeds[""].str.contains("alone")
figures.show("speed-table", tables.show(speeds[~alone], ""))
figures.show("alone-table", tables.show(speeds[alone], ""))
figures.show("memory-table", tables.show(tables.memory_table(layers), ""))
figures.show("copy-table", tables.show(tables.copy_speed_table(layers), ""))
figures.note(
    "kept-own", tables.memory_table(layers).set_index("").loc["tsbp full"].iloc[0]
)
best = max(share["tsbp full"] for share in layers["floor_fraction"])
figures.note("best-copy", f"{100 * best:.0f} %")
halves = every_layer[every_layer["precision"] == "bfloat16"]
for name, runs in (("lead", layers), ("halves", halves)):
    figures.show(f"{name}-table", tables.show(tables.lead_table(runs), "layer"))
    leads = [
        ratio[0]
        for row in runs.to_dict("records")
        for _, ratio in tables.leads(row).values()
    ]
    figures.note(f"least-{name}", min(leads))
recurrent = on_cpu[on_cpu["benchmark"] == "recurrent"]
figures.show("recurrent-table", tables.show(tables.speed_table(recurrent), ""))
timed = recurrent["seconds"].iloc[0]
for name, key in (("JAX scan", "jax"), ("plain autograd", "autograd")):
    ratio = ratio_interval(timed[name], timed["tsbp full"])[0]
    figures.note(f"recurrent-{key}", f"{ratio:.2f}")
    assert ratio > 1

# %% [markdown]
# ```{glue:figure} speed-figure
# :name: speed
# :alt: Times that each library takes relative to tsbp, on a logarithmic axis, for three sizes of a layer.
#
# Other libraries take at least {glue:text}`least-ratio:.1f` times as long for the same neuron, with the synaptic filter
# added to theirs. Forward and backward pass of a layer on one core ({glue:text}`device`), medians with 95 % intervals.
# ```
#
# ```{glue:table} speed-table
# :name: layer-times
#
# In large layers the kernel makes the difference: uncompiled, `tsbp` takes about as long as the other libraries in
# PyTorch. The numbers of {numref}`speed`.
# ```
#
# ```{glue:table} alone-table
# :name: layer-times-alone
#
# On a CPU the filter does not explain the gap: the other libraries without it.
# ```
#
# ```{glue:table} memory-table
# :name: memory
#
# `tsbp` keeps {glue:text}`kept-own` bytes per neuron and step for the backward pass, with the term or without; automatic
# differentiation keeps more, and more with the reset in the graph. *Peak*: in both passes.
# ```
#
# ```{glue:table} copy-table
# :name: copy-speed
#
# In large layers `tsbp full` moves its {glue:text}`bytes-per-step` bytes per neuron and step at up to
# {glue:text}`best-copy` of the speed at which the core copies an array. With {glue:text}`small-layer:,d` neurons
# (T = 100) the time of a call dominates.
# ```
#
# These benchmarks keep freed memory for the next call, as `tsbp train` does. A program that only imports `tsbp` gets new
# pages from the system instead, which first have to be filled with zeros. For its own large arrays `tsbp` therefore
# keeps a pool of memory.
#
# ```{glue:table} lead-table
# :name: lead
#
# The fastest other library takes at least {glue:text}`least-lead:.1f` times as long as `tsbp full`, in a plain process
# as in one that keeps freed memory, on one core and on two. Time of the fastest other library, as a multiple of that of
# `tsbp full`, and its name. Medians with 95 % intervals.
# ```
#
# ```{glue:table} halves-table
# :name: lead-in-halves
#
# In bfloat16 the fastest other library takes at least {glue:text}`least-halves:.1f` times as long. `tsbp` keeps
# the potential in float32 all the same.
# ```
#
# ### A recurrent layer
#
# The comparison is with plain autograd and with a scan in JAX, on one core.
#
# ```{glue:table} recurrent-table
# :name: recurrent-times
#
# The scan in JAX takes {glue:text}`recurrent-jax` times as long as `tsbp full`, plain autograd
# {glue:text}`recurrent-autograd` times: where few neurons fire, sums of their weights take the place of two of the
# three matrix products.
# ```
#
# ### A training step
#
# One update of the weights of the networks of the paper's Table 3 on random images, on two cores. The other libraries
# run as in their tutorials: the image repeated for every time step, feature maps channel by channel, PyTorch's pooling.

# %% tags=["remove-cell"]
training = on_cpu[on_cpu["benchmark"].isin(SHAPES)]
exact = training[training["precision"] == "float32"]
figures.show("steps-table", tables.show(tables.speed_table(exact), ""))
half = training[training["precision"] == "bfloat16"].iloc[0]["seconds"]
single = exact.query("benchmark == 'mnist' and time_steps == 30").iloc[0]["seconds"]
figures.note(
    "bfloat16-cpu", median(half["tsbp full"]) / median(single["tsbp full"])
)
figures.note(
    "bfloat16-autograd",
    ratio_interval(half["plain autograd"], half["tsbp full"])[0],
)
figures.note("overflow", int(np.log(np.finfo(np.float32).max)))

# %% [markdown]
# ```{glue:table} steps-table
# :name: step-times
#
# In a training step the gain is smaller, because convolutions take most of the time. All in float32. A cell is empty where
# snnTorch's gradient is NaN: its surrogate divides infinity by infinity for potentials more than
# {glue:text}`overflow` temperatures below the threshold.
# ```
#
# In bfloat16 a step on MNIST at T = 30 takes {glue:text}`bfloat16-cpu:.1f` times as long as in float32, and plain
# autograd in float32 takes {glue:text}`bfloat16-autograd:.2f` of that time: the processor of these two records has no
# instructions for bfloat16.
#
# ### On a GPU

# %% tags=["remove-cell"]
figures.note("gpu", on_cuda["device_name"].iloc[0])
figures.show("prices-cuda-table", tables.show(prices_cuda, "benchmark"))
layers_cuda = on_cuda[on_cuda["benchmark"] == "lif"]
speeds = tables.speed_table(layers_cuda)
alone = speeds[""].str.contains("alone")
figures.show("speed-cuda-table", tables.show(speeds[~alone], ""))
figures.show("alone-cuda-table", tables.show(speeds[alone], ""))
steps_cuda = tables.speed_table(on_cuda[on_cuda["benchmark"].isin(SHAPES)])
figures.show("steps-cuda-table", tables.show(steps_cuda, ""))
seconds = layers_cuda.set_index("time_steps")["seconds"][30]
for name in ("SpikingJelly", "SpikingJelly (spikes alone)"):
    ratio = ratio_interval(seconds[name], seconds["tsbp full"])[0]
    figures.note(f"gpu-{name.replace(' ', '-').lower()}", ratio)

# %% [markdown]
# The GPU is an {glue:text}`gpu`; the layers are large enough to fill it.
#
# ```{glue:table} prices-cuda-table
# :name: prices-cuda
#
# On a GPU neither `tsbp` nor SpikingJelly, which both have kernels, shows an overhead of the term; snnTorch, which uses
# automatic differentiation, does. Time with the term divided by time without.
# ```
#
# ```{glue:table} speed-cuda-table
# :name: layer-times-cuda
#
# SpikingJelly comes closest: with its kernel, and the filter in plain PyTorch, it takes
# {glue:text}`gpu-spikingjelly:.1f` times as long at T = 30.
# ```
#
# ```{glue:table} alone-cuda-table
# :name: layer-times-alone-cuda
#
# Without the filter SpikingJelly takes {glue:text}`gpu-spikingjelly-(spikes-alone):.1f` times as long at T = 30.
# ```
#
# ```{glue:table} steps-cuda-table
# :name: step-times-cuda
#
# Training steps gain the most, but not by the neurons alone: `tsbp` computes convolutions in bfloat16 and replays the
# update as one CUDA graph; the others compute in float32 and launch their kernels one by one, which in small networks
# takes longer than the kernels run.
# ```
