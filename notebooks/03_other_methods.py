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
# # How others treat the reset
#
# The paper {cite}`yang2020` says of earlier work that "they omitted the temporal dependency introduced by the reset
# mechanism". It names SLAYER, STBP, SuperSpike and ANTLR, and writes of the reset term:
#
# > The red colored term is missed in all previous works.
#
# This chapter checks the claim twice: in the code of learning rules and libraries, and by running the libraries.
#
# :::{admonition} About this chapter
# - **For** readers who use a library of spiking networks, and for those who judge the paper's claim of novelty.
# - **Needed:** the three gradients of {doc}`02_gradient`.
# - **Afterwards** you can find out which gradient a piece of code computes, switch the reset term on and off in the
#   common libraries, and say who had it first.
# :::

# %%
import sympy
import torch

import tsbp
from tsbp.peers import comparison, libraries, questions, survey
from tsbp.peers.agreement import AgreementConfig
from tsbp.peers.libraries import TEMPERATURE
from tsbp.runs import records
from tsbp.study import display, figures, tables
from tsbp.surrogate import surrogate_spike

# %% tags=["remove-cell"]
figures.use_style()
for treatment in survey.TREATMENTS:
    names = survey.named(treatment)
    figures.note(f"n-{treatment}", len(names))
    figures.note(f"names-{treatment}", ", ".join(names))
figures.note("n-methods", len(survey.METHODS))
named = ("SLAYER", "STBP", "SuperSpike", "ANTLR")
without = [name for name in named if name not in survey.named("kept")]
assert without == ["SLAYER", "SuperSpike", "ANTLR"]

# %% [markdown]
# ## What a backward pass can do
#
# A spike changes the next potential. The backward pass can treat this in four ways, which differ in the factor that
# carries the error from $U[t+1]$ to $U[t]$. Two resets are common: to zero, as in {eq}`membrane`, and by subtraction,
# where a spike takes the threshold $\vartheta$ away. $h$ is the surrogate derivative {eq}`surrogate`.
#
# :::{table} There is no common practice: {glue:text}`n-methods` neurons by what their backward pass does with the reset.
# :name: treatments
#
# | the reset is | factor, reset to zero | factor, subtractive | neurons |
# | --- | --- | --- | --- |
# | differentiated (`full`) | $(1 - \frac1{\tau_m})(1 - S - U h)$ | $(1 - \frac1{\tau_m})(1 - \vartheta h)$ | {glue:text}`n-kept` |
# | detached (`leak`) | $(1 - \frac1{\tau_m})(1 - S)$ | $1 - \frac1{\tau_m}$ | {glue:text}`n-detached` |
# | ignored | $1 - \frac1{\tau_m}$ | $1 - \frac1{\tau_m}$ | {glue:text}`n-ignored` |
# | cut (`spatial`) | $0$ | $0$ | {glue:text}`n-cut` |
# | treated by another rule | – | – | {glue:text}`n-own` |
# :::
#
# - *Differentiated*: autograd goes through the reset, or a hand-written rule does ({glue:text}`names-kept`).
# - *Detached*: the spike is treated as a constant. The error stops where a spike emptied the potential
#   ({glue:text}`names-detached`).
# - *Ignored*: the error passes even where a spike emptied the potential ({glue:text}`names-ignored`). With a
#   subtractive reset, detached and ignored are the same.
# - *Cut*: nothing flows along the membrane ({glue:text}`names-cut`).
# - *Another rule*: {glue:text}`names-own`.
#
# ## What their code does
#
# {numref}`treatments` counts every neuron with its default settings, as read in published source code. The
# {ref}`appendix <every-neuron-read>` links to each file.
#
# **The term was not new.** Of the four methods that the paper names, three leave it out, but the code of STBP has
# differentiated the reset since [November
# 2018](https://github.com/yjwu17/STBP-for-training-SpikingNN/blob/9661866/spiking_model.py). When the paper appeared in
# November 2020, at least two libraries had the term: Norse, in its recurrent neuron
# [too](https://github.com/norse/norse/blob/5c0fa44/norse/torch/functional/lif.py), and SpikingJelly, where detaching
# the reset had become [an option](https://github.com/fangwei123456/spikingjelly/commit/73f94ab) in September.
#
# ## Checked by running
#
# Reading code can go wrong, so the libraries that can be installed were run as well: the same neuron, the same random
# currents, the same gradient at the spikes. Their spikes have to equal those of `tsbp`. Then their gradient at the
# currents is compared with each of ours.

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; this chapter is the same in both
seed: int = 0  # decides the random currents of the exercises
tau_m: float = 6.0  # membrane time constant in the exercises
temperature: float = 0.3  # width of the surrogate derivative in the exercises

# %%
agreement = records.recorded(AgreementConfig())
computed = tables.computed_table(agreement)

