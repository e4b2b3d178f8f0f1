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
# This chapter derives the gradient of the loss step by step (the paper's equations 6 to 10 {cite}`yang2020`) and shows
# the code that computes it. SymPy checks the derivation. Autograd and finite differences check the code. Two of the
# three gradients in this book omit a part of the derivative, and the last check must tell them from the complete one.
#
# You need {doc}`01_neuron` and the chain rule. After this chapter you can run the backward pass of a few steps by hand,
# find its equations in the package, and add a gradient of your own.

# %%
import inspect
import itertools
import re
import textwrap

import pandas as pd
import sympy
import torch
from IPython.display import Markdown

import tsbp
from tsbp import equations, gradients
from tsbp.networks import finite_differences
from tsbp.study import figures
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
# L = \sum_{t} \tfrac12 \bigl( (\epsilon * d)[t] - (\epsilon * S)[t] \bigr)^2
#   = \sum_{t} \tfrac12 \bigl( a_\text{target}[t] - a[t] \bigr)^2
# $$ (loss)
#
# Two trains that differ by one step are closer in this distance than two that differ by ten:

# %%
target = torch.zeros(30, dtype=torch.float64)
target[10] = 1
shifts = (0, 1, 2, 5, 10)
distances = [
    tsbp.van_rossum_distance(
        tsbp.filter_spikes(target.roll(shift), tau_s), target, tau_s
    ).item()
    for shift in shifts
]
pd.DataFrame({"spike later by": shifts, "distance": distances}).style.hide()

# %% [markdown]
# ## Backwards through time
#
# $U[t]$ acts on the loss in two ways: through the current $a[t]$ of its own step, and through the potential $U[t+1]$ of
# the next (right side of {numref}`compute-graphs`). Hence (paper, eq. 7)
#
# $$
# \frac{\partial L}{\partial U[t]}
# = \underbrace{\frac{\partial L}{\partial a[t]}\,\frac{\partial a[t]}{\partial U[t]}}_{\text{spatial}}
# + \underbrace{\frac{\partial L}{\partial U[t+1]}\,\frac{\partial U[t+1]}{\partial U[t]}}_{\text{temporal}}.
# $$ (chain)
#
# Each of these derivatives has a short name. $\delta[t]$ stands for $\partial L/\partial U[t]$. $\alpha[t]$ stands for
# $\partial L/\partial a[t]$, the total derivative: $a[t]$ also enters $a[t+1]$, so $\alpha$ obeys a recursion of its
# own. With $g_A[t]$ for the gradient that arrives at $a[t]$ from the loss or from the next layer,
#
# $$
# \alpha[t] = g_A[t] + \left(1 - \frac1{\tau_s}\right) \alpha[t+1].
# $$ (alpha)
#
# For the loss {eq}`loss`, $g_A[t] = a[t] - a_\text{target}[t]$. By {eq}`synapse`, a spike changes its own step's
# current by $1/\tau_s$, so that $\partial a[t]/\partial U[t] = h[t]/\tau_s$, where $h$ is the derivative of the spike,
# which is the subject of {eq}`surrogate` below. What remains is the temporal factor $\partial U[t+1]/\partial U[t]$.
#
# ## The reset term
#
# How does $U[t+1]$ depend on $U[t]$? SymPy differentiates {eq}`substituted` with $H$ an unknown function:

# %%
U, theta, tau, current = sympy.symbols("U vartheta tau_m I", real=True)
H = sympy.Function("H")
next_potential = (1 - 1 / tau) * U * (1 - H(U - theta)) + current
derivative = sympy.diff(next_potential, U).doit()
derivative

