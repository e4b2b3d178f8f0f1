"""The README's picture and table of results, made from the records: ``python book/readme.py``."""

import re
from pathlib import Path

from tsbp.runs import experiments
from tsbp.runs.files import PROJECT, write_text
from tsbp.study import figures, toy_figures
from tsbp.study.claims import claims, verdict_table
from tsbp.study.studies import loss_study

README = PROJECT / "README.md"
PICTURE = PROJECT / "results" / "learning-rates.svg"


def results() -> str:
    """The claims with verdict and number, in Markdown."""
    table = verdict_table(claims()).to_markdown(index=False, disable_numparse=True)
    return f"{table}\n\nBrackets and ± are 95 % intervals; differences are paired by draw or seed."


def with_results(text: str) -> str:
    """A README with what stands between its two marks replaced by :func:`results`."""
    return re.sub(
        r"(?s)(<!-- results -->\n).*?<!-- end of results -->",
        lambda m: f"{m[1]}{results()}\n<!-- end of results -->",
        text,
    )


def draw(path: Path = PICTURE) -> None:
    """Draw the README's picture."""
    figures.use_style()
    figure = toy_figures.loss_by_learning_rate(*loss_study(experiments.load("toy/table-1")))
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    write_text(README, with_results(README.read_text(encoding="utf-8")))
    draw()
