"""The Triage screen: which run lost what, how certain that is, who is assigned, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from msgspec.structs import replace
from textual import on, work
from textual.app import ComposeResult

from finetop.core.features.chat.messages import ChatSide
from finetop.core.features.triage.messages import SetStanding, SetStandingAnswer, TriageRow
from finetop.core.protocol.standing import Standing
from finetop.core.runtime.user import user_name
from finetop.core.text import clean_line, count
from finetop.tui.app_interface import ChatStart, host_of, show_refusals
from finetop.tui.key_order import WAY
from finetop.tui.save import Sheet
from finetop.tui.screens.shared.check_action import ask_bisection, ask_unchecked, check
from finetop.tui.screens.triage import table as triage_table
from finetop.tui.screens.triage.keys import KEYS, footer_keys, next_steps_of, unchecked_step
from finetop.tui.screens.triage.pane import pane_lines
from finetop.tui.screens.triage.state import NAME, TASKS, WHOLE, TriageList, runs_to_compare
from finetop.tui.screens.triage.table import Columns, columns_of
from finetop.tui.text import Line, cut_middle
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines, set_height
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table, waiting_line

LEAST_ROWS, LEAST_PANE = 4, 8


class TriageScreen(ListScreen, inherit_bindings=False):
    """Runs by tasks, the worst first, with a cell under the cursor; or one run with a row per task."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Triage"
    LEAST_S: ClassVar = 2.0  # the table changes only when a check ends

    def __init__(self) -> None:
        super().__init__()
        self.held = self.listed = TriageList(lambda ask: host_of(self).ask(ask))
        self._columns = Columns(22, 7, 0, 0, 0, 10)

    def compose(self) -> ComposeResult:
        yield Top("Triage")
        yield Lines(id="state", box="top")
        yield Lines(id="head", box="sides")
        yield Table(self.draw_row, id="cells", box="low")
        yield Lines(id="empty", box="low")
        yield Lines(id="pane", box="whole")
        yield Bottom()

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def cell_task(self) -> str:
        """The task under the cursor; "" for all tasks, and on a name."""
        if self.held.is_turned:
            whole, at = self.held.run_turned, self.query_one(Table).cursor
            return whole.tasks[at].task if whole is not None and at < len(whole.tasks) else ""
        at = self.held.column - TASKS
        return self.held.tasks[at] if 0 <= at < len(self.held.tasks) else ""

    async def to_save(self) -> Sheet:
        from finetop.tui.save.tables import triage

        rows = self.held.pages.rows
        return triage([rows[index] for index in sorted(rows)], self.held.tasks)

    def to_copy(self) -> str:
        return "" if self.held.row is None else self.held.row.name

    def to_fill(self) -> dict[str, str]:
        return {"RUN": self.to_copy(), "TASK": self.cell_task}

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        if self.held.is_turned:
            whole = self.held.run_turned
            if whole is None or index >= len(whole.tasks):
                return waiting_line(has_cursor=has_cursor)
            span = triage_table.span_of(whole.tasks, whole.row.margin)
            shown = self.held.row or whole.row
            return triage_table.task_line(whole.tasks[index], shown, width, span, has_cursor=has_cursor)
        row = self.held.pages.rows.get(index)
        if row is None:
            return waiting_line(has_cursor=has_cursor)
        return triage_table.row_line(self.held, row, self._columns, has_cursor=has_cursor)

    def redraw(self) -> None:
        held, width = self.held, self.query_one("#state", Lines).room.width
        held.width = self.size.width
        self.set_class(held.is_empty, "-empty")
        self._columns = columns_of(width, held.tasks, self.held.column)
        state = self.query_one("#state", Lines)
        table = self.query_one(Table)
        if self.held.is_turned and self.held.row is not None:
            whole = self.held.run_turned
            tasks = whole.tasks if whole is not None else []
            span = triage_table.span_of(tasks, self.held.row.margin)
            state.show((triage_table.turned_line(held, self.held.row, width),))
            set_height(self.query_one("#head", Lines), 1)
            self.query_one("#head", Lines).show((triage_table.run_head_line(width, *span),))
            rows = len(tasks) or 1
        else:
            head = self.query_one("#head", Lines)
            lines = triage_table.head_lines(self._columns, held.tasks)
            set_height(head, len(lines))
            head.show(lines)
            rows = held.pages.matching
        self.query_one("#empty", Lines).show(triage_table.empty_lines(held))
        self._share_height(rows)
        table.show(rows, None if self.held.is_turned else self.held.row_at)
        self.show_state()
        self.show_pane()

    @on(Table.Scrolled)
    def show_state(self) -> None:
        """Show the state line with the rows in view."""
        if not self.held.is_turned:
            state, now = self.query_one("#state", Lines), host_of(self).now()
            in_view = self.query_one(Table).rows_in_view()
            state.show((triage_table.state_line(self.held, state.room.width, now, in_view),))

    def _share_height(self, rows: int) -> None:
        """Size the table to the rows it needs, up to a half; the pane gets the rest."""
        head = len(self.query_one("#head", Lines).lines)
        room = self.size.height - 5 - head  # besides the rows above, the next step and the footer
        rows += bool(self.query_one(Table).box)
        height = max(LEAST_PANE, room - max(LEAST_ROWS, min(rows, room // 2)))
        pane = self.query_one("#pane", Lines)
        set_height(pane, height)

    def show_pane(self) -> None:
        row, task, held = self.held.row, self.cell_task, self.held
        pane, bottom = self.query_one("#pane", Lines), self.bottom
        if row is None:
            pane.show(())
            bottom.offer(next_steps_of(held, None), footer_keys(held))
            return
        cell = held.cell_of(row, task)
        height = int(pane.styles.height.value) if pane.styles.height is not None else pane.size.height
        height -= bool(pane.box)
        if cell is not None or not pane.lines:
            # otherwise the previous cell's text stays until this one is loaded
            now = host_of(self).now()
            pane.show(pane_lines(row, task, cell, width=pane.room.width, height=height, now=now))
        bottom.offer(next_steps_of(held, cell), footer_keys(held))

    # --- what happens ---------------------------------------------------------------------------------

    @property
    def place(self) -> tuple[int, str]:
        return self.held.row_at, self.cell_task

    def moved(self, index: int) -> None:
        if not self.held.is_turned:
            self.held.row_at = index
        self.rest()

    def _in_view(self) -> tuple[int, int]:
        if self.held.is_turned:
            return self.held.row_at, self.held.row_at + 1
        return self.query_one(Table).rows_in_view()

    async def _load_list(self, run: str) -> bool:
        place = await self.held.load(run, self.held.row)
        if place is None:
            return False
        self.held.row_at = place
        answer = self.held.answer
        if answer is not None:
            count_text = f"{count(answer.matching)} of {count(answer.total)} match"
            self.bottom.say_aside(((count_text, "dim"),))
        return True

    async def _refresh_list(self) -> None:
        if await self.held.refresh(*self._in_view()):
            self.load_anew()

    async def _load_in_view(self) -> None:
        while not self._wants_anew and await self.held.load_missing(*self._in_view()):
            self.redraw()
        if self.app.screen is not self:
            return
        if self.held.row is not None and self.held.is_turned and await self.held.load_run(self.held.row):
            self.redraw()
        if self.held.row is not None and await self.held.load_cell(self.held.row, self.cell_task):
            self.show_pane()

    # --- keys: moving -----------------------------------------------------------------------------------

    def action_column(self, by: int) -> None:
        """Move the cursor to another cell; in the layout by task, to another run."""
        if self.held.is_turned:
            self.held.row_at = min(max(0, self.held.row_at + by), max(0, self.held.pages.matching - 1))
            self.look_anew()
            return
        self.held.column = min(max(NAME, self.held.column + by), TASKS + len(self.held.tasks) - 1)
        columns = columns_of(self.query_one("#state", Lines).room.width, self.held.tasks, self.held.column)
        if columns != self._columns:
            self.redraw()
        else:
            self.query_one(Table).refresh_rows()
        self.rest()

    def action_view(self) -> None:
        """Switch the layout, with the cursor on the same run and task."""
        task = self.cell_task
        self.held.turn = not self.held.is_turned
        if not self.held.turn:
            self.held.column = TASKS + self.held.tasks.index(task) if task in self.held.tasks else WHOLE
        self.redraw()
        whole = self.held.run_turned
        if self.held.turn and whole is not None:
            places = [facts.task for facts in whole.tasks]
            self.query_one(Table).go(places.index(task) if task in places else 0)
        self._wake.set()

    def action_sort(self) -> None:
        if not self.held.pages.is_old:
            host_of(self).say("already sorted, worst first; no new checks.")
        self.load_anew()

    def action_back(self) -> None:
        if self.held.filter:
            self.filter_by("")
        elif self.held.turn is not None:
            self.held.turn = None
            self.redraw()
        else:
            host_of(self).say("nothing to clear: 1 opens Runs.")

    def action_open(self) -> None:
        """Open the run under the cursor, or the first answer of a cell."""
        if self.held.row is None:
            return
        if self.held.on_name:
            host_of(self).open_run(self.held.row.name)
        else:
            self._open_answers(self.held.row, self.cell_task)

    @work(group=WAY)
    async def _open_answers(self, row: TriageRow, task: str) -> None:
        """Open the most certain lost item, above the list of all changed items."""
        from finetop.tui.screens.triage.items_screen import ItemsScreen

        screen = ItemsScreen(row, task)
        with show_refusals(host_of(self)):
            await screen.items.load()
            await self.app.push_screen(screen)
            if screen.items.items:
                screen.open_item(0)

    # --- keys: acting -----------------------------------------------------------------------------------

    def action_accept(self) -> None:
        accepted = partial(Standing, "accepted", user_name())
        self._ask("reason for accepting?", "accept it", lambda text, _: accepted(reason=text))

    def action_fixed(self) -> None:
        fixed = partial(Standing, "fixed", user_name())
        self._ask("which run fixes it?", "mark as fixed", lambda text, _: fixed(fixed_by=text))

    def action_note(self) -> None:
        """Ask for a note; the regression's state stays."""
        self._ask("note", "save", lambda text, before: replace(before, note=text), has_note=True)

    def _ask(
        self, label: str, keep: str, changed: Callable[[str, Standing], Standing], *, has_note: bool = False
    ) -> None:
        """Ask for a reason, run or note, and set it on the regression that was under the cursor."""
        row, task = self.held.row, self.cell_task
        if row is None:
            return
        before = row.standings.get(task, Standing(by=user_name()))
        what = f"{clean_line(task)} of " if task else ""

        def done(text: str, is_kept: bool) -> None:
            if is_kept and text.strip():
                self._say(row, task, changed(text.strip(), before))

        label = f"{what}{cut_middle(clean_line(row.name), 24)}: {label}"
        self.bottom.say_aside(())
        self.bottom.ask_text(label, before.note if has_note else "", done=done, keep=keep, leave="cancel")

    def action_own(self) -> None:
        """Assign a regression to the user, or unassign it if it is theirs."""
        row, task = self.held.row, self.cell_task
        if row is not None:
            seen = row.standings.get(task)
            is_own = seen is not None and seen.state == "looking" and seen.by == user_name()
            self._say(row, task, Standing("new" if is_own else "looking", user_name()))

    @work
    async def _say(self, row: TriageRow, task: str, standing: Standing) -> None:
        with show_refusals(host_of(self)):
            answer: SetStandingAnswer = await host_of(self).ask(SetStanding(row.name, task, standing))
            self.held.undoing.append(SetStanding(row.name, task, answer.before))
            host_of(self).say(f"{answer.message}   u undoes it")
            self.refresh_soon(at_once=True)

    @work
    async def action_undo(self) -> None:
        if not self.held.undoing:
            host_of(self).say("nothing to undo.")
            return
        with show_refusals(host_of(self)):
            answer: SetStandingAnswer = await host_of(self).ask(self.held.undoing.pop())
            host_of(self).say(f"undone: {answer.message}")
            self.refresh_soon(at_once=True)

    def action_check(self) -> None:
        """Check more items; if no regression is open, check the unchecked runs."""
        answer = self.held.answer
        if answer is not None and unchecked_step(self.held) is not None:
            ask_unchecked(self, answer)
        elif self.held.row is not None:
            self.run_worker(check(self, self.held.row.name, task=self.cell_task))

    def action_mark(self) -> None:
        if self.held.is_turned:
            host_of(self).say("only runs can be marked: v shows all runs.")
        elif self.held.row is not None:
            if self.held.marked.pop(self.held.row.id, None) is None:
                self.held.marked[self.held.row.id] = self.held.row.name
            self.query_one(Table).refresh_rows()
            self.query_one(Table).move(1)

    def action_chat(self) -> None:
        """Chat with the run under the cursor, at the checkpoint that was checked."""
        row = self.held.row
        if row is not None:
            step = f"step {count(row.step or 0)}"
            model = None if row.step is None else ChatSide(step, "checkpoint", step=row.step)
            host_of(self).open_chat(row.name, ChatStart(model))

    def action_compare(self) -> None:
        """Compare the marked runs; without marks, this run with its fix or with an ok run of its base."""
        row = self.held.row
        if row is None:
            return
        names = runs_to_compare(self.held, row)
        if len(names) > 1:
            host_of(self).open_compare(names)
        else:
            host_of(self).say("mark another run with space: no ok run of this base to compare with.")

    def action_remedies(self) -> None:
        if self.held.row is not None:
            host_of(self).open_remedies(self.held.row.name)

    def action_steps(self) -> None:
        if self.held.row is not None:
            self.run_worker(ask_bisection(self, self.held.row.name))
