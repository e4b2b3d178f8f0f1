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
# # One neuron
#
# The paper's first experiment {cite}`yang2020` is the smallest one possible: a single neuron learns to answer fixed
# random input spikes with a fixed random spike train. With the reset term, the paper says, the algorithm "performs better
# when learning rate is > 0.005" and has "competitive performance" at smaller rates. Here is the experiment again, with a
# third gradient, enough neurons for intervals, and the controls that tell what the difference comes from.
#
# :::{admonition} About this chapter
# - **For** readers who want to see what the reset term does where nothing else can interfere.
# - **Needed:** the gradients `full`, `leak` and `spatial` of {doc}`02_gradient`, gradient descent, and what a confidence
#   interval is.
# - **Afterwards** you know at which learning rates the term helps a single neuron and at which it harms, how much of
#   that is the length of the gradient and how much its direction, and why a neuron trained with `leak` falls silent.
# :::

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML

from tsbp.runs import experiments, records, toy
from tsbp.study import figures, robustness, tables, toy_figures
from tsbp.study.studies import (
    loss_studies,
    loss_studies_over,
    loss_study,
    mostly_silent_from,
)
from tsbp.study.tables import crossing, crossover_table, loss_table

# %% tags=["parameters"]
profile: str = "quick"  # quick: 100 repeats; full: 1000
seed: int = 0  # decides inputs, targets and initial weights
repeats: int = 0  # number of repeats; 0 takes that of the profile
learning_rates: list = []  # to compare; [] takes eight from 0.0005 to 0.1
temperature: float = 0.3  # width of the surrogate derivative
iterations: int = 200  # updates of the weights

# %% tags=["remove-cell"]
figures.use_style()
repeats = repeats or {"quick": 100, "full": 1000}[profile]
figures.note("profile", profile)
figures.note("repeats", repeats)
figures.note("seed", seed)

# %% [markdown]
# ## The set-up

# %%
config = toy.ToyConfig(
    learning_rates=tuple(learning_rates) or toy.ToyConfig().learning_rates,
    repeats=repeats,
    iterations=iterations,
    seed=seed,
    temperature=temperature,
)

# %% tags=["hide-input", "remove-output"]
table_1 = {
    "input neurons": config.n_inputs,
    "time steps": config.time_steps,
    "input spike probability": config.input_probability,
    "target spike probability": config.target_probability,
    "membrane time constant": config.tau_m,
    "synaptic time constant": config.tau_s,
    "sigmoid temperature": config.temperature,
    "default learning rate": 0.005,
}
values = [f"{value:g}" for value in table_1.values()]
constants = pd.DataFrame({"quantity": list(table_1), "value": values})
figures.show("constants-table", tables.show(constants, "quantity"))
figures.note("stated", len(table_1))
figures.note("threshold", config.threshold)
figures.note("inputs", config.n_inputs)

# %% [markdown]
# ```{glue:table} constants-table
# :name: constants
#
# The paper's Table 1 has these {glue:text}`stated` settings and leaves out others that a repetition needs: the threshold,
# the initial weights, the number of repeats and the learning rates of its Fig. 3. Here the threshold is
# {glue:text}`threshold:g`, and weights are normal with variance 1/{glue:text}`inputs`, so that a neuron fires now and
# then from the start.
# ```
#
# (which-baseline)=
# **Which "without"?** The paper compares "with/without the reset dependency", which can be read in
# two ways. Its equations say `leak`: the same recursion with one term fewer. The notebook that the author had published
# three days before the paper ([`toy_experiment.ipynb`](https://github.com/superrrpotato/Acc-Timing) at commit 7540a58)
# multiplies the error through the synaptic kernel by the surrogate and stops there, which is `spatial`. Both are
# measured here; [neither](baseline-found) gives the whole of the paper's sentence.
#
# ## The four phases of the gradient
#
# The paper's Fig. 2 follows the gradient of one neuron backwards through its four phases:
#
# - **A**, the error $a[t] - a_\text{target}[t]$;
# - **B**, the error after the synaptic kernel, backwards in time: the gradient at the spikes;
# - **C**, B times the surrogate derivative $h$: what reaches the potential directly ($grad_{us}$);
# - **D**, C plus what comes back through time, reset term included ($grad_{ut}$), the $\delta$ of {eq}`delta`.
#
# One neuron is trained with `full` at the default learning rate, and every iteration is kept.

