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
# machine, the versions, and the result. This page lists all records and the commands that repeat them.
#
# :::{admonition} About this chapter
# - **For** readers who want to repeat a number of this book, or to check one.
# - **Needed:** Python 3.11 or later, make, and a shell.
# - **Afterwards** you can find the record behind a number, repeat its run, and say how exactly it should agree.
# :::
#
# ## Commands
#
# Set up once:
#
# ```bash
# make book                  # also installs everything in .venv
# source .venv/bin/activate
# ```
#
# ```{table} Every measurement of the book is repeated by one of these commands.
# :name: commands
#
# | what | command |
# | --- | --- |
# | the single neuron, {doc}`04_one_neuron` | `tsbp sweep toy` |
# | its ranges of learning rates, and those of networks | `tsbp sweep widths --workers 2` |
# | the networks, {doc}`05_data_sets` | `tsbp sweep networks --workers 2` |
# | the networks that ran on a GPU | `tsbp sweep tuning/cifar10`, then `tsbp sweep cuda` |
# | the learning rates of the networks, chosen on held-out examples | `tsbp sweep tuning --workers 2` |
# | the comparison on fresh seeds | `tsbp sweep held-out --workers 2`, then `tsbp sweep fresh-seeds --workers 2` |
# | whether to rotate images of MNIST, chosen the same way | `tsbp sweep tuning/augmentation --workers 2` |
# | tasks of time, {doc}`07_time` | `tsbp sweep held-out --workers 2`, then `tsbp sweep time --workers 2` |
# | one setting at a time, {doc}`06_settings` | `tsbp sweep settings --workers 2` |
# | the paper's Table 2 at full length, on CUDA | `tsbp sweep paper --time-budget 570` |
# | the timings, {doc}`08_cost` | `make bench`, or `make bench DEVICE=cuda` |
# | the gradients of other libraries, {doc}`03_other_methods` | `make peers`, then `tsbp agreement --out results/agreement` |
# ```
#
# A sweep skips the runs that are recorded in its folder already; with another `--out` it starts from the beginning. On
# several cores, `OMP_NUM_THREADS=1` gives each training one core. The book shows all records that it finds below
# `results/` when it is built. MNIST and CIFAR-10 are downloaded when they are first needed; for N-MNIST the error
# message says where to place the files.

# %%
from IPython.display import HTML

from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig
from tsbp.runs.training import train
from tsbp.study import figures, reproduce, tables

# %% tags=["remove-cell"]
figures.use_style()

# %% tags=["parameters"]
profile: str = "quick"  # quick or full; the records are the same in both
seed: int = 0  # decides the weights of the training in the exercises
epochs: int = 2  # epochs of that training

# %% [markdown]
# ## Computing time

# %%
effort = reproduce.effort_table()

# %% tags=["remove-cell"]
figures.show("effort-table", tables.show(effort, "records", "of", "on"))
timed = effort[effort["hours"] != "not recorded"]
cuda = timed["on"].str.contains("NVIDIA")
figures.note("hours-cpu", timed["hours"][~cuda].astype(float).sum())
figures.note("hours-gpu", timed["hours"][cuda].astype(float).sum())
figures.note("n-records", int(effort["runs"].sum()))
missing = reproduce.missing_table()
figures.show(
    "missing-table", tables.show(missing, "data set", "training", "command")
)

# %% [markdown]
# ```{glue:table} effort-table
# :name: effort
#
# The trainings among {glue:text}`n-records:,d` records took {glue:text}`hours-cpu:.0f` hours on one core and
# {glue:text}`hours-gpu:.1f` hours on a GPU. Two cores take half as long; trainings that shared the GPU took longer in
# proportion to their number.
# ```
#
# ```{glue:table} missing-table
# :name: missing
#
# Trainings without a run on the whole and original data: the command of one run, and how long it should take, in proportion
# to runs on a part of the data or to a training step. An empty cell: nothing like it was timed.
# ```
#
# ## Every record and its command
#
# As files: {records}`toy, widths, settings, tuning, networks, held-out, fresh-seeds, time, agreement, bench, cuda`.

# %% tags=["remove-cell"]
figures.show("records-table", HTML(reproduce.command_list()))

# %% [markdown]
# ```{glue:table} records-table
# :name: all-records
#
# Every record with its result, its commit and the command that repeats it. Options at their default are left out. The
# result of a training is its accuracy after the last epoch. *With changes*: the code had changes that were not
# committed; the files of the records from a GPU of 2026-11-26 were those of commit 21291c5.
# ```
#
# On one core, the same machine and versions repeat a training to the last digit. Elsewhere sums are formed in another
# order, and a difference in the last digit can add or remove a spike.
#
# ## Summary
#
# - Measurements are made when the book is built, or come from records. Every record has a command that repeats it.
# - On the same machine and versions, a repetition agrees to the last digit; elsewhere single runs differ.
#
# ## Exercises
#
# **1.** Show that a training repeats to the last digit on your machine, and that another seed gives another network.
#
# :::{admonition} Solution
# :class: dropdown
#
# Train twice with the same configuration and compare the metrics of every epoch, then change the seed. Only the
# measured times differ between the first two.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 1", "code_prompt_hide": "Hide the check of exercise 1"}
config = TrainingConfig.for_dataset("digits", epochs=epochs, seed=seed)
losses = [
    [epoch["loss"] for epoch in train(one, quiet=True)["epoch_metrics"]]
    for one in (config, config, config.but(seed=seed + 1))
]
assert losses[0] == losses[1] != losses[2]
print(losses[0], losses[2], sep="\n")

# %% [markdown]
# **2.** A record's name ends with a number that is computed from its settings. Which of these changes the name: the
# seed, the learning rate, or stating a default?
#
# :::{admonition} Solution
# :class: dropdown
#
# The seed and the learning rate do: they are another run. To state a default is not a change, so that equal runs have
# equal names, and a sweep can skip what is recorded.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 2", "code_prompt_hide": "Hide the check of exercise 2"}
names = {
    "as it is": records.name_of(config),
    "seed": records.name_of(config.but(seed=seed + 1)),
    "learning rate": records.name_of(config.but(lr=2 * config.lr)),
    "a default": records.name_of(config.but(tau_m=config.tau_m)),
}
assert len(set(names.values())) == 3 and names["a default"] == names["as it is"]
for changed, name in names.items():
    print(f"{changed:15}{name}")

# %% [markdown]
# **3.** How long would four cores take to repeat all trainings in `results/settings`, if each core does one training at
# a time?
#
# :::{admonition} Solution
# :class: dropdown
#
# {numref}`effort` has the hours of one core. A quarter of them is {glue:text}`four-cores:.1f` hours, since the runs do not
# depend on each other: `tsbp sweep settings --workers 4 --out again`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the check of exercise 3", "code_prompt_hide": "Hide the check of exercise 3"}
settings = effort.set_index("records").loc["results/settings"]
assert settings["runs"] > 4
figures.note("four-cores", float(settings["hours"]) / 4)
print(f"{settings['runs']} runs, {settings['hours']} h on one core")

# %% [markdown]
# ## Further reading
#
# - {doc}`using` says how to train networks of your own, and the {doc}`api` describes every configuration.
