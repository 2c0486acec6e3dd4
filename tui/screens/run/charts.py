"""The charts of the Run screen: how a tab is divided into them, their content, and their titles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from finetop.core.protocol.messages.runs import Curve
from finetop.core.text import count
from finetop.core.wording.metrics import shown, title_of
from finetop.core.wording.units import decimals
from finetop.tui.screens.run.marks import Event, by_cell, events_of, marks_in
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.run.x_axis import NAMES, place_words, step_at, steps_in
from finetop.tui.screens.shared.drift import drift_limit
from finetop.tui.text import Line, cursor_mark, cut_end, line_width
from finetop.tui.theme import SERIES
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import columns_of, draw, plot_width
from finetop.tui.widgets.chart_grid import rows_of_charts
from finetop.tui.widgets.series import Series, View, fitted, in_columns, value_at

_LEAST_WORDS = 10  # least cells for an event in a title


@dataclass(frozen=True, slots=True)
class Board:
    """How the charts of the open tab are drawn, each in its own view. `view` is what the curves were asked for."""

    state: ViewState
    curves: Mapping[str, Curve]
    scales: Mapping[str, Scale]
    view: View
    views: Mapping[str, View]  # by metric, in the order of the charts
    metric: str | None  # under the cursor: to find it costs with many metrics
    events: Mapping[int, list[Event]]  # by chart column
    only_ascii: bool = False

    @property
    def under_cursor(self) -> list[Event]:
        return self.events.get(self.view.cursor, []) if self.view.cursor is not None else []


def board_of(state: ViewState, *, only_ascii: bool = False) -> Board:
    """Gather what the charts show, and which step is under their cursor; the y axes only ever widen."""
    shown, held, layout = state.shown, state.held, state.layout
    x, first, last, columns = held.stretch
    view = View(first, last, shown.cursor, shown.smoothing, shown.is_log, x)
    is_current = (x, first, last) == (shown.x, *state.in_view)
    end = state.axis.end
    wanted = columns_of(layout.chart_width)
    curves = {key: in_columns(curve, columns, wanted) for key, curve in held.curves.items()}
    scales: dict[str, Scale] = {}
    views: dict[str, View] = {}
    for key in state.charted:
        limit = drift_limit(state.detail.recipe) if key == "drift" else None
        own = state.grid.view_of(key, shown)
        name = (key, end, own)
        views[key] = replace(view, smoothing=own.smoothing, is_log=own.is_log)
        before = state.scales.get(name) if is_current else None
        scale = fitted(before, series_of(key, curves), views[key], limit)
        if scale is not None:
            scales[key] = scale
            if is_current:
                state.scales[name] = scale
    cells = plot_width(layout.chart_width)
    events = by_cell(events_of(state.detail), view, held.steps, cells)
    state.step = None
    if view.cursor is not None:
        under = events.get(view.cursor)
        main = curves.get(next(iter(views), ""))
        reading = None if main is None else value_at(Series(main), view.cursor)
        own_step = step_at(view, held.steps, view.cursor, cells, reading)
        state.step = under[0].step if under else own_step
    return Board(state, curves, scales, view, views, state.metric, events, only_ascii)


def series_of(key: str, curves: Mapping[str, Curve]) -> list[Series]:
    """Return the series of a metric's chart."""
    series: list[Series] = []
    if key in curves:
        last = curves[key].last_value
        series.append(Series(curves[key], end="" if last is None else shown(key, last)))
    if key == "loss" and "eval_loss" in curves:
        series.append(Series(curves["eval_loss"], is_points=True, style=SERIES[1]))
    return series


def chart_rows(board: Board) -> list[Line]:
    """Draw the charts, row by row."""
    state = board.state
    charts = [_chart(board, key) for key in board.views]
    return rows_of_charts(charts, state.layout.chart_columns, state.size[0])


