"""Temporal surrogate back-propagation for spiking neural networks: what the gradient through the reset is worth.

``import tsbp`` needs torch and numpy alone. The modules read in the order of the paper (arXiv:2011.09964): gradients,
surrogate, neuron, loss, layers, networks, toy; then data, training and records, which run the experiments; figures and
book, which show them.
"""

from tsbp import interrupt  # noqa: F401  (before what takes long to load)
from tsbp.gradients import GRADIENTS, scaled
from tsbp.layers import LIF
from tsbp.loss import van_rossum_distance
from tsbp.networks import SpikingNetwork
from tsbp.neuron import LIFOutput, LIFState, filter_spikes, lif, reference_lif
from tsbp.surrogate import SURROGATES

__version__ = "0.1.0"
__all__ = [
    "GRADIENTS",
    "LIF",
    "SURROGATES",
    "LIFOutput",
    "LIFState",
    "SpikingNetwork",
    "filter_spikes",
    "lif",
    "reference_lif",
    "scaled",
    "van_rossum_distance",
]
