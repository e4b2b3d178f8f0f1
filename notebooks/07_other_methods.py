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
# The paper writes that its term is missing from all earlier work, and names four methods {cite}`yang2020`. Is it? This
# chapter looks it up: first in the code of learning rules and libraries, read file by file, then by running those
# libraries that install.

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; this chapter is the same in both

# %% tags=["remove-cell"]
from IPython.display import Markdown

from tsbp.peers import libraries, questions, survey
from tsbp.peers.agreement import AgreementConfig
from tsbp.runs import records
from tsbp.study import figures, tables

figures.use_style()
for treatment in survey.TREATMENTS:
    names = survey.named(treatment)
    figures.note(f"n-{treatment}", len(names))
    figures.note(f"names-{treatment}", ", ".join(names))
figures.note("n-methods", len(survey.METHODS))

# %% [markdown]
# ## What a backward pass can do
#
# A spike changes the next potential. A backward pass has four ways to answer that. They differ in the factor that
# carries the error from $U[t+1]$ to $U[t]$, here for the two usual resets: to zero, as in {eq}`membrane`, and
# subtractive, where a spike takes the threshold away. $h$ is the surrogate derivative {eq}`surrogate`.
#
# | the reset is | factor, reset to zero | factor, subtractive | in this book |
# | --- | --- | --- | --- |
# | differentiated | $(1 - \frac1{\tau_m})(1 - S - U h)$ | $(1 - \frac1{\tau_m})(1 - \vartheta h)$ | `full` |
# | detached | $(1 - \frac1{\tau_m})(1 - S)$ | $1 - \frac1{\tau_m}$ | `leak` |
# | ignored | $1 - \frac1{\tau_m}$ | $1 - \frac1{\tau_m}$ | – |
# | cut | $0$ | $0$ | `spatial` |
#
# *Detached* takes the spike for a given number: the error stops where the potential was emptied, but nobody asks how
# the spike came about. *Ignored* means the backward pass of a neuron that has no reset: it lets the error through where
# nothing was left to carry it. With a subtractive reset the two are one. *Cut* has no path along the membrane at all.
#
# ## What they do
#
# Every row is the neuron as it comes, without options, and was read in the files that the last column links to, at the
# commit or version in brackets. For the methods that began as a paper this is the code that its authors published.
# There is no common practice: {glue:text}`n-kept` of {glue:text}`n-methods` differentiate the reset,
# {glue:text}`n-detached` detach it.

# %% tags=["hide-input", "full-width"]
Markdown(survey.table())

# %% [markdown]
# Some rows need a word more.
#
# - In **SLAYER** the refractory kernel changes the potential at which the surrogate is taken, and nothing else. That
#   its gradient leaves the reset out is also what the authors of EXODUS say, who put it in and found training more
#   stable {cite}`bauer2023`.
# - **SuperSpike** belongs to the same row by its nature: it multiplies the surrogate by a trace of the *presynaptic*
#   spikes, which the neuron's own reset cannot touch.
# - **TSSL-BP** differentiates at the spikes, by the slope of the potential. To it the reset is an influence of one
#   spike on the next, with a term of its own (*intra-neuron* in the code). This is not the derivative of
#   {eq}`substituted`.
# - **Norse** does both. Its feed-forward neurons differentiate the reset, its recurrent one detaches it. In
#   [November 2020](https://github.com/norse/norse/blob/5c0fa44/norse/torch/functional/lif.py) the recurrent one still
#   differentiated it too.
# - **adseq**, **Eventax** and **exact-event-adjoint** do without a surrogate: they differentiate the time at which a
#   spike falls, and what the reset does follows from that time. Theirs is not a version of {eq}`substituted` either.
# - **FPT** computes all time steps at once. It guesses the spikes, corrects the potential by them twice, and lets
#   autograd go through both corrections.
# - **snnax** subtracts `stop_gradient(mem_pot * spike_output)`. The gradient is stopped for the spike, as in the rows that
#   detach it, but for the potential too. The error then passes to a potential of which the reset left nothing.
# - **EXODUS** extends the library sinabs, whose subtractive reset autograd differentiates. Its
#   [reset to zero](https://github.com/synsense/sinabs/blob/904eb89/sinabs/activation/reset_mechanism.py) does not:
#   there the spike is compared with a number, and a comparison has no derivative. Whether a reset is differentiated can
#   be an accident of how it is written.
#
# ## Checked by running
#
# Reading can go wrong. Most libraries install on any machine, so their gradients can be computed: the same neuron, the
# same random currents, the same gradient at the spikes, in float64 where the library has it. The spikes have to be the
# same, or the comparison stops. Then the gradient at the currents is compared with each of ours: the length of the
# difference as a share of the length of ours. Records: {records}`agreement`.

