"""The metrics tab of the Run screen: charts, the other metrics as numbers, the end of the log, alarms."""

from __future__ import annotations

from finetop.core.protocol.events import NO_NUMBERS
from finetop.core.protocol.runs import Failed, Queued, Running, RunRow
from finetop.core.text import count
from finetop.core.wording.metrics import shown, title_of
from finetop.core.wording.units import decimals
from finetop.tui.screens.run import log_tab
from finetop.tui.screens.run.charts import Board, chart_rows
from finetop.tui.screens.run.grid import SPARK, numbered
from finetop.tui.screens.run.recipe import data_lines, plan_line, settings_lines
from finetop.tui.screens.run.steps import alarm_row, open_alarm
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.shared.drift import drift_forecast, drift_limit
from finetop.tui.screens.shared.run_status import alarm_words, verdict_words
from finetop.tui.text import Line, cut_end, line_width, rule, wrapped
from finetop.tui.theme import SERIES
from finetop.tui.widgets.chart import columns_of
from finetop.tui.widgets.chart_grid import beside
from finetop.tui.widgets.log import last_rows


def metrics_lines(board: Board) -> list[Line]:
    """Return the whole tab."""
    state, (width, height) = board.state, board.state.size
    if isinstance(state.row.state, Queued):
        title = rule((("not started yet; its settings", ""),), width)
        return [title, *settings_lines(state.detail.recipe, width)][:height]
    if not state.metric_keys:
        return _starting_lines(board, width, height)
    lines = chart_rows(board)
    if state.is_full:
        return lines[:height]
    if not board.views:
        lines.append(((" No metric has this in its name.", "dim"),))
    lines += _number_rows(board, width)
    below = _below_lines(board, width)
    rows = max(0, height - len(lines) - len(below) - 1)
    if rows:
        near = None if state.step is None else log_tab.near_lines(state.near, state.step, width, rows)
        lines.append(_cursor_rule(board, width) or log_rule(width))
        log = last_rows(state.held.tail, rows) if near is None else near
        lines += [*log, *[()] * (rows - len(log))]
    return [*lines, *below][:height]


def log_rule(width: int) -> Line:
    """Return the rule above the end of the log."""
    return rule((("log, newest last", ""),), width, (("l", "key"), (" whole log", "dim")))


def _cursor_rule(board: Board, width: int) -> Line:
    step = board.state.step
    if step is None:
        return ()
    text = ", ".join(event.words for event in board.under_cursor)
    right: Line = (("l", "key"), (f" log at step {count(step)}", "dim"))
    room = max(10, width - 8 - line_width(right))
    title = f"step {count(step)}{': ' if text else ''}{text}"
    return rule(((cut_end(title, room), "bold" if text else ""),), width, right)


def _starting_lines(board: Board, width: int, height: int) -> list[Line]:
    lines = [*data_lines(board.state.detail, width), *plan_line(board.state.detail)]
    below = _below_lines(board, width)
    rows = max(0, height - len(lines) - len(below) - 1)
    log = last_rows(board.state.held.tail, rows)
    return [*lines, log_rule(width), *log, *[()] * (rows - len(log)), *below][:height]


def _number_rows(board: Board, width: int) -> list[Line]:
    state, layout = board.state, board.state.layout
    columns = layout.chart_columns
    cells = [_number(state, key, layout.chart_width) for key in numbered(state.small, columns)]
    cells.append(_check_cell(state.row))
    return [beside(cells[at : at + columns], columns, width) for at in range(0, len(cells), columns)]


def _number(state: ViewState, key: str, width: int) -> Line:
    text = shown(key, state.row.metrics[key])
    line: Line = ((f" {cut_end(title_of(key, is_tight=True), 11):<11} ", ""), (f"{text:<8}", "bold"))
    spark = state.held.sparks.get(key, "")
    return (*line, (" " + spark, SERIES[0])) if line_width(line) + 1 + SPARK <= width else line


def _check_cell(row: RunRow) -> Line:
    step = row.check.step if row.check is not None and row.checking is None else None
    label: Line = ((f" {'check' if step is None else f'check at {count(step)}':<11} ", ""),)
    if isinstance(row.checking, Running):
        state = row.checking
        done = f" {state.done:.0f} of {state.total:.0f}" if state.done is not None and state.total else ""
        return (*label, (f"running{done}", "cyan"))
    if isinstance(row.checking, Queued):
        return (*label, ("queued", ""))
    if row.check is None:
        return (*label, ("none yet", "dim"))
    return (*label, *verdict_words(row.check, short=True))


def _below_lines(board: Board, width: int) -> list[Line]:
    """Return what needs attention: the newest open alarm, the drift forecast, or how to fix a failed run."""
    detail = board.state.detail
    if isinstance(detail.row.state, Failed) and detail.row.state.hint:
        rows = wrapped(detail.row.state.hint, width - 10, 2)
        return [((" fix     " if not at else " " * 9, "bold"), (row, "")) for at, row in enumerate(rows)]
    alarm = open_alarm(detail)
    if alarm is not None and alarm.kind == NO_NUMBERS:
        first, *rest = wrapped(alarm.text, width - 4, 3)  # it ends with what to do
        return [((" ! ", "amber mark"), *alarm_words(first)), *[((f"   {row}", "amber"),) for row in rest]]
    if not isinstance(detail.row.state, Running):
        return []
    return [*([] if alarm is None else [alarm_row(alarm)]), *_forecast(board)]


def _forecast(board: Board) -> list[Line]:
    limit = drift_limit(board.state.detail.recipe)
    curve, view = board.curves.get("drift"), board.view
    steps = board.state.row.steps
    if limit is None or curve is None or not steps or view.x != "step" or view.last < steps:
        return []
    columns = columns_of(board.state.layout.chart_width)
    step = drift_forecast(curve, limit, int(view.first), int(view.last), columns)
    if step is None:
        return []
    text = f" {shown('drift', curve.mean[-1])}: at this pace it reaches the limit {decimals(limit)} near step"
    return [((" ! ", "amber mark"), ("DRIFT", "amber mark"), (f"{text} {count(_rounded(step))}", "amber"))]


def _rounded(step: int) -> int:
    """Round to two digits: the forecast is no better, and an unchanged line costs no bytes on a slow link."""
    unit = int(10 ** max(0, len(str(step)) - 2))
    return round(step / unit) * unit
