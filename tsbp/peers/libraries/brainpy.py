"""BrainPy: ``LifLTC`` and, for its switch, ``LifRefLTC``, on JAX.

Both integrate the membrane exactly: a leak of exp(-dt/tau), and the input weighed by R times one less that.
``detach_spk=True`` detaches the reset of ``LifRefLTC`` alone; that of ``LifLTC`` detaches the spikes that leave the
neuron too, so that no gradient enters it.
"""

import math
from collections.abc import Callable
from typing import Any

from tsbp.peers.libraries import jax_functions
from tsbp.peers.libraries.peer import Library, Peer, Simulate


def brainpy(kind: str, detach_spk: bool = False, reset: str = "hard") -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron, by its class."""

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        import brainpy as bp
        import brainpy.math as bm

        fire = jax_functions.spike(temperature)
        constants: dict[str, Any] = dict(V_rest=0.0, V_reset=0.0, V_th=threshold, R=tau_m)
        constants |= dict(tau=-1 / math.log(1 - 1 / tau_m), spk_fun=fire, spk_reset=reset, detach_spk=detach_spk)
        constants |= dict(tau_ref=0.0) if kind == "LifRefLTC" else {}

        def simulate(current: Any) -> Any:
            with bm.environment(mode=bm.TrainingMode(1), x64=current.dtype == "float64", dt=1.0):
                node = getattr(bp.dyn, kind)(current[0].size, **constants)
                node.V.value = bm.zeros((1, current[0].size), dtype=current.dtype)
                spikes = []
                for t, current_now in enumerate(current):
                    bp.share.save(t=float(t), dt=1.0)
                    spikes.append(bm.as_jax(node.update(current_now.reshape(1, -1))).reshape(current_now.shape))
            return bm.as_jax(bm.stack(spikes))

        return jax_functions.as_torch(simulate)

    return build


LIBRARY = Library(
    "BrainPy",
    "brainpy",
    "`LifLTC` or `LifRefLTC` with R = τm and a refractory time of zero",
    {
        "BrainPy": Peer("brainpy", "full", brainpy("LifLTC"), setting="detach_spk=False, the default"),
        "BrainPy, detached": Peer("brainpy", None, brainpy("LifLTC", detach_spk=True), setting="detach_spk=True"),
        "BrainPy, refractory": Peer("brainpy", "full", brainpy("LifRefLTC"), setting="detach_spk=False, the default"),
        "BrainPy, refractory, detached": Peer(
            "brainpy", "leak", brainpy("LifRefLTC", detach_spk=True), setting="detach_spk=True"
        ),
        "BrainPy, subtractive": Peer(
            "brainpy", "full", brainpy("LifLTC", reset="soft"), soft_reset=True, setting="detach_spk=False, the default"
        ),
    },
)
