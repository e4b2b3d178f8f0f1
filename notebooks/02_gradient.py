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
# # The gradient
#
# This chapter derives the gradient of the loss with respect to the potential and the weights (the paper's equations 6
# to 10 {cite}`yang2020`), shows the code that computes it, and checks both by machine.
#
# :::{admonition} About this chapter
# - **For** readers who want to know exactly what back-propagation through a spiking neuron computes.
# - **Needed:** {doc}`01_neuron` and the chain rule; for the code, some NumPy and PyTorch.
# - **Afterwards** you can run the backward pass of a few steps by hand, find its equations in the package, and say what
#   each of the book's three gradients leaves out.
# :::

# %%
import inspect
import itertools
import re
import textwrap

import numpy as np
import pandas as pd
import sympy
import torch
from IPython.display import Markdown, Math

import tsbp
from tsbp import gradients
from tsbp.equations import Neuron
from tsbp.networks import finite_differences, flat_gradient
from tsbp.study import figures, tables
from tsbp.surrogate import surrogate_derivative

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; full checks more random networks
seed: int = 0  # decides the random inputs and weights
tau_m: float = 6.0  # membrane time constant in time steps
tau_s: float = 2.0  # synaptic time constant in time steps
threshold: float = 1.0  # potential above which the neuron fires
temperature: float = 0.3  # width of the surrogate derivative
time_steps: int = 20  # length of the simulations in the checks

# %%
neuron = dict(
    tau_m=tau_m, tau_s=tau_s, threshold=threshold, temperature=temperature
)

# %% tags=["remove-cell"]
figures.use_style()
torch.manual_seed(seed)

# %% [markdown]
# ## The loss
#
# The output should be a given spike train $d$. The synaptic filter of {eq}`synapse`, written $\epsilon *$, is applied
# to both trains, and the squared difference is summed over time: the van Rossum distance {cite}`vanrossum2001` (paper,
# eq. 6).
#
# $$
# \begin{aligned}
# L &= \sum_{t} \tfrac12 \bigl( (\epsilon * d)[t] - (\epsilon * S)[t] \bigr)^2 \\
#   &= \sum_{t} \tfrac12 \bigl( a_\text{target}[t] - a[t] \bigr)^2
# \end{aligned}
# $$ (loss)

# %% tags=["remove-output"]
target = torch.zeros(30, dtype=torch.float64)
target[10] = 1
shifts = (0, 1, 2, 5, 10)
distances = [
    tsbp.van_rossum_distance(
        tsbp.filter_spikes(target.roll(shift), tau_s), target, tau_s
    ).item()
    for shift in shifts
]
shifted = pd.DataFrame({"spike later by": shifts, "distance": distances})
figures.show("shifted-table", tables.show(shifted).format({"distance": "{:.3f}"}))

# %% [markdown]
# ```{glue:table} shifted-table
# :name: shifted-spike
#
# The later the spike, the greater the loss, until the two responses no longer overlap: distance between two trains of
# one spike each.
# ```
#
# ## Backwards through time
#
# $U[t]$ acts on the loss in two ways: through the current $a[t]$ of its own step, and through the potential $U[t+1]$ of
# the next (right side of {numref}`compute-graphs`). Hence (paper, eq. 7)
#
# $$
# \begin{aligned}
# \frac{\partial L}{\partial U[t]}
# &= \underbrace{\frac{\partial L}{\partial a[t]}\,\frac{\partial a[t]}{\partial U[t]}}_{\text{spatial}} \\
# &\quad + \underbrace{\frac{\partial L}{\partial U[t+1]}\,\frac{\partial U[t+1]}{\partial U[t]}}_{\text{temporal}}.
# \end{aligned}
# $$ (chain)
#
# Write $\delta[t]$ for $\partial L/\partial U[t]$ and $\alpha[t]$ for $\partial L/\partial a[t]$. The latter is the total
# derivative: $a[t]$ also enters $a[t+1]$, so $\alpha$ obeys a recursion of its own. With $g_A[t]$ for the gradient that
# arrives at $a[t]$ from the loss or from the next layer,
#
# $$
# \alpha[t] = g_A[t] + \left(1 - \frac1{\tau_s}\right) \alpha[t+1].
# $$ (alpha)
#
# For the loss {eq}`loss`, $g_A[t] = a[t] - a_\text{target}[t]$. By {eq}`synapse` a spike adds $1/\tau_s$ to the current
# of its own step. With $h$ for the derivative of the spike, defined in {eq}`surrogate` below,
#
# $$
# \frac{\partial a[t]}{\partial U[t]} = \frac{h[t]}{\tau_s}.
# $$ (spatial)
#
# No step follows the last one, $t = T-1$, so both recursions start from zero:
#
# $$
# \alpha[T] = \delta[T] = 0.
# $$ (end)
#
# What remains is the temporal factor $\partial U[t+1]/\partial U[t]$.
#
# ## The reset term
#
# How does $U[t+1]$ depend on $U[t]$? SymPy differentiates {eq}`substituted` with $H$ an unknown function, and divides by
# $1 - 1/\tau_m$:

