"""The keys of the Remedies screen, and which of them the footer shows."""

from __future__ import annotations

from finetop.core.protocol.messages.remedies import RetrainingRow
from finetop.core.protocol.runs import RemedyRow
from finetop.tui.keys import Key, moves
from finetop.tui.screens.remedies.state import RemediesState

OPEN = Key("enter", "details", "open", "details", "finetop remedy RUN --list --json")
RUN = Key(
    "R",
    "try it",
    "run",
    "try it, or the marked ones; retrain with its settings",
    "finetop remedy RUN [--only NAME]",
)
EXPORT = Key(
    "E",
    "export",
    "export",
    "export it as a full model, verified",
    "finetop export RUN --remedy NAME --to DIR",
)
MARK = Key("space", "mark", "mark", "mark, to try several at once")
STOP = Key("S", "stop", "stop", "stop trying (asks); scores so far are kept", "finetop stop RUN")
SORT = Key("o", "sort", "sort", "sort by gain kept, or in the default order")
METRIC = Key("v", "metric", "view", "next metric of the target")
COMPARE = Key("c", "compare", "compare", "compare with the retrained runs", "finetop compare RUN RUN")
BACK = Key("escape", "back", "back", "back one level")
MOVES = moves("remedy")
KEYS = (OPEN, RUN, EXPORT, MARK, STOP, SORT, METRIC, COMPARE, BACK, *MOVES)
EXPORTABLE = ("ok", "regressed", "no_verdict")  # verdicts of what was scored
_TRAIN = Key("", "retrain", "run", sign="R")
_SCROLL = Key("", "scroll", sign="↑↓")


def footer_keys(state: RemediesState, at: RemedyRow | RetrainingRow | None) -> tuple[Key, ...]:
    """Return the keys of what the cursor is on."""
    answer = state.answer
    if answer is None:
        return (BACK,)
    if state.is_reading:
        return (_SCROLL, BACK) if state.is_longer else (BACK,)
    metric = (METRIC,) if len(answer.base) > 1 else ()
    if answer.is_under_way:
        return (OPEN, STOP, SORT, *metric, BACK)
    if isinstance(at, RetrainingRow):
        return (_TRAIN, COMPARE, BACK)
    export = (EXPORT,) if at is not None and at.verdict in EXPORTABLE else ()
    return (OPEN, *export, RUN, MARK, SORT, *metric, BACK, COMPARE)
