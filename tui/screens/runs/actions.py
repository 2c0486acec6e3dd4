"""Sends requests about runs one by one, summarises the results in one line, and records how to undo them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.notes import Note, NoteAnswer, Tag, TagAnswer
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.messages.trash import Remove, RemoveAnswer, Removed, Restore
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import RunRow
from finetop.core.protocol.tags import SEEN
from finetop.core.text import clean_line, counted
from finetop.core.wording.endings import trash_confirmation
from finetop.core.wording.units import size_word
from finetop.tui.app_interface import Host, show_refusals
from finetop.tui.screens.shared.run_actions import is_unseen, result_words, short_name
from finetop.tui.text import Line, cut_middle
from finetop.tui.widgets.frame import Answer, Question

MOST_SEEN = 500  # most failures marked as seen at once
DEMO_MIN, DEMO_GB = 5, 0.3  # minutes on a quiet machine; gigabytes of the model on the hub


@dataclass(frozen=True, slots=True)
class Undo:
    """How to undo the last change: a short description, and the requests."""

    words: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answers, and the errors of refused requests."""

    answers: tuple[Any, ...]
    errors: tuple[FinetopError, ...]

    @property
    def words(self) -> str:
        if not self.errors and (noted := _noted_words(self.answers)):
            return noted
        if len(self.answers) + len(self.errors) == 1:
            return str(self.errors[0]) if self.errors else result_words(self.answers[0])
        done = f"{len(self.answers)} of {len(self.answers) + len(self.errors)} done"
        if self.errors:
            more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            return f"{done}. {self.errors[0]}{more}"
        return f"{done}: {result_words(self.answers[0])} …"


def _noted_words(answers: Sequence[Any]) -> str:
    """Return the runs' new tags and notes; empty if there were other requests too."""
    if not all(isinstance(answer, TagAnswer | NoteAnswer) for answer in answers):
        return ""
    if all(isinstance(answer, TagAnswer) and answer.added == [SEEN] for answer in answers):
        marked = answers[0].run if len(answers) == 1 else f"{len(answers)} runs"
        return f"{marked} marked as seen. u undoes it."
    if len(runs := {answer.run for answer in answers}) > 1:
        return f"noted on {len(runs)} runs. u undoes it."
    changes = []
    for answer in answers:
        if isinstance(answer, TagAnswer):
            changes.append(" ".join(answer.tags) or "no tags")
        else:
            changes.append(f'"{answer.note}"' if answer.note else "no note")
    return f"{', '.join(runs)}: {', '.join(changes)}. u undoes it."


async def send_all(host: Host, asks: Sequence[Ask]) -> Outcome:
    """Send the requests one by one; a refused one does not stop the others."""
    answers, errors = [], []
    for request in asks:
        try:
            answers.append(await host.ask(request))
        except FinetopError as error:
            errors.append(error)
    return Outcome(tuple(answers), tuple(errors))


def undo_of(outcome: Outcome) -> Undo | None:
    """Return how to undo an outcome, or None if it can't be undone."""
    asks: list[Ask] = []
    subject = ""
    for answer in outcome.answers:
        match answer:
            case TagAnswer() if answer.added or answer.dropped:
                asks.append(Tag(answer.run, answer.dropped, answer.added))
                subject = subject or "tags"
            case NoteAnswer() if answer.note != answer.before:
                asks.append(Note(answer.run, answer.before))
                subject = subject or "the note"
            case RemoveAnswer():
                asks += [Restore(str(run.run_id)) for run in reversed(answer.runs)]
                subject = f"the trash: {counted(len(answer.runs), 'run')}"
    return Undo(subject, tuple(asks)) if asks else None


async def demo_question(host: Host) -> Line:
    """Return the question before the demo's two runs are queued, with their cost."""
    cost = f"  About {DEMO_MIN} min on 2 CPU cores{await asyncio.to_thread(_to_download, host)}."
    return ((" Train and check two demo runs?", "bold"), (cost, ""))


def _to_download(host: Host) -> str:
    """Return the demo's download size, or nothing if the model is here. Reads files: run it in a thread."""
    from finetop.core.models import demo_model

    home = host.homes[0]
    return "" if home.link is not None or demo_model.is_here(home) else f"; downloads {DEMO_GB} GB"


