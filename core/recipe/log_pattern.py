"""A pattern of one's own for the lines that a program prints: `iter (?P<step>\\d+) .* loss (?P<loss>\\S+)`.

One that can take exponential time is refused; what is left is limited in time where it is used.
"""

from __future__ import annotations

import re
import warnings
from re import _constants as codes, _parser as parser  # type: ignore[attr-defined]  # not in typeshed
from typing import Any

REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)
MOST_REPEATS = 12  # without an end
PLACES = ("step", "epoch", "total")  # groups that are no metrics
EXAMPLE = r"iter (?P<step>\d+) .* loss (?P<loss>\S+)"


def fault_of(pattern: str) -> str:
    """Return why a pattern can't be used, as the end of a sentence; empty if it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(pattern)
            tree = parser.parse(pattern)
    except re.error as error:
        return f"is not a regular expression: {error.msg} at character {(error.pos or 0) + 1}"
    except (Warning, RecursionError, OverflowError, MemoryError) as error:
        return f"is not a regular expression: {error}"
    if not set(compiled.groupindex) - set(PLACES):
        return "names no metric"
    try:
        endless = _endless(tree, inside=False)
    except RecursionError:
        return "is nested too deeply"
    if endless is None:
        return "repeats what repeats, as (a+)+ does: a line can keep it busy for hours"
    if endless > MOST_REPEATS:
        return f"has {endless} repeats without an end, of at most {MOST_REPEATS}"
    return ""


def _endless(tree: Any, *, inside: bool) -> int | None:
    """Count the repeats without an end; None if one is inside another that can repeat."""
    count = 0
    for code, value in tree:
        is_repeat = code in REPEATS and value[1] > 1
        is_endless = is_repeat and value[1] > 1000
        if is_endless and inside:
            return None
        count += is_endless
        for part in _parts(value):
            below = _endless(part, inside=inside or is_repeat)
            if below is None:
                return None
            count += below
    return count


def _parts(value: Any) -> list[Any]:
    """Return the patterns within a part of a pattern."""
    if isinstance(value, parser.SubPattern):
        return [value]
    if isinstance(value, list | tuple):
        return [part for one in value for part in _parts(one)]
    return []
