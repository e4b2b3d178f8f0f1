"""exact-event-adjoint: its neuron lives in continuous time. It takes times of spikes and returns times of spikes."""

from tsbp.peers.libraries.peer import Library

LIBRARY = Library(
    "exact-event-adjoint",
    "exact_event_adjoint",
    "`ExactAdjointMultiSpike`",
    reason="It solves for the times of spikes in continuous time: there are neither time steps nor a surrogate.",
)
