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
# # Where time matters
#
# Images shown to a spiking network do not need time: without any gradient along the membrane, networks learn them about
# as well. Such tasks cannot say what the path through the reset is worth. This chapter takes tasks in which time carries
# the answer, and asks the question of everyone who trains spiking networks: should the gradient pass through the reset?
#
# :::{admonition} About this chapter
# - **For** readers who train spiking networks on signals, and have to decide whether to detach the reset.
# - **Needed:** {doc}`02_gradient`; Adam and its learning rate.
# - **Afterwards** you know how the answer depends on the width of the surrogate, on depth and on recurrent weights, and
#   which networks you can predict it for before training them.
# :::
#
# **The answer on these tasks.** It depends on the width of the surrogate. A network with one hidden layer is most accurate at
# $\Theta$ = {glue:text}`best-width:g` with the reset term; there the term is worth {glue:text}`worth-moderate` points. With a
# steep surrogate ($\Theta$ = 0.02) it costs {glue:text}`cost-steep` points, with a wide one ($\Theta$ = 2)
# {glue:text}`cost-wide`: detach the reset there, or take another width.
#
# The study was [planned](time-plan) before it was run: hypotheses, cells, seeds and what would refute each. The plan stands
# in this book as it was written.

# %%
import numpy as np
import pandas as pd
import torch
from scipy import stats

from tsbp.runs import cells as training
from tsbp.runs import controls, data, evaluation
from tsbp.runs.settings import CellConfig
from tsbp.study import (
    cells,
    figures,
    hypotheses,
    mechanism,
    tables,
    time_figures,
    time_tables,
)
from tsbp.surrogate import SURROGATES

# %% tags=["remove-cell"]
figures.use_style()

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; the records are the same in both
seed: int = 0  # decides the initial weights of the networks that are looked into
temperature: float = 0.02  # at which the two scales of the surrogate are compared
trained_epochs: int = 4  # of the networks that are looked into after training
epochs: int = 2  # of the training in the exercises

# %% [markdown]
# ## The task
#
# *Randman* {cite}`zenke2021` has 10 classes. A class is a smooth random surface in the space of spike times of 20 inputs:
# an example is a point on it, and every input fires exactly once, when the point says.

# %%
config = CellConfig.for_dataset("randman", weight_gain=4.0, clip_norm=np.inf)
randman = evaluation.prepare(
    config, data.load("randman", time_steps=config.time_steps)
)
assert bool((randman.train_images.sum(1) == 1).all())  # one spike for each input
counted = controls.count_accuracy(randman)
print(
    f"a classifier of spike counts: {counted:.1f} % of {len(randman.test_labels)} test examples"
)

# %% tags=["remove-cell"]
figures.show("randman-figure", time_figures.rasters(randman))
figures.note("counted", counted)

# %% [markdown]
# ```{glue:figure} randman-figure
# :name: randman
# :alt: Six panels of dots. Each has one dot for every input, and the dots of one class form similar curves.
#
# Only the times tell the classes of Randman apart: three training examples of two classes. A classifier that is given the
# number of spikes of each input is right in {glue:text}`counted:.0f` %, which is chance.
# ```
#
# ## Two schools, one scale
#
# One school detaches the reset: with a steep surrogate, its gradient harms {cite}`zenke2021,gygax2025`. The other keeps
# it: without it, training is unstable {cite}`bauer2023`. They do not scale the surrogate alike. One gives it a peak of 1, the
# other, as the paper does, an area of 1.
#
# Backwards through one step, the error is multiplied by
#
# $$
# \left(1 - \frac{1}{\tau_m}\right)\left(1 - S[t] - c\,U[t]\,h(U[t])\right),
# $$
#
# where $c = 1$ keeps the reset (`full`) and $c = 0$ detaches it (`leak`). A surrogate of peak 1 is $\Theta/k(0)$ times one
# of area 1, so that a peak of 1 with $c = 1$ has the factors of an area of 1 with $c = \Theta/k(0)$. What is left is a
# constant for each layer, which Adam divides out:

# %%
peak = SURROGATES["sigmoid"].peak
weight = temperature / peak
images, labels = randman.train_images[:50], randman.train_labels[:50]


def weight_gradients(gradient: str, **settings) -> list[torch.Tensor]:
    """Of both layers of weights, before training."""
    one = config.but(temperature=temperature, **settings).alone(
        gradient, 0.01, seed
    )
    network = evaluation.build_network(one, randman).double()
    network.register_forward_pre_hook(lambda module, given: (given[0].double(),))
    target = evaluation.target_of(labels, randman, one)
    loss = evaluation.loss_of(network, images, target, randman, one).mean()
    return list(torch.autograd.grad(loss, list(network.parameters())))


