"""Which part of a run the charts show: the cursor, the zoom, smoothing and scale, and how keys change them."""

from __future__ import annotations

from dataclasses import dataclass, replace

CLOSEST = 8  # steps of the closest zoom
SMOOTHINGS = (0.0, 0.6, 0.9)


@dataclass(frozen=True, slots=True)
class Shown:
    """How the charts are looked at. `cursor` is a cell of the picture, `zoom` its first and last step (None: all)."""

    cursor: int | None = None
    zoom: tuple[int, int] | None = None
    smoothing: float = 0.0
    is_log: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """The whole x axis: its last step, the newest step, and how many cells it is drawn in."""

    end: int
    newest: int
    cells: int


def stretch(shown: Shown, axis: Axis) -> tuple[int, int]:
    """Give the first and the last step in view."""
    return shown.zoom or (0, axis.end)


def moved(shown: Shown, axis: Axis, by: int) -> Shown:
    """Move the cursor; it starts at the newest step. At the edge of a zoomed chart the picture moves."""
    first, last = stretch(shown, axis)
    at = shown.cursor
    if at is None:
        at = _within(int((axis.newest - first) / max(1, last - first) * axis.cells), axis.cells - 1)
    wanted = at + by
    cursor = _within(wanted, axis.cells - 1)
    beyond = wanted - cursor
    if not beyond or shown.zoom is None:
        return replace(shown, cursor=cursor)
    steps = round(beyond * (last - first) / max(1, axis.cells)) or (1 if beyond > 0 else -1)
    steps = min(max(steps, -first), axis.end - last)
    return replace(shown, cursor=cursor, zoom=_zoom(first + steps, last + steps, axis))


def zoomed(shown: Shown, axis: Axis, direction: int) -> Shown:
    """Show half (1) or twice (-1) the steps, around the cursor or the newest step; the cursor stays on its step."""
    first, last = stretch(shown, axis)
    centre = min(max(axis.newest, first), last)
    if shown.cursor is not None:
        centre = round(first + (shown.cursor + 0.5) * (last - first) / max(1, axis.cells))
    span = last - first
    span = max(min(CLOSEST, axis.end), span // 2) if direction > 0 else min(axis.end, span * 2)
    first = min(max(0, centre - span // 2), max(0, axis.end - span))
    cursor = shown.cursor
    if cursor is not None:
        cursor = _within(int((centre - first) / max(1, span) * axis.cells), axis.cells - 1)
    return replace(shown, cursor=cursor, zoom=_zoom(first, first + span, axis))


def smoother(shown: Shown) -> Shown:
    """Smooth more; after the strongest not at all."""
    return replace(shown, smoothing=SMOOTHINGS[(SMOOTHINGS.index(shown.smoothing) + 1) % len(SMOOTHINGS)])


def _zoom(first: int, last: int, axis: Axis) -> tuple[int, int] | None:
    return None if (first, last) == (0, axis.end) else (first, last)


def _within(cell: int, last: int) -> int:
    return min(max(0, cell), max(0, last))
