"""What is asked before a run is ended: the question names it and says what is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.runs import Queued, Running
from finetop.core.text import clean_line, counted
from finetop.tui.text import cut_middle
from finetop.tui.widgets.frame import Answer, Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.protocol.runs import RunDetail, RunRow
    from finetop.tui.line import Line

Order = Stop | Kill


def short_name(row: RunRow) -> str:
    """Name a run in a question: clean, and short enough for one row."""
    return cut_middle(clean_line(row.name), 32)


def can_end(row: RunRow) -> bool:
    """Say whether there is something to end: the run, or its check."""
    return isinstance(row.state, Running | Queued) or row.checking is not None


def stop_question(detail: RunDetail, do: Callable[[Order], object]) -> Question:
    """Ask before a run is stopped, leaves the queue, or its check ends."""
    row = detail.row
    name = short_name(row)
    stop, kill = Stop(row.name), Kill(row.name)
    if isinstance(row.state, Queued):
        words: Line = ((f" Take {name} out of the queue?", "bold"), (f"  {left_of(row)}", ""))
        return Question(words, (Answer("y", "take it out", lambda: _done(do, stop)),), "leave it there")
    if not isinstance(row.state, Running):
        words = (
            (f" End the check of {name}?", "bold"),
            ("  It will have no verdict; the run itself is done.", ""),
        )
        return Question(words, (Answer("y", "end the check", lambda: _done(do, stop)),), "let it go on")
    saves = f"It saves step {row.step:,} first." if row.step else "It has no step to save yet."
    words = ((f" Stop {name}?", "bold"), (f"  {saves}", ""))
    answers = (
        Answer("y", "stop", lambda: _done(do, stop)),
        Answer("K", "kill now, saves nothing", lambda: _done(do, kill)),
    )
    return Question(words, answers, "leave it running")


def left_of(row: RunRow) -> str:
    """Say what is left of a waiting run that is taken out of the queue."""
    return f"It stays as it is, at step {row.step:,}." if row.step else "Nothing of it has run yet."


def kill_question(detail: RunDetail, do: Callable[[Order], object]) -> Question:
    """Ask before a run is killed, with the steps that are lost."""
    row = detail.row
    if not isinstance(row.state, Running):
        return stop_question(detail, do)
    saved = max((checkpoint.step for checkpoint in detail.checkpoints), default=0)
    lost = counted(max(0, row.step - saved), "step")
    kept = f"step {saved:,} is saved" if saved else "nothing is saved"
    words: Line = ((f" Kill {short_name(row)}?", "bold"), (f"  {lost} lost: {kept}.", ""))
    answers = (
        Answer("y", "kill", lambda: _done(do, Kill(row.name))),
        Answer("S", "stop, saves first", lambda: _done(do, Stop(row.name))),
    )
    return Question(words, answers, "leave it running")


def _done(do: Callable[[Order], object], ask: Order) -> None:
    do(ask)
