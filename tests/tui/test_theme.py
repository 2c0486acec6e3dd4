"""Text is readable on its background, and curves can be told apart, even without seeing red or green."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import pytest
from rich.color import Color

from finetop.tui.palette import PALETTES, Colours
from finetop.tui.theme import SERIES, Depth, Look, StyleName, nearest_of_256, style

READABLE = 4.5  # contrast ratio to 1, WCAG AA
TEXT = ("accent", "running", "ok", "regressed", "warning", "queued", "heading", "dim")
GROUNDS: dict[Colours, tuple[str, ...]] = {
    "dark": ("#000000", "#1e1e2e", "#282c34"),
    "light": ("#ffffff", "#fdf6e3", "#eeeeee"),
    "colour-blind dark": ("#000000", "#1e1e2e", "#282c34"),
    "colour-blind light": ("#ffffff", "#fdf6e3", "#eeeeee"),
    "either": ("#000000", "#ffffff"),
}
# Red, green and blue (linear) as seen without one kind of cone: Machado and others, 2009.
BLIND = {
    "red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "none": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}
APART = 18.0  # CIE76 distance; about 2 is visible side by side


def linear(colour: Color) -> list[float]:
    parts = [part / 255 for part in colour.get_truecolor()]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(first: Color, second: Color) -> float:
    low, high = sorted(
        sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))
        for colour in (first, second)
    )
    return (high + 0.05) / (low + 0.05)


def lab(parts: list[float]) -> tuple[float, float, float]:
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(a * b for a, b in zip(row, parts, strict=True)) for row in to_xyz]
    x, y, z = (
        part ** (1 / 3) if (part := value / white) > 0.008856 else 7.787 * part + 16 / 116
        for value, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("depth", [24, 8])
@pytest.mark.parametrize("colours", GROUNDS)
def test_text_can_be_read_on_its_background_and_under_the_cursor(colours: Colours, depth: Depth) -> None:
    palette = PALETTES[colours]
    needed = READABLE if depth == 24 else 3.0 if colours == "either" else 4.0  # the nearest of 256
    for ground in (*GROUNDS[colours], *filter(None, [palette.row])):
        under = Color.parse(ground) if depth == 24 else nearest_of_256(Color.parse(ground))
        for role in TEXT:
            colour = Color.parse(getattr(palette, role))
            drawn = colour if depth == 24 else nearest_of_256(colour)
            assert contrast(drawn, under) >= needed, (colours, role, ground, drawn.get_truecolor())


@pytest.mark.parametrize("blind_to", BLIND)
@pytest.mark.parametrize("colours", ["dark", "light"])
def test_curves_are_told_apart(colours: Colours, blind_to: str) -> None:
    seen = {}
    for colour in PALETTES[colours].series:
        parts = linear(Color.parse(colour))
        left = [sum(a * b for a, b in zip(row, parts, strict=True)) for row in BLIND[blind_to]]
        seen[colour] = lab([min(1.0, max(0.0, part)) for part in left])
    for first, second in combinations(seen, 2):
        apart = sum((a - b) ** 2 for a, b in zip(seen[first], seen[second], strict=True)) ** 0.5
        assert apart >= APART, (first, second)


@pytest.mark.parametrize("colours", get_args(Colours))
def test_every_style_can_be_drawn_in_every_palette(colours: Colours) -> None:
    look = Look(colours)
    for name in get_args(StyleName):
        drawn = style(look, name)
        assert (drawn.color is None) or colours != "none", name
    assert style(look, "reverse").reverse
    assert style(look, "key").bold
    background = style(look, "dim", is_under_cursor=True).bgcolor
    assert (background is not None) == (colours not in ("none", "16", "either"))


def test_256_colours_are_near_the_24_bits_and_16_are_the_terminals_own() -> None:
    red = style(Look("dark", depth=8), "red").color
    assert red is not None and red.number is not None and red.number > 15
    own_colour = style(Look("16", depth=4), "red").color
    assert own_colour is not None and own_colour.number == 1
    assert len({style(Look("16", depth=4), name) for name in SERIES}) == len(SERIES)


@pytest.mark.parametrize("colours", ["16", "none", "either"])
def test_without_a_colour_for_it_all_of_the_row_under_the_cursor_is_reversed(colours: Colours) -> None:
    names: tuple[StyleName, ...] = ("", "cursor", "dim", "red", "key", "faint")
    drawn = [style(Look(colours), name, is_under_cursor=True) for name in names]
    assert all(each.reverse and each.color is None and not each.dim for each in drawn)
    assert not style(Look(colours), "reverse", is_under_cursor=True).reverse, "what is typed there stands out"