# %%
one = config.but(gradients=("full",), learning_rates=(0.005,))
trace = toy.trace(one)

# %% tags=["hide-input", "remove-output"]
titles = {
    "A": "A: error",
    "B": "B: through the kernel",
    "C": "C: times the surrogate",
    "D": "D: through time",
}
phases = {title: trace[name].numpy() for name, title in titles.items()}
figures.show(
    "phases-figure",
    toy_figures.phases(phases, trace["spikes"].numpy(), trace["target"].numpy()),
)
settled = trace["converged"].item()
text = (
    f"reproduces the target from iteration {settled} on"
    if settled >= 0
    else "never settles on the target exactly"
)
figures.note("convergence", text)

# %% [markdown]
# ```{glue:figure} phases-figure
# :name: phases
# :alt: Left, four panels with the gradient phases of all iterations overlaid. Right, a raster of output spikes.
#
# The paper's Fig. 2, for the first draw of seed {glue:text}`seed`. Left: the four phases, from the first iteration
# (brown) to the last (blue); the tail that B adds to A points backwards in time, and C keeps of it what lies near the
# threshold. Right: the output spikes over iterations. This neuron {glue:text}`convergence`; the paper's converged "near
# the 30th iteration".
# ```
#
# ## Learning rates
#
# Now every repeat, learning rate and gradient at once. Inputs, targets and initial weights of a repeat are the same for
# all gradients and learning rates, so the comparison is paired.

# %%
result = toy.run(config)
rates = np.array(config.learning_rates)
losses = {
    name: np.stack([result.final_loss(name, rate).numpy() for rate in rates])
    for name in config.gradients
}

# %% tags=["hide-input", "remove-output"]
curves = {
    rate: {name: result.curves(name, rate).numpy() for name in config.gradients}
    for rate in config.learning_rates[-6:]
}
figures.show("loss-curves-figure", toy_figures.loss_curves(curves))
figures.show(
    "learning-rates-figure", toy_figures.loss_by_learning_rate(rates, losses)
)
figures.show("losses-table", tables.show(loss_table(rates, losses)))

difference = losses["full"] - losses["leak"]
estimate, low, high = crossing(rates, difference)
figures.note("crossing", f"{estimate} (95 % interval {low} to {high})")
figures.note("crossing-estimate", estimate)
figures.note("papers-rate", table_1["default learning rate"])
for row, name in enumerate(config.gradients):
    figures.note(f"largest-{name}", losses[name][-1].mean())
    right = (result.converged[row, -1] >= 0).double().mean().item()
    figures.note(f"right-{name}", 100 * right)

# %% [markdown]
# ```{glue:figure} learning-rates-figure
# :name: learning-rates
# :alt: Mean final loss over the learning rate. Leak is lowest at small rates, full in the middle, spatial at the largest.
#
# `full` and `leak` cross near the paper's default of {glue:text}`papers-rate:g`, at {glue:text}`crossing-estimate`. At
# the largest rate tried `spatial` has the lowest loss: {glue:text}`largest-spatial:.2f`, against
# {glue:text}`largest-full:.2f` with `full` and {glue:text}`largest-leak:.2f` with `leak`. Final loss over the learning
# rate ({glue:text}`profile` profile, {glue:text}`repeats` repeats; bands: 95 % interval of the mean).
# ```
#
# The two mean curves cross at a learning rate of {glue:text}`crossing`; {numref}`crossovers` has the recorded run. So
# the paper's claim holds at the largest rates, and "competitive performance" at small ones is too kind: there, learning
# *with* the term is slower ({numref}`losses` has every rate).
#
# ```{glue:figure} loss-curves-figure
# :name: loss-curves
# :alt: Loss over iterations for six learning rates, three gradients each. At the largest rate leak stays high.
#
# At small learning rates `leak` is ahead; at the largest it stops converging, and `full` does not: with `leak`
# {glue:text}`right-leak:.0f` % of the neurons have all their spikes right at the end, with `full`
# {glue:text}`right-full:.0f` %. The paper's Fig. 3: mean loss (solid) and one standard deviation either way (dashed; cut off at twice the
# initial loss).
# ```

