"""The charts of the Run screen: how a tab is divided into them, what each draws, and its title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetop.core.protocol.messages.runs import Curve
from finetop.core.protocol.runs import RunDetail
from finetop.tui.screens.run.log_tab import LogView
from finetop.tui.screens.run.marks import Event, marks_in
from finetop.tui.screens.run.x_axis import NAMES, place_words
from finetop.tui.screens.shared.metric_names import drift_limit, shown, title_of
from finetop.tui.text import Line, cursor_mark, cut_end, decimals, line_width
from finetop.tui.theme import SERIES
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import draw, plot_width
from finetop.tui.widgets.chart_grid import Layout, chart_width, columns_in, grid_of, rows_of_charts
from finetop.tui.widgets.log import Tail
from finetop.tui.widgets.series import Series, View, value_at

NUMBERS = 2  # rows of numbers below the charts
_LOG = 7  # rows that they leave for the log, and its rule
_LEAST_WORDS = 10  # cells of what happened, in a title


@dataclass(frozen=True, slots=True)
class Board:
    """All that is held for the metrics tab. `view` is what the curves were asked for.

    `charts` are drawn, each in its own view; `small` are numbers; the cursor is on `metric`, that of the charts on
    `step`, where the log is read `near`.
    """

    detail: RunDetail
    curves: Mapping[str, Curve]
    scales: Mapping[str, Scale]
    sparks: Mapping[str, str]
    view: View
    views: Mapping[str, View]
    tail: Tail
    near: LogView
    layout: Layout
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


def layout_of(width: int, height: int, *, is_over: bool = False, is_full: bool = False) -> Layout:
    """Divide the metrics tab: a run that failed leaves half of it to its log."""
    return grid_of(width, height, below=height - height // 2 if is_over else NUMBERS + _LOG, is_full=is_full)


def system_layout(width: int, height: int, charts: int) -> Layout:
    """Divide the system tab: charts side by side, low enough that the facts below are seen, too."""
    columns = columns_in(width)
    rows = max(1, -(-charts // columns))
    return Layout(columns, rows, chart_width(width, columns), min(9, max(5, (height - 8) // rows)))


def wanted_keys(charts: list[str]) -> list[str]:
    """Name the curves that the charts need."""
    return [*charts, "eval_loss"] if "loss" in charts else charts


def series_of(key: str, curves: Mapping[str, Curve]) -> list[Series]:
    """Return what is drawn in a metric's chart."""
    series: list[Series] = []
    if key in curves:
        last = curves[key].last_value
        series.append(Series(curves[key], end="" if last is None else shown(key, last)))
    if key == "loss" and "eval_loss" in curves:
        series.append(Series(curves["eval_loss"], is_points=True, style=SERIES[1]))
    return series


def chart_rows(board: Board, width: int) -> list[Line]:
    """Draw the charts, row by row."""
    return rows_of_charts([_chart(board, key) for key in board.charts], board.layout.chart_columns, width)


def _chart(board: Board, key: str) -> list[Line]:
    series, layout = series_of(key, board.curves), board.layout
    limit = drift_limit(board.detail.recipe) if key == "drift" else None
    picture = draw(
        series,
        width=layout.chart_width,
        height=layout.chart_height - 1,
        view=board.views[key],
        scale=board.scales.get(key),
        limit=limit,
        marks=marks_in(board.events, only_ascii=board.only_ascii),
        only_ascii=board.only_ascii,
    )
    return [_title(board, key, series, limit, layout.chart_width), *picture]


def _title(board: Board, key: str, series: list[Series], limit: float | None, width: int) -> Line:
    """Write a chart's title: its newest values, or those at the cursor; what does not fit goes as a whole.

    The metric's name stays. The names of its lines go first: a point is marked as it is drawn.
    """
    view = board.views[key]
    gutter: Line = (cursor_mark(key == board.metric),)
    named = (*gutter, (title_of(key), "bold"))
    parts = _values(board, key, series, width, has_names=True)
    room = width - line_width(named) - sum(line_width(part) + 2 for part in parts)
    if room < 0:
        parts = _values(board, key, series, width, has_names=False)
    if limit is not None and parts:
        words = f" (limit {decimals(limit)})"
        parts[-1] = (*parts[-1], (words if len(words) <= room else "", ""))
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
    line: Line = named
    for part in parts:
        if line_width(line) + 2 + line_width(part) <= width:
            line = (*line, ("  ", ""), *part)
    room = width - line_width(line) - 2
    if board.under_cursor and room >= _LEAST_WORDS:
        event = board.under_cursor[0]
        line = (*line, ("  ", ""), (cut_end(event.words, room), event.mark.style or "bold"))
    return line


def _values(board: Board, key: str, series: list[Series], width: int, *, has_names: bool) -> list[Line]:
    """Write where the cursor is, and each line's value there; without a cursor its newest."""
    view = board.views[key]
    parts: list[Line] = []
    if view.cursor is not None:
        words = place_words(view, view.cursor, plot_width(width), board.step or 0)
        parts.append(((words, "bold"),))
    for plot in series:
        name = {"loss": "train ", "eval_loss": "eval "}.get(plot.curve.key, "") if has_names else ""
        if view.cursor is not None:
            number = value_at(plot, view.cursor, view.smoothing)
            text = "-" if number is None else shown(key, number)
        else:
            text = shown(key, board.detail.row.metrics.get(plot.curve.key, plot.curve.last_value))
        point: Line = ((" o" if board.only_ascii else " •", SERIES[1]),) if plot.is_points else ()
        parts.append(((name, ""), (text, "amber" if text == "not finite" else "bold"), *point))
    return parts
