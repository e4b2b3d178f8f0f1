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
# The paper closes with the judgement that the reset term is not worth the additional computation {cite}`yang2020`. It
# reports no timing. What the term costs depends on how it is computed, so this chapter first counts, then measures.

# %% tags=["parameters"]
profile: str = "quick"  # quick (seconds) or full (minutes)
seed: int = 0  # of the random currents
time_steps: int = 5  # T
batch_size: int = 0  # 0: 32 (quick), 128 (full)
neurons: int = 4096  # per example
repeats: int = 0  # rounds; 0: 11 (quick), 51 (full)

# %% tags=["remove-cell"]
import pandas as pd
import sympy
import torch

from tsbp import figures, fused, lif, records, tables
from tsbp.bench import BYTES_PER_STEP, BenchConfig, run

figures.use_style()
batch_size = batch_size or {"quick": 32, "full": 128}[profile]
repeats = repeats or {"quick": 11, "full": 51}[profile]
recorded = records.load("bench")
on_cpu = recorded[recorded["device"] == "cpu"]
on_cuda = recorded[recorded["device"] == "cuda"]

# %% [markdown]
# ## Counted on paper
#
# One step of the backward recursion, eq. 7 and 8, is this for each of the three gradients; $h$ is the surrogate
# derivative of eq. 10, and SymPy counts the additions, multiplications and the like.

# %% tags=["hide-input"]
gA, alpha, delta, U, S, h = sympy.symbols("g_A alpha delta U S h")
leak_m, leak_s, gain_s = sympy.symbols("lambda_m lambda_s gamma_s")
alpha_now = gA + leak_s * alpha
h_now = sympy.Function("exp")(-U) / (1 + sympy.Function("exp")(-U)) ** 2
kept = {
    "full": leak_m * (1 - S - U * h) * delta,
    "leak": leak_m * (1 - S) * delta,
    "spatial": sympy.Integer(0),
}
counted = pd.DataFrame(
    [
        {
            "gradient": name,
            "filter and surrogate": sympy.count_ops(alpha_now)
            + sympy.count_ops(h_now),
            "step": sympy.count_ops(gain_s * alpha * h + term),
            "numbers read": "U, gradient of a",
            "numbers written": "gradient of I",
        }
        for name, term in kept.items()
    ]
)
term_operations = counted["step"][0] - counted["step"][1]
figures.note("term-operations", int(term_operations))
figures.note("all-operations", int(counted.iloc[0, 1:3].sum()))
figures.note("bytes-per-step", BYTES_PER_STEP)
tables.show(counted, "gradient", "numbers read", "numbers written")

# %% [markdown]
# The term adds {glue:text}`term-operations` operations to what are then {glue:text}`all-operations`, and *not one
# number* to be read or written: the surrogate needs the potential $U$ anyway. On every machine of today moving a number
# takes far longer than computing with it. If the whole recursion is one pass through memory, a layer moves
# {glue:text}`bytes-per-step` bytes per neuron and step in float32, forward and backward together, with the term or
# without.
#
# Automatic differentiation does not work like that. It makes a pass through memory for each operation, and keeps what
# each will need: with the reset in the graph, its product keeps $U$ *and* $S$.
#
# ## One pass
#
# `tsbp.lif(..., compiled=True)` is that one pass: on the CPU the loops of `tsbp/kernel.cpp`, compiled in about a second
# when first needed, on CUDA those of `tsbp/kernel_cuda.py`, in Triton. A block of neurons goes through all time steps
# before the next block starts. Each of the three gradients is compiled by itself, so that `leak` and `spatial` do not
# pay for what they leave out. Here and now, while this page is built:

