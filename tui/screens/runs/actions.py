"""Does what was asked for, run by run, says in one line what came of it, and knows how it is undone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.notes import Note, NoteAnswer, Tag, TagAnswer
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.messages.trash import Remove, RemoveAnswer, Removed, Restore
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Queued, Running
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.units import size_word
from finetop.tui.screens.shared.run_actions import left_of, said, short_name
from finetop.tui.text import cut_middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import RunRow
    from finetop.tui.app_interface import Host
    from finetop.tui.text import Line


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
                asks += [Restore(str(run.run_id)) for run in reversed(answer.runs)]
                words = f"the trash: {counted(len(answer.runs), 'run')}"
    return Undo(words, tuple(asks)) if asks else None


async def queue_demo(host: Host) -> None:
    """Queue the demo's runs, whose recipes are built in, and say so."""
    from finetop.core.commands.demo import RECIPES
    from finetop.core.recipe.load import check_files, load_recipe

    try:
        for name in RECIPES:
            loaded = await asyncio.to_thread(load_recipe, name)
            check_files(loaded)
            await host.ask(Submit(loaded.resolved, loaded.text, loaded.recipe.name))
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(f"{len(RECIPES)} runs are queued; each is checked for forgetting at its end.")


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: its key, its word in the footer, and what is asked of the supervisor then."""

    key: str
    label: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question. With `number`, that is typed in place of a key, and the first choice is what is done."""

    words: Line
    choices: tuple[Choice, ...]
    leave: str
    number: int = 0


def stop(rows: Sequence[RunRow]) -> Prompt | str:
    """Ask before runs are stopped; say why where there is nothing to stop."""
    going = _going(rows)
    if len(going) != 1:
        return _several("Stop", "stop", "leave them running", [Stop(row.name) for row in going], rows)
    row = going[0]
    if isinstance(row.state, Queued):
        words: Line = ((f" Take {short_name(row)} out of the queue?", "bold"), (f"  {left_of(row)}", ""))
        return Prompt(words, (Choice("y", "take it out", (Stop(row.name),)),), "leave it there")
    saves = f"It saves step {count(row.step)} first." if row.step else "It has made no step yet."
    words = ((f" Stop {short_name(row)}?", "bold"), (f"  {saves}", ""))
    choices = (
        Choice("y", "stop", (Stop(row.name),)),
        Choice("K", "kill now, saves nothing", (Kill(row.name),)),
    )
    return Prompt(words, choices, "leave it running")


def kill(rows: Sequence[RunRow]) -> Prompt | str:
    """Ask before runs are killed; what only waits is taken out of the queue."""
    going = _going(rows)
    if len(going) != 1:
        return _several("Kill", "kill", "leave them running", [Kill(row.name) for row in going], rows)
    row = going[0]
    if isinstance(row.state, Queued):
        return stop(going)
    words: Line = ((f" Kill {short_name(row)}?", "bold"), ("  Steps since its last checkpoint are lost.", ""))
    choices = (
        Choice("y", "kill", (Kill(row.name),)),
        Choice("S", "stop, saves first", (Stop(row.name),)),
    )
    return Prompt(words, choices, "leave it running")


def trash(going: Sequence[Removed]) -> Prompt:
    """Ask before runs go to the trash; `going` is what the supervisor says would go."""
    size = size_word(sum(removed.size_bytes for removed in going))
    asks = (Remove([str(one.run_id) for one in going]),)
    if len(going) == 1:
        name = cut_middle(clean_line(going[0].name), 32)
        words: Line = ((f" Move {name} to the trash?", "bold"), (f"  {size}; u brings it back.", ""))
        return Prompt(words, (Choice("y", "to the trash", asks),), "leave it there")
    words = ((f"Move {len(going)} runs to the trash, {size}? Type {len(going)}:", ""),)
    return Prompt(words, (Choice("", "to the trash", asks),), "leave them there", len(going))


def _several(verb: str, label: str, leave: str, asks: Sequence[Ask], rows: Sequence[RunRow]) -> Prompt | str:
    if not asks:
        whose = f"{short_name(rows[0])} has" if len(rows) == 1 else f"all {len(rows)} have"
        return f"{whose} ended: nothing to {label}."
    others = len(rows) - len(asks)
    ended = f" ({counted(others, 'other')} {'has' if others == 1 else 'have'} ended)" if others else ""
    words = f"{verb} {len(asks)} runs{ended}? Type {len(asks)}:"
    return Prompt(((words, ""),), (Choice("", label, tuple(asks)),), leave, len(asks))


def _going(rows: Sequence[RunRow]) -> list[RunRow]:
    return [row for row in rows if isinstance(row.state, Running | Queued)]
