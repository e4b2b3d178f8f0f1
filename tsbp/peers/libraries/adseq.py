"""adseq: its neuron is another one: a spike multiplies the next potential by zero, the input included.

In version 0.9.4 the reset is differentiated by a fixed surrogate, SuperSpike; later code also differentiates the time
of the spike, with ``reset_gradient='exact'``.
"""

from tsbp.peers.libraries.peer import Library

LIBRARY = Library(
    "adseq",
    "adseq",
    "`SurrogateLIF`",
    reason="A spike also discards the input of the next step, and the surrogate of the reset cannot be chosen.",
)
