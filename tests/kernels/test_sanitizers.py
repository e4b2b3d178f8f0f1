"""The C++ kernel under sanitisers: no access outside of its arrays, and nothing that C++ leaves undefined.

``make sanitize`` runs this file alone.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WRAPPER = """#!/bin/sh
unset LD_PRELOAD
exec c++ "$@" -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
"""

# Every array comes from malloc, whose bounds are watched, not from the pool.
EVERY_CASE = """
import sys, pytest
from tsbp.kernels import memory

class LoopsOnly:
    def pytest_collection_modifyitems(self, items):
        items[:] = [x for x in items if "needs_a_compiler" in x.fixturenames and "pool" not in x.fixturenames]

memory.LEAST = 1 << 60
sys.exit(pytest.main(["-n", "0", "-s", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[LoopsOnly()]))
"""

BEYOND_THE_END = """
import sys, torch
from tsbp.kernels import cpu
from tsbp.kernels.constants import Constants

n, steps = map(int, sys.argv[1:])
current = torch.zeros(steps, n)
psc, potential = torch.empty_like(current), torch.empty_like(current)
rest = Constants(0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, True, "rectangle", False)
cpu.forward(current, 0, psc, potential, steps, n, None, None, rest)
print("within", flush=True)
cpu.forward(current, 0, psc, potential, steps + 1, n, None, None, rest)
print("beyond", flush=True)
"""


@pytest.fixture
def sanitized(tmp_path):
    """Runs a script with a kernel that watches what it does."""
    # Both must come first: the sanitiser, and the library whose exceptions it passes on.
    libraries = []
    for name in ("libasan.so", "libstdc++.so"):
        found = subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        if not Path(found).is_absolute():
            pytest.skip(f"the C++ compiler has no {name}")
        libraries.append(found)
    wrapper = tmp_path / "c++"
    wrapper.write_text(WRAPPER)
    wrapper.chmod(0o755)
    changed = {"CXX": str(wrapper), "TSBP_CACHE": str(tmp_path), "LD_PRELOAD": " ".join(libraries)}
    changed |= {"OMP_NUM_THREADS": "2", "ASAN_OPTIONS": "detect_leaks=0"}  # the interpreter's own leaks

    def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-W", "error:C[+][+] kernel unavailable", "-c", script, *map(str, arguments)]
        return subprocess.run(command, env=os.environ | changed, capture_output=True, text=True, timeout=1200)

    return run


@pytest.mark.parametrize(
    ("n", "steps"),
    [
        pytest.param(64, 3, id="whole lines"),
        pytest.param(3, 2, id="a part of one"),
        pytest.param(4096, 300, id="past the caches"),
    ],
)
def test_an_access_beyond_the_end_is_found(sanitized, n, steps):
    run = sanitized(BEYOND_THE_END, n, steps)
    assert run.stdout == "within\n" and "heap-buffer-overflow" in run.stderr, run.stdout + run.stderr[-2000:]


def test_every_case_of_the_loops(sanitized):
    files = (Path(__file__).with_name(f"test_{name}.py") for name in ("kernels", "recurrent", "events", "evaluation"))
    run = sanitized(EVERY_CASE, *files)
    assert run.returncode == 0 and " passed" in run.stdout and "skipped" not in run.stdout, (
        run.stdout[-2000:] + run.stderr[-2000:]
    )
