"""Sets the state of a regression (accepted, assigned, fixed, a note): has the words typed, sends it, undoes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from finetop.core.commands.shared.triage_state import own_name
from finetop.core.protocol.messages.triage import SetStanding, SetStandingAnswer, Standing, TriageRow
from finetop.core.text import clean_line
from finetop.tui.app_interface import Host, refusals_said
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


def accept(before: Standing) -> Typed:
    """Have the reason typed for which a regression is accepted."""
    settled = partial(Standing, "accepted", own_name())
    return Typed("reason for accepting?", "accept it", lambda text: settled(reason=text))


def fixed(before: Standing) -> Typed:
    """Have the run named that fixes it."""
    settled = partial(Standing, "fixed", own_name())
    return Typed("which run fixes it?", "mark as fixed", lambda text: settled(fixed_by=text))


def note(before: Standing) -> Typed:
    """Have a note typed; how it is seen stays."""
    return Typed("note", "save", lambda text: msgspec.structs.replace(before, note=text), before.note)


def look(row: TriageRow, task: str, say: Say) -> None:
    """Assign it to the user; where it is already, to nobody."""
    seen = row.standings.get(task)
    is_own = seen is not None and seen.state == "looking" and seen.by == own_name()
    say(row, task, Standing("new" if is_own else "looking", own_name()))


def ask(bottom: Bottom, row: TriageRow, task: str, typed_of: Callable[[Standing], Typed], say: Say) -> None:
    """Let a reason, a run or a note be typed, and say it of what was under the cursor then."""
    typed = typed_of(row.standings.get(task, Standing(by=own_name())))
    what = f"{clean_line(task)} of " if task else ""
    label = f"{what}{cut_middle(clean_line(row.name), 24)}: {typed.label}"
    bottom.say_aside(())

    def done(text: str, is_kept: bool) -> None:
        if is_kept and text.strip():
            say(row, task, typed.standing_of(text.strip()))

    bottom.ask_text(label, typed.text, done=done, keep=typed.keep, leave="cancel")


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