# %% tags=["hide-input"]
agreement = records.recorded(AgreementConfig())
tables.show(
    tables.agreement_table(agreement), "neuron", "reset", "setting", "computes"
)

# %% tags=["remove-cell"]
distances = agreement["distances"]
same = [
    distance
    for found in distances.values()
    for distance in found.values()
    if distance < tables.SAME
]
others = [
    distance
    for found in distances.values()
    for distance in found.values()
    if distance >= tables.SAME
]
figures.note("largest-same", f"{max(same):.0e}")
figures.note("smallest-other", min(others))
figures.note("compared-neurons", agreement["neurons"])
figures.note("compared-steps", agreement["time_steps"])
versions = agreement["peer_versions"]
titled = {library.package: library.title for library in libraries.LIBRARIES}
titled |= {"torch": "PyTorch", "jax": "JAX"}
compared = [f"{titled[package]} {found}" for package, found in versions.items()]
figures.note("versions", ", ".join(compared))
figures.note(
    "in-float32",
    ", ".join(
        library.title for library in libraries.LIBRARIES if not library.float64
    ),
)
ignored = distances["reset ignored, as in SLAYER"]
figures.note("ignored-leak", ignored["leak"])
figures.note("ignored-full", ignored["full"])
figures.note("leak-full", distances["SpikingJelly, detached"]["full"])

# %% [markdown]
# Distances of {glue:text}`compared-neurons` neurons over {glue:text}`compared-steps` steps, with
# {glue:text}`versions`; from a record that `tsbp agreement` makes ({doc}`09_reproduce`). *Setting* is what decides on
# the reset's gradient. The rounding error is larger where a library computes in float32, at least in part
# ({glue:text}`in-float32`). The subtractive reset of snnTorch takes the threshold away after the leak instead of before
# it, which is another neuron, so it is compared with its reset to zero.
#
# **Each neuron computes one of the three gradients, or demonstrably none.** Those that compute one do so to within
# {glue:text}`largest-same`, and are at least {glue:text}`smallest-other:.2f` away from the others: there is no doubt
# which. The row *reset ignored* is what SLAYER's treatment would be in this neuron. It is none of ours:
# {glue:text}`ignored-leak:.2f` away from `leak` and {glue:text}`ignored-full:.2f` from `full`. snnax, as it comes, has
# exactly these distances. The paper counts both treatments as missing its term, but to detach the reset and to ignore
# it are different things. Nor is the term a trifle: without it the gradient is off by {glue:text}`leak-full:.2f` of its
# length. In BrainPy's neuron without a refractory time, `detach_spk=True` detaches the output together with the reset,
# so that no gradient gets in at all.

# %% tags=["hide-input"]
tables.show(tables.path_table(agreement), "neuron")

# %% [markdown]
# **The reset term makes the gradient fade faster, and more so with a subtractive reset.** Length of each gradient as a
# share of that of `full` with the same reset, the cosine between the two, and the factor by which the length changes
# with every step back in time. For the factor, the gradient arrives at the last step alone; it comes from the slope of
# the logarithm over ten steps.

# %% tags=["remove-cell"]
growth = agreement["growth"]
assert growth["SpikingJelly"] < growth["SpikingJelly, detached"]
assert (
    growth["SpikingJelly, subtractive"]
    < growth["SpikingJelly, subtractive, detached"]
)

# %% [markdown]
# Some libraries cannot express the neuron, and so were read only:

# %% tags=["hide-input"]
tables.show(tables.left_out_table(agreement), "library", "reason")

