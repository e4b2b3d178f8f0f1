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
# # Errata
#
# This page lists errors in the paper {cite}`yang2020` (arXiv:2011.09964v1, the only version known here). Each entry
# shows the error and says whether it matters. None of them affects the central result: the reset term exists and has
# the right sign.
#
# | section | where | printed | should be | does it matter? |
# | --- | --- | --- | --- | --- |
# | {ref}`1 <erratum-1>` | eq. 8 | reset term multiplied by $\frac{U}{\partial U}$ | multiplied by $U$ | apparently in print only |
# | {ref}`2 <erratum-2>` | eq. 4 | $W^{(l)} a^{(l-1)}[t]$ | $W^{(l)} a^{(l)}[t]$, as in eq. 1 | no |
# | {ref}`3 <erratum-3>` | eq. 3 | $H(0)$ has no value | $H(0) = 0$ or $1$, said which | hardly |
# | {ref}`4 <erratum-4>` | eq. 1, 4 with Table 3 | one step of delay per layer, and $T = 5$ | no delay, or more steps | yes: the output never receives a signal |
# | {ref}`5 <erratum-5>` | Table 3 | N-MNIST 5 steps, MNIST 30 | probably exchanged | when it is repeated |
# | {ref}`6 <erratum-6>` | abstract, section 3 | the term is missing in all previous work | in much of it | to the claim of novelty, not to the results |

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; this chapter is the same in both
tau_m: float = 6.0  # membrane time constant in time steps
threshold: float = 1.0  # potential above which the neuron fires
temperature: float = 0.3  # width of the surrogate derivative
step: float = 1e-5  # by how much finite differences move the potential
seed: int = 0  # of the random currents

# %%
import math

import pandas as pd
import sympy
import torch

from tsbp import GRADIENTS, SpikingNetwork, lif
from tsbp.networks import TABLE_3, depth
from tsbp.peers import survey
from tsbp.runs.settings import TABLE_2
from tsbp.study import figures, tables
from tsbp.surrogate import relaxed_spike, surrogate_derivative

neuron = dict(tau_m=tau_m, threshold=threshold, temperature=temperature)

# %% tags=["remove-cell"]
figures.use_style()

# %% [markdown]
# (erratum-1)=
# ## The factor of the reset term
#
# Eq. 8 as printed multiplies the reset term by $U^{(l)}[t]/\partial U^{(l)}[t]$, which has no meaning because a
# differential stands alone in it. The product rule gives the factor $U^{(l)}[t]$; SymPy derives it in {eq}`reset-term`.
# Could $\partial U/\partial U = 1$ be meant? A measurement decides. For the relaxed neuron of {doc}`02_gradient` the
# next potential is a smooth function of the present one. The current of the first step equals its potential, so
# changing that current measures the derivative:

# %%
U = torch.linspace(-0.5, 2.0, 6, dtype=torch.float64)
ends = [
    lif(
        torch.stack([U + move, torch.zeros_like(U)]), relaxed=True, **neuron
    ).potential[1]
    for move in (step, -step)
]
measured = (ends[0] - ends[1]) / (2 * step)

# %% [markdown]
# The table compares it with the two readings of eq. 8, each with the surrogate of eq. 9 and 10. `GRADIENTS["full"]` is
# the package's factor; the first reading calls it with 1 in place of $U$:

# %%
leak = 1 - 1 / tau_m
spike = relaxed_spike(U - threshold, temperature)
h = surrogate_derivative(U - threshold, temperature)
read_as_one = leak * GRADIENTS["full"](1, spike, h)
corrected = leak * GRADIENTS["full"](U, spike, h)
pd.DataFrame(
    {
        "U[t]": U,
        "finite differences": measured,
        "∂U/∂U = 1": read_as_one,
        "corrected: U": corrected,
    }
).style.hide().format("{:.4f}").format("{:.1f}", subset=["U[t]"])

