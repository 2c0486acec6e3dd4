"""The Runs screen: what needs me, what is the verdict, what do I do next."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.css.query import NoMatches
from textual.screen import Screen

from finetop.core import protocol
from finetop.core.errors import BadInput, FinetopError, NoSupervisor
from finetop.core.run import Queued, Running
from finetop.core.text import clean_line
from finetop.tui.host import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.messages import StoreChanged
from finetop.tui.orders import pause_or_go_on, said
from finetop.tui.run.ask import left_of
from finetop.tui.runs.held import SORTS, RunList
from finetop.tui.runs.keys import KEYS, footer_keys
from finetop.tui.runs.pane import empty_lines, fault_words, heading_words, next_lines, pane_lines, state_line
from finetop.tui.runs.row import head_line, run_line, waiting_line
from finetop.tui.widgets.frame import Answer, Bottom, TextQuestion, Top
from finetop.tui.widgets.lines import Line, Lines
from finetop.tui.widgets.table import Table
from finetop.tui.words import count, cut_middle

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.core.run import RunRow

REST_S = 0.1  # the pane follows when the cursor rests so long
NUMBERS_S = 0.5  # numbers in the list change at most so often, however many machines tell of changes
SPARKS_FROM = 120  # columns of the terminal
TALL = 34  # rows of the terminal


class RunsScreen(Screen[None], inherit_bindings=False):
    """All runs, those that need somebody first, and what is known of the one under the cursor."""

    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Runs"

    def __init__(self) -> None:
        super().__init__()
        self.runs = RunList(lambda ask: host_of(self).ask(ask))
        self._pane_id: int | None = None
        self._is_stale = False
        self._wants_anew = True
        self._wanted_run = ""
        self._wake = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="state")
        yield Lines(id="head")
        yield Table(self.draw_row, self.draw_heading, id="runs")
        yield Lines(id="empty")
        yield Lines(id="pane")
        yield Bottom()

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor."""
        return self.runs.pages.rows.get(self.query_one(Table).cursor)

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return KEYS

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        row = self.runs.pages.rows.get(index)
        if row is None:
            return waiting_line(has_cursor=has_cursor)
        now = host_of(self).now()
        return run_line(row, has_cursor=has_cursor, width=width, now=now, sparks=self.runs.sparks)

    def draw_heading(self, index: int) -> str:
        row = self.runs.pages.rows.get(index)
        return "" if row is None else heading_words(self.runs, row)

    def redraw(self) -> None:
        """Write everything again from what is held."""
        self.set_class(self.runs.is_empty, "-empty")
        self.query_one("#state", Lines).show((state_line(self.runs, self.size.width),))
        self.query_one("#head", Lines).show(
            (head_line(self.size.width, has_hosts=len(host_of(self).homes) > 1),)
        )
        self.query_one("#empty", Lines).show(empty_lines(self.runs, host_of(self).home_shown))
        self.query_one(Table).show(self.runs.pages.matching)
        self.show_pane()

    def show_pane(self) -> None:
        """Write the pane, the next step and the footer for the run under the cursor."""
        row = self.row
        pane = self.query_one("#pane", Lines)
        if row is None:
            pane.show(())
        else:
            now, spark = host_of(self).now(), self.runs.sparks.get(row.id, "")
            pane.show(pane_lines(row, width=self.size.width, height=pane.size.height, now=now, spark=spark))
            if row.id != self._pane_id:
                self._pane_id = row.id
                self._wake.set()
        keys = footer_keys(row, is_filtered=bool(self.runs.filter))
        self.query_one(Bottom).offer(next_lines(self.runs, row), keys)

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.redraw()
        self._load_for_ever()

    def on_resize(self) -> None:
        self.set_class(self.size.height >= TALL, "-tall")
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
        self.set_timer(REST_S, lambda: self._rested(message.index))

    def _rested(self, index: int) -> None:
        if index == self.query_one(Table).cursor:
            self.show_pane()

    @on(Table.Scrolled)
    def _scrolled(self) -> None:
        self._wake.set()

    @on(Table.Opened)
    def _opened(self) -> None:
        self.action_open()

    def load_anew(self, run: str = "") -> None:
        """Ask for the list from its start, in the store's order, with the cursor on that run (else where it was)."""
        self._wants_anew, self._wanted_run = True, run
        self._wake.set()

    # --- asking: one loop, so that what was asked twice while it waited is asked once -------------------

    @work
    async def _load_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        refreshed_at = loop.time() - NUMBERS_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._wants_anew:
                    await self._load()
                    refreshed_at = loop.time()
                await self._load_missing()
                if self._is_stale:
                    await self._wait_until(refreshed_at + NUMBERS_S)
                if self.app.screen is not self:
                    continue  # another screen is on it: coming back it loads anew
                if self._is_stale and not self._wants_anew:
                    await self._refresh()
                    refreshed_at = loop.time()
                await self._load_sparks()
            except NoSupervisor:
                continue  # the app says so in its own row, and a StoreChanged comes when it is back
            except FinetopError as error:
                host_of(self).say(str(error), "red")
            except NoMatches:
                return  # an answer came while the screen is taken down

    async def _wait_until(self, moment: float) -> None:
        """Wait for a moment; rows that come into view meanwhile are loaded, and a new list ends the wait."""
        while not self._wants_anew and (left := moment - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)
            self._wake.clear()
            await self._load_missing()
        if self._wants_anew:
            self._wake.set()

    async def _load(self) -> None:
        run, self._wanted_run = self._wanted_run, ""
        self._wants_anew = self._is_stale = False
        try:
            place = await self.runs.load(run, self.row)
        except BadInput as fault:
            self._refuse(fault)
            return
        if place is None:
            self.load_anew(run)
            return
        pages, answer = self.runs.pages, self.runs.answer
        self.query_one(Table).show(pages.matching, place)
        self.redraw()
        if answer is not None:
            words = f"{count(answer.matching)} of {count(answer.total)} match"
            self.query_one(Bottom).say_aside(((words, "dim"),))

    def _refuse(self, fault: BadInput) -> None:
        """Say what is wrong with the filter: beside it while it is typed, else it is as it was before."""
        bottom = self.query_one(Bottom)
        if isinstance(bottom.question, TextQuestion):
            bottom.say_aside(((fault_words(fault), "red"),))
        else:
            self.runs.filter = self.runs.listed[0]
            host_of(self).say(str(fault), "red")

    async def _load_missing(self) -> None:
        while not self._wants_anew and await self.runs.load_missing(*self.query_one(Table).rows_in_view()):
            self.redraw()

    async def _refresh(self) -> None:
        self._is_stale = False
        await self.runs.refresh(*self.query_one(Table).rows_in_view())
        answer = self.runs.answer
        if answer is not None and answer.matching and not self.runs.pages.matching:
            self.load_anew()  # the list was empty: nothing is under the cursor that could move
        self.redraw()

    async def _load_sparks(self) -> None:
        """Ask for the loss of the run under the cursor, and of all in view where there is a column for it."""
        rows = [self.row]
        if self.size.width >= SPARKS_FROM:
            rows += [
                self.runs.pages.rows.get(index) for index in range(*self.query_one(Table).rows_in_view())
            ]
        host = host_of(self)
        is_far = any(home.link is not None for home in host.homes)
        for row in rows:
            if row is None or self._wants_anew:
                continue
            if await self.runs.load_spark(row, host.now(), is_far=is_far):
                self.query_one(Table).refresh_rows()
                self.show_pane()

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)

    def action_top(self) -> None:
        self.query_one(Table).go(0)

    def action_end(self) -> None:
        self.query_one(Table).go(self.runs.pages.matching - 1)

    def action_open(self) -> None:
        if self.row is not None:
            host_of(self).open_run(self.row.name)
        elif self.runs.is_empty and not self.runs.filter:
            self._queue_demo()

    def action_new(self) -> None:
        host_of(self).open_launch(from_run=self.row.name if self.row is not None else "")

    def action_sort(self) -> None:
        """Take in a changed order, else sort another way."""
        if not (self.runs.pages.newcomers or self.runs.pages.reordered):
            self.runs.sort = SORTS[(SORTS.index(self.runs.sort) + 1) % len(SORTS)]
        self.load_anew()

    def action_back(self) -> None:
        if self.runs.filter:
            self._filter_by("")

    def action_filter(self) -> None:
        self.query_one(Bottom).ask_text(
            "/",
            self.runs.filter,
            changed=self._filter_by,
            done=lambda text, is_kept: self._filter_by(text if is_kept else ""),
            keep="keep",
            leave="drop the filter",
        )

    def _filter_by(self, text: str) -> None:
        self.runs.filter = text.strip()
        self.load_anew()

    def action_check(self) -> None:
        if self.row is not None:
            self._do(protocol.Check(self.row.name))

    def action_remedies(self) -> None:
        if self.row is not None:
            host_of(self).open_remedies(self.row.name)

    def action_stop(self) -> None:
        row = self.row
        if row is None or self._has_ended(row):
            return
        if isinstance(row.state, Queued):
            words: Line = (
                (f" Take {_cut(row)} out of the queue?", "bold"),
                (f"  {left_of(row)}", ""),
            )
            take = Answer("y", "take it out", lambda: self._do(protocol.Stop(row.name)))
            self.query_one(Bottom).ask(words, [take], leave="leave it there")
            return
        saves = f"It saves step {count(row.step)} first." if row.step else "It has made no step yet."
        words = ((f" Stop {_cut(row)}?", "bold"), (f"  {saves}", ""))
        stop = Answer("y", "stop", lambda: self._do(protocol.Stop(row.name)))
        kill = Answer("K", "kill now, saves nothing", lambda: self._do(protocol.Kill(row.name)))
        self.query_one(Bottom).ask(words, [stop, kill], leave="leave it running")

    def action_kill(self) -> None:
        row = self.row
        if row is None or self._has_ended(row):
            return
        if isinstance(row.state, Queued):
            self.action_stop()
            return
        words: Line = ((f" Kill {_cut(row)}?", "bold"), ("  Steps since its last checkpoint are lost.", ""))
        kill = Answer("y", "kill", lambda: self._do(protocol.Kill(row.name)))
        stop = Answer("S", "stop, saves first", lambda: self._do(protocol.Stop(row.name)))
        self.query_one(Bottom).ask(words, [kill, stop], leave="leave it running")

    def action_pause(self) -> None:
        order = None if self.row is None else pause_or_go_on(self.row)
        if order is not None:
            self._do(order)
        elif self.row is not None:
            host_of(self).say(f"{_cut(self.row)} has ended: nothing to pause.")

    def action_retry(self) -> None:
        if self.row is not None:
            self._do(protocol.Retry(self.row.name))

    def _has_ended(self, row: RunRow) -> bool:
        if isinstance(row.state, Running | Queued):
            return False
        host_of(self).say(f"{_cut(row)} has ended: nothing to stop.")
        return True

    @work
    async def _do(self, ask: protocol.Ask) -> None:
        """Ask the supervisor to act on a run, and say what came of it."""
        host = host_of(self)
        try:
            answer = await host.ask(ask)
        except FinetopError as error:
            host.say(str(error), "red")
            return
        host.say(said(answer))

    @work
    async def _queue_demo(self) -> None:
        """Queue what `finetop demo` queues: its recipes are built in."""
        from finetop.core.commands.demo import RECIPES
        from finetop.core.recipe.load import check_files, load_recipe

        host = host_of(self)
        try:
            for name in RECIPES:
                loaded = await asyncio.to_thread(load_recipe, name)
                check_files(loaded)
                await host.ask(protocol.Submit(loaded.resolved, loaded.text, loaded.recipe.name))
        except FinetopError as error:
            host.say(str(error), "red")
        else:
            host.say(f"{len(RECIPES)} runs are queued; each is checked for forgetting at its end.")
        self.load_anew()


def _cut(row: RunRow) -> str:
    """Name a run in a question: clean, and short enough for one row."""
    return cut_middle(clean_line(row.name), 32)
