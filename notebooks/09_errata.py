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
# This page lists errors in the paper {cite}`yang2020` (arXiv:2011.09964v1, the only version known here), shows each of
# them, and says whether it matters.
#
# :::{admonition} About this chapter
# - **For** readers who implement the paper or cite it.
# - **Needed:** the equations of {doc}`01_neuron` and {doc}`02_gradient`, and the paper beside this page.
# - **Afterwards** you can correct the paper's equations, and you know what a repetition has to choose by itself.
# :::

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

# %% tags=["remove-cell"]
figures.use_style()

# %% [markdown]
# ```{table} The reset term of eq. 8 exists and has the right sign; the code that its author published weights it by another factor.
# :name: errors-found
#
# | where | printed | should be | does it matter? | section |
# | --- | --- | --- | --- | --- |
# | eq. 8 | reset term multiplied by $\frac{U}{\partial U}$ | multiplied by $U$ | apparently in print only | {ref}`1 <erratum-1>` |
# | eq. 10 and the public code | $1/\Theta$; the code leaves it out | the same in both | yes, if the results came from this code: it weights the reset term by $\Theta$ | {ref}`1 <erratum-1>` |
# | eq. 4 | $W^{(l)} a^{(l-1)}[t]$ | $W^{(l)} a^{(l)}[t]$, as in eq. 1 | no | {ref}`2 <erratum-2>` |
# | eq. 3 | no value for $H(0)$ | $H(0) = 0$ or $1$, stated explicitly | hardly | {ref}`3 <erratum-3>` |
# | eq. 1, 4 with Table 3 | one step of delay a layer, and $T = 5$ | no delay, or more steps | yes: no signal reaches the output | {ref}`4 <erratum-4>` |
# | Table 3 | N-MNIST 5 steps, MNIST 30 | probably exchanged | in a repetition | {ref}`5 <erratum-5>` |
# | abstract, section 3 | the term is missing in all previous work | in much of it | to the claim of novelty, not to the results | {ref}`6 <erratum-6>` |
# ```

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; this chapter is the same in both
tau_m: float = 6.0  # membrane time constant in time steps
threshold: float = 1.0  # potential above which the neuron fires
temperature: float = 0.3  # width of the surrogate derivative
step: float = 1e-5  # by how much finite differences move the potential
seed: int = 0  # decides the random currents

# %%
neuron = dict(tau_m=tau_m, threshold=threshold, temperature=temperature)

# %% [markdown]
# (erratum-1)=
# ## The factor of the reset term
#
# Eq. 8 ends with the reset term:
#
# $$
# \dots + \frac{U^{(l)}[t]}{\partial U^{(l)}[t]} \left[ -\frac{\partial H(U^{(l)}[t] - \vartheta)}{\partial U^{(l)}[t]} \right]
# $$
#
# The first fraction has no meaning. The product rule gives $U^{(l)}[t]$; SymPy derives it in {eq}`reset-term`. Could
# $\partial U/\partial U = 1$ be meant? For the relaxed neuron of {doc}`02_gradient`, the next potential is a smooth
# function of the present one. The current of the first step equals its potential, so moving that current measures the
# derivative:

# %%
U = torch.linspace(-0.5, 2.0, 6, dtype=torch.float64)
ends = [
    lif(
        torch.stack([U + move, torch.zeros_like(U)]), relaxed=True, **neuron
    ).potential[1]
    for move in (step, -step)
]
differences = (ends[0] - ends[1]) / (2 * step)

# %% [markdown]
# The two readings use the surrogate of eq. 9 and 10. `GRADIENTS["full"]` is the factor of the package, called with 1 in
# place of $U$ for the first reading.

# %%
leak = 1 - 1 / tau_m
spike = relaxed_spike(U - threshold, temperature)
h = surrogate_derivative(U - threshold, temperature)
read_as_one = leak * GRADIENTS["full"](1, spike, h)
corrected = leak * GRADIENTS["full"](U, spike, h)
assert torch.allclose(corrected, differences, rtol=0, atol=1e-6)

