"""Triage tables of several machines as one: names with the machine, the columns of all tasks, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from finetop.core.client.remote.merge_runs import numbered
from finetop.core.protocol.check_result import tasks_worst_first
from finetop.core.protocol.messages.triage import Standing, TriageAnswer, TriageCell, TriageRow

_PLACES = ("new", "looking", "accepted", "fixed")


def place(row: TriageRow) -> tuple[int, float]:
    """Return a run's sort key in the triage table: state first, then points lost."""
    standing = row.standing
    seen = len(_PLACES) if standing is None else _PLACES.index(standing.state)
    return seen, float("inf") if row.drop is None else -row.drop


def placed_row(row: TriageRow, labels: Sequence[str], label: str) -> TriageRow:
    """Return a machine's run as one of several machines' runs."""
    standings = {task: _named(standing, label) for task, standing in row.standings.items()}
    number = numbered(row.id, labels, label)
    return msgspec.structs.replace(
        row, id=number, name=f"{label}:{row.name}", host=label, standings=standings
    )


def _named(standing: Standing, label: str) -> Standing:
    fixed_by = f"{label}:{standing.fixed_by}" if standing.fixed_by else ""
    return msgspec.structs.replace(standing, fixed_by=fixed_by)


def merged_table(
    answers: Mapping[str, TriageAnswer], labels: Sequence[str], offset: int, limit: int
) -> TriageAnswer:
    """Merge the answers of several machines, each from its table's start, into one page of one table."""
    found: list[tuple[TriageRow, Mapping[str, TriageCell]]] = []
    for label, answer in answers.items():
        for row in answer.rows:
            pairs = zip(answer.tasks, row.cells, strict=True)
            cells = {task: cell for task, cell in pairs if cell is not None}
            found.append((placed_row(row, labels, label), cells))
    found.sort(key=lambda pair: place(pair[0]))
    page = found[offset : offset + limit]
    tasks = tasks_worst_first(
        [[(task, cell.mark, cell.drop) for task, cell in cells.items()] for _, cells in page]
    )
    newest = max(answers.items(), key=lambda pair: pair[1].newest_at, default=None)
    every = answers.values()
    return TriageAnswer(
        rows=[msgspec.structs.replace(row, cells=[cells.get(task) for task in tasks]) for row, cells in page],
        tasks=tasks,
        matching=sum(one.matching for one in every),
        total=sum(one.total for one in every),
        new=sum(one.new for one in every),
        looking=sum(one.looking for one in every),
        accepted=sum(one.accepted for one in every),
        fixed=sum(one.fixed for one in every),
        unchecked=[f"{label}:{name}" for label, one in answers.items() for name in one.unchecked],
        unchecked_total=sum(one.unchecked_total for one in every),
        newest=f"{newest[0]}:{newest[1].newest}" if newest is not None and newest[1].newest else "",
        newest_at=newest[1].newest_at if newest is not None else 0.0,
        revision=sum(one.revision for one in every),
    )
