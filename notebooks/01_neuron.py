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
# equations 1 to 5, runs it, and settles a question that the paper leaves open.
#
# You need the chain rule and some Python with PyTorch tensors; no neuroscience. After this chapter you can compute a
# few steps of the neuron by hand, name the two ways in which one step's potential depends on the last, and say what the
# synaptic delay does to a deep network.

# %%
import pandas as pd
import torch

import tsbp
from tsbp.networks import TABLE_3
from tsbp.study import figures

# %% tags=["remove-cell"]
figures.use_style()

# %% [markdown]
# ## Three equations
#
# Time runs in steps $t = 0, 1, \dots, T-1$. These are the variables and constants of one neuron:
#
# | symbol | name | in the code |
# | --- | --- | --- |
# | $I[t]$ | input current that reaches the membrane at step $t$ | `current` |
# | $U[t]$ | membrane potential | `potential` |
# | $S[t]$ | spike, 0 or 1 | `spikes` |
# | $a[t]$ | postsynaptic current that the neuron sends on | `psc` |
# | $\tau_m$, $\tau_s$ | time constants of membrane and synapse, in steps | `tau_m`, `tau_s` |
# | $\vartheta$ | threshold | `threshold` |
#
# From one step to the next, the membrane keeps the share $1 - 1/\tau_m$ of its potential. If the neuron has just fired,
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
# S[t] = H\bigl(U[t] - \vartheta\bigr), \qquad H(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}
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

# %%
current = torch.tensor([0.9, 0.9, 0.2, 1.5], dtype=torch.float64)
out = tsbp.lif(current, tau_m=6.0, tau_s=2.0, threshold=1.0)
hand = {"I": current, "U": out.potential, "S": out.spikes, "a": out.psc}
hand = pd.DataFrame(hand).rename_axis("t").reset_index()
hand.style.hide().format("{:.4g}")

# %% [markdown]
# At $t = 1$ the potential is $\tfrac56 \cdot 0.9 + 0.9 = 1.65$ and the neuron fires. At $t = 2$ the potential is the
# input alone, because the reset has removed the rest.
#
# ## Substituting the spike
#
# $S$ is a function of $U$, so it can be substituted into the other two equations (paper, eq. 4 and 5):
#
# $$
# \begin{aligned}
# U[t] &= \left(1 - \frac{1}{\tau_m}\right) U[t-1]\,\bigl[1 - H(U[t-1] - \vartheta)\bigr] + I[t] \\
# a[t] &= \left(1 - \frac{1}{\tau_s}\right) a[t-1] + \frac{1}{\tau_s}\,H(U[t] - \vartheta)
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
# Between layers the current is a weighted sum of the postsynaptic currents of the layer before, $I = W a$. The paper's
# eq. 1 writes $W a[t]$ into $U[t+1]$: a spike needs one time step to reach the next layer. So does eq. 4, in which the
# index of the layer differs as well.
#
# Taken literally, this contradicts the paper's own Table 3. Behind $n$ layers of weights, an output layer receives its
# first input at step $n$. The next cell measures it in the networks themselves: all weights are positive and so large
# that every neuron fires as soon as it receives anything.

# %%
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
pd.DataFrame(
    rows, columns=["network", "weight layers", "T", "delay", "first answer at step"]
).style.hide()

# %% [markdown]
# The network for CIFAR-10 has eight layers of weights and five time steps. With a delay of one step its output never
# receives a signal, so the reported accuracies cannot have been obtained with the delay. The published code of TSSL-BP
# {cite}`zhang2020`, whose networks these are, has no delay either.
#
# The delay is therefore a setting here, `synaptic_delay`. Its default is 0 in networks and 1, as the paper writes it,
# in the single-neuron experiment of {doc}`03_one_neuron`, where it only shifts the input.
