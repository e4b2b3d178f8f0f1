"""What other learning rules and libraries do with the reset in the backward pass, and where that was read."""

from dataclasses import dataclass

TREATMENTS = {
    "kept": "differentiated",
    "detached": "detached",
    "ignored": "ignored",
    "cut": "cut",
    "own": "given a rule of its own",
}
"""What a backward pass can do with the reset, and how the table calls it; the chapter explains the words."""


@dataclass(frozen=True)
class Source:
    """A file of a public repository at a commit."""

    repository: str
    commit: str
    path: str

    def link(self) -> str:
        """In Markdown."""
        address = f"https://github.com/{self.repository}/blob/{self.commit}/{self.path}"
        return f"[{self.path.rpartition('/')[2]}]({address}) ({self.commit})"


@dataclass(frozen=True)
class Release:
    """A file of a published package whose repository is not public."""

    package: str
    version: str
    path: str

    def link(self) -> str:
        """In Markdown."""
        return f"`{self.path}` ({self.package} {self.version})"


@dataclass(frozen=True)
class Method:
    """A learning rule or a library's neuron, as it comes."""

    name: str
    citation: str
    """Key in the bibliography."""
    reset: str
    """What a spike does to the potential."""
    treatment: str
    """One of :data:`TREATMENTS`."""
    detail: str
    """How the code does it, or the setting that changes it."""
    sources: tuple[Source | Release, ...]


