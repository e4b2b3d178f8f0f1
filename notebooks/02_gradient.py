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
# This chapter derives the gradient of the loss step by step (the paper's equations 6 to 10 {cite}`yang2020`), has SymPy
# derive its heart once more, and then puts the code to two tests: against autograd, and against finite differences,
# where the two gradients that leave something out must fail.

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; full checks more random networks
seed: int = 0  # decides the random inputs and weights
tau_m: float = 6.0  # membrane time constant in time steps
tau_s: float = 2.0  # synaptic time constant in time steps
threshold: float = 1.0  # potential above which the neuron fires
temperature: float = 0.3  # width of the surrogate derivative
time_steps: int = 20  # length of the simulations in the checks

# %% tags=["remove-cell"]
import itertools

import pandas as pd
import sympy
import torch

import tsbp
from tsbp import figures
from tsbp.networks import finite_differences

figures.use_style()
torch.manual_seed(seed)
neuron = dict(
    tau_m=tau_m, tau_s=tau_s, threshold=threshold, temperature=temperature
)

# %% [markdown]
# ## The loss
#
# The output should be a given spike train $d$. Both trains are passed through the synaptic filter of {eq}`synapse`,
# written $\epsilon *$, and the squared difference is summed over time: the van Rossum distance {cite}`vanrossum2001`
# (paper, eq. 6).
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
# Here $\partial L/\partial a[t]$ is the total derivative: $a[t]$ enters $a[t+1]$ too, so it obeys a recursion of its
# own. With $\alpha[t]$ for it, $\delta[t]$ for $\partial L/\partial U[t]$, and $g_A[t]$ for what arrives at $a[t]$ from
# the layers above,
#
# $$
# \alpha[t] = g_A[t] + \left(1 - \frac1{\tau_s}\right) \alpha[t+1].
# $$ (alpha)
#
# For the loss {eq}`loss`, $g_A[t] = a[t] - a_\text{target}[t]$.
#
# ## The term in question
#
# How does $U[t+1]$ depend on $U[t]$? SymPy takes {eq}`substituted` as it stands, with $H$ an unknown function:

# %%
U, theta, tau, current = sympy.symbols("U vartheta tau_m I", real=True)
H = sympy.Function("H")
next_potential = (1 - 1 / tau) * U * (1 - H(U - theta)) + current
derivative = sympy.diff(next_potential, U).doit()
derivative

# %% [markdown]
# By the product rule (paper, eq. 8),
#
# $$
# \frac{\partial U[t+1]}{\partial U[t]}
# = \left(1 - \frac1{\tau_m}\right) \Bigl\{ \bigl[1 - H(U[t] - \vartheta)\bigr]
# - U[t]\, H'(U[t] - \vartheta) \Bigr\},
# $$ (reset-term)
#
# and SymPy agrees:

# %%
x = sympy.Symbol("x")
slope = sympy.Subs(sympy.Derivative(H(x), x), x, U - theta)
by_hand = (1 - 1 / tau) * ((1 - H(U - theta)) - U * slope)
assert sympy.simplify((derivative - by_hand).doit()) == 0

# %% [markdown]
# The first part is the **leak**: what stays in the membrane. The second is the **reset term**: a slightly higher
# potential makes a spike, and so an empty membrane, more likely. (In the paper's print the second part is multiplied by
# $U/\partial U$ where the product rule gives $U$.)
#
# $H'$ is zero everywhere but at the threshold, where it is infinite. As everybody does, the paper replaces it by the
# derivative of a logistic function whose width is the temperature $\Theta$ (paper, eq. 9 and 10, where it is called
# $T$):
#
# $$
# H'(U - \vartheta) \approx h(U) = \frac1\Theta\,\sigma\!\left(\frac{U-\vartheta}{\Theta}\right)
# \left[1 - \sigma\!\left(\frac{U-\vartheta}{\Theta}\right)\right]
# $$ (surrogate)

# %%
width = sympy.Symbol("Theta", positive=True)
sigma = 1 / (1 + sympy.exp(-(U - theta) / width))
assert sympy.simplify(sympy.diff(sigma, U) - sigma * (1 - sigma) / width) == 0