# %% tags=["hide-input", "remove-output"]
silent = result.silent.double().mean(-1)
diverged = result.diverged.double().mean(-1)
shares = {
    f"{name} {what}": [f"{100 * x:.0f} %" for x in found[row]]
    for what, found in (("silent", silent), ("worse", diverged))
    for row, name in enumerate(config.gradients)
}
fates = pd.DataFrame({"learning rate": [f"{rate:g}" for rate in rates]} | shares)
figures.show("fates-table", tables.show(fates.iloc[-4:]))
for row, name in enumerate(config.gradients):
    figures.note(f"silent-{name}", 100 * silent[row, -1].item())
figures.note("largest-rate", f"{rates[-1]:g}")

# %% [markdown]
# The spikes show what happens at large rates. A neuron that stops firing receives almost no gradient and rarely
# recovers.
#
# ```{glue:table} fates-table
# :name: fates
#
# At the learning rate {glue:text}`largest-rate`, {glue:text}`silent-leak:.0f` % of the neurons trained with `leak` fall
# silent, {glue:text}`silent-full:.0f` % with `full` and {glue:text}`silent-spatial:.0f` % with `spatial`. *Silent*: no
# output spike after the last update. *Worse*: a larger loss than before the first.
# ```
#
# ## Try it
#
# Here the neuron of {numref}`phases` learns in your browser, with all three gradients from the same draws. Near a
# learning rate of 0.03 each of them learns most draws exactly; from about {glue:text}`silent-leak-from:.2f` on `leak`
# falls silent on most, from about {glue:text}`silent-full-from:.2f` on `full` as well.

# %% tags=["hide-input"]
draws = toy.draw(config.but(repeats=1, dtype="float64"))
HTML(toy_figures.explorable(draws))

# %% [markdown]
# A slider shows the result of its training at once; *Restart* shows it happen.
#
# (how-robust)=
# ## How robust?
#
# The term is "more robust to learning-rate adjustments", the paper's conclusion says. A gradient is robust if a wide
# range of learning rates works. Call a rate usable if the mean loss there is
# within {glue:text}`usable-distance:g` of the best mean loss of any of the three gradients at any rate; between two
# rates tried, means are interpolated over the logarithm of the rate. The width of the usable range, in decades (factors
# of ten), is then a number that does not depend on where a grid of rates happens to end.

# %% tags=["hide-input", "remove-output"]
figures.note("usable-distance", robustness.LOSS_DISTANCE)
figures.note("record-repeats", toy.ToyConfig().repeats)
neurons = [
    one_study
    for one_study in robustness.rate_studies(records.load("train"))
    if one_study.title.startswith("single neuron")
]
found = {one_study.title: robustness.widths(one_study) for one_study in neurons}
widths = robustness.width_table(found)
figures.show("widths-table", tables.show(widths, "study"))
sensitivity = robustness.sensitivity_table(neurons)
figures.show("sensitivity-table", tables.show(sensitivity, "study"))
neuron = found["single neuron, SGD"]
for name, (width, low, high) in neuron.widths.items():
    figures.note(f"usable-{name}", robustness.in_decades(width, low, high))
for name, (width, low, high) in neuron.differences.items():
    figures.note(f"wider-{name}", robustness.in_decades(width, low, high, "+"))

# %% [markdown]
# ```{glue:table} widths-table
# :name: neuron-widths
# :figclass: full-width
#
# Under all three optimisers `full` has the widest range, wider than that of `leak` by about half a decade. With
# gradients of length one that of `spatial` is wider still. Width in decades, and the width of `full` less that of
# the others, paired by repeat; in brackets 95 % bootstrap intervals over {glue:text}`record-repeats` neurons. Records:
# {records}`widths/neuron-sgd, widths/neuron-momentum, widths/neuron-length-one, widths/neuron-adam`.
# ```
#
# ```{glue:table} sensitivity-table
# :name: neuron-sensitivity
#
# The comparison of `full` and `leak` does not depend on the usable distance: the same differences with half of it, and
# with half as much again. It was chosen after the losses up to a rate of 0.1 had been seen, before those of the wider
# range.
# ```
#
# At the largest rate at which anything is learned, `spatial` has the lowest loss under SGD, though its range is not the
# widest: it is the shortest gradient, so its whole range lies at larger rates.
#
# ## Speed of convergence
#
# Call a neuron converged from the first iteration on after which its output spikes equal the target, every one of them,
# to the end.

