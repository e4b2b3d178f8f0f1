"""The same neuron in other libraries, an adapter file for each.

The package needs none of them; ``make peers`` brings them. Each is set to eq. 3 and 4 and the surrogate of eq. 10;
:func:`tsbp.peers.comparison.check` finds out whether spikes and gradients are then those of :func:`tsbp.lif`. None of
them has the synaptic filter of eq. 5, which is added where a whole neuron is timed.

To add a library, write its file and add its line to :data:`LIBRARIES`.
"""

from tsbp.peers.libraries import (
    adseq,
    brainpy,
    eventax,
    exact_event_adjoint,
    jax_scan,
    jaxpike,
    norse,
    plain,
    rockpool,
    sinabs,
    snnax,
    snntorch,
    spikingjelly,
    spyx,
)
from tsbp.peers.libraries.peer import TEMPERATURE, Library, Peer

__all__ = ["LIBRARIES", "MORE", "PEERS", "TEMPERATURE", "Library", "Peer"]

LIBRARIES: tuple[Library, ...] = (
    plain.LIBRARY,
    spikingjelly.LIBRARY,
    snntorch.LIBRARY,
    norse.LIBRARY,
    jax_scan.LIBRARY,
    spyx.LIBRARY,
    snnax.LIBRARY,
    jaxpike.LIBRARY,
    brainpy.LIBRARY,
    sinabs.LIBRARY,
    rockpool.LIBRARY,
    adseq.LIBRARY,
    eventax.LIBRARY,
    exact_event_adjoint.LIBRARY,
)
"""In the order in which they are shown."""

_ALL = {name: peer for library in LIBRARIES for name, peer in library.peers.items()}
PEERS = {name: peer for name, peer in _ALL.items() if peer.timed}
"""Those that benchmarks time, by the name under which they are shown."""
MORE = {name: peer for name, peer in _ALL.items() if not peer.timed}
"""Other settings and other neurons, whose gradients alone are compared."""
