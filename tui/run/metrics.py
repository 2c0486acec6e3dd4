"""The metrics tab of the Run screen: the charts that decide, the other numbers, the end of the log, alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.protocol import Curve
from finetop.core.run import Failed, Lost, Queued, Running
from finetop.tui.run.across import NAMES, place_words
from finetop.tui.run.alarms import alarm_row, open_alarm
from finetop.tui.run.marks import Event, marks_in
from finetop.tui.run.numbers import drift_forecast, drift_limit, metric_keys, shown, title_of
from finetop.tui.run.recipe import data_lines, plan_line, settings_lines
from finetop.tui.verdicts import verdict_words
from finetop.tui.widgets.chart import Series, View, columns_of, draw, plot_width, value_at
from finetop.tui.widgets.lines import Line, line_width, rule
from finetop.tui.widgets.log import last_rows
from finetop.tui.widgets.wrap import wrapped
from finetop.tui.words import count, cut_end, without_zero

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.run import RunDetail, RunRow
    from finetop.tui.widgets.axis import Scale
    from finetop.tui.widgets.log import Tail

SPARK = 16  # cells
LOG = 10  # rows that four charts leave for the log
_NUMBERS = 2  # rows
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
        return Layout(columns, 2, chart_width, min(13, max(7, (height - _NUMBERS - 2 - LOG) // 2)))
    wanted = height // 3 if is_over else height // 2
    return Layout(columns, 1, chart_width, min(14, max(5, wanted)))


def system_layout(width: int, height: int, charts: int) -> Layout:
    """Divide the system tab: charts side by side, low enough that the facts below are seen, too."""
    columns = 2 if width >= 60 else 1
    chart_width = width // 2 - 2 if columns == 2 else width - 1
    rows = max(1, -(-charts // columns))
    return Layout(columns, rows, chart_width, min(9, max(5, (height - 8) // rows)))


def has_failed(row: RunRow) -> bool:
    """Say whether a run ended with an error."""
    return isinstance(row.state, Failed | Lost)


def numbered(small: Sequence[str], metric: str | None) -> Sequence[str]:
    """Choose the numbers that there is room for beside the check: the first, or those around the cursor."""
    room = 2 * _NUMBERS - 1
    at = small.index(metric) if metric in small else 0
    first = min(at // room * room, max(0, len(small) - room))
    return small[first : first + room]


def wanted_keys(charts: list[str]) -> list[str]:
    """Name the curves that the charts need."""
    return [*charts, "eval_loss"] if "loss" in charts else charts


def series_of(key: str, curves: Mapping[str, Curve]) -> list[Series]:
    """Give what is drawn in a metric's chart."""
    series = [Series(curves[key])] if key in curves else []
    if key == "loss" and "eval_loss" in curves:
        series.append(Series(curves["eval_loss"], is_points=True))
    return series


def metrics_lines(board: Board, width: int, height: int) -> list[Line]:
    """Write the tab in `height` rows."""
    row = board.detail.row
    if isinstance(row.state, Queued):
        return _waiting_lines(board.detail, width)[:height]
    if not metric_keys(row):
        return _starting_lines(board, width, height)
    failed = has_failed(row)
    layout = layout_of(width, height, is_over=failed)
    lines: list[Line] = []
    charts = list(board.charts)
    for at in range(0, len(charts), layout.chart_columns):
        lines += chart_rows(board, charts[at : at + layout.chart_columns], layout, width)
    lines += _number_rows(board, layout, width)
    below = _below_lines(board, width)
    rows = max(0, height - len(lines) - len(below) - 1)
    if rows:
        lines.append(_cursor_rule(board, width) or log_rule(width))
        log = last_rows(board.tail, rows)
        lines += [*log, *[()] * (rows - len(log))]
    return [*lines, *below][:height]


def log_rule(width: int) -> Line:
    """Draw the rule above the log's end."""
    return rule((("log, newest last", ""),), width, (("l", "bold"), (" whole log", "dim")))


def _cursor_rule(board: Board, width: int) -> Line:
    """Name what happened under the cursor in place of the log's title."""
    if board.step is None:
        return ()
    text = ", ".join(event.words for event in board.under_cursor)
    right: Line = (("l", "bold"), (f" log at step {count(board.step)}", "dim"))
    room = max(10, width - 8 - line_width(right))
    title = f"step {count(board.step)}{': ' if text else ''}{text}"
    return rule(((cut_end(title, room), "bold" if text else ""),), width, right)


def _waiting_lines(detail: RunDetail, width: int) -> list[Line]:
    """Show what a run will do, while it has no numbers."""
    title = rule((("no numbers before it starts; this is what it will do", ""),), width)
    return [title, *settings_lines(detail.recipe, width)]


def _starting_lines(board: Board, width: int, height: int) -> list[Line]:
    """Say what is known before the first step: the data, the plan; the rest is the log."""
    lines = [*data_lines(board.detail, width), *plan_line(board.detail)]
    below = _below_lines(board, width)
    rows = max(0, height - len(lines) - len(below) - 1)
    log = last_rows(board.tail, rows)
    return [*lines, log_rule(width), *log, *[()] * (rows - len(log)), *below][:height]