# %% [markdown]
# Libraries without a row in the comparison, and why.
#
# ## What others found out about it
#
# **Zenke and Vogels** put the question in a preprint of June 2020, before the paper {cite}`zenke2021`. Their Fig. 5
# compares networks with and without a differentiable reset, for two kinds of surrogate: one whose peak is always one,
# and one that grows towards the true derivative as it gets steeper. Its caption names the scale of the surrogate
# derivative as what learning is sensitive to. Asked why the SpyTorch tutorials detach the reset, the first author
# [answers](https://github.com/fzenke/spytorch/issues/2) that the gradient through it makes trouble when the derivative
# is steep and not normalised: it enters with a minus sign, and the threshold then repels the potential instead of
# attracting it.
#
# That fits what {doc}`03_one_neuron` measures. Its factor at threshold, $1 - \vartheta/(4\Theta)$ up to the leak, turns
# negative and large as the temperature $\Theta$ falls. With a very steep surrogate, with which little is learned, the
# term helps at no learning rate. At the paper's $\Theta$ it helps where the learning rate is large.
#
# **Bauer and colleagues** report that SLAYER's gradient, blind to the reset, needs its scale tuned by hand from layer
# to layer, and that the complete one does not {cite}`bauer2023`. **Meng and colleagues** go the other way: they find
# that what flows along the membrane contributes little to the gradient, cut it, and train well with less memory
# {cite}`meng2023`. This is our `spatial`. In {doc}`04_data_sets` it is as good as `full` on MNIST, and behind it on a
# reduced CIFAR-10 at one learning rate.
#
# **Gygax and Zenke** ask what a surrogate gradient is the gradient *of* {cite}`gygax2025`. In networks that fire at
# random it has a foundation: the surrogate should be the derivative of the firing probability. But in general it is not
# the gradient of a surrogate loss. That puts a limit to the argument of {doc}`02_gradient`: `full` is the exact
# gradient of the smoothed neuron, and this alone does not make it the better one for the neuron that fires. In the
# classification experiments of
# [their code](https://github.com/fmi-basel/surrogate-gradient-theory/blob/950927c/Classification/experiments/config_stork/config.yaml)
# the reset is detached.
#
# ```{admonition} What was not read
# :class: note
# Of the papers cited here only {cite}`yang2020` was read in full. The rows of the table rest on code alone. What is
# said of Zenke and Vogels rests on their abstract, the caption of their Fig. 5 and two answers by the first author on
# GitHub; what is said of Gygax and Zenke, of Bauer and colleagues and of Meng and colleagues on their abstracts and
# their code.
# ```
#
# ## What users ask
#
# The question comes up again and again, in words of its own each time. These are threads from the public trackers of
# libraries, with the answer that this book gives.

# %% tags=["hide-input", "full-width"]
Markdown(questions.table())

# %% [markdown]
# Questions about detaching the reset, and the page that answers each. A thread that could not be read is listed without
# an answer.
#
# ## Verdict
#
# Of {glue:text}`n-methods` neurons, as they come, {glue:text}`n-kept` differentiate the reset
# ({glue:text}`names-kept`), {glue:text}`n-detached` detach it ({glue:text}`names-detached`), {glue:text}`n-ignored`
# ignore it ({glue:text}`names-ignored`), {glue:text}`n-cut` cuts the path ({glue:text}`names-cut`) and
# {glue:text}`n-own` have a rule of their own ({glue:text}`names-own`). There is no custom that all follow.
#
# **The term was not new.** Of the four methods that the paper names, three leave it out in their code, but the code
# published for STBP differentiates the reset, since
# [November 2018](https://github.com/yjwu17/STBP-for-training-SpikingNN/blob/9661866/spiking_model.py). So did Norse
# when the paper appeared, in
# [November 2020](https://github.com/norse/norse/blob/5c0fa44/norse/torch/functional/lif.py), and SpikingJelly, where
# detaching it had become [an option](https://github.com/fangwei123456/spikingjelly/commit/73f94ab) in September.
# Whoever leaves the derivative to autograd has the term, unless the reset is taken out by hand. What remains is the
# paper's question: what is the term worth, with all else equal?
