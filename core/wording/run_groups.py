"""Groups of runs in words, and merged over several machines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

from msgspec.structs import replace

from finetop.core.protocol.messages.runs import Group
from finetop.core.protocol.runs import RunRow
from finetop.core.text import clean_line, counted

LONGEST = 80  # bytes shown of a group's value


def group_heading(setting: str, group: Group) -> str:
    """Return a group's heading: its number of runs, and the mean and spread of the sort key."""
    runs = counted(group.runs, "run")
    heading = f"{setting} {clean_line(group.word, limit=LONGEST) or 'none'}: {runs}"
    if group.mean is None:
        return heading
    spread = "" if group.spread is None else f" ± {group.spread:.3g}"
    some = f" of {group.measured:,}" if group.measured < group.runs else ""
    return f"{heading}, {group.key} {group.mean:.4g}{spread}{some}"


def of_rows(rows: Sequence[RunRow], groups: Sequence[Group]) -> Iterator[tuple[int, Group]]:
    """Yield the index of each group's first row, and the group."""
    known = {group.word: group for group in groups}
    for index, row in enumerate(rows):
        if (index == 0 or rows[index - 1].group != row.group) and row.group in known:
            yield index, known[row.group]


def merged_group(first: Group, other: Group) -> Group:
    """Merge one group's runs on two machines."""
    runs = first.runs + other.runs
    if not first.measured or not other.measured:
        return replace(first if first.measured else other, word=first.word, runs=runs)
    measured = first.measured + other.measured
    assert first.mean is not None
    assert other.mean is not None
    mean = (first.mean * first.measured + other.mean * other.measured) / measured
    squares = 0.0
    for group in (first, other):
        within = (group.spread or 0.0) ** 2 * (group.measured - 1)
        squares += within + group.measured * ((group.mean or 0.0) - mean) ** 2
    return Group(first.word, runs, first.key, measured, mean, math.sqrt(squares / (measured - 1)))


def merged(lists: Sequence[Sequence[Group]]) -> list[Group]:
    """Merge the groups of several machines into one list."""
    by_word: dict[str, Group] = {}
    for group in chain.from_iterable(lists):
        known = by_word.get(group.word)
        by_word[group.word] = group if known is None else merged_group(known, group)
    return list(by_word.values())
