"""What averaging over examples does to the angle between gradients: of the single neuron, and of recorded networks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from tsbp.neuron import filter_spikes, lif
from tsbp.runs import toy

if TYPE_CHECKING:
    import pandas

OTHERS = ("leak", "spatial")


def neuron_angles(config: toy.ToyConfig, numbers: Sequence[int] = (1, 10, 100)) -> dict[str, dict[int, np.ndarray]]:
    """Angle to ``full`` of gradients that are averaged over patterns, for neurons after the training of a study.

    Args:
        config: the study; each of its repeats gives a neuron, trained with the first gradient and learning rate, and a
            pattern of input and target spikes. The neurons see all patterns, of which each has learned one.
        numbers: of patterns over which a gradient is averaged.

    Returns:
        Other gradient → number → angle in degrees, the median over groups of patterns, for each neuron that has any.
    """
    config = config.but(gradients=config.gradients[:1], learning_rates=config.learning_rates[:1])
    trained = toy.run(config)
    draws = trained.draws
    inputs = toy.input_psc(draws, config)
    current = torch.einsum("rtn,gn->tgr", inputs, trained.weights[0, 0])
    target_psc = filter_spikes(draws.target_spikes, config.tau_s)[:, None]
    error = lif(current, **toy.neuron_settings(config)).psc - target_psc
    gradients = {  # of every neuron on every pattern
        name: torch.einsum("rtn,tgr->grn", inputs, delta)
        for name, delta in toy.at_currents(current, error, config).items()
    }
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in OTHERS}
    for n in numbers:
        means = {name: x[:, : x.shape[1] // n * n].unflatten(1, (-1, n)).mean(2) for name, x in gradients.items()}
        there = means["full"].any(2) & means["spatial"].any(2)
        for name in OTHERS:
            cosine = torch.cosine_similarity(means["full"], means[name], dim=2).clamp(-1, 1)
            angle = torch.where(there, cosine.arccos().rad2deg(), torch.nan).nanmedian(1).values
            found[name][n] = angle[~angle.isnan()].numpy()
    return found


def network_angles(runs: "pandas.DataFrame", epoch: int = -1) -> dict[str, dict[int, np.ndarray]]:
    """The same from records of trainings with ``--compare-gradients``: a value for each run that has it.

    Args:
        runs: records of ``tsbp train``.
        epoch: 0, the first, or -1, the last.
    """
    found: dict[str, dict[int, list[float]]] = {name: {} for name in OTHERS}
    for metrics in runs["epoch_metrics"]:
        for name in OTHERS:
            for n, cosine in metrics[epoch].get(f"averaged_cosine_{name}", {}).items():
                found[name].setdefault(int(n), []).append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return {name: {n: np.array(values) for n, values in by_number.items()} for name, by_number in found.items()}


def angle_table(studies: Mapping[str, Mapping[str, Mapping[int, np.ndarray]]]) -> "pandas.DataFrame":
    """Median angle in degrees, a row for each study and gradient, a column for each number of examples.

    Args:
        studies: title → angles, as :func:`neuron_angles` and :func:`network_angles` give them.
    """
    import pandas as pd

    numbers = sorted({n for study in studies.values() for by_number in study.values() for n in by_number})
    rows = []
    for title, study in studies.items():
        for name, by_number in study.items():
            if by_number:
                cells = {str(n): f"{np.median(by_number[n]):.0f}°" if n in by_number else "" for n in numbers}
                rows.append({"study": title, "gradient": name} | cells)
    return pd.DataFrame(rows)
