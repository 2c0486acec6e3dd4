"""The curves of several runs in one chart: letters at their ends, the chosen run's line bold, values in the title."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import count
from finetop.tui.line import Line, line_width
from finetop.tui.screens.compare.state import LETTERS
from finetop.tui.screens.run.metric_names import metric_keys, shown, title_of
from finetop.tui.text import without_zero
from finetop.tui.widgets.axis import x_end
from finetop.tui.widgets.chart import Series, View, draw, fitted, place_at, plot_width, value_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import RunDetail
    from finetop.tui.screens.compare.state import Held

ROOM = 0.04  # of the x axis behind the longest run, for the letters


def metrics_of(runs: Sequence[RunDetail]) -> list[str]:
    """List the metrics that any of the runs has, the most telling first."""
    return list(dict.fromkeys(key for run in runs for key in metric_keys(run.row)))


def end_of(runs: Sequence[RunDetail]) -> int:
    """Give the last step of the x axis: that of the longest run, and room for the letters."""
    longest = max((x_end(run.row.step, run.row.steps) for run in runs), default=1)
    return longest + max(1, round(ROOM * longest))


def series_of(held: Held, chosen: int) -> list[Series]:
    """Give what is drawn, the chosen run last, so that its letter is on top."""
    found = [
        (number, Series(curve, end=LETTERS[number], is_strong=number == chosen))
        for number, curve in enumerate(held.curves)
        if curve is not None and curve.column
    ]
    return [one for _, one in sorted(found, key=lambda pair: (pair[0] == chosen, pair[0]))]


def chart_lines(
    held: Held, view: View, chosen: int, width: int, height: int, *, only_ascii: bool
) -> list[Line]:
    """Draw the chart with its title in `height` rows."""
    series = series_of(held, chosen)
    picture = draw(
        series,
        width=width,
        height=height - 1,
        view=view,
        scale=fitted(None, series, view),
        only_ascii=only_ascii,
    )
    return [_title(held, view, chosen, width), *picture]


def _title(held: Held, view: View, chosen: int, width: int) -> Line:
    """Write the metric, and each run's value at the cursor or at its end; what does not fit goes as a whole."""
    line: Line = ((f" {title_of(held.metric)}", "bold"),)
    parts: list[Line] = []
    if view.cursor is not None:
        parts.append(((f"step {count(round(place_at(view, view.cursor, plot_width(width))))}", "bold"),))
    for number, curve in enumerate(held.curves):
        if curve is None:
            continue
        value = (
            curve.last_value if view.cursor is None else value_at(Series(curve), view.cursor, view.smoothing)
        )
        text = "-" if value is None else shown(held.metric, value)
        parts.append(((f"{LETTERS[number]} {text}", "bold" if number == chosen else ""),))
    if view.smoothing:
        parts.append(((f"smoothed {without_zero(view.smoothing, 1)}", "dim"),))
    if view.is_log:
        parts.append((("log y", "dim"),))
    for part in parts:
        if line_width(line) + 3 + line_width(part) <= width:
            line = (*line, ("   ", ""), *part)
    return line
