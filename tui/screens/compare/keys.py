"""The keys of the Compare screen, and which of them its footer offers on each tab."""

from __future__ import annotations

from typing import Literal

from finetop.tui.keys import PAGES, Key
from finetop.tui.screens.run.keys import FAR_RIGHT, LOG_SCALE, RIGHT, SMOOTH, TAB_BEFORE, ZOOM, ZOOM_OUT

Tab = Literal["numbers", "data", "samples", "scatter"]
TABS: tuple[Tab, ...] = ("numbers", "data", "samples", "scatter")

NEXT_TAB = Key("tab", "tab", "next tab", "tab(1)", "next tab: numbers, data, samples, scatter")
RUN = Key("j,down", "↑↓", "run", "choose(1)", "the next of the runs: its curve is bold, enter opens it")
RUN_BEFORE = Key("k,up", "↑ k", "", "choose(-1)", "the run before")
OPEN = Key("enter", "enter", "open it", "open", "open the run that is chosen", "finetop show RUN")
CURSOR = Key("left,h", "←→", "cursor", "cursor(-1)", "cursor on the chart to the left")
FAR_LEFT = Key("shift+left", "⇧←", "", "cursor(-10)", "ten columns to the left")
ALL = Key("0", "0", "", "all", "all steps, no cursor")
METRIC = Key("v", "v", "metric", "metric(1)", "the next metric")
METRIC_BEFORE = Key("V", "V", "", "metric(-1)", "the metric before")
DROP = Key("X", "X", "", "drop", "leave the chosen run out of this picture; nothing is removed")
BACK = Key("escape", "esc", "back", "back", "back to where you came from")
MOVES = (
    *PAGES,
    Key("g,home", "g", "", "ends(-1)", "the first row"),
    Key("G,end", "G", "", "ends(1)", "the last row"),
)
KEYS = (
    *(NEXT_TAB, TAB_BEFORE, RUN, RUN_BEFORE, OPEN, METRIC, METRIC_BEFORE, CURSOR, RIGHT, FAR_LEFT, FAR_RIGHT),
    *(ZOOM, ZOOM_OUT, ALL, LOG_SCALE, SMOOTH, DROP, BACK, *MOVES),
)
_SCROLL = Key("", "pgdn", "scroll", "", "")


def footer_keys(tab: Tab) -> tuple[Key, ...]:
    """Choose the keys for the footer."""
    match tab:
        case "numbers":
            return (RUN, OPEN, METRIC, CURSOR, ZOOM, NEXT_TAB, LOG_SCALE, SMOOTH, BACK)
        case "data" | "samples":
            return (RUN, OPEN, _SCROLL, NEXT_TAB, BACK)
        case "scatter":
            return (RUN, OPEN, METRIC, NEXT_TAB, BACK)
