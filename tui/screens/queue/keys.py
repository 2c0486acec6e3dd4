"""The keys of the Queue screen, and which of them the footer shows for which row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.tui.keys import Key, moves

if TYPE_CHECKING:
    from finetop.tui.screens.queue.state import Entry

SOONER = Key(
    "left_square_bracket", "[", "sooner", "shift_by(-1)", "start it sooner", "finetop queue before RUN OTHER"
)
LATER = Key(
    "right_square_bracket", "]", "later", "shift_by(1)", "start it later", "finetop queue before RUN OTHER"
)
FIRST = Key("left_curly_bracket", "{", "", "to_end(True)", "start it first", "finetop queue first RUN")
LAST = Key("right_curly_bracket", "}", "", "to_end(False)", "start it last", "finetop queue last RUN")
HIGHER = Key(
    "plus,equals_sign",
    "+ -",
    "priority",
    "prioritise(-1)",
    "a higher priority",
    "finetop queue priority RUN high",
)
LOWER = Key("minus", "-", "", "prioritise(1)", "a lower priority", "finetop queue priority RUN low")
HOLD = Key("H", "H", "hold", "hold", "hold it: it waits for a release", "finetop queue hold RUN")
RELEASE = Key(
    "R", "R", "release", "release", "release it, or have its next try now", "finetop queue release RUN"
)
STOP = Key("S", "S", "take out", "stop", "take it out, or stop what runs (asks)", "finetop stop RUN")
PAUSE = Key("P", "P", "pause", "pause", "pause with a checkpoint, or let go on", "finetop pause RUN")
WHOLE = Key("W", "W", "whole queue", "whole", "hold or release the whole queue (asks)", "finetop queue hold")
UNDO = Key("u", "u", "undo", "undo", "take back the last change of order, priority or hold")
OPEN = Key("enter", "enter", "open", "open", "open the run", "finetop show RUN")
FILTER = Key("slash", "/", "filter", "filter", "only rows with this in name, kind, wants, reason")
BACK = Key("escape", "esc", "back", "back", "drop the filter, else back to Runs")
MOVES = moves()
KEYS = (
    *(SOONER, LATER, FIRST, LAST, HIGHER, LOWER, HOLD, RELEASE, PAUSE, STOP, WHOLE, UNDO, OPEN, FILTER, BACK),
    *MOVES,
)
_ORDER = Key("", "[ ]", "sooner, later", "", "")
_STOP = Key("", "S", "stop", "", "")


def footer_keys(entry: Entry | None, *, can_undo: bool) -> tuple[Key, ...]:
    """Return the keys of what the cursor is on, most used first."""
    undo = (UNDO,) if can_undo else ()
    if entry is None or entry.is_gone:
        return (*undo, WHOLE, BACK) if entry is None else (OPEN, *undo, WHOLE, BACK)
    if entry.runs is not None:
        return (OPEN, PAUSE, _STOP, *undo, WHOLE, BACK)
    assert entry.waits is not None
    is_held = entry.waits.state.held or entry.waits.state.next_at is not None
    return (_ORDER, *undo, RELEASE if is_held else HOLD, STOP, OPEN, HIGHER, WHOLE, BACK)
