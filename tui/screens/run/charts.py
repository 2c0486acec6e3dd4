"""The charts of the Run screen: how a tab is divided into them, what each draws, and its title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetop.core.protocol.messages.runs import Curve
from finetop.core.protocol.runs import RunDetail
from finetop.tui.screens.run.marks import Event, marks_in
from finetop.tui.screens.run.metric_names import drift_limit, shown, title_of
from finetop.tui.screens.run.x_axis import NAMES, place_words
from finetop.tui.text import Line, cursor_mark, cut_end, decimals, line_width
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import Series, View, draw, plot_width, value_at
from finetop.tui.widgets.log import Tail

LOG = 10  # rows that four charts leave for the log
NUMBERS = 2  # rows of numbers below them
_LEAST_WORDS = 10  # cells of what happened, in a title


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tab of some size is divided: charts in a grid, each with a title row; the log gets the rest."""

    chart_columns: int
    chart_rows: int
    chart_width: int
    chart_height: int  # with its title and its x axis

    @property
    def charts(self) -> int:
        """How many charts there is room for."""
        return self.chart_columns * self.chart_rows


@dataclass(frozen=True, slots=True)
class Board:
    """All that is held for the metrics tab. `view` is what the curves were asked for.

    `charts` are drawn large and `small` are numbers; `metric` is under the cursor among them, `step` under that of
    the charts.
    """

    detail: RunDetail
    curves: Mapping[str, Curve]
    scales: Mapping[str, Scale]
    sparks: Mapping[str, str]
    view: View
    tail: Tail
    charts: Sequence[str]
    small: Sequence[str]
    metric: str | None
    events: Mapping[int, list[Event]]  # by the cell of a chart
    step: int | None
    only_ascii: bool = False

    @property
    def under_cursor(self) -> list[Event]:
        """What happened under the cursor of the charts."""
        return self.events.get(self.view.cursor, []) if self.view.cursor is not None else []


def layout_of(width: int, height: int, *, is_over: bool = False) -> Layout:
    """Divide the tab: two charts side by side, four from 100x28 on; a run that failed leaves more to its log."""
    columns = 2 if width >= 60 else 1
    chart_width = width // 2 - 2 if columns == 2 else width - 1
    if width >= 100 and height >= 28:
        return Layout(columns, 2, chart_width, min(13, max(7, (height - NUMBERS - 2 - LOG) // 2)))
    rows = height // 3 if is_over else height // 2
    return Layout(columns, 1, chart_width, min(14, max(5, rows)))


def system_layout(width: int, height: int, charts: int) -> Layout:
    """Divide the system tab: charts side by side, low enough that the facts below are seen, too."""
    columns = 2 if width >= 60 else 1
    chart_width = width // 2 - 2 if columns == 2 else width - 1
    rows = max(1, -(-charts // columns))
    return Layout(columns, rows, chart_width, min(9, max(5, (height - 8) // rows)))


def wanted_keys(charts: list[str]) -> list[str]:
    """Name the curves that the charts need."""
    return [*charts, "eval_loss"] if "loss" in charts else charts


def series_of(key: str, curves: Mapping[str, Curve]) -> list[Series]:
    """Return what is drawn in a metric's chart."""
    series = [Series(curves[key])] if key in curves else []
    if key == "loss" and "eval_loss" in curves:
        series.append(Series(curves["eval_loss"], is_points=True))
    return series


def chart_rows(board: Board, keys: list[str], layout: Layout, width: int) -> list[Line]:
    """Draw charts beside each other."""
    drawn = [_chart(board, key, layout) for key in keys]
    left, *others = drawn
    if not others:
        return left if layout.chart_columns == 1 else [beside(line, (), width) for line in left]
    return [beside(a, b, width) for a, b in zip(left, others[0], strict=True)]


def beside(left: Line, right: Line, width: int) -> Line:
    """Put two halves of a row beside each other, with a line between them."""
    gap = width // 2 - 1 - line_width(left)
    return (*left, (" " * max(0, gap), ""), ("│", "dim"), *right)


def _chart(board: Board, key: str, layout: Layout) -> list[Line]:
    series = series_of(key, board.curves)
    limit = drift_limit(board.detail.recipe) if key == "drift" else None
    picture = draw(
        series,
        width=layout.chart_width,
        height=layout.chart_height - 1,
        view=board.view,
        scale=board.scales.get(key),
        limit=limit,
        marks=marks_in(board.events, only_ascii=board.only_ascii),
        only_ascii=board.only_ascii,
    )
    return [_title(board, key, series, limit, layout.chart_width), *picture]


def _title(board: Board, key: str, series: list[Series], limit: float | None, width: int) -> Line:
    """Write a chart's title: its newest values, or those at the cursor; what does not fit goes as a whole."""
    view = board.view
    parts: list[Line] = []
    if view.cursor is not None:
        words = place_words(view, view.cursor, plot_width(width), board.step or 0)
        parts.append(((words, "bold"),))
    for plot in series:
        name = {"loss": "train ", "eval_loss": "eval "}.get(plot.curve.key, "")
        if view.cursor is not None:
            number = value_at(plot, view.cursor, view.smoothing)
            text = "-" if number is None else shown(key, number)
        else:
            text = shown(key, board.detail.row.metrics.get(plot.curve.key, plot.curve.last_value))
        point: Line = ((" o" if board.only_ascii else " •", "bold"),) if plot.is_points else ()
        parts.append(((name, ""), (text, "amber" if text == "not finite" else "bold"), *point))
    if limit is not None and parts:
        parts[-1] = (*parts[-1], (f" of {decimals(limit)}", ""))
        parts.append((("nats/token", "dim"),))
    bad = sum(plot.curve.bad for plot in series)
    if bad:
        parts.append(((f"{bad} not finite", "amber"),))
    if view.smoothing:
        parts.append(((f"smoothed {decimals(view.smoothing, 1)}", "dim"),))
    if view.is_log:
        parts.append((("log y", "dim"),))
    if view.x != "step" and key == board.charts[0]:
        parts.append(((NAMES[view.x], "dim"),))
    gutter: Line = (cursor_mark(key == board.metric),)
    line: Line = (*gutter, (title_of(key), "bold"))
    values = (view.cursor is not None) + len(series)  # the parts that the title is there for
    if line_width(line) + sum(line_width(part) + 2 for part in parts[:values]) > width:
        line = gutter
    for part in parts:
        gap = 2 if len(line) > 1 else 0
        if line_width(line) + gap + line_width(part) <= width:
            line = (*line, (" " * gap, ""), *part)
    room = width - line_width(line) - 2
    if board.under_cursor and room >= _LEAST_WORDS:
        event = board.under_cursor[0]
        line = (*line, ("  ", ""), (cut_end(event.words, room), event.mark.style or "bold"))
    return line
