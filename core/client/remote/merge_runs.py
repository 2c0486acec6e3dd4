"""Runs of several machines as one list: names with the machine, unique numbers, one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from finetop.core.protocol.filter_match import fits, place
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.run_filter import Sort, format_filter, format_term, parse
from finetop.core.protocol.runs import Relative, RunDetail, RunRow


def placed(row: RunRow, labels: Sequence[str], label: str) -> RunRow:
    """Return a machine's run as one of several machines' runs: lab:support-r16."""
    number = numbered(row.id, labels, label)
    return msgspec.structs.replace(row, id=number, name=f"{label}:{row.name}", host=label)


def unplaced(row: RunRow, labels: Sequence[str]) -> RunRow:
    """Return a run as its own machine names and numbers it."""
    return msgspec.structs.replace(row, id=row.id // len(labels), name=bare(row), host="")


def placed_detail(detail: RunDetail, labels: Sequence[str], label: str) -> RunDetail:
    """Return a run's details as one of several machines' runs, its relatives included."""

    def there(relative: Relative) -> Relative:
        number = numbered(relative.id, labels, label)
        return msgspec.structs.replace(relative, id=number, name=f"{label}:{relative.name}")

    row = placed(detail.row, labels, label)
    parents, children = ([there(run) for run in runs] for runs in (detail.parents, detail.children))
    return msgspec.structs.replace(detail, row=row, parents=parents, children=children)


def numbered(number: int, labels: Sequence[str], label: str) -> int:
    """Return a run's number among the runs of several machines."""
    return number * len(labels) + labels.index(label)


def there(run: str, labels: Sequence[str]) -> tuple[str, str] | None:
    """Split a run among several machines into its label and its name or number there; None if it is neither."""
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
    """Return a run's sort key in a list of several machines: as the store sorts, but by time instead of number."""
    return place(row, sort, group, bare(row))


def at(ask: Runs, label: str) -> Runs:
    """Return a request as one machine gets it, with the terms on its label, which it does not know, resolved."""
    line = parse(ask.filter)
    terms = []
    for term in line.terms:
        is_label = (term.kind == "word" or term.key == "host") and bool(term.value)  # `host:lab`, `lab` alone
        if not (is_label and fits(term, label)):
            terms.append(term.typed)
        elif term.negated:  # matches no run there: on its own machine a run has no host
            terms.append(format_term(replace(term, kind="text", key="host", op=":", negated=False)))
    text = " ".join(filter(None, [*terms, format_filter(replace(line, terms=()))]))
    return msgspec.structs.replace(ask, filter=text)


def merged(lists: Sequence[Sequence[RunRow]], sort: Sort, group: str = "") -> list[RunRow]:
    """Merge lists by their first rows; within a machine its own order holds."""
    rest = [list(reversed(rows)) for rows in lists if rows]
    rows_in_order: list[RunRow] = []
    while rest:
        best = min(rest, key=lambda rows: order(rows[-1], sort, group))
        rows_in_order.append(best.pop())
        rest = [rows for rows in rest if rows]
    return rows_in_order
