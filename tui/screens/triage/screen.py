"""The Triage screen: which run lost what, how sure that is, who has looked at it, and what to do about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.screen import Screen

from finetop.core.protocol.messages.triage import SetStanding, Standing
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.line import Line
from finetop.tui.messages import StoreChanged
from finetop.tui.screens.shared.check_action import ask_unchecked, check, earlier
from finetop.tui.screens.triage import actions, one_run
from finetop.tui.screens.triage.header import empty_lines, state_line, turned_line
from finetop.tui.screens.triage.keys import KEYS, footer_keys, steps_of, unchecked_step
from finetop.tui.screens.triage.pane import pane_lines
from finetop.tui.screens.triage.state import Triaged, compared
from finetop.tui.screens.triage.table import (
    NAME,
    TASKS,
    WHOLE,
    Columns,
    columns_of,
    head_line,
    row_line,
    waiting_line,
)
from finetop.tui.text import count
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import load_for_ever
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.core.protocol.messages.triage import TriageRow, TriageRunAnswer
    from finetop.tui.save import Sheet

REST_S = 0.1  # the pane follows when the cursor rests so long
NUMBERS_S = 2.0  # the table changes at most so often: it does when a check ends
NARROW, MANY = 80, 12  # below so many columns, or with more tasks, one run is shown turned
LEAST_ROWS, LEAST_PANE = 4, 8


class TriageScreen(Screen[None], inherit_bindings=False):
    """Runs by tasks, the worst first, with a cell under the cursor; or one run turned, a task a row."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Triage"

    def __init__(self) -> None:
        super().__init__()
        self.held = Triaged(lambda ask: host_of(self).ask(ask))
        self.column = WHOLE
        self.row_at = 0  # of the run under the cursor, whichever way the table is turned
        self.marked: dict[int, str] = {}  # runs to be compared, in the order in which they were marked
        self._turn: bool | None = None  # as the user wants it; None: as the width says
        self._said: list[SetStanding] = []  # what undoes it, the newest last
        self._columns = Columns(22, 7, 0, 0, 0, 10)
        self._is_stale = False
        self._wants_anew = True
        self._wanted_run = ""
        self._refreshed_at = 0.0
        self._wake = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Top("Triage")
        yield Lines(id="state")
        yield Lines(id="head")
        yield Table(self.draw_row, id="cells")
        yield Lines(id="empty")
        yield Lines(id="pane")
        yield Bottom()

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def row(self) -> TriageRow | None:
        """The run under the cursor."""
        return self.held.pages.rows.get(self.row_at)

    @property
    def is_turned(self) -> bool:
        """Whether one run is shown, a task a row."""
        if self._turn is not None:
            return self._turn
        return self.size.width < NARROW or len(self.held.tasks) > MANY

    @property
    def run_turned(self) -> TriageRunAnswer | None:
        """All about the run under the cursor, once it came."""
        return self.held.runs.get(self.row.check_id) if self.row is not None else None

    @property
    def cell_task(self) -> str:
        """The task under the cursor; "" for the whole, and on a name."""
        if self.is_turned:
            whole, at = self.run_turned, self.query_one(Table).cursor
            return whole.tasks[at].task if whole is not None and at < len(whole.tasks) else ""
        at = self.column - TASKS
        return self.held.tasks[at] if 0 <= at < len(self.held.tasks) else ""

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return KEYS

    async def to_save(self) -> Sheet:
        """Give the matrix as far as it was looked at, for a file."""
        from finetop.tui.save.tables import triage

        rows = self.held.pages.rows
        return triage([rows[index] for index in sorted(rows)], self.held.tasks)

    def to_copy(self) -> str:
        return "" if self.row is None else self.row.name

    def to_fill(self) -> dict[str, str]:
        """Give what a command's words in capitals stand for here."""
        return {"RUN": self.to_copy(), "TASK": self.cell_task}

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        if self.is_turned:
            whole = self.run_turned
            if whole is None or index >= len(whole.tasks):
                return waiting_line(has_cursor=has_cursor)
            span = one_run.span_of(whole.tasks, whole.row.margin)
            shown = self.row or whole.row
            return one_run.task_line(whole.tasks[index], shown, width, span, has_cursor=has_cursor)
        row = self.held.pages.rows.get(index)
        if row is None:
            return waiting_line(has_cursor=has_cursor)
        cursor = self.column if has_cursor else None
        return row_line(row, self._columns, self.held.tasks, cursor=cursor, is_marked=row.id in self.marked)

    def redraw(self) -> None:
        """Write everything again from what is held."""
        held, width = self.held, self.size.width
        self.set_class(held.is_empty, "-empty")
        self._columns = columns_of(width, held.tasks, self.column)
        state = self.query_one("#state", Lines)
        table = self.query_one(Table)
        if self.is_turned and self.row is not None:
            whole = self.run_turned
            tasks = whole.tasks if whole is not None else []
            span = one_run.span_of(tasks, self.row.margin)
            state.show((turned_line(held, self.row, self.row_at, width),))
            self.query_one("#head", Lines).show((one_run.head_line(width, *span),))
            rows = len(tasks) or 1
        else:
            state.show((state_line(held, width, host_of(self).now()),))
            self.query_one("#head", Lines).show((head_line(self._columns, held.tasks),))
            rows = held.pages.matching
        self.query_one("#empty", Lines).show(empty_lines(held))
        self._share_height(rows)
        table.show(rows, None if self.is_turned else self.row_at)
        self.show_pane()

    def _share_height(self, rows: int) -> None:
        """Give the table what it needs up to a half, and the pane the rest."""
        room = self.size.height - 6  # beside what is above, what is next, and the footer
        height = max(LEAST_PANE, room - max(LEAST_ROWS, min(rows, room // 2)))
        pane = self.query_one("#pane", Lines)
        if pane.styles.height is None or pane.styles.height.value != height:
            pane.styles.height = height

    def show_pane(self) -> None:
        """Write the pane, the next step and the footer for the cell under the cursor."""
        row, task, held = self.row, self.cell_task, self.held
        pane, bottom = self.query_one("#pane", Lines), self.query_one(Bottom)
        if row is None:
            pane.show(())
            bottom.offer(steps_of(held, None, None, on_name=False), footer_keys(None))
            return
        cell = held.cell_of(row, task)
        height = int(pane.styles.height.value) if pane.styles.height is not None else pane.size.height
        if (
            cell is not None or not pane.lines
        ):  # else what was said of another cell stays until this one's has come
            now = host_of(self).now()
            pane.show(pane_lines(row, task, cell, width=self.size.width, height=height, now=now))
        on_name = self.column == NAME and not self.is_turned
        keys = footer_keys(
            row,
            is_turned=self.is_turned,
            on_name=on_name,
            can_undo=bool(self._said),
            is_old=held.pages.is_old,
        )
        bottom.offer(steps_of(held, row, cell, on_name=on_name), keys)

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.redraw()
        self._load_for_ever()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)
        self._wake.set()

    def on_screen_resume(self) -> None:
        """Coming back from another screen is a moment at which the order may change."""
        self.load_anew(self._wanted_run)

    @on(StoreChanged)
    def _store_changed(self) -> None:
        self._is_stale = True
        self._wake.set()

    @on(Table.Moved)
    def _moved(self, message: Table.Moved) -> None:
        if not self.is_turned:
            self.row_at = message.index
        self._rest()

    @on(Table.Scrolled)
    def _scrolled(self) -> None:
        self._wake.set()

    @on(Table.Opened)
    def _opened(self) -> None:
        self.action_open()

    def _rest(self) -> None:
        """Let the pane follow once the cursor rests."""
        place = (self.row_at, self.cell_task)

        def rested() -> None:
            if place == (self.row_at, self.cell_task):
                self.show_pane()
                self._wake.set()

        self.set_timer(REST_S, rested)

    def load_anew(self, run: str = "") -> None:
        """Ask for the table from its start, with the cursor on that run (else where it was)."""
        self._wants_anew, self._wanted_run = True, run
        self._wake.set()

    # --- asking: one loop, so that what was asked twice while it waited is asked once -------------------

    @work
    async def _load_for_ever(self) -> None:
        await load_for_ever(self, self._wake, self._load_all, self._tell, lambda: None)

    def _tell(self, trouble: str) -> None:
        if trouble:
            host_of(self).say(trouble, "red")

    async def _load_all(self) -> None:
        """Load what is missing; what is old at most so often. Nothing while another screen is on it."""
        if self.app.screen is not self:
            return  # coming back it loads anew
        loop = asyncio.get_running_loop()
        if self._wants_anew:
            await self._load()
            self._refreshed_at = loop.time()
        while await self.held.load_missing(*self._in_view()):
            self.redraw()
        await self._load_cell()
        if self._is_stale and not self._wants_anew:
            left = self._refreshed_at + NUMBERS_S - loop.time()
            if left > 0:
                self.set_timer(left, self._wake.set)
                return
            self._is_stale = False
            await self._refresh()
            self._refreshed_at = loop.time()

    def _in_view(self) -> tuple[int, int]:
        return (self.row_at, self.row_at + 1) if self.is_turned else self.query_one(Table).rows_in_view()

    async def _load(self) -> None:
        run, self._wanted_run = self._wanted_run, ""
        self._wants_anew = self._is_stale = False
        place = await self.held.load(run, self.row)
        if place is None:
            self.load_anew(run)
            return
        self.row_at = place
        self.redraw()
        answer = self.held.answer
        if answer is not None:
            words = f"{count(answer.matching)} of {count(answer.total)} match"
            self.query_one(Bottom).say_aside(((words, "dim"),))

    async def _refresh(self) -> None:
        await self.held.refresh(*self._in_view())
        answer = self.held.answer
        if answer is not None and answer.matching and not self.held.pages.matching:
            self.load_anew()  # the table was empty: nothing is under the cursor that could move
        self.redraw()
        await self._load_cell()

    async def _load_cell(self) -> None:
        """Ask for the run that is turned, then for the cell under the cursor."""
        if self.row is not None and self.is_turned and await self.held.load_run(self.row):
            self.redraw()
        if self.row is not None and await self.held.load_cell(self.row, self.cell_task):
            self.show_pane()

    # --- keys: moving -----------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)

    def action_ends(self, direction: int) -> None:
        self.query_one(Table).ends(direction)

    def action_column(self, by: int) -> None:
        """Move the cursor to another cell; turned, to another run."""
        if self.is_turned:
            self.row_at = min(max(0, self.row_at + by), max(0, self.held.pages.matching - 1))
            self.redraw()
            self._wake.set()
            return
        self.column = min(max(NAME, self.column + by), TASKS + len(self.held.tasks) - 1)
        columns = columns_of(self.size.width, self.held.tasks, self.column)
        if columns != self._columns:
            self.redraw()
        else:
            self.query_one(Table).refresh_rows()
        self._rest()

    def action_view(self) -> None:
        """Turn the table, with the cursor on the same run and task."""
        task = self.cell_task
        self._turn = not self.is_turned
        if not self._turn:
            self.column = TASKS + self.held.tasks.index(task) if task in self.held.tasks else WHOLE
        self.redraw()
        whole = self.run_turned
        if self._turn and whole is not None:
            places = [one.task for one in whole.tasks]
            self.query_one(Table).go(places.index(task) if task in places else 0)
        self._wake.set()

    def action_sort(self) -> None:
        if not self.held.pages.is_old:
            host_of(self).say("it is sorted, the worst first, and nothing is new.")
        self.load_anew()

    def action_back(self) -> None:
        if self.held.filter:
            self._filter_by("")
        elif self._turn is not None:
            self._turn = None
            self.redraw()

    def action_filter(self) -> None:
        self.query_one(Bottom).ask_text(
            "/",
            self.held.filter,
            changed=self._filter_by,
            done=lambda text, is_kept: self._filter_by(text if is_kept else ""),
            keep="keep",
            leave="drop the filter",
        )

    def _filter_by(self, text: str) -> None:
        self.held.filter = text.strip()
        self.load_anew()

    def action_open(self) -> None:
        """Open what is under the cursor: a run by its name, else the items of a cell."""
        if self.row is None:
            return
        if self.column == NAME and not self.is_turned:
            host_of(self).open_run(self.row.name)
            return
        from finetop.tui.screens.triage.items_screen import ItemsScreen

        self.app.push_screen(ItemsScreen(self.row, self.cell_task))

    # --- keys: acting -----------------------------------------------------------------------------------

    def action_accept(self) -> None:
        if self.row is not None:
            actions.accept(self.query_one(Bottom), self.row, self.cell_task, self._say)

    def action_fixed(self) -> None:
        if self.row is not None:
            actions.fixed(self.query_one(Bottom), self.row, self.cell_task, self._say)

    def action_note(self) -> None:
        if self.row is not None:
            actions.note(self.query_one(Bottom), self.row, self.cell_task, self._say)

    def action_own(self) -> None:
        if self.row is not None:
            actions.look(self.row, self.cell_task, self._say)

    @work
    async def _say(self, row: TriageRow, task: str, standing: Standing) -> None:
        if await actions.said_of(host_of(self), SetStanding(row.name, task, standing), self._said):
            self._show_at_once()

    @work
    async def action_undo(self) -> None:
        if await actions.taken_back(host_of(self), self._said):
            self._show_at_once()

    def _show_at_once(self) -> None:
        """Ask for the table now, as the user has changed it."""
        self._is_stale, self._refreshed_at = True, 0.0
        self._wake.set()

    def action_check(self) -> None:
        """Go on with more items; where nothing is to be looked at, check what has no check."""
        answer, bottom = self.held.answer, self.query_one(Bottom)
        if answer is not None and unchecked_step(self.held) is not None:
            ask_unchecked(bottom, host_of(self), self.run_worker, answer)
        elif self.row is not None:
            self.run_worker(check(bottom, host_of(self), self.run_worker, self.row.name, task=self.cell_task))

    def action_mark(self) -> None:
        """Mark the run for a comparison, or take the mark off; then the next one."""
        if self.row is not None and not self.is_turned:
            if self.marked.pop(self.row.id, None) is None:
                self.marked[self.row.id] = self.row.name
            self.query_one(Table).refresh_rows()
            self.query_one(Table).move(1)

    def action_compare(self) -> None:
        """Compare the marked runs; without any, this one with what mends it, or with one of its base that is ok."""
        row = self.row
        if row is None:
            return
        names = compared(row, list(self.marked.values()), self.held.pages)
        if len(names) > 1:
            host_of(self).open_compare(names)
        else:
            host_of(self).say("mark another run with space: no run of this base that was checked is ok.")

    def action_remedies(self) -> None:
        if self.row is not None:
            host_of(self).open_remedies(self.row.name)

    def action_steps(self) -> None:
        """Offer to find the checkpoint that lost it."""
        if self.row is not None:
            self.run_worker(earlier(self.query_one(Bottom), host_of(self), self.run_worker, self.row.name))
