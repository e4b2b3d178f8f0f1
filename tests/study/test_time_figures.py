"""What the figures of the study of time show, read from their axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up_cells import made_up

from tsbp.runs import data
from tsbp.study import time_figures
from tsbp.study.mechanism import Travel

CELLS = [
    made_up({"full": 80, "leak": 70, "spatial": 60, "0.5": 75, "2": 50}, temperature=0.2),
    made_up({"full": 60, "leak": 70, "spatial": 60, "0.5": 65, "2": 40}, temperature=2.0),
    made_up({"full": 50, "leak": 70, "spatial": 60}, temperature=2.0, network="128R"),
]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_a_raster_has_a_dot_for_every_spike():
    randman = data.load("randman", None, 100)
    figure = time_figures.rasters(randman, labels=(0, 1), each=2)
    assert [len(axis.collections[0].get_offsets()) for axis in figure.axes] == [20] * 4


def test_differences_stand_where_they_were_measured():
    left, right = time_figures.differences(CELLS).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [cell.title for cell in CELLS]
    own = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"][::2]
    assert own == pytest.approx([10, -10, -20])
    assert [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"][::2] == pytest.approx([20, 0, -10])


def test_accuracy_over_the_weight_of_the_reset():
    (axis,) = time_figures.over_weights(CELLS[:2]).axes
    means = [container.lines[0].get_ydata().tolist() for container in axis.containers]
    assert means == [pytest.approx([70, 75, 80, 50]), pytest.approx([70, 65, 60, 40])], "c = 0, ½, 1, 2"
    weights = [container.lines[0].get_xdata() for container in axis.containers]
    assert np.allclose(np.sort(weights[0]), [0, 0.5, 1, 2], atol=0.05)


def test_a_panel_for_each_cell():
    figure = time_figures.over_rates(CELLS)
    assert len(figure.axes) == 4 and [axis.axison for axis in figure.axes] == [True, True, False, True]
    curves = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert curves["full"] == [10, 80, 80, 10]


def test_errors_back_in_time():
    one = Travel(0.0, np.array([1.0, 0.1, 0.0, 2.0]), np.zeros(4), 0.0)
    figure = time_figures.errors_back_in_time({("128", 0.2): {"full": one}, ("128", 2.0): {"full": one}})
    assert len(figure.axes) == 2 and figure.axes[0].get_yscale() == "log"
    assert np.isnan(figure.axes[0].lines[0].get_ydata()[2]), "zero has no place on a logarithmic axis"


def test_what_errors_predict():
    (axis,) = time_figures.predicted(CELLS, [0.5, 2.0, 4.0]).axes
    found = [container.lines[0].get_xydata()[0].tolist() for container in axis.containers]
    assert found == [pytest.approx([0.5, 10]), pytest.approx([2, -10]), pytest.approx([4, -20])]
    assert [container.lines[0].get_marker() for container in axis.containers] == ["o", "o", "s"]
