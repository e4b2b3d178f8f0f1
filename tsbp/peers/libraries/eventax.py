"""Eventax: its neuron lives in continuous time. It takes spikes, and solves for the times at which it fires."""

from tsbp.peers.libraries.peer import Library

LIBRARY = Library(
    "Eventax",
    "eventax",
    "`LIF`",
    reason="It solves for the times of spikes in continuous time: there are neither time steps nor a surrogate.",
)
