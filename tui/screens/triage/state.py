"""What the Triage screen holds: rows of the table page by page, one run turned, the cell under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.protocol.messages.triage import (
    CellAnswer,
    LookAtCell,
    Standing,
    Triage,
    TriageRun,
    TriageRunAnswer,
)
from finetop.tui.widgets.page_cache import CHUNK
from finetop.tui.widgets.paged_list import Listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.triage import TriageAnswer, TriageCell, TriageRow
    from finetop.tui.widgets.page_cache import Pages
    from finetop.tui.widgets.paged_list import Ask

PANE_ITEMS = 20  # lost items that the tallest pane shows


class Triaged(Listed["TriageRow"]):
    """The table of triage as far as it was looked at. Every method may raise NoSupervisor."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.tasks: list[str] = []  # columns; they stay in their places until the table is loaded anew
        self.answer: TriageAnswer | None = None  # the newest
        self.filter = ""
        self.cells: dict[tuple[int, str], CellAnswer] = {}  # (check, task) -> what is known of it
        self.runs: dict[int, TriageRunAnswer] = {}  # by check

    @property
    def is_empty(self) -> bool:
        """Whether it is known that there is nothing to show."""
        return self.answer is not None and not self.pages.matching

    async def load(self, run: str, at: TriageRow | None) -> int | None:
        """Start over in the store's order; give the place of the run of that name, else of the run `at`.

        None when another filter was typed on the way: then it is to be loaded again.
        """
        wanted = self.filter
        answer = await self._asked(0, CHUNK)
        if wanted != self.filter:
            return None
        self.tasks = list(answer.tasks)
        self.cells.clear()
        self.runs.clear()
        return self._begin(answer.rows, answer.matching, run, at)

    async def refresh(self, first: int, end: int) -> None:
        """Bring the rows [first, end) up to date; after a check what was known of cells is old."""
        before = self.answer
        await super().refresh(first, end)
        after = self.answer
        if (
            before is None
            or after is None
            or (before.newest, before.newest_at) != (after.newest, after.newest_at)
        ):
            self.cells.clear()
            self.runs.clear()

    async def load_cell(self, row: TriageRow, task: str) -> bool:
        """Load all about a cell, if it is not known; give whether it came."""
        if (row.check_id, task) in self.cells:
            return False
        self.cells[row.check_id, task] = await self._ask(LookAtCell(row.name, task, PANE_ITEMS))
        return True

    async def load_run(self, row: TriageRow) -> bool:
        """Load a run turned, if it is not known; give whether it came."""
        if row.check_id in self.runs:
            return False
        self.runs[row.check_id] = await self._ask(TriageRun(row.name))
        return True

    def cell_of(self, row: TriageRow, task: str) -> CellAnswer | None:
        return self.cells.get((row.check_id, task))

    async def _asked(self, offset: int, limit: int) -> TriageAnswer:
        answer: TriageAnswer = await self._ask(Triage(self.filter, offset, limit))
        self.answer = answer
        return answer

    async def _page(self, offset: int, limit: int) -> tuple[Sequence[TriageRow], int]:
        answer = await self._asked(offset, limit)
        return self._in_columns(answer.rows, answer.tasks), answer.matching

    async def _newer(self, row: TriageRow) -> TriageRow:
        turned: TriageRunAnswer = await self._ask(TriageRun(row.name))
        (newer,) = self._in_columns([turned.row], turned.columns)
        return newer

    def _in_columns(self, rows: Sequence[TriageRow], tasks: Sequence[str]) -> Sequence[TriageRow]:
        """Put the cells of newer rows into the columns that there are; new tasks come behind them."""
        self.tasks += [task for task in tasks if task not in self.tasks]
        placed = []
        for row in rows:
            cells: dict[str, TriageCell | None] = dict(zip(tasks, row.cells, strict=True))
            placed.append(msgspec.structs.replace(row, cells=[cells.get(task) for task in self.tasks]))
        return placed


def compared(row: TriageRow, marked: Sequence[str], pages: Pages[TriageRow]) -> list[str]:
    """Name the runs to compare: the marked; where that is one, this run too, or what mends it, or one that is ok."""
    names = list(marked) or [row.name]
    if len(names) == 1 and row.name not in names:
        names.append(row.name)
    if len(names) == 1 and (other := _other_of(row, pages)):
        names.append(other)
    return names


def _other_of(row: TriageRow, pages: Pages[TriageRow]) -> str:
    """Name the run that mends one, else the first of its base that is ok, as far as rows are held."""
    fixed_by = row.standings.get("", Standing()).fixed_by
    others = (one for _, one in sorted(pages.rows.items()) if one.model == row.model)
    return fixed_by or next((one.name for one in others if one.verdict == "ok" and one.id != row.id), "")
