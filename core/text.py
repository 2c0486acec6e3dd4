"""The one sanitizer: text from outside (logs, names, samples, host names) before it reaches a terminal."""

from __future__ import annotations

import re

SHOWN_BYTES = 4096  # what is shown of one line

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ESCAPE = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: cursor, colour, erase
    "|\x9b[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]P_^X]|[\x9d\x90\x9f\x9e\x98])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"  # OSC, DCS, APC, PM, SOS
    "|\x1b[ -/]*[0-~]?"
)


def clean(text: str, *, limit: int = SHOWN_BYTES) -> str:
    """Make outside text safe to show: no control sequence survives, newline and tab do.

    Bidirectional controls are shown as <202E>, lone surrogates as ?, and each line is cut at `limit` bytes.
    """
    text = text.replace("\r\n", "\n")
    lines = []
    for line in text.split("\n"):
        shown = line[: limit * 2].rsplit("\r", 1)[-1] if "\r" in line else line[: limit * 2]
        shown = _CONTROL.sub("", _ESCAPE.sub("", shown))
        shown = _BIDI.sub(lambda found: f"<{ord(found[0]):04X}>", shown)
        data = shown.encode("utf-8", "replace")
        lines.append(
            data.decode() if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"
        )
    return "\n".join(lines)


def clean_line(text: str, *, limit: int = SHOWN_BYTES) -> str:
    """Make outside text safe to show on one row: newlines and tabs become spaces."""
    return clean(text.replace("\n", " ").replace("\t", " "), limit=limit)
