"""Which metrics the metrics tab draws: a page of charts, filtered by group or by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from finetop.core.protocol.metric_names import SYSTEM
from finetop.core.text import count
from finetop.core.wording.metrics import title_of
from finetop.tui.screens.run.zoom import Shown, smoother
from finetop.tui.widgets.chart_grid import Layout, chart_width, columns_in, grid_of
from finetop.tui.widgets.frame import Bottom

SPARK = 16  # cells
_NUMBERS = 2  # rows of numbers below the charts
_LOG = 7  # rows left for the log and its rule
_TRAINING, _MACHINE = "training", "machine"


@dataclass(slots=True)
class Grid:
    """Which metrics are in view, and how single ones are drawn."""

    at: int | None = None  # index of the metric under the cursor, among the listed ones
    page: int = 0
    sought: str = ""
    group: str = ""  # empty: all groups
    is_full: bool = False  # the metric under the cursor fills the tab
    own: dict[str, tuple[float, bool]] = field(default_factory=dict)  # smoothing and log scale of each

    def listed(self, keys: Sequence[str]) -> list[str]:
        """List the metrics that match the group and the search."""
        groups, sought = groups_of(keys), self.sought.casefold()
        keys = [key for key in keys if not self.group or groups[key] == self.group]
        return [key for key in keys if sought in key.casefold() or sought in title_of(key).casefold()]

    def metric(self, keys: Sequence[str]) -> str | None:
        listed = self.listed(keys)
        return None if self.at is None or not listed else listed[min(self.at, len(listed) - 1)]

    def charts(self, keys: Sequence[str], room: int) -> list[str]:
        listed = self.listed(keys)
        if self.is_full and (metric := self.metric(keys)) is not None:
            return [metric]
        self.page = min(self.page, max(0, len(listed) - 1) // room)
        return listed[self.page * room : (self.page + 1) * room]

    def others(self, keys: Sequence[str], room: int) -> list[str]:
        """List the metrics that are not on the page, the following ones first."""
        charts = self.charts(keys, room)
        start = (self.page + 1) * room
        around = [*self.listed(keys)[start:], *keys]
        return list(dict.fromkeys(key for key in around if key not in charts))

    def where(self, keys: Sequence[str], room: int) -> str:
        """Return which part is in view: '1-4 of 21', 'reward 1-3 of 3'; empty if all are."""
        listed, charts = self.listed(keys), self.charts(keys, room)
        filter_text = " ".join(filter(None, (self.group, f"/{self.sought}" if self.sought else "")))
        if len(charts) == len(keys):
            return ""
        first = listed.index(charts[0]) + 1 if charts else 0
        part = f"{first}-{first + len(charts) - 1}" if len(charts) > 1 else count(first)
        return f"{filter_text} {part} of {count(len(listed))}".strip()

    def move(self, keys: Sequence[str], room: int, by: int) -> None:
        """Move the cursor by a number of metrics; it starts on the page in view."""
        last = len(self.listed(keys)) - 1
        start = self.page * room - (by > 0) if self.at is None else self.at
        self.point(start + by, last, room)

    def turn_page(self, keys: Sequence[str], room: int, by: int) -> None:
        """Turn to another page and put the cursor, if set, on its first metric."""
        last = len(self.listed(keys)) - 1
        self.page = min(max(0, self.page + by), max(0, last) // room)
        if self.at is not None:
            self.at = self.page * room

    def point(self, at: int, last: int, room: int) -> None:
        """Put the cursor on a metric and show its page."""
        self.at = min(max(0, at), last) if last >= 0 else None
        self.page = 0 if self.at is None else self.at // room

    def turn_group(self, keys: Sequence[str]) -> None:
        """Show only the next group; after the last, all."""
        groups = ["", *dict.fromkeys(groups_of(keys).values())]
        at = groups.index(self.group) if self.group in groups else 0
        self.group, self.page, self.at = groups[(at + 1) % len(groups)], 0, None

    def seek(self, text: str) -> None:
        """List only metrics with a text in their names."""
        self.sought, self.group, self.page, self.at, self.is_full = text.strip(), "", 0, None, False

    def view_of(self, key: str, shown: Shown) -> Shown:
        smoothing, is_log = self.own.get(key, (shown.smoothing, shown.is_log))
        return replace(shown, smoothing=smoothing, is_log=is_log)

    def smooth(self, keys: Sequence[str], shown: Shown) -> Shown:
        """Increase the smoothing of the metric under the cursor, or of all without a cursor."""
        return self._changed(keys, shown, smoother(self.view_of(self.metric(keys) or "", shown)))

    def turn_scale(self, keys: Sequence[str], shown: Shown) -> Shown:
        """Toggle the log scale of the metric under the cursor, or of all without a cursor."""
        view = self.view_of(self.metric(keys) or "", shown)
        return self._changed(keys, shown, replace(view, is_log=not view.is_log))

    def _changed(self, keys: Sequence[str], shown: Shown, view: Shown) -> Shown:
        metric = self.metric(keys)
        if metric is None:
            self.own.clear()
            return view
        self.own[metric] = view.smoothing, view.is_log
        return shown


def groups_of(keys: Sequence[str]) -> dict[str, str]:
    """Return each metric's group: a prefix shared by several names, machine, or training."""
    starts = {key: re.split(r"[/_.]", key)[0] for key in keys}
    prefixes = list(starts.values())
    return {
        key: _MACHINE if key in SYSTEM else start if prefixes.count(start) > 1 and key != start else _TRAINING
        for key, start in starts.items()
    }


def layout_of(width: int, height: int, *, is_over: bool = False, is_full: bool = False) -> Layout:
    """Divide the metrics tab; for a failed run the log gets half of it."""
    return grid_of(width, height, below=height - height // 2 if is_over else _NUMBERS + _LOG, is_full=is_full)


def system_layout(width: int, height: int, charts: int) -> Layout:
    """Divide the system tab: charts side by side, low enough to leave room for the facts below."""
    columns = columns_in(width)
    rows = max(1, -(-charts // columns))
    return Layout(columns, rows, chart_width(width, columns), min(9, max(5, (height - 8) // rows)))


def wanted_keys(charts: list[str]) -> list[str]:
    """Return the curves that the charts need."""
    return [*charts, "eval_loss"] if "loss" in charts else charts


def numbered(small: Sequence[str], columns: int) -> Sequence[str]:
    """Return as many metrics as fit as numbers beside the check."""
    return small[: columns * _NUMBERS - 1]


def metrics_line(
    bottom: Bottom,
    grid: Grid,
    keys: Callable[[], Sequence[str]],
    look_anew: Callable[[], object],
    search_log: Callable[[str], object],
) -> None:
    """Ask for a text and list the metrics with it in their names; `search_log` gets a text that none has."""

    def seek(text: str) -> None:
        grid.seek(text)
        if not grid.listed(keys()):
            bottom.say_aside((("no metric has it: enter searches the log", "dim"),))
        look_anew()

    def done(text: str, is_kept: bool) -> None:
        seek(text if is_kept else "")
        if not grid.listed(keys()):
            seek("")
            search_log(text)

    bottom.ask_text("metrics", grid.sought, changed=seek, done=done, keep="filter", leave="all metrics")