with_peak = weight_gradients("full", surrogate_scale="peak")
with_area = weight_gradients(str(weight))
ratios = [
    (x.norm() / y.norm()).item() for x, y in zip(with_peak, with_area, strict=True)
]
for x, y, ratio in zip(with_peak, with_area, ratios, strict=True):
    assert torch.allclose(x, ratio * y, rtol=1e-9, atol=1e-15)
print(
    f"peak 1, c = 1, is {ratios[0]:g} and {ratios[1]:g} times area 1, c = {weight:g}"
)

# %% tags=["remove-cell"]
figures.note("weight", weight)
figures.note("steep", temperature)

# %% [markdown]
# At $\Theta$ = {glue:text}`steep:g`, "a peak of 1 with the reset kept" therefore means $c$ = {glue:text}`weight:g` on the
# paper's scale: hardly more than detached. The two schools stand at two ends of one axis. From here on the surrogate has
# an area of 1, and $c$ and $\Theta$ are varied.
#
# ## What was found
#
# A *cell* is one setting of everything but gradient, learning rate and seed. In each, held-out examples chose a learning
# rate for every gradient and a common one; ten fresh seeds were tested at both.

# %%
found = cells.cells("time/randman")
table = time_tables.cell_table(found)

# %% tags=["remove-cell"]
figures.show("cells-table", tables.show(table, "network", "verdict", "so"))
figures.show("differences-figure", time_figures.differences(found))
one_layer = [cell for cell in found if "2" in cell.held_out]
figures.show("weights-figure", time_figures.over_weights(one_layer))
figures.show("rates-figure", time_figures.over_rates(found))
single = {cell.config.temperature: cell for cell in found if cell.network == "128"}
best = max(single.values(), key=lambda cell: cell.accuracy("full").mean)
gain = single[0.2].difference()
figures.note("best-width", best.config.temperature)
figures.note("worth-moderate", f"{gain.mean:.1f} ± {gain.half_width:.1f}")
for width, name in ((0.02, "steep"), (2.0, "wide")):
    loss = single[width].difference()
    figures.note(f"cost-{name}", f"{-loss.mean:.1f} ± {loss.half_width:.1f}")
figures.note("seeds", len(found[0].right["common"]["full"]))
for protocol in cells.PROTOCOLS:
    for word, number in time_tables.tally(found, protocol).items():
        figures.note(f"{protocol}-{word}", number)
judged = list(zip(found, time_tables.verdicts(found)["own"], strict=True))
for word in ("keep", "detach", "either", "open"):
    those = [
        cell.title
        for cell, verdict in judged
        if time_tables.advice(verdict) == word
    ]
    figures.note(f"those-{word}", "; ".join(those) or "none")

# %% [markdown]
# ```{glue:figure} differences-figure
# :name: time-differences
# :alt: Dots with intervals for each cell, left full minus leak, right full minus spatial, around a line at zero.
#
# Whether the reset should be kept depends on the width of the surrogate. Test accuracy of `full` minus that of the others,
# with 95 % intervals over seeds and test examples. Filled: each gradient at its own learning rate; hollow: all at the
# common one. Records: {records}`time/randman`.
# ```
#
# ```{glue:table} cells-table
# :name: cells
# :figclass: full-width
#
# Of {glue:text}`own-all` cells, keep the reset in {glue:text}`own-keep`, detach it in {glue:text}`own-detach`; in
# {glue:text}`own-either` the two are equal within 2 points, and {glue:text}`own-open` are open. Test accuracy in per cent,
# each gradient at its own learning rate; verdicts after Holm's correction over all cells and both protocols.
# ```
#
# - **Keep:** {glue:text}`those-keep`.
# - **Detach:** {glue:text}`those-detach`.
# - **Either:** {glue:text}`those-either`.
# - **Open:** {glue:text}`those-open`.
#
# ```{glue:figure} weights-figure
# :name: reset-weights
# :alt: Accuracy over c for each temperature, with intervals.
#
# How much of the reset term should be kept, for each width of the surrogate: one hidden layer of 128 neurons, each weight
# $c$ at its own learning rate. Records: {records}`time/randman`.
# ```
#
# ```{glue:figure} rates-figure
# :name: time-rates
# :alt: Small panels of accuracy over the learning rate for the three gradients; the curves rise and fall.
#
# Which learning rates work, by the tuning runs on held-out examples: lines are means, dots are seeds. Records:
# {records}`held-out/randman`.
# ```

# %%
judged = hypotheses.findings(cells.cells())
usable = time_tables.usable_table([cell for cell in found if not cell.recurrent])

# %% tags=["remove-cell"]
figures.show(
    "hypotheses-table",
    tables.show(
        hypotheses.hypothesis_table(judged), "hypothesis", "verdict", "found"
    ),
)
figures.show("usable-table", tables.show(usable, "network"))

