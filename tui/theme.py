"""The one table of marks, words and colours, and how they look on this terminal: 16 colours, 24 bits, none, ASCII.

Widgets name styles ("red", "dim"); nothing else in the app knows a colour. The background is never painted.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from rich.style import Style

from finetop.core.errors import EnvironmentTrouble

StyleName = Literal["", "bold", "dim", "reverse", "red", "amber", "green", "cyan", "amber mark"]
Colours = Literal["none", "16", "dark", "light", "colour-blind dark", "colour-blind light"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What says one thing: a mark, its ASCII form and the style of both and of the word beside them."""

    mark: str
    ascii: str
    style: StyleName


MARKS: Final[Mapping[str, Mark]] = {
    "regressed": Mark("✗", "x", "red"),
    "failed": Mark("✗", "x", "red"),
    "lost": Mark("✗", "x", "red"),
    "accepted": Mark("✗", "x", ""),
    "alarm": Mark("!", "!", "amber mark"),
    "no_verdict": Mark("?", "?", "amber mark"),
    "ok": Mark("✓", "+", "green"),
    "finished": Mark("✓", "+", ""),
    "running": Mark("●", "*", "cyan"),
    "queued": Mark("○", "o", ""),
    "stopped": Mark("■", "#", ""),
    "paused": Mark("■", "#", ""),
    "checkpoint": Mark("▾", "v", ""),
    "cursor": Mark("▸", ">", "reverse"),
    "marked": Mark("•", ".", "bold"),
}

# Of what a check found of one task.
TASK_MARKS: Final = {"lost": MARKS["regressed"], "kept": MARKS["ok"], "open": MARKS["no_verdict"]}

# Everything that is drawn beyond ASCII, by what stands for it where the locale is not UTF-8. One cell for one cell.
_ASCII: Final = str.maketrans(
    {
        **{entry.mark: entry.ascii for entry in MARKS.values()},
        "☆": "%",
        "★": "@",
        "─": "-",
        "━": "#",
        "│": "|",
        **dict.fromkeys("┌├└", "+"),
        "┊": ":",
        "·": ".",
        "▒": "%",
        "…": "~",
        "⟦": "[",
        "⟧": "]",
        "±": "~",
        "×": "x",
        "↑": "^",
        "↓": "v",
        "←": "<",
        "→": ">",
        "█": "#",
        **dict(zip("▁▂▃▄▅▆▇", "..::||#", strict=True)),
    }
)
_BRAILLE: Final = range(0x2800, 0x2900)

_COLOURS: Final[Mapping[Colours, Mapping[str, str]]] = {
    "none": {},
    "16": {"red": "color(1)", "amber": "color(3)", "green": "color(2)", "cyan": "color(6)"},
    "dark": {"red": "#ff6b6b", "amber": "#e5b567", "green": "#7ec77e", "cyan": "#5cc8d8"},
    "light": {"red": "#b42318", "amber": "#8a5a00", "green": "#1a6e2e", "cyan": "#0b6a80"},
    "colour-blind dark": {"red": "#d55e00", "amber": "#e5b567", "green": "#4c9be8", "cyan": "#5cc8d8"},
    "colour-blind light": {"red": "#d55e00", "amber": "#8a5a00", "green": "#0b5cad", "cyan": "#0b6a80"},
}
_GREY: Final[Mapping[str, str]] = {"dark": "#8088a0", "light": "#656d76"}


@dataclass(frozen=True, slots=True)
class Look:
    """How this terminal is drawn on: which colours, and whether only ASCII."""

    colours: Colours = "16"
    ascii: bool = False


def find_look(environ: Mapping[str, str] | None = None, encoding: str | None = None) -> Look:
    """Tell from the environment how to draw: NO_COLOR, TERM, COLORTERM, the locale, FINETOP_THEME.

    24-bit colours need a terminal that says it has them and a known background: FINETOP_THEME (dark, light,
    "colour-blind dark", "colour-blind light") or COLORFGBG. Else the 16 colours, of which 1, 2, 3 and 6 do on any.
    """
    environ = os.environ if environ is None else environ
    encoding = locale.getpreferredencoding(False) if encoding is None else encoding
    only_ascii = encoding.lower().replace("-", "") != "utf8"
    if environ.get("NO_COLOR") or environ.get("TERM") in ("dumb", "vt100", "vt220"):
        return Look("none", only_ascii)
    background = environ.get("FINETOP_THEME", "")
    if background not in _COLOURS:
        painted = environ.get("COLORFGBG", "").rpartition(";")[2]
        background = {"0": "dark", "15": "light"}.get(painted, "16")
    if environ.get("COLORTERM") not in ("truecolor", "24bit") and background != "none":
        background = "16"
    colours = next(known for known in _COLOURS if known == background)
    return Look(colours, only_ascii)


def require_theme(name: str) -> None:
    """Refuse a theme that there is not. Raises EnvironmentTrouble."""
    if name and name not in _COLOURS:
        from finetop.core.text import quoted  # the app starts without what reads recipes

        raise EnvironmentTrouble(
            f"FINETOP_THEME is {quoted(name)} in the environment.",
            hint=f"It is one of {', '.join(_COLOURS)}.",
        )


@lru_cache(maxsize=64)
def style(look: Look, name: StyleName) -> Style:
    """Return the terminal style of a style's name."""
    if name == "dim":
        grey = _GREY.get(look.colours.rpartition(" ")[2])
        return Style(color=grey) if grey else Style(dim=True)
    if name in ("bold", "reverse"):
        return Style(bold=name == "bold", reverse=name == "reverse")
    colour, _, is_mark = name.partition(" ")
    return Style(color=_COLOURS[look.colours].get(colour), bold=True if colour == "red" or is_mark else None)


def to_look(look: Look, text: str) -> str:
    """Make text drawable: as it is, or cell for cell in ASCII."""
    if not look.ascii or text.isascii():
        return text
    text = text.translate(_ASCII)
    return "".join(_ascii_cell(letter) for letter in text)


def _ascii_cell(letter: str) -> str:
    if letter.isascii():
        return letter
    if ord(letter) in _BRAILLE:
        return " " if letter == "⠀" else ":"
    from rich.cells import cell_len

    return "?" * cell_len(letter)
