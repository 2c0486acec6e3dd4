"""Curves in the pane of the list: of the marked runs, each group's mean and band, or of the run under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from finetop.core.protocol.messages.runs import Curve, Curves, CurvesAnswer
from finetop.core.protocol.runs import RunRow
from finetop.core.text import clean_line, counted
from finetop.core.wording.metrics import shown, title_of
from finetop.tui.screens.shared.lettered import ENDS, LETTERS, lettered
from finetop.tui.text import Line, cut_line, distinct_names, rule
from finetop.tui.theme import Look
from finetop.tui.widgets.axis import x_end
from finetop.tui.widgets.chart import columns_of, draw, plot_width
from finetop.tui.widgets.paged_list import Ask
from finetop.tui.widgets.series import Series, View, fitted, in_columns, settled_scale

MOST = 40  # most runs whose curves are loaded
SMOOTHING = 0.6
AGE_S = 10.0  # curves of running runs are reloaded after this many seconds


class Request(NamedTuple):
    """What a run's curve was asked for: it fits no other axis."""

    metric: str
    last: int
    columns: int
    step: int  # of the run, then


class Overlay:
    """The loaded curves of the marked runs."""

    def __init__(self) -> None:
        self.curves: dict[int, Curve] = {}  # by run number
        self.metric = ""
        self.last = 1
        self.requests: dict[int, Request] = {}
        self._asked_at: dict[int, float] = {}

    async def load(self, ask: Ask, rows: Sequence[RunRow], width: int, now: float) -> bool:
        """Load the runs' missing or old curves; return whether any arrived."""
        rows = rows[:MOST]
        if not rows:
            return False
        self.metric = rows[0].main_metric
        self.last = max((x_end(row.step, row.steps) for row in rows), default=1)
        columns, is_new = columns_of(width - (ENDS if len(rows) > 1 else 0)), False
        for row in rows:
            request = Request(self.metric, self.last, columns, row.step)
            before = self.requests.get(row.id)
            is_fresh = now - self._asked_at.get(row.id, 0.0) < AGE_S
            if request == before or (before is not None and before[:3] == request[:3] and is_fresh):
                continue
            question = Curves(row.name, [self.metric], columns=columns, last=self.last)
            answer: CurvesAnswer = await ask(question)
            self.requests[row.id], self._asked_at[row.id] = request, now
            self.curves[row.id] = answer.curves[0] if answer.curves else _nothing(self.metric)
            is_new = True
        return is_new

    def curve(self, row: RunRow, columns: int, last: int) -> Curve:
        """Return a run's curve in some columns of the axis to `last`; without points if it was loaded for another."""
        request = self.requests.get(row.id)
        if request is None or (request.metric, request.last) != (self.metric, last):
            return _nothing(self.metric)
        return in_columns(self.curves[row.id], request.columns, columns)


def curve_lines(overlay: Overlay, row: RunRow, size: tuple[int, int], look: Look) -> list[Line]:
    """Draw one run's curve with its metric and last value above; nothing until it is loaded."""
    width, height = size
    end = x_end(row.step, row.steps)
    curve = overlay.curve(row, columns_of(width), end)
    if not curve.column or overlay.metric != row.main_metric:
        return []
    series = [Series(curve)]
    last, view = curve.last_value, View(0, end, smoothing=SMOOTHING)
    scale = settled_scale(series, view) or fitted(None, series, view)
    picture = draw(series, width=width, height=height - 1, view=view, scale=scale, only_ascii=look.ascii)
    number = "-" if last is None else shown(overlay.metric, last)
    return [((f"{title_of(overlay.metric, is_tight=True)} ", "dim"), (number, "bold")), *picture]


def _nothing(metric: str) -> Curve:
    return Curve(metric, [], [], [], [], 0, None, 0)


def overlay_lines(
    overlay: Overlay, rows: Sequence[RunRow], size: tuple[int, int], look: Look, *, is_grouped: bool
) -> list[Line]:
    """Draw the pane: the runs or groups, then their curves."""
    width, height = size
    ends = ENDS if plot_width(width) > 4 * ENDS else 0
    columns = columns_of(width - ends)
    lines = _by_group(overlay, rows, columns) if is_grouped else _by_run(overlay, rows, columns)
    names = distinct_names([name for name, _ in lines], max(8, (width - 16) // max(1, len(lines)) - 4))
    title: Line = ((f"{title_of(overlay.metric)}  ", "bold"),)
    for name, (_, series) in zip(names, lines, strict=True):
        title = (*title, (f"{series.letter} {name}  ", series.style))
    left_out = len(rows) - MOST if is_grouped else len(rows) - len(LETTERS)
    if left_out > 0:
        title = (*title, (f"and {left_out} more", "dim"))
    drawn = [series for _, series in lines if series.curve.column]
    view = View(0, overlay.last, smoothing=0 if is_grouped else SMOOTHING)
    picture = draw(
        drawn,
        width=width,
        height=height - 1,
        view=view,
        scale=settled_scale(drawn, view) or fitted(None, drawn, view),
        ends=ends,
        has_letters=len(drawn) > 1,
        only_ascii=look.ascii,
    )
    return [rule(cut_line(title, width - 6), width), *picture]


def _by_run(overlay: Overlay, rows: Sequence[RunRow], columns: int) -> list[tuple[str, Series]]:
    curves = [overlay.curve(row, columns, overlay.last) for row in rows[: len(LETTERS)]]
    return [
        (clean_line(row.name), lettered(overlay.metric, number, curve, curve.last_value))
        for number, (row, curve) in enumerate(zip(rows, curves, strict=False))
    ]


def _by_group(overlay: Overlay, rows: Sequence[RunRow], columns: int) -> list[tuple[str, Series]]:
    groups: dict[str, list[Curve]] = {}
    for row in rows[:MOST]:
        curve = overlay.curve(row, columns, overlay.last)
        groups.setdefault(clean_line(row.group), []).append(curve)
    lines = []
    for number, (group, curves) in enumerate(list(groups.items())[: len(LETTERS)]):
        mean = mean_of(overlay.metric, curves)
        last = mean.mean[-1] if mean.mean else None
        series = lettered(overlay.metric, number, mean, last, has_band=True)
        lines.append((f"{group} ({counted(len(curves), 'run')})", series))
    return lines


def mean_of(metric: str, curves: Sequence[Curve]) -> Curve:
    """Return the mean of several runs' curves, with a band of one standard deviation on each side."""
    bins: dict[int, list[float]] = {}
    for curve in curves:
        for column, value in zip(curve.column, curve.mean, strict=True):
            bins.setdefault(column, []).append(value)
    columns = sorted(bins)
    means = [fmean(bins[column]) for column in columns]
    apart = [stdev(bins[column]) if len(bins[column]) > 1 else 0.0 for column in columns]
    low = [mean - far for mean, far in zip(means, apart, strict=True)]
    high = [mean + far for mean, far in zip(means, apart, strict=True)]
    last = max((curve.last_step for curve in curves), default=0)
    return Curve(metric, columns, low, high, means, last, means[-1] if means else None, 0)
