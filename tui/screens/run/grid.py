"""Which metrics the metrics tab draws: pages of charts, those of one group, those whose names were asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from finetop.core.text import count
from finetop.tui.screens.run.zoom import Shown, smoother
from finetop.tui.screens.shared.metric_names import SYSTEM, title_of
from finetop.tui.widgets.chart_grid import Layout, chart_width, columns_in, grid_of
from finetop.tui.widgets.frame import Bottom

SPARK = 16  # cells
_NUMBERS = 2  # rows of numbers below the charts
_LOG = 7  # rows that they leave for the log, and its rule
_TRAINING, _MACHINE = "training", "machine"


@dataclass(slots=True)
class Grid:
    """What of the metrics is seen, and how single ones are drawn."""

    at: int | None = None  # the metric under the cursor, among those that are listed
    page: int = 0
    sought: str = ""
    group: str = ""  # all
    is_full: bool = False  # the one under the cursor has the whole tab
    own: dict[str, tuple[float, bool]] = field(default_factory=dict)  # smoothing and log scale of single ones

    def listed(self, keys: Sequence[str]) -> list[str]:
        """List the metrics that are asked for."""
        groups, sought = groups_of(keys), self.sought.casefold()
        return [
            key
            for key in keys
            if (not self.group or groups[key] == self.group)
            and (sought in key.casefold() or sought in title_of(key).casefold())
        ]

    def metric(self, keys: Sequence[str]) -> str | None:
        """Name the metric under the cursor."""
        listed = self.listed(keys)
        return None if self.at is None or not listed else listed[min(self.at, len(listed) - 1)]

    def charts(self, keys: Sequence[str], room: int) -> list[str]:
        """List the metrics of the page."""
        listed = self.listed(keys)
        if self.is_full and (metric := self.metric(keys)) is not None:
            return [metric]
        self.page = min(self.page, max(0, len(listed) - 1) // room)
        return listed[self.page * room : (self.page + 1) * room]

    def others(self, keys: Sequence[str], room: int) -> list[str]:
        """List the metrics that are not on the page: those behind it first."""
        charts = self.charts(keys, room)
        start = (self.page + 1) * room
        around = [*self.listed(keys)[start:], *keys]
        return list(dict.fromkeys(key for key in around if key not in charts))

    def where(self, keys: Sequence[str], room: int) -> str:
        """Say which part is seen: '1-4 of 21', 'reward 1-3 of 3'; nothing where it is all."""
        listed, charts = self.listed(keys), self.charts(keys, room)
        words = " ".join(filter(None, (self.group, f"/{self.sought}" if self.sought else "")))
        if len(charts) == len(keys):
            return ""
        first = listed.index(charts[0]) + 1 if charts else 0
        part = f"{first}-{first + len(charts) - 1}" if len(charts) > 1 else count(first)
        return f"{words} {part} of {count(len(listed))}".strip()

    def move(self, keys: Sequence[str], room: int, by: int) -> None:
        """Move the cursor by so many metrics; it begins on the page that is seen."""
        last = len(self.listed(keys)) - 1
        start = self.page * room - (by > 0) if self.at is None else self.at
        self.point(start + by, last, room)

    def turn_page(self, keys: Sequence[str], room: int, by: int) -> None:
        """Turn to another page; the cursor, if there is one, goes to its first metric."""
        last = len(self.listed(keys)) - 1
        self.page = min(max(0, self.page + by), max(0, last) // room)
        if self.at is not None:
            self.at = self.page * room

    def point(self, at: int, last: int, room: int) -> None:
        """Put the cursor on a metric, and show its page."""
        self.at = min(max(0, at), last) if last >= 0 else None
        self.page = 0 if self.at is None else self.at // room

    def turn_group(self, keys: Sequence[str]) -> None:
        """Show the next group alone; after the last, all."""
        groups = ["", *dict.fromkeys(groups_of(keys).values())]
        at = groups.index(self.group) if self.group in groups else 0
        self.group, self.page, self.at = groups[(at + 1) % len(groups)], 0, None

    def seek(self, text: str) -> None:
        """List only metrics with a text in their names."""
        self.sought, self.group, self.page, self.at, self.is_full = text.strip(), "", 0, None, False

    def look(self, key: str, shown: Shown) -> Shown:
        """Return how a metric is drawn."""
        smoothing, is_log = self.own.get(key, (shown.smoothing, shown.is_log))
        return replace(shown, smoothing=smoothing, is_log=is_log)

    def smooth(self, keys: Sequence[str], shown: Shown) -> Shown:
        """Smooth the metric under the cursor more; all, where there is no cursor."""
        return self._changed(keys, shown, smoother(self.look(self.metric(keys) or "", shown)))

    def turn_scale(self, keys: Sequence[str], shown: Shown) -> Shown:
        """Make the y axis of the metric under the cursor logarithmic or not; all, where there is no cursor."""
        look = self.look(self.metric(keys) or "", shown)
        return self._changed(keys, shown, replace(look, is_log=not look.is_log))

    def _changed(self, keys: Sequence[str], shown: Shown, look: Shown) -> Shown:
        metric = self.metric(keys)
        if metric is None:
            self.own.clear()
            return look
        self.own[metric] = look.smoothing, look.is_log
        return shown


def groups_of(keys: Sequence[str]) -> dict[str, str]:
    """Return each metric's group: what several names begin with, the machine's, else training."""
    starts = {key: re.split(r"[/_.]", key)[0] for key in keys}
    begun = list(starts.values())
    return {
        key: _MACHINE if key in SYSTEM else start if begun.count(start) > 1 and key != start else _TRAINING
        for key, start in starts.items()
    }


def layout_of(width: int, height: int, *, is_over: bool = False, is_full: bool = False) -> Layout:
    """Divide the metrics tab: a run that failed leaves half of it to its log."""
    return grid_of(width, height, below=height - height // 2 if is_over else _NUMBERS + _LOG, is_full=is_full)


def system_layout(width: int, height: int, charts: int) -> Layout:
    """Divide the system tab: charts side by side, low enough that the facts below are seen, too."""
    columns = columns_in(width)
    rows = max(1, -(-charts // columns))
    return Layout(columns, rows, chart_width(width, columns), min(9, max(5, (height - 8) // rows)))


def wanted_keys(charts: list[str]) -> list[str]:
    """Name the curves that the charts need."""
    return [*charts, "eval_loss"] if "loss" in charts else charts


def numbered(small: Sequence[str], columns: int) -> Sequence[str]:
    """Choose the numbers that there is room for beside the check."""
    return small[: columns * _NUMBERS - 1]


def metrics_line(bottom: Bottom, grid: Grid, look_anew: Callable[[], object]) -> None:
    """Let a text be typed that metrics have in their names; they are listed meanwhile."""

    def seek(text: str) -> None:
        grid.seek(text)
        look_anew()

    bottom.ask_text(
        "metrics",
        grid.sought,
        changed=seek,
        done=lambda text, is_kept: seek(text if is_kept else ""),
        keep="filter",
        leave="all metrics",
    )