# %% tags=["remove-cell"]
shown = computed.drop(columns="neurons")
figures.show("computed-table", tables.show(shown, "reset", "gradient"))
distances = agreement["distances"]
found = [distance for row in distances.values() for distance in row.values()]
figures.note("largest-same", f"{max(x for x in found if x < tables.SAME):.0e}")
figures.note("smallest-other", min(x for x in found if x >= tables.SAME))
figures.note("compared", len(distances))
figures.note("compared-neurons", agreement["neurons"])
figures.note("compared-steps", agreement["time_steps"])
ignored = distances["reset ignored, as in SLAYER"]
figures.note("ignored-leak", ignored["leak"])
figures.note("ignored-full", ignored["full"])
figures.note("leak-full", distances["SpikingJelly, detached"]["full"])

# %% [markdown]
# ```{glue:table} computed-table
# :name: computed
#
# Every setting that was run computes `full`, `leak` or `spatial`, or is far from all three. Its gradient's length over
# that of `full` with the same reset, the cosine between the two, and the factor by which the gradient changes with
# every step back in time; $n$ settings have the same gradient.
# ```
#
# Those that compute one of ours do so to within {glue:text}`largest-same` of its length, and are at least
# {glue:text}`smallest-other:.2f` away from the others ({numref}`distances`).
#
# - **Detaching and ignoring are different.** The paper counts both as missing its term. But with a reset to zero,
#   ignoring it gives none of our gradients: {glue:text}`ignored-leak:.2f` away from `leak`,
#   {glue:text}`ignored-full:.2f` from `full`. snnax computes this by default.
# - **The term is not small.** Without it the gradient is off by {glue:text}`leak-full:.2f` of its length. At these random
#   currents `leak` is about as long as `full`; in the networks of {doc}`02_gradient` it is about twice as long.
# - **With a subtractive reset the gradient fades faster with the reset term.** With a reset to zero the order depends
#   on the draw: `full` fades faster in {glue:text}`faster` of {glue:text}`draws` draws of currents, among them that of
#   {numref}`computed`. The factor is measured with a gradient that arrives at the last step alone.
# - **A setting can do more than it says.** In BrainPy's neuron without a refractory time, `detach_spk=True` detaches
#   the output together with the reset, and the gradient is zero.

# %% tags=["remove-cell"]
growth = agreement["growth"]
assert (
    growth["SpikingJelly, subtractive"]
    < growth["SpikingJelly, subtractive, detached"]
)
assert growth["SpikingJelly"] < growth["SpikingJelly, detached"]
autograd, draws = libraries.PEERS["plain autograd"], 40
faster = 0
for drawn_from in range(draws):
    drawn = (agreement["time_steps"], agreement["neurons"], drawn_from)
    _, ours = comparison.gradients(autograd, *drawn, last_alone=True)
    faster += comparison.growth(ours["full"]) < comparison.growth(ours["leak"])
assert 0 < faster < draws
figures.note("faster", faster)
figures.note("draws", draws)