# %% tags=["hide-input", "remove-output"]
converged = {
    name: dict(zip(rates[-5:], result.converged[row, -5:].numpy(), strict=True))
    for row, name in enumerate(config.gradients)
}
figures.show("converged-figure", toy_figures.converged_share(converged, iterations))
default_rate = min(converged["full"], key=lambda rate: abs(rate - 0.005))
default = converged["full"][default_rate]
figures.note("default-rate", f"{default_rate:g}")
figures.note("converged-by-30", 100 * ((default >= 0) & (default <= 30)).mean())
figures.note("converged-default", 100 * (default >= 0).mean())
best = max(
    converged["full"], key=lambda rate: (converged["full"][rate] >= 0).mean()
)
figures.note("best-rate", f"{best:g}")
when = converged["full"][best]
figures.note("best-share", 100 * (when >= 0).mean())
done = when[when >= 0]
figures.note("best-median", int(np.median(done)) if len(done) else "none")

# %% [markdown]
# ```{glue:figure} converged-figure
# :name: converged
# :alt: Share of converged neurons over iterations, one panel for each gradient, one line for each learning rate.
#
# Convergence by iteration 30 (dotted) is the exception near the paper's default learning rate:
# {glue:text}`converged-by-30:.0f` % of the neurons trained with `full` at {glue:text}`default-rate` are done by then,
# {glue:text}`converged-default:.0f` % at the end. At {glue:text}`best-rate` they are {glue:text}`best-share:.0f` %,
# half of them by iteration {glue:text}`best-median`.
# ```
#
# (baseline-found)=
# ## Which baseline does the paper's figure show?
#
# The author's earlier notebook, which computes [`spatial`](which-baseline), also has other constants: 100 inputs,
# $\tau_m = 5$, $\Theta = 0.2$, no delay, initial weights uniform between 0 and 0.05.

# %% tags=["hide-input", "remove-output"]
baselines = loss_studies("toy/table-1", "toy/precursor")
figures.show("baselines-figure", toy_figures.loss_panels(baselines))
beside = loss_table(*loss_study(experiments.load("toy/missing-factor")))
beside = beside.rename(columns={"0.3": "term × 0.3"})
figures.show("missing-factor-table", tables.show(beside))

# %% [markdown]
# ```{glue:figure} baselines-figure
# :name: baselines
# :alt: Final loss over the learning rate for three gradients, with the constants of Table 1 and of the precursor.
#
# Under both sets of constants `leak` is ahead at small learning rates and fails first at large ones. Mean over
# {glue:text}`record-repeats` neurons with its 95 % interval. Records: {records}`toy/table-1, toy/precursor`.
# ```
#
# Neither reading gives both halves of the paper's sentence. Against `leak`, an advantage that begins near 0.005 and
# grows with the learning rate is found, but at small rates `full` is clearly behind. Against `spatial`, `full` is
# competitive at small rates, but the advantage begins earlier and turns into its opposite at the largest rate.
#
# That repository has one more variant: its network code at first (commit 1aac1d2) multiplies the reset term by
# $\sigma(1-\sigma)$ without the factor $1/\Theta$ of {eq}`surrogate`, which scales the term by $\Theta$.
#
# ```{glue:table} missing-factor-table
# :name: missing-factor
#
# With the reset term times $\Theta$, learning is nearly as fast as with `leak` at small rates, still works where `leak`
# begins to fail, and fails with it at the largest. Mean final loss with Table 1's constants; differences are paired,
# with 95 % intervals. Records: {records}`toy/missing-factor`.
# ```
#
# ## Length or direction?
#
# A longer gradient acts like a larger learning rate. To tell length from direction, the three are computed at the same
# weights, those that `full` passes through while it trains at the default learning rate.

# %%
along = toy.compare_along(one.but(repeats=min(repeats, 200)))
norms = {name: gradient.norm(dim=2).numpy() for name, gradient in along.items()}
cosines = {
    name: torch.cosine_similarity(along["full"], along[name], dim=2).numpy()
    for name in ("leak", "spatial")
}

