"""Build the page of a run: the verdict first, then the sections in their order. Pure functions."""

from __future__ import annotations

from finetop.core.protocol.runs import RunDetail
from finetop.core.report import Page, Section, moment, state_words
from finetop.core.report.load import RunFacts
from finetop.core.report.sections import (
    alarms,
    approaches,
    categories,
    checkpoints,
    checks,
    curves,
    data,
    exports,
    flips,
    machine,
    not_measured,
    recipe,
    samples,
    tasks,
)
from finetop.core.report.sections.verdict import verdict

SECTIONS = (
    *(curves, flips, tasks, categories, samples, approaches, data),
    *(checkpoints, checks, exports, alarms, not_measured, machine, recipe),
)


def page_of(facts: RunFacts, now: float, version: str) -> Page:
    """Build the page of a run."""
    name, tone, sentence, sure = verdict(facts)
    sections = tuple(Section(section.TITLE, section.blocks(facts)) for section in SECTIONS)
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
