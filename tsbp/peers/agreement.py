"""Which of the three gradients other libraries compute: one neuron, the same input, float64."""

from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

from tsbp.peers import libraries
from tsbp.runs import records


@dataclass(frozen=True)
class AgreementConfig:
    """The random currents on which gradients are compared."""

    time_steps: int = 25
    neurons: int = 200
    seed: int = 0

    def checked(self) -> "AgreementConfig":
        """The configuration itself.

        Raises:
            ValueError: a value is out of its range.
        """
        for name in ("time_steps", "neurons"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        return self


def run(config: AgreementConfig) -> dict[str, Any]:
    """Compare the peers of :mod:`tsbp.peers.libraries`, those that are installed, and return the record.

    It holds, for each, the distance of its gradient from each of the study's gradients, as a share of the latter's
    length: zero says that they are the same.

    Raises:
        ValueError: a value is out of its range, or a library has another neuron than the one compared with.
    """
    config = config.checked()
    found = {name: peer for name, peer in (libraries.PEERS | libraries.MORE).items() if peer.installed}
    distances = {}
    for name, peer in found.items():
        theirs, ours = libraries.gradients(peer, config.time_steps, config.neurons, config.seed)
        distances[name] = {key: ((theirs - g).norm() / g.norm()).item() for key, g in ours.items()}
    results = {
        "distances": distances,
        "soft_reset": [name for name, peer in found.items() if peer.soft_reset],
        "peer_versions": {peer.package: metadata.version(peer.package) for peer in found.values()},
    }
    return records.new("agreement", config, results, torch.device("cpu"))
