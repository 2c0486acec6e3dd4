"""The Runs screen: what needs you, the verdicts, and the next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from textual import work
from textual.app import ComposeResult

from finetop.core.errors import BadInput
from finetop.core.features.compare import compare_runs
from finetop.core.protocol.messages.notes import Tag
from finetop.core.protocol.messages.queue import Retry
from finetop.core.protocol.messages.trash import Remove, RemoveAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import RunRow
from finetop.core.protocol.tags import SEEN, comparison_of, sweep_of
from finetop.core.text import count
from finetop.tui.app_interface import Host, host_of, show_refusals
from finetop.tui.save import Sheet
from finetop.tui.screens.runs import actions, input_lines, pane
from finetop.tui.screens.runs.actions import queue_demo
from finetop.tui.screens.runs.keys import COMMANDS, KEYS, footer_keys
from finetop.tui.screens.runs.overlay import Overlay, curve_lines, overlay_lines
from finetop.tui.screens.runs.pane import CHART_FROM
from finetop.tui.screens.runs.row import head_line, part_heading, run_line
from finetop.tui.screens.runs.state import SORTS, RunList
from finetop.tui.screens.shared import run_actions
from finetop.tui.screens.shared.check_action import check
from finetop.tui.screens.shared.fix import fix_of
from finetop.tui.screens.shared.run_actions import ask_to_end, pause_or_go_on, short_name
from finetop.tui.text import Line, rule
from finetop.tui.widgets.frame import Answer, Bottom, Question, Top
from finetop.tui.widgets.lines import Lines, set_height
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table, waiting_line

SPARKS_FROM = 120  # columns of the terminal


class RunsScreen(ListScreen, inherit_bindings=False):
    """All runs, those that need you first, with details of the one under the cursor."""

    CSS_PATH = "screen.tcss"
    KEYS = (*KEYS, *COMMANDS)
    TITLE = "Runs"
    LEAST_S: ClassVar = 0.5  # limits redraws when many machines report changes

    def __init__(self) -> None:
        super().__init__()
        self.runs = self.listed = RunList(lambda ask: self.host.ask(ask))
        self.overlay = Overlay()
        self.undo: actions.Undo | None = None

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="state", box="top")
        yield Lines(id="head", box="sides")
        yield Table(self.draw_row, self.draw_heading, id="runs", box="low")
        yield Lines(id="empty", box="low")
        yield Lines(id="going", box="whole")
        yield Lines(id="pane", box="whole")
        yield Bottom()

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def host(self) -> Host:
        return host_of(self)

    @property
    def row(self) -> RunRow | None:
        return self.runs.pages.rows.get(self.query_one(Table).cursor)

    @property
    def chosen(self) -> list[RunRow]:
        """The runs a key acts on: the marked ones, else the one under the cursor."""
        return list(self.runs.marked.values()) or ([] if self.row is None else [self.row])

    async def to_save(self) -> Sheet:
        from finetop.tui.save.tables import runs

        return runs(await self.runs.all())

    def to_copy(self) -> str:
        return "" if self.row is None else self.row.name

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        row = self.runs.pages.rows.get(index)
        if row is None:
            return waiting_line(has_cursor=has_cursor)
        return self._line_of(row, width, has_cursor=has_cursor)

    def draw_heading(self, index: int) -> str:
        self.runs.look_through()
        row = self.runs.pages.rows.get(index)
        heading = "" if row is None else pane.heading_words(self.runs, row)
        if row is None or not heading or not self.runs.has_parts:
            return heading
        return part_heading(self.runs, heading, self.query_one("#state", Lines).room.width)

    def redraw(self) -> None:
        self.set_class(self.runs.is_empty, "-empty")
        width = self.query_one("#state", Lines).room.width
        self.query_one("#state", Lines).show((pane.state_line(self.runs, width),))
        self.query_one("#head", Lines).show((head_line(self.runs, width),))
        self.query_one("#empty", Lines).show(pane.empty_lines(self.runs, self.host.home_shown))
        self.query_one(Table).show(self.runs.pages.matching)
        self.show_pane()

    def _show_going(self) -> None:
        going, part = self.runs.going, self.query_one("#going", Lines)
        width = part.room.width
        lines = [self._line_of(row, width) for row in going[: 4 if self.has_class("-tall") else 2]]
        if going:
            lines.insert(0, rule((("running, out of view", "dim"),), width))
        set_height(part, len(lines) + bool(going and part.box))
        part.show(lines)

    def _line_of(self, row: RunRow, width: int, *, has_cursor: bool = False) -> Line:
        self.runs.look_through()
        return run_line(self.runs, row, has_cursor=has_cursor, width=width, now=self.host.now())

    def _refuse(self, fault: BadInput) -> None:
        """Report an invalid filter beside it while it is typed; otherwise restore the previous one."""
        if input_lines.is_filtering(self):
            self.bottom.say_aside(((pane.fault_words(fault), "red"),))
        else:
            self.runs.filter, self.runs.sort = self.runs.listed
            self.host.say(str(fault), "red")

    def show_pane(self) -> None:
        row, part = self.row, self.query_one("#pane", Lines)
        width, height = part.room
        lines: list[Line] = []
        marked = list(self.runs.marked.values())
        self.set_class(len(marked) > 1, "-overlay")
        if len(marked) > 1:
            is_grouped, size = bool(self.runs.line.group), (width, height)
            lines = overlay_lines(self.overlay, marked, size, self.host.look, is_grouped=is_grouped)
        elif row is not None:
            now, spark = self.host.now(), self.runs.sparklines.drawn.get(row.id, "")
            lines = pane.pane_lines(row, width=width, height=height, now=now, spark=spark)
            if width >= CHART_FROM:
                size = (pane.curve_width(width), height - 1)
                curve = curve_lines(self.overlay, row, size, self.host.look)
                lines = pane.with_curve(lines, curve, width)
        part.show(lines)
        keys = footer_keys(row, is_filtered=bool(self.runs.filter), marked=len(marked))
        self.bottom.offer(pane.next_lines(self.runs, row), keys)

    # --- what happens ---------------------------------------------------------------------------------

    def on_resize(self) -> None:
        super().on_resize()
        self.set_class(self.size.width >= CHART_FROM, "-wide")

    def on_mount(self) -> None:
        self.runs.columns = input_lines.saved_columns(self.host.homes[0])
        self.runs.has_hosts = len(self.host.homes) > 1

    def moved(self, index: int) -> None:
        self.rest()

    async def _load_list(self, run: str) -> bool:
        try:
            place = await self.runs.load(run, self.row)
        except BadInput as fault:
            self._refuse(fault)
            return True
        if place is None:
            return False
        self.query_one(Table).show(self.runs.pages.matching, place)
        answer = self.runs.answer
        if answer is not None and input_lines.is_filtering(self):
            if not self.runs.filter:
                input_lines.show_example(self)
                return True
            count_text = f"{count(answer.matching)} of {count(answer.total)} match"
            self.bottom.say_aside(((count_text, "dim"),))
        return True

    async def _refresh_list(self) -> None:
        if await self.runs.refresh(*self.query_one(Table).rows_in_view()):
            self.load_anew()

    async def _load_in_view(self) -> None:
        table = self.query_one(Table)
        await self.runs.load_going(*table.rows_in_view())
        self._show_going()
        while not self._wants_anew and await self.runs.load_missing(*table.rows_in_view()):
            self.redraw()
        if self.app.screen is not self:
            return
        is_far = any(home.link is not None for home in self.host.homes)
        marked, width = list(self.runs.marked.values()), self.query_one("#pane", Lines).room.width
        if len(marked) < 2:
            row = self.row if width >= CHART_FROM else None
            marked, width = [] if row is None or not row.step else [row], pane.curve_width(width)
        if await self.overlay.load(self.host.ask, marked, width, self.host.now()):
            self.show_pane()
        with_column = range(*table.rows_in_view()) if self.size.width >= SPARKS_FROM else ()
        for row in (self.row, *map(self.runs.pages.rows.get, with_column)):
            if row is None or self._wants_anew:
                continue
            if await self.runs.sparklines.load(self.host.ask, row, self.host.now(), is_far=is_far):
                table.refresh_rows()
                self.show_pane()
        if not is_far and not self._wants_anew:  # preload the next page
            first, end = table.rows_in_view()
            await self.runs.load_missing(end, end + end - first)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `n` to a new run while there is no filter."""
        return bool(self.runs.filter) if action == "match" else True

    # --- keys that look -------------------------------------------------------------------------------

    def action_open(self) -> None:
        if self.row is not None:
            self.host.open_run(self.row.name)
        elif self.runs.is_empty and not self.runs.filter:
            self._ask_for_demo()

    @work
    async def _ask_for_demo(self) -> None:
        question = await actions.demo_question(self.host)
        if self.is_free and self.runs.is_empty:
            answer = Answer("y", "queue both", self._queue_demo)
            self.bottom.ask(question, [answer], leave="cancel")

    @work
    async def _queue_demo(self) -> None:
        self.load_anew(await queue_demo(self.host))

    def action_new(self) -> None:
        row = self.row
        if row is None:
            self.host.open_launch()
        else:
            self.host.open_launch(from_run=row.name, settings=fix_of(row))

    def action_mark(self) -> None:
        if self.row is not None:
            self.runs.toggle(self.row)
            self.query_one(Table).move(1)
            self.redraw()
            self.rest()

    def action_compare(self) -> None:
        if len(self.runs.marked) > 1:
            self.host.open_compare([row.name for row in self.runs.marked.values()])
            if len(self.runs.marked) > compare_runs.MOST_RUNS:
                self.host.say(f"comparing the first {compare_runs.MOST_RUNS} of {len(self.runs.marked)}.")
        else:
            self.host.say("mark at least two runs with space, then press c to compare them.")

    def action_sweep(self) -> None:
        self.host.open_sweep("" if self.row is None else sweep_of(self.row))

    def action_live(self) -> None:
        self.host.action_live()

    def action_approaches(self) -> None:
        self.host.open_approaches("" if self.row is None else comparison_of(self.row))

    def action_sort(self) -> None:
        """Apply a changed order, or switch to the next sort order."""
        if not (self.runs.pages.newcomers or self.runs.pages.reordered):
            self.runs.filter = input_lines.without_part(self.runs.filter, "sort")
            self.runs.sort = SORTS[(SORTS.index(self.runs.sort) + 1) % len(SORTS)]
        self.load_anew()

    def action_back(self) -> None:
        if self.runs.marked:
            self.runs.marked.clear()
            self.redraw()
        elif self.runs.filter:
            self.filter_by("")
        else:
            self.host.say("nothing to clear: q quits finetop, and runs continue.")

    def action_filter(self) -> None:
        input_lines.ask_filter(self, self.runs.filter, leave="clear", left="")

    def action_sort_by(self) -> None:
        self._type_part("sort")

    def action_group_by(self) -> None:
        self._type_part("group")

    def _type_part(self, part: Literal["sort", "group"]) -> None:
        text = f"{input_lines.without_part(self.runs.filter, part)} {part}:".strip()
        input_lines.ask_filter(self, text, leave="cancel", left=self.runs.filter)

    def action_columns(self) -> None:
        input_lines.pick_columns(self)

    # --- keys that act --------------------------------------------------------------------------------

    def action_check(self) -> None:
        if self.row is not None:
            again = self.row.check is not None and bool(self.row.check.target_failed)
            self.run_worker(check(self, self.row.name, again=again))

    def action_remedies(self) -> None:
        if self.row is not None:
            self.host.open_remedies(self.row.name)

    def action_chat(self) -> None:
        if self.row is not None:
            self.host.open_chat(self.row.name)

    def action_stop(self) -> None:
        self._end("Stop")

    def action_kill(self) -> None:
        self._end("Kill")

    @work
    async def _end(self, verb: Literal["Stop", "Kill"]) -> None:
        going = actions.under_way(self.chosen)
        if len(going) != 1:
            self._put(actions.several_question(verb, self.chosen))
            return
        question_of = run_actions.stop_question if verb == "Stop" else run_actions.kill_question
        await ask_to_end(self, going[0].name, lambda ask: self.do([ask]), question_of)

    def action_pause(self) -> None:
        order = None if self.row is None else pause_or_go_on(self.row)
        if order is not None:
            self.do([order])
        elif self.row is not None:
            self.host.say(f"{short_name(self.row)} has ended: nothing to pause.")

    def action_retry(self) -> None:
        self.do([Retry(row.name) for row in self.chosen])

    def action_tag(self) -> None:
        if self.chosen:
            input_lines.pick_tags(self)

    @work
    async def action_seen(self) -> None:
        """Mark failed or lost runs as seen: the marked ones, else the one under the cursor, or all."""
        with show_refusals(self.host):
            unseen = [] if self.runs.marked else await actions.unseen_failures(self.host)
            self._put(actions.seen_question(self.chosen, unseen, self.do))

    def action_undo(self) -> None:
        if self.undo is None:
            self.host.say("nothing to undo. u undoes tags, notes and the trash.")
            return
        undo, self.undo = self.undo, None
        self.do(undo.asks, message=f"undone: {undo.words}.")

    @work
    async def action_trash(self) -> None:
        if not self.chosen:
            return
        with show_refusals(self.host):
            preview = Remove([row.name for row in self.chosen], only_show=True)
            going: RemoveAnswer = await self.host.ask(preview)
            self._put(actions.trash_question(going.runs, self.do))

    def _put(self, question: Question | actions.CountQuestion | str) -> None:
        match question:
            case str():
                self.host.say(question)
            case Question():
                self.put(question)
            case _:
                input_lines.ask_count(self, question)

    @work
    async def do(self, asks: Sequence[Ask], *, message: str = "") -> None:
        if not asks:
            return
        host = self.host
        outcome = await actions.send_all(host, asks)
        self.undo = actions.undo_of(outcome) or self.undo if not message else self.undo
        host.say(outcome.words if outcome.errors or not message else message, "red" if outcome.errors else "")
        if any(isinstance(answer, RemoveAnswer) for answer in outcome.answers):
            self.runs.marked.clear()
            self.load_anew()
        tags = [request for request in asks if isinstance(request, Tag)]
        moved = {tag.run for tag in tags if SEEN in (*tag.add, *tag.drop)}
        if moved:
            self.runs.marked.clear()
            self.load_anew(self.runs.behind(self.query_one(Table).cursor, moved))
