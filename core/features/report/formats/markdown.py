"""A report as Markdown: the same tables, curves as rows of blocks, intervals as text."""

from __future__ import annotations

import re

from finetop.core.features.report.formats import ReportFormat
from finetop.core.features.report.page import (
    Bar,
    Bars,
    Block,
    Chart,
    Facts,
    Line,
    Page,
    Points,
    Source,
    Table,
)
from finetop.core.text import clean
from finetop.core.wording.check_markdown import escape
from finetop.core.wording.sparkline import sparkline
from finetop.core.wording.verdicts import signed

_SPARK = 60  # blocks of a sparkline
_BAR = 41  # characters of an interval
_WORDS = {"bad": "proven", "good": "within the limit", "open": "open"}


class Markdown(ReportFormat):
    ending = ".md"

    def written(self, page: Page) -> str:
        parts = [
            f"# {escape(page.title)}",
            escape(page.about),
            f"**{escape(page.word)}** {escape(page.sentence)}",
            *([_points(page.sure)] if page.sure else []),
        ]
        for section in page.sections:
            parts += [f"## {escape(section.title)}", *map(block_text, section.blocks)]
        return "\n\n".join([*parts, f"---\n\n{escape(page.footer)}"]) + "\n"


def block_text(block: Block) -> str:
    match block:
        case Facts(rows):
            return _table(Table(("", ""), rows))
        case Points(lines):
            return _points(lines)
        case Chart():
            return _chart(block)
        case Bars():
            return _bars(block)
        case Source(title, text):
            return _folded(title, text)
        case Table():
            return _table(block)


def _points(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def _table(table: Table) -> str:
    rules = ["--:" if at in table.right else ":--" for at in range(len(table.head))]
    lines = [_row(table.head), f"|{'|'.join(rules)}|", *map(_row, table.rows)]
    return "\n".join(lines) + (f"\n\n{escape(table.more)}" if table.more else "")


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(escape(cell) for cell in cells)} |"


def _chart(chart: Chart) -> str:
    limit = "" if chart.limit is None else f", limit {chart.limit:g}"
    span = f"{chart.x} {chart.first:g} to {chart.last:,.12g}"
    head = ("curve", span, "first", "last", "lowest", "highest")
    table = Table(head, tuple(_line(line) for line in chart.lines), (2, 3, 4, 5))
    return f"**{escape(chart.title)}{escape(limit)}**\n\n{_table(table)}"


def _line(line: Line) -> tuple[str, ...]:
    ends = (line.mean[0], line.mean[-1], min(line.low or line.mean), max(line.high or line.mean))
    return (line.name, sparkline(line.mean, _SPARK), *(f"{end:.4g}" for end in ends))


def _bars(drawn: Bars) -> str:
    bars, limit = drawn.bars, drawn.limit
    rows = [(bar.name, _interval(bar, limit), signed(bar.change, limit), _WORDS[bar.tone]) for bar in bars]
    head = ("task", "-100 to +100: ─ interval, ● change, ┊ limit", "change", "loss")
    return f"**{escape(drawn.title)}, limit {limit:+g}**\n\n{_table(Table(head, tuple(rows), (2,)))}"


def _interval(bar: Bar, limit: float) -> str:
    """Draw a change with its interval as characters from -100 to +100 points."""

    def at(value: float) -> int:
        return round((min(max(value, -100.0), 100.0) + 100) / 200 * (_BAR - 1))

    letters = ["·"] * _BAR
    if bar.low is not None and bar.high is not None:
        letters[at(bar.low) : at(bar.high) + 1] = "─" * (at(bar.high) + 1 - at(bar.low))
    letters[at(limit)] = "┊"
    letters[at(bar.change)] = "●"
    return "".join(letters)


def _folded(title: str, text: str) -> str:
    """Collapse a text."""
    return f"<details><summary>{escape(title)}</summary>\n\n{fenced(text)}\n\n</details>"


def fenced(text: str) -> str:
    """Return outside text as a block, in a fence longer than any inside it."""
    shown = clean(text).rstrip("\n")
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


PLUGIN = Markdown()