# %%
U, theta, tau, current = sympy.symbols("U vartheta tau_m I", real=True)
H = sympy.Function("H")
next_potential = (1 - 1 / tau) * U * (1 - H(U - theta)) + current
derivative = sympy.diff(next_potential, U).doit()
sympy.simplify(derivative / (1 - 1 / tau))

# %% [markdown]
# This is the product rule (paper, eq. 8):
#
# $$
# \begin{aligned}
# \frac{\partial U[t+1]}{\partial U[t]}
# &= \left(1 - \frac1{\tau_m}\right) \Bigl\{ \bigl[1 - H(U[t] - \vartheta)\bigr] \\
# &\qquad\quad - U[t]\, H'(U[t] - \vartheta) \Bigr\}
# \end{aligned}
# $$ (reset-term)
#
# The first part in braces is the **leak** path: what stays in the membrane. The second part is the **reset term**: a
# slightly higher potential makes a spike more likely, and a spike empties the membrane. (Where the product rule gives
# $U$, the paper prints $U/\partial U$.) The paper says of it:
#
# > The red colored term is missed in all previous works. \[...\] However this term encodes an important dependency of
# > membrane potential between different time steps.
#
# The first sentence is too strong ({ref}`erratum-6`). How important the term is, the rest of the book measures. It
# compares three gradients, which differ in the factor in braces and in nothing else; the forward pass is always the
# same.
#
# ```{table} Three gradients, one factor. $S$ is the spike, $h$ its derivative.
# :name: factors
#
# | name | factor | who computes this |
# | --- | --- | --- |
# | `full` | $1 - S - U h$ | the paper "with the reset term"; autograd, unless the reset is detached |
# | `leak` | $1 - S$ | autograd with the reset detached, as in snnTorch {cite}`eshraghian2023` |
# | `spatial` | $0$ | no gradient through time along the membrane, as in SLTT {cite}`meng2023` |
# ```
#
# The factors stand in `tsbp/gradients.py`, one line each:

# %% tags=["remove-input"]
registry = re.search(
    "^GRADIENTS.+?^}", inspect.getsource(gradients), re.MULTILINE | re.DOTALL
)
Markdown(f"```python\n{registry[0]}\n```")

# %% [markdown]
# They are ordinary functions, so SymPy's symbols can be their arguments. `full` is the derivative above:

# %%
x = sympy.Symbol("x")
slope = sympy.Subs(sympy.Derivative(H(x), x), x, U - theta)
in_the_package = (1 - 1 / tau) * tsbp.GRADIENTS["full"](U, H(U - theta), slope)
assert sympy.simplify((derivative - in_the_package).doit()) == 0

# %% [markdown]
# In code type, `leak` names a gradient; the decay $1 - 1/\tau_m$ in front of the braces is another thing. With every
# gradient, `spatial` included, errors still travel through time along the synaptic current, by {eq}`alpha`.
#
# `tsbp.lif(current, gradient="leak")` chooses a factor by name. A function of your own does as well, and
# `tsbp.scaled(c)` weights the reset term by a number, $1 - S - c\,U h$.
#
# ## The surrogate derivative
#
# $H'$ is zero everywhere except at the threshold, where it is infinite. A *surrogate* replaces it by a smooth bump
# around the threshold. The paper takes the derivative of the logistic function $\sigma$ (paper, eq. 9 and 10). The
# temperature $\Theta$, there called $T$, is its width. With $x = (U - \vartheta)/\Theta$,
#
# $$
# H'(U - \vartheta) \approx h(U) = \frac1\Theta\,\sigma(x)\,\bigl[1 - \sigma(x)\bigr].
# $$ (surrogate)
#
# The section {ref}`other-surrogates` has more.

# %%
width = sympy.Symbol("Theta", positive=True)
sigma = 1 / (1 + sympy.exp(-(U - theta) / width))
assert sympy.simplify(sympy.diff(sigma, U) - sigma * (1 - sigma) / width) == 0

# %% tags=["hide-input", "remove-output"]
figures.show("surrogate-figure", figures.surrogate(threshold, temperature, tau_m))
at_threshold = torch.tensor(threshold, dtype=torch.float64)
h_at_threshold = surrogate_derivative(at_threshold - threshold, temperature)
for name in ("full", "leak"):
    factor = tsbp.GRADIENTS[name](at_threshold, 0, h_at_threshold)
    figures.note(f"factor-{name}", (1 - 1 / tau_m) * factor)

