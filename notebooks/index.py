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
# When a spiking neuron fires, its membrane potential is reset. The potential after a spike therefore depends on whether
# there was one, and so on the potential before it: one more path along which a training signal can travel back through
# time. Should the gradient follow it?
#
# **It depends on two settings.** One is the width of the surrogate: where only time carries the answer, networks are more
# accurate with the reset term at a moderate width, and more accurate without it where the surrogate is steep or wide. The
# other is the learning rate: with the term a single neuron works over a wider range of rates. It learns more slowly at small
# ones, and at large ones the term keeps it from falling silent. On MNIST, near a good learning rate, networks are as accurate
# without the term.

# %% tags=["parameters", "remove-cell"]
profile: str = "quick"  # quick or full; this page is the same in both

# %% tags=["remove-cell"]
import pandas as pd
import torch
from IPython.display import HTML

from tsbp.peers import libraries
from tsbp.runs import experiments, provenance, records, toy
from tsbp.runs.settings import TrainingConfig
from tsbp.study import (
    cells,
    claims,
    comparison,
    figures,
    protocols,
    robustness,
    tables,
    time_tables,
    toy_figures,
)
from tsbp.study.statistics import with_interval
from tsbp.study.studies import loss_study

figures.use_style()
shown_rate = 0.071
figures.note("shown-rate", shown_rate)

# %% tags=["remove-input"]
draws = toy.draw(toy.ToyConfig(repeats=1, dtype="float64"))
HTML(toy_figures.explorable(draws, shown_rate))

# %% tags=["remove-cell"]
table_1 = experiments.load("toy/table-1")
rates, losses = loss_study(table_1)
figures.show("front-figure", toy_figures.loss_by_learning_rate(rates, losses))
figures.note("front-repeats", table_1.config.repeats)
figures.note("front-iterations", table_1.config.iterations)
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
figures.note("reduced-rate", reduced.lr)
figures.note("reduced-difference", with_interval(difference, "+.2f"))
figures.note("reduced-seeds", len(difference))
equal = comparison.paired_difference(
    comparison.accuracies(recorded, "mnist-long"), "leak"
)
figures.note("mnist-difference", with_interval(equal, "+.2f"))
fair = protocols.comparisons(recorded)
for protocol, cost in protocols.costs(fair, "digits").items():
    figures.note(f"digits-{protocol}", cost)
advice = time_tables.advice_table(cells.cells("time/randman"))
figures.show("advice-table", tables.show(advice, *advice.columns))
peers = libraries.PEERS | libraries.MORE
switches = [("tsbp", 'gradient="full", the default', 'gradient="leak"')] + [
    (library, peers[keep].setting, peers[detach].setting)
    for library, keep, detach in (
        ("SpikingJelly", "SpikingJelly", "SpikingJelly, detached"),
        ("snnTorch", "snnTorch, no delay", "snnTorch"),
        ("Norse", "Norse", "Norse, detached"),
    )
]
columns = ["library", "with the reset term", "without it"]
switches = tables.show(pd.DataFrame(switches, columns=columns), *columns)
figures.show("switches-table", switches)
here = provenance.provenance(torch.device("cpu"))
changed = " with changes" if here["git_dirty"] else ""
figures.note("commit", (here["git_commit"] or "unknown")[:7] + changed)
figures.note("machine", here["device_name"])
figures.note("date", here["finished"][:10])
figures.note("python", here["versions"]["python"])
figures.note("torch", here["versions"]["torch"])

