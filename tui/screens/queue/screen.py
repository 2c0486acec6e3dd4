"""The Queue screen: who uses the GPUs, what runs, what waits and why; keys change the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult

from finetop.core.protocol.messages.queue import Hold, LiveRow, Pause, QueueRow, Release, Retry
from finetop.core.protocol.request import Ask
from finetop.core.text import clean_line, count
from finetop.core.wording.durations import clock, long_span
from finetop.core.wording.queue import QUEUE_HELD, priority_word, what_words, why
from finetop.tui.app_interface import host_of, show_refusals
from finetop.tui.keys import MATCH, MATCHES, Key, moves
from finetop.tui.save import Sheet
from finetop.tui.screens.queue.machine import free_words, machine_lines
from finetop.tui.screens.queue.row import DAY_S, entry_line, head_line, part_heading, progress, step_of
from finetop.tui.screens.queue.state import Change, Entry, QueueList, hold_change, move_change, with_priority
from finetop.tui.screens.shared.run_actions import ask_to_end, result_words
from finetop.tui.text import Line, cut_middle, paragraph, rule, spread
from finetop.tui.widgets.frame import Answer, Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines, set_height
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table

LOOK_S, FAR_LOOK_S = 2.0, 10.0  # between two readings of the GPUs: memory in use is not part of the store
REMEMBERED = 50  # changes that can be undone
FAR = 1_000_000  # more rows than a queue has
SOONER = Key(
    "left_square_bracket", "sooner", "shift_by(-1)", "start it sooner", "finetop queue before RUN OTHER"
)
LATER = Key(
    "right_square_bracket", "later", "shift_by(1)", "start it later", "finetop queue before RUN OTHER"
)
FIRST = Key("left_curly_bracket", "", "to_end(True)", "start it first", "finetop queue first RUN")
LAST = Key("right_curly_bracket", "", "to_end(False)", "start it last", "finetop queue last RUN")
HIGHER = Key(
    "plus,equals_sign", "priority", "prioritise(-1)", "a higher priority", "finetop queue priority RUN high"
)
LOWER = Key("minus", "", "prioritise(1)", "a lower priority", "finetop queue priority RUN low")
HOLD = Key("H", "hold", "hold", "hold it until released", "finetop queue hold RUN")
RELEASE = Key("R", "release", "release", "release it, or start its next try now", "finetop queue release RUN")
STOP = Key(
    "S", "remove", "stop", "remove it from the queue, or stop it if it runs (asks)", "finetop stop RUN"
)
PAUSE = Key("P", "pause", "pause", "pause with a checkpoint, or resume", "finetop pause RUN")
WHOLE = Key("W", "whole queue", "whole", "hold or release the whole queue (asks)", "finetop queue hold")
UNDO = Key("u", "undo", "undo", "undo the last change of order, priority or hold")
OPEN = Key("enter", "open", "open", "open the run", "finetop show RUN")
FILTER = Key("slash", "filter", "filter", "filter by name, kind, wants or reason")
BACK = Key("escape", "back", "back", "clear the filter, else back to Runs")
MOVES = moves()
KEYS = (
    *(SOONER, LATER, FIRST, LAST, HIGHER, LOWER, HOLD, RELEASE, PAUSE, STOP, WHOLE, UNDO, OPEN, FILTER, BACK),
    *(*MATCHES, *MOVES),
)
_ORDER = Key("", "sooner, later", sign="[ ]")
_STOP = Key("", "stop", sign="S")


class QueueScreen(ListScreen, inherit_bindings=False):
    """The GPUs, running and waiting jobs. The cursor stays on its job when the list changes."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Queue"
    LEAST_S: ClassVar = 2.0  # running jobs change the store all the time
    queues: QueueList

    def __init__(self) -> None:
        super().__init__()
        self._at: Entry | None = None  # the job under the cursor
        self._done: list[Change] = []

    def compose(self) -> ComposeResult:
        yield Top("Queue")
        yield Lines(id="state", box="top")
        yield Lines(id="machines", box="sides")
        yield Lines(id="head", box="sides")
        yield Table(self.draw_row, self.draw_heading, id="queue", box="low")
        yield Lines(id="empty", box="low")
        yield Lines(id="pane", box="whole")
        yield Bottom()

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def entry(self) -> Entry | None:
        cursor = self.query_one(Table).cursor
        return self.queues.entries[cursor] if cursor < len(self.queues.entries) else None

    async def to_save(self) -> Sheet:
        from finetop.tui.save.tables import queue

        return queue([(entry.name, entry.row) for entry in self.queues.entries])

    def to_copy(self) -> str:
        return "" if self.entry is None else self.entry.name

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        now = host_of(self).now()
        return entry_line(self.queues.entries[index], has_cursor=has_cursor, width=width, now=now)

    def draw_heading(self, index: int) -> str:
        entry, width = self.queues.entries[index], self.query_one("#state", Lines).room.width
        return part_heading(entry.heading(), entry, width)

    def redraw(self) -> None:
        queues, height = self.queues, self.size.height
        width = self.query_one("#state", Lines).room.width
        self.set_class(queues.is_known and not queues.entries, "-empty")
        self.query_one("#state", Lines).show((state_line(queues, width),))
        self.query_one("#head", Lines).show((head_line(width),))
        self.query_one("#empty", Lines).show(empty_lines(queues))
        machines = self.query_one("#machines", Lines)
        lines = machine_lines(queues.machines, width=width, rows=max(3, height // 2 - 3))
        set_height(machines, len(lines))
        machines.show(lines)
        # if the job has left the queue, the cursor stays in its place, on the neighbour
        place = queues.place_of(self._at) if self._at is not None else queues.first_waiting()
        self.query_one(Table).show(len(queues.entries), place)
        self._at = self.entry
        self.show_pane()

    def show_pane(self) -> None:
        entry, pane = self.entry, self.query_one("#pane", Lines)
        now = host_of(self).now()
        width, height = pane.room
        pane.show([] if entry is None else pane_lines(entry, width=width, height=height, now=now))
        keys = footer_keys(entry, can_undo=bool(self._done), is_filtered=bool(self.queues.filter))
        self.bottom.offer(next_lines(self.queues, entry) if self.queues.is_known else [], keys)

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        host = host_of(self)
        self.queues = self.listed = QueueList(host.homes, host.ask_on)
        is_far = any(home.link is not None for home in host.homes)
        self.set_interval(FAR_LOOK_S if is_far else LOOK_S, self.refresh_soon)

    def moved(self, index: int) -> None:
        self._at = self.entry
        self.show_pane()

    async def _load_list(self, run: str) -> bool:
        await self.queues.load()
        return True

    # --- keys -----------------------------------------------------------------------------------------

    def action_open(self) -> None:
        if self.entry is not None:
            host_of(self).open_run(self.entry.name)

    def action_shift_by(self, rows: int) -> None:
        self._move(rows)

    def action_to_end(self, first: bool) -> None:
        self._move(-FAR if first else FAR)

    def _move(self, rows: int) -> None:
        entry = self._waiting_entry()
        if entry is not None:
            change = move_change(entry, self.queues.line_of(entry), rows)
            self._change(change, f"{entry.row.run} is {'first' if rows < 0 else 'last'} already.")

    def action_prioritise(self, levels: int) -> None:
        entry = self._waiting_entry()
        if entry is not None:
            change = with_priority(entry, self.queues.line_of(entry), levels)
            most = "highest" if levels < 0 else "lowest"
            self._change(change, f"{entry.row.run} has the {most} priority already.")

    def action_hold(self) -> None:
        entry = self._waiting_entry()
        if entry is not None:
            self._change(hold_change(entry, hold=True))

    def action_release(self) -> None:
        entry = self._waiting_entry()
        if entry is None or entry.waits is None:
            return
        state = entry.waits.state
        if state.next_at is not None and not state.held:
            self._do(Retry(entry.name))
        else:
            self._change(hold_change(entry, hold=False))

    def action_pause(self) -> None:
        entry = self.entry
        if entry is None:
            return
        if entry.waits is not None:
            self._change(hold_change(entry, hold=not entry.waits.state.held))
        else:
            self._do(Pause(entry.name))

    @work
    async def action_stop(self) -> None:
        if self.entry is not None:
            await ask_to_end(self, self.entry.name, self._do)

    def action_whole(self) -> None:
        machine = self.queues.machine_of(self.entry)
        on = f" of {clean_line(machine.label)}" if machine.label else ""
        if machine.queue is not None and machine.queue.stopped == QUEUE_HELD:
            self._do(Release(), on_machine=True)
            return
        question: Line = ((f" Hold the whole queue{on}?", "bold"), ("  Running jobs continue.", ""))
        hold = Answer("y", "hold it", lambda: self._do(Hold(), on_machine=True))
        self.bottom.ask(question, [hold], leave="cancel")

    def action_undo(self) -> None:
        if not self._done:
            host_of(self).say("nothing to undo here.")
            return
        change = self._done.pop()
        self._do(*change.back, about=f"undone: {change.about}.")

    def action_back(self) -> None:
        if self.queues.filter:
            self.filter_by("")
        else:
            host_of(self).show_runs()

    def filter_by(self, text: str) -> None:
        self.queues.filter = text.strip()
        self.queues.lay_out()
        self.redraw()

    def _waiting_entry(self) -> Entry | None:
        """Return the job under the cursor; if it is not waiting, report that and return None."""
        entry = self.entry
        if entry is not None and entry.waits is None:
            host_of(self).say(f"{clean_line(entry.row.run)} is not waiting.")
            return None
        return entry

    def _change(self, change: Change | None, otherwise: str = "") -> None:
        if change is None:
            host_of(self).say(otherwise)
        else:
            self._do(change.ask, change=change)

    @work
    async def _do(
        self, *asks: Ask, change: Change | None = None, about: str = "", on_machine: bool = False
    ) -> None:
        host = host_of(self)
        home = self.queues.machine_of(self.entry).home
        with show_refusals(host):
            for request in asks:
                answer = await (host.ask_on(home, request) if on_machine else host.ask(request))
            if change is not None:
                self._done = [*self._done[1 - REMEMBERED :], change]
            host.say(about or result_words(answer))
            self.load_anew()


def footer_keys(entry: Entry | None, *, can_undo: bool, is_filtered: bool = False) -> tuple[Key, ...]:
    """Return the keys for what the cursor is on, the most used first."""
    undo = (*((MATCH,) if is_filtered else ()), *((UNDO,) if can_undo else ()))
    if entry is None:
        return (*undo, WHOLE, BACK)
    if entry.runs is not None:
        return (OPEN, PAUSE, _STOP, *undo, WHOLE, BACK)
    assert entry.waits is not None
    is_held = entry.waits.state.held or entry.waits.state.next_at is not None
    return (_ORDER, *undo, RELEASE if is_held else HOLD, STOP, OPEN, HIGHER, WHOLE, BACK)


# --- what is said around the list ------------------------------------------------------------------


def state_line(queues: QueueList, width: int) -> Line:
    """Return the queue's overall state: jobs waiting and running, and what stops new ones."""
    if not queues.is_known:
        return ((" loading …", "dim"),)
    waiting, running = queues.counts()
    line: Line = ((f" {count(waiting)} waiting", "bold" if waiting else "dim"),)
    line = (*line, (f"   {count(running)} running", ""))
    if stopped := queues.stopped():
        line = (*line, ("   nothing starts: ", ""), (stopped, "bold"))
    if queues.filter:
        shown = f" {cut_middle(clean_line(queues.filter), 20)}: {len(queues.entries)} match"
        return spread(line, (("/", "key"), (shown, "bold"), (" ", "")), width)
    free = free_words(queues.machines)
    return spread(line, ((free, "dim"), (" ", "")), width) if free else line


def pane_lines(entry: Entry, *, width: int, height: int, now: float) -> list[Line]:
    """Return the pane in `height` rows: a rule with the facts, then why the job waits and when it starts."""
    row = entry.row
    facts = [what_words(row.what, step_of(entry))]
    if isinstance(row, QueueRow):
        method = [] if row.method in facts else [clean_line(row.method)]
        facts = [*method, *facts, f"priority {priority_word(row.priority)}"]
    name = cut_middle(clean_line(entry.name), max(34, width // 3))
    lines: list[Line] = [rule(((name, "bold"),), width, ((", ".join(facts), "dim"), (" ", "")))]
    words = _live_words(row, now) if isinstance(row, LiveRow) else _waiting_words(row, now)
    for text in words:
        lines += paragraph(text, width, max(0, height - len(lines)))
    return lines[:height]


def _live_words(row: LiveRow, now: float) -> list[str]:
    on = f"on {row.on}, " if row.on else ""
    return [f"running {on}since {clock(row.state.since)}: {progress(row, now)}"]


def _waiting_words(row: QueueRow, now: float) -> list[str]:
    because = why(row.state, now)
    wants = f"wants {row.wants}" if row.wants and not because.startswith("wants") else ""
    words = ["; ".join(filter(None, (wants, because)))]
    if row.starts_at is not None:
        after = f", after {clean_line(row.after)}" if row.after else ""
        away = row.starts_at - now
        when = clock(row.starts_at) if away < DAY_S else f"in {long_span(away)}"
        words.append(f"starts about {when}{after}")
    elif row.do:
        words.append(f"to resume: {clean_line(row.do)}")
    elif not row.state.held:
        words.append("start time not known yet")
    return words


def empty_lines(queues: QueueList) -> list[Line]:
    """Return the text of an empty queue."""
    if queues.filter:
        return [(), ((f" Nothing in the queue matches {clean_line(queues.filter)}.", ""),)]
    return [
        (),
        ((f" The queue is empty{'' if queues.stopped() else ': a new run starts at once'}.", "bold"),),
        (),
        ((" Queued runs appear here (4 Launch, or finetop run RECIPE), and so do", ""),),
        ((" their checks.", ""),),
    ]


def next_lines(queues: QueueList, entry: Entry | None) -> list[Line]:
    """Return the next step for the job under the cursor."""
    if any(machine.queue is not None and machine.queue.stopped == QUEUE_HELD for machine in queues.machines):
        return [next_line("W", "release the queue")]
    if entry is None:
        return [next_line("esc", "clear the filter") if queues.filter else next_line("4", "launch a run")]
    if entry.waits is None:
        return [next_line("enter", "open the run")]
    return [_next(entry.waits, queues.line_of(entry))]


def _next(row: QueueRow, line: Sequence[QueueRow]) -> Line:
    if row.state.held:
        return next_line("R", "release it" if row.state.paused_at is None else "resume it")
    if row.state.next_at is not None:
        return next_line("R", "retry now")
    place = next((i for i, one in enumerate(line) if one.run_id == row.run_id), 0)
    behind = line[place + 1] if place + 1 < len(line) else None
    if behind is not None and behind.state.because.startswith(f"waits behind {row.run}, "):
        other = cut_middle(clean_line(behind.run), 30)
        return next_line("]", f"let {other} go first: nothing else holds it up")
    if place > 0:
        return next_line("[", f"start it before {cut_middle(clean_line(line[place - 1].run), 30)}")
    return next_line("enter", "open the run")
