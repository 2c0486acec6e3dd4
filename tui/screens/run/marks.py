"""The events of a run (checkpoints, alarms, checks) as marks on its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetop.core.protocol.messages.runs import Curve
from finetop.core.protocol.runs import CheckBrief, RunDetail
from finetop.core.text import clean_line, count
from finetop.core.wording.verdicts import change_of
from finetop.tui.screens.run.x_axis import cell_of
from finetop.tui.screens.shared.run_status import mark_of_check
from finetop.tui.theme import MARKS, Mark
from finetop.tui.widgets.chart import Cell
from finetop.tui.widgets.series import View


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its step, mark and text. Of several in a cell, the one with the greatest weight is drawn."""

    step: int
    mark: Mark
    words: str
    weight: int


def events_of(detail: RunDetail) -> list[Event]:
    """List the events, the heaviest first: regressions, alarms, other checks, checkpoints."""
    steps = [checkpoint.step for checkpoint in detail.checkpoints]
    events = [Event(step, MARKS["checkpoint"], f"checkpoint {count(step)}", 0) for step in steps]
    events += [Event(alarm.step, MARKS["alarm"], clean_line(alarm.text), 2) for alarm in detail.alarms]
    events += [
        Event(check.step, mark_of_check(check), _check_words(check), 3 if check.verdict == "regressed" else 1)
        for check in detail.checks
        if check.step is not None
    ]
    return sorted(events, key=lambda event: (-event.weight, event.step))


def _check_words(check: CheckBrief) -> str:
    word = {"regressed": "REGRESSED", "ok": "ok"}.get(check.verdict, "no verdict")
    moved = "" if check.drop is None else f" {change_of(check.drop)}"
    return f"check {word}{moved}"


def by_cell(
    events: Sequence[Event], view: View, steps: Curve | None, cells: int
) -> Mapping[int, list[Event]]:
    """Return the events in view by chart cell."""
    placed: dict[int, list[Event]] = {}
    for event in events:
        cell = cell_of(event.step, view, steps, cells)
        if cell is not None:
            placed.setdefault(cell, []).append(event)
    return placed


def marks_in(placed: Mapping[int, list[Event]], *, only_ascii: bool) -> dict[int, Cell]:
    """Return the mark drawn in each cell: that of its heaviest event."""
    marks = {cell: events[0].mark for cell, events in placed.items()}
    return {cell: (mark.ascii if only_ascii else mark.mark, mark.style) for cell, mark in marks.items()}
