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
# # One setting at a time
#
# The paper has two halves that do not meet. Its single neuron is trained over a range of learning rates, and the reset
# term helps at the large ones; its networks have one unstated setting each, and the term makes no difference. Were they
# trained at learning rates at which the gradients happen not to differ? This chapter varies the rate in networks too, then the temperature, the number of time steps and the depth, and measures how far the
# gradients of a network point apart. Its data are images, which networks learn well without any gradient along the
# membrane; {doc}`07_time` has a task of spike times.
#
# :::{admonition} About this chapter
# - **For** readers who have a network of their own and ask which of its settings decide whether the reset term matters.
# - **Needed:** {doc}`04_one_neuron` and {doc}`05_data_sets`; momentum and Adam.
# - **Afterwards** you know for which optimisers the result of the single neuron carries over to networks, how wide the
#   range of usable learning rates is with each gradient, and how far `leak` and `spatial` point away from `full`.
# :::

# %%
import numpy as np
import pandas as pd
import torch

from tsbp.runs import experiments, records, toy
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.training import train
from tsbp.study import (
    averaging,
    figures,
    robustness,
    studies,
    tables,
    training_figures,
)
from tsbp.study.statistics import with_interval

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; the records are the same in both
lr: float = 0.01  # learning rate of the short training that is done here, on digits
epochs: int = 3  # epochs of that training
seed: int = 0  # seed of that training

# %% tags=["remove-cell"]
figures.use_style()
recorded = records.load("train")

# %% [markdown]
# ## The learning rate
#
# What a learning rate means depends on the optimiser, so this section uses two. *AdamW* is what the last chapter trains
# with, with the norm of the gradient clipped at {glue:text}`clip:g` and a learning rate that rises and falls once. By
# itself, Adam divides every gradient by its own recent size; clipping still shortens the longest. *Momentum* is SGD
# with Nesterov momentum 0.9 at a constant rate, without clipping, as one of the [single neuron's variants](studies) has
# it.
#
# Each is tried on two data sets: {glue:text}`examples:,d` images of MNIST for {glue:text}`epochs` epochs, which is
# short so that slow learning is visible; and the 8×8 digits with everything else as in the last chapter. All gradients
# get the same rates, seeds, initial weights and order of examples.

# %% tags=["remove-cell"]
found = studies.studies(recorded)
mnist = experiments.load("settings/mnist-adamw").config
rates = {title: found[title] for title in list(found)[:4]}
others = {title: found[title] for title in list(found)[4:]}
figures.note("examples", mnist.examples)
figures.note("epochs", mnist.epochs)
figures.note("clip", mnist.clip_norm)
figures.note("broken", studies.BROKEN)

# %% tags=["hide-input", "remove-output"]
labels = dict.fromkeys(rates, "log learning rate")
figures.show("rates-figure", training_figures.accuracy_against(rates, labels))
for key, runs in zip(("ma", "ms", "da", "ds"), rates.values(), strict=True):
    sure = studies.differences(runs)["sure"]
    figures.note(f"{key}-lower", int((sure < 0).sum()))
    figures.note(f"{key}-higher", int((sure > 0).sum()))
    figures.note(f"{key}-rates", len(sure))
    figures.note(f"{key}-seeds", runs["seed"].nunique())
fall = rates["MNIST, momentum"].query("value == 1")
figures.note("fall-rate", fall["value"].iloc[0])
for name, group in fall.groupby("gradient"):
    figures.note(f"fall-{name}", group["test_accuracy"].mean())
collapsed = fall.query("gradient == 'leak'")["test_accuracy"] < studies.BROKEN
figures.note("fall-collapsed", int(collapsed.sum()))
figures.note("fall-seeds", len(collapsed))
rates_table = tables.show(studies.study_table(rates), "study")
figures.show("rates-table", rates_table)

