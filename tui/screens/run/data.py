"""The data a run read: each source's version, how it differs from the previous one, and the file's current state."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.features.data_versions import wording as data_versions
from finetop.core.features.data_versions.messages import SourceFacts
from finetop.core.protocol.runs import RunDetail
from finetop.tui.text import Line, labelled, wrapped


def facts_of(detail: RunDetail, known: Sequence[SourceFacts]) -> list[SourceFacts]:
    """Return the facts of a run's sources: complete once loaded, before that what came with the run."""
    if [facts.row for facts in known] == detail.sources:
        return list(known)
    return [SourceFacts(row) for row in detail.sources]


def version_lines(detail: RunDetail, known: Sequence[SourceFacts], width: int, label: int) -> list[Line]:
    """Return the version of each source, for the recipe tab."""
    lines: list[Line] = []
    for facts in facts_of(detail, known):
        lines += labelled("version", data_versions.version_line(facts), width, cells=label)
        for text in data_versions.further_facts(facts):
            lines += [((" " * label + row, "dim"),) for row in wrapped(text, width - label - 1)]
    return lines


def branches(detail: RunDetail, known: Sequence[SourceFacts], width: int, *, is_first: bool) -> list[Line]:
    """Draw the sources as branches of the run's tree."""
    lines: list[Line] = []
    for facts in facts_of(detail, known):
        branch = "┌" if is_first and not lines else "├"
        row, *more = wrapped(data_versions.version_line(facts), width - 8, 2)
        lines.append(((f"   {branch} ", "dim"), (row, ""), ("" if more else "  data", "dim")))
        lines += [(("   │   ", "dim"), (text, "")) for text in more]
        for change in data_versions.further_facts(facts):
            if change.startswith(data_versions.FILE):
                lines += [(("   │   ", "dim"), (text, "dim")) for text in wrapped(change, width - 8, 2)]
    return lines
