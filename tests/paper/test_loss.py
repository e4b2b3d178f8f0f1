"""The van Rossum distance against a direct sum and its own gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsbp import filter_spikes, van_rossum_distance


def test_by_hand():
    """One target spike at t = 0, none fired, τs = 2: ½ (½² + ¼² + ⅛²)."""
    target = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    distance = van_rossum_distance(torch.zeros_like(target), target, tau_s=2.0)
    assert distance.item() == 0.5 * (0.25 + 0.0625 + 0.015625)


def test_one_value_per_batch_element():
    psc, target = torch.rand(7, 3, 4), (torch.rand(7, 3, 4) < 0.5).float()
    distance = van_rossum_distance(psc, target)
    assert distance.shape == (3,)
    alone = torch.stack([van_rossum_distance(psc[:, b, n], target[:, b, n]) for b in range(3) for n in range(4)])
    torch.testing.assert_close(distance, alone.view(3, 4).sum(1))


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.lists(st.booleans(), min_size=20, max_size=20))
def test_is_a_distance(first, second):
    """Zero for a train and itself only, symmetric, never negative."""
    one = torch.tensor(first, dtype=torch.float64)
    other = torch.tensor(second[: len(first)], dtype=torch.float64)
    there = van_rossum_distance(filter_spikes(one), other)
    back = van_rossum_distance(filter_spikes(other), one)
    torch.testing.assert_close(there, back)
    assert (there == 0) == torch.equal(one, other)


def test_gradient_is_the_error():
    """dL/da[t] = a[t] - a_target[t]: phase A of the paper's Fig. 2."""
    psc = torch.rand(9, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(9) < 0.3).double()
    van_rossum_distance(psc, target, tau_s=3.0).backward()
    torch.testing.assert_close(psc.grad, psc.detach() - filter_spikes(target, 3.0))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"target_spikes.*\[5, 2\].*\[5, 3\]"):
        van_rossum_distance(torch.zeros(5, 2), torch.zeros(5, 3))
