"""The keys of the Runs screen, and which of them its footer shows for a run."""

from __future__ import annotations

from finetop.core.protocol.accepts import RequestName, accepts
from finetop.core.protocol.runs import Failed, Lost, Queued, Running, RunRow, Stopped
from finetop.core.protocol.tags import comparison_of, sweep_of
from finetop.core.wording.next_step import is_held
from finetop.tui.keys import MATCH, MATCHES, Key, moves
from finetop.tui.screens.shared.run_actions import (
    CHAT,
    GO_ON,
    KILL,
    NEW,
    PAUSE,
    REMEDIES,
    RETRY,
    STOP,
    is_unseen,
)

OPEN = Key("enter", "open", "open", "open the run under the cursor", "finetop show RUN")
CHECK = Key("f", "check", "check", "check for forgetting", "finetop check RUN")
SWEEP = Key("w", "sweep", "sweep", "its sweep (or the newest)", "finetop sweep NAME")
_ITS_COMPARISON = "its approaches (or the newest)"
APPROACHES = Key("a", "approaches", "approaches", _ITS_COMPARISON, "finetop approaches NAME")
LIVE = Key("d", "live", "live", "live view of running jobs", "finetop queue")
FILTER = Key("slash", "filter", "filter", "filter, e.g. method:lora loss<1.2 -tag:x", "finetop ls FILTER")
SORT = Key("o", "sort", "sort", "sort, or show new runs", "finetop ls --sort newest")
MARK = Key("space", "mark", "mark", "mark: then compare, tag, stop …")
COMPARE = Key("c", "compare", "compare", "compare the marked runs", "finetop compare RUN RUN")
TAG = Key("t", "tag", "tag", 'tags and a note: +keep -draft "a note"', "finetop tag RUN +TAG")
TRASH = Key("X", "trash", "trash", "to the trash (asks)", "finetop rm RUN")
SEEN = Key("A", "seen", "seen", "mark failed or lost runs as seen (asks)", "finetop tag RUN +seen")
UNDO = Key("u", "undo", "undo", "undo the last tag, note or trash")
BACK = Key("escape", "", "back", "clear the marks, then the filter")
COMMANDS = (  # only in the command palette
    Key("", "", "sort_by", "sort by … any metric, setting, drop", "finetop ls --sort KEY", sign=":"),
    Key("", "", "group_by", "group by … method, tag, any setting", "finetop ls group:SETTING", sign=":"),
    Key("", "", "columns", "choose more columns", "finetop ls --columns A,B", sign=":"),
)
MOVES = moves("run")
KEYS = (
    *MATCHES,
    *(OPEN, MARK, COMPARE, NEW, CHECK, REMEDIES, CHAT, FILTER),
    *(TAG, STOP, PAUSE, RETRY, SORT, KILL, SEEN, TRASH),
    *(SWEEP, APPROACHES, LIVE, UNDO, BACK, *MOVES),
)


def footer_keys(row: RunRow | None, *, is_filtered: bool, marked: int = 0) -> tuple[Key, ...]:
    """Return the keys for the run under the cursor or the marked runs, the most used first."""
    keys = _footer_keys(row, is_filtered=is_filtered, marked=marked)
    if row is None or not is_filtered:
        return keys
    return (keys[0], MATCH, *(key for key in keys[1:] if key is not NEW))


def _footer_keys(row: RunRow | None, *, is_filtered: bool, marked: int = 0) -> tuple[Key, ...]:
    if row is None:
        return (FILTER,) if is_filtered else (NEW,)
    if marked:
        return (COMPARE, TAG, STOP, MARK, RETRY, TRASH, FILTER, SORT)
    asks: tuple[tuple[Key, RequestName], ...] = ((CHECK, "check"), (REMEDIES, "remedies"), (CHAT, "remedies"))
    refused = [key for key, action in asks if not accepts(row, action)]
    return tuple(key for key in _keys_of(row) if key not in refused)


def _keys_of(row: RunRow) -> tuple[Key, ...]:
    if isinstance(row.state, Running):
        return (OPEN, STOP, PAUSE, CHECK, MARK, NEW, FILTER, KILL, LIVE, TAG, SORT)
    if isinstance(row.state, Queued):
        return (OPEN, GO_ON if is_held(row) else PAUSE, STOP, NEW, FILTER, MARK, TAG, SORT)
    if row.side_jobs:
        pause = GO_ON if is_held(row) else PAUSE
        return (OPEN, STOP, pause, REMEDIES, CHAT, MARK, NEW, FILTER, LIVE, TAG, SORT)
    where = (APPROACHES,) if comparison_of(row) else (SWEEP,) if sweep_of(row) else ()
    if not where and isinstance(row.state, Failed | Lost | Stopped):
        seen = (SEEN,) if is_unseen(row) else ()
        return (OPEN, RETRY, NEW, *seen, CHECK, CHAT, MARK, FILTER, TAG, SORT, TRASH)
    return (OPEN, *where, CHECK, REMEDIES, CHAT, MARK, NEW, FILTER, TAG, SORT, TRASH)
