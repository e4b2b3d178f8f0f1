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
# A spiking neuron adds up its input in a membrane potential. When the potential exceeds a threshold, the neuron fires,
# and the potential is reset. The next potential therefore depends on whether the neuron fired: one more path along which
# back-propagation can go. The forward pass always resets; the gradient may follow this path (*keep* the reset), treat the
# spike in the reset as a constant, as `spike.detach()` does in PyTorch (*detach* it), or leave out every path along the
# membrane (*cut the path*). Which is best?
#
# A spike is a step, so training replaces its derivative by a bump around the threshold, the *surrogate*. What matters most
# is its width, given as the $\Theta$ of a sigmoid in multiples of the threshold:
#
# - **Moderate ($\Theta$ = 0.2): keep the reset** in a feed-forward network. On Randman, a synthetic task of spike
#   times, it is worth {glue:text}`kept-least` to {glue:text}`kept-most` points of accuracy. SpikingJelly's default
#   neuron is close to this one; snnTorch and Norse differ in reset or scale ({numref}`defaults`).
# - **Steep (0.02): detach it. Wide (2): detach it, or cut the path** in deep and in recurrent networks. In feed-forward
#   networks keeping it costs {glue:text}`lost-least` to {glue:text}`lost-most` points. Better still, choose a moderate width: at
#   these two, no such network is shown to beat a linear classifier of the spike times.
# - **Images near a good learning rate: either.** On MNIST `full` (keep) and `leak` (detach) differ by
#   {glue:text}`mnist-difference` points.
# - **The learning rate matters too.** With the reset kept, a single neuron learns over a wider range of rates than with it
#   detached. It learns more slowly at small ones, and falls silent less often at large ones.

# %% tags=["parameters", "remove-cell"]
profile: str = "quick"  # quick or full; this page is the same in both

# %% tags=["remove-cell"]
import pandas as pd
import torch
from IPython.display import HTML

from tsbp.peers import libraries
from tsbp.runs import experiments, provenance, records, toy
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
neuron = next(
    one
    for one in robustness.rate_studies(recorded)
    if one.title == "single neuron, SGD"
)
for gradient, found in robustness.widths(neuron).differences.items():
    figures.note(f"wider-{gradient}", robustness.in_decades(*found, "+"))
equal = comparison.paired_difference(
    comparison.accuracies(recorded, "mnist-long"), "leak"
)
figures.note("mnist-difference", with_interval(equal, "+.2f"))
fair = protocols.comparisons(recorded)
for protocol, cost in protocols.costs(fair, "digits").items():
    figures.note(f"digits-{protocol}", cost)
randman = cells.cells("time/randman")
forward = [cell for cell in randman if not cell.recurrent]
for words, widths, sign in (("kept", (0.2,), 1), ("lost", (0.02, 2.0), -1)):
    gains = [
        sign * cell.difference().mean
        for cell in forward
        if cell.config.temperature in widths
    ]
    figures.note(f"{words}-least", f"{min(gains):.0f}")
    figures.note(f"{words}-most", f"{max(gains):.0f}")
advice = time_tables.advice_table(randman)
figures.show("advice-table", tables.show(advice, *advice.columns))
peers = libraries.PEERS | libraries.MORE
ours = (
    "tsbp",
    'gradient="full", the default',
    'gradient="leak"',
    'gradient="spatial"',
)
switches = [ours] + [
    (library, *(peers[name].setting for name in (keep, detach, f"{library}, cut")))
    for library, keep, detach in (
        ("SpikingJelly", "SpikingJelly", "SpikingJelly, detached"),
        ("snnTorch", "snnTorch, no delay", "snnTorch"),
        ("Norse", "Norse", "Norse, detached"),
    )
]
columns = ["library", "keep", "detach", "cut the path"]
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
# (`full`), with the reset detached (`leak`), and with no gradient along the membrane at all (`spatial`). Lower the learning
# rate until `leak` learns too. {doc}`04_one_neuron` has the complete figure.
#
# ## Keep it or detach it?
#
# {numref}`advice` says what to do on Randman, where only spike times tell the classes apart ({doc}`07_time`).
#
# ```{glue:table} advice-table
# :name: advice
# :figclass: full-width
#
# Keep the reset where the surrogate is moderately wide, and detach it where it is steep. At $\Theta$ = 2, detach it in
# networks of one or two layers; in deeper and in recurrent ones cutting the path is best, as it is in the recurrent network
# at 0.2. In brackets: test accuracy with the reset kept minus that with it detached, in points, with 95 % intervals over seeds
# and test examples; for *cut the path*, that of `spatial` minus that of whichever of the other two held-out examples prefer.
# Records: {records}`time/randman`.
# ```
#
# Columns are networks, rows the width of a sigmoid surrogate of area 1. Each gradient is at its own best learning rate, with
# Adam and without clipping, and a spike resets to zero. *Open*: not decided. Empty: not measured. In the last column no error
# travels back through the recurrent weights. This is one draw of one task. On a second task, store and recall, no difference
# is sure ({numref}`recall`).
#
# Everywhere else:
#
# - **Large learning rates, with momentum or with a single neuron under SGD: keep it rather than detach it.** The range of
#   usable rates of a single neuron is {glue:text}`wider-leak` decades wider with the reset kept, and with momentum, networks
#   on the digits are more accurate with it at a learning rate of 1 ({doc}`06_settings`). At the largest rate of
#   {numref}`front` cutting the path is best.
# - **Small learning rates there: detach it, or raise the rate.** Keeping the reset slows learning, in a single neuron and,
#   with momentum, in networks on MNIST and on small digits.
# - **Images, AdamW near its best rate: either.** The interval on MNIST is over seeds, at one rate. On small digits
#   keeping it costs {glue:text}`digits-common` points if all gradients share a learning rate; with each at its own it
#   is {glue:text}`digits-own`, which is not significant after correction for several comparisons ({doc}`05_data_sets`).
#
# ```{glue:table} switches-table
# :name: switches
#
# The line of code that decides. In snnTorch the switch also moves the reset to the step of the spike: with
# `reset_mechanism="zero"` the spikes stay the same, with the default `"subtract"` they do not. In Norse it is a parameter of
# `lif_box`; its recurrent neuron detaches the reset anyway. {doc}`03_other_methods` has more libraries, and what each was seen
# to compute.
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
# runs to tell, or none on the whole and original data). Verdicts and numbers are computed from the records, by the rules in
# `tsbp/study/claims.py`. Brackets and ± are 95 % intervals; accuracies are in per cent, their differences in percentage
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
