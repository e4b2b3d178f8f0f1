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
# # The neuron
#
# A leaky integrate-and-fire neuron adds up its input current, loses part of the sum at every time step, and fires when
# the sum exceeds a threshold. After a spike its potential starts again from zero: this is the **reset**, and this book
# is about the gradient through it. The chapter writes the neuron down as the paper {cite}`yang2020` does in its
# equations 1 to 5, runs it, and shows why the networks of this book have no synaptic delay.
#
# :::{admonition} About this chapter
# - **For** readers who have trained neural networks but no spiking ones; no neuroscience is needed.
# - **Needed:** the chain rule, and some Python with PyTorch tensors.
# - **Afterwards** you can compute a few steps of the neuron by hand, name the two ways in which one step's potential
#   depends on the last, and say what the synaptic delay does to a deep network.
# :::

# %%
import pandas as pd
import torch

import tsbp
from tsbp.networks import TABLE_3
from tsbp.study import figures, tables

# %% tags=["remove-cell"]
figures.use_style()

# %% [markdown]
# ## Three equations
#
# Time runs in steps $t = 0, 1, \dots, T-1$.
#
# ```{table} Variables and constants of one neuron.
# :name: symbols
#
# | symbol | name | in the code |
# | --- | --- | --- |
# | $I[t]$ | input current that reaches the membrane at step $t$ | `current` |
# | $U[t]$ | membrane potential | `potential` |
# | $S[t]$ | spike, 0 or 1 | `spikes` |
# | $a[t]$ | postsynaptic current that the neuron sends on | `psc` |
# | $\tau_m$, $\tau_s$ | time constants of membrane and synapse, in steps | `tau_m`, `tau_s` |
# | $\vartheta$ | threshold | `threshold` |
# ```
#
# From one step to the next, the membrane keeps the fraction $1 - 1/\tau_m$ of its potential. If the neuron has just fired,
# it keeps nothing (paper, eq. 1).
#
# $$
# U[t] = \left(1 - \frac{1}{\tau_m}\right) U[t-1]\,\bigl(1 - S[t-1]\bigr) + I[t]
# $$ (membrane)
#
# The neuron fires when its potential is above the threshold (paper, eq. 3). The paper does not define $H(0)$; here a
# neuron exactly at threshold does not fire.
#
# $$
# \begin{aligned}
# S[t] &= H\bigl(U[t] - \vartheta\bigr) \\
# H(x) &= \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}
# \end{aligned}
# $$ (spike)
#
# Every spike adds $1/\tau_s$ to a postsynaptic current, which then decays (paper, eq. 2).
#
# $$
# a[t] = \left(1 - \frac{1}{\tau_s}\right) a[t-1] + \frac{1}{\tau_s}\,S[t]
# $$ (synapse)
#
# Before the first step everything is zero. Four steps can be checked by hand, for $\tau_m = 6$, $\tau_s = 2$,
# $\vartheta = 1$:

# %% tags=["remove-output"]
current = torch.tensor([0.9, 0.9, 0.2, 1.5], dtype=torch.float64)
out = tsbp.lif(current, tau_m=6.0, tau_s=2.0, threshold=1.0)
hand = {"I": current, "U": out.potential, "S": out.spikes, "a": out.psc}
hand = pd.DataFrame(hand).rename_axis("t").reset_index()
figures.show("four-steps-table", tables.show(hand).format("{:.4g}"))

# %% [markdown]
# ```{glue:table} four-steps-table
# :name: four-steps
#
# A spike removes what the membrane has collected. At $t = 1$ the potential is $\tfrac56 \cdot 0.9 + 0.9 = 1.65$ and the
# neuron fires; at $t = 2$ the potential is the input alone.
# ```
#
# ## Substituting the spike
#
# $S$ is a function of $U$. "We can safely substitute the variable S", says the paper, and obtains its eq. 4 and 5:
#
# $$
# \begin{aligned}
# U[t] &= \left(1 - \frac{1}{\tau_m}\right) U[t-1] \\
# &\qquad \cdot \bigl[1 - H(U[t-1] - \vartheta)\bigr] + I[t] \\
# a[t] &= \left(1 - \frac{1}{\tau_s}\right) a[t-1] \\
# &\qquad + \frac{1}{\tau_s}\,H(U[t] - \vartheta)
# \end{aligned}
# $$ (substituted)
#
# The forward pass is the same. The dependencies become easier to see; {numref}`compute-graphs` draws them. With $S$ as
# a node, two arrows lead from one step's membrane to the next, and the one through $S$ is easily taken for a switch
# that needs no gradient. With $S$ substituted, both arrows start at $U[t]$, and the chain rule has to follow both.

