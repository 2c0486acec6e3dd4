"""Sets the state of a regression (accepted, assigned, fixed, a note): asks for a text, sends it, undoes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from finetop.core.commands.shared.triage_state import own_name
from finetop.core.protocol.messages.triage import SetStanding, SetStandingAnswer, Standing, TriageRow
from finetop.core.text import clean_line
from finetop.tui.app_interface import Host, show_refusals
from finetop.tui.text import cut_middle
from finetop.tui.widgets.frame import Bottom

Say = Callable[[TriageRow, str, Standing], object]


@dataclass(frozen=True, slots=True)
class Typed:
    """A typed text that changes how a regression stands: its label, what enter does, and the new standing."""

    label: str
    keep: str
    standing_of: Callable[[str], Standing]
    text: str = ""


def ask_acceptance(before: Standing) -> Typed:
    """Ask for the reason for accepting a regression."""
    settled = partial(Standing, "accepted", own_name())
    return Typed("reason for accepting?", "accept it", lambda text: settled(reason=text))


def ask_fix(before: Standing) -> Typed:
    """Ask for the run that fixes a regression."""
    settled = partial(Standing, "fixed", own_name())
    return Typed("which run fixes it?", "mark as fixed", lambda text: settled(fixed_by=text))


def ask_note(before: Standing) -> Typed:
    """Ask for a note; the regression's state stays."""
    return Typed("note", "save", lambda text: msgspec.structs.replace(before, note=text), before.note)


def assign(row: TriageRow, task: str, say: Say) -> None:
    """Assign a regression to the user, or unassign it if it is theirs."""
    seen = row.standings.get(task)
    is_own = seen is not None and seen.state == "looking" and seen.by == own_name()
    say(row, task, Standing("new" if is_own else "looking", own_name()))


def ask(bottom: Bottom, row: TriageRow, task: str, typed_of: Callable[[Standing], Typed], say: Say) -> None:
    """Ask for a reason, run or note, and set it on the regression that was under the cursor."""
    typed = typed_of(row.standings.get(task, Standing(by=own_name())))
    what = f"{clean_line(task)} of " if task else ""
    label = f"{what}{cut_middle(clean_line(row.name), 24)}: {typed.label}"
    bottom.say_aside(())

    def done(text: str, is_kept: bool) -> None:
        if is_kept and text.strip():
            say(row, task, typed.standing_of(text.strip()))

    bottom.ask_text(label, typed.text, done=done, keep=typed.keep, leave="cancel")


async def send_standing(host: Host, request: SetStanding, undoing: list[SetStanding]) -> bool:
    """Send a change of state and record its undo; return False if it was refused."""
    with show_refusals(host):
        answer: SetStandingAnswer = await host.ask(request)
        undoing.append(SetStanding(request.run, request.task, answer.before))
        host.say(f"{answer.message}   u undoes it")
        return True
    return False


async def undo_standing(host: Host, undoing: list[SetStanding]) -> bool:
    """Undo the last change of state; return whether there was one."""
    if not undoing:
        host.say("nothing to undo.")
        return False
    with show_refusals(host):
        answer: SetStandingAnswer = await host.ask(undoing.pop())
        host.say(f"undone: {answer.message}")
        return True
    return False
