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
    state_order = len(_PLACES) if standing is None else _PLACES.index(standing.state)
    return state_order, float("inf") if row.drop is None else -row.drop


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
    rows_with_cells: list[tuple[TriageRow, Mapping[str, TriageCell]]] = []
    for label, answer in answers.items():
        for row in answer.rows:
            pairs = zip(answer.tasks, row.cells, strict=True)
            cells = {task: cell for task, cell in pairs if cell is not None}
            rows_with_cells.append((placed_row(row, labels, label), cells))
    rows_with_cells.sort(key=lambda pair: place(pair[0]))
    page = rows_with_cells[offset : offset + limit]
    tasks = tasks_worst_first(
        [[(task, cell.mark, cell.drop) for task, cell in cells.items()] for _, cells in page]
    )
    newest = max(answers.items(), key=lambda pair: pair[1].newest_at, default=None)
    all_answers = answers.values()
    return TriageAnswer(
        rows=[msgspec.structs.replace(row, cells=[cells.get(task) for task in tasks]) for row, cells in page],
        tasks=tasks,
        matching=sum(answer_of_one.matching for answer_of_one in all_answers),
        total=sum(answer_of_one.total for answer_of_one in all_answers),
        new=sum(answer_of_one.new for answer_of_one in all_answers),
        looking=sum(answer_of_one.looking for answer_of_one in all_answers),
        accepted=sum(answer_of_one.accepted for answer_of_one in all_answers),
        fixed=sum(answer_of_one.fixed for answer_of_one in all_answers),
        unchecked=[
            f"{label}:{name}" for label, answer_of_one in answers.items() for name in answer_of_one.unchecked
        ],
        unchecked_total=sum(answer_of_one.unchecked_total for answer_of_one in all_answers),
        newest=f"{newest[0]}:{newest[1].newest}" if newest is not None and newest[1].newest else "",
        newest_at=newest[1].newest_at if newest is not None else 0.0,
        revision=sum(answer_of_one.revision for answer_of_one in all_answers),
    )
