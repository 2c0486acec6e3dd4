"""The keys of the Runs screen, and which of them the footer shows for which run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.run import Queued, Running
from finetop.tui.keys import Key

if TYPE_CHECKING:
    from finetop.core.run import RunRow

OPEN = Key("enter", "enter", "open", "open", "open the run under the cursor", "finetop show RUN")
CHECK = Key("f", "f", "check", "check", "check for forgetting", "finetop check RUN")
NEW = Key("n", "n", "new run", "new", "new run from this one, prefilled", "finetop run RECIPE")
STOP = Key("S", "S", "stop", "stop", "stop after a checkpoint (asks)", "finetop stop RUN")
KILL = Key("K", "K", "kill", "kill", "kill at once (asks)", "finetop kill RUN")
FILTER = Key("slash", "/", "filter", "filter", "only runs with this in name, model, tag", "finetop ls FILTER")
SORT = Key("o", "o", "sort", "sort", "sort otherwise, or take in what is new", "finetop ls --sort newest")
BACK = Key("escape", "esc", "", "back", "drop the filter")
MOVES = (
    Key("j,down", "↓ j", "", "move(1)", "next run"),
    Key("k,up", "↑ k", "", "move(-1)", "run before"),
    Key("pagedown", "pgdn", "", "page(1)", "a page down"),
    Key("pageup", "pgup", "", "page(-1)", "a page up"),
    Key("g,home", "g", "", "top", "first run"),
    Key("G,end", "G", "", "end", "last run"),
)
KEYS = (OPEN, NEW, CHECK, FILTER, STOP, SORT, KILL, BACK, *MOVES)


def footer_keys(row: RunRow | None, *, is_filtered: bool) -> tuple[Key, ...]:
    """Give the keys of what the cursor is on, most used first."""
    if row is None:
        return (FILTER,) if is_filtered else (NEW,)
    if isinstance(row.state, Running):
        return (OPEN, STOP, CHECK, NEW, FILTER, KILL, SORT)
    if isinstance(row.state, Queued):
        return (OPEN, STOP, NEW, FILTER, SORT)
    return (OPEN, CHECK, NEW, FILTER, SORT)
