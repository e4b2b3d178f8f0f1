"""What users of other libraries ask about detaching the reset, and what this book answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A public thread, what it asks, and the page that answers it."""

    thread: str
    """``owner/repository#number``."""
    asked: str
    """In one sentence; empty where the thread could not be read."""
    answer: str = ""
    page: str = ""
    """A page of the book, by the name of its file."""

    def link(self) -> str:
        """In Markdown."""
        repository, number = self.thread.split("#")
        return f"[{repository} {number}](https://github.com/{repository}/issues/{number})"


QUESTIONS = (
    Question(
        "fzenke/spytorch#2",
        "Why is `rst` subtracted, and not `out`, which holds the same spikes?",
        "`rst` carries no gradient: the tutorial trains with `leak`, and with `full` if `out` is subtracted.",
        "03_other_methods",
    ),
    Question(
        "fzenke/spytorch#3",
        "Is `rst` not always equal to `out`?",
        "It is in the forward pass; in the backward pass `out` adds the term of the reset.",
        "02_gradient",
    ),
    Question(
        "BICLab/SpikeYOLO#70",
        "Is the spike in the reset detached to train better, or on principle?",
        "No principle asks for it: the gradient of the smoothed neuron has the term. What it does to training is "
        "measured.",
        "07_time",
    ),
    Question(
        "fangwei123456/Parametric-Leaky-Integrate-and-Fire-Spiking-Neuron#15",
        "What do the two values of `detach_reset` do?",
        "`False` computes what this book calls `full`, `True` what it calls `leak`.",
        "03_other_methods",
    ),
    Question(
        "jeshraghian/snntorch#413",
        "Should the detached reset of tutorial 6 be spike × threshold instead of spike − threshold?",
        "Yes: the difference would subtract from the potential even without a spike.",
        "01_neuron",
    ),
    Question(
        "jeshraghian/snntorch#364",
        "Why does the neuron depend on `reset_delay`?",
        "The setting decides when the reset happens and also what becomes of its gradient: `leak` with the delay, "
        "`full` without.",
        "03_other_methods",
    ),
    Question(
        "jeshraghian/snntorch#341",
        "Does the subtractive reset take away ϑ or βϑ?",
        "ϑ if it follows the leak, as there; βϑ if it precedes it, as here. These are two neurons.",
        "03_other_methods",
    ),
    Question(
        "jeshraghian/snntorch#323",
        "Must the spikes of a recurrent neuron be detached between calls?",
        "This truncates the gradient in time and has nothing to do with the reset; here, `out.state.detach()` does it.",
        "using",
    ),
    Question(
        "norse/norse#226",
        "Can a setting that detaches the spikes turn backpropagation through time into e-prop?",
        "Detaching them in the reset leaves `leak`; recurrent weights carry the error too, and have to be cut as well.",
        "02_gradient",
    ),
    Question("synsense/sinabs#16", ""),
)
"""Of the last, nothing but its address is known to us."""


def table() -> str:
    """All questions as a table in MyST Markdown, with links."""
    lines = ["| question | answer | shown in | asked in |", "| --- " * 4 + "|"]
    for question in QUESTIONS:
        page = f"{{doc}}`{question.page}`" if question.page else ""
        lines.append(f"| {question.asked or 'not read'} | {question.answer} | {page} | {question.link()} |")
    return "\n".join(lines)
