"""A page: its sections and blocks. All in it may come from outside, so a format escapes each text that it writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from finetop.core.protocol import runs as data
from finetop.core.wording.columns import Column, Row, cells, right, titles
from finetop.core.wording.endings import state_word

Tone = Literal["good", "bad", "open"]  # how a verdict looks
TEXT_SHOWN = 600  # characters of one answer, question or sample


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with short values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Points:
    """Sentences, one per line."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; the columns in `right` hold numbers, those in `long` multi-line text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()
    long: tuple[int, ...] = ()
    more: str = ""  # a note on what was left out

    @classmethod
    def of(cls, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Table:
        """Return a table of all these columns."""
        return cls(titles(columns), cells(columns, rows), right(columns))


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: for each bin a step, the mean, and the lowest and highest value."""

    name: str
    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    is_points: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over steps, or over what `x` names."""

    title: str
    lines: tuple[Line, ...]
    last: float
    limit: float | None = None
    first: float = 0
    x: str = "step"


@dataclass(frozen=True, slots=True)
class Bar:
    """A change in points, with its interval; below 0 is worse."""

    name: str
    change: float
    low: float | None
    high: float | None
    tone: Tone = "open"


@dataclass(frozen=True, slots=True)
class Bars:
    """Changes below each other, on one scale; `limit` is the allowed loss."""

    title: str
    bars: tuple[Bar, ...]
    limit: float


@dataclass(frozen=True, slots=True)
class Source:
    """A text as written, collapsed under its title."""

    title: str
    text: str


Block = Facts | Points | Table | Chart | Bars | Source


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a report."""

    title: str
    about: str  # what was trained on what, in one line
    word: str  # the verdict
    tone: Tone
    sentence: str  # the verdict in words
    sure: tuple[str, ...]  # how sure that is
    sections: tuple[Section, ...]
    footer: str  # when, and by what


def moment(at: float) -> str:
    """Return a time with its zone: a colleague may be in another."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def state_words(row: data.RunRow) -> str:
    steps = f" at step {row.step:,} of {row.steps:,}" if row.steps else ""
    cause = row.state.cause if isinstance(row.state, data.Ended) else ""
    return f"{state_word(row.state)}{steps}{f': {cause}' if cause else ''}"


def shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"


def shortened_front(text: str) -> str:
    """Keep the end of a question: the examples in front of it are the same in all of them."""
    return text if len(text) <= TEXT_SHOWN else "…" + text[1 - TEXT_SHOWN :]
