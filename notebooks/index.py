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
# # What is the reset gradient worth?
#
# When a spiking neuron fires, its membrane potential is reset to zero. The potential after a spike therefore depends on
# whether there was one, and so on the potential before it: one more path along which a training signal can travel back
# through time. *Temporal Surrogate Back-propagation for Spiking Neural Networks* {cite}`yang2020` says that
# surrogate-gradient methods drop this path, restores it, and asks whether that helps.
#
# This book is a companion to that paper which can be run. It derives every equation and has a machine check it, repeats
# the experiments with all that a comparison needs (the same draws for every gradient, repeats, intervals), and shows
# the outcome beside the mathematics.

# %% tags=["parameters", "remove-cell"]
profile: str = "quick"  # quick or full; this page is the same in both

# %% tags=["remove-cell"]
import torch

from tsbp.runs import experiments, provenance, records
from tsbp.runs.settings import TrainingConfig
from tsbp.study import comparison, figures, robustness, toy_figures
from tsbp.study.claims import claims_table
from tsbp.study.statistics import with_interval
from tsbp.study.studies import loss_study

figures.use_style()
table_1 = experiments.load("toy/table-1")
toy = table_1.config
rates, losses = loss_study(table_1)

# %% tags=["remove-cell"]
figure = toy_figures.loss_by_learning_rate(rates, losses)
figures.show("front-figure", figure)
figures.note("front-repeats", toy.repeats)
figures.note("front-iterations", toy.iterations)
recorded = records.load("train")
reduced = TrainingConfig.for_dataset("cifar10-reduced")
difference = comparison.paired_difference(
    comparison.accuracies(recorded, "cifar10-reduced"), "leak"
)
neuron = next(
    one
    for one in robustness.rate_studies(recorded)
    if one.title == "single neuron, SGD"
)
for gradient, found in robustness.widths(neuron).differences.items():
    figures.note(f"wider-{gradient}", robustness.in_decades(*found, "+"))
best_rates = comparison.best_held_out(recorded, reduced)["lr"]
figures.note("reduced-rate", reduced.lr)
figures.note("reduced-difference", with_interval(difference, "+.2f"))
figures.note("reduced-seeds", len(difference))
for gradient, rate in best_rates.items():
    figures.note(f"reduced-rate-{gradient}", rate)
here = provenance.provenance(torch.device("cpu"))
changed = " with changes" if here["git_dirty"] else ""
figures.note("commit", (here["git_commit"] or "unknown")[:7] + changed)
figures.note("machine", here["device_name"])
figures.note("date", here["finished"][:10])
figures.note("python", here["versions"]["python"])
figures.note("torch", here["versions"]["torch"])

# %% [markdown]
# ```{glue:figure} front-figure
# :name: front
# :alt: Mean final loss over the learning rate for three gradients.
#
# The question in one picture. A single neuron learns a spike train with the reset term in its gradient (`full`),
# without it (`leak`), and with no gradient through time along the membrane at all (`spatial`). Which is best depends on
# the learning rate. Mean loss after {glue:text}`front-iterations` updates with its 95 % interval,
# {glue:text}`front-repeats` neurons a point; {doc}`03_one_neuron` says how it was measured. Records:
# {records}`toy/table-1`.
# ```
#
# ## The short answer
#
# - The term belongs to the gradient of the smoothed neuron, costs little when it is computed well, and was not new.
# - What the term is worth depends on the learning rate. Under gradient descent it slows learning at small rates, in a
#   single neuron and, with momentum, in networks on MNIST and on small digits. At large rates it helps the single
#   neuron and the network on the digits; for the one on MNIST that is not sure. Under AdamW only a cost of less than a
#   percentage point on MNIST is sure.
# - A gradient is robust if it works over a wide range of learning rates. For the single neuron that range is widest
#   with the term, under three optimisers: under SGD {glue:text}`wider-leak` factors of ten wider than without it, and
#   {glue:text}`wider-spatial` wider than with no gradient through time ({doc}`03_one_neuron`). For networks
#   ({doc}`05_settings`) most of the measured differences are too uncertain to tell.
# - Near the best learning rate, networks on MNIST learn as well without the term, and on small digits no difference is
#   sure.
# - A reduced network on part of CIFAR-10 is more accurate with the term at the learning rate
#   {glue:text}`reduced-rate:g`: `full` is {glue:text}`reduced-difference` points ahead of `leak` over
#   {glue:text}`reduced-seeds` seeds. On held-out images, with one run for each rate, that rate is the best one for
#   `full` alone. `leak` does best at {glue:text}`reduced-rate-leak:g` and `spatial` at
#   {glue:text}`reduced-rate-spatial:g`, where there are no test runs. Whether the term helps when every gradient has
#   its own best rate is open. The whole network leaves the question open too. Both were trained on re-encoded images.
#
# ## What became of the paper's claims

# %% tags=["remove-input", "full-width"]
claims_table()

# %% [markdown]
# Verdicts and numbers are computed from the records when this page is built, by rules that stand in `tsbp/study/claims.py`.
# *Reproduced with a caveat*: in part, or not in every setting that was tried. *Open*: too few runs to tell, or none on
# the whole and original data. Brackets and ± are 95 % intervals; accuracies are in per cent, their differences in
# percentage points.
#
# ## The chapters
#
# {doc}`01_neuron`
# : The equations of the neuron, its compute graph, and how long a spike travels.
#
# {doc}`02_gradient`
# : The gradient step by step; SymPy, autograd and finite differences check it.
#
# {doc}`03_one_neuron`
# : The paper's single-neuron experiment: three gradients, controls, a look at why, and a figure to play with.
#
# {doc}`04_data_sets`
# : The paper's networks on MNIST, N-MNIST, CIFAR-10 and small digits: is there a difference, or are they equal?
#
# {doc}`05_settings`
# : Learning rate, temperature, time steps and depth in networks, and how far apart the gradients point: where the paper's two halves meet.
#
# {doc}`06_cost`
# : What the term costs in time and memory: counted, and measured beside other libraries.
#
# {doc}`07_other_methods`
# : What other learning rules and libraries do with the reset: read in their code, and checked by running.
#
# {doc}`08_errata`
# : Where the paper's print is wrong, contradicts itself or leaves something open, each with what shows it.
#
# {doc}`09_reproduce`
# : Every record behind these pages, with the command that makes it again.
#
# ## Running it
#
# Every chapter is a notebook. Its code imports the package `tsbp`, which lies in the same repository; its first code
# cell holds the parameters that can be changed. `make book` executes all chapters and sets these pages. The README says
# how to execute one of them with other parameters, how to train a network, and how to use the neuron in a project of
# your own.
#
# The numbers of this page were computed at commit {glue:text}`commit` on {glue:text}`date`, on {glue:text}`machine`,
# with Python {glue:text}`python` and PyTorch {glue:text}`torch`.
#
# ## How to cite
#
# Please cite the paper {cite}`yang2020` and this companion:
#
# ```{how-to-cite}
# ```