# %% [markdown]
# This is the product rule (paper, eq. 8):
#
# $$
# \frac{\partial U[t+1]}{\partial U[t]}
# = \left(1 - \frac1{\tau_m}\right) \Bigl\{ \bigl[1 - H(U[t] - \vartheta)\bigr]
# - U[t]\, H'(U[t] - \vartheta) \Bigr\}
# $$ (reset-term)
#
# The first part in braces is the **leak** path: what stays in the membrane. The second part is the **reset term**: a
# slightly higher potential makes a spike more likely, and a spike empties the membrane. (Where the product rule gives
# $U$, the paper prints $U/\partial U$.)
#
# The three gradients of this book differ in the factor in braces, and in nothing else; the forward pass is always the
# same. With $S$ for the spike and $h$ for its derivative:
#
# | name | factor | who computes this |
# | --- | --- | --- |
# | `full` | $1 - S - U h$ | the paper "with the reset term"; autograd, unless the reset is detached |
# | `leak` | $1 - S$ | autograd with the reset detached, as in snnTorch {cite}`eshraghian2023`; one reading of the paper's "without" |
# | `spatial` | $0$ | no gradient through time along the membrane, as in SLTT {cite}`meng2023`; the other reading |
#
# This is all that the package needs to know of a gradient. The factors stand in `tsbp/gradients.py`, one line each:

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
# `tsbp.lif(current, gradient="leak")` chooses a factor by name. A function of your own does as well, and
# `tsbp.scaled(c)` weights the reset term by a number, $1 - S - c\,U h$.
#
# ## The surrogate derivative
#
# $H'$ is zero everywhere except at the threshold, where it is infinite. A *surrogate* replaces it by a smooth bump
# around the threshold. The paper takes the derivative of a logistic function whose width is the temperature $\Theta$
# (paper, eq. 9 and 10, where it is called $T$); the section {ref}`other-surrogates` has more.
#
# $$
# H'(U - \vartheta) \approx h(U) = \frac1\Theta\,\sigma\!\left(\frac{U-\vartheta}{\Theta}\right)
# \left[1 - \sigma\!\left(\frac{U-\vartheta}{\Theta}\right)\right]
# $$ (surrogate)

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
# two time steps, leak included. Just below the threshold it is {glue:text}`factor-leak:.3f` for `leak` and
# {glue:text}`factor-full:.3f` for `full`. Above the threshold `leak` passes nothing back, whereas `full` passes the
# error back with its sign reversed.
# ```
#
# ## The backward pass
#
# Put together, with $g_S[t]$ for a gradient that reaches the spikes directly, the backward pass is one loop from the
# last step to the first. It starts from $\alpha[T] = \delta[T] = 0$, because nothing follows the last step.
#
# $$
# \begin{aligned}
# \delta[t] &= \left( \frac{\alpha[t]}{\tau_s} + g_S[t] \right) h[t] \\
# &\quad + \delta[t+1] \left(1 - \frac1{\tau_m}\right) \bigl( 1 - S[t] - U[t]\,h[t] \bigr), \\
# \frac{\partial L}{\partial I[t]} &= \delta[t]
# \end{aligned}
# $$ (delta)
#
# The input current is $I = W a_\text{in}$, with $a_\text{in}$ the postsynaptic currents of the layer before. The
# weights therefore collect $\delta$ over time, and the layer before receives it through the same weights:
#
# $$
# \frac{\partial L}{\partial W} = \sum_t \delta[t]\, a_\text{in}[t]^\top,
# \qquad
# \frac{\partial L}{\partial a_\text{in}[t]} = W^\top \delta[t]
# $$ (weights)
#
# The latter is $g_A[t]$ of the layer before. Both are ordinary matrix products, and PyTorch computes them; `tsbp.lif`
# computes $\delta$.
#
# ### Four steps by hand
#
# The four steps of {doc}`01_neuron`, with a target that fires at $t = 2$. The loop is {eq}`alpha` and {eq}`delta` as
# they stand:

# %%
current = torch.tensor([0.9, 0.9, 0.2, 1.5], dtype=torch.float64)
target = torch.tensor([0, 0, 1, 0], dtype=torch.float64)
out = tsbp.lif(current.requires_grad_(), **neuron)