def _chart(board: Board, key: str) -> list[Line]:
    series, layout = series_of(key, board.curves), board.state.layout
    limit = drift_limit(board.state.detail.recipe) if key == "drift" else None
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
    """Return a chart's title; what does not fit is dropped, first the series' names: points are marked as drawn."""
    view = board.views[key]
    gutter: Line = (cursor_mark(key == board.metric),)
    name_spans = (*gutter, (title_of(key), "bold"))
    forms = (
        _values(board, key, series, width, has_names=has_names, is_brief=is_brief)
        for has_names, is_brief in ((True, False), (True, True), (False, False), (False, True))
    )
    for parts in forms:
        room = width - line_width(name_spans) - sum(line_width(part) + 2 for part in parts)
        if room >= 0:
            break
    if limit is not None and parts:
        limit_text = f" (limit {decimals(limit)})"
        parts[-1] = (*parts[-1], (limit_text if len(limit_text) <= room else "", ""))
        parts.append((("nats/token", "dim"),))
    bad = sum(plot.curve.bad for plot in series)
    if bad:
        parts.append(((f"{bad} not finite", "amber"),))
    if view.smoothing:
        parts.append(((f"smoothed {decimals(view.smoothing, 1)}", "dim"),))
    if view.is_log:
        parts.append((("log y", "dim"),))
    if view.x != "step" and key == next(iter(board.views)):
        parts.append(((NAMES[view.x], "dim"),))
    line: Line = name_spans
    for part in parts:
        if line_width(line) + 2 + line_width(part) <= width:
            line = (*line, ("  ", ""), *part)
    room = width - line_width(line) - 2
    if board.under_cursor and room >= _LEAST_WORDS:
        event = board.under_cursor[0]
        line = (*line, ("  ", ""), (cut_end(event.words, room), event.mark.style or "bold"))
    return line


def _values(
    board: Board, key: str, series: list[Series], width: int, *, has_names: bool, is_brief: bool
) -> list[Line]:
    """Return the place of the cursor and each series' value there, else the newest ones.

    A mean of several steps is called one; briefly, it stands beside the steps that it is of.
    """
    view, cells = board.views[key], plot_width(width)
    if view.cursor is None:
        newest = [board.state.row.metrics.get(plot.curve.key, plot.curve.last_value) for plot in series]
        texts = [shown(key, value) for value in newest]
        return [
            _value(board, plot, text, has_names=has_names) for plot, text in zip(series, texts, strict=True)
        ]
    readings = [value_at(plot, view.cursor, view.smoothing) for plot in series]
    step = step_at(view, None, view.cursor, cells, readings[0]) if readings and view.x == "step" else 0
    first, last = steps_in(view, view.cursor, cells)
    parts: list[Line] = []
    is_range = is_brief and view.x == "step"
    for plot, reading in zip(series, readings, strict=True):
        text = "-" if reading is None else shown(key, reading.value)
        if view.x == "step" and reading is not None and reading.step is not None:
            is_earlier = reading.step != step if reading.number == 1 else reading.step < first
            text += f" at {count(reading.step)}" if is_earlier else ""
            is_range = is_range and not (is_earlier and reading.number > 1)
        elif is_brief and reading is not None and reading.number > 1:
            text = f"mean {text}"
        parts.append(_value(board, plot, text, has_names=has_names))
    most = max((reading.number for reading in readings if reading is not None), default=0)
    if most > 1 and is_range:
        return [((f"steps {count(first)}-{count(last)}", "bold"),), *parts]
    if most > 1 and (view.x == "step" or not is_brief):
        parts.append(((f"mean of {most} steps", "dim"),))
    return [((place_words(view, view.cursor, cells, step), "bold"),), *parts]


def _value(board: Board, plot: Series, text: str, *, has_names: bool) -> Line:
    name = {"loss": "train ", "eval_loss": "eval "}.get(plot.curve.key, "") if has_names else ""
    point: Line = ((" o" if board.only_ascii else " •", SERIES[1]),) if plot.is_points else ()
    return ((name, ""), (text, "amber" if text == "not finite" else "bold"), *point)
