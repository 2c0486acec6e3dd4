"""The Runs screen: what needs me, what is the verdict, what do I do next."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from finetop.core import protocol
from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.run import Queued, Running
from finetop.core.text import clean_line
from finetop.tui.host import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.messages import StoreChanged
from finetop.tui.pages import CHUNK, EMPTY, fresh, missing_chunk, place_of, refreshed, with_chunk, with_row
from finetop.tui.screens.runs_pane import pane_lines, sparkline_of
from finetop.tui.verdicts import heading_of, next_step
from finetop.tui.widgets.frame import Answer, Bottom, Top, next_line
from finetop.tui.widgets.lines import Line, Lines, line_width, spread
from finetop.tui.widgets.run_row import head_line, run_line, waiting_line
from finetop.tui.widgets.table import Table
from finetop.tui.words import count, counted, cut_middle
from textual import on, work
from textual.screen import Screen

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.core.run import RunRow

Sort = Literal["needs_you", "newest", "name", "loss"]
SORT_WORDS: dict[Sort, str] = {
    "needs_you": "needs you first",
    "newest": "newest first",
    "name": "by name",
    "loss": "lowest loss first",
}
REST_S = 0.1  # the pane follows when the cursor rests so long
NUMBERS_S = 2.0  # numbers in the list change at most so often
SPARKS_S = 10.0

OPEN = Key("enter", "enter", "open", "open", "open the run under the cursor", "finetop show RUN")
CHECK = Key("f", "f", "check", "check", "check for forgetting", "finetop check RUN")
NEW = Key("n", "n", "new run", "new", "new run from this one, prefilled", "finetop run RECIPE")
STOP = Key("S", "S", "stop", "stop", "stop after a checkpoint (asks)", "finetop stop RUN")
KILL = Key("K", "K", "kill", "kill", "kill at once (asks)", "finetop kill RUN")
FILTER = Key("slash", "/", "filter", "filter", "only runs with this in name, model, tag", "finetop ls FILTER")
SORT = Key("o", "o", "sort", "sort", "take in what is new; else sort another way", "finetop ls --sort newest")
MOVES = (
    Key("j,down", "↓ j", "", "move(1)", "next run"),
    Key("k,up", "↑ k", "", "move(-1)", "run before"),
    Key("pagedown", "pgdn", "", "page(1)", "a page down"),
    Key("pageup", "pgup", "", "page(-1)", "a page up"),
    Key("g,home", "g", "", "top", "first run"),
    Key("G,end", "G", "", "end", "last run"),
    Key("escape", "esc", "", "back", "drop the filter"),
)
KEYS = (OPEN, NEW, CHECK, FILTER, STOP, SORT, KILL, *MOVES)


class RunsScreen(Screen[None], inherit_bindings=False):
    """All runs, those that need somebody first, and what is known of the one under the cursor."""

    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Runs"

    def __init__(self) -> None:
        super().__init__()
        self.pages = EMPTY
        self.answer: protocol.RunsAnswer | None = None  # the newest
        self.filter = ""
        self.sort: Sort = "needs_you"
        self.sparks: dict[int, str] = {}
        self._sparks_at: dict[int, float] = {}
        self._filter_before = ""
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
        return self.pages.rows.get(self.query_one(Table).cursor)

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return KEYS

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        row = self.pages.rows.get(index)
        if row is None:
            return waiting_line(has_cursor=has_cursor)
        return run_line(row, has_cursor=has_cursor, width=width, now=host_of(self).now(), sparks=self.sparks)

    def draw_heading(self, index: int) -> str:
        row = self.pages.rows.get(index)
        return heading_of(row) if row is not None and self.sort == "needs_you" else ""

    def redraw(self) -> None:
        """Write everything again from what is held."""
        self.set_class(self.answer is not None and not self.pages.matching, "-empty")
        self.query_one("#state", Lines).show((self._state_line(),))
        self.query_one("#head", Lines).show((head_line(self.size.width),))
        self.query_one("#empty", Lines).show(self._empty_lines())
        self.query_one(Table).show(self.pages.matching)
        self.show_pane()

    def show_pane(self) -> None:
        """Write the pane, the next step and the footer for the run under the cursor."""
        row = self.row
        pane = self.query_one("#pane", Lines)
        if row is None:
            pane.show(())
        else:
            now = host_of(self).now()
            pane.show(pane_lines(row, width=self.size.width, height=pane.size.height, now=now, spark=self.sparks.get(row.id, "")))
        self.query_one(Bottom).offer(self._next_lines(), self._footer_keys())
        if row is not None and row.id != self._pane_id:
            self._pane_id = row.id
            self._wake.set()

    def _state_line(self) -> Line:
        answer = self.answer
        if answer is None:
            return ((" asking the supervisor …", "dim"),)
        right: Line = (*self._order_words(), (" ", ""))
        left: Line = ((f" {count(answer.need_you)} need you", "bold" if answer.need_you else "dim"),)
        for words in (f"{answer.running} running", f"{answer.queued} queued", f"{count(answer.total)} in all"):
            more: Line = (*left, (f"   {words}", ""))
            if line_width(more) + 2 + line_width(right) <= self.size.width:
                left = more
        return spread(left, right, self.size.width)

    def _order_words(self) -> Line:
        if self.filter:
            words = f" {cut_middle(clean_line(self.filter), 20)}: {count(self.pages.matching)} match"
            return (("/", "bold"), (words, "bold"))
        if self.pages.newcomers:
            return (("o", "bold"), (f" takes in {self.pages.newcomers} new", "bold"))
        if self.pages.reordered:
            return (("o", "bold"), (" sorts again: the order changed", "dim"))
        return (("o", "bold"), (f" sort: {SORT_WORDS[self.sort]}", "dim"))

    def _empty_lines(self) -> list[Line]:
        if self.filter and self.answer is not None:
            hidden = f" 0 of {counted(self.answer.total, 'run')} match   {clean_line(self.filter)}"
            return [(), ((hidden, ""),), ((f" {count(self.answer.total)} match without it", "dim"),)]
        home = host_of(self).home_shown
        return [
            (),
            ((f" No runs yet in {home}.", "bold"),),
            (),
            ((" A run tunes a model on your rows, then proves whether", ""),),
            ((" it forgot what it could do before.", ""),),
            (),
            ((" On the command line:  ", "dim"), ("finetop demo   finetop run RECIPE", "")),
        ]

    def _next_lines(self) -> list[Line]:
        if self.answer is not None and not self.pages.matching:
            if self.filter:
                return [next_line("esc", "drop the filter")]
            demo = next_line("enter", "show me: queue two small runs, one remembers, one forgets")
            return [demo, next_line("n", "start my own", before="or")]
        row = self.row
        return [next_line(*next_step(row))] if row is not None else []

    def _footer_keys(self) -> tuple[Key, ...]:
        """The keys of what the cursor is on, most used first."""
        row = self.row
        if row is None:
            return (FILTER,) if self.filter else (NEW,)
        if isinstance(row.state, Running):
            return (OPEN, STOP, CHECK, NEW, FILTER, KILL, SORT)
        if isinstance(row.state, Queued):
            return (OPEN, STOP, NEW, FILTER, SORT)
        return (OPEN, CHECK, NEW, FILTER, SORT)

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.redraw()
        self._load_for_ever()

    def on_resize(self) -> None:
        self.set_class(self.size.height >= 34, "-tall")
        self.call_after_refresh(self.redraw)
        self._wake.set()

    def on_screen_resume(self) -> None:
        """Coming back from another screen is a moment at which the order may change."""
        self.load_anew()

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
        refreshed_at = -NUMBERS_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._wants_anew:
                    await self._load_first()
                    refreshed_at = loop.time()
                while await self._load_missing():
                    pass
                if self._is_stale:
                    await self._until(refreshed_at + NUMBERS_S)
                    if not self._wants_anew:
                        self._is_stale = False
                        await self._refresh()
                    refreshed_at = loop.time()
                await self._load_sparks()
            except NoSupervisor:
                continue  # the app says so on its own row, and a StoreChanged comes when it is back
            except FinetopError as error:
                host_of(self).say(str(error), "red")

    async def _until(self, moment: float) -> None:
        """Wait for a moment, or until something more urgent wakes the loop."""
        left = moment - asyncio.get_running_loop().time()
        while left > 0 and not self._wants_anew:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)
            self._wake.clear()
            if not self._wants_anew:
                await self._load_missing()
            left = moment - asyncio.get_running_loop().time()
        if self._wants_anew:
            self._wake.set()

    async def _ask_runs(self, offset: int, limit: int = CHUNK) -> protocol.RunsAnswer:
        answer: protocol.RunsAnswer = await host_of(self).ask(
            protocol.Runs(filter=self.filter, sort=self.sort, offset=offset, limit=limit)
        )
        self.answer = answer
        return answer

    async def _load_first(self) -> None:
        asked = (self.filter, self.sort)
        run, at = self._wanted_run, self.row
        self._wants_anew, self._is_stale = False, False
        answer = await self._ask_runs(0)
        if asked != (self.filter, self.sort):
            return  # typed on while it was asked: the loop comes again
        self.pages = fresh(answer.rows, answer.matching)
        place = next((i for i, row in self.pages.rows.items() if row.name == run), None) if run else None
        if place is None and at is not None:
            place = place_of(self.pages, at.id)
        table = self.query_one(Table)
        table.show(answer.matching, place if place is not None else (0 if answer.rows else None))
        self.redraw()
        if self.filter or self.query_one(Bottom).question is not None:
            self.query_one(Bottom).say_aside(((f"{count(answer.matching)} of {count(answer.total)} match", "dim"),))

    async def _load_missing(self) -> bool:
        first, end = self.query_one(Table).rows_in_view()
        offset = missing_chunk(self.pages, first, end)
        if offset is None or self._wants_anew:
            return False
        answer = await self._ask_runs(offset)
        before = len(self.pages.rows)
        self.pages = with_chunk(self.pages, offset, answer.rows)
        self.redraw()
        return len(self.pages.rows) > before

    async def _refresh(self) -> None:
        """Bring the rows in view up to date, each in its place."""
        first, end = self.query_one(Table).rows_in_view()
        offset = first - first % CHUNK
        limit = max(CHUNK, end - offset)
        answer = await self._ask_runs(offset, limit)
        if not self.pages.matching:
            self.load_anew()  # nothing is under the cursor that could move
            return
        self.pages = refreshed(self.pages, offset, answer.rows, answer.matching)
        came = {row.id for row in answer.rows}
        for index in range(first, end):
            row = self.pages.rows.get(index)
            if row is not None and row.id not in came:
                await self._refresh_one(index, row)
        self.redraw()

    async def _refresh_one(self, index: int, row: RunRow) -> None:
        """Bring a row up to date that the store by now lists elsewhere."""
        with contextlib.suppress(FinetopError):
            detail = await host_of(self).ask(protocol.GetRun(str(row.id)))
            self.pages = with_row(self.pages, index, detail.row)

    async def _load_sparks(self) -> None:
        """Ask for the loss of the run under the cursor, and of all in view where there is a column for it."""
        now = host_of(self).now()
        rows = [self.row]
        if self.size.width >= 120:
            first, end = self.query_one(Table).rows_in_view()
            rows += [self.pages.rows.get(index) for index in range(first, end)]
        for row in rows:
            if row is None or not row.step or self._wants_anew:
                continue
            age = now - self._sparks_at.get(row.id, -1e9)
            if row.id in self._sparks_at and (age < SPARKS_S or not isinstance(row.state, Running)):
                continue
            self._sparks_at[row.id] = now
            self.sparks[row.id] = await sparkline_of(host_of(self), row)
            self.query_one(Table).refresh_rows()
            if row is self.row:
                self.show_pane()

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)

    def action_top(self) -> None:
        self.query_one(Table).go(0)

    def action_end(self) -> None:
        self.query_one(Table).go(self.pages.matching - 1)

    def action_open(self) -> None:
        if self.row is not None:
            host_of(self).open_run(self.row.name)
        elif self.answer is not None and not self.filter:
            self._queue_demo()

    def action_new(self) -> None:
        host_of(self).open_launch(from_run=self.row.name if self.row is not None else "")

    def action_sort(self) -> None:
        """Take in a changed order, else sort another way."""
        if not (self.pages.newcomers or self.pages.reordered):
            sorts: tuple[Sort, ...] = get_args(Sort)
            self.sort = sorts[(sorts.index(self.sort) + 1) % len(sorts)]
        self.load_anew()

    def action_back(self) -> None:
        if self.filter:
            self._filter_by("")

    def action_filter(self) -> None:
        self._filter_before = self.filter
        self.query_one(Bottom).ask_text(
            "/", self.filter, changed=self._filter_by, done=self._filter_done, keep="keep", leave="drop the filter"
        )

    def _filter_by(self, text: str) -> None:
        self.filter = text.strip()
        self.load_anew()

    def _filter_done(self, text: str, is_kept: bool) -> None:
        self._filter_by(text if is_kept else "")

    def action_check(self) -> None:
        if self.row is not None:
            self._do(protocol.Check(self.row.name))

    def action_stop(self) -> None:
        row = self.row
        if row is None or self._has_ended(row):
            return
        name = cut_name(row)
        stop = Answer("y", "take it out" if isinstance(row.state, Queued) else "stop", lambda: self._do(protocol.Stop(row.name)))
        if isinstance(row.state, Queued):
            words: Line = ((f" Take {name} out of the queue?", "bold"), ("  Nothing of it has run yet.", ""))
            self.query_one(Bottom).ask(words, [stop], leave="leave it there")
            return
        words = ((f" Stop {name}?", "bold"), (f"  It saves step {count(row.step)} first.", ""))
        kill = Answer("K", "kill now, saves nothing", lambda: self._do(protocol.Kill(row.name)))
        self.query_one(Bottom).ask(words, [stop, kill], leave="leave it running")

    def action_kill(self) -> None:
        row = self.row
        if row is None or self._has_ended(row):
            return
        if isinstance(row.state, Queued):
            self.action_stop()
            return
        words: Line = ((f" Kill {cut_name(row)}?", "bold"), ("  Steps since its last checkpoint are lost.", ""))
        kill = Answer("y", "kill", lambda: self._do(protocol.Kill(row.name)))
        stop = Answer("S", "stop, saves first", lambda: self._do(protocol.Stop(row.name)))
        self.query_one(Bottom).ask(words, [kill, stop], leave="leave it running")

    def _has_ended(self, row: RunRow) -> bool:
        if isinstance(row.state, Running | Queued):
            return False
        host_of(self).say(f"{cut_name(row)} has ended: nothing to stop.")
        return True

    @work
    async def _do(self, ask: protocol.Check | protocol.Stop | protocol.Kill) -> None:
        """Ask the supervisor to act on a run, and say what came of it."""
        host = host_of(self)
        try:
            answer = await host.ask(ask)
        except FinetopError as error:
            host.say(str(error), "red")
            return
        if isinstance(answer, protocol.CheckAnswer):
            step = f" at step {count(answer.step)}" if answer.step else ""
            host.say(f"a check of {answer.run}{step} is queued.")
        else:
            host.say(answer.message)


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


def cut_name(row: RunRow) -> str:
    """Name a run in a question: clean, and short enough for one row."""
    return cut_middle(clean_line(row.name), 32)
