"""The data of the Triage screen: table rows page by page, runs shown by task, cells, and lost items."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from finetop.core.features.triage import messages
from finetop.core.features.triage.messages import (
    CellAnswer,
    LostItems,
    TriageAnswer,
    TriageRow,
    TriageRunAnswer,
)
from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.request import Ask as AskRequest
from finetop.core.protocol.standing import Standing
from finetop.tui.widgets.paged_list import CHUNK, Ask, PagedList, Pages

NAME, WHOLE, TASKS = 0, 1, 2  # cursor columns: the name, all tasks, then each task
NARROW, MANY = 80, 12  # on narrower terminals, or with more tasks, one run is shown with a row per task
PANE_ITEMS = 20  # lost items in the tallest pane
_WORD = re.compile(r"(kind:|margin>|runs>)(\S+)$")


class TriageList(PagedList["TriageRow"]):
    """The loaded part of the triage table. Every method may raise NoSupervisor."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.tasks: list[str] = []  # columns; they keep their places until the table is loaded again
        self.answer: TriageAnswer | None = None  # the newest
        self.filter = ""
        self.cells: dict[tuple[int, str], CellAnswer] = {}  # by (check, task)
        self.runs: dict[int, TriageRunAnswer] = {}  # by check
        self.column = WHOLE
        self.row_at = 0  # index of the run under the cursor, in either layout
        self.marked: dict[int, str] = {}  # runs marked for a comparison, in order of marking
        self.turn: bool | None = None  # the layout the user chose; None: by the terminal's width
        self.width = NARROW  # of the terminal
        self.undoing: list[messages.SetStanding] = []  # what undoes the changes, the newest last

    @property
    def row(self) -> TriageRow | None:
        return self.pages.rows.get(self.row_at)

    @property
    def run_turned(self) -> TriageRunAnswer | None:
        """The details of the run under the cursor, once loaded."""
        return self.runs.get(self.row.check_id) if self.row is not None else None

    @property
    def is_turned(self) -> bool:
        """True if one run is shown with a row per task."""
        if self.turn is not None:
            return self.turn
        return self.width < NARROW or self.most_tasks > MANY

    @property
    def on_name(self) -> bool:
        return self.column == NAME and not self.is_turned

    @property
    def is_empty(self) -> bool:
        """True if the table is known to be empty."""
        return self.answer is not None and not self.pages.matching

    async def load(self, run: str, at: TriageRow | None) -> int | None:
        """Load the table again; return the index of that run, else of the run `at`; None if the filter has changed."""
        before = self.filter
        answer = await self._asked(0, CHUNK)
        if before != self.filter:
            return None
        self.tasks = list(answer.tasks)
        self.cells.clear()
        self.runs.clear()
        return self._begin(answer.rows, answer.matching, run, at)

    async def refresh(self, first: int, end: int) -> bool:
        """Refresh the rows [first, end); a newer check discards all loaded cells."""
        before = self._newest
        is_new = await super().refresh(first, end)
        if before is None or before != self._newest:
            self.cells.clear()
            self.runs.clear()
        return is_new

    @property
    def most_tasks(self) -> int:
        """The largest number of tasks of a run; the columns of several suites are more."""
        rows = self.pages.rows.values()
        return max((sum(cell is not None for cell in row.cells) for row in rows), default=0)

    @property
    def _newest(self) -> tuple[str, float] | None:
        return None if self.answer is None else (self.answer.newest, self.answer.newest_at)

    async def load_cell(self, row: TriageRow, task: str) -> bool:
        """Load the details of a cell if they are missing; return whether they were loaded."""
        if (row.check_id, task) in self.cells:
            return False
        self.cells[row.check_id, task] = await self._ask(messages.LookAtCell(row.name, task, PANE_ITEMS))
        return True

    async def load_run(self, row: TriageRow) -> bool:
        """Load a run's tasks if they are missing; return whether they were loaded."""
        if row.check_id in self.runs:
            return False
        self.runs[row.check_id] = await self._ask(messages.TriageRun(row.name))
        return True

    def cell_of(self, row: TriageRow, task: str) -> CellAnswer | None:
        return self.cells.get((row.check_id, task))

    async def _asked(self, offset: int, limit: int) -> TriageAnswer:
        answer: TriageAnswer = await self._ask(messages.Triage(self.filter, offset, limit))
        self.answer = answer
        return answer

    async def _page(self, offset: int, limit: int) -> tuple[Sequence[TriageRow], int]:
        answer = await self._asked(offset, limit)
        return self._in_columns(answer.rows, answer.tasks), answer.matching

    async def _newer(self, row: TriageRow) -> TriageRow:
        turned: TriageRunAnswer = await self._ask(messages.TriageRun(row.name))
        (newer,) = self._in_columns([turned.row], turned.columns)
        return newer

    def _in_columns(self, rows: Sequence[TriageRow], tasks: Sequence[str]) -> Sequence[TriageRow]:
        """Sort the cells of newer rows into the existing columns; new tasks are appended."""
        self.tasks += [task for task in tasks if task not in self.tasks]
        placed = []
        for row in rows:
            cells: dict[str, messages.TriageCell | None] = dict(zip(tasks, row.cells, strict=True))
            placed.append(msgspec.structs.replace(row, cells=[cells.get(task) for task in self.tasks]))
        return placed


