"""Writes what is shown in a form: csv and Markdown of tables and points, png of both, svg of charts or the screen."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from finetop.core.client.report import Table
from finetop.core.client.report.formats.markdown import block_text
from finetop.core.client.report.svg import standalone
from finetop.core.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.client.report import Block, Chart
    from finetop.tui.save import Sheet

_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # the reader's own: no address in the file is asked
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?")


def endings(shown: Sheet) -> tuple[str, ...]:
    """List the forms that there are of it, the usual one first."""
    if shown.charts:
        return (".svg", ".png", ".csv", ".md")
    return (".csv", ".md", ".png", ".svg") if shown.tables else (".svg",)


def written(shown: Sheet, ending: str, screen: str) -> bytes:
    """Write it. `screen` is the picture of the screen, for where there is no chart."""
    if ending == ".png":
        from finetop.core.client.report.png import png  # pillow, 20 ms, for those who want one

        return png(shown.charts, shown.tables)
    return _text(shown, ending, screen).encode("utf-8", "replace")


def _text(shown: Sheet, ending: str, screen: str) -> str:
    match ending:
        case ".csv":
            return "\r\n".join(_csv(table) for table in _all_tables(shown))
        case ".md":
            blocks: tuple[Block, ...] = (*shown.charts, *shown.tables)
            return "\n\n".join(block_text(block) for block in blocks) + "\n"
        case _:
            return standalone(shown.charts) if shown.charts else _FONT.sub("", screen)


def _all_tables(shown: Sheet) -> Sequence[Table]:
    return (_points(shown.charts), *shown.tables) if shown.charts else shown.tables


def _points(charts: Sequence[Chart]) -> Table:
    """Lay out what the curves of charts go through: a row for each, as it is drawn."""
    rows = []
    for chart in charts:
        for line in chart.lines:
            low, high = line.low or line.mean, line.high or line.mean
            for step, mean, least, most in zip(line.steps, line.mean, low, high, strict=True):
                rows.append((line.name, f"{step:.9g}", f"{mean:.9g}", f"{least:.9g}", f"{most:.9g}"))
    return Table(("curve", charts[0].x, "mean", "lowest", "highest"), tuple(rows))


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_cell(cell) for cell in table.head])
    writer.writerows([_cell(cell) for cell in row] for row in table.rows)
    return text.getvalue()


def _cell(text: str) -> str:
    """Make outside text safe within a cell: a spreadsheet obeys what begins as a formula."""
    shown = clean(text)
    return (
        f"'{shown}" if shown.startswith(_FORMULA) and not _NUMBER.fullmatch(shown) and shown != "-" else shown
    )
