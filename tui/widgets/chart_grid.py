"""Charts in a grid, the same on every screen: how many per row and column, how large, which is where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetop.tui.text import Line, line_width
from finetop.tui.widgets.chart import GUTTER, plot_width

_TALLEST = 16  # rows of a chart in a grid


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tab is divided: charts in a grid, each with a title row; the area below gets the rest."""

    chart_columns: int
    chart_rows: int
    chart_width: int
    chart_height: int  # with its title and its x axis

    @property
    def charts(self) -> int:
        """Return how many charts there is room for."""
        return self.chart_columns * self.chart_rows


def grid_of(width: int, height: int, *, below: int, is_full: bool = False) -> Layout:
    """Divide a tab with `below` rows under the charts: 2 charts on 80x24, 4 on 120x40, 9 on 200x50."""
    if is_full:
        return Layout(1, 1, width - 1, height)
    columns = columns_in(width)
    rows = 1 if width < 100 or height < 28 else 2 if height < 40 else 3
    return Layout(columns, rows, chart_width(width, columns), min(_TALLEST, max(5, (height - below) // rows)))


def columns_in(width: int) -> int:
    """Return how many charts fit side by side."""
    return 1 if width < 60 else 2 if width < 160 else 3


def chart_width(width: int, columns: int) -> int:
    """Return the cells of one chart."""
    return _column_width(width, columns) - 1


def _column_width(width: int, columns: int) -> int:
    return (width - columns + 1) // columns


def hit(layout: Layout, width: int, x: int, y: int, ends: int = 0) -> tuple[int, int] | None:
    """Return which chart a cell of the tab is in, and the cell of its picture; None beside the pictures."""
    column_width = _column_width(width, layout.chart_columns) + 1
    row, column = y // layout.chart_height, x // column_width
    cell = x - column * column_width - GUTTER
    if row >= layout.chart_rows or column >= layout.chart_columns:
        return None
    cells = plot_width(layout.chart_width - ends)
    return (row * layout.chart_columns + column, min(max(0, cell), cells - 1)) if cell < cells + 1 else None


def rows_of_charts(drawn: Sequence[Sequence[Line]], columns: int, width: int) -> list[Line]:
    """Put charts of the same height side by side and in rows."""
    lines: list[Line] = []
    for at in range(0, len(drawn), columns):
        lines += [beside(row, columns, width) for row in zip(*drawn[at : at + columns], strict=True)]
    return lines


def beside(parts: Sequence[Line], columns: int, width: int) -> Line:
    """Put parts of a row side by side, each in its column, with lines between the columns."""
    cells = _column_width(width, columns)
    line: Line = ()
    for at in range(columns):
        part = parts[at] if at < len(parts) else ()
        if at:
            gap = at * (cells + 1) - 1 - line_width(line)
            line = (*line, (" " * max(0, gap), ""), ("│", "faint"))
        line = (*line, *part)
    return line
