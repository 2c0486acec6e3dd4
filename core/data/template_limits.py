"""Refuses what a chat template must not produce, before it does: a text or number that is far too long.

A timer can't interrupt one call into C, such as 9 ** (9 ** 9), and memory just below the limit takes seconds to fill.
Jinja's sandbox lets an environment intercept operators and the joining of pieces. Transformers creates its
environments itself, so the sandbox's own class is patched, and with it ours.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BITS = 1 << 17  # of a number; converted to text it may have 4,300 digits
_longest: list[int] = []  # characters of a text, or items of a list; empty: no limit


class TooLong(Exception):
    """A template produces more text for a row than allowed; `size` is how much."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


@contextmanager
def held_to(longest: int) -> Iterator[None]:
    """Refuse texts and lists in templates that would be longer. Raises TooLong, OverflowError."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # mypy treats these as methods and constants of the class, which others never reassign.
    sandbox: Any = ImmutableSandboxedEnvironment
    sandbox.intercepted_binops = frozenset({"*", "**", "+"})
    sandbox.call_binop = _operate
    sandbox.concat = staticmethod(_put_together)
    _longest.append(longest)
    try:
        yield
    finally:
        _longest.pop()


def _operate(environment: Any, context: Any, operator: str, left: Any, right: Any) -> Any:
    if _longest:
        _require_small(operator, left, right)
    return environment.binop_table[operator](left, right)


def _require_small(operator: str, left: Any, right: Any) -> None:
    numbers = isinstance(left, int) and isinstance(right, int)
    if numbers and operator != "+":
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > BITS and left not in (-1, 0, 1):
            raise OverflowError(f"a number of more than {BITS:,} bits")
    elif operator == "*":
        text, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(times, int) and isinstance(text, str | list | tuple):
            _require_short(len(text) * times)
    elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        _require_short(len(left) + len(right))


def _require_short(size: int) -> None:
    if size > _longest[-1]:
        raise TooLong(size)


def _put_together(pieces: Iterable[str]) -> str:
    if not _longest:
        return "".join(pieces)
    size, kept = 0, []
    for piece in pieces:
        size += len(piece)
        _require_short(size)
        kept.append(piece)
    return "".join(kept)
