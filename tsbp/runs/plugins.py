"""Modules of a user's own that add gradients, surrogates, neurons or data sets to the registries."""

import importlib
import sys
from pathlib import Path
from typing import Any

from tsbp import gradients, layers, surrogate
from tsbp.runs import data


def load_plugin(module: str) -> None:
    """Import a module by name, from the working directory too; without a name do nothing.

    Raises:
        ValueError: it cannot be imported, or changes an entry of the package's own.
    """
    if not module:
        return
    if not isinstance(module, str) or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"plugin must be the name of a module, such as mine or package.mine, got {module!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as python -m does
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"plugin {module} cannot be imported ({reason})") from None
    registries: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (gradients.GRADIENTS, gradients.BUILT_IN),
        (surrogate.SURROGATES, surrogate.BUILT_IN),
        (layers.NEURONS, layers.BUILT_IN),
        (data.DATA_SETS, data.BUILT_IN),
    ]
    for registry, built_in in registries:
        changed = [name for name, entry in built_in.items() if registry.get(name) is not entry]
        if changed:
            raise ValueError(f"plugin {module} changes {', '.join(changed)}; add an entry under another name")
    for name, entry in surrogate.SURROGATES.items():
        if not isinstance(entry, surrogate.Surrogate):
            raise ValueError(f"plugin {module}: the surrogate {name} must be a tsbp.surrogate.Surrogate, got {entry!r}")
    for name, source in data.DATA_SETS.items():
        if not isinstance(source, data.Source):
            raise ValueError(f"plugin {module}: the data set {name} must be a tsbp.runs.data.Source, got {source!r}")
