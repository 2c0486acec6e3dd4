"""The colours of what commands print: only on a terminal that has them, not in a pipe or with NO_COLOR or TERM=dumb."""

from __future__ import annotations

import os
import sys
from typing import Final

from finetop.core.text import SafeWriter

# By the first word of a text, as in the app; the word alone means the same without its colour.
TONES: Final = {
    **dict.fromkeys(("REGRESSED", "FAILED", "LOST", "lost", "✗"), "31"),
    **dict.fromkeys(("NO", "NOT", "HUNG", "SILENT", "DRIFT", "SPIKE", "!", "?"), "33"),
    **dict.fromkeys(("ok", "won", "✓"), "32"),
    **dict.fromkeys(("running", "training", "checking", "●"), "36"),
}
DIM = "2"


def has_colour() -> bool:
    """Return True if stdout may have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def tone(text: str) -> str:
    """Return the colour of a text that begins with a verdict or a state, else an empty string."""
    return TONES.get(text.strip().partition(" ")[0].rstrip(",:"), "")


def write(text: str, sgr: str = "") -> None:
    """Write a text, in colour where stdout has colours."""
    out = sys.stdout
    if sgr and isinstance(out, SafeWriter) and has_colour():
        out.write_coloured(text, sgr)
    else:
        out.write(text)
