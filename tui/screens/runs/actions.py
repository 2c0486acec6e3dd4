"""Does what was asked for, run by run, says in one line what came of it, and knows how it is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.notes import Note, NoteAnswer, Tag, TagAnswer
from finetop.core.protocol.messages.trash import RemoveAnswer, Restore
from finetop.core.protocol.request import Ask
from finetop.tui.screens.shared.run_actions import said
from finetop.tui.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.tui.app_interface import Host


@dataclass(frozen=True, slots=True)
class Undo:
    """How the last change that can be undone is: what is asked then, and in words what it was."""

    words: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answers, and the errors of those that were refused."""

    answers: tuple[Any, ...]
    errors: tuple[FinetopError, ...]

    @property
    def words(self) -> str:
        if not self.errors and (noted := _noted(self.answers)):
            return noted
        if len(self.answers) + len(self.errors) == 1:
            return str(self.errors[0]) if self.errors else said(self.answers[0])
        done = f"{len(self.answers)} of {len(self.answers) + len(self.errors)} done"
        if self.errors:
            more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            return f"{done}. {self.errors[0]}{more}"
        return f"{done}: {said(self.answers[0])} …"


def _noted(answers: Sequence[Any]) -> str:
    """Say what is noted now, where nothing but tags and notes was asked for."""
    if not all(isinstance(answer, TagAnswer | NoteAnswer) for answer in answers):
        return ""
    if len(runs := {answer.run for answer in answers}) > 1:
        return f"noted on {len(runs)} runs. u takes it back."
    words = []
    for answer in answers:
        if isinstance(answer, TagAnswer):
            words.append(" ".join(answer.tags) or "no tags")
        else:
            words.append(f'"{answer.note}"' if answer.note else "no note")
    return f"{', '.join(runs)}: {', '.join(words)}. u takes it back."


async def do(host: Host, asks: Sequence[Ask]) -> Outcome:
    """Ask one after the other; one that is refused keeps none of the others."""
    answers, errors = [], []
    for ask in asks:
        try:
            answers.append(await host.ask(ask))
        except FinetopError as error:
            errors.append(error)
    return Outcome(tuple(answers), tuple(errors))


def undo_of(outcome: Outcome) -> Undo | None:
    """Say how that is undone; None for what can't be."""
    asks: list[Ask] = []
    words = ""
    for answer in outcome.answers:
        match answer:
            case TagAnswer() if answer.added or answer.dropped:
                asks.append(Tag(answer.run, answer.dropped, answer.added))
                words = words or "tags"
            case NoteAnswer() if answer.note != answer.before:
                asks.append(Note(answer.run, answer.before))
                words = words or "the note"
            case RemoveAnswer():
                asks += [Restore(str(one.run_id)) for one in reversed(answer.runs)]
                words = f"the trash: {counted(len(answer.runs), 'run')}"
    return Undo(words, tuple(asks)) if asks else None
