"""Copies text to the clipboard of the terminal that the user sits at, also over ssh: OSC 52, on a key alone."""

from __future__ import annotations

from base64 import b64encode

from finetop.core.text import clean

LIMIT = 48 << 10  # bytes of text; terminals drop sequences from some 75 to 100 kB on


def copying(text: str) -> str:
    """Give the sequence that copies a text: cleaned, as it may be pasted into a shell, and cut at LIMIT bytes."""
    data = (
        clean(text, limit=LIMIT)
        .strip("\n")
        .encode("utf-8", "replace")[:LIMIT]
        .decode("utf-8", "ignore")
        .encode()
    )
    return f"\x1b]52;c;{b64encode(data).decode()}\x07"