# %% [markdown]
# ## What others found
#
# **Zenke and Vogels** {cite}`zenke2021` compared networks with and without a differentiable reset in a preprint of June
# 2020, before the paper. By the caption of their Fig. 5, learning is sensitive to whether the surrogate has a peak of
# one at any width or approaches the true derivative as it gets steeper. Asked why the SpyTorch tutorials detach the
# reset, the first author [answers](https://github.com/fzenke/spytorch/issues/2) that the gradient through it causes
# trouble when the surrogate is steep and not normalised: it has a negative sign, and drives the potential away from the
# threshold. {doc}`04_one_neuron` and {doc}`07_time` look at steep surrogates.
#
# **Bauer and colleagues** {cite}`bauer2023` report that SLAYER's gradient, which ignores the reset, needs its scale
# tuned by hand for each layer, and that the complete gradient does not.
#
# **Meng and colleagues** {cite}`meng2023` find that what flows along the membrane contributes little to the gradient.
# They cut it, which gives our `spatial`, and train well with less memory. In {doc}`05_data_sets`, `spatial` is as good
# as `full` on MNIST, and behind it on a reduced CIFAR-10 at one learning rate.
#
# **Gygax and Zenke** {cite}`gygax2025` show that in general a surrogate gradient is not the gradient of a surrogate
# loss. This limits the argument of {doc}`02_gradient`: `full` is the exact gradient of the relaxed neuron, but need not
# be the better one for the neuron that spikes. [Their own
# code](https://github.com/fmi-basel/surrogate-gradient-theory/blob/950927c/Classification/experiments/config_stork/config.yaml)
# for classification detaches the reset.
#
# ```{admonition} What was not read
# :class: note
# {numref}`treatments` rests on code alone. What is said of Zenke and Vogels rests on their abstract, the caption of
# their Fig. 5 and two answers of the first author on GitHub; what is said of the other three, on abstracts and code.
# ```
#
# ## Summary
#
# - Of {glue:text}`n-methods` neurons, {glue:text}`n-kept` differentiate the reset by default and
#   {glue:text}`n-detached` detach it. Check what your library does before you compare results.
# - "Missed in all previous works" is too strong: STBP, Norse and SpikingJelly, among others, had the term before the
#   paper.
# - Detaching the reset, ignoring it and cutting the path are three different gradients.
#
# ## Exercises
#
# **1.** A library updates the potential by `u = (1 - 1 / tau_m) * (u - u * s) + current[t]`. Where must `.detach()`
# stand so that autograd computes `leak`, the gradient of a reset that is ignored, and `spatial`?
#
# :::{admonition} Solution
# :class: dropdown
#
# On the spike for `leak`, on the product for the ignored reset, on the bracket for `spatial`:
#
# - `u - u * s.detach()`
# - `u - (u * s).detach()`
# - `(u - u * s).detach()`
#
# The second looks like the first, and is what snnax does. The check compares all of them with `tsbp.lif`; a reset that
# is ignored has the factor 1.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
carried = {
    "full": lambda u, s: u - u * s,
    "leak": lambda u, s: u - u * s.detach(),
    "ignored": lambda u, s: u - (u * s).detach(),
    "spatial": lambda u, s: (u - u * s).detach(),
}
factors = {**tsbp.GRADIENTS, "ignored": lambda U, S, h: torch.ones_like(h)}
random = torch.Generator().manual_seed(seed)
drawn = 0.4 + 0.7 * torch.randn(25, 200, dtype=torch.float64, generator=random)
current = drawn.requires_grad_()
settings = dict(tau_m=tau_m, threshold=1.0, temperature=temperature)
for name, keep in carried.items():
    u = s = torch.zeros(200, dtype=torch.float64)
    total = 0
    for t in range(25):
        u = (1 - 1 / tau_m) * keep(u, s) + current[t]
        s = surrogate_spike(u - 1, temperature)
        total = total + (t + 1) * s.sum()  # any loss that tells the steps apart
    theirs = torch.autograd.grad(total, current)[0]
    spikes = tsbp.lif(current, gradient=factors[name], **settings).spikes
    weights = torch.arange(1.0, 26.0, dtype=torch.float64)[:, None]
    ours = torch.autograd.grad((weights * spikes).sum(), current)[0]
    assert torch.allclose(theirs, ours, rtol=0, atol=1e-12)
    print(f"{name}: the same to {(theirs - ours).abs().max():.0e}")

# %% [markdown]
# **2.** In {numref}`computed` the factor a step of `leak` with a reset to zero is {glue:text}`growth-leak:.3f`, smaller
# than the {glue:text}`growth-ignored:.3f` of the ignored reset. There $\tau_m = 6$, and a share of
# {glue:text}`rate:.2f` of the neurons fires in a step. Explain both numbers.
#
# :::{admonition} Solution
# :class: dropdown
#
# With the reset ignored, the factor is the leak alone: $1 - 1/\tau_m$ with $\tau_m = 6$ in the comparison. For `leak`
# the error also stops in every neuron that spikes. If a share $r$ of the neurons spikes in a step, the squared length
# shrinks by $(1 - 1/\tau_m)^2 (1 - r)$. With the measured share the length shrinks by {glue:text}`growth-predicted:.2f`
# a step, close to what was measured.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
random = torch.Generator().manual_seed(agreement["seed"])
shape = (agreement["time_steps"], agreement["neurons"])
drawn = 0.4 + 0.7 * torch.randn(shape, dtype=torch.float64, generator=random)
rate = tsbp.lif(drawn, tau_m=6.0, temperature=TEMPERATURE).spikes.mean().item()
predicted = (1 - 1 / 6) * (1 - rate) ** 0.5
assert abs(growth["snnax"] - (1 - 1 / 6)) < 1e-12
assert abs(predicted / growth["SpikingJelly, detached"] - 1) < 0.05
figures.note("rate", rate)
figures.note("growth-predicted", predicted)
figures.note("growth-leak", growth["SpikingJelly, detached"])
figures.note("growth-ignored", growth["snnax"])
print(f"predicted {predicted:.3f}, recorded {growth['SpikingJelly, detached']:.3f}")