# %% [markdown]
# ```{glue:figure} surrogate-figure
# :name: surrogate-derivative
# :alt: Left, the step function, the logistic function and its derivative. Right, the temporal factor of three gradients.
#
# The reset term acts near the threshold only. Left: the spike and its surrogate derivative. Right: the factor between
# two time steps, times the decay. Just below the threshold it is {glue:text}`factor-leak:.3f` for `leak` and
# {glue:text}`factor-full:.3f` for `full`. Above the threshold `leak` passes nothing back, whereas `full` passes the
# error back with its sign reversed.
# ```
#
# The paper on the reset term near the threshold:
#
# > When the membrane potential near the threshold, small perturbation towards threshold has potential to change the
# > membrane potential of the next time-step dramatically.
#
# ## The backward pass
#
# Put together, with $g_S[t]$ for a gradient that reaches the spikes directly, the backward pass is one loop from the
# last step to the first:
#
# $$
# \begin{aligned}
# \delta[t] &= \left( \frac{\alpha[t]}{\tau_s} + g_S[t] \right) h[t] \\
# &\quad + \delta[t+1] \left(1 - \frac1{\tau_m}\right) \\
# &\qquad \cdot \bigl( 1 - S[t] - U[t]\,h[t] \bigr), \\
# \frac{\partial L}{\partial I[t]} &= \delta[t]
# \end{aligned}
# $$ (delta)
#
# The input current is $I[t] = W a_\text{in}[t-\Delta]$, with $a_\text{in}$ the postsynaptic currents of the layer
# before and $\Delta$ the synaptic delay, 0 or 1. All steps share the weights, and so do all examples of a batch:
#
# $$
# \frac{\partial L}{\partial W} = \sum_\text{batch}\, \sum_t \delta[t]\, a_\text{in}[t-\Delta]^\top
# $$ (weights)
#
# The layer before receives the error through the same weights. This is the $g_A[t]$ of that layer:
#
# $$
# \frac{\partial L}{\partial a_\text{in}[t]} = W^\top \delta[t+\Delta]
# $$ (below)
#
# ### Four steps by hand
#
# The four steps of {doc}`01_neuron` once more, now in NumPy and in both directions. The forward pass is
# {eq}`membrane`, {eq}`spike` and {eq}`synapse` (at $t = 0$, `U[t - 1]` is the last element of `U`, which is still 0):

# %%
I = np.array([0.9, 0.9, 0.2, 1.5])
U, S, a = np.zeros((3, 4))
for t in range(4):
    U[t] = (1 - 1 / tau_m) * U[t - 1] * (1 - S[t - 1]) + I[t]
    S[t] = U[t] > threshold
    a[t] = (1 - 1 / tau_s) * a[t - 1] + S[t] / tau_s

# %% [markdown]
# The target has one spike, at $t = 1$. The backward pass is {eq}`alpha` and {eq}`delta`. The arrays have a fifth
# element for {eq}`end`:

# %%
target = torch.tensor([0, 1, 0, 0], dtype=torch.float64)
g_A = a - tsbp.filter_spikes(target, tau_s).numpy()
sigma = 1 / (1 + np.exp(-(U - threshold) / temperature))
h = sigma * (1 - sigma) / temperature
factor = {"full": 1 - S - U * h, "leak": 1 - S}
alpha, delta = np.zeros(5), {"full": np.zeros(5), "leak": np.zeros(5)}
for t in (3, 2, 1, 0):
    alpha[t] = g_A[t] + (1 - 1 / tau_s) * alpha[t + 1]
    for name in ("full", "leak"):
        through_time = delta[name][t + 1] * (1 - 1 / tau_m) * factor[name][t]
        delta[name][t] = alpha[t] / tau_s * h[t] + through_time

# %% tags=["remove-cell"]
hand = {"I": I, "U": U, "S": S, "a": a, "h": h, "g_A": g_A, "α": alpha[:4]}
hand |= {f"factor, {name}": factor[name] for name in factor}
hand |= {f"δ, {name}": delta[name][:4] for name in delta}
hand = pd.DataFrame(hand).T.rename_axis("t =").reset_index()
figures.show(
    "hand-table", tables.show(hand, "t =").format("{:.3g}", subset=[0, 1, 2, 3])
)

# %% [markdown]
# ```{glue:table} hand-table
# :name: by-hand
#
# The reset term can change the sign of the gradient. At $t = 1$ the neuron fires as it should; at $t = 3$ it fires
# without a target. For `full`, $\delta[1]$ is negative: its surrogate takes the spike at $t = 1$ for a graded one, so that a higher
# potential there seems to leave less for the unwanted spike. For `leak` it is positive. Read the rows up to $g_A$ from left to right, those below from right to left.
# ```
#
# The arithmetic of $t = 1$, with the numbers of {numref}`by-hand`:

# %% tags=["remove-input"]
first = alpha[1] / tau_s * h[1]
lines = [
    rf"\alpha[1] &= {g_A[1]:.4g} + \tfrac12 \cdot {alpha[2]:.3g} = {alpha[1]:.3g} \\"
]
for name in ("full", "leak"):
    reset = rf" - {U[1]:.4g} \cdot {h[1]:.3g}" if name == "full" else ""
    second = delta[name][2] * (1 - 1 / tau_m) * factor[name][1]
    lines += [
        rf"\text{{factor, {name}}} &= 1 - {S[1]:.0f}{reset} = {factor[name][1]:.3g} \\",
        rf"\delta_\text{{{name}}}[1] &= \tfrac12 \cdot {alpha[1]:.3g} \cdot {h[1]:.3g} \\",
        rf"&\quad + {delta[name][2]:.3g} \cdot \tfrac56 \cdot ({factor[name][1]:.3g}) \\",
        rf"&= {first:.3g} {second:+.3g} = {delta[name][1]:.3g} \\",
    ]