# %% tags=["hide-input", "remove-output"]
figures.show("along-figure", toy_figures.along_the_way(cosines, norms))
for name in ("full", "leak"):
    ratio = along[name].norm(dim=2) / along["spatial"].norm(dim=2)
    figures.note(f"length-{name}", ratio.nanmedian().item())
for name, cosine in cosines.items():
    figures.note(f"cosine-{name}", np.nanmedian(cosine))

# %% [markdown]
# ```{glue:figure} along-figure
# :name: along
# :alt: Left, cosine of the leak and spatial gradients to the full one over iterations. Right, lengths of the three gradients.
#
# `leak` is the longest gradient and `spatial` the shortest; both point roughly the way of `full`. Medians and quartiles
# over neurons. Against the length of `spatial`, that of `full` is {glue:text}`length-full:.1f` times as large and that
# of `leak` {glue:text}`length-leak:.1f` times; the cosine of `full` to `leak` is {glue:text}`cosine-leak:.2f`, to
# `spatial` {glue:text}`cosine-spatial:.2f`.
# ```
#
# At the same learning rate `leak` takes the longest steps. That alone would put it ahead where steps are too short, and
# make it fail first where they are too long. If length were all, the curves of {numref}`learning-rates` would be one
# curve over the learning rate *times the length of the gradient*.

# %% tags=["hide-input", "remove-output"]
wide = experiments.load("widths/neuron-sgd")
wide_rates, wide_losses = loss_study(wide)
for name, rate in mostly_silent_from(wide).items():
    figures.note(f"silent-{name}-from", rate)
same = wide.config.but(gradients=("full",), learning_rates=(0.005,))
lengths = robustness.relative_lengths(
    toy.compare_along(same.but(repeats=min(repeats, 200)))
)
figures.show(
    "collapse-figure", toy_figures.collapse(wide_rates, wide_losses, lengths)
)
for first, second in (("full", "leak"), ("full", "spatial"), ("leak", "spatial")):
    pair = {name: wide_losses[name] for name in (first, second)}
    share, low, high = robustness.collapse(wide_rates, pair, lengths)
    words = f"{100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
    figures.note(f"collapse-{first}-{second}", words)
for name, loss in wide_losses.items():
    figures.note(f"lowest-{name}", loss.mean(1).min())
heavy_rates, heavy_losses = loss_study(experiments.load("widths/neuron-momentum"))
equal_rates, equal_losses = loss_study(experiments.load("widths/neuron-length-one"))
crossings = {
    "sgd": crossing(wide_rates, wide_losses["full"] - wide_losses["leak"]),
    "momentum": crossing(heavy_rates, heavy_losses["full"] - heavy_losses["leak"]),
    "one": crossing(equal_rates, equal_losses["full"] - equal_losses["leak"]),
}
for name, (estimate, low, high) in crossings.items():
    figures.note(f"crossing-{name}", f"{estimate} [{low}, {high}]")
figures.note("crossing-predicted", f"{float(crossings['sgd'][0]) * (1 - 0.9):.2g}")

# %% [markdown]
# ```{glue:figure} collapse-figure
# :name: collapse
# :alt: Left, loss over the learning rate for three gradients; right, the same over the rate times the gradient's length.
#
# Length explains half of what sets `spatial` apart, and none demonstrably of what sets `full` and `leak` apart. Left:
# the loss over a range of learning rates so wide that training fails at both ends. Right: each rate times the length of
# the gradient, in multiples of that of `spatial`, at the weights of {numref}`along`. Mean over
# {glue:text}`record-repeats` neurons with its 95 % interval. Records: {records}`widths/neuron-sgd`.
# ```
#
# That removes {glue:text}`collapse-full-spatial` of the area between the curves of `full` and `spatial` and
# {glue:text}`collapse-leak-spatial` of that between `leak` and `spatial`, but only {glue:text}`collapse-full-leak` of
# that between `full` and `leak`: `leak` never gets as low as the others ({glue:text}`lowest-leak:.2f`, against
# {glue:text}`lowest-full:.2f` with `full` and {glue:text}`lowest-spatial:.2f` with `spatial`). What remains is
# direction, and lengths that change during training or from neuron to neuron.
#
# Where the curves cross is a matter of the step. Momentum of 0.9 makes steps $1/(1 - 0.9)$ times as long in the long
# run, which should move the rate at which `full` overtakes `leak` from {glue:text}`crossing-sgd` to a tenth of that,
# {glue:text}`crossing-predicted`. Measured: {glue:text}`crossing-momentum`.
#
# Two controls take length out of the comparison altogether: every gradient rescaled to length one, and Adam, which is
# invariant to the scale of the gradient.

