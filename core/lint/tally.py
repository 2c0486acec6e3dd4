"""Counts what a finding saw, row by row, and keeps the first places and examples: enough for most findings."""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING, Literal

import msgspec

from finetop.core.lint.pii_patterns import personal_in
from finetop.core.lint.report import EXAMPLES, PLACES, Example, Finding
from finetop.core.runtime.secret_patterns import secrets_in
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType

    from finetop.core.lint.row import Row
    from finetop.core.lint.second_pass import Whole
    from finetop.core.runtime.patterns import Hit

SHOWN = 160  # characters of an example
BEFORE = 24  # of them before what is shown
AROUND = 300  # more of them in which secrets are looked for, so that half of one is not shown
Action = Literal["", "remove", "mend"]
_ACTIONS: tuple[Action, ...] = ("", "remove", "mend")
SEEN = 4  # first characters that stay


class Sight(msgspec.Struct, frozen=True, array_like=True):
    """What was seen in a row: which kind it is, in words, the text that shows it, and what --fix would do."""

    kind: str
    text: str
    action: Action = ""


class Fix(msgspec.Struct, frozen=True):
    """A change of one row: it is removed, or its finding's `mend` repairs it. `why` is written into the manifest."""

    at: int
    action: Literal["remove", "mend"]
    why: str


def excerpt(text: str, start: int = 0, end: int | None = None) -> str:
    """Cut the part of a text that shows something, with what stands around it; secrets are masked before it is cut."""
    end = min(start if end is None else end, start + SHOWN)
    begin = max(0, start - BEFORE)
    before = min(begin, AROUND)
    shown = masked(text[begin - before : begin + SHOWN + AROUND])[before : before + SHOWN]
    return ("…" if begin else "") + shown + ("…" if begin + SHOWN < len(text) else "")


def sights(row: Row, find: Callable[[str], Iterable[Hit]]) -> dict[str, Sight]:
    """Return of each kind that is found in any text of a row the last one."""
    return {
        hit.kind: Sight(hit.kind, excerpt(turn.text, hit.start, hit.end))
        for turn in row.turns
        for hit in find(turn.text)
    }


def example(place: str, text: str) -> Example:
    """Make an example that may be shown: secrets masked, no control sequences, cut."""
    return Example(place, clean_line(masked(text[: 4 * SHOWN]), limit=4 * SHOWN)[: SHOWN + 2])


class Tally:
    """Counts the rows in which a finding saw something."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.module = module
        self.count = 0
        self.kinds: dict[str, int] = {}
        self.first = array("Q")  # rows
        self.examples: list[tuple[int, str, str]] = []  # row, kind, text
        self.acted = array("Q")  # rows, each with its kind and action as one number beside it
        self.acts = array("H")
        self._kind_numbers: list[str] = []

    def take(self, at: int, seen: Sequence[Sequence[str]]) -> None:
        """Take in the sights of a row."""
        self.count += 1
        if len(self.first) < PLACES:
            self.first.append(at)
        for kind, text, *rest in seen:
            if kind not in self.kinds:
                self._kind_numbers.append(kind)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            is_new = self.kinds[kind] == 1
            if is_new or len(self.examples) < EXAMPLES:
                self.examples.append((at, kind, text))
            if rest and rest[0] and (not self.acted or self.acted[-1] != at):
                self.acted.append(at)
                self.acts.append(self._kind_numbers.index(kind) * 4 + _ACTIONS.index(rest[0]))

    def finish(self, whole: Whole) -> list[Finding]:
        """Return the finding, if there is any."""
        if not self.count:
            return []
        module = self.module
        return [
            Finding(
                name=self.name,
                about=module.ABOUT,
                severity=module.SEVERITY,
                count=self.count,
                of=whole.rows,
                why=module.WHY,
                fix=module.FIX,
                fixable=len(self.acted),
                kinds=dict(sorted(self.kinds.items(), key=lambda pair: -pair[1])),
                places=tuple(whole.place(at) for at in self.first),
                examples=tuple(example(whole.place(at), text) for at, _, text in self._shown()),
            )
        ]

    def _shown(self) -> list[tuple[int, str, str]]:
        """Choose examples: one of each kind, the most frequent first, then others."""
        first_of = {kind: one for one in reversed(self.examples) for kind in (one[1],)}
        ranked = sorted(self.kinds, key=lambda kind: -self.kinds[kind])
        chosen = [first_of[kind] for kind in ranked][:EXAMPLES]
        chosen += [one for one in self.examples if one not in chosen][: EXAMPLES - len(chosen)]
        return sorted(chosen)

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Yield what --fix does."""
        for at, act in zip(self.acted, self.acts, strict=True):
            kind, action = self._kind_numbers[act // 4], _ACTIONS[act % 4]
            if action:
                yield Fix(at, action, kind)


def masked(text: str) -> str:
    """Put dots in place of what is secret; the text keeps its length. A report must not spread what it warns of."""
    for hit in list(chain(secrets_in(text), personal_in(text))):
        seen = min(SEEN, (hit.end - hit.start) // 3)
        text = text[: hit.start + seen] + "•" * (hit.end - hit.start - seen) + text[hit.end :]
    return text
