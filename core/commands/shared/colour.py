"""What commands print in colour, on a terminal that has it: none in a pipe, with NO_COLOR, or on a dumb one."""

from __future__ import annotations

import os
import sys
from typing import Final

from finetop.core.text import SafeWriter

# By the first word of what is said, as the app colours it: a word says all that its colour says.
TONES: Final = {
    **dict.fromkeys(("REGRESSED", "FAILED", "LOST", "lost", "✗"), "31"),
    **dict.fromkeys(("NO", "NOT", "HUNG", "SILENT", "DRIFT", "SPIKE", "!", "?"), "33"),
    **dict.fromkeys(("ok", "won", "✓"), "32"),
    **dict.fromkeys(("running", "training", "checking", "●"), "36"),
}
DIM = "2"


def has_colour() -> bool:
    """Say whether what is printed may have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def tone(words: str) -> str:
    """Return the colour of what begins with a verdict or a state; nothing for anything else."""
    return TONES.get(words.strip().partition(" ")[0].rstrip(",:"), "")


def write(text: str, sgr: str = "") -> None:
    """Write a text, in a colour where there is one to write it in."""
    out = sys.stdout
    if sgr and isinstance(out, SafeWriter) and has_colour():
        out.write_coloured(text, sgr)
    else:
        out.write(text)
