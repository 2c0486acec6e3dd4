"""Reads a program's numbers in a thread, so that a read which hangs or takes long keeps nobody from watching it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

APART_S = 1.0  # between two looks
TIMES_APART = 4  # times as long as a look took, at least: a flood must not take a core from the training
LEFT_S = 60.0  # for the last look, and one that is under way before it


class Looks:
    """Calls `read` again and again, once at a time; `read(is_last)` reads what is new."""

    def __init__(self, read: Callable[[bool], None]) -> None:
        self._read = read
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._next_at = time.monotonic() + APART_S

    def look(self) -> None:
        """Begin to read what is new, if that is due and the last look is over. Raises what that one raised."""
        if self._is_over(0.0) and time.monotonic() >= self._next_at:
            self._begin(is_last=False)

    def look_at_last(self) -> bool:
        """Read everything; return False if that has not ended after LEFT_S. Raises what it raised."""
        until = time.monotonic() + LEFT_S
        if not self._is_over(until):
            return False
        self._begin(is_last=True)
        return self._is_over(until)

    def _is_over(self, until: float) -> bool:
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
            if self._thread.is_alive():
                return False
        if self._error is not None:
            raise self._error
        return True

    def _begin(self, *, is_last: bool) -> None:
        self._thread = threading.Thread(target=self._look, args=(is_last,), daemon=True)
        self._thread.start()

    def _look(self, is_last: bool) -> None:
        began = time.monotonic()
        try:
            self._read(is_last)
        except BaseException as error:
            self._error = error
        ended = time.monotonic()
        self._next_at = ended + max(APART_S, TIMES_APART * (ended - began))
