"""snnax: ``SimpleLIF`` on JAX. Unless told otherwise, its backward pass ignores the reset.

It subtracts ``stop_gradient(mem_pot * spike)``: the potential in that product is detached together with the spike, so
that the error passes where the reset left nothing to carry it.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from tsbp.peers.libraries import jax_functions
from tsbp.peers.libraries.peer import Library, Peer, Simulate


def snnax(stop_reset_grad: bool) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron; it weighs the input by 1/tau_m, so that goes in times tau_m."""

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        import jax.numpy as jnp

        lif = _module("snn.layers.lif")
        fire = jax_functions.spike(temperature)

        def simulate(current: Any) -> Any:
            node = lif.SimpleLIF([1 - 1 / tau_m], fire, threshold, stop_reset_grad)
            zero = jnp.zeros_like(current[0])

            def step(current_now: Any, state: list) -> tuple:
                state, spikes = node(state, current_now)
                return spikes, state

            return jax_functions.over_time(step, tau_m * current, [zero, zero])

        return jax_functions.as_torch(simulate)

    return build


def _module(name: str) -> ModuleType:
    """A module of snnax. Its packages import modules that version 0.0.1 was published without, so they are left out."""
    for package in ("snnax", "snnax.snn", "snnax.snn.layers", "snnax.functional"):
        if package not in sys.modules:
            parent = package.rpartition(".")[0]
            found = sys.modules[parent].__path__ if parent else None
            spec = PathFinder.find_spec(package, found)
            if spec is None:
                raise ModuleNotFoundError(f"{package} is not installed", name=package)
            sys.modules[package] = importlib.util.module_from_spec(spec)  # and not executed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of functions of Equinox that go out of use
        return importlib.import_module(f"snnax.{name}")


LIBRARY = Library(
    "snnax",
    "snnax",
    "`SimpleLIF`, the input times τm",
    {
        "snnax": Peer("snnax", None, snnax(True), setting="stop_reset_grad=True, the default"),
        "snnax, kept": Peer("snnax", "full", snnax(False), setting="stop_reset_grad=False"),
    },
)