# %% [markdown]
# **3.** By default snnTorch subtracts the threshold *after* the leak:
#
# $$
# U[t+1] = \left(1 - \frac1{\tau_m}\right) U[t] + I[t+1] - \vartheta\,S[t]
# $$
#
# How much stronger is the reset term than if the threshold were subtracted before, as in {numref}`treatments`?
#
# :::{admonition} Solution
# :class: dropdown
#
# The derivative is $(1 - 1/\tau_m) - \vartheta h$. Divided by the leak this is $1 - c\,\vartheta h$ with
# $c = 1/(1 - 1/\tau_m)$ = {glue:text}`after-leak:.2f`. Since the term is not shrunk by the leak, it is stronger by this
# factor. The neuron is another one too: a spike takes more away.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
U, theta, tau, I = sympy.symbols("U vartheta tau_m I", real=True)
H = sympy.Function("H")
after = sympy.diff((1 - 1 / tau) * U + I - theta * H(U - theta), U)
before = sympy.diff((1 - 1 / tau) * (U - theta * H(U - theta)) + I, U)
leak = 1 - 1 / tau
c = sympy.simplify((after - leak) / (before - leak))
assert sympy.simplify(c - 1 / leak) == 0
figures.note("after-leak", float(c.subs(tau, tau_m)))
c

# %% [markdown]
# ## Further reading
#
# - {cite}`zenke2021`: an earlier study of the question, with networks.
# - {cite}`eshraghian2023`: a tutorial on training spiking networks, by the authors of snnTorch.
# - {cite}`gygax2025`: what surrogate gradients are, in theory.
#
# (every-neuron-read)=
# ## Appendix: every neuron read

# %% tags=["remove-input", "full-width"]
display.MarkdownTable(
    survey.table(),
    "methods",
    "What each neuron does with its reset by default, in order of publication; in brackets the commit or version.",
)

# %% [markdown]
# Some rows need explanation.
#
# - **SLAYER**: the refractory kernel changes the potential at which the surrogate is taken, and nothing else. EXODUS
#   adds its gradient {cite}`bauer2023`.
# - **SuperSpike** multiplies the surrogate by a trace of the *presynaptic* spikes, which the neuron's own reset does not
#   affect.
# - **TSSL-BP** treats the reset as an influence of one spike on the next, with a term of its own (*intra-neuron* in the
#   code). This is not the derivative of {eq}`substituted`.
# - **Norse**: feed-forward neurons differentiate the reset; the recurrent neuron detaches it today, and did not in
#   November 2020.
# - **adseq**, **Eventax** and **exact-event-adjoint** use no surrogate. They differentiate the time of a spike, and the
#   effect of the reset follows from that time. This is not the derivative of {eq}`substituted` either.
# - **snnax** subtracts `stop_gradient(mem_pot * spike_output)`, which stops the gradient for the potential as well as
#   for the spike.
# - **sinabs** differentiates its subtractive reset. Its [reset to
#   zero](https://github.com/synsense/sinabs/blob/904eb89/sinabs/activation/reset_mechanism.py) compares the spike with
#   a number, and a comparison has no derivative.
#
# ## Appendix: every neuron run

# %% tags=["remove-cell"]
columns = [
    "neuron",
    "computes",
    "from full",
    "from leak",
    "from spatial",
    "reset",
    "setting",
]
every = tables.agreement_table(agreement)[columns]
words = ("neuron", "computes", "reset", "setting")
figures.show("distances-table", tables.show(every, *words))
left_out = tables.left_out_table(agreement)
figures.show("left-out-table", tables.show(left_out, "library", "reason"))
titled = {library.package: library.title for library in libraries.LIBRARIES}
titled |= {"torch": "PyTorch", "jax": "JAX"}
versions = agreement["peer_versions"].items()
figures.note(
    "versions", ", ".join(f"{titled[name]} {found}" for name, found in versions)
)
single = [library.title for library in libraries.LIBRARIES if not library.float64]
figures.note("in-float32", ", ".join(single))

# %% [markdown]
# ```{glue:table} distances-table
# :name: distances
#
# Each of {glue:text}`compared` gradients equals one of ours up to rounding, or is far from all of them. Distances from
# ours as shares of the length of ours, for {glue:text}`compared-neurons` neurons over {glue:text}`compared-steps` steps.
# Records: {records}`agreement`.
# *Setting* is what decides on the gradient of the reset. Rounding errors are larger where a library computes in
# float32, at least in part ({glue:text}`in-float32`).
# ```
#
# The distances come from a record of `tsbp agreement` ({doc}`10_reproduce`), with {glue:text}`versions`. snnTorch is
# compared with its reset to zero, because its subtractive reset follows the leak (exercise 3).
#
# ```{glue:table} left-out-table
# :name: left-out
#
# Libraries that cannot express the neuron, and were read only.
# ```
#
# ## Appendix: what users ask
#
# The question comes up again and again in the public trackers of libraries.

# %% tags=["remove-input", "full-width"]
display.MarkdownTable(
    questions.table(),
    "user-questions",
    "What users ask about the gradient of the reset, and where this book answers; one thread could not be read.",
)