# %% tags=["hide-input", "remove-output"]
scale_free = loss_studies("toy/length-one", "toy/adam")
figures.show("scale-free-figure", toy_figures.loss_panels(scale_free))

# %% [markdown]
# ```{glue:figure} scale-free-figure
# :name: scale-free
# :alt: Final loss over the learning rate for three gradients of equal length, and under Adam.
#
# With length taken out, `leak` is the worst direction at most rates. Mean over {glue:text}`record-repeats` neurons with
# its 95 % interval. Records: {records}`toy/length-one, toy/adam`.
# ```
#
# Most of the difference between `full` and `leak` remains when length is taken out: from a learning rate of
# {glue:text}`crossing-one` on, `full` has the lower mean loss. Between `full` and `spatial` neither is better at every rate.
#
# ## Other settings
#
# One thing at a time is changed from Table 1.

# %% tags=["hide-input", "remove-output"]
changed = ("momentum", "uniform", "positive", "no-delay", "subtractive-reset")
studies = loss_studies("toy/table-1", *(f"toy/{name}" for name in changed))
figures.show("studies-figure", toy_figures.loss_panels(studies))
varied = {
    name: each
    for name, each in (studies | baselines).items()
    if "momentum" not in name
}
widest = loss_studies(
    *(f"widths/neuron-{name}" for name in ("momentum", "length-one", "adam"))
)
crossings_table = crossover_table(varied | widest)
figures.show("crossover-table", tables.show(crossings_table, "study"))

# %% [markdown]
# ```{glue:figure} studies-figure
# :name: studies
# :alt: Six panels of final loss over the learning rate, one thing changed from Table 1 in each.
#
# `leak` breaks down first as the learning rate grows, whatever is changed. Mean over {glue:text}`record-repeats`
# neurons with its 95 % interval. {numref}`crossovers` has the rates at which the curves cross.
# Records: {records}`toy`.
# ```
#
# ## Why?
#
# A neuron that learns to time its spikes is often just below the threshold ({numref}`surrogate-derivative`). There
# `leak` passes the error of the next step back to this one, multiplied only by $1 - 1/\tau_m$. Yet if the potential
# rises a little, the neuron fires and nothing is left for the next step. `full` takes this into account and passes
# little back. With `leak`, errors of the same sign add up over many steps, the gradient becomes too long, and one
# unwanted spike lowers the potential at all the steps before it. At a large learning rate this silences the neuron. The
# lengths in {numref}`along` and the share of silent neurons agree with this explanation; they do not prove it.
#
# A steep surrogate should do the opposite. At the threshold the factor of `full` is
# $(1 - \frac1{\tau_m})(1 - S - \frac{\vartheta}{4\Theta})$; right above it, where $S = 1$, it is larger than one in
# size when $\Theta < (1 - \frac1{\tau_m})\frac{\vartheta}{4}$.

# %%
limit = (1 - 1 / config.tau_m) * config.threshold / 4
print(
    f"the factor at threshold exceeds 1 in size below a temperature of {limit:.3f}"
)

# %% [markdown]
# There the reset term *can* make the gradient grow through time. This fits {cite:t}`zenke2021`, who report trouble with
# a reset that is differentiated through where the surrogate is steep and not normalised. The same experiment over
# temperatures:

# %% tags=["hide-input", "remove-output"]
by_temperature = loss_studies_over("toy/temperature")
temperatures = tuple(by_temperature)
heat = np.stack(
    [(loss["full"] - loss["leak"]).mean(-1) for _, loss in by_temperature.values()]
)
heat_rates = by_temperature[0.3][0]
figures.show("heat-figure", toy_figures.advantage(heat_rates, temperatures, heat))

