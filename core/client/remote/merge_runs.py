"""Runs of several machines as one list: names that say the machine, numbers that no two have, one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from finetop.core.protocol.filter_match import fits, place
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.run_filter import Sort, Term, parse, written, written_term
from finetop.core.protocol.runs import RunDetail, RunRow


def placed(row: RunRow, labels: Sequence[str], label: str) -> RunRow:
    """Return a run of one machine as one among several: lab:support-r16."""
    number = numbered(row.id, labels, label)
    return msgspec.structs.replace(row, id=number, name=f"{label}:{row.name}", host=label)


def unplaced(row: RunRow, labels: Sequence[str]) -> RunRow:
    """Return a run as its own machine knows it."""
    return msgspec.structs.replace(row, id=row.id // len(labels), name=bare(row), host="")


def placed_detail(detail: RunDetail, labels: Sequence[str], label: str) -> RunDetail:
    """Return all about a run as one among several; so do its relatives."""
    own = [
        [
            msgspec.structs.replace(one, id=numbered(one.id, labels, label), name=f"{label}:{one.name}")
            for one in relatives
        ]
        for relatives in (detail.parents, detail.children)
    ]
    row = placed(detail.row, labels, label)
    return msgspec.structs.replace(detail, row=row, parents=own[0], children=own[1])


def numbered(number: int, labels: Sequence[str], label: str) -> int:
    """Return a run's number among those of several machines."""
    return number * len(labels) + labels.index(label)


def there(run: str, labels: Sequence[str]) -> tuple[str, str] | None:
    """Take the name or number of one among several apart: machine, name or number there. None for neither."""
    label, colon, rest = run.partition(":")
    if colon and label in labels:
        return label, rest
    if run.isdecimal() and len(run) < 18:
        return labels[int(run) % len(labels)], str(int(run) // len(labels))
    return None


def bare(row: RunRow) -> str:
    """Return a run's name on its own machine."""
    return row.name.removeprefix(f"{row.host}:") if row.host else row.name


def order(row: RunRow, sort: Sort, group: str = "") -> tuple[Any, ...]:
    """Where a run stands in a list of several machines: as the store's own orders, but by time, not by number."""
    return place(row, sort, group, bare(row))


def at(ask: Runs, label: str) -> Runs:
    """Return a question as one machine is asked it: terms that name its label, which it does not know, are settled."""
    line = parse(ask.filter)
    terms = []
    for term in line.terms:
        if not _names(term, label):
            terms.append(term.typed)
        elif term.negated:  # no run of it: on its own machine a run has no host
            terms.append(written_term(replace(term, kind="text", key="host", op=":", negated=False)))
    text = " ".join(filter(None, [*terms, written(replace(line, terms=()))]))
    return msgspec.structs.replace(ask, filter=text)


def _names(term: Term, label: str) -> bool:
    """Return whether a term is of the machine's label: `host:lab`, or `lab` alone."""
    return (term.kind == "word" or term.key == "host") and bool(term.value) and fits(term, label)


def merged(lists: Sequence[Sequence[RunRow]], sort: Sort, group: str = "") -> list[RunRow]:
    """Merge lists by what is first in each: within a machine its own order holds."""
    left = [list(reversed(rows)) for rows in lists if rows]
    found: list[RunRow] = []
    while left:
        best = min(left, key=lambda rows: order(rows[-1], sort, group))
        found.append(best.pop())
        left = [rows for rows in left if rows]
    return found
