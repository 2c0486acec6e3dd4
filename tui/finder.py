"""Finds what : opens: commands, runs, tasks, recipes, metrics and themes by name, lost items by their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice

from finetop.core.errors import FinetopError
from finetop.core.features.triage.messages import LostItems, LostItemsAnswer, Triage, TriageAnswer
from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.runs import RunRow
from finetop.core.recipe.find import list_builtin
from finetop.core.text import clean_line
from finetop.tui.app_interface import Host
from finetop.tui.keys import Key
from finetop.tui.palette import THEME_ABOUT, THEMES
from finetop.tui.screens.shared.run_status import forgot

MOST, ROWS = 8, 50  # shown per kind; newest runs whose metrics and tasks are known
REGRESSED, SHORTEST = 2, 3  # runs, the worst first, whose items are searched; letters needed for that
_OTHER_NAMES = {"leave": ("quit", "exit")}
_SCREENS = ("place", "live", "help", "messages")
_WORD = re.compile(r"[^\W_]+")
_IN_A_WORD = 4  # rank of a match inside a word; one more if only its letters match, in their order


@dataclass(frozen=True, slots=True)
class Match:
    """One match: its name, kind, a few words about it, and what opens it."""

    name: str
    kind: str
    about: str
    open: Callable[[], object]


def command_names(key: Key) -> tuple[str, ...]:
    """Return a command's names, the displayed one first: `runs`, `sort by`, `quit`."""
    name, _, argument = key.action.partition("(")
    if name == "place":
        return (argument.strip("')"),)
    return (*_OTHER_NAMES.get(name, ()), name.replace("_", " "))


def kind_of(thing: Key | Match) -> str:
    """Return the kind of a thing in one word: command, screen, run, recipe …"""
    if isinstance(thing, Match):
        return thing.kind
    return "screen" if thing.action.partition("(")[0] in _SCREENS else "command"


def ranked(text: str, commands: Sequence[Key], others: Sequence[Match] = ()) -> list[Key | Match]:
    """Return the commands and other things that match a text, best match first, commands before the rest."""
    ranks: list[tuple[int, Key | Match]] = []
    for key in commands:
        signs = {key.shown} if len(key.shown) == 1 and key.keys else set()
        fit = 0 if text in signs else _fit(text, command_names(key), key.about)
        ranks += [(fit, key)] if fit is not None else []
    for thing in others:
        fit = _fit(text, (thing.name,), "")
        ranks.append((_IN_A_WORD if fit is None or thing.kind == "item" else fit, thing))
    return [thing for _, thing in sorted(ranks, key=lambda pair: (pair[0], isinstance(pair[1], Match)))]


def _fit(text: str, names: Sequence[str], about: str) -> int | None:
    """Return the rank of a match: 0 the name, 1 its beginning, 2 and 3 words of name and about, …; None: no match."""
    text = " ".join(text.lower().split())
    names, about = [name.lower() for name in names], about.lower()
    if text in names:
        return 0
    if any(name.startswith(text) for name in names):
        return 1
    for fit, within in ((2, " ".join(names)), (3, f"{' '.join(names)} {about}")):
        parts = _WORD.findall(within)
        if all(any(part.startswith(word) for part in parts) for word in text.split()):
            return fit
    if all(word in f"{' '.join(names)} {about}" for word in text.split()):
        return _IN_A_WORD
    letters = iter(names[0])
    return _IN_A_WORD + 1 if all(letter in letters for letter in text) else None


async def find(host: Host, text: str) -> list[Match]:
    """Return runs, tasks, recipes and metrics with all words in their names, and lost items with the text."""
    words = text.lower().split()
    if not words:
        return []
    runs = await _runs(host, " ".join(f'"{word}"' for word in words if '"' not in word), MOST)
    newest = await _runs(host, "", ROWS)
    matches = []
    for row in runs:
        about = "".join(text for text, _ in forgot(row, host.now()))
        matches.append(Match(row.name, "run", about, partial(host.open_run, row.name)))
    for _, things in groupby(_known(host, newest), key=kind_of):
        named = (thing for thing in things if all(word in thing.name.lower() for word in words))
        matches += islice(named, MOST)
    return matches + await _items(host, " ".join(words))


def _known(host: Host, newest: Sequence[RunRow]) -> Iterator[Match]:
    """Yield the tasks, recipes, metrics and themes; a task opens the newest run that has it."""
    checked = [row for row in reversed(newest) if row.check is not None]
    tasks = {task.task: row.name for row in checked if row.check is not None for task in row.check.worst}
    for task, run in tasks.items():
        yield Match(clean_line(task), "task", f"in {clean_line(run)}", partial(host.open_triage, run))
    for recipe in list_builtin():
        opens = partial(host.open_launch, recipe=recipe.name)
        yield Match(recipe.name, "recipe", recipe.about.strip('"'), opens)
    for key in dict.fromkeys(key for row in newest for key in row.metrics):
        yield Match(clean_line(key), "metric", "sort runs by this metric", partial(host.sort_runs, key))
    for theme in THEMES:
        yield Match(theme, "theme", f"colours {THEME_ABOUT[theme]}", partial(host.choose_theme, theme))


async def _items(host: Host, text: str) -> list[Match]:
    """Find lost items by question, answers or name, in the runs at the top of Triage."""
    if len(text) < SHORTEST:
        return []
    matches = []
    try:
        table: TriageAnswer = await host.ask(Triage("", 0, REGRESSED))
        for row in table.rows:
            lost: LostItemsAnswer = await host.ask(LostItems(row.name, only="lost", text=text, limit=MOST))
            for item in lost.items:
                about = f"of {item.task}, lost in {clean_line(row.name)}"
                opens = partial(host.open_items, row, item.task, f"lost {text}")
                matches.append(Match(clean_line(item.question or item.item), "item", about, opens))
    except FinetopError:
        return matches
    return matches[:MOST]


async def _runs(host: Host, text: str, limit: int) -> list[RunRow]:
    try:
        answer: RunsAnswer = await host.ask(Runs(text, "newest", 0, limit))
    except FinetopError:
        return []
    return list(answer.rows)