# %% [markdown]
# ```{glue:figure} heat-figure
# :name: heat
# :alt: Heat map of the loss difference over learning rate and temperature.
#
# The reset term helps at large learning rates and moderate temperatures (purple), costs something at small rates
# (orange), and helps at none when the surrogate is very steep. Mean loss of `full` minus that of `leak`,
# {glue:text}`record-repeats` neurons a cell. Records: {records}`toy/temperature`.
# ```
#
# The harm sets in well below the limit, not at it. The gradients along the first part of a training with `full` say
# why.

# %% tags=["hide-input", "remove-output"]
rows = []
for value in temperatures:
    gradients = toy.compare_along(
        one.but(
            repeats=min(repeats, 50),
            iterations=min(iterations, 30),
            temperature=value,
        )
    )
    length = {name: gradient.norm(dim=2) for name, gradient in gradients.items()}
    cosine = torch.cosine_similarity(gradients["full"], gradients["leak"], dim=2)
    row = {"temperature": f"{value:g}"}
    row |= {
        f"{n} / spatial": f"{(length[n] / length['spatial']).nanmedian():.1f}"
        for n in ("full", "leak")
    }
    row |= {"cosine of full and leak": f"{cosine.nanmedian():.2f}"}
    row |= {"opposed": f"{100 * (cosine < 0).double().mean():.0f} %"}
    rows.append(row)
figures.show("steepness-table", tables.show(pd.DataFrame(rows)))

# %% [markdown]
# ```{glue:table} steepness-table
# :name: steepness
#
# The steeper the surrogate, the more often `full` and `leak` point in opposed directions; their lengths come near each
# other at both ends of the temperatures. Median lengths, relative to `spatial`, and the share of opposed directions.
# ```
#
# A gradient grows only if the potential is close to the threshold at several steps in a row, and after a spike it
# starts from zero. So `full` stays shorter than `leak` at the limit and somewhat below it. Only with a surrogate so
# steep that single factors are several times larger than one does `full` become about as long as `leak`, and point the
# opposite way more often.
#
# ## Summary
#
# - *Better at learning rates above 0.005*: reproduced against `leak` at the large rates, with every optimiser,
#   initialisation, delay and reset tried here. The rate from which on it is better depends on these. Against `spatial`
#   it is not better at the largest rate.
# - *Competitive below it*: not reproduced under SGD, where `full` is slower. Its gradient is shorter, but length alone
#   does not explain the gap.
# - *More robust to the learning rate*: reproduced. The range of usable rates is {glue:text}`usable-full` decades
#   wide with `full`, {glue:text}`usable-leak` with `leak` and {glue:text}`usable-spatial` with `spatial`; `full` is ahead
#   by {glue:text}`wider-leak` and {glue:text}`wider-spatial`. {doc}`06_settings` has the widths of networks.
#
# ## Exercises
#
# **1.** Momentum 0.9 adds nine tenths of the last step to each new one. Show that under a gradient that stays the same,
# steps grow to ten times the plain one. After how many updates are they within 1 % of that?
#
# :::{admonition} Solution
# :class: dropdown
#
# Step $n$ is $1 + 0.9 + \dots + 0.9^{n-1} = (1 - 0.9^n)/(1 - 0.9)$ times the plain one, which tends to 10. It is within
# 1 % of that once $0.9^n < 0.01$, from $n$ = {glue:text}`momentum-updates` on.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
weight = torch.zeros(1, requires_grad=True)
sgd = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
steps = []
while len(steps) < 100:
    before = weight.item()
    weight.grad = torch.ones(1)
    sgd.step()
    steps.append(before - weight.item())
updates = 1 + next(n for n, step in enumerate(steps) if step > 0.99 * 10)
assert updates == int(np.ceil(np.log(0.01) / np.log(0.9)))
assert abs(steps[-1] - 10) < 0.001
figures.note("momentum-updates", updates)
print(f"step 1: {steps[0]:.2f}, step {updates}: {steps[updates - 1]:.2f}")

