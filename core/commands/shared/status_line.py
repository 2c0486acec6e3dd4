"""The line on which a command shows what it does meanwhile; it is erased at the end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from finetop.core.text import clean_line


@contextmanager
def status_line(before: str = "", *, shows: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a text, after `before`, on one line of stderr, which is erased after the block.

    Without `shows`, or a terminal there, it does nothing. sys.stderr itself lets no control sequence through.
    """
    is_shown = shows and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def show(text: str) -> None:
        if is_shown:
            room = shutil.get_terminal_size().columns - 1
            line = clean_line(f"{before}{text}", limit=room) if text else ""
            print(f"\r\x1b[K{line}", end="", file=sys.__stderr__, flush=True)

    try:
        yield show
    finally:
        show("")
