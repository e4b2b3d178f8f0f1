"""Tables of the study of time from made-up cells."""

from dataclasses import replace

from made_up_cells import made_up

from tsbp.study import time_tables

CELLS = [
    made_up({"full": 80, "leak": 70, "spatial": 60}),
    made_up({"full": 60, "leak": 70, "spatial": 60}, temperature=2.0),
    made_up({"full": 71, "leak": 70, "spatial": 60}, network="128R", temperature=0.02, examples=4000),
    made_up({"full": 71, "leak": 70, "spatial": 60}, network="128-128", noise=0.9, examples=100),
]


def test_every_verdict_gives_advice():
    table = time_tables.cell_table(CELLS)
    assert table["verdict"].tolist() == ["higher", "lower", "higher, equal", "open"]
    assert table["recommended"].tolist() == ["keep", "detach", "either", "open"]
    assert table["network"].tolist() == ["128", "128", "128 recurrent", "2 x 128"]
    assert table["full - leak"][0].startswith("+10.00 ± ")
    assert time_tables.tally(CELLS) == {"all": 4, "keep": 1, "detach": 1, "either": 1, "open": 1, "cut": 0}


def test_advice_for_networks():
    narrow = [made_up({"full": 80, "leak": 70}, temperature=t, network=n) for n in ("128", "128R") for t in (0.2, 2.0)]
    table = time_tables.advice_table([*narrow, made_up({"full": 80, "leak": 70}, temperature=0.6)])
    assert list(table) == ["Θ", "128", "128 recurrent"]
    assert table["Θ"].tolist() == ["0.2", "0.6", "2"] and table["128 recurrent"][1] == ""
    assert table["128 recurrent"][2].startswith("keep (+10.0 ± ")


def test_the_path_is_cut_where_it_harms():
    """``spatial`` is compared with the one that held-out examples prefer."""
    cell = made_up({"full": 50, "leak": 70, "spatial": 80})
    assert time_tables.advice([cell]) == [time_tables.CUT] and time_tables.verdicts([cell])["own"] == ["lower"]
    assert time_tables.advice_table([cell])["128"][0].startswith("cut the path (+10.0 ± ")
    assert time_tables.tally([cell])["cut"] == 1


def test_two_networks_that_broke_down_are_not_equal():
    broken = made_up({"full": 0, "leak": 0, "spatial": 0})
    assert time_tables.advice([broken]) == ["open"]


def test_more_cells_make_each_one_less_sure():
    weak = made_up({"full": 75, "leak": 70}, noise=0.6)
    assert 0.05 / 100 < weak.difference().p_value < 0.05 / 2
    assert time_tables.verdicts([weak]) == {"own": ["higher"], "common": ["higher"]}
    assert set(time_tables.verdicts([weak] * 100)["own"]) == {"open"}


def test_cells_without_a_gradient_are_open():
    two = [made_up({"full": 80, "leak": 70}), CELLS[0]]
    assert time_tables.verdicts(two, "path")["own"] == ["open", "higher"]
    assert time_tables.cell_table(two)["spatial"][0] == ""


def test_the_table_of_cells_has_the_columns_that_they_need():
    two = [made_up({"full": 80, "leak": 70}, surrogate=name) for name in ("sigmoid", "arctan")]
    assert "surrogate" not in time_tables.cell_table(two[:1]) and "spatial" not in time_tables.cell_table(two)
    assert time_tables.cell_table(two)["surrogate"].tolist() == ["sigmoid", "arctan"]


def test_widths_at_several_distances():
    cell = made_up({"full": 70, "leak": 70}, {"full": 2, "leak": 1})
    table = time_tables.usable_table([cell], (5.0,))
    assert list(table) == ["network", "Θ", "5 points"] and table["5 points"][0].startswith("+1.00")


def test_cells_whose_best_rate_is_at_an_end():
    inside = made_up({"full": 70, "leak": 70})
    outside = replace(inside, rates=({"full": 1.0, "leak": 0.01, "common": 0.01},))
    assert time_tables.at_an_end([inside]) == [] and time_tables.at_an_end([outside]) == ["128, Θ = 0.2"]
