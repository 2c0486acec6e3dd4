"""What is typed, taken from the terminal's bytes: Esc and the key after it are two, however close they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual._xterm_parser import XTermParser
from textual.events import Key

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESC = "\x1b"
# What a terminal's own sequences start with; and words back and forth, as Macs send them for Option and an arrow.
_MORE_TO_COME = frozenset("[O]P_^X")
_WORDS = frozenset("bf")


class Keyboard(XTermParser):
    """Textual's parser, but for alt: a terminal sends Esc and a letter for it.

    So does a person who presses Esc and then the letter, where a link brings them together (within ESCAPE_DELAY, .1 s).
    No key of the app has alt, so it is always the person; Textual knows `alt+j`, `¡` for a 1, `ctrl+right` for an f.
    """

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[Key]:
        first, behind = sequence[:1], sequence[1:]
        is_key = len(behind) == 1 and behind.isprintable() and behind not in _MORE_TO_COME | _WORDS
        if first == _ESC and is_key:
            yield Key("escape", _ESC)
            sequence = behind
        elif alt:
            yield Key("escape", _ESC)
        yield from super()._sequence_to_key_events(sequence)