def chart_rows(board: Board, keys: list[str], layout: Layout, width: int) -> list[Line]:
    """Draw charts beside each other."""
    drawn = [_chart(board, key, layout) for key in keys]
    left, *others = drawn
    if not others:
        return left if layout.chart_columns == 1 else [_beside(line, (), width) for line in left]
    return [_beside(a, b, width) for a, b in zip(left, others[0], strict=True)]


def _beside(left: Line, right: Line, width: int) -> Line:
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
        place = place_words(view, view.cursor, plot_width(width))
        parts.append(((f"step {count(board.step or 0)}" if view.x == "step" else place, "bold"),))
    for one in series:
        name = {"loss": "train ", "eval_loss": "eval "}.get(one.curve.key, "")
        if view.cursor is not None:
            number = value_at(one, view.cursor, view.smoothing)
            text = "-" if number is None else shown(key, number)
        else:
            text = shown(key, board.detail.row.metrics.get(one.curve.key, one.curve.last_value))
        point: Line = ((" o" if board.only_ascii else " •", "bold"),) if one.is_points else ()
        parts.append(((name, ""), (text, "amber" if text == "not finite" else "bold"), *point))
    if limit is not None and parts:
        parts[-1] = (*parts[-1], (f" of {without_zero(limit)}", ""))
        parts.append((("nats a token", "dim"),))
    bad = sum(one.curve.bad for one in series)
    if bad:
        parts.append(((f"{bad} not finite", "amber"),))
    if view.smoothing:
        parts.append(((f"smoothed {without_zero(view.smoothing, 1)}", "dim"),))
    if view.is_log:
        parts.append((("log y", "dim"),))
    if view.x != "step" and key == board.charts[0]:
        parts.append(((NAMES[view.x], "dim"),))
    gutter: Line = (("▸", "reverse"),) if key == board.metric else ((" ", ""),)
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


def _number_rows(board: Board, layout: Layout, width: int) -> list[Line]:
    half = width // 2 - 2 if layout.chart_columns == 2 else width - 1
    cells = [_number(board, key, half) for key in numbered(board.small, board.metric)]
    cells.append(_check_cell(board.detail.row))
    if layout.chart_columns == 1:
        return cells[:_NUMBERS]
    padded = [*cells, ()]
    return [_beside(padded[at], padded[at + 1], width) for at in range(0, len(cells), 2)]


def _number(board: Board, key: str, width: int) -> Line:
    text = shown(key, board.detail.row.metrics[key])
    gutter: Line = (("▸", "reverse"),) if key == board.metric else ((" ", ""),)
    line: Line = (*gutter, (f"{cut_end(title_of(key), 11):<11} ", ""), (f"{text:<8}", "bold"))
    spark = board.sparks.get(key, "")
    return (*line, (" " + spark, "")) if line_width(line) + 1 + SPARK <= width else line


def _check_cell(row: RunRow) -> Line:
    step = row.check.step if row.check is not None and row.checking is None else None
    label: Line = ((f" {'check' if step is None else f'check at {count(step)}':<11} ", ""),)
    if isinstance(row.checking, Running):
        state = row.checking
        done = f" {state.done:.0f} of {state.total:.0f}" if state.done is not None and state.total else ""
        return (*label, (f"under way{done}", "cyan"))
    if isinstance(row.checking, Queued):
        return (*label, ("waits for its turn", ""))
    if row.check is None:
        return (*label, ("none yet", "dim"))
    return (*label, *verdict_words(row.check, short=True))


def _below_lines(board: Board, width: int) -> list[Line]:
    """Say what needs a person: the newest alarm that is not over, where drift is heading, how to mend what failed."""
    detail = board.detail
    if isinstance(detail.row.state, Failed) and detail.row.state.hint:
        rows = wrapped(detail.row.state.hint, width - 10, 2)
        return [
            ((" mend    " if not at else "         ", "bold"), (text, "")) for at, text in enumerate(rows)
        ]
    if not isinstance(detail.row.state, Running):
        return []
    lines: list[Line] = []
    alarm = open_alarm(detail)
    if alarm is not None:
        lines.append(alarm_row(alarm))
    forecast = _forecast(board, width)
    return [*lines, *forecast]


def _forecast(board: Board, width: int) -> list[Line]:
    limit = drift_limit(board.detail.recipe)
    curve, view = board.curves.get("drift"), board.view
    steps = board.detail.row.steps
    if limit is None or curve is None or not steps or view.x != "step" or view.last < steps:
        return []
    columns = columns_of(layout_of(width, 0).chart_width)
    step = drift_forecast(curve, limit, int(view.first), int(view.last), columns)
    if step is None:
        return []
    words = f" {shown('drift', curve.mean[-1])}: at this pace it reaches the limit {without_zero(limit)} near step"
    return [((" ! ", "amber mark"), ("DRIFT", "amber mark"), (f"{words} {count(_rounded(step))}", "amber"))]


def _rounded(step: int) -> int:
    """Round a forecast: it is no better than to two digits, and a steady line costs no bytes."""
    unit = int(10 ** max(0, len(str(step)) - 2))
    return round(step / unit) * unit
