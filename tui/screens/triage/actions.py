"""Sets the state of a regression (accepted, assigned, fixed, a note): has the words typed, sends it, undoes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from finetop.core.commands.shared.triage_state import own_name
from finetop.core.protocol.messages.triage import SetStanding, SetStandingAnswer, Standing, TriageRow
from finetop.core.text import clean_line
from finetop.tui.app_interface import Host, refusals_said
from finetop.tui.text import cut_middle
from finetop.tui.widgets.frame import Bottom

Say = Callable[[TriageRow, str, Standing], object]


def accept(bottom: Bottom, row: TriageRow, task: str, say: Say) -> None:
    """Have the reason typed for which a regression is accepted."""
    settled = partial(Standing, "accepted", own_name())
    _type(
        bottom, row, task, "reason for accepting?", lambda text: settled(reason=text), say, keep="accept it"
    )


def fixed(bottom: Bottom, row: TriageRow, task: str, say: Say) -> None:
    """Have the run named that fixes it."""
    settled = partial(Standing, "fixed", own_name())
    _type(
        bottom,
        row,
        task,
        "which run fixes it?",
        lambda text: settled(fixed_by=text),
        say,
        keep="mark as fixed",
    )


def note(bottom: Bottom, row: TriageRow, task: str, say: Say) -> None:
    """Have a note typed; how it is seen stays."""
    before = row.standings.get(task, Standing(by=own_name()))
    noted = partial(msgspec.structs.replace, before)
    _type(bottom, row, task, "note", lambda text: noted(note=text), say, keep="save", text=before.note)


def look(row: TriageRow, task: str, say: Say) -> None:
    """Assign it to the user; where it is already, to nobody."""
    seen = row.standings.get(task)
    is_own = seen is not None and seen.state == "looking" and seen.by == own_name()
    say(row, task, Standing("new" if is_own else "looking", own_name()))


def _type(
    bottom: Bottom,
    row: TriageRow,
    task: str,
    label: str,
    standing_of: Callable[[str], Standing],
    say: Say,
    *,
    keep: str,
    text: str = "",
) -> None:
    """Let a reason, a run or a note be typed, and say it of what was under the cursor then."""
    what = f"{clean_line(task)} of " if task else ""
    name = f"{what}{cut_middle(clean_line(row.name), 24)}"
    bottom.say_aside(())

    def done(typed: str, is_kept: bool) -> None:
        if is_kept and typed.strip():
            say(row, task, standing_of(typed.strip()))

    bottom.ask_text(f"{name}: {label}", text, done=done, keep=keep, leave="cancel")


async def said_of(host: Host, ask: SetStanding, undoing: list[SetStanding]) -> bool:
    """Tell it, and keep what undoes it; returns whether it was taken."""
    with refusals_said(host):
        answer: SetStandingAnswer = await host.ask(ask)
        undoing.append(SetStanding(ask.run, ask.task, answer.before))
        host.say(f"{answer.message}   u undoes it")
        return True
    return False


async def taken_back(host: Host, undoing: list[SetStanding]) -> bool:
    """Undo what was said last; returns whether something was."""
    if not undoing:
        host.say("nothing to undo.")
        return False
    with refusals_said(host):
        answer: SetStandingAnswer = await host.ask(undoing.pop())
        host.say(f"undone: {answer.message}")
        return True
    return False
