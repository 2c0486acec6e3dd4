"""What requests share: number ranges that the store and every JSON reader can hold, and the plain text answer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Whole = Annotated[int, Meta(ge=-(2**31), lt=2**31)]  # range of the store's columns
Large = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # range of every JSON reader: bytes, revisions
Place = Annotated[float, Meta(ge=-(2.0**53), le=2.0**53)]  # on a chart's axis
Priority = Annotated[int, Meta(ge=0, le=100)]  # smaller starts first


class Done(msgspec.Struct, frozen=True):
    message: str


PRIORITIES = {"high": 5, "normal": 10, "low": 20}  # smaller starts first; a check has 0
HELD = "held"


def tries_words(number: int, of: int) -> str:
    """Return the number of an attempt in words: '2nd of 3 tries'."""
    return f"{ordinal(number)} of {of} tries"


def ordinal(number: int) -> str:
    """Return an ordinal: 1st, 2nd, 3rd, 4th."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
