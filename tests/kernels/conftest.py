"""What the tests of the kernels share."""

import shutil

import pytest
import torch

from tsbp.kernels import dispatch


@pytest.fixture(scope="session")
def needs_a_compiler():
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler")


@pytest.fixture
def through_triton(monkeypatch):
    """The kernels of CUDA, which Triton's interpreter runs on the CPU."""
    if torch.cuda.is_available():
        pytest.skip("tested on the device itself")
    pytest.importorskip("triton")
    from tsbp.kernels import cuda

    monkeypatch.setattr(dispatch, "in_c", lambda device: False)
    monkeypatch.setattr(cuda, "BLOCK", 8)