# %%
config = BenchConfig(
    "lif",
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
# Times as long as `tsbp full`, forward and backward of one layer of {glue:text}`now-neurons` neurons on one core:
# median of {glue:text}`now-repeats` rounds ({glue:text}`now-profile` profile) with its 95 % interval. In every round
# each candidate runs once, in random order.
#
# ## Beside other libraries
#
# What follows is from records, made by `make bench` on an otherwise idle machine. The other libraries compute the same
# neuron: before a benchmark starts, it compares spikes and gradients in float64. Norse can express this surrogate at
# one temperature alone, 1/4, which is why all run at that one. snnTorch leaves the reset out of its gradient by default
# and keeps it with `reset_delay=False`. None of them has the synaptic filter of eq. 5; it is added in plain PyTorch, or
# left out where the table says *spikes alone*, which is less work than `tsbp` does.

# %% tags=["hide-input", "remove-output"]
figures.show("speed-figure", figures.speed(on_cpu))
layers = on_cpu[on_cpu["benchmark"] == "lif"]
ratios = [
    ratio[0]
    for row in layers["ratios"]
    for name, ratio in tables.whole_neurons(row).items()
    if not name.startswith("tsbp")
]
figures.note("least-ratio", int(min(ratios)))
figures.note("device", on_cpu["device_name"].iloc[0])

# %% [markdown]
# ```{glue:figure} speed-figure
# :name: speed
# :alt: Bars of the time that each library takes relative to tsbp, for three sizes of a layer.
#
# The same neuron takes other libraries {glue:text}`least-ratio` times as long or longer, and in `tsbp` it makes little
# difference which gradient is asked for. Forward and backward of a layer on one core ({glue:text}`device`), medians
# with 95 % intervals.
# ```

# %% tags=["hide-input"]
tables.show(tables.speed_table(layers), "")

# %% [markdown]
# How near is that to the floor? The columns T = … below have the speed of each as a share of that at which the same
# core copies an array, counting {glue:text}`bytes-per-step` bytes per neuron and step; more than 1 is possible, because
# the kernel writes past the caches and PyTorch's copy does not. The layer of 1000 neurons lives in the caches and is
# held up by the time it takes to call. Beside it the memory, in bytes per neuron and step.

# %% tags=["hide-input"]
tables.show(tables.memory_table(on_cpu), "")

# %% [markdown]
# ## The price of the term
#
# With the term over without it, each implementation against itself:

# %% tags=["hide-input"]
prices = tables.price_table(on_cpu)
tables.show(prices, "benchmark")

# %% tags=["remove-cell"]
prices = prices.set_index("benchmark")
for name, row in (
    ("layer-5", "layer, T = 5"),
    ("layer-30", "layer, T = 30"),
    ("step-30", "MNIST step, T = 30"),
):
    figures.note(f"price-{name}", prices.loc[row, "tsbp, one pass"])
figures.note("price-jelly", prices.loc["layer, T = 30", "SpikingJelly"])

# %% [markdown]
# ## A training step
#
# A layer is not a training. The networks of Table 3, one update of the weights on random images; the other libraries in
# a network as their tutorials write it: the image repeated for every time step, feature maps channel by channel,
# PyTorch's pooling.

# %% tags=["hide-input", "full-width"]
tables.show(tables.speed_table(on_cpu[on_cpu["benchmark"] != "lif"]), "")

# %% [markdown]
# Times as long as `tsbp full`, on two cores. Convolutions take most of a step in all of them, which is what limits the
# ratios; with *bfloat16* `tsbp` uses half precision for them, the others float32. An empty place: snnTorch's surrogate
# divides infinity by infinity for potentials more than 88 temperatures below the threshold, and its gradient is NaN
# there.
#
# ## Could it be less?
#
# The potential is all that is kept for the backward pass. Kept in bfloat16 it would save a sixth of the traffic. What
# would that do to the gradient?

# %%
torch.manual_seed(seed)
current = (0.7 * torch.randn(time_steps, 100_000) + 0.4).requires_grad_()
constants = dict(
    leak_m=5 / 6,
    leak_s=1 / 2,
    gain_s=1 / 2,
    threshold=1.0,
    temperature=0.3,
    reset_gradient=1.0,
    temporal_gradient=1.0,
)
out = lif(current, compiled=True)
weights = torch.randn_like(out.psc)
exact, rounded = (
    fused.backward(potential, weights, None, False, torch.float32, constants)
    for potential in (out.potential, out.potential.bfloat16().float())
)
error = ((rounded - exact).norm() / exact.norm()).item()
changed = (out.potential.bfloat16() > 1) != (out.potential > 1)
print(f"error of the gradient: {100 * error:.2f} % of its length")
share = changed.float().mean().item()
print(f"spikes lost or made up: {share:.2e} of all steps")

# %% tags=["remove-cell"]
figures.note("bfloat16-error", f"{100 * error:.1f} %")

# %% [markdown]
# An error of {glue:text}`bfloat16-error`, and spikes that the backward pass sees otherwise than they were: too much for
# a study of the gradient, so it is not offered. To keep the current and compute the potential anew from it, block by
# block, is exact and saves one of six memory accesses. Tried in this kernel, it was slower: what a second run through
# each block adds to the backward pass is more than the saved access gives. So it is not offered either.
#
# ## On CUDA
#
# The same on a GPU ({glue:text}`gpu`), from records of `make bench DEVICE=cuda`: first a layer, large enough to fill
# it.

# %% tags=["remove-cell"]
figures.note("gpu", on_cuda["device_name"].iloc[0])
layers_cuda = on_cuda[on_cuda["benchmark"] == "lif"]
jelly = {row["time_steps"]: row["ratios"] for row in layers_cuda.to_dict("records")}
figures.note("jelly-alone", jelly[30]["SpikingJelly (spikes alone)"][0])
figures.note("jelly-whole", jelly[30]["SpikingJelly"][0])
prices_cuda = tables.price_table(on_cuda)
by_benchmark = prices_cuda.set_index("benchmark")
for name, row in (
    ("layer-30", "layer, T = 30"),
    ("step-5", "CIFAR-10 step, T = 5, bfloat16"),
):
    figures.note(f"gpu-price-{name}", by_benchmark.loc[row, "tsbp, one pass"])

# %% tags=["hide-input"]
tables.show(tables.speed_table(layers_cuda), "")

# %% [markdown]
# Here SpikingJelly has kernels of its own, and comes nearest: {glue:text}`jelly-alone:.1f` times the time at T = 30 for
# its spikes alone, {glue:text}`jelly-whole:.1f` times with the synaptic filter. Then whole training steps:

# %% tags=["hide-input"]
tables.show(tables.speed_table(on_cuda[on_cuda["benchmark"] != "lif"]), "")

# %% [markdown]
# `tsbp` computes the convolutions in bfloat16, the others in float32. It also replays the update as one CUDA graph,
# while the others launch their kernels one by one, which in small networks takes longer than the kernels run: at MNIST
# the ratios speak of the graph as much as of the neuron. With the term over without it:

# %% tags=["hide-input"]
tables.show(prices_cuda, "benchmark")

# %% [markdown]
# ## Verdict
#
# The paper's last claim takes an overhead for granted. Computed in one pass, a layer takes {glue:text}`price-layer-5`
# times as long with the term as without it at T = 5, {glue:text}`price-layer-30` times at T = 30, and a training step
# on MNIST {glue:text}`price-step-30` times: **there is no overhead to speak of**, in time or in memory. On a GPU it is
# {glue:text}`gpu-price-layer-30` times for a layer at T = 30 and {glue:text}`gpu-price-step-5` times for a step on
# CIFAR-10. Through automatic differentiation, as SpikingJelly does it on a CPU, there is one: {glue:text}`price-jelly`
# times the time, and half as much memory again for what is kept. Whether the term is *worth* computing is a matter of
# the earlier chapters alone.
