"""Norse: its neurons without a current of their own, and those with one, whose current is made to last a step."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tsbp.peers.libraries.peer import Library, Peer, Simulate, step_by_step


def norse(
    kind: str, soft_reset: bool = False, detached: bool = False, cut: bool = False
) -> Callable[[float, float, float], Simulate]:
    """The builder of a neuron: ``box`` without a current of its own, ``current`` and ``recurrent`` with one.

    Norse has no switch for the reset's gradient, but takes a function for the reset: detached gives it spikes without
    a gradient. If it is cut, there is no gradient along the membrane. The neurons weigh the input by 1/tau_m, so that
    goes in times tau_m. The recurrent weights are zero.
    """

    def build(tau_m: float, threshold: float, temperature: float) -> Simulate:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions of PyTorch that go out of use
            from norse.torch.functional import lif, lif_box, reset

        def simulate(current: Tensor) -> Tensor:
            zero = torch.zeros_like(current[0])
            number = functools.partial(torch.tensor, dtype=current.dtype, device=current.device)
            constants: dict[str, Any] = dict(tau_mem_inv=number(1 / tau_m), v_leak=number(0.0), v_th=number(threshold))
            constants |= dict(v_reset=number(0.0), method="tanh", alpha=1 / (2 * temperature))
            if kind == "box":
                usual = reset.reset_subtract if soft_reset else reset.reset_value
                method = (lambda z, *others: usual(z.detach(), *others)) if detached else usual
                parameters = lif_box.LIFBoxParameters(**constants, reset_method=method)
                step, state = lif_box.lif_box_feed_forward_step, lif_box.LIFBoxFeedForwardState(v=zero)
            else:
                parameters = lif.LIFParameters(**constants, tau_syn_inv=number(1.0))
                step, state = lif.lif_feed_forward_step, lif.LIFFeedForwardState(v=zero, i=zero)
            if kind == "recurrent":
                identity = torch.eye(zero.shape[-1], dtype=zero.dtype, device=zero.device)
                weights = dict(input_weights=identity, recurrent_weights=0 * identity)
                step, state = functools.partial(lif.lif_step, **weights), lif.LIFState(z=zero, v=zero, i=zero)
            step = functools.partial(step, p=parameters, dt=1.0)

            def without_past(current_now: Tensor, state: Any) -> tuple[Tensor, Any]:
                return step(current_now, state._replace(v=state.v.detach()))

            return step_by_step(without_past if cut else step, tau_m * current, state)

        return simulate

    return build


LIBRARY = Library(
    "Norse",
    "norse",
    "`lif_box` or `lif`, the input times τm",
    {
        "Norse": Peer("norse", "full", norse("box"), setting="reset_method=reset_value, the default", timed=True),
        "Norse, detached": Peer(
            "norse",
            "leak",
            norse("box", detached=True),
            setting="reset_method=lambda z, *v: reset_value(z.detach(), *v)",
        ),
        "Norse, cut": Peer(
            "norse", "spatial", norse("box", cut=True), setting="lif_box(current, state._replace(v=state.v.detach()))"
        ),
        "Norse, subtractive": Peer("norse", "full", norse("box", soft_reset=True), soft_reset=True),
        "Norse, with a current": Peer("norse", "full", norse("current")),
        "Norse, recurrent": Peer("norse", "leak", norse("recurrent")),
    },
)