# %% [markdown]
# ```{glue:figure} rates-figure
# :name: network-rates
# :alt: Test error over the learning rate, and below it full minus leak and full minus spatial, in four columns. Under momentum full is behind leak at small rates and ahead at large ones; under AdamW the differences are smaller.
#
# With momentum the pattern resembles that of the single neuron: at small learning rates `leak` is ahead, at large ones some
# of its trainings break down first. The term costs accuracy significantly at small rates, {glue:text}`ms-lower` of
# {glue:text}`ms-rates` on MNIST and {glue:text}`ds-lower` of {glue:text}`ds-rates` on the digits. It helps significantly at
# large rates on the digits alone, at {glue:text}`ds-higher` of {glue:text}`ds-rates`. Under AdamW the differences are smaller: near the best
# rates the gradients are within a point of each other. Top: test error; dots are single trainings, lines means. Below:
# accuracy of `full` minus that of the other two, paired by seed, with 95 % intervals; logarithmic beyond one point.
# Filled: significantly different from zero. Seeds: {glue:text}`ma-seeds` on MNIST, {glue:text}`da-seeds` on the digits. Records:
# {records}`settings/mnist-adamw, settings/mnist-nesterov, settings/digits-adamw, settings/digits-nesterov`.
# ```
#
# The rates of a panel are one family of paired *t* tests, corrected for their number by Holm's method. Where some
# seeds break down and others do not, a test of means says little; the counts in {numref}`network-accuracies` say more.
#
# ### How wide is the range of usable rates?
#
# A rate is usable for a network if the mean accuracy there is at most {glue:text}`usable-margin:g` percentage points
# below the best mean accuracy of any of the three gradients at any rate. The width of the range of usable rates
# measures robustness, as for the [single neuron](how-robust).

# %% tags=["hide-input", "remove-output"]
over_rates = list(robustness.rate_studies(recorded))
usable = {one.title: robustness.widths(one) for one in over_rates}
figures.show("widths-table", tables.show(robustness.width_table(usable), "study"))
sensitivity = robustness.sensitivity_table(
    one for one in over_rates if "neuron" not in one.title
)
figures.show("sensitivity-table", tables.show(sensitivity, "study"))
figures.note("usable-margin", robustness.ACCURACY_DISTANCE)
networks = {t: one for t, one in usable.items() if "neuron" not in t}
wider = [t for t, one in networks.items() if one.differences["leak"][1] > 0]
narrower = [t for t, one in networks.items() if one.differences["leak"][2] < 0]
figures.note("networks", len(networks))
figures.note(
    "networks-wider", f"{len(wider)} ({'; '.join(wider)})" if wider else "none"
)
figures.note("networks-narrower", "; ".join(narrower) or "none")

# %% [markdown]
# ```{glue:table} widths-table
# :name: network-widths
# :figclass: full-width
#
# For the single neuron the range is wider with `full` than with `leak` under every optimiser. Of the
# {glue:text}`networks` studies of networks it is significantly wider in: {glue:text}`networks-wider`; narrower in:
# {glue:text}`networks-narrower`; where both brackets are open, a study cannot tell. Width in decades (factors of ten), and the width of `full` less that of the others, paired by
# seed; in brackets 95 % bootstrap intervals over seeds, widened for their small number. An end shown as dots lies
# beyond the rates tried, in the records or in some bootstrap samples. {numref}`network-sensitivity` has other
# distances. Records: {records}`settings, widths`.
# ```
#
# **What carries over.** With momentum the picture of {numref}`learning-rates` does: the order of the three gradients at
# small rates, and its reversal at large ones. At the learning rate {glue:text}`fall-rate:g` the networks on MNIST still
# reach {glue:text}`fall-full:.1f` % on average with `full` and {glue:text}`fall-spatial:.1f` % with `spatial`; with
# `leak`, {glue:text}`fall-collapsed` of {glue:text}`fall-seeds` trainings break down. `leak` points nearly where `full` does
# but is longer ({numref}`beside`), so that it may act like a larger learning rate; no control has tested this. All this would
# reconcile the paper's two halves, for near the best rate the gradients are closer together. With AdamW the only significant
# differences between `full` and `leak`, after correction, are losses of `full`, and near the best rates they are below one
# percentage point.
#
# ## Temperature, time steps, depth
#
# The temperature sets how wide the surrogate is, and with it how much of the reset term there is: at the threshold it
# is $\vartheta / 4\Theta$ by {eq}`surrogate`, against the 1 of the other path in $1 - S - Uh$. More time steps give it
# more room to add up. More layers multiply whatever one layer does to the gradient. All three are varied on the digits,
# temperature and time steps at one learning rate, chosen at the defaults. In the study of depth the layers are
# convolutions of 16 channels, and the initial gain and the learning rate are the best on held-out digits over all
# depths and gradients.

