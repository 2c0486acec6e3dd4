"""Paints charts and tables as a PNG: the charts from the SVG that svg.py draws, so that both are one picture.

Letters are of a font of this machine; where none of FONTS is here, of the one that comes with pillow, which has little
more than ASCII: marks are then written in ASCII, and other letters as ?.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from typing import TYPE_CHECKING, Any

from finetop.core.features.report.svg import COLOURS_CSS, standalone
from finetop.core.text import clean_line, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from finetop.core.features.report.page import Chart, Table

SCALE = 2  # pixels per pixel of the SVG: readable on a slide
OVERSAMPLING = 2  # painted so many times larger, then scaled down: smooth lines
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
# a table's text size, row height, column gap, margin
LETTERS, ROW, CELL, EDGE = 13, 24, 14, 16
CELL_LETTERS = 60  # longest text of a cell
ROWS_SHOWN, WIDEST = 100, 1600  # rows, and their unscaled width: 0.5 s; the csv has all
_COLOURS = dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", COLOURS_CSS.partition("@media")[0]))
_STROKES = {"grid": ("rule", 1.0, 255), "zero": ("ink", 1.0, 255), "limit": ("open", 1.0, 255)}
_DASH, _GAP = 5, 4
_ASCII = str.maketrans("–—✗✓·★▸", "--xv.*>") | {ord("…"): "...", ord("→"): "->"}


def png(charts: Sequence[Chart], tables: Sequence[Table]) -> bytes:
    """Paint charts, then tables, below each other."""
    from PIL import Image

    parts = [*([_charts(charts)] if charts else []), *map(_table, tables)]
    size = max(part.width for part in parts), sum(part.height for part in parts)
    whole = Image.new("RGB", size, _COLOURS["paper"])
    y = 0
    for part in parts:
        whole.paste(part, (0, y))
        y += part.height
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


@cache
def _font(size: int) -> tuple[Any, bool]:
    """Return the first font on this machine, and True if it has only ASCII."""
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size), False
        except OSError:
            continue
    return ImageFont.load_default(size), True


def _drawable(text: str, only_ascii: bool) -> str:
    line = clean_line(text)
    return line.translate(_ASCII).encode("ascii", "replace").decode() if only_ascii else line


# --- charts -----------------------------------------------------------------------------------------------


def _charts(charts: Sequence[Chart]) -> Image:
    from PIL import Image, ImageDraw

    tree = ElementTree.fromstring(standalone(charts))
    times = SCALE * OVERSAMPLING
    width, height = (int(float(tree.attrib[side])) for side in ("width", "height"))
    fine = Image.new("RGB", (width * times, height * times), _COLOURS["paper"])
    _paint(ImageDraw.Draw(fine, "RGBA"), tree, 0.0, 0.0, times)
    return fine.resize((width * SCALE, height * SCALE), Image.Resampling.LANCZOS)


def _paint(draw: ImageDraw, parent: ElementTree.Element, left: float, top: float, times: int) -> None:
    """Paint an element's children; `left` and `top` are its origin."""
    for child in parent:
        kind, facts = child.tag.rpartition("}")[2], child.attrib
        names = facts.get("class", "").split()
        if kind == "svg":
            _paint(draw, child, left + float(facts.get("x", 0)), top + float(facts.get("y", 0)), times)
            continue

        def at(x: str, y: str) -> tuple[float, float]:
            return (left + float(x)) * times, (top + float(y)) * times

        if kind == "line":
            ends = (at(facts["x1"], facts["y1"]), at(facts["x2"], facts["y2"]))
            _line(draw, ends, names, times)
        elif kind in ("polyline", "polygon"):
            points = [at(*pair.split(",")) for pair in facts["points"].split()]
            if kind == "polygon" and len(points) > 2:
                draw.polygon(points, fill=_colour(names[-1], 46))
            elif len(points) > 1:
                draw.line(points, fill=_colour(names[-1]), width=round(1.8 * times), joint="curve")
        elif kind == "circle":
            x, y = at(facts["cx"], facts["cy"])
            radius = float(facts["r"]) * times
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(names[-1]))
        elif kind == "text":
            font, only_ascii = _font(12 * times)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[facts["text-anchor"]]
            text = _drawable(child.text or "", only_ascii)
            draw.text(at(facts["x"], facts["y"]), text, fill=_colour("dim"), font=font, anchor=anchor)