METHODS = (
    Method(
        "SuperSpike",
        "zenke2018",
        "to rest, held there",
        "ignored",
        "surrogate × filtered input spikes, which the neuron's own spikes do not enter",
        (
            Source("fzenke/pub2018superspike", "9bd0c41", "src/SuperSpikeConnection.cpp"),
            Source("fzenke/auryn", "6f88977", "src/auryn/IafPscExpGroup.cpp"),
        ),
    ),
    Method(
        "SLAYER",
        "shrestha2018",
        "adds a refractory kernel",
        "ignored",
        "the kernel gets no gradient",
        (
            Source("bamsumit/slayerPytorch", "01beeeb", "src/slayer.py"),
            Source("bamsumit/slayerPytorch", "01beeeb", "src/cuda/spikeKernels.h"),
        ),
    ),
    Method(
        "STBP",
        "wu2018",
        "to zero",
        "kept",
        "autograd through `mem * (1 - spike)`",
        (Source("yjwu17/STBP-for-training-SpikingNN", "9661866", "spiking_model.py"),),
    ),
    Method(
        "LSNN",
        "bellec2018",
        "subtractive",
        "kept",
        "autograd, with a surrogate damped to a peak of 0.3",
        (Source("IGITUGraz/LSNN-official", "0e09090", "lsnn/spiking_models.py"),),
    ),
    Method(
        "SpyTorch",
        "neftci2019",
        "to zero",
        "detached",
        "`out.detach()`",
        (Source("fzenke/spytorch", "d363dbf", "notebooks/SpyTorchTutorial1.ipynb"),),
    ),
    Method(
        "Rockpool",
        "muir2019",
        "subtractive",
        "kept",
        "autograd",
        (
            Source("synsense/rockpool", "42cee1c", "rockpool/nn/modules/torch/lif_torch.py"),
            Source("synsense/rockpool", "42cee1c", "rockpool/nn/modules/jax/lif_jax.py"),
        ),
    ),
    Method(
        "TSSL-BP",
        "zhang2020",
        "to zero",
        "own",
        "what the reset at one spike does to the next spike",
        (Source("stonezwr/TSSL-BP", "e84dde9", "functions/TSSLBP.py"),),
    ),
    Method(
        "ANTLR",
        "kim2020",
        "to zero, the current too",
        "detached",
        "written by hand: leak × (1 − S), no more",
        (Source("KyungsuKim42/ANTLR", "229983f", "antlr.py"),),
    ),
    Method(
        "Norse (feed-forward)",
        "pehle2021",
        "to zero",
        "kept",
        "autograd",
        (
            Source("norse/norse", "4f72950", "norse/torch/functional/lif_box.py"),
            Source("norse/norse", "4f72950", "norse/torch/functional/lif.py"),
        ),
    ),
    Method(
        "Norse (recurrent)",
        "pehle2021",
        "to zero",
        "detached",
        "`z_new.detach()`",
        (Source("norse/norse", "4f72950", "norse/torch/functional/lif.py"),),
    ),
    Method(
        "stork",
        "rossbroich2022",
        "to zero",
        "detached",
        "kept with `diff_reset=True`",
        (Source("fmi-basel/stork", "258a2d6", "stork/nodes/lif/base.py"),),
    ),
    Method(
        "EXODUS",
        "bauer2023",
        "subtractive",
        "kept",
        "written by hand: leak × (1 − ϑ · surrogate)",
        (
            Source("synsense/sinabs-exodus", "641ccda", "cuda/lif_kernels.h"),
            Source("synsense/sinabs-exodus", "641ccda", "sinabs/exodus/spike.py"),
        ),
    ),
    Method(
        "SLTT",
        "meng2023",
        "subtractive",
        "cut",
        "the potential is detached before every step",
        (Source("qymeng94/SLTT", "0758ecd", "modules/neuron.py"),),
    ),
    Method(
        "SpikingJelly",
        "fang2023",
        "to zero",
        "kept",
        "detached with `detach_reset=True`",
        (Source("fangwei123456/spikingjelly", "afb1322", "spikingjelly/activation_based/neuron/base_node.py"),),
    ),
    Method(
        "snnTorch",
        "eshraghian2023",
        "subtractive",
        "detached",
        "kept with `reset_delay=False`",
        (
            Source("jeshraghian/snntorch", "634fc22", "snntorch/_neurons/neurons.py"),
            Source("jeshraghian/snntorch", "634fc22", "snntorch/_neurons/leaky.py"),
        ),
    ),
    Method(
        "sinabs",
        "sheik2023",
        "subtractive",
        "kept",
        "autograd; `MembraneReset`, to zero, compares the spike with a number, which detaches it",
        (
            Source("synsense/sinabs", "904eb89", "sinabs/activation/reset_mechanism.py"),
            Source("synsense/sinabs", "904eb89", "sinabs/layers/functional/lif.py"),
        ),
    ),
    Method(
        "BrainPy",
        "wang2023",
        "subtractive",
        "kept",
        "autograd; `detach_spk=True` detaches it, in neurons without a refractory time the output too",
        (
            Source("brainpy/BrainPy", "a13eef5", "brainpy/dyn/neurons/base.py"),
            Source("brainpy/BrainPy", "a13eef5", "brainpy/dyn/neurons/lif.py"),
        ),
    ),
    Method(
        "Spyx",
        "heckel2024",
        "subtractive",
        "kept",
        "autograd; there is no other setting",
        (Source("kmheckel/spyx", "38374e9", "src/spyx/nn.py"),),
    ),
    Method(
        "snnax",
        "lohoff2024",
        "to zero",
        "ignored",
        "`stop_gradient(mem_pot * spike_output)`: the potential is detached too; kept with `stop_reset_grad=False`",
        (Source("PGI15/snnax", "b7a55c6", "src/snnax/snn/layers/lif.py"),),
    ),
    Method(
        "FPT",
        "feng2025",
        "subtractive",
        "kept",
        "autograd through two corrections of all steps at once, with a smoothed spike in the reset",
        (Source("WanjinVon/FPT", "47bc819", "my_seq_cifar100/main_seq_cifar100.py"),),
    ),
    Method(
        "adseq",
        "landsmeer2025",
        "to zero, the next input too",
        "own",
        "differentiates the time of the spike; by a surrogate with `reset_gradient='surrogate'`, all that 0.9.4 has",
        (Source("llandsmeer/adseq", "0de907d", "adseq/bridges/flax_bridge.py"),),
    ),
    Method(
        "Eventax",
        "konig2026",
        "subtractive, at the time of the spike",
        "own",
        "differentiates the time of the spike; `reset_grad_preserve=False` cuts the potential there",
        (
            Source("Efficient-Scalable-Machine-Learning/eventax", "25e9892", "src/eventax/neuron_models/lif.py"),
            Source("Efficient-Scalable-Machine-Learning/eventax", "25e9892", "src/eventax/evnn.py"),
        ),
    ),
    Method(
        "exact-event-adjoint",
        "exacteventadjoint2026",
        "subtractive, at the time of the spike",
        "own",
        "written by hand: how each time of a spike depends on the earlier ones",
        (Release("exact-event-adjoint", "0.2.0", "extended.py"),),
    ),
)
"""In order of publication. Every entry was read in the sources that it names."""


def named(treatment: str) -> list[str]:
    """The methods that treat the reset so."""
    return [method.name for method in METHODS if method.treatment == treatment]


def table() -> str:
    """All methods as a table in MyST Markdown, with citations and links."""
    lines = ["| method | its reset | in the backward pass it is | how | read in |", "| --- " * 5 + "|"]
    for method in METHODS:
        read = ", ".join(source.link() for source in method.sources)
        cells = [f"{method.name} {{cite}}`{method.citation}`", method.reset, TREATMENTS[method.treatment]]
        lines.append(f"| {' | '.join([*cells, method.detail, read])} |")
    return "\n".join(lines)
