"""Which of the three gradients other libraries compute: one neuron, the same input, float64."""

from importlib import metadata
from typing import Annotated, Any, ClassVar

import torch

from tsbp.peers import comparison, libraries
from tsbp.runs import memory, records
from tsbp.runs.config import LARGEST_SEED, Config, setting


class AgreementConfig(Config):
    """The random currents on which gradients are compared."""

    kind: ClassVar[str] = "agreement"

    time_steps: Annotated[int, setting("Number of time steps T.", ge=1)] = 25
    neurons: Annotated[int, setting("Neurons, each with random currents of its own.", ge=1)] = 200
    seed: Annotated[int, setting("Decides everything random.", ge=0, le=LARGEST_SEED)] = 0


def run(config: AgreementConfig) -> dict[str, Any]:
    """Compare the peers of :mod:`tsbp.peers.libraries` and return the record.

    It holds, for each, how its gradient compares with each of the study's: the distance as a share of the latter's
    length, where zero says that they are the same, the ratio of their lengths, and the cosine between them. And how a
    gradient that arrives at the last time step grows on its way back. What is not installed, cannot be imported or has
    no such neuron is left out, with the reason.

    Raises:
        ValueError: a value is out of its range, there is too little memory, or a library has another neuron than the
            one compared with.
    """
    said = f"{config.neurons:,} neurons over {config.time_steps} time steps"
    memory.check(said, 4 * 8 * config.neurons * config.time_steps, torch.device("cpu"))
    found, left_out = available()
    drawn = (config.time_steps, config.neurons, config.seed)
    distances, length_ratios, cosines, growths = {}, {}, {}, {}
    for name, peer in found.items():
        theirs, ours = comparison.gradients(peer, *drawn)
        distances[name] = {key: ((theirs - g).norm() / g.norm()).item() for key, g in ours.items()}
        length_ratios[name] = {key: (theirs.norm() / g.norm()).item() for key, g in ours.items()}
        cosines[name] = {key: comparison.cosine(theirs, g) for key, g in ours.items()}
        growths[name] = comparison.growth(comparison.gradients(peer, *drawn, last_alone=True)[0])
    results = {
        "distances": distances,
        "length_ratios": length_ratios,
        "cosines": cosines,
        "growth": growths,
        "soft_reset": [name for name, peer in found.items() if peer.soft_reset],
        "settings": {name: peer.setting for name, peer in found.items() if peer.setting},
        "left_out": left_out,
        "peer_versions": {peer.package: metadata.version(peer.package) for peer in found.values()},
    }
    return records.new(config, results, torch.device("cpu"))


def available() -> tuple[dict[str, libraries.Peer], dict[str, str]]:
    """The peers that can be run here, and why the others cannot, by name."""
    left_out = {library.title: library.reason for library in libraries.LIBRARIES if library.reason}
    found = {}
    for name, peer in (libraries.PEERS | libraries.MORE).items():
        if not peer.installed:
            left_out[name] = f"{peer.package} is not installed"
            continue
        try:
            peer.build(6.0, 1.0, libraries.TEMPERATURE)
        except Exception as error:  # whatever another library may raise while it is imported
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            left_out[name] = f"{peer.package} cannot be imported: {reason}"
        else:
            found[name] = peer
    return found, left_out