# %% [markdown]
# **2.** At 0.2 the mean loss of `full` is above 0.5. At which learning rate do you expect that of `spatial` to be above
# 0.5 too? Guess from {numref}`along`, then compare with the left panel of {numref}`collapse`.
#
# :::{admonition} Solution
# :class: dropdown
#
# `full` takes steps {glue:text}`length-full:.1f` times as long, and its loss at 0.2 is {glue:text}`fails-full:.2f`. So
# that of `spatial` should pass 0.5 somewhere below {glue:text}`fails-guess:.1f`. At 0.2 its loss is
# {glue:text}`fails-spatial:.2f`, at 0.5 {glue:text}`fails-later:.2f`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
few = toy.ToyConfig(repeats=50, learning_rates=(0.2, 0.5))
large = toy.run(few)
final = {
    (name, rate): large.final_loss(name, rate).mean().item()
    for name in ("full", "spatial")
    for rate in few.learning_rates
}
assert final["spatial", 0.2] < 0.5 < final["full", 0.2]
assert final["spatial", 0.5] > 0.5
figures.note("fails-full", final["full", 0.2])
figures.note("fails-spatial", final["spatial", 0.2])
figures.note("fails-later", final["spatial", 0.5])
figures.note("fails-guess", 0.2 * np.nanmedian(lengths["full"]))
print(", ".join(f"{name} at {rate}: {x:.2f}" for (name, rate), x in final.items()))

# %% [markdown]
# **3.** The reset term may have any weight: `full` is weight 1, `leak` weight 0, and a number instead of a gradient's
# name is the weight. Train with the weights 0, ½, 1 and 2 at the learning rates 0.002 and 0.05:
# `toy.ToyConfig(gradients=("leak", "0.5", "full", "2"), ...)`. Which weight would you choose?
#
# :::{admonition} Solution
# :class: dropdown
#
# It depends on the rate. At the small one the loss rises with the weight; at the large one every weight but 0 will do.
# The term shortens the gradient, and a little of it is enough to keep the neuron from falling silent.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
weights = ("leak", "0.5", "full", "2")
weighted = toy.run(
    toy.ToyConfig(repeats=50, learning_rates=(0.002, 0.05), gradients=weights)
)
by_rate = {
    rate: [weighted.final_loss(name, rate).mean().item() for name in weights]
    for rate in (0.002, 0.05)
}
assert by_rate[0.002] == sorted(by_rate[0.002])
assert max(by_rate[0.05][1:]) < by_rate[0.05][0]
for rate, means in by_rate.items():
    print(f"{rate}:", ", ".join(f"{mean:.3f}" for mean in means))

# %% [markdown]
# **4.** Below which temperature does the factor at threshold exceed 1 in size for a membrane that forgets faster,
# $\tau_m = 2$? And for $\tau_m = 1$?
#
# :::{admonition} Solution
# :class: dropdown
#
# Below $(1 - \frac1{\tau_m})\frac{\vartheta}{4}$, which is {glue:text}`fast-limit:.3f` for $\tau_m = 2$. With $\tau_m = 1$
# the limit is zero: nothing of the potential survives a step, and the factor is multiplied by zero.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 4", "code_prompt_hide": "Hide the check of exercise 4"}
fast_limit = (1 - 1 / 2) * config.threshold / 4
for share, exceeds in ((0.99, True), (1.01, False)):
    h = 1 / (4 * share * fast_limit)  # the surrogate at threshold
    factor = (1 - 1 / 2) * (1 - 1 - config.threshold * h)
    assert (abs(factor) > 1) == exceeds
    print(f"temperature {share * fast_limit:.4f}: factor {factor:.3f}")
figures.note("fast-limit", fast_limit)

# %% [markdown]
# ## Further reading
#
# - {cite}`zenke2021`: surrogate gradients in networks, with and without the gradient through the reset.
# - {cite}`gygax2025`: what a surrogate gradient is a gradient of, and what that says about the reset.
# - {cite}`neftci2019`: surrogate gradients from the beginning.
#
# ## Appendix: the numbers
#
# ```{glue:table} losses-table
# :name: losses
#
# {numref}`learning-rates` in numbers: mean final loss, and its difference paired by repeat with the bootstrap 95 %
# interval. Below zero the reset term helps.
# ```
#
# ```{glue:table} crossover-table
# :name: crossovers
#
# With momentum, with gradients of length one and under Adam, the curves cross at smaller learning rates; there the rates
# tried begin at 0.0001. The learning rate at which the mean loss of `full` falls below that of `leak`, with its bootstrap
# 95 % interval, and the lowest mean loss that each gradient reaches at any of the rates. *Below* and *above*: the crossing,
# or that end of its interval, lies below the smallest rate tried, or above the largest.
# ```
