"""Triage tables of several machines as one: names with the machine, the columns of all tasks, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from finetop.core.client.remote.merge_runs import numbered
from finetop.core.features.triage.messages import TriageAnswer, TriageCell, TriageRow
from finetop.core.protocol.check_result import tasks_worst_first

_PLACES = ("new", "looking", "accepted", "fixed")


def place(row: TriageRow) -> tuple[int, float]:
    """Return a run's sort key in the triage table: state first, then points lost."""
    standing = row.standing
    state_order = len(_PLACES) if standing is None else _PLACES.index(standing.state)
    return state_order, float("inf") if row.drop is None else -row.drop


def placed_row(row: TriageRow, labels: Sequence[str], label: str) -> TriageRow:
    """Return a machine's run as one of several machines' runs."""
    standings = dict(row.standings)
    for task, standing in standings.items():
        if standing.fixed_by:
            standings[task] = replace(standing, fixed_by=f"{label}:{standing.fixed_by}")
    number = numbered(row.id, labels, label)
    return replace(row, id=number, name=f"{label}:{row.name}", host=label, standings=standings)


def merged_table(
    answers: Mapping[str, TriageAnswer], labels: Sequence[str], offset: int, limit: int
) -> TriageAnswer:
    """Merge the answers of several machines, each from its table's start, into one page of one table."""
    rows: list[tuple[TriageRow, Mapping[str, TriageCell]]] = []
    for label, answer in answers.items():
        for row in answer.rows:
            pairs = zip(answer.tasks, row.cells, strict=True)
            cells = {task: cell for task, cell in pairs if cell is not None}
            rows.append((placed_row(row, labels, label), cells))
    page = sorted(rows, key=lambda pair: place(pair[0]))[offset : offset + limit]
    facts = [[(task, cell.mark, cell.drop) for task, cell in cells.items()] for _, cells in page]
    tasks = tasks_worst_first(facts)
    newest = max(answers.items(), key=lambda pair: pair[1].newest_at, default=None)
    own_answers = answers.values()
    return TriageAnswer(
        rows=[replace(row, cells=[cells.get(task) for task in tasks]) for row, cells in page],
        tasks=tasks,
        matching=sum(answer.matching for answer in own_answers),
        total=sum(answer.total for answer in own_answers),
        new=sum(answer.new for answer in own_answers),
        looking=sum(answer.looking for answer in own_answers),
        accepted=sum(answer.accepted for answer in own_answers),
        fixed=sum(answer.fixed for answer in own_answers),
        unchecked=[f"{label}:{name}" for label, answer in answers.items() for name in answer.unchecked],
        unchecked_total=sum(answer.unchecked_total for answer in own_answers),
        newest=f"{newest[0]}:{newest[1].newest}" if newest is not None and newest[1].newest else "",
        newest_at=newest[1].newest_at if newest is not None else 0.0,
        revision=sum(answer.revision for answer in own_answers),
    )