Math(r"\begin{aligned}" + "\n".join(lines) + r"\end{aligned}")

# %% [markdown]
# ### The same in the package
#
# One step of `tsbp.lif` in each direction, from `tsbp/equations.py`; the numbers in the comments are the paper's. The
# loops around them are `Neuron.forward` and `Neuron.backward`. `leak_m` and `leak_s` are $1 - 1/\tau_m$ and
# $1 - 1/\tau_s$, `gain_s` is $1/\tau_s$, `fire` is {eq}`spike`, `derivative` is {eq}`surrogate`, and `factor_at` calls
# the function of the chosen gradient. `later` is $(1 - 1/\tau_s)\,\alpha[t+1]$, the second term of {eq}`alpha`.

# %% tags=["remove-input"]
step, step_back = map(inspect.getsource, (Neuron.step, Neuron.step_back))
code = textwrap.dedent(f"{step}\n{step_back}")
code = re.sub(r'\n\n    Args:.+?"""', '"""', code, flags=re.DOTALL)
Markdown(f"```python\n{code}```")

# %% [markdown]
# Both agree with the NumPy loops above:

# %%
for name in delta:
    current = torch.tensor(I, requires_grad=True)
    out = tsbp.lif(current, gradient=name, **neuron)
    tsbp.van_rossum_distance(out.psc, target, tau_s).backward()
    found = zip((out.potential, out.spikes, out.psc), (U, S, a), strict=True)
    assert all(np.allclose(x.detach(), y, rtol=0, atol=1e-12) for x, y in found)
    assert np.allclose(current.grad, delta[name][:4], rtol=0, atol=1e-12)

# %% [markdown]
# ## Test 1: autograd
#
# `tsbp.reference_lif` writes {eq}`membrane` to {eq}`synapse` as plain PyTorch and leaves the derivative to autograd. It
# does not use the factors: it chooses a gradient by detaching a node of the graph. In float64 both must agree to
# rounding error, whatever the constants.

# %%
sizes = (1, 5, 50) if profile == "quick" else (1, 2, 5, 20, 100)
disagreement = {}
for name in gradients.STUDIED:
    worst = 0.0
    for T, tm, ts, th, temp in itertools.product(
        sizes, (1.0, 6.0, 20.0), (1.0, 2.0), (0.5, 1.0), (0.05, 0.3, 2.0)
    ):
        current = 0.6 * torch.randn(T, 32, dtype=torch.float64) + 0.3
        current.requires_grad_()
        weight_psc, weight_spikes = torch.randn(2, T, 32, dtype=torch.float64)
        constants = dict(tau_m=tm, tau_s=ts, threshold=th, temperature=temp)
        found = []
        for implementation in (tsbp.lif, tsbp.reference_lif):
            out = implementation(current, gradient=name, **constants)
            loss = (weight_psc * out.psc + weight_spikes * out.spikes).sum()
            found.append(torch.autograd.grad(loss, current)[0])
        scale = found[1].abs().max()
        worst = max(worst, ((found[0] - found[1]).abs().max() / scale).item())
    disagreement[f"δ[t], {name}"] = worst

# %% [markdown]
# The equations around this loop, one by one. First {eq}`spatial`, from the Jacobian of the postsynaptic current, and
# {eq}`alpha` with its end condition {eq}`end`, from the loss as a function of the spikes, for which
# $\partial L/\partial S[t] = \alpha[t]/\tau_s$:

# %%
random = torch.Generator().manual_seed(seed)
kind = dict(dtype=torch.float64, generator=random)
current = 0.6 * torch.randn(time_steps, **kind) + 0.3
out = tsbp.reference_lif(current, **neuron)
jacobian = torch.autograd.functional.jacobian(
    lambda x: tsbp.reference_lif(x, **neuron).psc, current
)
slope = surrogate_derivative(out.potential - threshold, temperature) / tau_s
disagreement["∂a[t]/∂U[t]"] = (jacobian.diag() - slope).abs().max().item()

spikes = out.spikes.detach().requires_grad_()
target_spikes = (torch.rand(time_steps, **kind) < 0.2).double()
loss = tsbp.van_rossum_distance(
    tsbp.filter_spikes(spikes, tau_s), target_spikes, tau_s
)
of_autograd = tau_s * torch.autograd.grad(loss, spikes)[0]
errors = out.psc - tsbp.filter_spikes(target_spikes, tau_s)
alphas = torch.zeros(time_steps + 1, dtype=torch.float64)
for t in reversed(range(time_steps)):
    alphas[t] = errors[t] + (1 - 1 / tau_s) * alphas[t + 1]
disagreement["α[t]"] = (alphas[:-1] - of_autograd).abs().max().item()

# %% [markdown]
# Then {eq}`weights` and {eq}`below`, for a batch of four and both delays. By {eq}`end`, $\delta[t+\Delta]$ is zero
# after the last step:

# %%
W = torch.randn(5, 12, **kind, requires_grad=True)
a_in = torch.rand(time_steps, 4, 12, **kind, requires_grad=True)
for delay in (0, 1):
    delayed = torch.cat([torch.zeros(delay, 4, 12), a_in])[:time_steps]
    current = delayed @ W.T
    loss = tsbp.reference_lif(current, **neuron).psc.square().sum()
    found = torch.autograd.grad(loss, (current, W, a_in))
    deltas = torch.cat([found[0][delay:], torch.zeros(delay, 4, 5)])
    by_equation = torch.einsum("tbi,tbj->ij", deltas, a_in), deltas @ W
    for name, x, y in zip(
        ("∂L/∂W", "∂L/∂a_in"), by_equation, found[1:], strict=True
    ):
        difference = (x - y).abs().max() / y.abs().max()
        disagreement[f"{name}, delay {delay}"] = difference.item()

assert max(disagreement.values()) < 1e-10

# %% tags=["remove-cell"]
checked = pd.DataFrame(disagreement.items(), columns=["derivative", "difference"])
checked["difference"] = [f"{x:.0e}" if x else "0" for x in checked["difference"]]
figures.show("checked-table", tables.show(checked, "derivative"))

# %% [markdown]
# ```{glue:table} checked-table
# :name: checked
#
# Every equation agrees with autograd to rounding error: largest difference, for $\delta$ and the last four rows
# relative to the largest component.
# ```
#
# ## Test 2: finite differences
#
# Autograd uses the same surrogate, so agreement with it shows only that the recursion is implemented correctly. Is it the
# gradient of a real loss? The loss of the spiking neuron is flat almost everywhere. The **relaxed** neuron replaces the step
# by $\sigma$ (paper, eq. 9) in the forward pass too: its spikes lie between 0 and 1, its loss is smooth, and its true
# gradient can be measured by changing each weight a little. The network below has two layers, so that the gradient passes through space and time.

# %%
frames = torch.rand(time_steps, 1, 1, 1, 12, dtype=torch.float64)
target_spikes = (torch.rand(time_steps, 1, 3) < 0.3).double()
settings = dict(
    in_shape=(1, 1, 12), n_classes=3, time_steps=time_steps, relaxed=True, **neuron
)
networks = {
    name: tsbp.SpikingNetwork.from_spec("10", gradient=name, **settings).double()
    for name in gradients.STUDIED
}
for network in networks.values():
    network.load_state_dict(networks["full"].state_dict())

# %% [markdown]
# The true gradient of the loss with respect to all weights, by central differences, which need the forward pass alone:

# %%
network = networks["full"]
differences = finite_differences(
    lambda: tsbp.van_rossum_distance(network(frames), target_spikes, tau_s).sum(),
    network.parameters(),
)

# %% [markdown]
# The three hand-written gradients of the same loss at the same weights:

# %%
by_hand = {}
for name, network in networks.items():
    loss = tsbp.van_rossum_distance(network(frames), target_spikes, tau_s).sum()
    by_hand[name] = flat_gradient(loss, network.parameters())
beside = tables.error_table(by_hand, differences)
assert beside["relative error"]["full"] < 1e-6
assert beside["relative error"].drop("full").min() > 1e-2

# %% tags=["hide-input", "remove-output"]
figures.show(
    "differences-figure", figures.against_differences(differences, by_hand)
)
for name, row in beside.iterrows():
    figures.note(f"error-{name}", row["relative error"])
    figures.note(f"cosine-{name}", row["cosine"])
    figures.note(f"direction-{name}", (1 - min(row["cosine"], 1) ** 2) ** 0.5)
    figures.note(f"length-{name}", row["relative length"])

# %% [markdown]
# ```{glue:figure} differences-figure
# :name: finite-differences
# :alt: Three scatter plots of hand-written gradient against finite differences; only full lies on the diagonal.
#
# Only the gradient with the reset term is the derivative of the relaxed neuron. Each dot is one weight; the line is
# agreement. The relative error of `full` is {glue:text}`error-full:.1e`, that of `leak` {glue:text}`error-leak:.2f` and
# that of `spatial` {glue:text}`error-spatial:.2f`.
# ```
#
# ### An error above 1
#
# A gradient of zero would have a relative error of 1, so {glue:text}`error-leak:.2f` for `leak` looks worse than no
# gradient at all. But most of this error is length, not direction: `leak` is {glue:text}`length-leak:.2f` times as long
# as the true gradient, and the cosine between the two is {glue:text}`cosine-leak:.2f`. Scaled to the best length, its
# error would be {glue:text}`direction-leak:.2f`. As long as the cosine is positive, a small enough step lowers the loss.
# With the learning rate that suits the true gradient, however, a step along `leak` is {glue:text}`length-leak:.1f` times
# as long as it should be. The reason is that the reset term lowers the factor where the potential is positive, so that without it more
# of the error travels back in time. {doc}`04_one_neuron` compares the lengths during training.
#
# The network above is one draw. Since `full` has proved to be the true gradient, it can stand in for finite differences
# in many others:

# %%
draws = 20 if profile == "quick" else 100
rows = []
for _ in range(draws):
    frames = torch.rand(time_steps, 1, 1, 1, 12, dtype=torch.float64)
    target_spikes = (torch.rand(time_steps, 1, 3) < 0.3).double()
    drawn = tsbp.SpikingNetwork.from_spec("10", **settings).state_dict()
    for name, network in networks.items():
        network.load_state_dict(drawn)
        loss = tsbp.van_rossum_distance(network(frames), target_spikes, tau_s).sum()
        by_hand[name] = flat_gradient(loss, network.parameters())
    rows.append(tables.error_table(by_hand, by_hand["full"]).drop("full"))

# %% tags=["remove-cell"]
many = pd.concat(rows).groupby(level=0)
middle, low, high = many.median(), many.min(), many.max()
shown = pd.DataFrame({"median (range)": middle.columns})
for name in middle.index:
    ends = zip(middle.loc[name], low.loc[name], high.loc[name], strict=True)
    shown[name] = [f"{m:.2f} ({least:.2f}–{most:.2f})" for m, least, most in ends]
figures.show("errors-table", tables.show(shown, "median (range)"))
figures.note("draws", draws)
for name in middle.index:
    figures.note(f"middle-cosine-{name}", middle["cosine"][name])

# %% [markdown]
# ```{glue:table} errors-table
# :name: errors
#
# As a rule `leak` is too long and `spatial` too short, and both point roughly the right way: the two gradients beside the
# true one in {glue:text}`draws` relaxed networks with random weights, inputs and targets.
# ```
#
# (other-surrogates)=
# ## Other surrogates
#
# The logistic function is one choice among many. `tsbp.lif(..., surrogate=...)` takes six kernels $k$, each a bump of
# area 1 around zero. There are two ways to scale them to the width $\Theta$:
#
# $$
# \begin{aligned}
# h_\text{area}(U) &= \frac1\Theta\, k\!\left(\frac{U-\vartheta}{\Theta}\right) \\
# h_\text{peak}(U) &= \frac1{k(0)}\, k\!\left(\frac{U-\vartheta}{\Theta}\right)
# \end{aligned}
# $$ (scales)
#
# Scale `area` is the paper's: {eq}`surrogate` is the sigmoid at this scale. The narrower the surrogate, the higher it
# is. At scale `peak` the derivative is 1 at the threshold, at any width.

# %% tags=["hide-input", "remove-output"]
figures.show("surrogates-figure", figures.surrogates(threshold, temperature))
overdrive = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
rows = []
for name, entry in tsbp.SURROGATES.items():
    above = overdrive[entry.kernel(overdrive) >= entry.peak / 2]
    rows.append((name, entry.peak, (above[-1] - above[0]).item()))
kernels = pd.DataFrame(rows, columns=["surrogate", "k(0)", "width / Θ"])
kernels["c"] = temperature / kernels["k(0)"]
widths = kernels.set_index("surrogate")["width / Θ"]
for which, name in (("narrowest", widths.idxmin()), ("widest", widths.idxmax())):
    figures.note(f"{which}-name", name)
    figures.note(f"{which}-width", widths[name])
figures.note("width-ratio", widths.max() / widths.min())
formats = {"k(0)": "{:.3f}", "width / Θ": "{:.2f}", "c": "{:.3f}"}
figures.show("kernels-table", tables.show(kernels, "surrogate").format(formats))
figures.note("temperature", temperature)
figures.note("sigmoid-peak", tsbp.SURROGATES["sigmoid"].peak)
figures.note("sigmoid-c", temperature / tsbp.SURROGATES["sigmoid"].peak)

# %% [markdown]
# ```{glue:figure} surrogates-figure
# :name: surrogates
# :alt: Six bell-shaped surrogate derivatives over the potential, at two scales.
#
# Surrogates of the same $\Theta$ differ {glue:text}`width-ratio:.1f`-fold in width, so comparisons are fair at equal
# width only. The full width at half maximum ranges from {glue:text}`narrowest-width:.2f` $\Theta$
# ({glue:text}`narrowest-name`) to {glue:text}`widest-width:.2f` $\Theta$ ({glue:text}`widest-name`). Left: scale
# `area`, where the heights differ as well. Right: scale `peak`. All at $\Theta$ = {glue:text}`temperature`.
# ```
#
# ```{glue:table} kernels-table
# :name: kernels
#
# No two kernels agree in both height and width: height $k(0)$, full width at half maximum over $\Theta$, and
# $c = \Theta/k(0)$, which the next section explains.
# ```
#
# ### What the scale changes
#
# By {eq}`scales` the two scales differ by a constant: $h_\text{peak} = c\,h_\text{area}$ with $c = \Theta/k(0)$. Insert
# $h_\text{peak}$ into {eq}`delta`, with the factor of `full`, and write $\delta = c\,\hat\delta$. Every term then has
# the factor $c$, and dividing by it leaves
#
# $$
# \begin{aligned}
# \hat\delta[t] &= \left( \frac{\alpha[t]}{\tau_s} + g_S[t] \right) h_\text{area}[t] \\
# &\quad + \hat\delta[t+1] \left(1 - \frac1{\tau_m}\right) \\
# &\qquad \cdot \bigl( 1 - S[t] - c\,U[t]\,h_\text{area}[t] \bigr)
# \end{aligned}
# $$ (scaled)
#
# This is the recursion at scale `area` with the reset term weighted by $c$, which is the gradient `tsbp.scaled(c)`. The
# layer before receives $W^\top \delta = c\,W^\top \hat\delta$ instead of $W^\top \hat\delta$ and adds a factor $c$ of
# its own. Hence, in a feed-forward network, `full` at scale `peak` equals `scaled(c)` at scale `area`, times one
# constant for each layer. `leak` and `spatial` have no $h$ in their factors, so that the scale changes these constants
# alone. A check with two layers and every surrogate:

# %%
currents = 0.6 * torch.randn(time_steps, 20, dtype=torch.float64) + 0.3
weights = torch.randn(3, 20, dtype=torch.float64)
inputs = [currents.requires_grad_(), weights.requires_grad_()]
rows = []
for name in tsbp.SURROGATES:
    c = temperature / tsbp.SURROGATES[name].peak
    found = []
    for setting in (
        dict(gradient="full", surrogate_scale="peak"),
        dict(gradient=tsbp.scaled(c), surrogate_scale="area"),
    ):
        layer = neuron | setting | {"surrogate": name}
        hidden = tsbp.lif(currents, **layer).psc
        output = tsbp.lif(hidden @ weights.T, **layer).psc
        found.append(torch.autograd.grad(output.square().sum(), inputs))
    (peak_hidden, peak_output), (area_hidden, area_output) = found
    pairs = (peak_output, c * area_output), (peak_hidden, c**2 * area_hidden)
    errors = [((peak - area).norm() / peak.norm()).item() for peak, area in pairs]
    assert max(errors) < 1e-12
    rows.append((name, c, *errors))

# %% tags=["remove-cell"]
columns = ["surrogate", "c", "weights of layer 2", "input of layer 1"]
scales = tables.show(pd.DataFrame(rows, columns=columns), "surrogate")
formats = {columns[1]: "{:.3f}", columns[2]: "{:.0e}", columns[3]: "{:.0e}"}
figures.show("scales-table", scales.format(formats))

# %% [markdown]
# ```{glue:table} scales-table
# :name: two-scales
#
# For every surrogate, `full` at scale `peak` equals `scaled(c)` at scale `area` times $c$ or $c^2$: relative errors of
# the gradients.
# ```
#
# An optimiser that is blind to the length of the gradient, as Adam is without clipping, divides the constants out. For
# it, the scale matters through $c$ alone, and not at all for `leak` and `spatial`. Plain gradient descent takes longer
# or shorter steps as well. With recurrent weights, $\alpha[t]$ contains $\delta[t+1]$, and $c$ weights this path too.
#
# The sigmoid has $c = 1$ at $\Theta = k(0)$ = {glue:text}`sigmoid-peak`, where the two scales are the same; at this
# page's $\Theta$ = {glue:text}`temperature`, $c$ = {glue:text}`sigmoid-c:.2f`. The narrower the surrogate, the smaller
# $c$: scale `peak` weakens the reset term of a narrow surrogate, and scale `area` does not. Zenke and Vogels
# {cite}`zenke2021` tried both scales with and without the reset term; {doc}`03_other_methods` has their result.
#
# ## Summary
#
# - The backward pass is one loop from the last step to the first, {eq}`alpha` and {eq}`delta`, starting from zero. The
#   weights collect $\delta[t]\, a_\text{in}[t-\Delta]^\top$; the layer before receives $W^\top \delta$.
# - The three gradients differ in one factor. Only `full`, with the reset term, is the derivative of the relaxed neuron;
#   in this the paper is right.
# - In random networks `leak` and `spatial` mostly point roughly the way of `full` (median cosine
#   {glue:text}`middle-cosine-leak:.2f` and {glue:text}`middle-cosine-spatial:.2f`) but differ from it in length, which acts
#   like another learning rate.
# - The neuron that runs is the spiking one. Whether the complete gradient of the relaxed neuron trains it better is a
#   question for experiments; the first is {doc}`04_one_neuron`.
#
# ## Exercises
#
# **1.** Move the target spike of {numref}`by-hand` from $t = 1$ to $t = 2$. Which rows change? Compute $\alpha[1]$ and
# both $\delta[1]$. Do their signs still differ?
#
# :::{admonition} Solution
# :class: dropdown
#
# $I$, $U$, $S$, $a$, $h$ and the factors do not depend on the target and stay; $g_A$, $\alpha$ and $\delta$ change.
# Now $\alpha[1]$ = {glue:text}`moved-alpha:.4f`, $\delta_\text{full}[1]$ = {glue:text}`moved-full:.4f` and
# $\delta_\text{leak}[1]$ = {glue:text}`moved-leak:.4f`. Both are positive, because the spike at $t = 1$ is itself an error
# now; the reset term only makes the gradient smaller.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
target = torch.tensor([0, 0, 1, 0], dtype=torch.float64)
for name in delta:
    current = torch.tensor(I, requires_grad=True)
    psc = tsbp.reference_lif(current, gradient=name, **neuron).psc
    tsbp.van_rossum_distance(psc, target, tau_s).backward()
    figures.note(f"moved-{name}", current.grad[1])