# %% tags=["hide-input", "remove-output"]
figures.show("compute-graphs-figure", figures.compute_graphs())

# %% [markdown]
# ```{glue:figure} compute-graphs-figure
# :name: compute-graphs
# :alt: Two compute graphs over steps t and t+1; a red arrow marks the reset.
#
# The leak and the reset are two ways in which $U[t+1]$ depends on $U[t]$. Left: the spike is a node, and the reset
# (red) passes through it. Right: the spike is substituted, and both start at $U[t]$. The paper objects to dropping the
# red arrow in the backward pass. After the paper's Fig. 1.
# ```
#
# ## A simulation
#
# The constants are the defaults of `tsbp.lif`:

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; this chapter is the same in both
seed: int = 0  # decides the random input
tau_m: float = 6.0  # membrane time constant in time steps
tau_s: float = 2.0  # synaptic time constant in time steps
threshold: float = 1.0  # potential above which the neuron fires
time_steps: int = 60  # length of the simulated example

# %%
random = torch.Generator().manual_seed(seed)
current = 0.5 * torch.rand(time_steps, generator=random)
out = tsbp.lif(current, tau_m=tau_m, tau_s=tau_s, threshold=threshold)

# %% tags=["hide-input", "remove-output"]
figures.show("neuron-figure", figures.neuron(current, out, threshold))
figures.note("n-spikes", int(out.spikes.sum()))
figures.note("n-steps", time_steps)

# %% [markdown]
# ```{glue:figure} neuron-figure
# :name: neuron
# :alt: Input current, membrane potential with threshold, and postsynaptic current of one neuron over time.
#
# Every spike empties the membrane, so that the next step starts from the input alone. The neuron fires
# {glue:text}`n-spikes` times (red dots) in {glue:text}`n-steps` steps of random input. Its postsynaptic current
# (bottom) rises within the step of the spike and decays with $\tau_s$.
# ```
#
# ## The synaptic delay
#
# Between layers the current is a weighted sum of the postsynaptic currents $a_\text{in}$ of the layer before:
#
# $$
# I[t] = W a_\text{in}[t - \Delta]
# $$ (layers)
#
# The paper's eq. 1 writes $W a[t]$ into $U[t+1]$, a synaptic delay of $\Delta = 1$: a spike needs one time step to
# reach the next layer. Eq. 4 has the same delay; its layer index is a misprint ({ref}`erratum 2 <erratum-2>`).
#
# Taken literally, this contradicts the paper's own Table 3. Behind $n$ layers of weights, an output layer receives its
# first input at step $n$. The next cell measures it in the networks themselves: all weights are positive and so large
# that every neuron fires as soon as it receives anything.

