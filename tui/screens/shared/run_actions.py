"""The keys for a run, wherever it is listed, what is asked before one ends, and how the answer to an order is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetop.core.protocol.messages.checks import CheckAnswer
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.messages.queue import Kill, Pause, Release, RetryAnswer, Stop
from finetop.core.protocol.messages.remedies import RemedyAnswer
from finetop.core.protocol.messages.submit import ExportAnswer
from finetop.core.protocol.messages.trash import RemoveAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Queued, RunDetail, Running, RunRow
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.endings import Asking, kill_asking, stop_asking
from finetop.tui.app_interface import Host, refusals_said
from finetop.tui.keys import Key
from finetop.tui.text import Line, cut_middle
from finetop.tui.widgets.frame import Answer, Question

REMEDIES = Key("r", "remedies", "remedies", "fix it without retraining", "finetop remedy RUN")
STOP = Key("S", "stop", "stop", "stop after a checkpoint (asks)", "finetop stop RUN")
KILL = Key("K", "kill", "kill", "kill at once (asks)", "finetop kill RUN")
PAUSE = Key("P", "pause", "pause", "pause with a checkpoint, or resume", "finetop pause RUN")
RETRY = Key("T", "retry", "retry", "retry what failed, or was stopped", "finetop retry RUN")
NEW = Key("n", "new run", "new", "new run from this one, prefilled", "finetop run RECIPE")
GO_ON = Key("", "resume", sign="P")  # in the footer, as what PAUSE does then
Order = Stop | Kill


async def order(host: Host, ask: Ask) -> bool:
    """Ask the supervisor to act on a run, and say what came of it; returns whether it was not refused."""
    with refusals_said(host):
        host.say(said(await host.ask(ask)))
        return True
    return False


def can_go_on(row: RunRow) -> bool:
    """Say whether a run waits for nobody but a person: it is paused, or held."""
    return isinstance(row.state, Queued) and (row.state.held or row.state.paused_at is not None)


def pause_or_go_on(row: RunRow) -> Pause | Release | None:
    """Pause what runs or waits, and let go on what is paused or held; None for a run that has ended."""
    if can_go_on(row):
        return Release(row.name)
    if isinstance(row.state, Running | Queued) or row.checking is not None:
        return Pause(row.name)
    return None


def said(answer: Any) -> str:
    """Say what came of an order, in the words of the command that gives it."""
    match answer:
        case CheckAnswer():
            step = f" at step {count(answer.step)}" if answer.step else ""
            return f"a check of {answer.run}{step} is queued."
        case ExportAnswer():
            return f"an export of {answer.run} is queued; it is verified when it is written."
        case RetryAnswer():
            where = f"from step {count(answer.step)}" if answer.step else "from its beginning"
            what = f"resumes {where}" if answer.what == "train" else f"has its {answer.what} again"
            return f"{answer.run} {what}, {ordinal(answer.place)} in the queue."
        case RemedyAnswer():
            return f"{counted(len(answer.names), 'remedy', 'remedies')} queued for {answer.run}."
        case RemoveAnswer():
            names = answer.runs[0].name if len(answer.runs) == 1 else f"{len(answer.runs)} runs"
            return f"{names} in the trash. u brings back what went last."
        case _:
            return str(answer.message)


def short_name(row: RunRow) -> str:
    """Name a run in a question: clean, and short enough for one row."""
    return cut_middle(clean_line(row.name), 32)


def stop_question(detail: RunDetail, do: Callable[[Order], object]) -> Question:
    """Ask before a run is stopped, leaves the queue, or its check ends."""
    row = detail.row
    words, stop = _words(stop_asking(detail, short_name(row))), Stop(row.name)
    if isinstance(row.state, Queued) or (
        isinstance(row.checking, Queued) and not isinstance(row.state, Running)
    ):
        return Question(words, (Answer("y", "take it out", lambda: do(stop)),), "leave it there")
    if not isinstance(row.state, Running):
        return Question(words, (Answer("y", "end the check", lambda: do(stop)),), "keep it running")
    kill = Answer("K", "kill now, saves nothing", lambda: do(Kill(row.name)))
    return Question(words, (Answer("y", "stop", lambda: do(stop)), kill), "leave it running")


def kill_question(detail: RunDetail, do: Callable[[Order], object]) -> Question:
    """Ask before a run is killed, with what is lost; what does not run is asked about as for a stop."""
    row = detail.row
    if not isinstance(row.state, Running):
        return stop_question(detail, do)
    stop = Answer("S", "stop, saves first", lambda: do(Stop(row.name)))
    answers = (Answer("y", "kill", lambda: do(Kill(row.name))), stop)
    return Question(_words(kill_asking(detail, short_name(row))), answers, "leave it running")


def _words(asking: Asking) -> Line:
    return ((f" {asking.question}", "bold"), (f"  {asking.effect}", ""))
