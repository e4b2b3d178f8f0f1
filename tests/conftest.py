"""What several test files share."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from tsbp.runs import data
from tsbp.runs.files import PROJECT

# A loaded machine is slow, not wrong; derandomised so that a failure is there for everybody.
settings.register_profile("tsbp", deadline=None, derandomize=True)
settings.load_profile("tsbp")

# Without a GPU, its kernels are tested in Triton's interpreter, which must be chosen before they are first imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# One thread each, where several processes share the tests.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

TESTS = Path(__file__).parent
TIERS = {"paper": "unit", "kernels": "unit", "runs": "unit", "peers": "unit"}
TIERS |= {"study": "records", "book": "book", "gpu": "gpu"}
"""Folder → the marker of its tests."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if tier := TIERS.get(item.path.relative_to(TESTS).parts[0]):
        item.add_marker(tier)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: some tests wait for processes of their own."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Tests are handed out one by one: they take from a millisecond to a minute."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid

    return Scheduling(config, log)


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


@pytest.fixture
def extension(monkeypatch):
    """What the book adds to Sphinx."""
    monkeypatch.syspath_prepend(PROJECT / "book")
    yield __import__("tsbp_sphinx")
    sys.modules.pop("tsbp_sphinx")


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The quick book behind a server on this machine, built (or found unchanged) by the first process that needs it."""
    from book.build import SITE

    together = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        together = together.parent
    with FileLock(together / "book.lock"):
        if not (together / "book.built").exists():
            subprocess.run([sys.executable, PROJECT / "book" / "build.py"], check=True)
            (together / "book.built").touch()
    handler = functools.partial(QuietHandler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


CHROME_OF_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", CHROME_OF_MACOS)
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Chromium")
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that reaches nothing but the server, and collects what goes wrong."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    page.on("response", lambda r: r.status >= 400 and "favicon" not in r.url and page.problems.append(r.url))

    def route(route):
        if route.request.url.startswith((address, "data:")):
            route.continue_()
        else:
            page.problems.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", route)
    yield page
    context.close()
