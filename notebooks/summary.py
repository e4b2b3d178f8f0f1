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
# # Reproducibility summary
#
# One page in the form of the ML Reproducibility Challenge.
#
# ## Scope of reproducibility
#
# *Temporal Surrogate Back-propagation for Spiking Neural Networks* {cite}`yang2020` adds the derivative of the
# membrane reset to surrogate gradients. We test each claim that the paper makes about this term:
# {glue:text}`claims-all` in all.

# %% tags=["parameters", "remove-cell"]
profile: str = "quick"  # quick or full; this page is the same in both

# %% tags=["remove-cell"]
from tsbp.study import claims, figures, reproduce, tables

figures.use_style()
found = claims.claims()
verdicts = claims.verdict_table(found)
for what, count in claims.tally(found).items():
    figures.note(f"claims-{what}", count)
total = reproduce.totals()
figures.note("n-records", f"{total['records']:,}")
figures.note("core-hours", f"{total['core_hours']:,.0f}")
figures.note("gpu-hours", f"{total['gpu_hours']:.1f}")

# %% tags=["remove-cell"]
figures.show("summary-verdicts", tables.show(verdicts, *verdicts.columns))

# %% [markdown]
# ## Methodology
#
# We wrote the neuron and its gradients from the equations, and checked them against SymPy, automatic differentiation
# and finite differences. Three gradients are compared: with the reset term (`full`), without it (`leak`), and with no
# gradient through time along the membrane (`spatial`). They share seeds, so that differences are paired. Intervals are
# at 95 %, and a rule in the code turns the measurements into each verdict. The {glue:text}`n-records` recorded runs
# took {glue:text}`core-hours` core-hours on CPUs and {glue:text}`gpu-hours` hours on a GPU.
#
# ## Results
#
# Verdicts on the {glue:text}`claims-all` claims: {glue:text}`claims-reproduced` reproduced, {glue:text}`claims-caveat` reproduced
# with a caveat, {glue:text}`claims-not` not reproduced, {glue:text}`claims-open` open or not measured. The front page gives the
# evidence for each: {doc}`index`.
#
# ```{glue:table} summary-verdicts
# :name: summary-verdicts
#
# The paper's claims, the verdict on each and the measurement that decides it. Brackets and ± are 95 % intervals.
# ```
#
# ## What was easy
#
# A machine can check most of the equations. The single-neuron experiment needs no data and runs in minutes on a laptop.
#
# ## What was difficult
#
# The paper does not state the threshold, the initialisation, the optimiser, the number of repeats, the learning rates
# of its Figure 3, the encoding of images or the target spike trains. Some of its statements contradict each other
# ({doc}`09_errata`). The networks on the whole of N-MNIST and CIFAR-10 need the original data and long training on a
# GPU.
#
# ## Communication with the original authors
#
# None. We relied on the paper, on the code that its author has published and on the code of related methods.
