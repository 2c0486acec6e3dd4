"""Draw charts and bars as inline SVG, in the page's own colours: no script, no external file."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence

from finetop.core.features.report.page import Bars, Chart, Line
from finetop.core.text import clean_line
from finetop.core.wording.verdicts import signed

WIDTH, HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 30, 26  # margins around the plot
_TITLE = 24  # height for a chart's title in a file of several
_ROW = 24  # height of a bar's row
_NAME = 150  # width for the names of bars
_LETTERS = 20  # longest name of a bar
_DOT = 2.6
_CHARACTER_WIDTH = 8  # the largest width of a character
_NO_XML = {0xFFFE: None, 0xFFFF: None}  # not allowed in XML
COLOURS = 5  # of curves; distinguishable for the colour-blind too (Okabe, Ito)

COLOURS_CSS = (
    ":root{color-scheme:light dark;--paper:#fdfdfc;--ink:#1c1f24;--dim:#656d76;--rule:#dfe3e8;"
    "--bad:#b42318;--good:#1a6e2e;--open:#8a5a00;--c0:#0b5cad;--c1:#d55e00;--c2:#00795a;--c3:#a6478d;--c4:#6b6b00}"
    "@media (prefers-color-scheme:dark){:root{--paper:#11131a;--ink:#e4e6ea;--dim:#8f97ad;--rule:#2b2f3a;"
    "--bad:#ff6b6b;--good:#7ec77e;--open:#e5b567;--c0:#6db3f2;--c1:#ff9e5e;--c2:#4fd1a5;--c3:#e59bd3;--c4:#d6d05a}}"
)
PICTURE_CSS = (
    "svg{background:var(--paper)}svg text{fill:var(--dim);font:12px system-ui,sans-serif}"
    ".grid{stroke:var(--rule)}.zero{stroke:var(--ink)}.limit{stroke:var(--open);stroke-dasharray:5 4}"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}.band{opacity:.18;stroke:none}"
    ".interval{stroke-width:3;opacity:.55}"
    "circle.bad{fill:var(--bad)}circle.good{fill:var(--good)}circle.open{fill:var(--open)}"
    ".interval.bad{stroke:var(--bad)}.interval.good{stroke:var(--good)}.interval.open{stroke:var(--open)}"
    + "".join(
        f".line.c{n}{{stroke:var(--c{n})}}.band.c{n},.dot.c{n}{{fill:var(--c{n})}}" for n in range(COLOURS)
    )
)


def escape(text: str) -> str:
    """Escape outside text for HTML and SVG, in attributes too."""
    return html.escape(clean_line(text).translate(_NO_XML), quote=True)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers within [low, high], about `about` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(drawn: Chart) -> str:
    """Draw curves over steps: the mean as a line, each bin's lowest to highest as a band behind it."""
    low, high = _extent(drawn)
    last = max(drawn.last, drawn.first + 1e-9)
    plot_width, plot_height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + plot_width * (step - drawn.first) / (last - drawn.first)
        return x, _TOP + plot_height * (high - min(max(value, low), high)) / (high - low)

    parts = []
    for value in ticks(low, high, 4):
        y = place(drawn.first, value)[1]
        parts.append(_rule(_LEFT, y, WIDTH - _RIGHT, y, "grid"))
        parts.append(_text(_LEFT - 6, y + 4, f"{value:.4g}", "end"))
    for step in ticks(drawn.first, last, 6):
        x, text = place(step, low)[0], f"{step:,.12g}"
        is_cut = x + _CHARACTER_WIDTH * len(text) / 2 > WIDTH  # half of it would be outside
        parts.append(_text(WIDTH - 2 if is_cut else x, HEIGHT - 8, text, "end" if is_cut else "middle"))
    if drawn.limit is not None and low <= drawn.limit <= high:
        y = place(drawn.first, drawn.limit)[1]
        parts.append(_rule(_LEFT, y, WIDTH - _RIGHT, y, "limit"))
        whose = f" of {clean_line(drawn.lines[0].name)[:40]}" if len(drawn.lines) > 1 else ""
        parts.append(_text(WIDTH - _RIGHT, y - 4, f"limit{whose} {drawn.limit:g}", "end"))
    at = _LEFT
    for number, line in enumerate(drawn.lines):
        parts += _curve(line, number, place)
        name = clean_line(line.name)[:40] + (f" {line.mean[-1]:.4g}" if line.mean else "")
        parts.append(_rule(at, _TOP - 16, at + 16, _TOP - 16, f"line c{number % COLOURS}"))
        parts.append(_text(at + 21, _TOP - 12, name, "start"))
        at += 40 + 7 * len(name)
    return _svg(HEIGHT, drawn.title, parts)


