"""Tells the supervisor how a regression is seen (accepted, looked at, fixed, a note), and takes that back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core import protocol
from finetop.core.errors import FinetopError

if TYPE_CHECKING:
    from finetop.tui.host import Host


async def said_of(host: Host, ask: protocol.SetStanding, undoing: list[protocol.SetStanding]) -> bool:
    """Tell it, and keep what undoes it; give whether it was taken."""
    try:
        answer: protocol.SetStandingAnswer = await host.ask(ask)
    except FinetopError as error:
        host.say(str(error), "red")
        return False
    undoing.append(protocol.SetStanding(ask.run, ask.task, answer.before))
    host.say(f"{answer.message}   u takes it back")
    return True


async def taken_back(host: Host, undoing: list[protocol.SetStanding]) -> bool:
    """Undo what was said last; give whether something was."""
    if not undoing:
        host.say("nothing was said here that could be taken back.")
        return False
    try:
        answer: protocol.SetStandingAnswer = await host.ask(undoing.pop())
    except FinetopError as error:
        host.say(str(error), "red")
        return False
    host.say(f"taken back: {answer.message}")
    return True
