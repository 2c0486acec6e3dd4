"""Terminal input: keys for the app, and the terminal's answer about its background."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.message import Message

from finetop.tui.messages import GroundTold

_ESC = "\x1b"
# How a terminal's own sequences start; and word-wise back and forth, as Macs send it for Option and an arrow.
_MORE_TO_COME = frozenset("[O]P_^X")
_WORDS = frozenset("bf")
_GROUND_TOLD = re.compile(
    r"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})(?:/[0-9a-fA-F]+)?(?:\x07|\x1b\\)"
)
# An answer that came in two parts.
_GROUND_BEGUN = re.compile(r"\x1b\](?:1(?:1(?:;[^\x07\x1b]{0,40}\x1b?)?)?)?\Z")


def _ground(parts: Sequence[str]) -> Literal["dark", "light"]:
    """Return whether a colour is dark, given its red, green and blue, each of one to four hex digits."""
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in parts)
    return "light" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "dark"


class Keyboard(XTermParser):
    """Textual's parser without alt: a terminal sends Esc and a letter for it.

    So does a person who presses Esc and then the letter, if a link delivers them together (within ESCAPE_DELAY, .1 s).
    No key of the app uses alt, so it is always the person; Textual reads it as `alt+j`, `¡` for a 1, `ctrl+right` for
    an f. An Esc that Textual holds until it is sure, as with Esc and ctrl+l, becomes a typed `^` if a terminal answer
    arrives meanwhile: here it stays Esc.
    """

    awaits_ground = False  # the terminal was asked for its background
    _begun = ""
    _given_up = 0  # Escs that Textual is about to turn into ^

    def feed(self, data: str) -> Iterable[Message]:
        """Yield what was typed, and the terminal's answer about its background, which Textual would read as keys."""
        if self.awaits_ground:
            data, self._begun = self._begun + data, ""
            if match := _GROUND_TOLD.search(data):
                self.awaits_ground = False
                yield GroundTold(_ground(match.groups()))
                data = data[: match.start()] + data[match.end() :]
            elif begun := _GROUND_BEGUN.search(data):
                self._begun = data[begun.start() :]
                data = data[: begun.start()]
        for message in super().feed(data) if data else ():
            if self._given_up and isinstance(message, Key) and message.key == "circumflex_accent":
                self._given_up -= 1
                message = Key("escape", _ESC)
            yield message

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[Key]:
        first, behind = sequence[:1], sequence[1:]
        is_key = len(behind) == 1 and behind.isprintable() and behind not in _MORE_TO_COME | _WORDS
        self._given_up += sequence == _ESC
        if first == _ESC and is_key:
            yield Key("escape", _ESC)
            sequence = behind
        elif alt:
            yield Key("escape", _ESC)
        yield from super()._sequence_to_key_events(sequence)