# %% tags=["hide-input", "remove-output"]
labels = {
    "temperature": "log temperature $\\Theta$",
    "time steps": "log time steps $T$",
    "depth": "spiking layers",
}
figures.show("others-figure", training_figures.accuracy_against(others, labels))
for title, runs in others.items():
    key = title.replace(" ", "-")
    for what, found_by_seed in studies.over_all_values(runs).items():
        figures.note(f"{key}-{what}", with_interval(found_by_seed, "+.2f"))
figures.note("others-seeds", others["depth"]["seed"].nunique())
sure = pd.concat(studies.differences(runs, "spatial") for runs in others.values())[
    "sure"
]
figures.note("others-values", len(sure))
figures.note("others-sure", int((sure > 0).sum()))
others_table = tables.show(studies.study_table(others), "study")
figures.show("others-table", others_table)

# %% [markdown]
# ```{glue:figure} others-figure
# :name: network-others
# :alt: Test error over temperature, time steps and depth on the digits, and below it full minus leak and full minus spatial. No difference to leak is sure; spatial is surely behind at the largest temperature alone.
#
# At no single temperature, number of time steps or depth is a difference between `full` and `leak` shown; one training
# with `spatial` breaks down where the surrogate is narrow. Where the surrogate is widest, and nowhere else, `full` is
# significantly ahead of `spatial`: at {glue:text}`others-sure` of {glue:text}`others-values` values. As in
# {numref}`network-rates`, on the digits, {glue:text}`others-seeds` seeds; temperatures below 0.1 were not tried.
# {numref}`other-accuracies` has the numbers.
# Records: {records}`settings/temperature, settings/time-steps, settings/depth`.
# ```
#
# One might expect a term that travels through time to matter more with more steps or more layers. No such trend is
# shown: with every doubling of the steps the accuracy of `full` less that of `leak` changes by
# {glue:text}`time-steps-trend` points, with every doubling of the layers by {glue:text}`depth-trend`. Averaged over all
# values, paired by seed, the difference is {glue:text}`time-steps-average` points for the time steps,
# {glue:text}`depth-average` for the layers and {glue:text}`temperature-average` for the temperature. Without a
# correction for multiple comparisons, the last of these is a significant loss.
#
# ## How far apart do the gradients point?
#
# After every epoch of all these trainings the three gradients were computed at the same weights and on the same
# examples, layer by layer. It takes one option, here in a short training on the digits.

# %%
config = TrainingConfig.for_dataset(
    "digits", lr=lr, epochs=epochs, seed=seed, compare_gradients=True
)
run = train(config, quiet=True)

# %% tags=["hide-input", "remove-output"]
last = run["epoch_metrics"][-1]
beside = pd.DataFrame({"layer": ["15C5", "40C5", "300", "output"]})
for name in ("leak", "spatial"):
    angle = np.degrees(np.arccos(np.array(last[f"cosine_{name}"], dtype=float)))
    length = np.array(last[f"length_{name}"], dtype=float)
    beside[f"angle of {name}"] = [f"{x:.0f}°" for x in angle]
    beside[f"length of {name}"] = [f"{x:.2f}" for x in length]
    figures.note(f"beside-{name}", np.nanmax(angle))
figures.show("beside-table", tables.show(beside, "layer"))

# %% [markdown]
# ```{glue:table} beside-table
# :name: beside
#
# After the last of these epochs `leak` points at most {glue:text}`beside-leak:.0f`° away from `full` in any layer, and
# `spatial` at most {glue:text}`beside-spatial:.0f`°. The angle to `full` and the length, in multiples of that of `full`,
# of the other two gradients in each layer.
# ```
#
# The records show the angles over a whole training. The single neuron serves as a yardstick.