# %% tags=["remove-cell"]
readings = {"U[t]": U, "finite differences": differences}
readings |= {"factor U": corrected, "factor ∂U/∂U = 1": read_as_one}
shown = tables.show(pd.DataFrame(readings)).format("{:.4f}")
figures.show("readings-table", shown.format("{:.1f}", subset=["U[t]"]))
figures.note("error-one", (read_as_one - differences).abs().max())
figures.note("error-corrected", (corrected - differences).abs().max())

# %% [markdown]
# ```{glue:table} readings-table
# :name: readings
#
# The factor is $U$: it agrees with finite differences to {glue:text}`error-corrected:.0e`, and the other reading is off
# by up to {glue:text}`error-one:.2f`. Derivative of the next potential with respect to the present one.
# ```
#
# At $U = 1$ the readings agree. The usual threshold is 1, and the term is large near it, so such an error in code is
# easily missed.
#
# **Does it matter?** Apparently in print only: the author's public code multiplies by $U$
# ([Neuron.py](https://github.com/superrrpotato/Acc-Timing/blob/1aac1d2/Neuron.py), 7 November 2020). What that code
# lacks is the factor $1/\Theta$ of eq. 10, so that it computes `scaled(Θ)` instead of `full`. If the paper's results came
# from this code, they compare a weaker term with none; {doc}`04_one_neuron` shows the difference.
#
# (erratum-2)=
# ## The layer index in eq. 4
#
# The paper obtains eq. 4 "by bringing the equation (3) into equations (1) & (2)". SymPy repeats the substitution:

# %%
u, theta, tau = sympy.symbols("U vartheta tau_m", real=True)
W, a_same, a_before, S = sympy.symbols("W a^{(l)} a^{(l-1)} S")
H = sympy.Function("H")
equation_1 = u * (1 - 1 / tau) * (1 - S) + W * a_same
equation_4 = u * (1 - 1 / tau) * (1 - H(u - theta)) + W * a_before
difference = sympy.factor(equation_1.subs(S, H(u - theta)) - equation_4)
assert difference == W * (a_same - a_before)
difference

# %% tags=["remove-cell"]
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
assert inputs == sizes[-2] != sizes[-3]
figures.note("columns", inputs)
figures.note("neurons-before", sizes[-3])

# %% [markdown]
# By eq. 4, layer $l+1$ would receive the output of layer $l-1$ and skip the layer between. The shapes do not allow it: in
# the paper's network for MNIST, the weights of the output layer have {glue:text}`columns` columns, as many as layer $l$
# has neurons; layer $l-1$ has {glue:text}`neurons-before`.
#
# **Does it matter?** No: it cannot be implemented as printed.
#
# (erratum-3)=
# ## A neuron exactly at threshold
#
# Eq. 3 defines $H(x)$ for $x < 0$ and for $x > 0$. A potential can be exactly at threshold, for example after two steps
# with half of it in a neuron that does not leak:

# %%
halves = torch.full((4,), 0.5 * threshold, dtype=torch.float64)
perfect = neuron | {"tau_m": math.inf}
potential = lif(halves, **perfect).potential
at_threshold = (potential == threshold).nonzero().flatten().tolist()
print(f"potential: {potential.tolist()}; at threshold in step {at_threshold}")

# %% tags=["remove-cell"]
random = torch.Generator().manual_seed(seed)
currents = 0.6 * torch.randn(100, 10_000, generator=random) + 0.3
ties = int((lif(currents, **neuron).potential == threshold).sum())
figures.note("ties", ties)
figures.note("n-potentials", currents.numel())

