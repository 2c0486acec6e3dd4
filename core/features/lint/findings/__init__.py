"""What lint finds in data: a file each, which ends with the instance of its subclass of Rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import replace

from finetop.core.features.lint.pii_patterns import personal_in
from finetop.core.features.lint.report import EXAMPLES, PLACES, Example, Finding, Severity
from finetop.core.plugins import Plugin, PluginKind
from finetop.core.runtime.secret_patterns import secrets_in
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from finetop.core.features.lint.row import Lens, Row
    from finetop.core.features.lint.second_pass import Whole
    from finetop.core.runtime.patterns import Hit

SHOWN = 160  # characters of an example
BEFORE = 24  # of these, before the shown part
AROUND = 300  # context searched for secrets, so that no half of one is shown
Action = Literal["", "remove", "fix"]
_ACTIONS: tuple[Action, ...] = ("", "remove", "fix")
SEEN = 4  # first characters of a secret that stay


class Sight(msgspec.Struct, frozen=True, array_like=True):
    """What was seen in a row: its kind in words, the text that shows it, and what --fix would do."""

    kind: str
    text: str
    action: Action = ""


class Fix(msgspec.Struct, frozen=True):
    """A change of one row: it is removed, or repaired by its finding's `fixed`. `why` goes into the manifest."""

    at: int
    action: Literal["remove", "fix"]
    why: str


def excerpt(text: str, start: int = 0, end: int | None = None) -> str:
    """Return the part of a text around [start, end); secrets are masked before it is cut."""
    end = min(start if end is None else end, start + SHOWN)
    begin = max(0, start - BEFORE)
    before = min(begin, AROUND)
    shown = masked(text[begin - before : begin + SHOWN + AROUND])[before : before + SHOWN]
    return ("…" if begin else "") + shown + ("…" if begin + SHOWN < len(text) else "")


def sights(row: Row, find: Callable[[str], Iterable[Hit]]) -> dict[str, Sight]:
    """Return the last hit of each kind in a row's texts."""
    return {
        hit.kind: Sight(hit.kind, excerpt(turn.text, hit.start, hit.end))
        for turn in row.turns
        for hit in find(turn.text)
    }


def example(place: str, text: str) -> Example:
    """Return an example that is safe to show: secrets masked, no control sequences, cut."""
    return Example(place, clean_line(masked(text[: 4 * SHOWN]), limit=4 * SHOWN)[: SHOWN + 2])


class Finder(ABC):
    """Gathers what a rule saw, in the first process."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        self.rule = rule
        self.lens = lens

    @abstractmethod
    def add(self, at: int, seen: Any) -> None:
        """Take in what `scan` returned of row number `at` (from 0, over all sources), in order of the rows."""

    @abstractmethod
    def finish(self, whole: Whole) -> list[Finding]:
        """Return the findings, none where all is well."""

    def fixes(self, whole: Whole) -> Iterable[Fix]:
        """Yield a fix for each row that `--fix` changes; asked after `finish`."""
        return ()


class Tally(Finder):
    """Counts the rows in which a rule saw something, and keeps the first places and examples."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.count = 0
        self.kinds: dict[str, int] = {}
        self.first = array("Q")  # rows
        self.examples: list[tuple[int, str, str]] = []  # row, kind, text
        self.acted = array("Q")  # rows with an action; `acts` holds each one's kind and action as one number
        self.acts = array("H")
        self._kind_numbers: list[str] = []

    def add(self, at: int, seen: Sequence[Sequence[str]]) -> None:
        """Add the sights of a row."""
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
        kinds = dict(sorted(self.kinds.items(), key=lambda pair: -pair[1]))
        examples = tuple(example(whole.place(at), text) for at, _, text in self._shown())
        fixable = len(self.acted)
        return [
            self.rule.finding(whole, self.count, self.first, fixable=fixable, kinds=kinds, examples=examples)
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
    """Replace secrets with dots; the text keeps its length. A report must not spread what it warns of."""
    for hit in list(chain(secrets_in(text), personal_in(text))):
        seen = min(SEEN, (hit.end - hit.start) // 3)
        text = text[: hit.start + seen] + "•" * (hit.end - hit.start - seen) + text[hit.end :]
    return text


class Rule(Plugin):
    """A problem that lint looks for in every row; `about` is its heading ("answers that are empty")."""

    why = ""  # it matters, in a sentence or two
    fix = ""  # what `--fix` does about it; "" where a person must decide
    do: str  # what to do about it, in a few words ("remove the copies")
    # error: training stops, or learns what nobody wants; note: worth knowing, a report of notes alone is clean
    severity: Severity = "warning"
    option = ""  # "loss": only looked for where that was asked for
    is_grave = False  # a single row is as bad as a hundred of another finding, and is reported before them
    finder: type[Finder] = Tally  # gathers what `scan` returns; a tally takes a list of Sights

    @abstractmethod
    def scan(self, row: Row, lens: Lens) -> Any:
        """In a worker, return what is to be remembered of a row as plain data for msgpack; None for most rows.

        It is called for rows that could not be read too: `row.record` is None then, and `row.fault` says why. Rules
        that inherit the same `scan` share it: a row is scanned once.
        """

    def fixed(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """Return the row with the damage repaired, for a Fix of the action "fix"; None to leave it."""
        return None

    def finding(self, whole: Whole, count: int, ats: Iterable[int] = (), **facts: Any) -> Finding:
        """Return a finding in `count` rows, at `ats`; `facts` replace what the rule says of itself."""
        own = Finding(self.name, self.about, self.severity, count, whole.rows, self.why, self.do, self.fix)
        return replace(own, places=tuple(map(whole.place, ats)), **facts)


KIND: PluginKind[Rule] = PluginKind("finding", __name__, base=Rule)
names, load = KIND.names, KIND.load