# %% tags=["remove-cell"]
angles = {
    "MNIST": rates["MNIST, AdamW"].query("lr == 0.01"),
    "digits": rates["digits, AdamW"].query("lr == 0.01"),
    "digits, T = 40": others["time steps"].query("time_steps == 40"),
    "digits, 8 layers": others["depth"].query("value == 8"),
}
one = toy.ToyConfig(gradients=("full",), learning_rates=(0.005,), repeats=50)
along = toy.compare_along(one)
single = {
    name: torch.cosine_similarity(along["full"], along[name], dim=2)
    for name in ("leak", "spatial")
}

# %% tags=["hide-input", "remove-output"]
figures.show("angles-figure", training_figures.angles(angles))
for name, cosine in single.items():
    figures.note(f"single-{name}", cosine.arccos().rad2deg().nanmedian())
    layers = studies.angles_to_full(angles["MNIST"], name)
    figures.note(f"network-{name}", np.nanmedian(layers))

# %% [markdown]
# ```{glue:figure} angles-figure
# :name: angles
# :alt: Angle of leak and of spatial to full over the epochs, a line for each layer, in four trainings.
#
# In networks `leak` points nearly where `full` does, in every layer and to the end of training. More layers do not
# change this. With many time steps `spatial` points farther from `full`, and `leak` does not. One line for each layer
# with weights, shaded from the image to the output; means over seeds and over the gradients trained with. Records:
# {records}`settings`.
# ```
#
# In the single neuron the median angle between `leak` and `full` is {glue:text}`single-leak:.0f`°, and between
# `spatial` and `full` {glue:text}`single-spatial:.0f`°. In the networks it is {glue:text}`network-leak:.0f`° and
# {glue:text}`network-spatial:.0f`° (median over layers, epochs and seeds on MNIST). Is averaging the reason? The single
# neuron's gradient comes from one pattern of spikes, that of a network is the mean over a batch of examples. So the
# gradients were averaged over different numbers of examples, at the same weights.

# %% tags=["hide-input", "remove-output"]
started = one.but(repeats=100)
averaged = {
    f"single neuron, update {updates}": averaging.neuron_angles(
        started.but(iterations=updates)
    )
    for updates in (1, 30, 200)
}
averaged |= {
    "digits, first epoch": averaging.network_angles(pd.DataFrame([run]), 0),
    "digits, last epoch": averaging.network_angles(pd.DataFrame([run]), -1),
}
averages = tables.show(averaging.angle_table(averaged), "study")
figures.show("averages-table", averages)
figures.note("updates", 200)
for updates in (1, 200):
    for n in (1, 100):
        angle = averaged[f"single neuron, update {updates}"]["leak"][n]
        figures.note(f"averaged-{updates}-{n}", np.median(angle))
for n in (1, 1000):
    angle = averaged["digits, last epoch"]["leak"][n]
    figures.note(f"averaged-digits-{n}", np.median(angle))

# %% [markdown]
# ```{glue:table} averages-table
# :name: averages
#
# Averaging explains only part of it. Near the initial weights it brings `leak` and `full` together, from
# {glue:text}`averaged-1-1:.0f`° for one pattern to {glue:text}`averaged-1-100:.0f`° for a hundred. After
# {glue:text}`updates` updates it does so no longer: {glue:text}`averaged-200-1:.0f`° and
# {glue:text}`averaged-200-100:.0f`°. In the network the angle is {glue:text}`averaged-digits-1:.0f`° for one image
# already, and {glue:text}`averaged-digits-1000:.0f`° for a thousand. Median angle to `full` of gradients that are
# averaged over so many examples: images for the network of the short training above, patterns of spikes for the single
# neuron.
# ```
#
# ## Summary
#
# - *Robust to the learning rate*: at the distance used here, no network on images is shown to have a narrower or a wider
#   range of usable rates with `full` than with `leak`. At other distances there are examples of both
#   ({numref}`network-sensitivity`). On a task of spike times the range is wider with `full` at a moderate width of the
#   surrogate and narrower at a steep one ({numref}`usable`).
# - *No improvement is shown on real data*: near the best learning rate, at every temperature, number of steps and depth
#   tried on the digits, `full` is not shown to be ahead of `leak`. Where only spike times tell the classes apart, the
#   temperature decides ({doc}`07_time`).
# - With momentum, `leak` learns faster than `full` at small learning rates in networks too, and it breaks down first as
#   the rate grows. Under AdamW with
#   clipping, little of either is left near the best rates.
#
# ## Exercises
#
# **1.** Multiply a loss by ten. How does the first step of SGD change, and how that of Adam?
#
# :::{admonition} Solution
# :class: dropdown
#
# That of SGD is ten times as long. Adam divides the gradient by its own size, so its first step is the learning rate in
# either case.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
steps = {}
for optimizer in (torch.optim.SGD, torch.optim.Adam):
    for factor in (1, 10):
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        moved = optimizer([weight], lr=0.1)
        (factor * weight.square().sum()).backward()
        moved.step()
        steps[optimizer.__name__, factor] = 1 - weight.item()
        print(
            f"{optimizer.__name__}, loss × {factor}: {steps[optimizer.__name__, factor]:.4f}"
        )