# %% [markdown]
# With real-valued inputs this is rare: {glue:text}`ties` of {glue:text}`n-potentials:,d` potentials under random
# currents.
#
# **Does it matter?** Hardly, with real-valued weights. Libraries differ: of those read for {doc}`03_other_methods`,
# SLAYER, EXODUS and SpikingJelly fire at threshold; STBP, TSSL-BP, snnTorch and Norse do not, and neither does `tsbp`
# ({eq}`spike`).
#
# (erratum-4)=
# ## Delay and depth
#
# By eq. 1 and 4 a layer receives at step $t+1$ what the layer before sent at step $t$. Behind $n$ layers of weights
# nothing arrives before step $n$, counted from 0. The last step is $T-1$.

# %%
steps = {name: TABLE_2[name]["time_steps"] for name in TABLE_3}
rows = [
    (spec, depth(spec), steps[name] - 1, depth(spec) <= steps[name] - 1)
    for name, spec in TABLE_3.items()
]

# %% tags=["remove-cell"]
columns = ["network (Table 3)", "first answer", "last step", "can answer"]
with_delay = pd.DataFrame(rows, columns=columns)
with_delay["can answer"] = with_delay["can answer"].map({True: "yes", False: "no"})
figures.show("delay-table", tables.show(with_delay, "network (Table 3)"))
assert not rows[list(TABLE_3).index("cifar10")][-1]
figures.note("ratio", steps["mnist"] // steps["nmnist"])

# %% [markdown]
# ```{glue:table} delay-table
# :name: delay
#
# With the printed delay the network for CIFAR-10 never answers: first step at which the output can receive anything, and
# last step. {numref}`first-answers` shows the same by running the networks.
# ```
#
# **Does it matter?** Yes, to anyone who builds this network as printed. The reported accuracy must have been obtained
# without the delay, which the code of TSSL-BP {cite}`zhang2020` does not have.
#
# (erratum-5)=
# ## Time steps of N-MNIST and MNIST
#
# Table 3 gives N-MNIST 5 time steps and MNIST 30. The networks, down to every number, are those of TSSL-BP, which the
# paper does not cite. There the numbers are exchanged: its [README of that
# month](https://github.com/stonezwr/TSSL-BP/blob/e84dde9/README.md) has results for N-MNIST at 30 and 100 steps, and
# for MNIST at 5. The paper has probably exchanged the two rows; this cannot be proved. {doc}`05_data_sets` measures
# MNIST at both numbers.
#
# **Does it matter?** To anyone who repeats the experiments: one reading has {glue:text}`ratio` times as many steps as
# the other.
#
# (erratum-6)=
# ## "All previous works"
#
# The abstract says that prior works "omitted the temporal dependency introduced by the reset mechanism", section 3 that
# the term "is missed in all previous works". {doc}`03_other_methods` finds it in the code of STBP, which the paper
# names, since November 2018, and in SpikingJelly and Norse, both public before the paper. TSSL-BP, whose networks the
# paper uses, has a rule of its own. Zenke and Vogels {cite}`zenke2021` had compared networks with and without the term
# in a preprint.

# %% tags=["remove-cell"]
assert {"STBP", "SpikingJelly", "Norse (feed-forward)"} <= set(survey.named("kept"))
assert "TSSL-BP" in survey.named("own")

# %% [markdown]
# **Does it matter?** To the claim that the term is new. Whether it helps is another question.
#
# ## Not stated
#
# A repetition has to choose what the paper does not state:
#
# - for the single neuron: the threshold, the initial weights, the number of repeats, the learning rates of Fig. 3 other
#   than the default;
# - for the networks: time constants, surrogate temperature, optimiser and learning rate, epochs, pooling, the output
#   layer (Table 3 ends before it), how images become currents, the target spike trains; whether Table 2 shows one run,
#   the best, or a mean;
# - in eq. 6: the kernel $\epsilon$, and whether $N_t$ is the number of steps or the last one. With the filter of eq. 2
#   for $\epsilon$, the loss is {eq}`loss`.
#
# The column *without* of Table 2 equals numbers that TSSL-BP had published. This is not an error in itself;
# {doc}`05_data_sets` says what it does and does not show.
#
# ## What is right
#
# Eq. 2 and 5 are correct, and so is eq. 1 except for the delay; `tsbp.reference_lif` computes them. Eq. 7 is correct,
# and so is eq. 8 with $U$ for $U/\partial U$: finite differences through a network of two layers confirm both
# ({doc}`02_gradient`). Eq. 10 is the derivative of eq. 9, as SymPy confirms there.
#
# ## Summary
#
# - Read eq. 8 with $U$ for $U/\partial U$ and eq. 4 with $a^{(l)}$; decide on $H(0)$.
# - Leave the delay out in the networks, and expect the time steps of MNIST and N-MNIST to be exchanged.
# - The term exists, has the right sign, and was not new.
#
# ## Exercises
#
# **1.** A test of the factor compares $\partial U[t+1]/\partial U[t]$ with finite differences at one potential. Which one
# should it be, so that the two readings of eq. 8 are told apart most clearly?
#
# :::{admonition} Solution
# :class: dropdown
#
# The readings differ by $(1 - 1/\tau_m)\,|U - 1|\,h(U)$. This is zero at $U = 1$ and far from the threshold, and largest
# at $U$ = {glue:text}`worst-potential:.2f`, where it is {glue:text}`worst-difference:.2f`. For $\vartheta = 1$ the
# potential just as far on the other side of the threshold does as well.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
grid = threshold + temperature * torch.linspace(-8, 8, 16001, dtype=torch.float64)
spike = relaxed_spike(grid - threshold, temperature)
h = surrogate_derivative(grid - threshold, temperature)
apart = GRADIENTS["full"](grid, spike, h) - GRADIENTS["full"](1, spike, h)
assert torch.allclose(apart, (1 - grid) * h)
worst = int(apart.abs().argmax())
figures.note("worst-potential", grid[worst])
figures.note("worst-difference", leak * apart[worst].abs())
print(f"U = {grid[worst]:.3f}: {leak * apart[worst].abs():.3f}")

# %% [markdown]
# **2.** `tsbp` does not fire at threshold. How can the neuron be made to, without a change of the package?
#
# :::{admonition} Solution
# :class: dropdown
#
# Lower the threshold to the next smaller number of the floating-point format. No potential lies between the two, so that
# only potentials exactly at the old threshold are affected. In the example above the neuron then fires one step earlier.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
below = math.nextafter(threshold, -math.inf)
first = [
    int(lif(halves, **perfect | {"threshold": value}).spikes.argmax())
    for value in (threshold, below)
]
assert first == [2, 1]
print(f"first spike in step {first[0]}, and in step {first[1]}")

# %% [markdown]
# **3.** On hardware that computes with integers, the membrane does not leak and every current is a multiple of
# $\vartheta/8$. Is it still rare that a potential is exactly at threshold? Draw such currents, and compare spikes with
# $H(0) = 0$ and with $H(0) = 1$.
#
# :::{admonition} Solution
# :class: dropdown
#
# No: {glue:text}`integer-ties:.0f` % of the potentials are exactly at threshold, and {glue:text}`integer-spikes:.0f` % more
# spikes are fired with $H(0) = 1$. A threshold half a unit lower gives these spikes with $H(0) = 0$.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
units = torch.randint(-2, 4, (100, 1000), generator=random).double()
counting = {"tau_m": math.inf, "temperature": temperature}
zero = lif(units, threshold=8.0, **counting)
one = lif(units, threshold=7.5, **counting)
tied = 100 * (zero.potential == 8).double().mean().item()
more = 100 * (one.spikes.sum() / zero.spikes.sum() - 1).item()
assert tied > 1 and more > 1
figures.note("integer-ties", tied)
figures.note("integer-spikes", more)
print(f"at threshold: {tied:.1f} %; spikes more with H(0) = 1: {more:.1f} %")

# %% [markdown]
# ## Further reading
#
# - {cite}`zhang2020`: TSSL-BP, whose networks the paper uses; its README and configuration files answer much of what the
#   paper leaves open.
# - {cite}`zenke2021`: an earlier study of the reset term; its Fig. 5 compares networks with and without it.
