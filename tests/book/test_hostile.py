"""Nothing in a record is executed or set as markup: a book over records that try, in a real browser."""

import re

import pytest
import small
import torch

from book import build, pages
from tsbp.peers.bench import BenchConfig
from tsbp.runs import records
from tsbp.runs.settings import TrainingConfig

TAG = "<img src=x onerror=window.pwned=1>"
"""May be the name of a file."""
NOTE = f"{TAG}<script>window.pwned=1</script>' onclick='pwned=1 &lt;b&gt; ${{{{7*7}}}}$ "
NOTE += r"\(\href{javascript:pwned=1}{x}\)"
CPU = torch.device("cpu")

CHAPTER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A chapter

# %% tags=["parameters"]
profile: str = "quick"  # the only one

# %%
from IPython.display import HTML

from tsbp.gradients import STUDIED
from tsbp.runs import records
from tsbp.study import comparison, figures, reproduce, tables, training_figures

figures.use_style()
runs, bench, agreement = map(records.load, ("train", "bench", "agreement"))
figures.note("device", runs["device_name"].iloc[0])
tables.show(comparison.table_2(runs), "data set", "training")

# %%
tables.show(comparison.accuracy_table(runs), "network")

# %%
tables.show(comparison.difference_table(runs))

# %%
comparison.difference_table(runs).style.hide().format({"seeds": "{:.0f}"})

# %%
runs[["dataset", "data_note", "gradient"]].set_index("gradient").style

# %%
tables.show(reproduce.effort_table(), "records", "of", "on")

# %%
HTML(reproduce.command_list())

# %%
tables.show(tables.speed_table(bench))

# %%
training_figures.accuracy_curves(runs[runs["gradient"].isin(STUDIED)])

# %%
figures.speed(bench)

# %%
print(runs["device_name"].iloc[0])

# %% [markdown]
# Measured on {glue:text}`device`.
"""
TABLES = 7


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Records whose every text tries to be more than a text."""
    folder = tmp_path / "results"
    monkeypatch.setenv("TSBP_RESULTS", str(folder))
    monkeypatch.delenv("TSBP_REPOSITORY", raising=False)
    own = {"device_name": NOTE, "git_commit": TAG, "platform": NOTE, "data_note": NOTE, "threads": 1, "wall_time": 9.0}
    own |= {"n_train": 100, "n_test": 10, "git_dirty": False}
    usual = TrainingConfig.for_dataset("mnist", device="cpu", precision="float32").model_dump()
    for settings in ({}, {"dataset": TAG}, {"network": NOTE, "surrogate": NOTE}):
        for gradient in ("full", "leak", TAG):
            for seed in (0, 1):
                config = TrainingConfig.model_construct(**usual | settings | {"gradient": gradient, "seed": seed})
                accuracy = 90.0 + seed + len(gradient)
                measured = {"test_accuracy": accuracy, "epoch_metrics": [{"loss": 1.0, "test_accuracy": accuracy}]}
                record = records.new(config, measured | {"data_fingerprint": "0123"}, CPU)
                records.write(record | own, folder / TAG)
    times = {name: [1.0, 2.0, 3.0] for name in ("tsbp full", "tsbp leak", TAG, "$\\frac{$")}
    bench = BenchConfig(benchmark="lif")
    records.write(records.new(bench, {"seconds": times}, CPU) | own, folder / "bench")


def test_a_book_over_hostile_records(hostile, tmp_path, monkeypatch, browser):
    notebook = tmp_path / "chapter.py"
    notebook.write_text(CHAPTER)
    pages.execute(notebook, {}, tmp_path, tmp_path)
    small.small_book(notebook, tmp_path / "project", monkeypatch)
    page = browser.new_page()
    dialogs: list = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto((build.build_site().with_name("book") / "chapter.html").as_uri(), wait_until="load")
    page.wait_for_timeout(500)  # for images that are not there
    article = page.locator("article")
    assert page.evaluate("window.pwned") is None and not dialogs
    markup = ".cell_output script, .cell_output form, img[src='x'], [onerror], [onclick], [href^='javascript']"
    assert article.locator(markup).count() == 0
    assert article.locator(".cell_output mjx-container, .cell_output .math").count() == 0
    shown = article.locator(".cell_output table").all_text_contents()
    assert len(shown) >= TABLES
    text = article.text_content()
    lost = [table for table in shown if "<img sr" not in table]
    assert not lost, "a table lost what the record says"
    assert "<script>window.pwned=1</script>" in text and "{{7*7}}" in text and "&lt;b&gt;" in text
    assert re.search(r"Measured on .*<img src=x", text)