# %% tags=["remove-output"]
table_3_steps = {"nmnist": 5, "mnist": 30, "cifar10": 5}  # as printed in the paper
in_shapes = {"nmnist": (2, 34, 34), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
rows = []
for name, spec in TABLE_3.items():
    for synaptic_delay in (0, 1):
        network = tsbp.SpikingNetwork.from_spec(
            spec,
            in_shapes[name],
            n_classes=10,
            time_steps=table_3_steps[name],
            synaptic_delay=synaptic_delay,
            padding="same",
        )
        with torch.no_grad():
            weights = [weight.fill_(1.0) for weight in network.parameters()]
            psc = network(torch.ones(1, *in_shapes[name]))
        answered = torch.nonzero(psc.sum((1, 2)))
        first = int(answered[0]) if len(answered) else "never"
        rows.append(
            (spec, len(weights), table_3_steps[name], synaptic_delay, first)
        )
columns = ["network", "weight layers", "T", "delay", "first answer at step"]
answers = tables.show(pd.DataFrame(rows, columns=columns), "network")
figures.show("answers-table", answers)

# %% [markdown]
# ```{glue:table} answers-table
# :name: first-answers
#
# With a delay, the paper's CIFAR-10 network never answers within its $T$ steps: the step at which the output layer of
# each network of the paper's Table 3 first responds. `12C5` is a convolution with 12 channels and 5×5 kernels, `P2`
# pooling by 2, `300` a layer of 300 neurons; ten output neurons follow.
# ```
#
# The network for CIFAR-10 has eight layers of weights and five time steps, so the reported accuracies cannot have been
# obtained with the delay. The published code of TSSL-BP
# {cite}`zhang2020`, whose networks these are, has no delay either.
#
# The delay is therefore a setting here, `synaptic_delay`. Its default is 0 in networks and 1, as the paper writes it,
# in the single-neuron experiment of {doc}`04_one_neuron`, where it only shifts the input.
#
# ## Summary
#
# - Each step keeps the fraction $1 - 1/\tau_m$ of the potential, adds the input, and fires above the threshold. A spike
#   resets the potential and adds $1/\tau_s$ to a current that decays.
# - $U[t+1]$ depends on $U[t]$ in two ways, through the leak and through the reset.
# - A delay of one step a layer would leave the paper's CIFAR-10 network without a signal; networks here have none.
#
# ## Exercises
#
# **1.** A constant current $I$ flows into a neuron at rest. What is the smallest $I$ at which it ever fires?
#
# :::{admonition} Solution
# :class: dropdown
#
# Without a spike the potential approaches the fixed point of $U = (1 - 1/\tau_m)\,U + I$, which is $\tau_m I$, from below.
# It passes the threshold only if $\tau_m I > \vartheta$, so $I$ must exceed $\vartheta/\tau_m$ =
# {glue:text}`least-current:.3f`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
least = threshold / tau_m
figures.note("least-current", least)
for factor, fires in ((0.99, False), (1.01, True)):
    constant = torch.full((1000,), factor * least, dtype=torch.float64)
    spikes = tsbp.lif(constant, tau_m=tau_m, threshold=threshold).spikes
    assert bool(spikes.any()) == fires
    print(f"I = {factor * least:.3f}: {int(spikes.sum())} spikes in 1000 steps")

# %% [markdown]
# **2.** How much postsynaptic current does one spike send in total, summed over all later steps? How does the answer depend
# on $\tau_s$?
#
# :::{admonition} Solution
# :class: dropdown
#
# The current is $\frac{1}{\tau_s}$, then $\frac{1}{\tau_s}(1 - \frac{1}{\tau_s})$, and so on: a geometric series whose sum is
# $\frac{1}{\tau_s} \cdot \tau_s = 1$. It does not depend on $\tau_s$, which only decides how long the current takes.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
one_spike = torch.zeros(1000, dtype=torch.float64)
one_spike[0] = 1
for time_constant in (1.0, tau_s, 20.0):
    total = tsbp.filter_spikes(one_spike, time_constant).sum().item()
    assert abs(total - 1) < 1e-12
    print(f"tau_s = {time_constant:g}: {total:.6f}")

# %% [markdown]
# **3.** How many time steps does the CIFAR-10 network need at least, so that with a delay of one step its output answers
# once?
#
# :::{admonition} Solution
# :class: dropdown
#
# The signal passes {glue:text}`n-weight-layers` layers of weights, one step each, and arrives at step
# {glue:text}`n-weight-layers`. Steps count from 0, so $T$ must be at least {glue:text}`least-steps`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
for n_steps in (8, 9):
    network = tsbp.SpikingNetwork.from_spec(
        TABLE_3["cifar10"],
        in_shape=(3, 4, 4),  # small, for the size of the image does not matter
        n_classes=10,
        time_steps=n_steps,
        synaptic_delay=1,
        padding="same",
    )
    with torch.no_grad():
        weights = [weight.fill_(1.0) for weight in network.parameters()]
        answered = bool(network(torch.ones(1, 3, 4, 4)).any())
    assert answered == (n_steps > len(weights))
    print(f"T = {n_steps}: the output {'answers' if answered else 'is silent'}")
figures.note("n-weight-layers", len(weights))
figures.note("least-steps", len(weights) + 1)

# %% [markdown]
# ## Further reading
#
# - {cite}`gerstner2014`: where the integrate-and-fire neuron comes from and what it leaves out.
# - {cite}`eshraghian2023`: the same neuron in a tutorial on training spiking networks, with code.