assert abs(steps["SGD", 10] / steps["SGD", 1] - 10) < 1e-9
assert abs(steps["Adam", 10] - steps["Adam", 1]) < 1e-6

# %% [markdown]
# **2.** How large is the reset term at the threshold, in multiples of the potential's own share $1 - S = 1$ just below it,
# at the temperatures 0.1, 0.3 and 2?
#
# :::{admonition} Solution
# :class: dropdown
#
# $\vartheta/4\Theta$: {glue:text}`term-narrow:.2f`, {glue:text}`term-middle:.2f` and {glue:text}`term-wide:.2f`. With the
# narrow surrogate the factor of `full` is negative there; with the wide one the term is a small correction.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
for name, width in {"narrow": 0.1, "middle": 0.3, "wide": 2.0}.items():
    potential = torch.ones(1, dtype=torch.float64, requires_grad=True)
    ((potential - 1) / width).sigmoid().sum().backward()
    h = potential.grad.item()  # the surrogate at the threshold
    assert abs(h - 1 / (4 * width)) < 1e-12
    figures.note(f"term-{name}", h)
    print(f"temperature {width}: {h:.2f}")

# %% [markdown]
# **3.** Two gradients have the same mean over examples, of length 1, and on top of it independent noise of length 2 for each
# example. What is the angle between them for one example, and for the averages over a hundred?
#
# :::{admonition} Solution
# :class: dropdown
#
# The mean has the squared length 1 and the noise of an average over $n$ has $4/n$, so the cosine is about $1/(1 + 4/n)$:
# {glue:text}`noise-1:.0f`° for one example, {glue:text}`noise-100:.0f`° for a hundred. If averaging were the whole
# explanation, the angles of {numref}`averages` would fall like this in every row.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
size = 100_000
generator = torch.Generator().manual_seed(seed)
for n in (1, 100):
    expected = np.degrees(np.arccos(1 / (1 + 4 / n)))
    noise = torch.randn(2, size, generator=generator) * 2 / (n * size) ** 0.5
    first, second = noise + 1 / size**0.5
    angle = torch.cosine_similarity(first, second, dim=0).arccos().rad2deg()
    assert abs(angle.item() - expected) < 1
    figures.note(f"noise-{n}", expected)
    print(f"{n}: {angle:.1f}° (expected {expected:.1f}°)")

# %% [markdown]
# ## Further reading
#
# - {cite}`kingma2015`: Adam, and why it does not see the scale of a gradient.
# - {cite}`zenke2021`: the shape and scale of the surrogate, and the reset, varied in networks.
#
# ## Appendix: the numbers
#
# ```{glue:table} rates-table
# :name: network-accuracies
# :figclass: full-width
#
# {numref}`network-rates` in numbers: test accuracy in per cent with 95 % intervals. *Broke down*: how many trainings with
# `full`, `leak` and `spatial` ended below {glue:text}`broken:.0f` %.
# ```
#
# ```{glue:table} others-table
# :name: other-accuracies
# :figclass: full-width
#
# {numref}`network-others` in numbers: test accuracy in per cent with 95 % intervals.
# ```
#
# ```{glue:table} sensitivity-table
# :name: network-sensitivity
#
# The differences of {numref}`network-widths` between networks, with half the distance that counts as usable, the same,
# and half as much again. {numref}`neuron-sensitivity` has those of the single neuron.
# ```
