"""The items of a cell that flipped: which are held, which are asked for, and how the list of them is drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from finetop.core.protocol.messages.triage import LostItems, LostItemsAnswer
from finetop.core.protocol.request import Ask
from finetop.core.text import clean_line
from finetop.tui.line import Line, spread
from finetop.tui.screens.triage.pane import NARROW, item_line
from finetop.tui.text import count, counted, cut_end, cut_middle
from finetop.tui.theme import MARKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from finetop.core.protocol.messages.triage import ItemKind, LostItem, TriageRow

CHUNK = 100
_WORD = re.compile(r"(kind:|margin>|runs>)(\S+)$")


def asked_for(run: str, task: str, text: str) -> LostItems:
    """Read a filter as it is typed: lost, won, kind:carry, margin>1, runs>2, and words in question or answers."""
    ask = LostItems(run, task, limit=CHUNK)
    words = []
    for word in text.split():
        found = _WORD.match(word)
        if word in ("lost", "won"):
            ask = msgspec.structs.replace(ask, only="lost" if word == "lost" else "won")
        elif found is not None and found[1] == "kind:":
            ask = msgspec.structs.replace(ask, kind=found[2].replace("+", " "))
        elif found is not None and _number(found[2]) is not None:
            number = _number(found[2]) or 0.0
            more = {"margin": number} if found[1] == "margin>" else {"runs": min(10**6, int(number) + 1)}
            ask = msgspec.structs.replace(ask, **more)
        else:
            words.append(word)
    return msgspec.structs.replace(ask, text=" ".join(words))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


@dataclass
class Items:
    """The items of one cell, as far as they were looked at. `load` and `more` may raise NoSupervisor."""

    ask: Callable[[Ask], Awaitable[Any]]
    run: str
    task: str
    filter: str = ""
    kinds: list[ItemKind] = field(default_factory=list)
    items: dict[int, LostItem] = field(default_factory=dict)
    answer: LostItemsAnswer | None = None  # the newest

    @property
    def wanted(self) -> LostItems:
        return asked_for(self.run, self.task, self.filter)

    @property
    def matching(self) -> int:
        return self.answer.matching if self.answer is not None else 0

    @property
    def shown_kinds(self) -> list[ItemKind]:
        """The kinds that head the list: all that changed, until one is chosen."""
        return [] if self.filter else [kind for kind in self.kinds if kind.lost or kind.won]

    async def load(self) -> bool:
        """Start over; give whether it is still what is asked for."""
        wanted = self.wanted
        answer = await self.ask(wanted)
        if wanted != self.wanted:
            return False
        self.answer, self.kinds = answer, answer.kinds
        self.items = dict(enumerate(answer.items))
        return True

    async def more(self, first: int, end: int) -> bool:
        """Load one chunk of the items [first, end) if any is not held; give whether something came."""
        missing = next(
            (at for at in range(max(0, first), min(end, self.matching)) if at not in self.items), None
        )
        if missing is None:
            return False
        wanted, offset = self.wanted, missing - missing % CHUNK
        answer = await self.ask(msgspec.structs.replace(wanted, offset=offset))
        if wanted == self.wanted:
            self.items |= {offset + at: item for at, item in enumerate(answer.items)}
        return bool(answer.items)


def title_line(items: Items, row: TriageRow, width: int) -> Line:
    """Say whose items these are, and how many."""
    name = cut_middle(clean_line(row.shown_name), 26)
    what = cut_end(clean_line(items.task), 20) or "all tasks"
    left: Line = ((f" {what}", "bold"), (" in ", ""), (name, "bold"))
    if items.answer is not None:
        left = (*left, (f"   {count(items.answer.lost)} lost, {count(items.answer.won)} won", ""))
    if not items.filter:
        return spread(left, (("/", "bold"), (" filter ", "dim")), width)
    words = f" {cut_middle(clean_line(items.filter), 24)}: {count(items.matching)} match "
    return spread(left, (("/", "bold"), (words, "bold")), width)


def kind_line(kind: ItemKind, width: int, *, has_cursor: bool) -> Line:
    """Draw one kind of items: how many were lost and won of how many."""
    name = cut_end(clean_line(kind.kind).replace("_", " "), 24)
    bar = round(12 * kind.lost / max(1, kind.n))
    return (
        ("▸", "reverse") if has_cursor else (" ", ""),
        ("  ", ""),
        (f"{name:<26}", "bold" if has_cursor else ""),
        (f"{kind.lost:>5} lost of {kind.n:<6}", ""),
        *((("━" * bar, ""), ("·" * (12 - bar), "dim")) if width >= NARROW else ()),
        (f"   {kind.won} won" if kind.won else "", "dim"),
    )


def flip_line(item: LostItem, widths: tuple[int, int, int], *, has_cursor: bool, with_task: bool) -> Line:
    """Draw one item with the mark of which way it flipped."""
    gutter, _, *rest = item_line(item, widths, has_cursor=has_cursor, with_task=with_task)
    mark = MARKS["finished"] if item.won else MARKS["accepted"]
    return (gutter, (f"{mark.mark} ", ""), *rest)


def empty_words(items: Items) -> str:
    """Say why there is no item."""
    if items.answer is None:
        return "asking the supervisor …"
    if items.filter:
        return f"0 of {counted(items.answer.lost + items.answer.won, 'item')} match"
    return "no answer changed."
