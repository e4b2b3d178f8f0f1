"""The van Rossum distance between spike trains: equation 6 of the paper."""

from torch import Tensor

from tsbp.neuron import filter_spikes


def van_rossum_distance(psc: Tensor, target_spikes: Tensor, tau_s: float = 2.0) -> Tensor:
    """Distance of an output to a target spike train, both seen through the synaptic kernel (eq. 6)::

        L = Σ_t ½ (a_target[t] - a[t])²

    summed over time and over the neurons of each batch element.

    Args:
        psc: postsynaptic current of the output neurons, ``[T, B, ...]`` (or ``[T]`` for one neuron).
        target_spikes: spike trains wanted of them, of the same shape.
        tau_s: synaptic time constant in steps, ≥ 1: the kernel of ``psc``.

    Returns:
        One value per batch element, ``[B]`` (a scalar for ``[T]``).

    Raises:
        ValueError: the shapes differ, or ``tau_s`` is out of range.
    """
    if psc.shape != target_spikes.shape:
        raise ValueError(
            f"target_spikes must have the shape of psc, {list(psc.shape)}, got {list(target_spikes.shape)}"
        )
    error = filter_spikes(target_spikes.to(psc.dtype), tau_s) - psc
    per_neuron = (0.5 * error**2).sum(0)
    return per_neuron.flatten(1).sum(1) if per_neuron.dim() > 1 else per_neuron