def runs_to_compare(held: TriageList, row: TriageRow) -> list[str]:
    """Return the runs to compare: the marked ones; if only one, add this run, its fix, or an ok run."""
    names = list(held.marked.values()) or [row.name]
    if len(names) == 1 and row.name not in names:
        names.append(row.name)
    if len(names) == 1 and (other := _other_of(row, held.pages)):
        names.append(other)
    return names


def _other_of(row: TriageRow, pages: Pages[TriageRow]) -> str:
    """Return a run's fix, else the first loaded ok run of the same base, else an empty string."""
    fixed_by = row.standings.get("", Standing()).fixed_by
    rows = (other for _, other in sorted(pages.rows.items()) if other.model == row.model)
    others = (other.name for other in rows if other.verdict == "ok" and other.id != row.id)
    return fixed_by or next(others, "")


def parse_filter(run: str, task: str, text: str) -> LostItems:
    """Parse a filter: lost, won, kind:carry, margin>1, runs>2, and words in the question or answers."""
    request = LostItems(run, task, limit=CHUNK)
    search_words = []
    for word in text.split():
        match = _WORD.match(word)
        if word in ("lost", "won"):
            request = msgspec.structs.replace(request, only="lost" if word == "lost" else "won")
        elif match is not None and match[1] == "kind:":
            request = msgspec.structs.replace(request, kind=match[2].replace("+", " "))
        elif match is not None and _number(match[2]) is not None:
            number = _number(match[2]) or 0.0
            more = {"margin": number} if match[1] == "margin>" else {"runs": min(10**6, int(number) + 1)}
            request = msgspec.structs.replace(request, **more)
        else:
            search_words.append(word)
    return msgspec.structs.replace(request, text=" ".join(search_words))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


@dataclass
class Items:
    """The loaded items of one cell. `load` and `more` may raise NoSupervisor."""

    ask: Callable[[AskRequest], Awaitable[Any]]
    run: str
    task: str
    filter: str = ""
    kinds: list[messages.ItemKind] = field(default_factory=list)
    items: dict[int, Flip] = field(default_factory=dict)
    answer: messages.LostItemsAnswer | None = None  # the newest

    @property
    def request(self) -> LostItems:
        return parse_filter(self.run, self.task, self.filter)

    @property
    def matching(self) -> int:
        return self.answer.matching if self.answer is not None else 0

    @property
    def shown_kinds(self) -> list[messages.ItemKind]:
        """The kinds listed first: all with changes, until a filter is set."""
        return [] if self.filter else [kind for kind in self.kinds if kind.lost or kind.won]

    async def load(self) -> bool:
        """Load the items from their start; return False if the filter has changed meanwhile."""
        before = self.request
        answer = await self.ask(before)
        if before != self.request:
            return False
        self.answer, self.kinds = answer, answer.kinds
        self.items = dict(enumerate(answer.items))
        return True

    async def more(self, first: int, end: int) -> bool:
        """Load one chunk of the items [first, end) if any is missing; return whether anything arrived."""
        wanted = range(max(0, first), min(end, self.matching))
        missing = next((at for at in wanted if at not in self.items), None)
        if missing is None:
            return False
        request, offset = self.request, missing - missing % CHUNK
        answer = await self.ask(msgspec.structs.replace(request, offset=offset))
        if request == self.request:
            self.items |= {offset + at: item for at, item in enumerate(answer.items)}
        return bool(answer.items)
