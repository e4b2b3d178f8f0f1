"""Products of weights and spikes: those of matrices, but for rounding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsbp import filter_spikes
from tsbp.kernels import events

sizes = st.integers(1, 19)


@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), sizes, sizes, st.sampled_from([1.0, 2.0, 5.0]))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.5, -0.5])  # below zero, what is not there would fire
def test_products_with_spikes(needs_a_compiler, threshold, dtype, T, B, M, K, N, tau_s):
    generator = torch.Generator().manual_seed(T * B * M * K * N)
    potential = torch.randn(T, B, 2 * M, K, generator=generator, dtype=dtype)[:, :, ::2]  # rows that lie apart
    weights = torch.randn(M, K, N, generator=generator, dtype=dtype)
    psc = filter_spikes((potential > threshold).to(dtype), tau_s)
    out = torch.full((T, B, M, N), torch.nan, dtype=dtype)
    assert events.usable(potential, weights)
    events.forward(potential, weights, out, threshold, tau_s)
    torch.testing.assert_close(out, torch.einsum("tbmk,mkn->tbmn", psc, weights), rtol=1e-5, atol=1e-5)
    found = events.backward(potential, out, threshold, tau_s)
    torch.testing.assert_close(found, torch.einsum("tbmn,tbmk->mkn", out, psc), rtol=1e-4, atol=1e-4)


def test_what_has_no_kernel():
    assert not events.usable(torch.zeros(2, dtype=torch.bfloat16))
    assert not events.usable(torch.zeros(2), torch.zeros(2).double())
    assert not events.usable(torch.zeros(2, device="meta"))
    with pytest.raises(ValueError, match="last dimension"):
        events.backward(torch.zeros(2, 2, 3, 2).mT, torch.zeros(2, 2, 2, 4), 1.0, 2.0)
