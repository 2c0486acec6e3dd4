"""The keys of the Approaches screen, and which of them its footer offers."""

from __future__ import annotations

from typing import Literal

from finetop.tui.keys import Key

Part = Literal["advice", "picture", "runs"]  # what is below the table
PARTS: tuple[Part, ...] = ("advice", "picture", "runs")

OPEN = Key("enter", "enter", "open it", "open", "open the run that is chosen", "finetop show RUN")
APPROACH = Key("j,down", "↑↓", "approach", "move(1)", "next approach")
VIEW = Key("v", "v", "prices", "view", "how well they do, or what they cost")
PART = Key(
    "tab", "tab", "advice, picture, runs", "part(1)", "below the table: the advice, a picture, the runs"
)
PART_BEFORE = Key("shift+tab", "⇧tab", "", "part(-1)", "the part before")
RUN = Key("right", "←→", "run", "choose(1)", "the next run of the approach: another seed")
RUN_BEFORE = Key("left,h", "←", "", "choose(-1)", "the run before")
PAGE = Key("pagedown", "pgdn", "more", "page(1)", "read on in the advice")
COMPARE = Key("c", "c", "compare", "compare", "compare a run of each approach", "finetop compare RUN RUN")
OTHER = Key("right_square_bracket", "[ ]", "other", "other(1)", "the next comparison", "finetop approaches")
OTHER_BEFORE = Key("left_square_bracket", "[", "", "other(-1)", "the comparison before")
BACK = Key("escape", "esc", "back", "back", "back to where you came from")
MOVES = (
    Key("k,up", "↑ k", "", "move(-1)", "approach before"),
    Key("pageup", "pgup", "", "page(-1)", "back in the advice"),
    Key("g,home", "g", "", "move(-1000)", "first approach"),
    Key("G,end", "G", "", "move(1000)", "last approach"),
)
KEYS = (
    *(OPEN, APPROACH, VIEW, PART, PART_BEFORE, RUN, RUN_BEFORE, PAGE, COMPARE, OTHER, OTHER_BEFORE, BACK),
    *MOVES,
)
_SCORES = Key("", "v", "scores", "", "")


def footer_keys(*, rows: int, runs: int, others: int, of_costs: bool, has_more: bool) -> tuple[Key, ...]:
    """Offer what there is something to do with."""
    keys = (
        (OPEN, runs > 0),
        (_SCORES if of_costs else VIEW, rows > 0),
        (PART, rows > 0),
        (PAGE, has_more),
        (RUN, runs > 1),
        (APPROACH, rows > 1),
        (COMPARE, rows > 1),
        (OTHER, others > 1),
        (BACK, True),
    )
    return tuple(key for key, is_of_use in keys if is_of_use)
