"""Every sentence of the result chapters that compares gradients agrees with the records."""

import prose_cost
import prose_data_sets
import prose_errata
import prose_index
import prose_one_neuron
import prose_other_methods
import prose_reproduce
import prose_settings
import prose_time
import pytest
from prose import Entries, Evidence, sentences

from tsbp.runs import records
from tsbp.runs.files import PROJECT

CHAPTERS: dict[str, Entries] = {
    "index": prose_index.ENTRIES,
    "03_other_methods": prose_other_methods.ENTRIES,
    "04_one_neuron": prose_one_neuron.ENTRIES,
    "05_data_sets": prose_data_sets.ENTRIES,
    "06_settings": prose_settings.ENTRIES,
    "07_time": prose_time.ENTRIES,
    "08_cost": prose_cost.ENTRIES,
    "09_errata": prose_errata.ENTRIES,
    "10_reproduce": prose_reproduce.ENTRIES,
    "summary": Entries(),  # its table compares; its sentences do not
}

WHAT_TO_DO = """compares gradients, and nothing in tests/study/{module}.py covers it. Add a part of it there: to
`statements`, with a function that says whether the records bear it out, if it names a winner or an equality; to
`computed`, if the page inserts the winner; to `neutral`, if it asks, defines or describes."""


def module(chapter: str) -> str:
    return f"prose_{chapter.lstrip('0123456789_')}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_comparison_is_covered_once(chapter):
    entries = list(CHAPTERS[chapter])
    found = list(sentences(PROJECT / "notebooks" / f"{chapter}.py"))
    for sentence in found:
        parts = [part for part in entries if part in sentence]
        assert parts, f"{chapter}: {sentence!r}\n{WHAT_TO_DO.format(module=module(chapter))}"
        assert len(parts) == 1, f"{chapter}: {sentence!r} is covered {len(parts)} times, by {parts}"
    for part in entries:
        count = sum(part in sentence for sentence in found)
        assert count == 1, (
            f"{chapter}: {count} sentences that compare gradients have {part!r}: mend {module(chapter)}.py"
        )


def test_a_new_comparison_is_found(tmp_path):
    """In text and captions, over the ends of lines; the sentence after it may leave the gradient's name out."""
    cell = """# %% [markdown]
# ```{glue:figure} one
# :alt: `full` is ahead.
#
# In all of
# {numref}`one` `full` is {glue:text}`x:.1f` points ahead (Fig. 3). It is the best. It has no name.
# ```
# | `leak` | is faster |
# | --- | --- |
#
# Nothing is faster here.

# %%
# `spatial` is slower
"""
    (tmp_path / "new.py").write_text(cell)
    assert list(sentences(tmp_path / "new.py")) == [
        "In all of <one> `full` is {x} points ahead (Fig. 3).",
        "It is the best.",
    ]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence()


STATEMENTS = [(chapter, part) for chapter, entries in CHAPTERS.items() for part in entries.statements]


@pytest.mark.parametrize(("chapter", "part"), STATEMENTS)
def test_what_is_said_follows_from_the_records(evidence, chapter, part):
    said = CHAPTERS[chapter].statements[part]
    assert said(evidence), f"{chapter} says {part!r}: the records do not ({module(chapter)}.{said.__name__})"


RULES = (
    *prose_index.WITHOUT_A_COMPARATIVE,
    *prose_time.RECOMMENDATIONS,
    *prose_settings.WITHOUT_A_COMPARATIVE,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_recommendations_follow_from_the_records(evidence, rule):
    assert rule(evidence)


EXCHANGED = [
    ("index", "Keeping the reset slows learning, in a single neuron"),
    ("04_one_neuron", "At small learning rates `leak` is ahead; at the largest it stops"),
    ("05_data_sets", "On the reduced CIFAR-10 `full` is ahead of both"),
    ("06_settings", "With momentum the pattern resembles that of the single"),
]
"""Statements that turn false with the names of ``full`` and ``leak`` exchanged in the records."""


@pytest.fixture
def exchanged(monkeypatch, evidence) -> Evidence:
    """What the records would show if each were the other's."""
    names = {"full": "leak", "leak": "full"}
    recorded = records.recorded

    def exchange(config) -> dict:
        record = recorded(config)
        return {**record, "gradients": [names.get(name, name) for name in record["gradients"]]}

    monkeypatch.setattr(records, "recorded", exchange)
    found = Evidence()
    found.runs = evidence.runs.replace({"gradient": names})
    return found


@pytest.mark.parametrize(("chapter", "part"), EXCHANGED)
def test_a_statement_can_fail(exchanged, chapter, part):
    assert not CHAPTERS[chapter].statements[part](exchanged)