def _extent(drawn: Chart) -> tuple[float, float]:
    """Return the lowest and highest value of a chart, with a margin."""
    values = [value for line in drawn.lines for value in (*line.mean, *line.low, *line.high)]
    if drawn.limit is not None and math.isfinite(drawn.limit):
        values.append(drawn.limit)
    values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _curve(line: Line, number: int, place: Callable[[float, float], tuple[float, float]]) -> Iterator[str]:
    colour = f"c{number % COLOURS}"
    if len(line.low) == len(line.high) == len(line.steps) > 1:
        upper = [place(*point) for point in zip(line.steps, line.high, strict=True)]
        lower = [place(*point) for point in zip(line.steps, line.low, strict=True)]
        yield f'<polygon class="band {colour}" points="{_points([*upper, *reversed(lower)])}"/>'
    points = [place(*point) for point in zip(line.steps, line.mean, strict=True)]
    yield f'<polyline class="line {colour}" points="{_points(points)}"/>'
    if line.is_points or len(points) == 1:
        for x, y in points:
            yield f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}"/>'


def bars(drawn: Bars) -> str:
    """Draw changes below each other: a dot with its interval, a line at the base and one at the allowed loss."""
    ends = [end for bar in drawn.bars for end in (bar.change, bar.low, bar.high) if end is not None]
    low, high = min([*ends, drawn.limit, 0.0]), max([*ends, 0.0])
    room = 0.04 * (high - low) or 1.0
    low, high = max(-100.0, low - room), min(100.0, high + room)
    right = 64  # width for the number right of the plot
    height = _TOP + _ROW * len(drawn.bars) + _BOTTOM
    plot_width = WIDTH - _NAME - right

    def x(value: float) -> float:
        return _NAME + plot_width * (min(max(value, low), high) - low) / (high - low)

    bottom = height - _BOTTOM
    parts = []
    for value in ticks(low, high, 6):
        parts.append(_rule(x(value), _TOP - 6, x(value), bottom, "zero" if not value else "grid"))
        parts.append(_text(x(value), height - 8, f"{value:+g}" if value else "0", "middle"))
    parts.append(_rule(x(drawn.limit), _TOP - 6, x(drawn.limit), bottom, "limit"))
    parts.append(_text(x(drawn.limit) - 4, _TOP - 12, f"limit {drawn.limit:+g}", "end"))
    for row, bar in enumerate(drawn.bars):
        y = _TOP + _ROW * (row + 0.5)
        name = clean_line(bar.name)
        name = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
        parts.append(_text(_NAME - 10, y + 4, name, "end"))
        if bar.low is not None and bar.high is not None:
            parts.append(_rule(x(bar.low), y, x(bar.high), y, f"interval {bar.tone}"))
        parts.append(f'<circle class="{bar.tone}" cx="{x(bar.change):.1f}" cy="{y:.1f}" r="4.5"/>')
        parts.append(_text(WIDTH - 8, y + 4, signed(bar.change, drawn.limit), "end"))
    return _svg(height, drawn.title, parts)


def standalone(charts: Sequence[Chart]) -> str:
    """Draw charts below each other as a standalone file, with its colours."""
    style = f"<style>{COLOURS_CSS}{PICTURE_CSS}</style>"
    height = _TITLE + HEIGHT
    parts = []
    for row, drawn in enumerate(charts):
        parts.append(_text(_LEFT, row * height + 16, drawn.title, "start"))
        place = f'<svg x="0" y="{row * height + _TITLE}" width="{WIDTH}" height="{HEIGHT}"'
        parts.append(chart(drawn).replace("<svg", place, 1))
    size = f'width="{WIDTH}" height="{height * len(charts)}" viewBox="0 0 {WIDTH} {height * len(charts)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(parts)}</svg>\n'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    name = escape(title)
    start = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{name}">'
    return f"{start}<title>{name}</title>{''.join(parts)}</svg>"


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