# %% [markdown]
# ```{glue:table} hypotheses-table
# :name: hypotheses
#
# The hypotheses of the [plan](time-plan), judged by its rules. Those whose cells are not all recorded are *not run yet*.
# ```
#
# ```{glue:table} usable-table
# :name: usable
#
# By how many factors of ten the range of usable learning rates is wider with the reset kept than detached, for three
# distances from the best accuracy; the plan's is 5 points. Intervals over the two tuning seeds; an open end means that
# rates that were not tried may be usable.
# ```
#
# ## Why: how errors travel
#
# The text from here to the summary was not planned: it explores what the cells show.
#
# An error travels back in time along each membrane, multiplied at every step by the factor above. The width of the
# surrogate decides what the reset term does to it:
#
# - **Steep:** $h$ is high and narrow. Few potentials come near the threshold; there the factor is far below -1.
# - **Moderate:** an error enters a membrane where $h$ is large, near the threshold. There the term makes the factor small,
#   so that little of it travels on.
# - **Wide:** $h$ is low and reaches far. At potentials below zero the term adds to the factor, which is above 1 where
#   $c\,|U|\,h$ outweighs the leak.

# %%
looked_into = {
    (cell.network, cell.config.temperature): mechanism.before_training(
        cell.config, randman, seed=seed
    )
    for cell in found
}
largest = {
    place: {name: one.error.max() for name, one in by_gradient.items()}
    for place, by_gradient in looked_into.items()
}

# %% tags=["remove-cell"]
every_network = {
    place: those
    for place, those in looked_into.items()
    if place[1] in (0.02, 0.2, 2.0)
}
figures.show("errors-figure", time_figures.errors_back_in_time(every_network))
for width, name in ((0.02, "steep"), (0.2, "moderate"), (2.0, "wide")):
    alone = config.but(temperature=width)
    one = mechanism.before_training(alone, randman, ("full",), seed)["full"]
    figures.note(f"near-{name}", 100 * one.near)
    figures.note(f"amplified-{name}", 100 * one.amplified)
    figures.note(f"step-{name}", one.per_step)

# %% [markdown]
# In one hidden layer of 128 neurons before training, {glue:text}`near-steep:.1f` % of the potentials are within $\Theta$ of
# the threshold at 0.02, {glue:text}`near-moderate:.1f` % at 0.2 and {glue:text}`near-wide:.0f` % at 2. With `full`, the
# factor is beyond 1 or -1 in {glue:text}`amplified-steep:.1f`, {glue:text}`amplified-moderate:.1f` and
# {glue:text}`amplified-wide:.0f` % of the steps. Along one membrane, the error is multiplied by
# {glue:text}`step-steep:.3f`, {glue:text}`step-moderate:.3f` and {glue:text}`step-wide:.3f` a step (root mean square).
# Layers and recurrent weights multiply this further:
#
# ```{glue:figure} errors-figure
# :name: errors-back
# :alt: Panels of the size of the error over the time step, on a logarithmic axis, for networks in rows and widths in columns.
#
# How large an error becomes on its way back depends on gradient, width and network: root mean square of the error at the
# first hidden layer, before training, over {glue:text}`looked-examples` examples. It arrives over all time steps, and
# travels to the left.
# ```
#
# Does this predict which networks suffer? The larger error should be the worse one. The ratio of the largest errors of
# `full` and `leak` is known before training; {numref}`predicted` sets it against what training reached.

# %%
ratio = [
    largest[cell.network, cell.config.temperature]["full"]
    / largest[cell.network, cell.config.temperature]["leak"]
    for cell in found
]
gained = [cell.difference(protocol="common").mean for cell in found]
rank = stats.spearmanr(ratio, gained)
right = sum((r < 1) == (g > 0) for r, g in zip(ratio, gained, strict=True))
print(f"rank correlation {rank.statistic:+.2f}, p = {rank.pvalue:.3f}")
print(f"the sign is right in {right} of {len(found)} cells")

# %% tags=["remove-cell"]
figures.show("predicted-figure", time_figures.predicted(found, ratio))
figures.note("looked-examples", 50)
figures.note("rank", f"{rank.statistic:+.2f}")
figures.note("rank-p", f"{rank.pvalue:.3f}")
figures.note("signs", right)

# %% [markdown]
# ```{glue:figure} predicted-figure
# :name: predicted
# :alt: Dots, squares for recurrent networks: difference of accuracy over the ratio of errors on a logarithmic axis.
#
# The ratio of the largest errors before training against accuracy of `full` minus that of `leak` at the common learning
# rate: rank correlation {glue:text}`rank` (p = {glue:text}`rank-p`), sign as expected in {glue:text}`signs` of
# {glue:text}`own-all` cells. Squares: recurrent networks.
# ```
#
# Training changes this. With the reset term, a network can reduce its loss by moving potentials away from the threshold,
# where the term acts: the threshold repels.