# %% tags=["remove-cell"]
figures.note("error-one", (read_as_one - measured).abs().max())
figures.note("error-corrected", (corrected - measured).abs().max())
assert torch.allclose(corrected, measured, rtol=0, atol=1e-6)

# %% [markdown]
# The corrected factor agrees to {glue:text}`error-corrected:.0e`; the other reading is off by up to
# {glue:text}`error-one:.2f`. (At $U = 1$ the two agree. With the usual threshold of 1 the term is large there, so such
# an error in code could go unnoticed.)
#
# **Does it matter?** Apparently in print only: the author's public code multiplies by $U$
# ([Neuron.py](https://github.com/superrrpotato/Acc-Timing/blob/1aac1d2/Neuron.py), 7 November 2020). What *that* code
# lacks is the factor $1/\Theta$ of eq. 10, so that it computes `scaled(Θ)` instead of `full`; {doc}`03_one_neuron`
# shows the difference.
#
# (erratum-2)=
# ## The layer index in eq. 4
#
# The paper obtains eq. 4 by substituting eq. 3 into eq. 1. SymPy repeats the substitution:

# %%
u, theta, tau = sympy.symbols("U vartheta tau_m", real=True)
W, a_same, a_before, S = sympy.symbols("W a^{(l)} a^{(l-1)} S")
H = sympy.Function("H")
equation_1 = u * (1 - 1 / tau) * (1 - S) + W * a_same
equation_4 = u * (1 - 1 / tau) * (1 - H(u - theta)) + W * a_before
difference = sympy.factor(equation_1.subs(S, H(u - theta)) - equation_4)
assert difference == W * (a_same - a_before)
difference

# %% [markdown]
# The two differ in the index of the layer: in eq. 4, layer $l+1$ receives the output of layer $l-1$ and skips the layer
# between. The shapes do not allow it. In the paper's network for MNIST, the output layer has these weights:

# %%
network = SpikingNetwork.from_spec(
    TABLE_3["mnist"], (1, 28, 28), n_classes=10, time_steps=5
)
with torch.no_grad():
    sizes = [1 * 28 * 28]
    psc = torch.zeros(5, 1, 1, 28, 28)
    for layer in network.layers:
        psc = layer(psc)
        sizes.append(psc[0, 0].numel())
outputs, inputs = list(network.parameters())[-1].shape
pd.DataFrame(
    {
        "columns of W": [inputs],
        "neurons of layer l": [sizes[-2]],
        "neurons of layer l-1": [sizes[-3]],
    }
).style.hide()

# %% tags=["remove-cell"]
assert inputs == sizes[-2] != sizes[-3]

# %% [markdown]
# **Does it matter?** No: it cannot be implemented as printed.
#
# (erratum-3)=
# ## A neuron exactly at threshold
#
# Eq. 3 defines $H(x)$ for $x < 0$ and $x > 0$. A potential can be exactly at threshold, and then the value of $H(0)$
# matters. An example is a neuron that does not leak, with an input of a quarter of the threshold:

# %%
quarter = torch.full((6,), 0.25 * threshold, dtype=torch.float64)
potential = lif(quarter, **{**neuron, "tau_m": math.inf}).potential
at_threshold = (potential == threshold).nonzero().flatten().tolist()
print(f"potential: {potential.tolist()}; at threshold in step {at_threshold}")

# %%
random = torch.Generator().manual_seed(seed)
currents = 0.6 * torch.randn(100, 10_000, generator=random) + 0.3
ties = int((lif(currents, **neuron).potential == threshold).sum())
print(f"{ties} of {currents.numel():,} potentials from random currents")

# %% [markdown]
# **Does it matter?** Hardly, with real-valued weights. Libraries differ: of those read for {doc}`07_other_methods`,
# SLAYER, EXODUS and SpikingJelly fire at threshold; STBP, TSSL-BP, snnTorch and Norse do not, and neither does `tsbp`
# ({eq}`spike`).
#
# (erratum-4)=
# ## Delay and depth
#
# By eq. 1 and 4 a layer receives at step $t+1$ what the layer before sent at step $t$. Through $n$ layers of weights
# nothing arrives before step $n$, counted from 0. The last step is $T-1$:

