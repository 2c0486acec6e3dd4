"""The keys for a run on any screen, the questions before one ends, and the replies to requests in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetop.core.features.export.messages import ExportAnswer
from finetop.core.features.remedies.messages import RemedyAnswer
from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.checks import CheckAnswer
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.messages.queue import Kill, Pause, Release, RetryAnswer, Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.trash import RemoveAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Failed, Lost, RunDetail, Running, RunRow
from finetop.core.protocol.tags import SEEN
from finetop.core.text import clean_line, count, counted
from finetop.core.wording import jobs
from finetop.core.wording.endings import Confirmation, kill_confirmation, stop_confirmation
from finetop.core.wording.next_step import is_held
from finetop.tui.app_interface import Host, host_of, show_refusals
from finetop.tui.keys import Key
from finetop.tui.text import Line, cut_middle
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Answer, Question

REMEDIES = Key("r", "remedies", "remedies", "fix it without retraining", "finetop remedy RUN")
CHAT = Key("C", "chat", "chat", "chat with it, side by side with its base", "finetop chat RUN")
STOP = Key("S", "stop", "stop", "stop after a checkpoint (asks)", "finetop stop RUN")
KILL = Key("K", "kill", "kill", "kill at once (asks)", "finetop kill RUN")
PAUSE = Key("P", "pause", "pause", "pause with a checkpoint, or resume", "finetop pause RUN")
RETRY = Key("T", "retry", "retry", "retry a failed or stopped run", "finetop retry RUN")
NEW = Key("n", "new run", "new", "new run from this one, prefilled", "finetop run RECIPE")
GO_ON = Key("", "resume", sign="P")  # shown in the footer for PAUSE while paused
Order = Stop | Kill
Do = Callable[[Order], object]
QuestionOf = Callable[[RunDetail, Do], Question]


async def send(host: Host, request: Ask) -> bool:
    """Send a request about a run and report the result; return False if it was refused."""
    with show_refusals(host):
        host.say(result_words(await host.ask(request)))
        return True
    return False


def is_unseen(row: RunRow) -> bool:
    """Return True if a run failed or was lost and is not marked as seen."""
    return row.needs_you and isinstance(row.state, Failed | Lost) and SEEN not in row.tags


def pause_or_go_on(row: RunRow) -> Pause | Release | None:
    """Return the request that pauses a run, or resumes a held one; None if it has ended."""
    if is_held(row):
        return Release(row.name)
    return Pause(row.name) if row.is_under_way else None


def result_words(answer: Any) -> str:
    """Return the result of a request in the words of its command."""
    match answer:
        case CheckAnswer():
            step = f" at step {count(answer.step)}" if answer.step else ""
            return f"check of {answer.run}{step} queued."
        case ExportAnswer():
            return f"export of {answer.run} queued; it is verified once written."
        case RetryAnswer():
            how = job_kinds.of(answer.what).resumes(answer.step)
            return f"{answer.run} {how}, {ordinal(answer.place)} in the queue."
        case RemedyAnswer():
            return f"{counted(len(answer.names), 'remedy', 'remedies')} queued for {answer.run}."
        case RemoveAnswer():
            names = answer.runs[0].name if len(answer.runs) == 1 else f"{len(answer.runs)} runs"
            return f"{names} moved to the trash. u undoes it."
        case _:
            return str(answer.message)


def short_name(row: RunRow) -> str:
    """Return a run's name for a question: clean, and short enough for one row."""
    return cut_middle(clean_line(row.name), 32)


def stop_question(detail: RunDetail, do: Do) -> Question:
    """Return the question before a run is stopped or leaves the queue."""
    row = detail.row
    ends = [job for job in jobs.under_way(row) if isinstance(job.state, Running)]
    spans, stop = _words(stop_confirmation(detail, short_name(row))), Stop(row.name)
    if not ends:
        return Question(spans, (Answer("y", "remove it", lambda: do(stop)),), "keep it")
    answers: tuple[Answer, ...] = (Answer("y", "stop", lambda: do(stop)),)
    if any(job.kind.takes_budget for job in ends):
        kill = "kill now, saves nothing" if row.maker.trains_here else "kill now"
        answers = (*answers, Answer("K", kill, lambda: do(Kill(row.name))))
    return Question(spans, answers, "keep it running")


def kill_question(detail: RunDetail, do: Do) -> Question:
    """Return the question before a run is killed; for a queued or watched run, the one before a stop."""
    row = detail.row
    if row.maker.only_watches or not any(isinstance(job.state, Running) for job in jobs.under_way(row)):
        return stop_question(detail, do)
    saves = ", saves first" if row.maker.trains_here and isinstance(row.state, Running) else ""
    stop = Answer("S", f"stop{saves}", lambda: do(Stop(row.name)))
    answers = (Answer("y", "kill", lambda: do(Kill(row.name))), stop)
    return Question(_words(kill_confirmation(detail, short_name(row))), answers, "keep it running")


async def ask_to_end(
    screen: AppScreen[Any], run: str, do: Do, question_of: QuestionOf = stop_question
) -> None:
    """Ask before a run's jobs are stopped or killed, naming what is saved or lost."""
    host = host_of(screen)
    with show_refusals(host):
        detail: RunDetail = await host.ask(GetRun(run))
        if detail.row.is_under_way and screen.is_free:
            screen.put(question_of(detail, do))


def _words(asking: Confirmation) -> Line:
    return ((f" {asking.question}", "bold"), (f"  {asking.effect}", ""))
