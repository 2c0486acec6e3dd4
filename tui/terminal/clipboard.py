"""Copies text to the clipboard of the terminal that the user sits at, also over ssh: OSC 52, on a key alone."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from textual.css.query import NoMatches
from textual.screen import Screen

from finetop.core.text import clean, clean_line
from finetop.tui.messages import Said
from finetop.tui.widgets.frame import Bottom

LIMIT = 48 << 10  # bytes of text; terminals drop sequences from some 75 to 100 kB on
_PART: Final = re.compile(r"( ?)\[([^\]]*)\]")
_WORD: Final = re.compile(r"\b[A-Z]{2,}\b")
_COMMAND: Final = re.compile(r"(?:^|: |`)(finetop [^`]+?)[`.]*$")


def copying(text: str) -> str:
    """Return the sequence that copies a text: cleaned, as it may be pasted into a shell, and cut at LIMIT bytes."""
    data = (
        clean(text, limit=LIMIT)
        .strip("\n")
        .encode("utf-8", "replace")[:LIMIT]
        .decode("utf-8", "ignore")
        .encode()
    )
    return f"\x1b]52;c;{b64encode(data).decode()}\x07"


@dataclass(slots=True)
class Copied:
    """What may be copied, what was, and the message that said so: while that is seen, the key takes the next."""

    texts: list[str] = field(default_factory=list)
    at: int = 0
    said: Said | None = None

    @property
    def text(self) -> str:
        """What is copied; nothing where nothing can be."""
        return self.texts[self.at] if self.texts else ""

    @property
    def following(self) -> str:
        """What the key copies when it is pressed again."""
        return self.texts[(self.at + 1) % len(self.texts)] if len(self.texts) > 1 else ""


def to_copy(before: Copied, seen: Said | None, screen: Screen[Any], on: str) -> Copied:
    """Say what is copied now: the next text while the message of the last is `seen`, else the first of a screen.

    There are: a command that the message ends with, what the cursor is on, and the command that does what is offered
    as next; `on` names the machines as the command line does.
    """
    if seen is not None and seen is before.said:
        return Copied(before.texts, (before.at + 1) % len(before.texts))
    give = getattr(screen, "to_copy", None)
    of_message = None if seen is None else _COMMAND.search(seen.text)
    own = give() if give is not None else ""
    texts = (
        "" if of_message is None else of_message[1],
        own
        if getattr(screen, "COPIES_LINES", False)
        else clean_line(own),  # a newline would run it in a shell
        next_command(screen),
    )
    commands = (texts[0], f"finetop{on}{texts[2].removeprefix('finetop')}" if texts[2] else "")
    return Copied([text for text in dict.fromkeys((commands[0], texts[1], commands[1])) if text])


def next_command(screen: Screen[Any]) -> str:
    """Return the command that does what is offered as next, for what the cursor is on; nothing where there is none."""
    own = getattr(screen, "to_run", None)
    if own is not None:
        return str(own())
    try:
        sign = screen.query_one(Bottom).next_key
    except NoMatches:
        return ""
    keys = getattr(screen, "KEYS", ())
    command = next((key.command for key in keys if key.shown == sign and key.command), "")
    fill, name = getattr(screen, "to_fill", None), getattr(screen, "to_copy", None)
    return filled(command, fill() if fill is not None else {"RUN": "" if name is None else name()})


def filled(command: str, words: Mapping[str, str]) -> str:
    """Put what is known in place of a command's words in capitals; what is in [ ] goes where one of them is not."""

    def part(match: re.Match[str]) -> str:
        return match[1] + match[2] if all(words.get(word) for word in _WORD.findall(match[2])) else ""

    def word(match: re.Match[str]) -> str:
        known = words.get(match[0])
        return shlex.quote(clean_line(known)) if known else match[0]

    return _WORD.sub(word, _PART.sub(part, command))
