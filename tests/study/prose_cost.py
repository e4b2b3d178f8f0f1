"""What the chapter on the cost of the term says of the gradients."""

import pandas as pd
from prose import Entries, Evidence

from tsbp.runs import records
from tsbp.study.statistics import ratio_interval

WITH_AND_WITHOUT = {
    "tsbp": ("tsbp full", "tsbp leak"),
    "SpikingJelly": ("SpikingJelly", "SpikingJelly, detached"),
    "snnTorch": ("snnTorch, no delay", "snnTorch"),
}


def small_overhead_in_one_pass(e: Evidence) -> bool:
    """Below a tenth by the interval in the large layers on the CPU, and nowhere surely above a tenth."""
    large = runs("cpu").query("benchmark == 'lif' and precision == 'float32' and batch_size * neurons > 100_000")
    everywhere = [low for low, _ in prices("tsbp", runs("cpu"))]
    return len(large) == 2 and all(high < 1.1 for _, high in prices("tsbp", large)) and max(everywhere) < 1.1


def nor_on_a_gpu(e: Evidence) -> bool:
    """With a kernel, and one in snnTorch."""
    cuda = runs("cuda")
    kernels = [low for name in ("tsbp", "SpikingJelly") for low, _ in prices(name, cuda)]
    return max(kernels) <= 1 < min(low for low, _ in prices("snnTorch", cuda))


def layers_pay_through_autograd(e: Evidence) -> bool:
    layers = runs("cpu").query("benchmark == 'lif' and precision == 'float32'")
    found = [low for name in ("SpikingJelly", "snnTorch") for low, _ in prices(name, layers)]
    return len(found) == 6 and min(found) > 1


def kernel_alone_is_cheap(e: Evidence) -> bool:
    return small_overhead_in_one_pass(e) and layers_pay_through_autograd(e)


def gradients_are_close_in_one_pass(e: Evidence) -> bool:
    """Within a tenth in the record of the layer, where autograd takes many times as long."""
    layer = "benchmark == 'lif' and precision == 'float32' and time_steps == 5"
    seconds = runs("cpu").query(layer).iloc[0]["seconds"]
    ours = [ratio_interval(seconds[f"tsbp {name}"], seconds["tsbp full"])[0] for name in ("leak", "spatial")]
    return min(ours) > 0.9 and ratio_interval(seconds["plain autograd"], seconds["tsbp full"])[1] > 5


def runs(device: str) -> pd.DataFrame:
    found = records.load("bench")
    return found[found["device"] == device]


def prices(name: str, found: pd.DataFrame) -> list[tuple[float, float]]:
    """Ends of the interval of the time with the term over the time without it, where both were timed."""
    full, leak = WITH_AND_WITHOUT[name]
    timed = [seconds for seconds in found["seconds"] if full in seconds and leak in seconds]
    return [ratio_interval(seconds[full], seconds[leak])[1:] for seconds in timed]


ENTRIES = Entries(
    statements={
        "In the record the three gradients of `tsbp` differ far less": gradients_are_close_in_one_pass,
        "In one pass through memory the term costs less than": kernel_alone_is_cheap,
        "In one pass through memory the overhead is small": small_overhead_in_one_pass,
        "cost is no reason to leave the term out": small_overhead_in_one_pass,
        "neither `tsbp` nor SpikingJelly": nor_on_a_gpu,
    },
    computed=("The intervals exclude an overhead above",),
    neutral=(
        "Empirically speaking, the benefits",
        "What does the term cost?",
        "Whether the term helps *learning* depends",
        "a product and a difference, and no memory access",
    ),
)
