"""What is computed from the records of studies, by hand."""

import numpy as np
import pandas as pd
import pytest

from tsbp.runs import experiments, records
from tsbp.study import studies


def test_most_are_silent_from_where_the_share_passes_a_half(monkeypatch):
    """Halfway between 1 and 100 on a logarithmic scale; a share that was larger before does not count."""
    shares = [[0.0, 0.25, 0.75], [0.9, 0.0, 0.1]]
    record = {"gradients": ["full", "leak"], "learning_rates": [0.1, 1, 100], "silent_fraction": shares}
    monkeypatch.setattr(records, "recorded", lambda config: record)
    found = studies.mostly_silent_from(experiments.load("widths/neuron-sgd"))
    assert found == {"full": pytest.approx(10), "leak": np.inf}


def test_differences_over_all_values_are_paired_by_seed():
    """They grow by 1 and by 3 with each doubling; the seed without all of its runs does not count."""
    rows = [
        {
            "value": value,
            "gradient": gradient,
            "seed": seed,
            "test_accuracy": 90 + (gradient == "full") * step * doubling,
        }
        for doubling, value in enumerate((5, 10, 20))
        for seed, step in ((0, 1), (1, 3), (2, 50))
        for gradient in ("full", "leak")
    ]
    found = studies.over_all_values(pd.DataFrame(rows[:-1]))
    assert found["average"] == pytest.approx([1, 3]) and found["trend"] == pytest.approx([1, 3])