async def queue_demo(host: Host) -> str:
    """Queue the demo's built-in recipes and report it; return the first run's name."""
    from finetop.core.features.demo.commands.demo import RECIPES
    from finetop.core.recipe.load import check_files, load_recipe

    names: list[str] = []
    with show_refusals(host):
        for name in RECIPES:
            loaded = await asyncio.to_thread(load_recipe, name)
            check_files(loaded)
            run = await host.ask(Submit(loaded.resolved, loaded.text, loaded.recipe.name))
            names.append(run.name)
        host.say(f"{len(RECIPES)} runs queued; each is checked for forgetting at its end.")
    return next(iter(names), "")


@dataclass(frozen=True, slots=True)
class CountQuestion:
    """A question about several runs, answered by typing their number; then `asks` are sent."""

    words: str
    number: int
    asks: tuple[Ask, ...]
    keep: str
    leave: str


Do = Callable[[Sequence[Ask]], object]


async def unseen_failures(host: Host) -> list[RunRow]:
    """Return the failed and lost runs that are not marked as seen. Raises FinetopError."""
    rows: list[RunRow] = []
    for state in ("failed", "lost"):
        answer: RunsAnswer = await host.ask(Runs(f"state:{state} -tag={SEEN}", "newest", 0, MOST_SEEN))
        rows += answer.rows
    return rows


def seen_question(chosen: Sequence[RunRow], unseen_rows: Sequence[RunRow], do: Do) -> Question | str:
    """Return the question which failures to mark as seen: the chosen ones or all; or why there are none."""

    def answer(key: str, label: str, rows: Sequence[RunRow]) -> Answer:
        asks = [Tag(row.name, [SEEN]) for row in rows]
        return Answer(key, label, lambda: do(asks))

    new = [row for row in chosen if is_unseen(row)]
    if not new and not unseen_rows:
        return "nothing to mark: all failed and lost runs are seen."
    new_words = short_name(new[0]) if len(new) == 1 else counted(len(new), "run")
    all_of_them = f"all {len(unseen_rows)} failed or lost runs"
    answers = [answer("y", f"mark {'it' if len(new) == 1 else 'them'}", new)] if new else []
    if len(unseen_rows) > len(new):
        answers.append(answer("a" if new else "y", f"mark all {len(unseen_rows)}", unseen_rows))
    question: Line = ((f" Mark {new_words if new else all_of_them} as seen?", "bold"), ("  u undoes it.", ""))
    return Question(question, tuple(answers), "cancel")


def several_question(verb: Literal["Stop", "Kill"], rows: Sequence[RunRow]) -> CountQuestion | str:
    """Return the question before several runs are stopped or killed; or why none can be."""
    order = Stop if verb == "Stop" else Kill
    asks = [order(row.name) for row in under_way(rows)]
    if not asks:
        whose = f"{short_name(rows[0])} has" if len(rows) == 1 else f"all {len(rows)} have"
        return f"{whose} ended: nothing to {verb.lower()}."
    others = len(rows) - len(asks)
    ended = f" ({counted(others, 'other')} {'has' if others == 1 else 'have'} ended)" if others else ""
    prompt = f"{verb} {len(asks)} runs{ended}? Type {len(asks)}:"
    return CountQuestion(prompt, len(asks), tuple(asks), verb.lower(), "keep them running")


def under_way(rows: Sequence[RunRow]) -> list[RunRow]:
    """Return the runs with a running or queued job."""
    return [row for row in rows if row.is_under_way]


def trash_question(going: Sequence[Removed], do: Do) -> Question | CountQuestion:
    """Return the question before runs are moved to the trash; `going` are the runs the supervisor would move."""
    size = size_word(sum(removed.size_bytes for removed in going))
    asks = (Remove([str(removed.run_id) for removed in going]),)
    asking = trash_confirmation([cut_middle(clean_line(removed.name), 32) for removed in going], size)
    if len(going) == 1:
        question: Line = ((f" {asking.question}", "bold"), (f"  {asking.effect}; u brings it back.", ""))
        return Question(question, (Answer("y", "move to trash", lambda: do(asks)),), "keep it")
    text = f"{asking}. Type {len(going)}:"
    return CountQuestion(text, len(going), asks, "move to trash", "keep them")
