"""Sanitizes outside text (logs, names, samples, host names), quotes values, counts nouns."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

SHOWN_BYTES = 4096  # shown per line

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Characters that show nothing or reorder the text around them: Unicode's format and default-ignorable ones,
# bidirectional controls, line and paragraph separators.
_UNSEEN = (
    "\u00ad\u034f\u061c\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Joiners and variation selectors matter after a letter of a script that uses them, or a sign; elsewhere they hide too.
_JOINERS = "\u200c\u200d\ufe00-\ufe0f"
_HIDDEN = re.compile(f'[{_UNSEEN}]|(?<![^\\x00-"$-)+-/:-\\x7f{_JOINERS}])[{_JOINERS}]')
_IN_JSON = re.compile(f"[\x7f-\x9f{_UNSEEN}]")
_ESCAPE = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: cursor, colour, erase
    "|\x9b[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]P_^X]|[\x9d\x90\x9f\x9e\x98])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"  # OSC, DCS, APC, PM, SOS
    "|\x1b[ -/]*[0-~]?"
)


def clean(text: str, *, limit: int = SHOWN_BYTES) -> str:
    """Make outside text safe to show: control sequences are removed, newline and tab stay.

    Invisible and reordering characters are shown as <202E>, lone surrogates as ?, and each line is cut at `limit`
    bytes. A carriage return starts a new line, so that it hides nothing: only a log's progress bars overwrite
    themselves (log_file.newest).
    """
    lines = []
    for line in _returned(text).split("\n"):
        shown = _CONTROL.sub("", _ESCAPE.sub("", line[: limit * 2]))
        shown = _HIDDEN.sub(lambda found: f"<{ord(found[0]):04X}>", shown)
        data = shown.encode("utf-8", "replace")
        lines.append(
            data.decode() if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"
        )
    return "\n".join(lines)


def safe(text: str) -> str:
    """Remove control sequences and control characters except newline and tab; show invisible ones as <202E>."""
    if text.isascii() and text.isprintable():
        return text
    shown = _CONTROL.sub("", _ESCAPE.sub("", text.replace("\r\n", "\n")))
    shown = _HIDDEN.sub(lambda found: f"<{ord(found[0]):04X}>", shown)
    return shown.encode("utf-8", "replace").decode()


def json_safe(text: str) -> str:
    """Escape what a terminal could obey (DEL, C1), and invisible characters, in a JSON document without changing it."""
    return _IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text)


class SafeWriter:
    """A text stream without control sequences: all commands print through it, whatever the text's origin."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(safe(text))
        return len(text)

    def write_coloured(self, text: str, sgr: str) -> None:
        """Write text in one of our colours: `sgr` is the terminal's number for it."""
        self._stream.write(f"\x1b[{sgr}m{safe(text)}\x1b[0m")

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def well_formed(text: str) -> str:
    """Return a text that UTF-8 can hold: halves of a surrogate pair are joined, and a lone half becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_line(text: str, *, limit: int = SHOWN_BYTES) -> str:
    """Make outside text safe to show on one row: newlines and tabs become spaces."""
    return clean(_returned(text).replace("\n", " ").replace("\t", " "), limit=limit)


def _returned(text: str) -> str:
    """Return a text with a newline for each carriage return, except a final one and those before a newline."""
    if "\r" not in text:
        return text
    return text.replace("\r\n", "\n").rstrip("\r").replace("\r", "\n")


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?")


def spreadsheet_cell(text: str) -> str:
    """Make outside text safe in a table's cell: spreadsheets run what starts like a formula, unless ' comes first."""
    shown = clean(text)
    begins = shown.lstrip()  # a spreadsheet may strip blanks, and read wide signs as narrow ones
    is_plain = not begins.startswith(_FORMULA) or shown == "-" or _NUMBER.fullmatch(shown)
    return shown if is_plain and not shown.startswith("\t") else f"'{shown}"


_SHOWN = 60


def quoted(value: object) -> str:
    """Show an outside value in one line of at most 60 characters, with control and bidi characters escaped."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, float):
        return float_words(value)
    text = repr(value[: _SHOWN + 1]) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…" + ("'" if isinstance(value, str) else "")


def plain(text: str) -> str:
    """Show a key or a path unchanged if it is safe and short, else quoted."""
    return text if text.isprintable() and 0 < len(text) <= 200 else quoted(text)


def count(number: int) -> str:
    """Format a whole number with thousands separators: 3,000."""
    return f"{number:,}"


def listed(names: Sequence[str], last: str = " and ", apart: str = ", ") -> str:
    """Write names as a list in words: 'a, b and c'."""
    return last.join(filter(None, (apart.join(names[:-1]), *names[-1:])))


def counted(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun: '1 run', '1,412 rows'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def float_words(number: float) -> str:
    """Return a number of a recipe without loss: 2e-5 as people write it; 1.0 stays (a share), as 1 counts steps."""
    words = number_words(number, 15)
    return words if 0 < abs(number) < 0.001 and float(words) == number else repr(number)


def number_words(number: float, digits: int = 6) -> str:
    """Format a number as people write it, with at most so many digits: 2e-4, 0.03, 1200. Valid in a recipe."""
    if not isfinite(number) or not number or 0.001 <= abs(number) < 10**digits:
        return f"{number:.{digits}g}"
    mantissa, _, exponent = f"{number:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
