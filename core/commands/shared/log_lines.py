"""A job's log as lines for a terminal, from pieces of any cut: progress bars by their newest state, long lines cut."""

from __future__ import annotations

import time
from collections.abc import Callable

from finetop.core.protocol.messages.runs import LogAnswer
from finetop.core.runtime import log_file
from finetop.core.text import SHOWN_BYTES, clean

OPEN_S = 5.0  # a line without an end is shown again at most so often
_HELD = 2 * SHOWN_BYTES  # characters of a line that has not ended


class LogLines:
    """Turns the pieces of a log into what is printed of it, in bounded memory."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open = ""
        self._shown = ""  # of the open line
        self._shown_at = now()

    def feed(self, piece: LogAnswer) -> str:
        """Take in a piece; give the lines that ended with it, or what is new of one that does not end."""
        before = self.end() + log_file.words_for(piece.gap) + "\n" if piece.gap else ""
        *whole, rest = (self._open + piece.text).split("\n")
        if whole:
            self._shown = ""
        self._open = _newest(rest)[:_HELD]
        ended = before + "".join(f"{clean(line)}\n" for line in whole)
        state = clean(self._open.rstrip("\r"))
        if ended or self._now() - self._shown_at < OPEN_S or state in ("", self._shown):
            return ended
        self._shown, self._shown_at = state, self._now()
        return f"{state}\n"

    def end(self) -> str:
        """Give the line that has not ended, when no more comes."""
        state, shown = clean(self._open.rstrip("\r")), self._shown
        self._open = self._shown = ""
        return f"{state}\n" if state not in ("", shown) else ""


def _newest(line: str) -> str:
    """Give the newest state of a line that writes over itself, with the return that ends it."""
    body = line.rstrip("\r")
    return body.rpartition("\r")[2] + line[len(body) :][:1]
