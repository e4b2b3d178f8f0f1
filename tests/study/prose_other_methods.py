"""What the chapter on other methods says of the gradients."""

from prose import Entries, Evidence
from prose_data_sets import as_good_in_the_longer_training, reduced_is_ahead_at_the_best_rate_of_full

from tsbp.peers.agreement import AgreementConfig
from tsbp.runs import records


def subtractive_fades_faster_with_the_term(e: Evidence) -> bool:
    growth = records.recorded(AgreementConfig())["growth"]
    return growth["SpikingJelly, subtractive"] < growth["SpikingJelly, subtractive, detached"]


def spatial_on_images(e: Evidence) -> bool:
    return as_good_in_the_longer_training(e) and reduced_is_ahead_at_the_best_rate_of_full(e)


ENTRIES = Entries(
    statements={
        "With a subtractive reset the gradient fades faster": subtractive_fades_faster_with_the_term,
        "`spatial` is as good as `full` on MNIST": spatial_on_images,
    },
    neutral=(
        "Asked why the SpyTorch tutorials detach the reset",
        "switch the reset term on and off",
        "need not be the better one for the neuron that spikes",
    ),
)
