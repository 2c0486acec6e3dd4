"""The charts of the Compare screen: all runs' curves of a metric in one chart, told apart by colour and letter."""

from __future__ import annotations

from finetop.core.wording.metrics import shown, title_of
from finetop.core.wording.units import decimals
from finetop.tui.screens.compare.state import CompareState
from finetop.tui.screens.run.x_axis import NAMES, axis_of, place_words, step_at
from finetop.tui.screens.run.zoom import Axis, Shown, fitted as fitted_axis, oldest_in, with_mouse
from finetop.tui.screens.shared.lettered import ENDS, LETTERS, lettered, style_of
from finetop.tui.text import Line, cursor_mark, line_width
from finetop.tui.theme import Look
from finetop.tui.widgets.chart import draw, plot_width
from finetop.tui.widgets.chart_grid import hit, rows_of_charts
from finetop.tui.widgets.pointed_lines import PointedLines
from finetop.tui.widgets.series import Series, View, end_value, fitted, settled_scale, value_at

_WIDE_ENDS_FROM = 70  # cells; wider charts label curves at the right, narrower ones inside the picture


def ends_of(width: int) -> int:
    """Return the width of the labels right of the chart, in cells."""
    return ENDS if width >= _WIDE_ENDS_FROM else 0


def axis_of_all(state: CompareState) -> Axis:
    """Return the x axis of the charts: it ends where the longest run does that has begun."""
    shown, width = state.shown, state.layout.chart_width
    cells = plot_width(width - ends_of(width))
    started = [run for run in state.runs if run.row.step] or state.runs
    axes = [axis_of(run, shown.x, state.newest.get((run.row.name, shown.x)), cells) for run in started]
    end, newest = max((axis.end for axis in axes), default=1), max((axis.newest for axis in axes), default=0)
    curves = [curve for of_runs in state.curves.values() for curve in of_runs if curve is not None]
    oldest = oldest_in(curves, state.stretch) if state.stretch.x == shown.x else 0
    return fitted_axis(Axis(end, newest, cells, axes[0].grain if axes else 1, oldest), shown)


def series_of(state: CompareState, metric: str, smoothing: float) -> list[Series]:
    """Return the curves to draw, the selected run last so that its line is on top."""
    numbered = []
    for number, (run, curve) in enumerate(zip(state.runs, state.curves.get(metric, ()), strict=False)):
        if curve is not None and curve.column and run.row.name not in state.hidden:
            value = curve.last_value if not smoothing else end_value(Series(curve), smoothing)
            numbered.append((number, lettered(metric, number, curve, value)))
    return [series for _, series in sorted(numbered, key=lambda pair: (pair[0] == state.chosen, pair[0]))]


def chart_lines(state: CompareState, look: Look) -> list[Line]:
    """Draw the charts of the page in a grid, each with its title."""
    drawn = [_chart(state, metric, look) for metric in state.metrics]
    return rows_of_charts(drawn, state.layout.chart_columns, state.size[0])


def _chart(state: CompareState, metric: str, look: Look) -> list[Line]:
    width, height = state.layout.chart_width, state.layout.chart_height
    own, (x, first, last, _) = state.grid.view_of(metric, state.shown), state.stretch
    view = View(first, last, own.cursor, own.smoothing, own.is_log, x)
    series = series_of(state, metric, view.smoothing)
    whole = fitted(None, series, view)
    settled = None if own.is_fit is False else settled_scale(series, view)
    picture = draw(
        series,
        width=width,
        height=height - 1,
        view=view,
        scale=settled or whole,
        ends=ends_of(width),
        has_letters=len(series) > 1,
        only_ascii=look.ascii,
    )
    has_cursor = metric == state.grid.metric(state.metric_keys)
    title = _title(state, metric, view, is_cut=settled is not None)
    return [(cursor_mark(has_cursor), *title), *picture]


def _title(state: CompareState, metric: str, view: View, *, is_cut: bool) -> Line:
    """Return the metric, how it is drawn, and each run's value at the cursor; a part that does not fit is dropped."""
    line: Line = ((title_of(metric), "bold"),)
    width, hidden = state.layout.chart_width, state.hidden
    parts: list[Line] = []
    most = 0  # values behind one number at the cursor
    if view.cursor is not None:
        cells = plot_width(width - ends_of(width))
        readings = {
            number: value_at(Series(curve), view.cursor, view.smoothing)
            for number, (run, curve) in enumerate(zip(state.runs, state.curves.get(metric, ()), strict=False))
            if curve is not None and run.row.name not in hidden
        }
        step = step_at(view, None, view.cursor, cells, readings.get(state.chosen))
        parts.append(((place_words(view, view.cursor, cells, step), "bold"),))
        for number, reading in readings.items():
            text = "-" if reading is None else shown(metric, reading.value)
            most = max(most, 0 if reading is None else reading.number)
            letter: Line = ((LETTERS[number], style_of(number)),)
            parts.append((*letter, (f" {text}", "bold" if number == state.chosen else "")))
    if most > 1 and not view.smoothing:
        parts.append(((f"means of up to {most} values", "dim"),))
    if view.x != "step":
        parts.append(((NAMES[view.x], "dim"),))
    if view.smoothing:
        parts.append(((f"smoothed {decimals(view.smoothing, 1)}", "dim"),))
    if view.is_log:
        parts.append((("log y", "dim"),))
    if is_cut:
        parts.append((("start cut off, ", "dim"), ("i", "bold"), (" all", "dim")))
    if hidden:
        parts.append(((f"{len(hidden)} hidden", "dim"),))
    for part in parts:
        if 1 + line_width(line) + 2 + line_width(part) <= width:
            line = (*line, ("  ", ""), *part)
    return line


def pointed_at(state: CompareState, event: PointedLines.Used) -> Shown | None:
    """Return how the curves are looked at after the mouse was used on a chart; None elsewhere."""
    layout, width = state.layout, state.size[0]
    ends = ends_of(layout.chart_width)
    place = hit(layout, width, event.x, event.y, ends)
    if place is None or state.tab != "numbers" or place[0] >= len(state.metrics):
        return None
    drag_start = hit(layout, width, *event.start, ends) if isinstance(event, PointedLines.Dragged) else None
    start = None if drag_start is None else drag_start[1]
    return with_mouse(state.shown, axis_of_all(state), event, place[1], start)
