"""Modules of a user's own that add gradients or surrogates to the registries."""

import importlib
import sys
from pathlib import Path


def load_plugin(module: str) -> None:
    """Import a module by name, from the working directory too; without a name do nothing.

    Raises:
        ValueError: it cannot be imported.
    """
    if not module:
        return
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"plugin {module} cannot be imported ({reason})") from None