# %%
time_steps = {name: TABLE_2[name]["time_steps"] for name in TABLE_3}
rows = [
    (TABLE_3[name], depth(TABLE_3[name]), time_steps[name] - 1) for name in TABLE_3
]
with_delay = pd.DataFrame(
    rows, columns=["network (Table 3)", "first answer", "last step"]
)
with_delay["can answer"] = with_delay["first answer"] <= with_delay["last step"]
with_delay["can answer"] = with_delay["can answer"].map({True: "yes", False: "no"})
tables.show(with_delay, "network (Table 3)")

# %% tags=["remove-cell"]
figures.note("ratio", time_steps["mnist"] // time_steps["nmnist"])

# %% [markdown]
# {doc}`01_neuron` runs the networks and finds the same.
#
# **Does it matter?** Yes, to anyone who builds the CIFAR-10 network as printed: its output never receives a signal. The
# reported accuracy must have been obtained without the delay, which the code of TSSL-BP {cite}`zhang2020` does not
# have.
#
# (erratum-5)=
# ## Time steps of N-MNIST and MNIST
#
# Table 3 gives N-MNIST 5 time steps and MNIST 30. The networks, down to every number, are those of TSSL-BP, which the
# paper does not cite. There the numbers are exchanged: its [README of that
# month](https://github.com/stonezwr/TSSL-BP/blob/e84dde9/README.md) has results for N-MNIST at 30 and 100 steps, and
# for MNIST at 5. The paper has probably exchanged the two rows; this cannot be proved. {doc}`04_data_sets` measures
# MNIST at both numbers.
#
# **Does it matter?** To anyone who repeats the experiments: one reading has {glue:text}`ratio` times as many steps as
# the other.
#
# (erratum-6)=
# ## "All previous works"
#
# The abstract says that earlier work omits the dependency through the reset, and section 3 that the term is missing in
# all of it. Of what was read for {doc}`07_other_methods`, the code of STBP, which the paper names, has the term since
# November 2018; so have SpikingJelly and Norse, both public before the paper. TSSL-BP, whose networks it uses, has a
# term of its own for the reset. And Zenke and Vogels {cite}`zenke2021` had compared networks with and without it.

# %% tags=["remove-cell"]
assert {"STBP", "SpikingJelly", "Norse (feed-forward)"} <= set(survey.named("kept"))
assert "TSSL-BP" in survey.named("own")

# %% [markdown]
# **Does it matter?** To the claim that the term is new. Whether it helps is another question.
#
# ## Not stated
#
# The paper does not state the following, and a repetition has to choose:
#
# - for the single neuron: the threshold, the initial weights, the number of repeats, the learning rates of Fig. 3 other
#   than the default;
# - for the networks: time constants, surrogate temperature, optimiser and learning rate, epochs, the pooling, the
#   output layer (Table 3 ends before it), how images become currents, the target spike trains; whether Table 2 shows
#   one run, the best, or a mean;
# - in eq. 6: the kernel $\epsilon$, and whether $N_t$ is the number of steps or the last one. With the filter of eq. 2
#   for $\epsilon$, the loss is {eq}`loss`.
#
# The column *without* of Table 2 equals numbers that TSSL-BP had published. This is not an error in itself;
# {doc}`04_data_sets` says what it does and does not show.
#
# ## What is right
#
# Checked and correct: eq. 2 and 5, and eq. 1 except for the delay (`tsbp.reference_lif` computes them); eq. 7 and, with
# $U$ for $U/\partial U$, eq. 8, by finite differences through a network of two layers ({doc}`02_gradient`); eq. 10 as
# the derivative of eq. 9, by SymPy (there too). The paper's statements about its experiments are judged in the chapters
# on them.
