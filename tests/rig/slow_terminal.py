"""A program in a pseudo-terminal behind a slow link: both directions are delayed, and bytes arrive cut anywhere."""

from __future__ import annotations

import os
import random
import select
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from terminal import Terminal

DELAY_S = 0.15  # each way
CUT_S = 0.02  # limit between the two parts of what was cut


class SlowTerminal(Terminal):
    """Delays what is typed, what the program draws, and a new size."""

    def __init__(
        self,
        command: list[str],
        home: Path,
        columns: int,
        rows: int,
        draw: random.Random,
        **environment: str,
    ) -> None:
        self._draw = draw
        self._up: deque[tuple[float, Callable[[], object]]] = deque()
        self._down: deque[tuple[float, bytes]] = deque()
        super().__init__(command, home, columns, rows, **environment)

    def keys(self, text: str) -> None:
        """Type, in pieces as they may arrive over a link."""
        data, pieces = text.encode(), list[tuple[bytes, float]]()
        while data:
            cut = self._draw.randint(1, len(data))
            pieces.append((data[:cut], self._draw.uniform(0.0, CUT_S)))
            data = data[cut:]

        def write() -> None:
            """Write without interruption: parts that arrive further apart would be other keys."""
            for piece, pause in pieces:
                os.write(self.master, piece)
                time.sleep(pause)  # the link's gap between two pieces

        at = max(time.monotonic() + DELAY_S, self._up[-1][0] if self._up else 0.0)
        self._up.append((at, write))

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        at = max(time.monotonic() + DELAY_S, self._up[-1][0] if self._up else 0.0)
        self._up.append((at, lambda: self._set_size(columns, rows)))

    def pump(self, seconds: float) -> None:
        """Pass on what is due in either direction, for `seconds`."""
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            while self._up and self._up[0][0] <= now:
                self._up.popleft()[1]()
            while self._down and self._down[0][0] <= now:
                self.show(self._down.popleft()[1])
            due = min([deadline, *(way[0][0] for way in (self._up, self._down) if way)])
            if select.select([self.master], [], [], max(0.0, due - now))[0]:
                try:
                    data = os.read(self.master, self._draw.randint(1, 4096))
                except OSError:  # it has ended
                    self._up.clear()
                    break
                self._down.append((time.monotonic() + DELAY_S, data))
