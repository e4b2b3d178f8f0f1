"""What this book adds to Sphinx: links that run a chapter elsewhere, and docstrings whose prose may have colons."""

import os
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", add_links)
    app.connect("autodoc-process-docstring", keep_prose, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_links(app: Sphinx, config: Config) -> None:
    """Link every chapter to Binder, Colab and its repository, if the address of one is in ``TSBP_REPOSITORY``."""
    address = os.environ.get("TSBP_REPOSITORY")
    if address:
        config.html_theme_options |= {
            "repository_url": address,
            "repository_branch": "notebooks",  # main and the executed notebooks, see .ci/publish
            "use_repository_button": True,
            "launch_buttons": {
                "notebook_interface": "jupyterlab",
                "binderhub_url": "https://mybinder.org",
                "colab_url": "https://colab.research.google.com",
            },
        }


def keep_prose(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon for a type; here types are hints. A colon in front says: no type."""
    starts = [n + 1 for n, line in enumerate(lines[:-1]) if line.strip() == "Returns:"]
    for n in starts if what not in ("attribute", "data", "property") else [0] if lines else []:
        indent = len(lines[n]) - len(lines[n].lstrip())
        lines[n] = f"{lines[n][:indent]}: {lines[n].lstrip()}"