g_A = out.psc.detach() - tsbp.filter_spikes(target, tau_s)
h = surrogate_derivative(out.potential - threshold, temperature)
factor = tsbp.GRADIENTS["full"](out.potential, out.spikes.detach(), h)
alpha, delta = torch.zeros(2, 5, dtype=torch.float64)
for t in (3, 2, 1, 0):
    alpha[t] = g_A[t] + (1 - 1 / tau_s) * alpha[t + 1]
    delta[t] = alpha[t] / tau_s * h[t] + delta[t + 1] * (1 - 1 / tau_m) * factor[t]

loss = tsbp.van_rossum_distance(out.psc, target, tau_s)
loss.backward()
assert torch.allclose(current.grad, delta[:4], rtol=0, atol=1e-12)

# %% tags=["hide-input"]
hand = {"U": out.potential, "S": out.spikes.detach(), "h": h, "g_A": g_A}
hand |= {"α": alpha[:4], "factor": factor, "δ": delta[:4]}
hand = pd.DataFrame(hand).rename_axis("t").reset_index()
hand.style.hide().format("{:.4g}")

# %% [markdown]
# The $\delta$ of this loop is the gradient that `tsbp.lif` passes to its input. In the package the loop is
# `Neuron.backward` in `tsbp/equations.py`. There `factor_at` calls the factor of the chosen gradient, `leak_m` is
# $1 - 1/\tau_m$, and `later` is what $a[t]$ receives from the steps after it. The loop also handles gradients that are
# absent, a state after the last step, and recurrent weights:

# %% tags=["remove-input"]
source = textwrap.dedent(inspect.getsource(equations.Neuron.backward))
source = re.sub('    """.+?"""\n', "", source, count=1, flags=re.DOTALL)
Markdown(f"```python\n{source}```")

# %% [markdown]
# ## Test 1: autograd
#
# `tsbp.reference_lif` writes {eq}`membrane` to {eq}`synapse` as plain PyTorch and leaves the derivative to autograd. It
# does not use the factors: it chooses a gradient by detaching a node of the graph. In float64 both must agree to
# rounding error, whatever the constants.

# %%
sizes = (1, 5, 50) if profile == "quick" else (1, 2, 5, 20, 100)
rows = []
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
    rows.append((name, worst))
    assert worst < 1e-10
pd.DataFrame(
    rows, columns=["gradient", "largest relative difference"]
).style.hide().format({"largest relative difference": "{:.1e}"})

# %% [markdown]
# ## Test 2: finite differences
#
# Agreement with autograd shows that the recursion is the derivative of *something*. Is it the derivative of the neuron?
# The spiking neuron cannot answer this, because its loss is flat almost everywhere. The **relaxed** neuron can: it
# fires $\sigma$ (paper, eq. 9) in the forward pass too. Its loss is smooth, its true gradient can be measured by
# changing each weight a little, and a correct backward pass has to reproduce it.
#
# The network below has two layers, so that the gradient passes through space and through time.

