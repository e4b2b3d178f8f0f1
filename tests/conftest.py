"""What several test files share."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tsbp import data

# A loaded machine is slow, not wrong; derandomised so that a failure is there for everybody.
settings.register_profile("tsbp", deadline=None, derandomize=True)
settings.load_profile("tsbp")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits() -> data.DataSet:
    return data.load("digits")


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real data sets; the test is skipped, with the reason, where a wanted one is missing."""

    def folder(*needed: str) -> Path:
        root = os.environ.get("TSBP_DATA")
        if not root:
            pytest.skip("TSBP_DATA is not set")
        for name in needed:
            if not (Path(root) / name).exists():
                pytest.skip(f"no {name} in TSBP_DATA={root}")
        return Path(root)

    return folder
