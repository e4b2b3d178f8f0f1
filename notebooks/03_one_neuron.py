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
# random input spikes with a fixed random spike train. With the reset term, the paper says, it learns better at
# learning rates above 0.005, and about as well below. Here is the experiment again, with more neurons, a third
# gradient, and numbers.

# %% tags=["parameters"]
profile: str = "quick"  # quick: 100 repeats; full: 1000
seed: int = 0  # decides inputs, targets and initial weights
repeats: int = 0  # number of repeats; 0 takes that of the profile
learning_rates: list = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1]  # to compare
temperature: float = 0.3  # width of the surrogate derivative
iterations: int = 200  # updates of the weights

# %% tags=["remove-cell"]
import numpy as np
import pandas as pd
from myst_nb import glue

from tsbp import figures, toy
from tsbp.statistics import loss_table, verdicts

figures.use_style()
repeats = repeats or {"quick": 100, "full": 1000}[profile]
glue("profile", profile, display=False)
glue("repeats", repeats, display=False)
glue("seed", seed, display=False)

# %% [markdown]
# ## The set-up
#
# Table 1 of the paper fixes the sizes and constants. It is silent about the initial weights, the number of repeats and the
# learning rates of its Fig. 3; the weights here are normal with variance 1/50, so that a neuron starts out firing now and then.

# %%
config = toy.ToyConfig(
    learning_rates=tuple(learning_rates),
    repeats=repeats,
    iterations=iterations,
    seed=seed,
    temperature=temperature,
)
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
pd.DataFrame(
    table_1.items(), columns=["quantity (Table 1)", "value"], dtype=object
).style.hide().format({"value": "{:g}"})

# %% [markdown]
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
one = toy.ToyConfig(
    gradients=("full",),
    learning_rates=(0.005,),
    iterations=iterations,
    seed=seed,
    temperature=temperature,
)
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
    figures.phases(phases, trace["spikes"].numpy(), trace["target"].numpy()),
)
settled = trace["converged"].item()
text = (
    f"reproduces the target from iteration {settled} on"
    if settled >= 0
    else "never settles on the target exactly"
)
glue("convergence", text, display=False)

# %% [markdown]
# ```{glue:figure} phases-figure
# :name: phases
# :alt: Left, four panels with the gradient phases of all iterations overlaid. Right, a raster of output spikes.
#
# The paper's Fig. 2, for the first draw of seed {glue:text}`seed`. Left: the four phases, from the first iteration (yellow) to the last
# (dark); the tail that B adds to A points backwards in time, and C keeps of it what lies near the threshold. Right: the output
# spikes over iterations. This neuron {glue:text}`convergence`; the paper's converged near iteration 30.
# ```
#
# ## Learning rates
#
# Now every repeat, learning rate and gradient at once. Inputs, targets and initial weights of a repeat are the same for
# all gradients and learning rates, so the comparison is paired.

# %%
result = toy.run(config)
losses = {
    name: np.stack(
        [result.final_loss(name, rate).numpy() for rate in config.learning_rates]
    )
    for name in config.gradients
}

# %% tags=["hide-input", "remove-output"]
curves = {
    rate: {name: result.curves(name, rate).numpy() for name in config.gradients}
    for rate in config.learning_rates
}
figures.show("loss-curves-figure", figures.loss_curves(curves))
figures.show(
    "learning-rates-figure",
    figures.loss_by_learning_rate(config.learning_rates, losses),
)

# %% [markdown]
# ```{glue:figure} loss-curves-figure
# :name: loss-curves
# :alt: Loss over iterations for several learning rates, three gradients each, with dashed standard deviations.
#
# The paper's Fig. 3 ({glue:text}`profile` profile, {glue:text}`repeats` repeats): mean loss (solid) and one standard deviation
# either way (dashed; cut off at twice the initial loss). At small learning rates `leak` is ahead; at large ones it stops converging, and `full` does not.
# ```
#
# ```{glue:figure} learning-rates-figure
# :name: learning-rates
# :alt: Mean final loss over the learning rate for three gradients.
#
# Final loss over the learning rate ({glue:text}`profile` profile, {glue:text}`repeats` repeats; bands: 95 % interval of the mean). `full` and `leak`
# cross near the paper's default of 0.005. At the largest rates the gradient with no path through time at all loses least.
# ```

# %% tags=["hide-input"]
loss_table(config.learning_rates, losses).style.hide()

# %% tags=["remove-cell"]
rates = np.array(config.learning_rates)
difference = losses["full"] - losses["leak"]
for name, chosen in {
    "above": rates > 0.005,
    "at": rates == 0.005,
    "below": rates < 0.005,
}.items():
    glue(
        name,
        verdicts([f"{rate:g}" for rate in rates[chosen]], difference[chosen]),
        display=False,
    )

# %% [markdown]
# The last column is the paired difference of the final loss with its 95 % interval; below zero the reset term helps.
# Compared with `leak`, the loss of `full` is
#
# - above the paper's default learning rate: {glue:text}`above`;
# - at it: {glue:text}`at`;
# - below it: {glue:text}`below`.
#
# So the paper's claim about large learning rates holds, and its claim that the term costs nothing at small
# ones does not: there, learning *with* the term is slower. The word "without" can also be read as `spatial`, and
# then the picture is another one, since that gradient is the slowest at small learning rates and the most robust at large ones.
