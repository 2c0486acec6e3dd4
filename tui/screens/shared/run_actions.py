"""The keys for a run, wherever it is listed, what they ask of the supervisor, and how its answer is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.checks import CheckAnswer
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.messages.queue import Pause, Release, RetryAnswer
from finetop.core.protocol.messages.submit import ExportAnswer
from finetop.core.protocol.messages.trash import RemoveAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Queued, Running
from finetop.core.text import count
from finetop.tui.keys import Key

if TYPE_CHECKING:
    from finetop.core.protocol.runs import RunRow
    from finetop.tui.app_interface import Host


REMEDIES = Key("r", "r", "remedies", "remedies", "fix it without retraining", "finetop remedy RUN")
STOP = Key("S", "S", "stop", "stop", "stop after a checkpoint (asks)", "finetop stop RUN")
KILL = Key("K", "K", "kill", "kill", "kill at once (asks)", "finetop kill RUN")
PAUSE = Key("P", "P", "pause", "pause", "pause with a checkpoint, or let go on", "finetop pause RUN")
RETRY = Key("T", "T", "try again", "retry", "try again what failed, or was stopped", "finetop retry RUN")
NEW = Key("n", "n", "new run", "new", "new run from this one, prefilled", "finetop run RECIPE")
GO_ON = Key("", "P", "go on", "", "")  # in the footer, as what PAUSE does then


async def order(host: Host, ask: Ask) -> None:
    """Ask the supervisor to act on a run, and say what came of it."""
    try:
        answer = await host.ask(ask)
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(said(answer))


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
            what = f"goes on {where}" if answer.what == "train" else f"has its {answer.what} again"
            return f"{answer.run} {what}, {ordinal(answer.place)} in the queue."
        case RemoveAnswer():
            names = answer.runs[0].name if len(answer.runs) == 1 else f"{len(answer.runs)} runs"
            return f"{names} in the trash. u brings back what went last."
        case _:
            return str(answer.message)
