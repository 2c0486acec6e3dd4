"""Build the page of a run: the verdict first, then the sections in their order. Pure functions."""

from __future__ import annotations

from collections.abc import Callable

from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import Block, Page, Section, moment, state_words
from finetop.core.features.report.sections import approaches, check, inputs, training
from finetop.core.protocol.runs import RunDetail

SECTIONS: tuple[tuple[str, Callable[[RunFacts], tuple[Block, ...]]], ...] = (
    ("Curves", training.curves),
    ("Answers that changed", check.flips),
    ("Tasks", lambda facts: check.tasks(facts.outcome)),
    ("Categories", check.categories),
    ("Samples", lambda facts: training.samples(facts.detail)),
    ("Approaches", approaches.blocks),
    ("Data", inputs.data),
    ("Checkpoints", lambda facts: training.checkpoints(facts.detail)),
    ("Checks", check.checks),
    ("Exports", check.exported),
    ("Alarms", training.alarms),
    ("Not measured", check.not_measured),
    ("How it ran", training.machine),
    ("Recipe", inputs.recipe),
)


def page_of(facts: RunFacts, now: float, version: str) -> Page:
    """Build the page of a run."""
    name, tone, sentence, sure = check.verdict(facts)
    sections = tuple(Section(title, blocks(facts)) for title, blocks in SECTIONS)
    return Page(
        title=facts.detail.row.name,
        about=_about(facts.detail),
        word=name,
        tone=tone,
        sentence=sentence,
        sure=sure,
        sections=tuple(section for section in sections if section.blocks),
        footer=f"{moment(now)}, by finetop {version}",
    )


def _about(detail: RunDetail) -> str:
    row = detail.row
    rows = sum(source.kept if source.used is None else source.used for source in detail.data)
    on = f" on {rows:,} rows" if rows else ""
    return f"{row.model}, tuned by {row.method} ({row.objective}){on}; {state_words(row)}"