# %% [markdown]
# A neuron learns a spike train in your browser, at first at the learning rate {glue:text}`shown-rate:g`: with the reset term
# (`full`), without it (`leak`), and with no gradient along the membrane at all (`spatial`). Move the slider to where
# `leak` learns as well. {doc}`04_one_neuron` has the complete figure.
#
# ## Keep it or detach it?
#
# Where time carries the answer, {numref}`advice` says what to do for which network and width of the surrogate
# ({doc}`07_time`); the default surrogates of SpikingJelly, snnTorch and Norse are moderately wide ({numref}`defaults`).
#
# ```{glue:table} advice-table
# :name: advice
# :figclass: full-width
#
# Keep the reset where the surrogate is moderately wide, and detach it where it is steep or wide. Where errors also travel
# through recurrent weights, cut the path instead, unless the surrogate is steep. Rows are networks on Randman, a task of spike times; $\Theta$ is the width of a surrogate of area 1, in multiples of the
# threshold. In brackets: points of test accuracy that keeping is worth against detaching, each at its own best learning rate,
# with 95 % intervals over seeds and test examples. *Cut the path*: pass no gradient along the membrane (`spatial`); in brackets,
# what it is worth against the better of both. *Either*: equal within 2 points. *Open*: not decided. Empty: not measured.
# Records: {records}`time/randman`.
# ```
#
# Everywhere else:
#
# - **Keep it** if you train with SGD, or with momentum, at a learning rate near the largest that works. The range of usable
#   rates of a single neuron is {glue:text}`wider-leak` factors of ten wider with the term ({numref}`front`), and with
#   momentum networks fail first without it ({doc}`06_settings`).
# - **Detach it, or raise the learning rate,** if you train so at a small one: there the term slows learning, in a single
#   neuron and, with momentum, in networks on MNIST and on small digits.
# - **It makes no difference** to images that networks learn well with AdamW near its best rate: on MNIST the accuracies
#   differ by {glue:text}`mnist-difference` points. On small digits the term costs {glue:text}`digits-common` points if all
#   gradients share a learning rate; with each at its own, {glue:text}`digits-own`, a cost is not sure
#   ({doc}`05_data_sets`).
# - **Open: CIFAR-10.** A reduced network on a part of it is more accurate with the term at the learning rate
#   {glue:text}`reduced-rate:g`, by {glue:text}`reduced-difference` points over {glue:text}`reduced-seeds` seeds, but that
#   rate is the best one for `full` alone. Whether the term helps when every gradient has its own best rate is open.
#
# ```{glue:table} switches-table
# :name: switches
#
# The line of code that decides. In Norse it is a parameter of `lif_box`; its recurrent neuron detaches the reset anyway.
# {doc}`03_other_methods` has more libraries, and what each was seen to compute.
# ```
#
# ```{glue:figure} front-figure
# :name: front
# :alt: Mean final loss over the learning rate. Leak is lowest at small rates and rises first, spatial is lowest at the largest.
#
# Which gradient is best depends on the learning rate; at the largest tried, `spatial` has the lowest loss. Mean loss of {glue:text}`front-repeats` neurons after
# {glue:text}`front-iterations` updates with SGD, and its 95 % interval; {doc}`04_one_neuron` says how it was measured.
# Records: {records}`toy/table-1`.
# ```
#
# ## What became of the paper's claims
#
# *Temporal Surrogate Back-propagation for Spiking Neural Networks* {cite}`yang2020` restores the term to methods that
# leave it out, and asks whether it helps. This book repeats its experiments with all that a comparison needs: the same
# draws for every gradient, repeats, intervals.

# %% tags=["remove-input", "remove-output"]
every_claim = claims.claims()
figures.show("claims-table", claims.claims_table(every_claim))
for what, count in claims.tally(every_claim).items():
    figures.note(f"claims-{what}", count)

# %% [markdown]
# ```{glue:table} claims-table
# :name: claims
# :figclass: full-width
#
# Of {glue:text}`claims-all` claims {glue:text}`claims-reproduced` is reproduced outright, {glue:text}`claims-caveat` with a caveat
# (in part, or not in every setting that was tried), {glue:text}`claims-not` not, and {glue:text}`claims-open` are open (too few
# runs to tell, or none on the whole and original data). Verdicts and numbers are computed from the records by rules that stand
# in `tsbp/study/claims.py`. Brackets and ± are 95 % intervals; accuracies are in per cent, their differences in percentage
# points.
# ```
#
# ## The chapters
#
# {doc}`01_neuron`
# : How does one step's potential depend on the last?
#
# {doc}`02_gradient`
# : What is the gradient through the reset, step by step, and how do SymPy, autograd and finite differences check it?
#
# {doc}`03_other_methods`
# : What do other learning rules and libraries do with the reset?
#
# {doc}`04_one_neuron`
# : At which learning rates does the term help a single neuron, and why?
#
# {doc}`05_data_sets`
# : Does it change the accuracy of networks on images, or are they equal?
#
# {doc}`06_settings`
# : Do the optimiser, temperature, time steps or depth of a network decide whether it matters?
#
# {doc}`07_time`
# : Should the gradient pass through the reset where only time carries the answer?
#
# {doc}`08_cost`
# : What does it cost in time and memory?
#
# {doc}`09_errata`
# : Where is the paper's print wrong, and what shows it?
#
# {doc}`10_reproduce`
# : Which record is behind which number, and which command makes it again?
#
# {doc}`plan`
# : What was fixed before the study of time was run?
#
# Every chapter is a notebook: its code imports the package `tsbp`, and the cell of its parameters can be changed.
# {doc}`using` says how to execute one with others, how to train a network, and how to use the neuron in a project of your
# own.
#
# ## How to cite
#
# Please cite the paper {cite}`yang2020` and this companion:
#
# ```{how-to-cite}
# ```
#
# The numbers of this page were computed at commit {glue:text}`commit` on {glue:text}`date`, on {glue:text}`machine`,
# with Python {glue:text}`python` and PyTorch {glue:text}`torch`.
