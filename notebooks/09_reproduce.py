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
# # Reproduce every result
#
# The measurements in this book come from two sources. Those that take seconds are computed when the book is built.
# Longer runs leave a *record*: a small file in `results/` with every setting of the run, the commit of the code, the
# machine, the versions, and the result. This page lists all records, each with the command that repeats it.
#
# Set up once; this needs Python 3.11 or later and make:
#
# ```bash
# make book                  # also installs everything in .venv
# source .venv/bin/activate
# ```
#
# ## Commands
#
# | what | command |
# | --- | --- |
# | the single neuron, {doc}`03_one_neuron` | `tsbp sweep toy` |
# | the networks, {doc}`04_data_sets` | `tsbp sweep networks --workers 2` |
# | the networks that ran on a GPU | `tsbp sweep cuda`, and before it `tsbp sweep tuning/cifar10` |
# | the learning rates of the other runs, chosen on held-out examples | `tsbp sweep tuning --workers 2` |
# | whether to rotate images of MNIST, chosen the same way | `tsbp sweep tuning/augmentation --workers 2` |
# | one setting at a time, {doc}`05_settings` | `tsbp sweep settings --workers 2` |
# | the paper's Table 2 at full length, on CUDA | `tsbp sweep paper --time-budget 570` |
# | the timings, {doc}`06_cost` | `make bench`, or `make bench DEVICE=cuda` |
# | the gradients of other libraries, {doc}`07_other_methods` | `make peers`, then `tsbp agreement --out results/agreement` |
#
# A sweep skips the runs that are recorded in its folder already; with another `--out` it starts from the beginning. On
# several cores, `OMP_NUM_THREADS=1` gives each training one core. The book shows all records that it finds below
# `results/` when it is built. MNIST and CIFAR-10 are downloaded when they are first needed; the error message says
# where N-MNIST has to be placed.

# %% tags=["parameters", "remove-cell"]
profile: str = "quick"  # quick or full; this page is the same in both

# %% tags=["remove-cell"]
from IPython.display import HTML

from tsbp.study import figures, reproduce, tables

figures.use_style()

# %% [markdown]
# ## Computing time
#
# Hours of training, converted to a single core of the processor named (two cores take half as long), or as measured on
# the GPU named. Trainings that shared the GPU took longer in proportion to their number.

# %% tags=["hide-input"]
effort = reproduce.effort_table()
tables.show(effort, "records", "of", "on")

# %% [markdown]
# ## Every record and its command
#
# Settings at their default are left out of the commands. *With changes* means that the code had uncommitted changes;
# the files of the records from a GPU of 2026-11-26 were those of commit 21291c5. The result of a training is its test
# accuracy after the last epoch. On one core, the same machine and versions repeat a training to the last digit.
# Elsewhere sums are formed in another order, and a difference in the last digit can add or remove a spike.

# %% tags=["hide-input"]
HTML(reproduce.command_list())
