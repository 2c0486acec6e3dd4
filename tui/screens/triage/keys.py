"""The keys of the Triage screen and of the screens of items, and the next step."""

from __future__ import annotations

from finetop.core.features.triage.messages import CellAnswer, TriageRow
from finetop.core.text import clean_line, count, counted
from finetop.tui.keys import MATCH, MATCHES, PAGES, Key, moves
from finetop.tui.screens.shared.run_actions import CHAT, REMEDIES
from finetop.tui.screens.triage.state import TriageList
from finetop.tui.text import Line, cut_end
from finetop.tui.widgets.frame import next_line

_MOST_CERTAIN = "the most certain lost answer, then all items; on a name: its run"
OPEN = Key("enter", "answers", "open", _MOST_CERTAIN, "finetop flips RUN [--task TASK]")
LEFT = Key("left,h", "", "column(-1)", "cell to the left; with one run: previous run", sign="←→")
RIGHT = Key("right", "", "column(1)", "cell to the right; with one run: next run")
ACCEPT = Key("A", "accept", "accept", "accept it, with a reason", "finetop accept RUN --reason TEXT")
OWN = Key("O", "assign to me", "own", "assign it to yourself, or unassign it", "finetop triage RUN --looking")
FIXED = Key("F", "fixed by", "fixed", "name the run that fixes it", "finetop triage RUN --fixed-by RUN")
NOTE = Key("t", "note", "note", "a note on it", "finetop triage RUN --note TEXT")
UNDO = Key("u", "undo", "undo", "undo the last of these", "finetop triage RUN --new")
VIEW = Key("v", "one run", "view", "one run, one row per task; or all runs", "finetop triage RUN")
_BISECT = "find the checkpoint that lost it, by bisection (asks)"
STEPS = Key("s", "bisect", "steps", _BISECT, "finetop check RUN --curve")
CHECK = Key("f", "more items", "check", "check the remaining items", "finetop check RUN --more [TASK]")
MARK = Key("space", "", "mark", "mark for a comparison")
_WITH_OK = "compare the marked runs; else with an ok run of its base"
COMPARE = Key("c", "compare", "compare", _WITH_OK, "finetop compare RUN RUN")
_WITH_WORDS = "only runs with these words in name, model, state"
FILTER = Key("slash", "filter", "filter", _WITH_WORDS, "finetop triage --filter WORDS")
SORT = Key("o", "sort", "sort", "sort again, worst first, with new checks", "finetop triage")
BACK = Key("escape", "", "back", "clear the filter; back to all runs")
MOVES = moves()
KEYS = (
    *(OPEN, ACCEPT, OWN, FIXED, NOTE, UNDO, REMEDIES, CHAT),
    *(STEPS, CHECK, MARK, COMPARE, VIEW, FILTER, SORT, BACK),
    *(LEFT, RIGHT, *MATCHES, *MOVES),
)
_ALL_RUNS = Key("", "all runs", sign="v")
_CELL = Key("", "cell", sign="←→↑↓")
_RUN = Key("", "open run", sign="enter")
_TASK = Key("", "task", sign="↑↓")
_OTHER = Key("", "run", sign="←→")
ITEM = Key("enter", "open", "open", "the whole item; on a kind: its items", "finetop flips RUN [--task TASK]")
_WHICH_ITEMS = "lost, won, kind:carry, margin>1, runs>2, or words"
ITEMS_FILTER = Key("slash", "filter", "filter", _WHICH_ITEMS, "finetop flips RUN --kind KIND")
ITEMS_BACK = Key("escape", "back", "back", "clear the filter, then back to the table")
ITEMS_KEYS = (ITEM, ITEMS_FILTER, *MATCHES, ITEMS_BACK, *MOVES)
ITEM_CHAT = Key("C", "chat", "chat", "put the item to the run and its base in a chat", "finetop chat RUN")
ITEM_BACK = Key("escape", "back", "back", "back to the items")
ITEM_KEYS = (
    Key("j,down", "other items", "move(1)", "next item", sign="↑↓"),
    Key("k,up", "", "move(-1)", "previous item"),
    *PAGES,
    Key("g,home", "", "ends(-1)", "first item"),
    Key("G,end", "", "ends(1)", "last item"),
    ITEM_CHAT,
    ITEM_BACK,
)


def footer_keys(held: TriageList) -> tuple[Key, ...]:
    """Return the keys for what the cursor is on, the most used first."""
    if held.row is None:
        return (FILTER,)
    match = (MATCH,) if held.filter else ()
    undo = (UNDO,) if held.undoing else ()
    sort = (SORT,) if held.pages.is_old else ()
    seen = held.row.standing
    is_open = seen is not None and seen.state in ("new", "looking")
    judged, fix = ((ACCEPT, OWN, REMEDIES), (FIXED,)) if is_open else ((), ())
    cursor = (_TASK, _OTHER) if held.is_turned else (_CELL,)
    first = (*cursor, _RUN if held.on_name else OPEN, *match, *sort, *undo, *judged, CHAT)
    return (*first, _ALL_RUNS if held.is_turned else VIEW, STEPS, FILTER, COMPARE, *fix, NOTE, CHECK)


def next_steps_of(held: TriageList, cell: CellAnswer | None) -> list[Line]:
    """Return the next step for what the cursor is on, and an alternative."""
    row, unchecked = held.row, unchecked_step(held)
    if row is None:
        return [next_line(*unchecked)] if unchecked else []
    step = ("enter", "open the run") if held.on_name else next_of(row)
    other = unchecked or (None if held.on_name else also_next(row, cell))
    return [next_line(*step), *([next_line(*other, before="or")] if other else [])]


def unchecked_step(held: TriageList) -> tuple[str, str] | None:
    """Return the step that checks unchecked runs, if no regression is open."""
    answer = held.answer
    if answer is None or answer.new + answer.looking or held.filter or not answer.unchecked_total:
        return None
    if answer.unchecked_total == 1:
        return "f", f"check {clean_line(answer.unchecked[0])}: finished, never checked"
    return "f", f"check {count(answer.unchecked_total)} finished runs that were never checked"


def next_of(row: TriageRow) -> tuple[str, str]:
    """Return the next step for a run: its key and text."""
    seen = row.standing
    if seen is None:
        return "enter", "see which answers changed"
    if seen.state == "accepted":
        return "enter", "see which answers were lost"
    if seen.state == "fixed" or "remedies" in row.refuses:
        return "enter", "see which answers were lost"
    return "r", "remedies: fix it without retraining"


def also_next(row: TriageRow, cell: CellAnswer | None) -> tuple[str, str] | None:
    """Return an alternative step: for an open result, or for an unsettled regression."""
    seen = row.standing
    hidden = len(cell.not_looked_at) if cell is not None else 0
    left = 0 if cell is None or "check" in row.refuses else cell.facts.total - cell.facts.n
    if cell is not None and cell.facts.mark == "open" and left > 0:
        task_words = f" of {cut_end(clean_line(cell.facts.task), 24)}" if cell.facts.task else ""
        return "f", f"still open: check the remaining {counted(left, 'item')}{task_words}"
    if seen is None or seen.state in ("accepted", "fixed"):
        return None
    if hidden and "bisect" not in row.refuses:
        return "s", f"find the checkpoint that lost it (bisect {counted(hidden, 'checkpoint')})"
    return "A", "accept it, with a reason"
