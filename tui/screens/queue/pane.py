"""What the Queue screen says around its list: how the whole stands, the job under the cursor, what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.protocol.messages.queue import LiveRow, QueueRow
from finetop.core.text import clean_line, count
from finetop.core.wording.durations import clock, long_span
from finetop.core.wording.queue import QUEUE_HELD, priority_word, what_words, why
from finetop.tui.screens.queue.machine import free_words
from finetop.tui.screens.queue.row import DAY_S, progress, step_of
from finetop.tui.screens.queue.state import Entry, QueueList
from finetop.tui.text import Line, cut_middle, paragraph, rule, spread
from finetop.tui.widgets.frame import next_line


def state_line(queues: QueueList, width: int) -> Line:
    """Say how the whole stands: how many wait and run, and whether anything starts."""
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
    """Write the pane in `height` rows: a rule with the facts, then why and when."""
    row = entry.row
    facts = [what_words(row.what, step_of(entry))]
    if isinstance(row, QueueRow):
        facts = [clean_line(row.method), *facts, f"priority {priority_word(row.priority)}"]
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
    """Say why nothing is listed."""
    if queues.filter:
        return [(), ((f" Nothing in the queue matches {clean_line(queues.filter)}.", ""),)]
    return [
        (),
        (
            (
                f" The queue is empty{'' if queues.stopped() else ': a new run starts at once'}.",
                "bold",
            ),
        ),
        (),
        ((" Queued runs appear here (4 Launch, or finetop run RECIPE), and so do", ""),),
        ((" their checks.", ""),),
    ]


def next_lines(queues: QueueList, entry: Entry | None) -> list[Line]:
    """Say what to do next with the job under the cursor."""
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
        return next_line(
            "]", f"let {cut_middle(clean_line(behind.run), 30)} go first: nothing else holds it up"
        )
    if place > 0:
        return next_line("[", f"start it before {cut_middle(clean_line(line[place - 1].run), 30)}")
    return next_line("enter", "open the run")
