"""The metrics tab of the Run screen: the charts that decide, the other numbers, the end of the log, alarms."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.protocol.runs import Failed, Lost, Queued, RunDetail, Running, RunRow
from finetop.core.text import count
from finetop.tui.screens.run.charts import NUMBERS, Board, Layout, beside, chart_rows, layout_of
from finetop.tui.screens.run.metric_names import drift_forecast, drift_limit, metric_keys, shown, title_of
from finetop.tui.screens.run.recipe import data_lines, plan_line, settings_lines
from finetop.tui.screens.run.steps import alarm_row, open_alarm
from finetop.tui.screens.shared.run_status import verdict_words
from finetop.tui.text import Line, cursor_mark, cut_end, line_width, rule, without_zero, wrapped
from finetop.tui.widgets.chart import columns_of
from finetop.tui.widgets.log import last_rows

SPARK = 16  # cells


def has_failed(row: RunRow) -> bool:
    """Say whether a run ended with an error."""
    return isinstance(row.state, Failed | Lost)


def numbered(small: Sequence[str], metric: str | None) -> Sequence[str]:
    """Choose the numbers that there is room for beside the check: the first, or those around the cursor."""
    room = 2 * NUMBERS - 1
    at = small.index(metric) if metric in small else 0
    first = min(at // room * room, max(0, len(small) - room))
    return small[first : first + room]


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
    return rule((("log, newest last", ""),), width, (("l", "key"), (" whole log", "dim")))


def _cursor_rule(board: Board, width: int) -> Line:
    """Name what happened under the cursor in place of the log's title."""
    if board.step is None:
        return ()
    text = ", ".join(event.words for event in board.under_cursor)
    right: Line = (("l", "key"), (f" log at step {count(board.step)}", "dim"))
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


def _number_rows(board: Board, layout: Layout, width: int) -> list[Line]:
    half = width // 2 - 2 if layout.chart_columns == 2 else width - 1
    cells = [_number(board, key, half) for key in numbered(board.small, board.metric)]
    cells.append(_check_cell(board.detail.row))
    if layout.chart_columns == 1:
        return cells[:NUMBERS]
    padded = [*cells, ()]
    return [beside(padded[at], padded[at + 1], width) for at in range(0, len(cells), 2)]


def _number(board: Board, key: str, width: int) -> Line:
    text = shown(key, board.detail.row.metrics[key])
    gutter: Line = (cursor_mark(key == board.metric),)
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
    """Say what needs a person: the newest alarm that is not over, where drift is heading, how to fix what failed."""
    detail = board.detail
    if isinstance(detail.row.state, Failed) and detail.row.state.hint:
        rows = wrapped(detail.row.state.hint, width - 10, 2)
        return [
            ((" fix     " if not at else "         ", "bold"), (text, "")) for at, text in enumerate(rows)
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
