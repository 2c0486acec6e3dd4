"""The keys for a run, wherever it is listed, what is asked before one ends, and how the answer to an order is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from finetop.core.protocol.messages.checks import CheckAnswer
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.messages.queue import Kill, Pause, Release, RetryAnswer, Stop
from finetop.core.protocol.messages.remedies import RemedyAnswer
from finetop.core.protocol.messages.submit import ExportAnswer
from finetop.core.protocol.messages.trash import RemoveAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Failed, Lost, RunDetail, Running, RunRow, SideJob
from finetop.core.protocol.tags import SEEN
from finetop.core.text import clean_line, count, counted
from finetop.core.wording import jobs
from finetop.core.wording.next_step import is_held
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


def is_unseen(row: RunRow) -> bool:
    """Return whether a run failed or was lost, and nobody has marked that as seen."""
    return row.needs_you and isinstance(row.state, Failed | Lost) and SEEN not in row.tags


def pause_or_go_on(row: RunRow) -> Pause | Release | None:
    """Pause what runs or waits, and let go on what is paused or held; None for a run that has ended."""
    if is_held(row):
        return Release(row.name)
    return Pause(row.name) if row.is_under_way else None


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


def stop_question(
    row: RunRow, do: Callable[[Order], object], unsaved: str = "It has no step to save yet."
) -> Question:
    """Ask before what is under way of a run is stopped, or leaves the queue: it names all that ends, and what stays."""
    ends = jobs.under_way(row)
    saves = f"It saves step {count(row.step)} first." if row.step else unsaved
    question = end_question(
        short_name(row), ends, lambda: do(Stop(row.name)), saves=saves, never_ran=left_of(row)
    )
    if not any(job.verb == "train" and isinstance(job.state, Running) for job in ends):
        return question
    kill = Answer("K", "kill now, saves nothing", lambda: do(Kill(row.name)))
    return replace(question, answers=(*question.answers, kill))


def end_question(
    name: str, ends: Sequence[SideJob], stop: Callable[[], object], *, saves: str, never_ran: str
) -> Question:
    """Ask before jobs of a run end: what a training saves or has not begun, else what stays of the others."""
    named, left = jobs.named(name, ends), jobs.kept(ends)
    trains = [job.state for job in ends if job.verb == "train"]
    if not any(isinstance(job.state, Running) for job in ends):
        words: Line = (
            (f" Take {named} out of the queue?", "bold"),
            (f"  {never_ran if trains else left}", ""),
        )
        return Question(words, (Answer("y", "take it out", stop),), "leave it there")
    if any(isinstance(state, Running) for state in trains):
        left = saves
    words = ((f" Stop {named}?", "bold"), (f"  {left}", ""))
    return Question(words, (Answer("y", "stop", stop),), "leave it running")


def left_of(row: RunRow) -> str:
    """Say what is left of a waiting run that is taken out of the queue."""
    return f"It stays as it is, at step {count(row.step)}." if row.step else "Nothing of it has run yet."


def kill_question(row: RunRow, do: Callable[[Order], object], lost: str) -> Question:
    """Ask before a run is killed, with what is lost in words; what only waits is asked about as for a stop."""
    ends = jobs.under_way(row)
    if not any(isinstance(job.state, Running) for job in ends):
        return stop_question(row, do)
    if not any(job.verb == "train" for job in ends):
        lost = jobs.kept(ends)
    words: Line = ((f" Kill {jobs.named(short_name(row), ends)}?", "bold"), (f"  {lost}", ""))
    saves = ", saves first" if row.made_by == "train" and isinstance(row.state, Running) else ""
    stop = Answer("S", f"stop{saves}", lambda: do(Stop(row.name)))
    return Question(words, (Answer("y", "kill", lambda: do(Kill(row.name))), stop), "leave it running")


def lost_steps(detail: RunDetail) -> str:
    """Say how many steps are lost if a run is killed."""
    saved = max((checkpoint.step for checkpoint in detail.checkpoints), default=0)
    kept = f"step {count(saved)} is saved" if saved else "nothing is saved"
    return f"{counted(max(0, detail.row.step - saved), 'step')} lost: {kept}."
