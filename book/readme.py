"""The README's picture and table of results, made from the records: ``python book/readme.py``."""

import re
from pathlib import Path

from tsbp.runs import experiments, records
from tsbp.runs.files import PROJECT, write_text
from tsbp.runs.settings import TrainingConfig
from tsbp.study import figures
from tsbp.study.comparison import favoured, table_2
from tsbp.study.studies import loss_study
from tsbp.study.tables import loss_table, speed_table

README = PROJECT / "README.md"
PICTURE = PROJECT / "results" / "learning-rates.svg"


def results() -> str:
    """The tables of what was measured, in Markdown."""
    toy = experiments.load("toy/table-1")
    rates, losses = loss_study(toy)
    parts = [
        f"A single neuron (the paper's Table 1): mean loss after {toy.config.iterations} updates of gradient descent, "
        f"{toy.config.repeats} neurons, the same draws for every gradient. Lower is better.",
        loss_table(rates, losses).to_markdown(index=False, disable_numparse=True),
    ]
    runs = records.load("train")
    parts += [
        "Networks (the paper's Table 2): test accuracy in per cent after the last epoch, mean over seeds.",
        table_2(runs).to_markdown(index=False, disable_numparse=True),
    ]
    note = favoured(runs, TrainingConfig.for_dataset("cifar10-reduced"))
    parts += [f"The row `cifar10-reduced` is for one learning rate. {note}"] if note else []
    bench = records.load("bench")
    layers = bench[(bench["benchmark"] == "lif") & (bench["device"] == "cpu")]
    parts += [
        "Speed: forward and backward of a layer of neurons on one core, as multiples of the time of `tsbp full`. The "
        "other libraries are set to the same neuron; *spikes alone* leaves out its synaptic filter.",
        speed_table(layers).to_markdown(index=False, disable_numparse=True),
    ]
    return "\n\n".join([*parts, "± and brackets are 95 % intervals; differences are paired by draw or seed."])


def with_results(text: str) -> str:
    """A README with what stands between its two marks replaced by :func:`results`."""
    return re.sub(r"(?s)(<!-- results -->\n).*(\n<!-- end of results -->)", lambda m: m[1] + results() + m[2], text)


def draw(path: Path = PICTURE) -> None:
    """Draw the README's picture."""
    figures.use_style()
    figure = figures.loss_by_learning_rate(*loss_study(experiments.load("toy/table-1")))
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    write_text(README, with_results(README.read_text(encoding="utf-8")))
    draw()
