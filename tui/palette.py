"""The colours: one palette per background, each with the same roles. Nothing else in the app defines colours.

Text in any of them has a contrast of at least 4.5:1 on its background, and on the row under the cursor. `either` is
for an unknown background: 4.5:1 on black and on white. Series differ without red or green too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

Colours = Literal["none", "16", "either", "dark", "light", "colour-blind dark", "colour-blind light"]
THEMES: tuple[Colours, ...] = ("dark", "light", "colour-blind dark", "colour-blind light", "16", "none")
THEME_ABOUT: Final[Mapping[str, str]] = {
    "": "to match the terminal: dark or light",
    "dark": "for a dark background",
    "light": "for a light background",
    "colour-blind dark": "no red against green",
    "colour-blind light": "no red against green",
    "16": "the terminal's own 16 colours",
    "none": "bold, dim and reverse only",
}


@dataclass(frozen=True, slots=True)
class Palette:
    """One colour per role, as Rich names colours; "" is the terminal's own.

    Greys are from the 256 colours: half the bytes of 24 bits, and most coloured text is grey.
    """

    accent: str = ""  # selected and active elements: tab, cursor, keys, the border of what has the keyboard
    running: str = ""
    ok: str = ""
    regressed: str = ""  # and failed, lost, refused
    warning: str = ""
    queued: str = ""
    heading: str = ""
    dim: str = ""  # units, labels, secondary text
    faint: str = ""  # rules, borders, grid lines, the empty part of a bar: never text
    row: str = ""  # behind the row under the cursor
    series: tuple[str, ...] = ("",) * 8  # curves that share a chart
    ground: str = ""  # a typical background of such a terminal


_DARK: Final = Palette(
    accent="#b69cff",
    running="#56cfe1",
    ok="#74cf8b",
    regressed="#ff7b7b",
    warning="#f2bd5c",
    queued="#82aaff",
    heading="#b7c0dd",
    dim="color(247)",
    faint="color(240)",
    row="#2b2d45",
    series=("#17beff", "#f28b00", "#5cf2a0", "#d077b0", "#ffe905", "#7d86ff", "#fa5a55", "#dee5ec"),
    ground="#1e1e2e",
)
_LIGHT: Final = Palette(
    accent="#5a2bd0",
    running="#075e73",
    ok="#176629",
    regressed="#b42318",
    warning="#7d5000",
    queued="#2450b5",
    heading="#3d4663",
    dim="color(241)",
    faint="color(250)",
    row="#e4e2f6",
    series=("#046ae6", "#ad5b09", "#008055", "#680967", "#433c00", "#5406eb", "#290005", "#6a7186"),
    ground="#fdf6e3",
)

PALETTES: Final[Mapping[Colours, Palette]] = {
    "none": Palette(),
    "16": Palette(
        accent="color(5)",
        running="color(6)",
        ok="color(2)",
        regressed="color(1)",
        warning="color(3)",
        queued="color(12)",
        series=("color(6)", "color(3)", "color(5)", "color(2)", "color(1)", "color(12)", "", ""),
    ),
    "either": Palette(
        accent="#8b55e7",
        running="#088199",
        ok="#2c853b",
        regressed="#e02d27",
        warning="#a66709",
        queued="#3770e2",
        heading="#68759a",
        dim="#717684",
        faint="#717684",
        series=("#3095e5", "#996218", "#009755", "#d51ab7", "#9e9000", "#8c3af8", "#ff435a", "#8a8992"),
    ),
    "dark": _DARK,
    "light": _LIGHT,
    "colour-blind dark": replace(
        _DARK,
        accent="#e294c4",
        running="#3fc9a0",
        ok="#5cb8f0",
        regressed="#ff8552",
        warning="#f0e442",
        queued="#a9b0cc",
        row="#33283a",
    ),
    "colour-blind light": replace(
        _LIGHT,
        accent="#9c2f74",
        running="#006b50",
        ok="#0061a1",
        regressed="#ad2e00",
        warning="#665c00",
        queued="#4c4f86",
        row="#f6e2ee",
    ),
}


def mixed(colour: str, ground: str, share: float) -> str:
    """Return a colour blended with a ground, keeping `share` of itself; a terminal's own colour is unchanged."""
    if not (colour.startswith("#") and ground):
        return colour
    pairs = ((int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(own * share + under * (1 - share)):02x}" for own, under in pairs)
