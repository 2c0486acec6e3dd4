"""The one table of marks and styles, and their form on this terminal: 24 bits, 256 colours, 16, none, ASCII.

Widgets name styles ("red", "dim"), which map to the roles of finetop.tui.palette.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from rich.color import Color
from rich.style import Style

from finetop.tui.palette import PALETTES, Colours, mixed

# red: regressed, failed, refused. amber: a warning. green: ok. cyan: running. reverse: what is selected.
# cursor: the mark of its row. faint: rules, grid lines.
# seriesN: a curve; "seriesN faint": its area, or its raw points beneath.
StyleName = Literal[
    "", "bold", "dim", "reverse", "cursor", "red", "amber", "green", "cyan", "amber mark", "accent", "queued",
    "heading", "key", "faint", "series1", "series2", "series3", "series4", "series5", "series6", "series7", "series8",
    "series1 faint", "series2 faint", "series3 faint", "series4 faint", "series5 faint", "series6 faint",
    "series7 faint", "series8 faint",
]  # fmt: skip
SERIES: Final[tuple[StyleName, ...]] = (
    "series1", "series2", "series3", "series4", "series5", "series6", "series7", "series8",
)  # fmt: skip
SERIES_FAINT: Final[tuple[StyleName, ...]] = (
    "series1 faint", "series2 faint", "series3 faint", "series4 faint", "series5 faint", "series6 faint",
    "series7 faint", "series8 faint",
)  # fmt: skip
Depth = Literal[4, 8, 24]  # bits of a colour


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark, its ASCII form, and the style of both and of the word beside them."""

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
    "queued": Mark("○", "o", "queued"),
    "stopped": Mark("■", "#", ""),
    "paused": Mark("■", "#", ""),
    "checkpoint": Mark("▾", "v", ""),
    "cursor": Mark("▸", ">", "cursor"),
    "marked": Mark("•", ".", "bold"),
}

# What a check found about one task.
TASK_MARKS: Final = {"lost": MARKS["regressed"], "kept": MARKS["ok"], "open": MARKS["no_verdict"]}

# Every non-ASCII character drawn, with its substitute if the locale is not UTF-8. One cell for one cell.
_ASCII: Final = str.maketrans(
    {
        **{entry.mark: entry.ascii for entry in MARKS.values()},
        "☆": "%",
        "★": "@",
        "─": "-",
        "━": "#",
        "│": "|",
        **dict.fromkeys("┌├└╭╮╰╯┤┬", "+"),
        "┊": ":",
        "┈": ".",
        "·": ".",
        "▒": "%",
        "░": "-",
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
        **dict.fromkeys("▉▊▋▌", "#"),
        **dict.fromkeys("▍▎▏", "-"),
        **dict(zip("▁▂▃▄▅▆▇", "..::||#", strict=True)),
    }
)
_BRAILLE: Final = range(0x2800, 0x2900)

_ROLES: Final[Mapping[str, str]] = {
    "red": "regressed",
    "amber": "warning",
    "green": "ok",
    "cyan": "running",
    "key": "accent",
    "reverse": "accent",
    "cursor": "accent",
}
_BOLD: Final = ("bold", "red", "amber mark", "heading", "key")
# Substitutes for some roles if a terminal has few colours or none.
_FEW: Final[Mapping[str, Style]] = {
    "accent": Style(bold=True),
    "dim": Style(dim=True),
    "faint": Style(dim=True),
    "series7": Style(bold=True),
    "series8": Style(dim=True),
}
_MIDDLE: Final = "#808080"  # what faint curves are blended with if the background is unknown


@dataclass(frozen=True, slots=True)
class Look:
    """How this terminal is drawn on: which colours, of how many bits, and whether only ASCII."""

    colours: Colours = "16"
    ascii: bool = False
    depth: Depth = 24


@lru_cache(maxsize=512)
def style(look: Look, name: StyleName, *, is_under_cursor: bool = False) -> Style:
    """Return the terminal style of a style's name, on the row under the cursor or not."""
    palette = PALETTES[look.colours]
    if is_under_cursor and not palette.row:  # without a colour for the row, all of it is reversed
        return Style(bold=True if name in _BOLD else None, reverse=name != "reverse")
    first, _, second = name.partition(" ")
    role = _ROLES.get(first, first)
    is_series = role.startswith("series")
    colour = palette.series[int(role[-1]) - 1] if is_series else getattr(palette, role, "")
    few = _FEW.get(role) if not colour else None
    if role == "dim" and is_under_cursor and palette.row:
        colour = ""  # easier to read, and drawn in fewer bytes
    if second == "faint":
        few = None if colour.startswith("#") else Style(dim=True)
        colour = mixed(colour, palette.ground or _MIDDLE, 0.45)
    drawn = Style(
        color=_colour(look, colour),
        bgcolor=_colour(look, palette.row) if is_under_cursor else None,
        bold=True if name in _BOLD else None,
        reverse=True if name in ("reverse", "cursor") else None,
    )
    return drawn if few is None else drawn + few


def _colour(look: Look, name: str) -> Color | None:
    if not name:
        return None
    colour = Color.parse(name)
    return colour if look.depth == 24 else nearest_of_256(colour)


@lru_cache(maxsize=256)
def nearest_of_256(colour: Color) -> Color:
    """Return the nearest colour of the cube and the greys (Rich prefers the cube's, even if it is much bluer)."""
    if colour.triplet is None:
        return colour
    wanted = colour.triplet

    def distance(number: int) -> int:
        own = Color.from_ansi(number).get_truecolor()
        return sum((a - b) ** 2 for a, b in zip(own, wanted, strict=True))

    return Color.from_ansi(min(range(16, 256), key=distance))


def to_look(look: Look, text: str) -> str:
    """Return text as this terminal can show it: unchanged, or cell for cell in ASCII."""
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