def _line(draw: ImageDraw, ends: tuple[tuple[float, float], ...], names: list[str], times: int) -> None:
    """Paint a straight line: a rule by its name, a bar's interval, or a curve's sample in the legend."""
    if names[0] == "interval":
        draw.line(ends, fill=_colour(names[1], 140), width=3 * times)
        return
    colour, width, alpha = _STROKES.get(names[0], (names[-1], 1.8, 255))
    if names[0] != "limit":
        draw.line(ends, fill=_colour(colour, alpha), width=round(width * times))
        return
    (x, y), (end_x, end_y) = ends
    length = max(abs(end_x - x), abs(end_y - y)) or 1.0
    for start in range(0, int(length), (_DASH + _GAP) * times):
        stop = min(start + _DASH * times, length)
        dash = [(x + (end_x - x) * part / length, y + (end_y - y) * part / length) for part in (start, stop)]
        draw.line(dash, fill=_colour(colour), width=times)


def _colour(name: str, alpha: int = 255) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(_COLOURS[name][1:])
    return red, green, blue, alpha


# --- tables -----------------------------------------------------------------------------------------------


def _table(table: Table) -> Image:
    """Paint a table; rows or columns that don't fit are counted below it."""
    from PIL import Image, ImageDraw

    font, only_ascii = _font(LETTERS * SCALE)
    rows = (table.head, *table.rows[:ROWS_SHOWN])
    shown: list[list[str]] = []  # by column, as many as fit
    widths: list[float] = []
    for at in range(len(table.head)):
        cells = [_cell(row[at], only_ascii) for row in rows]
        wide = max(map(font.getlength, cells)) + CELL * SCALE
        if shown and sum(widths) + wide > WIDEST * SCALE:
            break
        shown.append(cells)
        widths.append(wide)
    columns = len(shown)
    below = _left_out(table, columns)
    edge, height = EDGE * SCALE, ROW * SCALE
    lines = len(rows) + bool(below)
    width = sum(widths)
    if below:
        width = max(width, font.getlength(below))
    image = Image.new("RGB", (round(width) + 2 * edge, lines * height + 2 * edge), _COLOURS["paper"])
    draw = ImageDraw.Draw(image)
    for number in range(len(rows)):
        x, y = float(edge), edge + (number + 0.7) * height
        for at in range(columns):
            is_right = at in table.right
            left = x + widths[at] - CELL * SCALE if is_right else x
            anchor, ink = "rs" if is_right else "ls", _COLOURS["ink" if number else "dim"]
            draw.text((left, y), shown[at][number], font=font, anchor=anchor, fill=ink)
            x += widths[at]
        under = edge + (number + 1) * height
        draw.line(((edge, under), (image.width - edge, under)), fill=_COLOURS["rule"], width=SCALE)
    if below:
        place = (edge, edge + (len(rows) + 0.7) * height)
        draw.text(place, below, font=font, anchor="ls", fill=_COLOURS["dim"])
    return image


def _cell(text: str, only_ascii: bool) -> str:
    shown = _drawable(text, only_ascii)
    return shown if len(shown) <= CELL_LETTERS else shown[: CELL_LETTERS - 3].rstrip() + "..."


def _left_out(table: Table, columns: int) -> str:
    rows = len(table.rows) - ROWS_SHOWN
    missing = (("more row", rows), ("more column", len(table.head) - columns))
    parts = [counted(number, what) for what, number in missing if number > 0]
    return f"{' and '.join(parts)}: save it as .csv for all." if parts else table.more