error = a - tsbp.filter_spikes(target, tau_s).numpy()
moved_alpha = sum((1 - 1 / tau_s) ** k * error[1 + k] for k in range(3))
figures.note("moved-alpha", moved_alpha)
print(f"α[1] = {moved_alpha:.4f}, δ[1] of leak = {current.grad[1]:.4f}")

# %% [markdown]
# **2.** How many steps back does the error travel along the membrane before it has halved, if the potential is far below
# the threshold ($U \approx 0$)? And just below the threshold, for `full` and for `leak`?
#
# :::{admonition} Solution
# :class: dropdown
#
# At $U = 0$ there is no spike and no reset term, so both gradients keep the share $1 - 1/\tau_m$ a step. The error halves
# in $\ln 2 / \ln \frac{\tau_m}{\tau_m - 1}$ = {glue:text}`half-rest:.1f` steps. Just below the threshold nothing changes
# for `leak`. `full` keeps {glue:text}`factor-full:.3f` a step and halves the error in {glue:text}`half-full:.1f` steps.
# The reset term shortens the memory of a neuron that is about to fire.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
silent = torch.zeros(11, dtype=torch.float64, requires_grad=True)
constants = neuron | {"tau_s": 1.0}  # the current has no memory: membrane alone
tsbp.reference_lif(silent, **constants).psc[-1].backward()
kept = silent.grad[0] / silent.grad[-1]  # over ten steps
assert np.isclose(kept, (1 - 1 / tau_m) ** 10)
near = 1 - threshold * surrogate_derivative(torch.zeros(()), temperature).item()
figures.note("half-rest", np.log(0.5) / np.log(1 - 1 / tau_m))
figures.note("half-full", np.log(0.5) / np.log(abs((1 - 1 / tau_m) * near)))
print(f"share kept over ten steps at rest: {kept:.3f}")

# %% [markdown]
# **3.** Many libraries reset by subtraction: the membrane keeps $U - \vartheta\,S$ instead of $U\,(1 - S)$, before the leak.
# Derive the factor. How does it compare with that of `full` just below and above the threshold?
#
# :::{admonition} Solution
# :class: dropdown
#
# $\frac{\partial}{\partial U}\,[U - \vartheta\,H(U - \vartheta)] = 1 - \vartheta\,h(U)$. Just below the threshold
# $U \approx \vartheta$, and this equals $1 - U h$, the factor of `full`. Above it the leak path stays open, because a spike
# leaves $U - \vartheta$ in the membrane: the factor is $1 - \vartheta h$ instead of $-U h$.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
potential = sympy.Symbol("U", real=True)
left = sympy.diff(potential - theta * H(potential - theta), potential)
assert left == 1 - theta * sympy.diff(H(potential - theta), potential)

inputs = 0.6 * torch.randn(time_steps, dtype=torch.float64) + 0.3
found = []
for implementation in (tsbp.lif, tsbp.reference_lif):
    current = inputs.clone().requires_grad_()
    implementation(current, reset="subtract", **neuron).psc.sum().backward()
    found.append(current.grad)
assert torch.allclose(*found, rtol=0, atol=1e-12)
left

# %% [markdown]
# **4.** Write a gradient that keeps the reset term and drops the leak path. How far is it from the true gradient in the
# last network of {numref}`errors`?
#
# :::{admonition} Solution
# :class: dropdown
#
# The factor is $-U h$, and a function is all that is needed: `gradient=lambda U, S, h: -U * h`. The relative error is
# {glue:text}`own-error:.2f` and the cosine {glue:text}`own-cosine:.2f`; for `leak` they are
# {glue:text}`last-error-leak:.2f` and {glue:text}`last-cosine-leak:.2f` in this network.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the code of exercise 4", "code_prompt_hide": "Hide the code of exercise 4"}
own = tsbp.SpikingNetwork.from_spec(
    "10", gradient=lambda U, S, h: -U * h, **settings
).double()
own.load_state_dict(drawn)
loss = tsbp.van_rossum_distance(own(frames), target_spikes, tau_s).sum()
by_hand["reset term only"] = flat_gradient(loss, own.parameters())
last = tables.error_table(by_hand, by_hand["full"])
figures.note("own-error", last["relative error"]["reset term only"])
figures.note("own-cosine", last["cosine"]["reset term only"])
figures.note("last-error-leak", last["relative error"]["leak"])
figures.note("last-cosine-leak", last["cosine"]["leak"])
print(last.round(2))

# %% [markdown]
# ## Further reading
#
# - {cite}`werbos1990`: back-propagation through time, by one of its inventors.
# - {cite}`neftci2019`: an introduction to surrogate gradients.
# - {cite}`zenke2021`: which properties of a surrogate matter, with and without the gradient through the reset.
# - {cite}`gygax2025`: what surrogate gradients are, given that they are not the gradient of the spiking loss.