# %% [markdown]
# Put together, with $g_S[t]$ for a gradient that reaches the spikes directly, the backward pass is one loop from the
# last step to the first. This is what `tsbp.lif` does:
#
# $$
# \begin{aligned}
# \delta[t] &= \left( \frac{\alpha[t]}{\tau_s} + g_S[t] \right) h[t]
# + \delta[t+1] \left(1 - \frac1{\tau_m}\right) \bigl( 1 - S[t] - U[t]\,h[t] \bigr), \\
# \frac{\partial L}{\partial I[t]} &= \delta[t].
# \end{aligned}
# $$ (delta)
#
# Three gradients are compared throughout the book. They differ in the factor that carries $\delta[t+1]$ to $\delta[t]$,
# and in nothing else; the forward pass is always the same.
#
# | name | factor | who computes this |
# | --- | --- | --- |
# | `full` | $(1 - \frac1{\tau_m})(1 - S - U h)$ | the paper "with the reset term"; autograd through an undetached reset |
# | `leak` | $(1 - \frac1{\tau_m})(1 - S)$ | the paper "without" it; the reset detached, as in snnTorch {cite}`eshraghian2023` |
# | `spatial` | $0$ | no gradient through time along the membrane, as in SLTT {cite}`meng2023` |

# %% tags=["hide-input", "remove-output"]
figures.show("surrogate-figure", figures.surrogate(threshold, temperature, tau_m))
leak = 1 - 1 / tau_m
figures.note(
    "factor-at-threshold",
    -leak * (threshold / (4 * temperature) - 1),
)
figures.note("leak-factor", leak)

# %% [markdown]
# ```{glue:figure} surrogate-figure
# :name: surrogate-derivative
# :alt: Left, the step function, the logistic function and its derivative. Right, the temporal factor of three gradients.
#
# The reset term acts near the threshold only. Left: the spike and its surrogate derivative. Right: the factor between
# two time steps. Just below the threshold it is {glue:text}`leak-factor:.3f` for `leak` and
# {glue:text}`factor-at-threshold:.3f` for `full`; above it, `leak` forgets the future entirely, whereas `full` carries
# it over with a negative sign.
# ```
#
# ## Test 1: autograd
#
# `tsbp.reference_lif` writes {eq}`membrane` to {eq}`synapse` as plain PyTorch and leaves the derivative to autograd; a
# gradient is chosen by detaching a node of the graph. `tsbp.lif` has the recursion {eq}`delta` written by hand. In
# float64 they must agree to rounding error, whatever the constants.

# %%
sizes = (1, 5, 50) if profile == "quick" else (1, 2, 5, 20, 100)
rows = []
for name, gradient in tsbp.GRADIENTS.items():
    worst = 0.0
    for T, tm, ts, th, temp in itertools.product(
        sizes, (1.0, 6.0, 20.0), (1.0, 2.0), (0.5, 1.0), (0.05, 0.3, 2.0)
    ):
        current = 0.6 * torch.randn(T, 32, dtype=torch.float64) + 0.3
        current.requires_grad_()
        weight_psc, weight_spikes = torch.randn(2, T, 32, dtype=torch.float64)
        found = []
        for implementation in (tsbp.lif, tsbp.reference_lif):
            constants = dict(tau_m=tm, tau_s=ts, threshold=th, temperature=temp)
            out = implementation(current, **constants, **gradient)
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
# That cannot be asked of the spiking neuron, whose loss is flat almost everywhere. It can be asked of the **relaxed**
# one, which fires $\sigma$ (paper, eq. 9) in the forward pass too. There the loss is smooth, its true gradient can be
# measured by changing each weight a little, and a correct backward pass has to reproduce it.
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
        relaxed=True,
        **neuron,
        **gradient,
    ).double()
    for name, gradient in tsbp.GRADIENTS.items()
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
gradients = {}
for name, network in networks.items():
    loss = tsbp.van_rossum_distance(network(frames), target_spikes, tau_s).sum()
    parts = torch.autograd.grad(loss, list(network.parameters()))
    gradients[name] = torch.cat([part.flatten() for part in parts])

errors = {
    name: ((g - differences).norm() / differences.norm()).item()
    for name, g in gradients.items()
}
cosines = {
    name: torch.cosine_similarity(g, differences, dim=0).item()
    for name, g in gradients.items()
}
assert errors["full"] < 1e-6 < 1e-2 < min(errors["leak"], errors["spatial"])
beside = pd.DataFrame({"relative error": errors, "cosine": cosines})
beside.rename_axis("gradient").reset_index().style.hide().format(
    {"relative error": "{:.2g}", "cosine": "{:.4f}"}
)

# %% tags=["hide-input", "remove-output"]
figures.show(
    "differences-figure", figures.against_differences(differences, gradients)
)
for name, error in errors.items():
    figures.note(f"error-{name}", error)
    figures.note(f"cosine-{name}", cosines[name])

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
# ## What this says, and what it does not
#
# The reset term belongs to the gradient: without it, backpropagation does not compute the derivative of the smoothed
# neuron it claims to differentiate. In this the paper is right. Yet the smoothed neuron is not the neuron that runs.
# Whether the complete gradient of the wrong model trains the right one better than an incomplete gradient does is a
# question for experiments: the first is {doc}`03_one_neuron`.
