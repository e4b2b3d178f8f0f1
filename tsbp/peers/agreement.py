"""Which of the three gradients other libraries compute: one neuron, the same input, float64."""

from importlib import metadata
from typing import Annotated, Any, ClassVar

import torch

from tsbp.peers import libraries
from tsbp.runs import memory, records
from tsbp.runs.config import LARGEST_SEED, Config, setting


class AgreementConfig(Config):
    """The random currents on which gradients are compared."""

    kind: ClassVar[str] = "agreement"

    time_steps: Annotated[int, setting("Number of time steps T.", ge=1)] = 25
    neurons: Annotated[int, setting("Neurons, each with random currents of its own.", ge=1)] = 200
    seed: Annotated[int, setting("Decides everything random.", ge=0, le=LARGEST_SEED)] = 0


def run(config: AgreementConfig) -> dict[str, Any]:
    """Compare the peers of :mod:`tsbp.peers.libraries`, those that are installed, and return the record.

    It holds, for each, the distance of its gradient from each of the study's gradients, as a share of the latter's
    length: zero says that they are the same.

    Raises:
        ValueError: a value is out of its range, there is too little memory, or a library has another neuron than the
            one compared with.
    """
    said = f"{config.neurons:,} neurons over {config.time_steps} time steps"
    memory.check(said, 4 * 8 * config.neurons * config.time_steps, torch.device("cpu"))
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
    return records.new(config, results, torch.device("cpu"))
