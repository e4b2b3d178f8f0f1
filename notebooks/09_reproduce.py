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
# # Make it again
#
# Nothing in this book was typed in that a machine had measured. What takes seconds is computed when the book is built;
# what takes longer left a *record*: a small file in `results/` with every setting of its run, the commit of the code,
# the machine, the versions, and what came out. This page lists them all, each with the command that repeats it.
#
# Set up once, with Python 3.11 or later and make:
#
# ```bash
# make book                  # also installs everything in .venv
# source .venv/bin/activate
# ```
#
# ## All of it
#
# | what | command |
# | --- | --- |
# | the single neuron, {doc}`03_one_neuron` | `make toy-study` |
# | the networks, {doc}`04_data_sets` | `tsbp sweep sweeps/short.yaml --workers 2 --out results/short` |
# | those from a GPU | `tsbp sweep sweeps/cuda.yaml --out results/cuda`, and before it `tsbp sweep sweeps/learning-rate-cuda.yaml --out results/tuning` |
# | the learning rates of the others, on held-out examples | `tsbp sweep sweeps/learning-rate.yaml --workers 2 --out results/tuning` |
# | whether to turn images of MNIST, the same way | `tsbp sweep sweeps/augmentation.yaml --workers 2 --out results/tuning` |
# | one setting at a time, {doc}`05_settings` | `tsbp sweep sweeps/settings.yaml --workers 2 --out results/settings` |
# | the paper's Table 2 in full length, on CUDA | `tsbp sweep sweeps/table-2.yaml --time-budget 570 --out results/table-2` |
# | the timings, {doc}`06_cost` | `make bench`, or `make bench DEVICE=cuda` |
# | the gradients of other libraries, {doc}`07_other_methods` | `make peers`, then `tsbp agreement --out results/agreement` |
#
# A sweep skips what is recorded in its folder already; with another `--out` it starts afresh. On several cores
# `OMP_NUM_THREADS=1` gives each training one. The book takes up whatever records it finds below `results/` when it is
# built. MNIST and CIFAR-10 are fetched when they are first asked for; N-MNIST has to be put where the error message
# says.

# %% tags=["parameters", "remove-cell"]
profile: str = "quick"  # quick or full; this page is the same in both

# %% tags=["remove-cell"]
from IPython.display import HTML

from tsbp import reproduce, tables

# %% [markdown]
# ## What it took
#
# Hours of the trainings, had they run on a single core of the processor named (two cores halve it), or as they ran on
# the GPU named, where several side by side each took as many times as long.

# %% tags=["hide-input"]
effort = reproduce.effort_table()
tables.show(effort, "records", "of", "on")

# %% [markdown]
# ## Every record and its command
#
# Defaults are left out of the commands. *With changes*: the files were ahead of the commit; which commit they became
# stands in `sweeps/cuda.yaml`. The result of a training is its test accuracy after the last epoch. On the same machine
# and versions a training repeats to the last digit on one core; elsewhere sums are formed in another order, and spikes
# make much of the last digit.

# %% tags=["hide-input"]
HTML(reproduce.command_list())
