"""Copies text to the clipboard of the user's own terminal, also over ssh: OSC 52, only on a key press."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, Final

from finetop.core.text import clean, clean_line
from finetop.tui.messages import ShownMessage
from finetop.tui.widgets.app_screen import AppScreen

LIMIT = 48 << 10  # bytes of text; terminals drop sequences from about 75 to 100 kB on
_COMMAND: Final = re.compile(r"(?:^|: |`)(finetop [^`]+?)[`.]*$")


def copying(text: str) -> str:
    """Return the sequence that copies a text: cleaned, as it may be pasted into a shell, and cut at LIMIT bytes."""
    data = clean(text, limit=LIMIT).strip("\n").encode("utf-8", "replace")[:LIMIT]
    whole = data.decode("utf-8", "ignore").encode()  # without a character cut in two
    return f"\x1b]52;c;{b64encode(whole).decode()}\x07"


@dataclass(slots=True)
class Copied:
    """The texts to copy, the current one, and its message: while that is shown, the key copies the next text."""

    texts: list[str] = field(default_factory=list)
    at: int = 0
    message: ShownMessage | None = None

    @property
    def text(self) -> str:
        return self.texts[self.at] if self.texts else ""

    @property
    def following(self) -> str:
        """Return what the key copies when pressed again."""
        return self.texts[(self.at + 1) % len(self.texts)] if len(self.texts) > 1 else ""


def to_copy(before: Copied, seen: ShownMessage | None, screen: AppScreen[Any], on: str) -> Copied:
    """Return what to copy now: the next text while the last one's message is `seen`, else the screen's first.

    The texts are a command at the end of the message, what the cursor is on, and the command of the suggested next
    step; `on` names the machines as command-line options.
    """
    if seen is not None and seen is before.message:
        return Copied(before.texts, (before.at + 1) % len(before.texts))
    of_message = None if seen is None else _COMMAND.search(seen.text)
    own, command = screen.to_copy(), screen.to_run()
    texts = (
        "" if of_message is None else of_message[1],
        own if screen.COPIES_LINES else clean_line(own),
        f"finetop{on}{command.removeprefix('finetop')}" if command else "",
    )
    return Copied([text for text in dict.fromkeys(texts) if text])
