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
# # Data sets
#
# On MNIST, N-MNIST and CIFAR-10 the paper {cite}`yang2020` finds no difference between training with the reset term and without it. This
# chapter trains the networks of its Table 3 on real digits, live, and shows the records of longer runs on MNIST where there are any.

# %% tags=["parameters"]
profile: str = "quick"  # quick (a minute) or full (hours)
seed: int = 0  # first seed
seeds: int = 0  # how many; 0: 3 (quick), 5 (full)
epochs: int = 0  # 0: 5 (quick), 20 (full)
gradients: list = ["full", "leak", "spatial"]  # which to compare
networks: list = []  # nmnist, mnist, cifar10; []: quick leaves out cifar10

# %% tags=["remove-cell"]
import pandas as pd

from tsbp import data, figures, records
from tsbp.networks import TABLE_3
from tsbp.settings import TrainingConfig
from tsbp.statistics import accuracy_table
from tsbp.training import build_network, train

figures.use_style()
seeds = seeds or {"quick": 3, "full": 5}[profile]
epochs = epochs or {"quick": 5, "full": 20}[profile]
networks = (
    networks or {"quick": ["nmnist", "mnist"], "full": list(TABLE_3)}[profile]
)
figures.note("digits-profile", profile)
figures.note("digits-seeds", seeds)
figures.note("digits-epochs", epochs)

# %% [markdown]
# ## What the paper reports
#
# | data set | network (Table 3) | time steps | with the reset term | without |
# | --- | --- | --- | --- | --- |
# | N-MNIST | 12C5-P2-64C5-P2 | 5 | 99.29 % | 99.28 % |
# | MNIST | 15C5-P2-40C5-P2-300 | 30 | 99.49 % | 99.50 % |
# | CIFAR-10 | 96C3-256C3-P2-384C3-P2-384C3-256C3-1024-1024 | 5 | 88.96 % | 88.98 % |
#
# `15C5` is a convolution with 15 channels and 5×5 kernels, `P2` pooling by 2, `300` a layer of 300 neurons; an
# output layer of ten neurons follows. The numbers of time steps of the first two rows are probably
# swapped: TSSL-BP {cite}`zhang2020`, whose networks these are, uses 30 for N-MNIST and 5 for MNIST. The paper states neither the
# number of runs nor their spread.
#
# ## Real digits, here and now
#
# The data set that needs no download is the one inside scikit-learn: digits of 8×8 pixels, from the UCI repository. The networks of
# Table 3 fit it when the convolutions keep the size of the image.

# %%
digits = data.load("digits")
print(
    f"{len(digits.train_images)} digits to train on, {len(digits.test_images)} to test"
)
rows = []
for name in TABLE_3:
    config = TrainingConfig.for_dataset("digits", network=TABLE_3[name])
    n_weights = sum(
        weight.numel() for weight in build_network(config, digits).parameters()
    )
    rows.append((TABLE_3[name], f"{n_weights:,}"))
pd.DataFrame(rows, columns=["network", "weights"]).style.hide()

# %% [markdown]
# The last of them is far larger than the others; it is trained here in the full profile alone. All gradients get the same
# settings, initial weights and order of examples: a seed gives a matched set of runs.

# %%
runs = []
for name in networks:
    for gradient in gradients:
        for run_seed in range(seed, seed + seeds):
            config = TrainingConfig.for_dataset(
                "digits",
                network=TABLE_3[name],
                gradient=gradient,
                seed=run_seed,
                epochs=epochs,
            )
            runs.append(train(config, quiet=True))
runs = pd.DataFrame(runs)

# %% tags=["hide-input", "remove-output"]
figures.note("digits-test", len(digits.test_images))
figures.note("digits-one", 100 / len(digits.test_images))
figures.show("digits-figure", figures.accuracy_curves(runs))

# %% [markdown]
# ```{glue:figure} digits-figure
# :name: digits-curves
# :alt: Test accuracy over epochs for each network, three gradients each.
#
# All three gradients train the networks of Table 3 ({glue:text}`digits-profile` profile: {glue:text}`digits-epochs` epochs,
# seeds: {glue:text}`digits-seeds`). Test accuracy on {glue:text}`digits-test` digits, one line a run.
# ```

# %% tags=["hide-input"]
accuracy_table(runs).style.hide()

# %% [markdown]
# Test accuracy in per cent, mean over the seeds with its 95 % interval; in the last column the difference, paired by seed. One test digit is
# {glue:text}`digits-one:.2f` %. Where the interval of the last column leaves out zero, the two gradients differ after so few epochs; whether they still do at the end of
# a real training is another question, and {glue:text}`digits-epochs` epochs cannot answer it.
#
# ## MNIST, from records
#
# Longer runs are not repeated when the book is built. Each leaves a record, a small file in `results/` with its
# whole configuration, and the table below is made from those files: test accuracy of the last epoch, as above.

# %% tags=["hide-input"]
recorded = records.load("train")
if len(recorded):
    recorded = recorded[recorded["dataset"] == "mnist"]
    recorded = recorded[recorded["validation"] == 0]
accuracy_table(recorded).style.hide() if len(
    recorded
) else "No record of a run yet."

# %% [markdown]
# These runs are short, and the paper's were not: they are no verdict on its table yet. A run of your own joins them by one command:
#
# ```bash
# tsbp train mnist --time-steps 5 --epochs 6 --gradient leak --seed 7 --out results/mnist
# ```