# %%
frames = torch.rand(time_steps, 1, 1, 1, 12, dtype=torch.float64)
target_spikes = (torch.rand(time_steps, 1, 3) < 0.3).double()
networks = {
    name: tsbp.SpikingNetwork.from_spec(
        "10",
        in_shape=(1, 1, 12),
        n_classes=3,
        time_steps=time_steps,
        gradient=name,
        relaxed=True,
        **neuron,
    ).double()
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
    parts = torch.autograd.grad(loss, list(network.parameters()))
    by_hand[name] = torch.cat([part.flatten() for part in parts])

errors = {
    name: ((g - differences).norm() / differences.norm()).item()
    for name, g in by_hand.items()
}
cosines = {
    name: torch.cosine_similarity(g, differences, dim=0).item()
    for name, g in by_hand.items()
}
assert errors["full"] < 1e-6 < 1e-2 < min(errors["leak"], errors["spatial"])
beside = pd.DataFrame({"relative error": errors, "cosine": cosines})
beside["length / true length"] = {
    name: (g.norm() / differences.norm()).item() for name, g in by_hand.items()
}
beside.rename_axis("gradient").reset_index().style.hide().format(
    {
        "relative error": "{:.2g}",
        "cosine": "{:.4f}",
        "length / true length": "{:.2f}",
    }
)

# %% tags=["hide-input", "remove-output"]
figures.show(
    "differences-figure", figures.against_differences(differences, by_hand)
)
for name, error in errors.items():
    figures.note(f"error-{name}", error)
    figures.note(f"cosine-{name}", cosines[name])
    figures.note(f"length-{name}", beside.loc[name, "length / true length"])

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
# A relative error of 1 is what a gradient of zero would have. That of `leak` is a matter of length more than of
# direction: its cosine with the true gradient is {glue:text}`cosine-leak:.2f`, but it is {glue:text}`length-leak:.1f`
# times as long. For positive potentials the reset term lowers the factor, so that dropping it carries more of the error
# back in time. In gradient descent, a longer gradient acts like a higher learning rate; {doc}`03_one_neuron` compares
# the lengths during training.
#
# (other-surrogates)=
# ## Other surrogates
#
# The logistic function is one choice among many. `tsbp.lif(..., surrogate=...)` takes six kernels $k$, each a bump of
# area 1 around zero. There are two ways to scale them to the width $\Theta$:
#
# $$
# h_\text{area}(U) = \frac1\Theta\, k\!\left(\frac{U-\vartheta}{\Theta}\right),
# \qquad
# h_\text{peak}(U) = \frac1{k(0)}\, k\!\left(\frac{U-\vartheta}{\Theta}\right)
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
# Height and full width at half maximum of the kernels, and $c = \Theta/k(0)$, which the next section explains:

# %% tags=["hide-input"]
kernels.style.hide().format(
    {"k(0)": "{:.3f}", "width / Θ": "{:.2f}", "c": "{:.3f}"}
)

# %% [markdown]
# ### What the scale changes
#
# By {eq}`scales` the two scales differ by a constant: $h_\text{peak} = c\,h_\text{area}$ with $c = \Theta/k(0)$. Insert
# $h_\text{peak}$ into {eq}`delta`, with the factor of `full`, and write $\delta = c\,\hat\delta$. Every term then has
# the factor $c$, and dividing by it leaves
#
# $$
# \begin{aligned}
# \hat\delta[t] &= \left( \frac{\alpha[t]}{\tau_s} + g_S[t] \right) h_\text{area}[t] \\
# &\quad + \hat\delta[t+1] \left(1 - \frac1{\tau_m}\right) \bigl( 1 - S[t] - c\,U[t]\,h_\text{area}[t] \bigr)
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
columns = ["surrogate", "c", "weights of layer 2: error", "input of layer 1: error"]
pd.DataFrame(rows, columns=columns).style.hide().format(
    {columns[1]: "{:.3f}", columns[2]: "{:.1e}", columns[3]: "{:.1e}"}
)

# %% [markdown]
# An optimiser that is blind to the length of the gradient, as Adam is without clipping, divides the constants out. For
# it, the scale matters through $c$ alone, and not at all for `leak` and `spatial`. Plain gradient descent takes longer
# or shorter steps as well. With recurrent weights, $\alpha[t]$ contains $\delta[t+1]$, and $c$ weights this path too.
#
# The sigmoid has $c = 1$ at $\Theta = k(0)$ = {glue:text}`sigmoid-peak`, where the two scales are the same; at this
# page's $\Theta$ = {glue:text}`temperature`, $c$ = {glue:text}`sigmoid-c:.2f`. The narrower the surrogate, the smaller
# $c$: scale `peak` weakens the reset term of a narrow surrogate, and scale `area` does not. Zenke and Vogels
# {cite}`zenke2021` tried both scales with and without the reset term; {doc}`07_other_methods` has their result.
#
# ## What this shows, and what it does not
#
# The reset term belongs to the gradient. Without it, backpropagation does not compute the derivative of the relaxed
# neuron. In this the paper is right. But the neuron that runs is the spiking one. Whether the complete gradient of the
# relaxed model trains the spiking model better than an incomplete gradient does is a question for experiments; the
# first is {doc}`03_one_neuron`.