# %%
rows = []
for width in (0.02, 0.2, 2.0):
    for gradient in ("full", "leak"):
        one = config.but(temperature=width, epochs=trained_epochs)
        alone = one.alone(gradient, 0.02, seed)
        start = evaluation.build_network(alone, randman)
        (before,), (after,) = (
            mechanism.travel(network, images, labels, randman, alone)
            for network in (start, mechanism.trained(alone, randman))
        )
        rows.append(
            {
                "Θ": f"{width:g}",
                "trained with": gradient,
                "near the threshold": f"{100 * before.near:.1f} % → {100 * after.near:.1f} %",
                "spikes in a step": f"{100 * before.firing.mean():.2f} % → {100 * after.firing.mean():.2f} %",
                "error, a step": f"× {before.per_step:.3f} → × {after.per_step:.3f}",
            }
        )

# %% tags=["remove-cell"]
figures.show("repelled-table", tables.show(pd.DataFrame(rows), "trained with"))
figures.note("trained-epochs", trained_epochs)

# %% [markdown]
# ```{glue:table} repelled-table
# :name: repelled
#
# What training with each gradient does to potentials, spikes and errors: before it, and after {glue:text}`trained-epochs`
# epochs at a learning rate of 0.02, in one network of one hidden layer for each row. Near: within $\Theta$ of the threshold.
# ```
#
# ## Summary
#
# - Peak 1 and area 1 are two weights of the reset term on one scale; the two schools speak of different ends of it.
# - Keep the reset term at widths of the surrogate at which networks learn best, here $\Theta$ = 0.06 to 0.2 of the
#   threshold; detach it where the surrogate is steep or wide. {numref}`cells` has the networks, and {numref}`switches` the
#   line of code.
# - What the reset does to errors on their way back is visible before training.
#
# ## Exercises
#
# **1.** Which weight $c$ on the scale of area 1 does a peak of 1 stand for at $\Theta$ = 0.25, for each surrogate?
#
# :::{admonition} Solution
# :class: dropdown
#
# $\Theta/k(0)$: for the sigmoid, $k(0) = 1/4$, it is 1. At this width the two scales are one.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
same = {name: 0.25 / surrogate.peak for name, surrogate in SURROGATES.items()}
assert same["sigmoid"] == 1
print("\n".join(f"{name:15}c = {c:.2f}" for name, c in same.items()))

# %% [markdown]
# **2.** A neuron with $\tau_m = 20$ and a sigmoid of $\Theta = 2$ is at a potential below zero. From which potential on does
# `full` multiply the error by more than 1?
#
# :::{admonition} Solution
# :class: dropdown
#
# Where $(1 - 1/\tau_m)(1 - U\,h(U)) > 1$. That is so for potentials from {glue:text}`beyond-low:.1f` to
# {glue:text}`beyond-high:.2f`: beyond the lower end $h$ has become too small.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
potential = torch.linspace(-40, 0, 40001, dtype=torch.float64)
wide = CellConfig.for_dataset("randman", temperature=2.0, tau_m=20.0).alone(
    "full", 1.0, 0
)
beyond = potential[mechanism.membrane_factors(potential, wide) > 1]
assert beyond.max() < 0
figures.note("beyond-low", beyond.min())
figures.note("beyond-high", beyond.max())
print(f"from {beyond.min():.2f} to {beyond.max():.2f}")

# %% [markdown]
# **3.** Train a cell of your own: a quarter of the examples, two learning rates, both gradients, side by side.
#
# :::{admonition} Solution
# :class: dropdown
#
# `tsbp cell randman` does so, with `--gradient`, `--lr` and `--seed` said several times; in Python it is `cells.run`.
# After so few updates the accuracies are far below those of {numref}`cells`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
small = config.but(
    examples=500,
    epochs=epochs,
    gradients=("full", "leak"),
    learning_rates=(0.01, 0.1),
    seeds=(seed,),
)
reached = training.run(small, dataset=data.load("randman", time_steps=100))
for gradient, accuracies in zip(
    small.gradients, reached["test_accuracies"], strict=True
):
    print(
        gradient,
        [
            f"{rate:g}: {one[0]:.1f} %"
            for rate, one in zip(small.learning_rates, accuracies, strict=True)
        ],
    )
assert np.shape(reached["test_accuracies"]) == (2, 2, 1)

# %% [markdown]
# ## Further reading
#
# - {cite}`zenke2021`: the robustness of surrogate gradients, and Randman.
# - {cite}`gygax2025`: what surrogate gradients are in theory, with the case for leaving the reset out.
# - {cite}`bauer2023`: EXODUS, which puts the reset back into SLAYER.
