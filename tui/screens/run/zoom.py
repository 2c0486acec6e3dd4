"""Which part of a run the charts show: the cursor, zoom, smoothing and scale, and how keys change them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from finetop.core.protocol.messages.runs import Across, Curve
from finetop.tui.widgets.axis import round_end
from finetop.tui.widgets.pointed_lines import PointedLines
from finetop.tui.widgets.series import Stretch

CLOSEST = 8  # grains in view at the closest zoom
SMOOTHINGS = (0.0, 0.6, 0.9)
_YOUNG = 0.1  # share of the plan; before that the axis ends at the newest value


@dataclass(frozen=True, slots=True)
class Shown:
    """How the charts are viewed."""

    cursor: int | None = None  # a chart cell
    zoom: tuple[float, float] | None = None  # first and last x in view; None: all
    smoothing: float = 0.0
    is_log: bool = False
    x: Across = "step"
    is_fit: bool | None = None  # the axis ends at the newest value, not as planned; None: while young


@dataclass(frozen=True, slots=True)
class Axis:
    """The whole x axis: its end, the run's newest x value, its width in cells, and its unit."""

    end: float
    newest: float
    cells: int
    grain: float = 1  # a step, a token, a second, a thousandth of an epoch
    oldest: float = 0  # where the drawn curves begin


def oldest_in(curves: Iterable[Curve], stretch: Stretch) -> float:
    """Return where curves of so many columns begin; 0 if `first` is later, as there may be more before it."""
    starts = [curve.column[0] for curve in curves if curve.column]
    if stretch.first > 0 or not starts or stretch.columns < 1:
        return 0
    return (min(starts) + 0.5) / stretch.columns * stretch.last


def is_fit(shown: Shown, axis: Axis) -> bool:
    """Return True if the axis ends at the newest value."""
    return axis.newest < _YOUNG * axis.end if shown.is_fit is None else shown.is_fit


def fitted(axis: Axis, shown: Shown) -> Axis:
    """Return the axis, cut to the data if that is set; it ends at a round number so that it seldom moves."""
    if axis.newest <= 0 or not is_fit(shown, axis):
        return axis
    return replace(axis, end=min(axis.end, max(round_end(axis.newest), CLOSEST * axis.grain)))


def with_fit_toggled(shown: Shown, axis: Axis) -> Shown:
    """Toggle whether the axis ends at the newest value or at the planned end."""
    return replace(shown, is_fit=not is_fit(shown, axis), cursor=None, zoom=None)


def x_range(shown: Shown, axis: Axis) -> tuple[float, float]:
    """Return the first and last x in view."""
    return shown.zoom or (0, axis.end)


def moved(shown: Shown, axis: Axis, by: int) -> Shown:
    """Move the cursor within the data, first from the newest step; a zoomed chart's view moves along at its edge."""
    first, last = x_range(shown, axis)
    least, most = _ends(shown, axis)
    at = most if shown.cursor is None else shown.cursor
    target = at + by
    cursor = min(max(least, target), most)
    beyond = target - cursor
    is_more = axis.newest > last if beyond > 0 else first > axis.oldest
    if not beyond or shown.zoom is None or not is_more:
        return replace(shown, cursor=cursor)
    by_least = axis.grain if beyond > 0 else -axis.grain
    far = _grains(beyond * (last - first) / max(1, axis.cells), axis) or by_least
    far = min(max(far, -first), axis.end - last)
    return replace(shown, cursor=cursor, zoom=_zoom(first + far, last + far, axis))


def _ends(shown: Shown, axis: Axis) -> tuple[int, int]:
    """Return the first and last cell in view with data."""
    first, last = x_range(shown, axis)

    def cell(place: float) -> int:
        return _within(int((place - first) / max(axis.grain, last - first) * axis.cells), axis.cells - 1)

    return cell(axis.oldest), cell(axis.newest)


def zoomed(shown: Shown, axis: Axis, direction: int) -> Shown:
    """Show half (1) or twice (-1) as much around the cursor or the newest value; the cursor keeps its x."""
    first, last = x_range(shown, axis)
    centre = min(max(axis.newest, first), last)
    if shown.cursor is not None:
        centre = _grains(first + (shown.cursor + 0.5) * (last - first) / max(1, axis.cells), axis)
    span = last - first
    closest = min(CLOSEST * axis.grain, axis.end)
    span = max(closest, _half(span, axis)) if direction > 0 else min(axis.end, span * 2)
    first = min(max(0, centre - _half(span, axis)), max(0, axis.end - span))
    cursor = shown.cursor
    if cursor is not None:
        cursor = _within(int((centre - first) / max(axis.grain, span) * axis.cells), axis.cells - 1)
    return replace(shown, cursor=cursor, zoom=_zoom(first, first + span, axis))


def zoomed_to(shown: Shown, axis: Axis, start_cell: int, end_cell: int) -> Shown:
    """Zoom to the range between two chart cells and clear the cursor."""
    first, last = x_range(shown, axis)
    cell_width = (last - first) / max(1, axis.cells)
    begin = _grains(first + min(start_cell, end_cell) * cell_width, axis)
    end = _grains(first + (max(start_cell, end_cell) + 1) * cell_width, axis)
    end = max(end, begin + min(CLOSEST * axis.grain, axis.end))
    begin = max(0, min(begin, begin + axis.end - end))
    return replace(shown, cursor=None, zoom=_zoom(begin, min(end, axis.end), axis))


def smoother(shown: Shown) -> Shown:
    """Return the next stronger smoothing, or none after the strongest."""
    return replace(shown, smoothing=SMOOTHINGS[(SMOOTHINGS.index(shown.smoothing) + 1) % len(SMOOTHINGS)])


def _grains(place: float, axis: Axis) -> float:
    return round(place / axis.grain) * axis.grain


def _half(span: float, axis: Axis) -> float:
    return span / 2 // axis.grain * axis.grain


def _zoom(first: float, last: float, axis: Axis) -> tuple[float, float] | None:
    return None if (first, last) == (0, axis.end) else (first, last)


def _within(cell: int, last: int) -> int:
    return min(max(0, cell), max(0, last))


def with_mouse(shown: Shown, axis: Axis, event: PointedLines.Used, cell: int, start: int | None) -> Shown:
    """Return the view after a mouse event: a press sets the cursor, the wheel zooms around it, a drag to its range."""
    if isinstance(event, PointedLines.Wheel):
        return zoomed(replace(shown, cursor=cell), axis, event.direction)
    if isinstance(event, PointedLines.Dragged):
        return shown if start is None or abs(start - cell) <= 1 else zoomed_to(shown, axis, start, cell)
    least, most = _ends(shown, axis)
    return replace(shown, cursor=min(max(least, cell), most))
